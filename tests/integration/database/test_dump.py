"""Dumps of real servers by their real programs, and by programs that fail on purpose."""

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from lcp_backup.archive.segment import Section
from lcp_backup.database.dump import start_dump
from lcp_backup.database.dump_program import check_flavours, find_program
from lcp_backup.database.endpoint import (
    DatabaseEndpoint,
    Flavour,
    Server,
    ask_server,
    connect,
    generated_columns,
)
from lcp_backup.database.sections import SectionCutter
from lcp_backup.errors import (
    DatabaseUnreachable,
    DumpFailed,
    FlavourMismatch,
    TableChangedDuringDump,
)
from tests.support.servers import DatabaseServer

SITE = r"""
CREATE TABLE User_ (
    userId BIGINT PRIMARY KEY, screenName VARCHAR(75), content LONGTEXT, portrait LONGBLOB,
    createDate DATETIME(6), flag BIT(1), score DOUBLE,
    nameLength INT AS (char_length(screenName)) STORED, KEY IX_NAME (screenName)
);
INSERT INTO User_ (userId, screenName, content, portrait, createDate, flag, score) VALUES
    (1, 'a;''b\\', 'x\n-- Dump completed\n);\nINSERT INTO `q` VALUES (1);\n', x'002725C3FF',
     '2026-11-23 01:02:03.456789', b'1', 0.1),
    (2, '😀', '', '', NULL, b'0', -1e100), (3, NULL, '/* " ` # */', NULL, NULL, NULL, NULL);
CREATE TABLE `odd``na;me` (`a'b` INT, `c"d` TEXT);
INSERT INTO `odd``na;me` VALUES (1, 'DELIMITER ;;');
CREATE TABLE Bulk (a BIGINT);
CREATE VIEW B_View AS SELECT userId, screenName FROM User_;
CREATE VIEW A_View AS SELECT screenName FROM B_View;
DELIMITER //
CREATE TRIGGER TR_User BEFORE INSERT ON User_ FOR EACH ROW
BEGIN
    -- it's a comment; INSERT INTO `User_` VALUES
    SET NEW.content = 'x;y'; /* ; */
END//
CREATE PROCEDURE Renumber(IN step INT)
BEGIN
    SELECT ';;', step;
    UPDATE User_ SET userId = userId + step;
END//
CREATE FUNCTION Twice(n INT) RETURNS INT DETERMINISTIC RETURN 2 * n//
CREATE EVENT Nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DO BEGIN
    DELETE FROM Bulk;
END//
DELIMITER ;
"""
AWKWARD_PASSWORDS = [
    "#hash",
    "'single\"double",
    "back\\slash\\n\\",
    " spaces around ",
    "pässwörd€😀",
]


@pytest.fixture
def site(server: DatabaseServer) -> Iterator[str]:
    """A schema with one of everything a dump may hold."""
    server.execute("CREATE DATABASE site CHARACTER SET utf8mb4")
    server.load(SITE.encode(), "site")
    yield "site"
    server.execute("DROP DATABASE site")


@pytest.fixture
def wrapped(server: DatabaseServer, tmp_path: Path) -> Callable[[str], Path]:
    """Puts a shell script, in which `dump` is the real program, in the place of that program."""
    program = find_program([server.programs], server.flavour)

    def wrap(script: str) -> Path:
        wrapper = tmp_path / program.path.name
        wrapper.write_text(
            f'#!/bin/sh\ndump() {{ "{program.path}" "$@"; }}\n'
            f'[ "$1" = --version ] && {{ dump --version; exit; }}\n{script}\n'
        )
        wrapper.chmod(0o755)
        return tmp_path

    return wrap


def dump(endpoint: DatabaseEndpoint, server: DatabaseServer, programs: Path | None = None) -> bytes:
    """The whole dump, once it is known to be good."""
    with connect(server.endpoint(""), database=None) as connection:
        facts = ask_server(connection)
    program = find_program([programs or server.programs], server.flavour)
    assert program.flavour is server.flavour
    told: list[str] = []
    with start_dump(
        endpoint, program, facts, on_snapshot=lambda: told.append("the snapshot stands")
    ) as running:
        taken = b"".join(running.chunks())
        running.finish()
    assert told == ["the snapshot stands"], "each dump of a run says so once"
    return taken


def without_times(text: bytes) -> bytes:
    return re.sub(rb"\n-- Dump completed on [^\n]*\n\Z", b"", text)


def test_a_dump_loaded_by_the_stock_client_dumps_the_same_again(
    server: DatabaseServer, site: str
) -> None:
    first = dump(server.endpoint(site), server)
    server.execute("DROP TABLE User_", database=site)
    server.load(first)
    assert without_times(dump(server.endpoint(site), server)) == without_times(first)


def test_the_sections_of_a_real_dump_are_what_they_say(server: DatabaseServer, site: str) -> None:
    text = dump(server.endpoint(site), server)
    cutter = SectionCutter()
    cuts = [*cutter.feed(text), *cutter.close()]
    assert b"".join(chunk for cut in cuts for chunk in cut.chunks) == text
    assert {(cut.section, cut.table) for cut in cuts} == {
        (Section.HEAD, None),
        *((Section.DEFINITION, name) for name in ("User_", "odd`na;me", "Bulk")),
        *((Section.DEFINITION, name) for name in ("A_View", "B_View")),
        *((Section.ROWS, name) for name in ("User_", "odd`na;me", "Bulk")),
        (Section.TRIGGERS, "User_"),
        *((Section.VIEW, name) for name in ("A_View", "B_View")),
        (Section.ROUTINES, None),
        (Section.EVENTS, None),
        (Section.TAIL, None),
    }


def test_a_dump_starts_without_the_sandbox_line(server: DatabaseServer, site: str) -> None:
    assert dump(server.endpoint(site), server).startswith(b"-- M")


@pytest.mark.parametrize("password", AWKWARD_PASSWORDS)
def test_any_password_reaches_the_dump_program(
    server: DatabaseServer, site: str, password: str
) -> None:
    with connect(server.endpoint(""), database=None) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE USER 'awk''ward #'@'%%' IDENTIFIED BY %s", (password,))
        cursor.execute("GRANT ALL ON *.* TO 'awk''ward #'@'%'")
    try:
        endpoint = server.endpoint(site, user="awk'ward #", password=password)
        connect(endpoint, database=site).close()
        assert b"-- Dump completed" in dump(endpoint, server)
    finally:
        server.execute("DROP USER 'awk''ward #'@'%'")


def test_the_password_is_in_no_command_line_and_no_environment(
    server: DatabaseServer, site: str, wrapped: Callable[[str], Path], tmp_path: Path
) -> None:
    programs = wrapped(
        f'env > {tmp_path}/seen; echo "$@" >> {tmp_path}/seen\n'
        f'stat -c "mode %a" "${{1#--defaults-file=}}" >> {tmp_path}/seen\n'
        f'echo "${{1#--defaults-file=}}" > {tmp_path}/options; dump "$@"'
    )
    server.execute("CREATE USER reader IDENTIFIED BY 'correct horse'")
    server.execute("GRANT ALL ON *.* TO reader")
    try:
        dump(server.endpoint(site, user="reader", password="correct horse"), server, programs)
    finally:
        server.execute("DROP USER reader")
    seen = (tmp_path / "seen").read_text()
    assert "mode 600" in seen
    assert "correct horse" not in seen
    assert not Path((tmp_path / "options").read_text().strip()).exists()


@pytest.mark.parametrize(
    ("script", "told"),
    [
        pytest.param(
            'dump "$@" | head -c 1500; kill -9 $$', "killed by SIGKILL", id="killed half way"
        ),
        pytest.param(
            'dump "$@" | grep -v "^-- Dump completed"; exit 0',
            "exit code 0 but its output does not end with",
            id="without the trailer",
        ),
        pytest.param(
            'dump "$@"; echo "-- more"; exit 0', "does not end with", id="more after the trailer"
        ),
        pytest.param(
            'dump "$@"; echo "the disk is on fire" >&2; exit 3',
            "(?s)exit code 3: .*the disk is on fire",
            id="another exit code",
        ),
    ],
)
def test_what_did_not_end_well_in_every_way_is_no_dump(
    server: DatabaseServer, site: str, wrapped: Callable[[str], Path], script: str, told: str
) -> None:
    programs = wrapped(script)
    with pytest.raises(DumpFailed, match=told):
        dump(server.endpoint(site), server, programs)


def test_a_dump_that_is_left_kills_the_whole_program(
    server: DatabaseServer, site: str, wrapped: Callable[[str], Path], tmp_path: Path
) -> None:
    programs = wrapped(f"echo start; sleep 1000 & echo $! > {tmp_path}/child; wait")
    program = find_program([programs], server.flavour)
    facts = Server(server.flavour, "")
    with pytest.raises(DumpFailed, match="not read to its end"):
        with start_dump(server.endpoint(site), program, facts, on_snapshot=lambda: None) as running:
            chunks = running.chunks()
            assert next(chunks) == b"start\n"
            assert next(chunks) == b"", "a caller may stop while nothing comes"
            running.finish()
    child = Path("/proc", (tmp_path / "child").read_text().strip(), "stat")
    assert not child.exists() or child.read_text().split()[2] == "Z"


def dump_while_altered(server: DatabaseServer, site: str, change: str) -> bytes:
    """A dump during which User_ is changed after the snapshot and before its turn comes."""
    # Enough rows that the program waits for its output to be taken before it comes to User_.
    server.execute(
        "INSERT INTO Bulk WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n"
        " WHERE i < 500) SELECT a.i * 1000000 FROM n AS a, n AS b",
        database=site,
    )
    program = find_program([server.programs], server.flavour)
    snapshot = threading.Event()
    taken: list[bytes] = []
    with start_dump(
        server.endpoint(site), program, Server(server.flavour, ""), on_snapshot=snapshot.set
    ) as running:
        for chunk in running.chunks():
            taken.append(chunk)
            if snapshot.is_set() and change:
                server.execute(f"ALTER TABLE User_ {change}", database=site)
                change = ""
        running.finish()
    return b"".join(taken)


def test_a_table_rebuilt_during_the_dump_may_be_tried_again(
    server: DatabaseServer, site: str
) -> None:
    with pytest.raises(TableChangedDuringDump, match="1412"):
        dump_while_altered(server, site, "FORCE, ALGORITHM=COPY")


def test_a_column_added_at_once_during_the_dump_never_gives_a_dump_that_does_not_load(
    server: DatabaseServer, site: str
) -> None:
    try:
        taken = dump_while_altered(server, site, "ADD COLUMN late INT, ALGORITHM=INSTANT")
    except TableChangedDuringDump:
        assert server.flavour is Flavour.MYSQL, "MariaDB reads old rows with the new column"
    else:
        server.load(taken)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"password": SecretStr("wrong")}, "LCP_MASTER_USER_PASSWORD"),
        ({"name": "nowhere"}, "no database 'nowhere': check LCP_DBNAME"),
        ({"host": "no-such-host.invalid"}, "no host .*: check LCP_DATABASE_SERVICE"),
        ({"port": 1}, "no database server listens at .*: check LCP_DATABASE_SERVICE"),
    ],
)
def test_what_is_wrong_with_an_endpoint_is_said_with_its_variable(
    server: DatabaseServer, changed: dict[str, object], said: str
) -> None:
    endpoint = DatabaseEndpoint(**{**vars(server.endpoint("mysql")), **changed})
    with pytest.raises(DatabaseUnreachable, match=said) as caught:
        connect(endpoint, database=endpoint.name)
    assert "wrong" not in str(caught.value)


def test_a_program_of_another_flavour_is_refused_for_generated_columns(
    server: DatabaseServer, site: str
) -> None:
    with connect(server.endpoint(site), database=site) as connection:
        facts = ask_server(connection)
        generated = generated_columns(connection, site)
    assert facts.flavour is server.flavour
    assert generated == ("User_.nameLength",)
    own = find_program([server.programs], server.flavour)
    assert check_flavours(facts, own, generated) == ()
    other = Server(next(flavour for flavour in Flavour if flavour is not own.flavour), "1.0")
    with pytest.raises(FlavourMismatch, match=r"User_\.nameLength"):
        check_flavours(other, own, generated)
    assert [notice.code for notice in check_flavours(other, own, ())] == ["client-mismatch"]
