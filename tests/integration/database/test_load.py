"""Dumps loaded beside a live schema and swapped in, on real servers."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pymysql
import pytest

from lcp_backup.database import accounts, control, staged_schema, swap
from lcp_backup.database.endpoint import Connection, Flavour, connect
from lcp_backup.database.session import Session
from lcp_backup.database.sql import execute
from lcp_backup.database.staged_schema import Loaded, StagedDatabase, StreamedDump
from lcp_backup.errors import (
    AccountRefused,
    ArchiveRefused,
    BackupError,
    Conflict,
    DatabaseError,
    DatabaseUnreachable,
    LoadFailed,
    RestoredInPart,
)
from tests.support.child_process import in_process
from tests.support.own_dumps import OwnDump, dump
from tests.support.servers import DatabaseServer

_SITE = """
SET NAMES utf8mb4;
SET sql_mode = '';
CREATE DATABASE `site` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
USE `site`;
SET foreign_key_checks = 0;
CREATE TABLE Parent (
  id bigint PRIMARY KEY, child bigint, name varchar(80),
  made datetime DEFAULT '0000-00-00 00:00:00', precise datetime(6), flags bit(5),
  pick enum('x', 'y''z'), picks set('p', 'q'), doc json, raw longblob,
  twice bigint GENERATED ALWAYS AS (id * 2) STORED,
  more bigint GENERATED ALWAYS AS (id + 1) VIRTUAL,
  KEY by_name (name),
  CONSTRAINT to_child FOREIGN KEY (child) REFERENCES Child (id));
CREATE TABLE Child (
  id bigint PRIMARY KEY, parent bigint,
  CONSTRAINT to_parent FOREIGN KEY (parent) REFERENCES Parent (id) ON DELETE CASCADE);
SET foreign_key_checks = 1;
CREATE TABLE `odd ``name; -- x` (`c o` int PRIMARY KEY) COMMENT 'it''s; /* odd */';
CREATE TABLE `Käsekästchen` (i int) CHARACTER SET latin1;
CREATE TABLE counter (n int) ENGINE=MyISAM;
INSERT INTO counter VALUES (0);
INSERT INTO Parent (id, name, precise, flags, pick, picks, doc, raw) VALUES
 (1, 'hé😀 it''s; DEFINER=`x`@`y` \\\\ /* no */ -- no', '2024-01-02 03:04:05.678901', b'101',
  'y''z', 'p,q', '{"a": "ü"}', 0x00ff27225c0a1a), (2, NULL, NULL, NULL, NULL, '', NULL, '');
INSERT INTO Child VALUES (1, 1);
UPDATE Parent SET child = 1 WHERE id = 1;
CREATE VIEW base AS SELECT id, name FROM Parent;
CREATE VIEW a_first AS SELECT count(*) AS c FROM base;
DELIMITER ;;
CREATE FUNCTION plus(x int) RETURNS int DETERMINISTIC RETURN x + 1;;
CREATE PROCEDURE plus() BEGIN SELECT count(*) FROM site.Parent; END;;
CREATE VIEW calls AS SELECT plus(id) AS p FROM Parent;;
CREATE TRIGGER one BEFORE INSERT ON Parent FOR EACH ROW
 BEGIN UPDATE counter SET n = n + 1; SET NEW.name = concat(NEW.name, ';'); END;;
CREATE TRIGGER two BEFORE INSERT ON Parent FOR EACH ROW SET NEW.name = concat(NEW.name, 'é');;
CREATE EVENT yearly ON SCHEDULE EVERY 1 YEAR STARTS '2020-01-01 00:00:00' DO
 UPDATE counter SET n = 0;;
DELIMITER ;
"""

_OLD = """
CREATE DATABASE `site` CHARACTER SET latin1;
USE `site`;
CREATE TABLE Parent (id int PRIMARY KEY, t varchar(9));
CREATE TABLE gone (id int PRIMARY KEY, p int, CONSTRAINT f FOREIGN KEY (p) REFERENCES Parent (id));
CREATE TABLE plain (i int) ENGINE=InnoDB;
INSERT INTO Parent VALUES (7, 'old');
INSERT INTO gone VALUES (1, 7);
CREATE VIEW old_view AS SELECT * FROM gone;
CREATE VIEW base AS SELECT 1 AS was;
CREATE VIEW counter AS SELECT was, 'a%s' AS a FROM base;
DELIMITER ;;
CREATE TRIGGER first_old BEFORE INSERT ON Parent FOR EACH ROW SET NEW.t = concat(NEW.t, '1');;
CREATE TRIGGER an_old BEFORE INSERT ON Parent FOR EACH ROW SET NEW.t = concat(NEW.t, '2');;
CREATE TRIGGER other AFTER DELETE ON gone FOR EACH ROW SET @x = 1;;
CREATE PROCEDURE plus() SELECT 'old';;
CREATE FUNCTION gone() RETURNS int DETERMINISTIC RETURN 1;;
CREATE EVENT old_event ON SCHEDULE EVERY 1 YEAR STARTS '2020-01-01 00:00:00' DO SET @x = 1;;
DELIMITER ;
"""

_SCHEMAS = ("site", "site_lcp_staging", "site_lcp_previous", "site_lcp_journal", "other", "100%s")


@pytest.fixture
def clean(server: DatabaseServer) -> Iterator[DatabaseServer]:
    """The server without any of this module's schemas."""

    def drop() -> None:
        for schema in _SCHEMAS:
            server.execute(f"DROP DATABASE IF EXISTS `{schema}`")

    drop()
    yield server
    drop()


def chunks(raw: bytes, size: int = 777) -> Iterator[bytes]:
    return (raw[at : at + size] for at in range(0, len(raw), size))


def stage(server: DatabaseServer, raw: bytes, name: str = "site") -> StagedDatabase:
    return staged_schema.SchemaLoad(
        server.endpoint(name),
        OwnDump(lambda: chunks(raw)),
        dumped_name="site",
        connections=3,
        progress=lambda _: None,
        check=lambda: None,
    ).stage()


def schemas(server: DatabaseServer) -> set[object]:
    return {name for (name,) in server.execute("SHOW DATABASES")} & set(_SCHEMAS)


@pytest.fixture(scope="module")
def dumps() -> dict[Flavour, bytes]:
    """The dump of the site on each server: always the same, so made once."""
    return {}


@pytest.fixture
def site(clean: DatabaseServer, dumps: dict[Flavour, bytes]) -> bytes:
    """The dump of a site that holds one of everything; the server is clean again.

    It went through the stock client once: MySQL then spells out a column's character set that it
    left unsaid before, whoever loads the dump.
    """
    if clean.flavour not in dumps:
        clean.load(_SITE.encode())
        made = dump(clean)
        clean.execute("DROP DATABASE site")
        clean.load(made)
        dumps[clean.flavour] = dump(clean)
        clean.execute("DROP DATABASE site")
    return dumps[clean.flavour]


@pytest.fixture
def old(clean: DatabaseServer, site: bytes) -> bytes:  # noqa: ARG001 -- its schema comes first
    """The dump of the old site, which is live now."""
    clean.load(_OLD.encode())
    return dump(clean)


def test_a_site_comes_back_exactly_where_there_was_none(clean: DatabaseServer, site: bytes) -> None:
    staged = stage(clean, site)
    assert schemas(clean) == {"site_lcp_staging", "site_lcp_journal"}
    loaded = staged.swap()
    assert set(loaded.tables) == {"Parent", "Child", "odd `name; -- x", "Käsekästchen", "counter"}
    assert dump(clean) == site
    assert schemas(clean) == {"site"}


def test_a_restored_site_is_exactly_the_dump_whatever_was_live(
    clean: DatabaseServer, site: bytes, old: bytes
) -> None:
    staged = stage(clean, site)
    assert dump(clean) == old
    staged.swap()
    staged.discard()
    assert dump(clean) == site
    assert schemas(clean) == {"site"}


def test_foreign_keys_hold_in_the_swapped_schema(
    clean: DatabaseServer,
    site: bytes,
    old: bytes,  # noqa: ARG001
) -> None:
    stage(clean, site).swap()
    with pytest.raises(Exception, match="foreign key constraint fails"):
        clean.execute("INSERT INTO site.Child VALUES (9, 99)")
    clean.execute("UPDATE site.Parent SET child = NULL")
    clean.execute("DELETE FROM site.Parent WHERE id = 1")
    assert clean.execute("SELECT count(*) FROM site.Child") == ((0,),)


@pytest.mark.parametrize("name", ["other", "100%s"])
def test_a_dump_is_restored_under_another_name(
    clean: DatabaseServer, site: bytes, name: str
) -> None:
    stage(clean, site, name).swap()
    assert schemas(clean) == {name}
    assert clean.execute(f"SELECT id FROM `{name}`.Parent ORDER BY id") == ((1,), (2,))
    assert clean.execute(f"SELECT c FROM `{name}`.a_first") == ((2,),)


def test_overwrite_leaves_exactly_the_dump(
    clean: DatabaseServer,
    site: bytes,
    old: bytes,  # noqa: ARG001
) -> None:
    told: list[int] = []
    loaded = staged_schema.overwrite(
        clean.endpoint("site"),
        OwnDump(lambda: chunks(site)),
        dumped_name="site",
        connections=3,
        progress=told.append,
        check=lambda: None,
    )
    assert isinstance(loaded, Loaded)
    assert sum(told) == len(site)
    assert dump(clean) == site


@pytest.mark.parametrize(
    ("added", "error"),
    [
        (b"INSERT INTO `Child` VALUES (918273,1),(918273,2);\n", LoadFailed),
        (b"INSERT INTO `counter` VALUES (1,'secret');\n", LoadFailed),
        (b"CREATE VIEW `bad` AS SELECT * FROM nowhere;\n", LoadFailed),
        (b"CREATE PROCEDURE bad() SELECT FROM WHERE;\n", LoadFailed),
        (b"CREATE TRIGGER bad BEFORE INSERT ON nowhere FOR EACH ROW SET @x = 1;\n", LoadFailed),
        (b"INSERT INTO `other`.`t` VALUES (1);\n", ArchiveRefused),
        (b"/*!50001 GRANT ALL ON *.* TO root */;\n", ArchiveRefused),
        (b"USE mysql;\n", ArchiveRefused),
        (b"\\! touch /tmp/hostile\n;\n", ArchiveRefused),
        (b"system touch /tmp/hostile\n;\n", ArchiveRefused),
        (b"INSERT INTO `counter` VALUES (1); DROP DATABASE mysql;\n", ArchiveRefused),
        (b"DROP TABLE other.t;\n", ArchiveRefused),
    ],
)
def test_a_dump_that_fails_half_way_leaves_the_live_site_alone(
    clean: DatabaseServer, site: bytes, old: bytes, added: bytes, error: type[Exception]
) -> None:
    head, mark, tail = site.partition(b"-- Dumping events")
    with pytest.raises(error) as failed:
        stage(clean, head + added + mark + tail)
    assert "secret" not in str(failed.value)
    assert "918273" not in str(failed.value)
    assert dump(clean) == old
    assert schemas(clean) == {"site"}


def test_a_key_to_a_table_that_is_not_in_the_dump_is_named_before_anything_moves(
    clean: DatabaseServer, site: bytes, old: bytes
) -> None:
    added = b"CREATE TABLE `tied` (i bigint, FOREIGN KEY (i) REFERENCES `elsewhere` (id));\n"
    head, mark, tail = site.partition(b"-- Dumping events")
    with pytest.raises(LoadFailed, match="'tied' has a foreign key to 'elsewhere'"):
        stage(clean, head + added + mark + tail)
    assert dump(clean) == old


def test_overwrite_empties_nothing_for_a_dump_with_a_key_to_nothing(
    clean: DatabaseServer, site: bytes, old: bytes
) -> None:
    added = b"CREATE TABLE `tied` (i bigint, FOREIGN KEY (i) REFERENCES `elsewhere` (id));\n"
    head, mark, tail = site.partition(b"-- Dumping events")
    with pytest.raises(LoadFailed, match="'tied' has a foreign key to 'elsewhere'"):
        staged_schema.overwrite(
            clean.endpoint("site"),
            OwnDump(lambda: chunks(head + added + mark + tail)),
            dumped_name="site",
            connections=3,
            progress=lambda _: None,
            check=lambda: None,
        )
    assert dump(clean) == old


def test_overwrite_drops_nothing_where_a_prepared_transaction_holds_a_table(
    clean: DatabaseServer, site: bytes, old: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was prepared by a program that is gone: it holds its tables for good."""
    monkeypatch.setattr("lcp_backup.database.sql._TABLE_WAIT_SECONDS", 1)
    clean.execute("CREATE TABLE site.z_last (id int PRIMARY KEY) ENGINE=InnoDB")
    with connect(clean.endpoint("site"), database="site") as connection:
        for step in ("START", "INSERT INTO z_last VALUES (1)", "END", "PREPARE"):
            sql = step if " " in step else f"XA {step} 'forgotten'"
            execute(connection, sql)
    try:
        with pytest.raises(LoadFailed, match=r"as it was: .*: a transaction holds .*\(XA RECOVER"):
            stage(clean, site).swap()
        with pytest.raises(LoadFailed, match=r"changed: a transaction holds .*\(XA RECOVER"):
            staged_schema.overwrite(
                clean.endpoint("site"),
                OwnDump(lambda: chunks(site)),
                dumped_name="site",
                connections=3,
                progress=lambda _: None,
                check=lambda: None,
            )
    finally:
        clean.execute("XA ROLLBACK 'forgotten'")
    clean.execute("DROP TABLE site.z_last")
    assert dump(clean) == old


def test_views_whose_names_differ_by_case_alone_all_come_back(
    clean: DatabaseServer, site: bytes
) -> None:
    views = b"CREATE VIEW `Foo` AS SELECT 1 AS a;\nCREATE VIEW `foo` AS SELECT 2 AS a;\n"
    head, mark, tail = site.partition(b"-- Dumping events")
    clean.execute("CREATE DATABASE site")
    clean.execute("CREATE VIEW site.FOO AS SELECT 3 AS a")
    stage(clean, head + views + mark + tail).swap()
    assert clean.execute("SELECT a FROM site.foo") == ((2,),)
    assert clean.execute("SELECT a FROM site.Foo") == ((1,),)


def test_views_that_read_one_another_come_back_in_whatever_order_they_were_written(
    clean: DatabaseServer, site: bytes
) -> None:
    names = [f"v{number:02}" for number in range(60)]
    views = [
        f"CREATE VIEW `{name}` AS SELECT * FROM `{other}`;\n"
        for name, other in zip(names, [*names[1:], "base"], strict=True)
    ]
    head, mark, tail = site.partition(b"-- Dumping events")
    stage(clean, head + "".join(views).encode() + mark + tail).swap()
    assert clean.execute("SELECT id FROM site.v00 ORDER BY id") == ((1,), (2,))


def test_a_default_that_draws_from_a_sequence_draws_from_the_restored_one(
    mariadb: DatabaseServer,
) -> None:
    schemas = ("site", "drill")
    for schema in schemas:
        mariadb.execute(f"DROP DATABASE IF EXISTS {schema}")
    mariadb.load(
        b"CREATE DATABASE site; USE site; CREATE SEQUENCE s START WITH 5;"
        b"CREATE TABLE t (i int, n bigint DEFAULT NEXTVAL(s), m bigint DEFAULT (NEXTVAL(s) + 100));"
        b"INSERT INTO t (i) VALUES (1);"
    )
    try:
        made = dump(mariadb)
        stage(mariadb, made).swap()
        assert dump(mariadb) == made
        stage(mariadb, made, "drill").swap()
        mariadb.execute("INSERT INTO drill.t (i) VALUES (2)")
        mariadb.execute("DROP DATABASE drill")
        mariadb.execute("INSERT INTO site.t (i) VALUES (2)")
        assert mariadb.execute("SELECT n, m FROM site.t ORDER BY i")[0] == (5, 106)
        # (A server may leave numbers out: that a row came in is what counts.)
        assert mariadb.execute("SELECT n > 6 AND m > 106 FROM site.t WHERE i = 2") == ((1,),)
    finally:
        for schema in schemas:
            mariadb.execute(f"DROP DATABASE IF EXISTS {schema}")


def test_keys_are_checked_while_rows_come_whatever_the_dump_says(clean: DatabaseServer) -> None:
    with closing(connect(clean.endpoint("site"), database=None)) as connection:
        session = Session(connection)
        execute(connection, "SET SESSION unique_checks = 0")
        session.expect_rows()
        assert execute(connection, "SELECT @@unique_checks") == ((1,),)


def test_rows_that_are_not_there_are_missed_in_a_load_in_the_dumps_order_too(
    clean: DatabaseServer,
) -> None:
    def loses(_: int) -> None:
        with suppress(pymysql.MySQLError):  # it is not there yet
            clean.execute("DELETE FROM site_lcp_staging.t WHERE i = 2")

    sql = b"CREATE TABLE `t` (i int PRIMARY KEY) ENGINE=InnoDB;\nINSERT INTO `t` VALUES (1),(2);\n"
    load = staged_schema.SchemaLoad(
        clean.endpoint("site"),
        StreamedDump(lambda: [sql]),
        dumped_name="site",
        connections=3,
        progress=loses,
        check=lambda: None,
    )
    with pytest.raises(LoadFailed, match="2 rows were loaded into 't' and 1 are there"):
        load.stage(as_written=True)
    assert schemas(clean) == set()


def test_an_empty_dump_does_not_empty_the_site(clean: DatabaseServer, old: bytes) -> None:
    with pytest.raises(LoadFailed, match="creates no table"):
        stage(clean, b"-- nothing\n")
    assert dump(clean) == old


def test_a_statement_larger_than_the_server_takes_is_named(
    clean: DatabaseServer, site: bytes, old: bytes
) -> None:
    ((packet,),) = clean.execute("SELECT @@global.max_allowed_packet")
    clean.execute("SET GLOBAL max_allowed_packet = 1048576")
    try:
        large = b"INSERT INTO `counter` VALUES (1" + b" " * 1048576 + b");\n"
        head, mark, tail = site.partition(b"-- Dumping events")
        with pytest.raises(LoadFailed, match="max_allowed_packet"):
            stage(clean, head + large + mark + tail)
    finally:
        clean.execute(f"SET GLOBAL max_allowed_packet = {packet}")
    assert dump(clean) == old


def test_a_failure_before_the_tables_move_puts_the_live_triggers_back(
    clean: DatabaseServer, site: bytes, old: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lcp_backup.database.sql._TABLE_WAIT_SECONDS", 1)
    staged = stage(clean, site)
    with closing(connect(clean.endpoint("site"), database="site")) as visitor:

        def hold_a_table(step: str) -> None:
            if step == "rename":
                visitor.begin()
                execute(visitor, "SELECT * FROM plain")

        with pytest.raises(LoadFailed, match="as it was"):
            staged.swap(hold_a_table)
    assert dump(clean) == old
    assert schemas(clean) == {"site"}


def test_triggers_that_cannot_be_put_back_yet_come_back_with_the_next_restore(
    clean: DatabaseServer, site: bytes, old: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lcp_backup.database.sql._TABLE_WAIT_SECONDS", 1)
    staged = stage(clean, site)
    with closing(connect(clean.endpoint("site"), database="site")) as visitor:

        def hold_a_table(step: str) -> None:
            if step == "rename":
                visitor.begin()
                execute(visitor, "SELECT * FROM Parent")

        with pytest.raises(LoadFailed, match="next restore"):
            staged.swap(hold_a_table)
    assert staged_schema.recover(clean.endpoint("site")) == "undone"
    assert dump(clean) == old


def test_a_second_restore_is_refused_while_one_works(
    clean: DatabaseServer, site: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lcp_backup.database.control._LOCK_WAIT_SECONDS", 0)
    staged = stage(clean, site)
    refused: list[str] = []

    def restore_again(_step: str) -> None:
        with pytest.raises(Conflict):
            staged_schema.recover(clean.endpoint("site"))
        refused.append(_step)

    staged.swap(restore_again)
    assert refused
    assert dump(clean) == site


def test_a_swap_killed_at_any_step_is_the_old_site_or_the_new_one(
    clean: DatabaseServer, site: bytes
) -> None:
    steps: list[str] = []
    clean.load(_OLD.encode())
    stage(clean, site).swap(steps.append)
    assert dump(clean) == site
    clean.execute("DROP DATABASE site")
    outcomes: dict[str, str] = {}
    for number, step in enumerate(steps):
        clean.load(_OLD.encode())
        old = dump(clean)

        def killed(number: int = number) -> None:
            seen: list[str] = []

            def between(name: str) -> None:
                if len(seen) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen.append(name)

            stage(clean, site).swap(between)

        assert in_process(killed) == -signal.SIGKILL, step
        outcome = staged_schema.recover(clean.endpoint("site"))
        expected = site if outcome == "finished" else old
        assert dump(clean) == expected, (step, outcome)
        assert schemas(clean) == {"site"}, step
        assert staged_schema.recover(clean.endpoint("site")) == "nothing"
        outcomes[step] = outcome
        clean.execute("DROP DATABASE site")
    assert outcomes["rename"] == "undone"
    assert outcomes["drop old stored code"] == "finished"
    assert outcomes["drop staging"] == "finished"


def test_a_swap_into_nothing_that_is_killed_before_it_moves_leaves_nothing(
    clean: DatabaseServer, site: bytes
) -> None:
    def between(step: str) -> None:
        if step == "rename":
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_process(lambda: _ignore(stage(clean, site).swap(between))) == -signal.SIGKILL
    assert staged_schema.recover(clean.endpoint("site")) == "undone"
    assert schemas(clean) == set()


def _ignore(_value: object) -> None:
    """Makes a call into a procedure."""


def test_a_load_killed_half_way_is_cleared_and_can_be_done_again(
    clean: DatabaseServer, site: bytes, old: bytes
) -> None:
    def dying() -> Iterator[bytes]:
        for number, chunk in enumerate(chunks(site)):
            if number == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            yield chunk

    def work() -> None:
        staged_schema.SchemaLoad(
            clean.endpoint("site"),
            OwnDump(dying),
            dumped_name="site",
            connections=3,
            progress=lambda _: None,
            check=lambda: None,
        ).stage()

    assert in_process(work) == -signal.SIGKILL
    assert "site_lcp_staging" in schemas(clean)
    assert dump(clean) == old
    stage(clean, site).swap()
    assert dump(clean) == site


def test_an_error_of_the_source_stops_the_load(clean: DatabaseServer, old: bytes) -> None:
    def broken() -> Iterator[bytes]:
        yield b"CREATE TABLE `t` (i int);\n"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        staged_schema.SchemaLoad(
            clean.endpoint("site"),
            OwnDump(broken),
            dumped_name="site",
            connections=3,
            progress=lambda _: None,
            check=lambda: None,
        ).stage()
    assert dump(clean) == old
    assert schemas(clean) == {"site"}


def test_a_lost_connection_is_a_failed_load(clean: DatabaseServer, site: bytes, old: bytes) -> None:
    def losing() -> Iterator[bytes]:
        for number, chunk in enumerate(chunks(site)):
            if number == 5:
                for (thread,) in clean.execute(
                    "SELECT id FROM information_schema.processlist WHERE db = 'site_lcp_staging'"
                ):
                    with suppress(pymysql.MySQLError):  # one may have ended by itself
                        clean.execute(f"KILL {thread}")
            yield chunk

    with pytest.raises(DatabaseError, match="connection was lost"):
        staged_schema.SchemaLoad(
            clean.endpoint("site"),
            OwnDump(losing),
            dumped_name="site",
            connections=3,
            progress=lambda _: None,
            check=lambda: None,
        ).stage()
    assert dump(clean) == old


@pytest.mark.parametrize("step", ["create schemas", "drop trigger 0", "rename"])
def test_a_swap_that_the_server_refuses_is_undone_and_says_so(
    clean: DatabaseServer, site: bytes, old: bytes, step: str
) -> None:
    def between(name: str) -> None:
        if name == step:
            raise pymysql.OperationalError(1205, "Lock wait timeout exceeded")

    with pytest.raises(LoadFailed, match="the site is as it was") as failed:
        stage(clean, site).swap(between)
    assert failed.value.undone
    assert dump(clean) == old
    assert schemas(clean) == {"site"}


def test_a_swap_that_nobody_lets_begin_has_touched_nothing(
    clean: DatabaseServer, site: bytes, old: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = stage(clean, site)
    with monkeypatch.context() as patch:
        patch.setattr(control, "_LOCK_WAIT_SECONDS", 0)
        with control.controlled(clean.endpoint("site")), pytest.raises(Conflict) as failed:
            staged.swap()
    assert failed.value.undone
    staged_schema.recover(clean.endpoint("site"))
    assert dump(clean) == old


@pytest.mark.parametrize("error", [DatabaseUnreachable, AccountRefused])
def test_tables_that_are_live_are_told_as_that_when_their_owner_cannot_be_had(
    clean: DatabaseServer,
    site: bytes,
    old: bytes,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    error: type[BackupError],
) -> None:
    """Else their files would stay the old ones, and nobody would be told what is live."""
    staged = stage(clean, site)
    with monkeypatch.context() as patch:

        def full(*_: object, **__: object) -> None:
            raise error("Too many connections")

        patch.setattr(accounts, "check_rights", full)
        with pytest.raises(RestoredInPart, match="the next restore brings the rest to its end"):
            staged.swap()
    assert staged_schema.recover(clean.endpoint("site")) == "finished"
    assert dump(clean) == site
    assert schemas(clean) == {"site"}


def test_a_swap_whose_connection_is_lost_is_undone_over_another_one(
    clean: DatabaseServer, site: bytes, old: bytes
) -> None:
    """Else the live site would be without its triggers until the next restore."""

    def between(step: str) -> None:
        if step == "rename":
            end_connections(clean)

    with pytest.raises(LoadFailed, match="the site is as it was") as failed:
        stage(clean, site).swap(between)
    assert failed.value.undone
    assert dump(clean) == old
    assert schemas(clean) == {"site"}


def test_a_swap_whose_connection_is_lost_once_the_tables_moved_is_finished_over_another_one(
    clean: DatabaseServer,
    site: bytes,
    old: bytes,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server did it, and its answer was lost: nobody may be told that it did not."""
    rename = swap._rename

    def rename_and_lose(connection: Connection, moves: Any) -> None:
        rename(connection, moves)
        monkeypatch.setattr(swap, "_rename", rename)
        end_connections(clean)
        connection.ping(reconnect=False)

    monkeypatch.setattr(swap, "_rename", rename_and_lose)
    loaded = stage(clean, site).swap()
    assert loaded.rows > 0
    assert dump(clean) == site
    assert schemas(clean) == {"site"}


def end_connections(server: DatabaseServer) -> None:
    """All but the one that does it."""
    for number, own in server.execute(
        "SELECT id, CONNECTION_ID() FROM information_schema.processlist WHERE command = 'Sleep'"
    ):
        if number != own:
            server.execute(f"KILL {number}")
