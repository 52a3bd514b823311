"""Selected tables, over several connections, into the live schema or another, on real servers."""

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from lcp_backup.database import staged_schema
from lcp_backup.database.endpoint import Flavour
from lcp_backup.database.piece_load import Inserted, PieceLoad
from lcp_backup.database.pieces import Dump, Piece
from lcp_backup.database.session import Session
from lcp_backup.database.staged_schema import (
    Loaded,
    Scope,
    StagedDatabase,
    StreamedDump,
)
from lcp_backup.errors import InvalidRequest, LoadFailed, NotFound, OutOfTime
from tests.support.child_process import in_process
from tests.support.own_dumps import Stored, dump
from tests.support.servers import DatabaseServer

_SITE = """
CREATE DATABASE `selected` CHARACTER SET utf8mb4;
USE `selected`;
CREATE TABLE big (id bigint PRIMARY KEY, name varchar(80), body longtext,
  UNIQUE KEY by_name (name), KEY by_id_name (id, name));
CREATE TABLE small (id bigint PRIMARY KEY, name varchar(80), KEY by_name (name));
CREATE TABLE log (n int);
CREATE TABLE parent (id bigint PRIMARY KEY, code int, UNIQUE KEY by_code (code));
CREATE TABLE child (id bigint PRIMARY KEY, code int,
  CONSTRAINT child_of FOREIGN KEY (code) REFERENCES parent (code));
INSERT INTO small VALUES (1, 'one'), (2, 'two');
INSERT INTO parent VALUES (1, 10);
INSERT INTO child VALUES (1, 10);
CREATE VIEW names AS SELECT name FROM small;
DELIMITER ;;
CREATE TRIGGER small_log AFTER INSERT ON small FOR EACH ROW INSERT INTO log VALUES (1);;
CREATE TRIGGER big_log AFTER INSERT ON big FOR EACH ROW INSERT INTO log VALUES (2);;
DELIMITER ;
"""
_CHANGED = """
INSERT INTO selected.small VALUES (3, 'since');
DELETE FROM selected.small WHERE id = 1;
INSERT INTO selected.big VALUES (-1, 'since', 'x');
"""
_SCHEMAS = (
    "selected",
    "selected_lcp_staging",
    "selected_lcp_previous",
    "selected_lcp_journal",
    "selected_kept",
    "elsewhere",
)


@pytest.fixture
def site(server: DatabaseServer) -> Iterator[DatabaseServer]:
    """A live site with one table of some 20 MB, and nothing else of this module."""

    def drop() -> None:
        for schema in _SCHEMAS:
            server.execute(f"DROP DATABASE IF EXISTS `{schema}`")

    drop()
    server.load(_SITE.encode())
    digits = " UNION ALL ".join(f"SELECT {digit} AS d" for digit in range(10))
    server.execute(
        "INSERT INTO selected.big"
        " SELECT n, CONCAT('name ', n), REPEAT('text of a body; -- (', 200) FROM ("
        "  SELECT a.d * 1000 + b.d * 100 + c.d * 10 + e.d AS n"
        f"  FROM ({digits}) a, ({digits}) b, ({digits}) c, ({digits}) e) numbers"
        " WHERE n < 5000 ORDER BY n"
    )
    server.execute("DELETE FROM selected.log")
    yield server
    drop()


@pytest.fixture(scope="module")
def dumps() -> dict[Flavour, bytes]:
    """The dump of the site on each server: always the same, so made once."""
    return {}


@pytest.fixture
def stored(site: DatabaseServer, dumps: dict[Flavour, bytes]) -> Stored:
    """The site as it was backed up; it has changed since."""
    if site.flavour not in dumps:
        dumps[site.flavour] = dump(site, "selected")
    site.load(_CHANGED.encode())
    return Stored(dumps[site.flavour])


def stage(
    server: DatabaseServer,
    found: Dump,
    *,
    name: str = "selected",
    connections: int = 3,
    scope: Scope = Scope(),  # noqa: B008 -- frozen
    check: Callable[[], None] = lambda: None,
) -> StagedDatabase:
    return staged_schema.SchemaLoad(
        server.endpoint(name),
        found,
        dumped_name="selected",
        connections=connections,
        progress=lambda _: None,
        check=check,
        scope=scope,
    ).stage()


def only(*tables: str) -> Scope:
    return Scope(tables=frozenset(tables))


def ids(server: DatabaseServer, table: str) -> set[object]:
    return {row[0] for row in server.execute(f"SELECT id FROM {table}")}


def test_a_whole_dump_over_several_connections_is_the_site_again(
    site: DatabaseServer, stored: Stored
) -> None:
    loaded = stage(site, stored.dump()).swap()
    assert loaded.rows == 5004
    assert Stored(dump(site, "selected")).archive.data == stored.archive.data


def test_rows_are_loaded_by_several_connections_and_indexes_after_them(
    site: DatabaseServer, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()
    altered: list[tuple[str, int]] = []
    load_rows, alter = Session.load, Session.alter

    def noting_load(self: Session, *args: object) -> int | None:
        seen.add(threading.get_ident())
        return load_rows(self, *args)  # type: ignore[arg-type]

    def noting_alter(self: Session, table: str, additions: tuple[bytes, ...]) -> None:
        altered.append((table, len(additions)))
        alter(self, table, additions)

    monkeypatch.setattr(Session, "load", noting_load)
    monkeypatch.setattr(Session, "alter", noting_alter)
    stage(site, stored.dump()).discard()
    assert len(seen) > 1
    # (Indexes of tables with few rows stay in their definitions.)
    assert altered == [("big", 2), ("child", 1)]


def test_one_table_comes_back_with_its_triggers_and_all_else_stays(
    site: DatabaseServer, stored: Stored
) -> None:
    stage(site, stored.dump(["small"]), scope=only("small")).swap()
    assert ids(site, "selected.small") == {1, 2}
    assert -1 in ids(site, "selected.big")
    assert site.execute("SELECT name FROM selected.names ORDER BY 1") == (("one",), ("two",))
    site.execute("DELETE FROM selected.log")
    site.execute("INSERT INTO selected.small VALUES (9, 'nine')")
    site.execute("INSERT INTO selected.big VALUES (-9, 'nine', '')")
    assert site.execute("SELECT n FROM selected.log ORDER BY n") == ((1,), (2,))


def test_one_table_reads_only_its_own_segments(site: DatabaseServer, stored: Stored) -> None:
    stage(site, stored.dump(["small"]), scope=only("small")).discard()
    assert 0 < stored.bytes_read < stored.archive.size / 10


def test_a_table_that_is_not_in_the_backup_is_named(stored: Stored) -> None:
    with pytest.raises(NotFound, match="no table 'nowhere'"):
        stored.dump(["small", "nowhere"])
    with pytest.raises(NotFound, match="'names' is a view"):
        stored.dump(["names"])


@pytest.mark.parametrize(("table", "other"), [("parent", "child"), ("child", "parent")])
def test_tables_tied_by_foreign_keys_come_back_together_or_not_at_all(
    site: DatabaseServer, stored: Stored, table: str, other: str
) -> None:
    site.execute("UPDATE selected.child SET code = NULL")
    with pytest.raises(InvalidRequest, match=other):
        stage(site, stored.dump([table]), scope=only(table))
    assert site.execute("SELECT code FROM selected.child") == ((None,),)
    both = ("parent", "child")
    stage(site, stored.dump(both), scope=only(*both)).swap()
    assert site.execute("SELECT code FROM selected.child") == ((10,),)
    with pytest.raises(Exception, match="foreign key constraint fails"):
        site.execute("DELETE FROM selected.parent")


def test_another_database_gets_the_table_and_the_live_one_stays(
    site: DatabaseServer, stored: Stored
) -> None:
    endpoint = site.endpoint("elsewhere")
    staged_schema.check_empty(endpoint)
    stage(site, stored.dump(["small"]), name="elsewhere").swap()
    assert ids(site, "elsewhere.small") == {1, 2}
    assert ids(site, "selected.small") == {2, 3}
    with pytest.raises(InvalidRequest, match="'elsewhere' is not empty"):
        staged_schema.check_empty(endpoint)


def test_what_was_live_is_kept_when_asked(site: DatabaseServer, stored: Stored) -> None:
    scope = Scope(keep_in="selected_kept")
    stage(site, stored.dump(), scope=scope).swap()
    assert ids(site, "selected.small") == {1, 2}
    assert ids(site, "selected_kept.small") == {2, 3}
    # And it is not written over, or dropped, by the next.
    with pytest.raises(LoadFailed, match="selected_kept exists"):
        stage(site, stored.dump(), scope=scope).swap()
    stage(site, stored.dump()).swap()
    assert ids(site, "selected_kept.small") == {2, 3}


def test_the_swap_of_a_selection_killed_at_any_step_is_the_old_tables_or_the_new_ones(
    site: DatabaseServer, stored: Stored
) -> None:
    scope = Scope(frozenset({"small", "log"}), keep_in="selected_kept")
    tables = ("small", "log")
    # The table that is large would only make it long.
    site.execute("DROP TABLE selected.big")
    site.execute("INSERT INTO selected.log VALUES (7)")
    old = dump(site, "selected")
    site.execute("CREATE DATABASE elsewhere")
    steps: list[str] = []
    stage(site, stored.dump(tables), scope=scope).swap(steps.append)
    new = dump(site, "selected")
    assert new != old
    outcomes: dict[str, str] = {}
    for number, step in enumerate(steps):
        site.execute("DROP DATABASE selected")
        site.execute("DROP DATABASE IF EXISTS selected_kept")
        site.load(old)

        def killed(number: int = number) -> None:
            seen: list[str] = []

            def between(name: str) -> None:
                if len(seen) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen.append(name)

            stage(site, stored.dump(tables), connections=1, scope=scope).swap(between)

        assert in_process(killed) == -signal.SIGKILL, step
        outcome = staged_schema.recover(site.endpoint("selected"))
        finished = outcome == "finished"
        assert dump(site, "selected") == (new if finished else old), (step, outcome)
        kept = site.execute("SHOW DATABASES LIKE 'selected_kept'")
        assert bool(kept) == finished, (step, outcome)
        outcomes[step] = outcome
    print(f"swap of a selection killed before each step: {outcomes}")
    assert outcomes["rename"] == "undone"
    assert outcomes["drop old stored code"] == "finished"
    assert outcomes["drop staging"] == "finished"


def test_a_dump_that_changes_the_session_between_tables_is_loaded_in_its_order(
    site: DatabaseServer,
) -> None:
    """As no dump program of ours writes it: rows in Latin-1 after others in UTF-8."""
    raw = (
        b"SET NAMES utf8mb4;\n"
        b"CREATE TABLE `a` (`id` int PRIMARY KEY, `t` varchar(9)) CHARACTER SET utf8mb4;\n"
        b"INSERT INTO `a` VALUES (1,'\xc3\xa9');\n"
        b"SET NAMES latin1;\n"
        b"CREATE TABLE `b` (`id` int PRIMARY KEY, `t` varchar(9)) CHARACTER SET utf8mb4;\n"
        b"INSERT INTO `b` VALUES (1,'\xe9');\n"
    )
    stage(site, StreamedDump(lambda: [raw]), name="elsewhere").swap()
    assert site.execute("SELECT t FROM elsewhere.a") == (("é",),)
    assert site.execute("SELECT t FROM elsewhere.b") == (("é",),)


def test_keys_that_a_dump_adds_after_its_rows_are_added_in_their_order(
    site: DatabaseServer,
) -> None:
    """As phpMyAdmin writes it."""
    raw = (
        b"CREATE TABLE `a` (`id` int NOT NULL) ENGINE=InnoDB;\n"
        b"INSERT INTO `a` VALUES (1),(2);\n"
        b"CREATE TABLE `b` (`id` int NOT NULL) ENGINE=InnoDB;\n"
        b"INSERT INTO `b` VALUES (1);\n"
        b"ALTER TABLE `a` ADD PRIMARY KEY (`id`);\n"
        b"ALTER TABLE `b` ADD PRIMARY KEY (`id`);\n"
        b"ALTER TABLE `a` MODIFY `id` int NOT NULL AUTO_INCREMENT;\n"
    )
    stage(site, StreamedDump(lambda: [raw]), name="elsewhere").swap()
    site.execute("INSERT INTO elsewhere.a VALUES ()")
    assert ids(site, "elsewhere.a") == {1, 2, 3}


def test_rows_that_are_there_twice_fail_the_load_when_their_index_is_built(
    site: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lcp_backup.database.dump_load._WORTH_SETTING_ASIDE", 0)
    raw = (
        b"CREATE TABLE `a` (`id` int NOT NULL, `n` int, PRIMARY KEY (`id`), UNIQUE KEY `u` (`n`))"
        b" ENGINE=InnoDB;\nINSERT INTO `a` VALUES (1,424242),(2,424242);\n"
    )
    with pytest.raises(LoadFailed, match="keys of table 'a'") as failed:
        stage(site, Stored(raw).dump(), name="elsewhere")
    assert "424242" not in str(failed.value)


def test_a_row_that_the_server_lost_fails_the_load(
    site: DatabaseServer, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_rows = PieceLoad.insert_rows

    def losing(self: PieceLoad, piece: Piece, session: Session) -> Inserted:
        inserted = insert_rows(self, piece, session)
        session._connection.query("DELETE FROM big WHERE id = 77")
        return inserted

    monkeypatch.setattr(PieceLoad, "insert_rows", losing)
    with pytest.raises(LoadFailed, match=r"5000 rows were loaded into 'big' and 4999 are there"):
        stage(site, stored.dump(["big"]), connections=1, scope=only("big"))


def test_a_load_whose_time_ends_stops_inside_the_server_too(
    site: DatabaseServer, stored: Stored
) -> None:
    calls = iter(range(10**9))

    def check() -> None:
        if next(calls) > 20:
            raise OutOfTime("the function's time was about to end")

    with pytest.raises(OutOfTime):
        stage(site, stored.dump(), check=check)
    assert site.execute("SHOW DATABASES LIKE 'selected%lcp%'") == ()
    assert -1 in ids(site, "selected.big")


def test_a_programs_own_dump_needs_no_second_attempt(
    site: DatabaseServer, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the dump programs do to the session between tables, they undo."""

    def attempted_once(attempt: Callable[[int], Loaded], _dump: object, connections: int) -> Loaded:
        return attempt(connections)

    monkeypatch.setattr(staged_schema, "attempt_load", attempted_once)
    loaded = stage(site, stored.dump()).swap()
    assert loaded.rows == 5004
    assert loaded.rows_as_statements == 0
