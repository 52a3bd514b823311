"""Nothing the site's account does, and nothing that lies about, blocks the next restore."""

import re
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pymysql
import pytest
from pymysql.connections import Connection

from lcp_backup.database.endpoint import Flavour
from tests.support.fingerprint import NAME
from tests.support.rds_like import MASTER, MASTER_PASSWORD
from tests.support.road import Road
from tests.support.servers import only_on

_STAGING = f"{NAME}_lcp_staging"
_PREVIOUS = f"{NAME}_lcp_previous"


@pytest.fixture(autouse=True)
def _clean(road: Road) -> Iterator[None]:
    road.world.make_site()
    yield
    road.world.rebuild()


def _assert_contained(road: Road) -> None:
    assert road.honest_restore() == []
    # And once more: nothing that the first left is in the way either.
    assert road.honest_restore() == []
    world = road.world
    left = [name for name in world.read.site_schemas() if re.fullmatch(rf"{NAME}_lcp_\w+", name)]
    known = {_STAGING, _PREVIOUS}
    assert not set(left) - known, f"left behind: {left}"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service waits for nobody longer than a second or two, whatever it asks for."""
    real = Connection.query

    def query(self: Any, sql: Any, unbuffered: bool = False) -> Any:
        if isinstance(sql, str):
            sql = re.sub(r"(lock_wait_timeout\s*=\s*)\d+", r"\g<1>2", sql)
            sql = re.sub(r"(GET_LOCK\([^)]*, )\d+\)", r"\g<1>1)", sql)
        return real(self, sql, unbuffered)

    monkeypatch.setattr(Connection, "query", query)


def _names_of_locks(road: Road) -> set[str]:
    """The names that a restore asks GET_LOCK for."""
    names: set[str] = set()
    real = Connection.query

    def query(self: Any, sql: Any, unbuffered: bool = False) -> Any:
        raw = sql if isinstance(sql, str) else bytes(sql).decode("latin1")
        names.update(re.findall(r"GET_LOCK\(\s*'([^']*)'", raw, re.IGNORECASE))
        return real(self, sql, unbuffered)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "query", query)
        assert road.honest_restore() == []
    return names


def test_locks_that_the_sites_account_can_name_block_nothing(
    road: Road,
    impatient: None,  # noqa: ARG001 -- it has to be there first
) -> None:
    # What only the holder of a secret can tell is long and looks like nothing.
    names = {it for it in _names_of_locks(road) if not re.search(r"[0-9A-Za-z_-]{24,}", it)}
    guessed = {f"lcp{sign}{NAME}" for sign in (":", "_", "-", ".", "/")} | {"lcp", "lcp_backup"}
    with closing(road.world.site()) as connection, connection.cursor() as cursor:
        for name in sorted(names | guessed):
            cursor.execute("SELECT GET_LOCK(%s, 0)", (name,))
        assert road.honest_restore() == []


@only_on(Flavour.MYSQL)
@pytest.mark.parametrize("schema", [NAME, _STAGING, _PREVIOUS])
def test_a_schema_that_is_read_only_blocks_nothing(road: Road, schema: str) -> None:
    if schema == NAME:
        with closing(road.world.site()) as connection, connection.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE `{NAME}` READ ONLY = 1")
    else:
        road.world.say(f"CREATE DATABASE `{schema}`")
        road.world.say(f"CREATE TABLE `{schema}`.a (id int)")
        road.world.say(f"ALTER DATABASE `{schema}` READ ONLY = 1")
    _assert_contained(road)


@pytest.mark.parametrize("schema", [NAME, _STAGING, _PREVIOUS])
def test_stored_code_of_root_blocks_nothing(road: Road, schema: str) -> None:
    """On MySQL the master may drop nothing whose definer has SYSTEM_USER."""
    world = road.world
    if schema != NAME:
        world.say(f"CREATE DATABASE `{schema}`")
    world.root.select_db(schema)
    world.say("CREATE TABLE IF NOT EXISTS t (id int)")
    world.say("CREATE PROCEDURE of_root() SELECT 1")
    world.say("CREATE FUNCTION of_root() RETURNS int DETERMINISTIC RETURN 1")
    world.say("CREATE VIEW of_root_view AS SELECT 1 AS a")
    world.say("CREATE TRIGGER of_root_trigger BEFORE INSERT ON t FOR EACH ROW SET @a = 1")
    world.say("CREATE EVENT of_root_event ON SCHEDULE EVERY 1 YEAR DO SET @a = 1")
    _assert_contained(road)


@pytest.mark.parametrize("schema", [_STAGING, _PREVIOUS])
def test_a_schema_that_cannot_be_dropped_blocks_nothing(road: Road, schema: str) -> None:
    """A file in its folder that is no table's keeps a server from dropping it."""
    world = road.world
    world.say(f"CREATE DATABASE `{schema}`")
    world.say(f"CREATE TABLE `{schema}`.left_over (id int)")
    (world.data / schema / "stray.txt").write_text("not the server's")
    assert road.honest_restore() == []
    assert road.honest_restore() == []


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE stored_code (a int)",
        "CREATE VIEW fact AS SELECT 1 AS a",
        "CREATE TABLE after_swap (nothing int)",
        "CREATE VIEW before_swap AS SELECT 1 AS a",
        "CREATE TABLE `odd ``name; -- x` (id int)",
    ],
)
@pytest.mark.parametrize("schema", [_STAGING, _PREVIOUS])
def test_leftovers_of_any_kind_block_nothing(road: Road, schema: str, sql: str) -> None:
    road.world.say(f"CREATE DATABASE `{schema}`")
    road.world.root.select_db(schema)
    road.world.say(sql)
    assert road.honest_restore() == []


@only_on(Flavour.MYSQL)
def test_a_library_of_the_live_site_goes_as_all_else_does(road: Road) -> None:
    """MySQL's dump program writes it, too: what is backed up can be restored."""
    library = "CREATE LIBRARY lib LANGUAGE JAVASCRIPT AS 'export function f() { return 1; }'"
    with closing(road.world.site()) as connection, connection.cursor() as cursor:
        cursor.execute(library)
    outcome = road.back_up_and_restore()
    assert not outcome.problems
    assert outcome.error is None
    asked = f"SELECT library_name FROM information_schema.libraries WHERE library_schema = '{NAME}'"
    assert road.world.say(asked) == (("lib",),)
    assert road.honest_restore() == []
    assert road.world.say(asked) == ()


def test_tables_in_the_live_site_that_are_named_like_the_services_own_block_nothing(
    road: Road,
) -> None:
    with closing(road.world.site()) as connection, connection.cursor() as cursor:
        for name in ("stored_code", "AFTER_SWAP", "before_swap", "fact"):
            cursor.execute(f"CREATE TABLE `{name}` (a int)")
    _assert_contained(road)


def test_schemas_named_like_the_services_own_in_another_case_are_left_alone(road: Road) -> None:
    world = road.world
    for name in (_STAGING.upper(), f"{NAME}_LCP_previous"):
        world.say(f"CREATE DATABASE `{name}`")
        world.say(f"CREATE TABLE `{name}`.a (id int)")
    assert road.honest_restore() == []
    for name in (_STAGING.upper(), f"{NAME}_LCP_previous"):
        assert world.read.schema(name)[f"{name}.a"]


def test_triggers_on_every_table_block_nothing(road: Road) -> None:
    world = road.world
    with closing(world.site()) as connection, connection.cursor() as cursor:
        for table in ("t", "User_", "audit"):
            for when in ("BEFORE", "AFTER"):
                for what in ("INSERT", "UPDATE", "DELETE"):
                    cursor.execute(
                        f"CREATE TRIGGER `{table}{when}{what}` {when} {what} ON `{table}`"
                        " FOR EACH ROW SIGNAL SQLSTATE '45000'"
                    )
    _assert_contained(road)


def test_foreign_keys_among_live_tables_block_nothing(road: Road) -> None:
    with closing(road.world.site()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE child (id int, FOREIGN KEY (id) REFERENCES t (id)) ENGINE=InnoDB"
        )
    _assert_contained(road)


@pytest.mark.parametrize("how", ["LOCK TABLES t WRITE", "LOCK TABLES t READ", "BEGIN", "XA"])
def test_a_table_that_is_held_ends_a_restore_cleanly_and_the_next_one_works(
    road: Road,
    impatient: None,  # noqa: ARG001 -- it has to be there first
    how: str,
) -> None:
    world = road.world
    before = world.read.live()
    with closing(world.site()) as connection, connection.cursor() as cursor:
        if how == "BEGIN":
            cursor.execute("BEGIN")
            cursor.execute("SELECT * FROM t")
        elif how == "XA":
            cursor.execute("XA START 'squat'")
            cursor.execute("INSERT INTO t VALUES (50, 'x')")
            cursor.execute("XA END 'squat'")
        else:
            cursor.execute(how)
        said = road.honest_restore()
        if how == "XA":
            with suppress(pymysql.MySQLError):
                cursor.execute("XA ROLLBACK 'squat'")
    if said:
        assert "OperationalError" not in said[0], said
        assert world.read.live() == before
    assert road.honest_restore() == []


def test_two_restores_at_once_end_with_one_site(road: Road) -> None:
    said: list[str] = []
    threads = [
        threading.Thread(target=lambda: said.extend(road.honest_restore())) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = ("LeaseHeld", "Conflict", "after the next")
    assert not [it for it in said if not any(word in it for word in refused)], said
    assert road.honest_restore() == []


def test_a_password_of_the_master_that_holds_quotes_is_no_statement(road: Road) -> None:
    """Names and passwords are values, wherever they come from."""
    odd = "a'b\"c`d\\e%s{x}; DROP DATABASE canary; -- "
    with road.world.root.cursor() as cursor:
        cursor.execute(f"ALTER USER '{MASTER}'@'%%' IDENTIFIED BY %s", (odd,))
    road.env["LCP_MASTER_USER_PASSWORD"] = odd
    try:
        road.begin()
        road.restore(road.create())
    finally:
        road.env["LCP_MASTER_USER_PASSWORD"] = MASTER_PASSWORD
    assert road.world.read.schema("canary")["canary.victim"]
