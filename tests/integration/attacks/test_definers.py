"""Stored code never gains rights by a backup: what the site's account may not do, stays so.

The site's account has ALL on its own schema and nothing else. It leaves code there that would do
more if it were another's; an ordinary backup and restore then must not make it another's.
"""

import subprocess
from collections.abc import Callable
from contextlib import closing

import pymysql
import pytest

from lcp_backup.database.accounts import owner_name
from lcp_backup.database.endpoint import Flavour
from tests.integration.attacks.corpus.attack import HEAD
from tests.support.fingerprint import NAME
from tests.support.rds_like import MASTER
from tests.support.road import Outcome, Road
from tests.support.world import World

_DEEDS = {
    "grant": "GRANT SELECT, CREATE USER ON *.* TO liferay@'%'",
    "alter": f"ALTER USER {MASTER}@'%' IDENTIFIED BY 'pwned'",
    "drop": "DROP USER bystander@'%'",
    "erase": "DELETE FROM canary.victim",
    "remove": "DROP TABLE canary.parent",
    "write": "INSERT INTO mysql.db (Host, Db, User, Select_priv) VALUES ('%','%','liferay','Y')",
    "steal": "INSERT INTO t SELECT 1000 + id, x FROM canary.victim",
}
_QUERIES = {
    "victim": "SELECT GROUP_CONCAT(x) FROM canary.victim",
    "hashes": "SELECT GROUP_CONCAT(authentication_string) FROM mysql.user",
}
_SECURITY = ("DEFINER", "INVOKER")


def _hostile_code() -> list[str]:
    """What the site's own account can leave in its schema."""
    made = []
    for security in _SECURITY:
        for name, deed in _DEEDS.items():
            made.append(f"CREATE PROCEDURE p_{name}_{security}() SQL SECURITY {security} {deed}")
        for name, query in _QUERIES.items():
            made += [
                (
                    f"CREATE FUNCTION f_{name}_{security}() RETURNS longtext READS SQL DATA"
                    f" SQL SECURITY {security} RETURN ({query})"
                ),
                (
                    f"CREATE SQL SECURITY {security} VIEW v_{name}_{security} AS"
                    f" SELECT f_{name}_{security}() AS x"
                ),
            ]
        made.append(
            f"CREATE SQL SECURITY {security} VIEW v_accounts_{security} AS SELECT grantee AS x"
            " FROM information_schema.user_privileges"
        )
        made.append(
            f"CREATE SQL SECURITY {security} VIEW v_schemas_{security} AS SELECT schema_name AS x"
            " FROM information_schema.schemata"
        )
    made.append("CREATE PROCEDURE p_nested() SQL SECURITY DEFINER CALL p_erase_INVOKER()")
    made.append(
        "CREATE TRIGGER hostile_trigger BEFORE INSERT ON User_ FOR EACH ROW"
        " DELETE FROM canary.victim"
    )
    for name, deed in _DEEDS.items():
        made.append(f"CREATE EVENT e_{name} ON SCHEDULE EVERY 1 SECOND DO {deed}")
    return made


def _leave_hostile_code(world: World) -> None:
    with closing(world.site()) as connection, connection.cursor() as cursor:
        for sql in _hostile_code():
            cursor.execute(sql)


def _dumped(world: World) -> bytes:
    """The site, by the server's own dump program."""
    program = "mysqldump" if world.mysql else "mariadb-dump"
    command = world.server.client("--routines", "--events", "--triggers", "--databases", NAME)
    command[0] = str(world.server.programs / program)
    return subprocess.run(command, capture_output=True, check=True).stdout


def _by_upload(road: Road) -> Outcome:
    return road.attack(_dumped(road.world))


_OWNER = {f"'{owner_name(NAME, number)}'@'%'" for number in range(3)}
"""What the owner sees of itself, in the place of what the site's account saw of itself."""

_ROADS = {"own backup": Road.back_up_and_restore, "upload": _by_upload}
_by_road = pytest.mark.parametrize("send", _ROADS.values(), ids=_ROADS)


@pytest.fixture(autouse=True)
def _the_site_as_it_was(road: Road) -> None:
    road.world.make_site()


@_by_road
def test_the_sites_code_gains_no_rights(road: Road, send: Callable[[Road], Outcome]) -> None:
    world = road.world
    _leave_hostile_code(world)
    world.activate()
    before = _seen(world)
    found: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        real = world.activate

        def activate() -> None:
            found.extend(_allowed(world))
            real()
            after = _seen(world)
            found.extend(
                f"{name} shows {after[name]}, once {before[name]}"
                for name in before
                if not after.get(name, set()) - _OWNER <= before[name]
            )
            found.extend(_definers_of_rank(world))

        patch.setattr(world, "activate", activate)
        outcome = send(road)
    assert found + outcome.problems == [], f"{outcome}"
    assert outcome.reached in {"live", "intake"}


def _allowed(world: World) -> list[str]:
    """Procedures that the site's account can now call."""
    found = []
    with closing(world.site()) as connection, connection.cursor() as cursor:
        names = [f"p_{name}_{security}" for name in _DEEDS for security in _SECURITY]
        for name in (*names, "p_nested"):
            try:
                cursor.execute(f"CALL {name}()")
                found.append(f"CALL {name}() succeeds")
            except pymysql.MySQLError:
                continue
    return found


def _seen(world: World) -> dict[str, set[str]]:
    """What the site's account sees through each view."""
    seen = {}
    with closing(world.site()) as connection, connection.cursor() as cursor:
        for name in ("victim", "hashes", "accounts", "schemas"):
            for security in _SECURITY:
                view = f"v_{name}_{security}"
                try:
                    cursor.execute(f"SELECT x FROM {view}")
                    seen[view] = {str(value) for (value,) in cursor.fetchall()}
                except pymysql.MySQLError:
                    seen[view] = set()
                if name == "schemas":
                    # (A restore's own schemas may be seen, or not.)
                    seen[view] = {it for it in seen[view] if not it.startswith(NAME)}
    return seen


def _definers_of_rank(world: World) -> list[str]:
    """Stored code of the site whose definer may do more than the site's account."""
    found = []
    for what, column in (
        ("routines", "routine_schema"),
        ("views", "table_schema"),
        ("triggers", "trigger_schema"),
        ("events", "event_schema"),
    ):
        rows = world.say(
            f"SELECT DISTINCT definer FROM information_schema.{what} WHERE {column} = '{NAME}'"
        )
        found += [
            f"{what} are defined by {definer}"
            for (definer,) in rows
            if definer.partition("@")[0] in {MASTER, "root"}
        ]
    return found


@_by_road
def test_honest_code_still_works(road: Road, send: Callable[[Road], Outcome]) -> None:
    world = road.world
    outcome = send(road)
    assert (outcome.reached, outcome.problems) == ("live", []), str(outcome)
    # (`send` puts the honest backup over it when it had left something; so once more, and look.)
    assert road.honest_restore() == []
    with closing(world.site()) as connection, connection.cursor() as cursor:
        cursor.execute("CALL honest_procedure()")
        assert cursor.fetchall() == ((2,),)
        cursor.nextset()
        cursor.execute("SELECT honest_function(1), COUNT(*) FROM honest_view")
        assert cursor.fetchall() == ((2, 2),)
        cursor.execute("DELETE FROM User_")
        cursor.execute("SELECT what FROM audit")
        assert cursor.fetchall() == (("a@example.com",),)


def test_events_of_an_upload_come_back_disabled_and_the_result_names_them(road: Road) -> None:
    event = b"CREATE EVENT `woken` ON SCHEDULE EVERY 1 DAY DO SET @a = 1;\n"
    road.begin()
    result = road.restore(road.take_in(HEAD + event))
    statuses = road.world.say(
        f"SELECT event_name, status FROM information_schema.events WHERE event_schema = '{NAME}'"
    )
    assert [(name, status) for name, status in statuses if status == "ENABLED"] == []
    assert [name for name, _ in statuses] == ["woken"]
    assert "woken" in repr(result)
    assert road.honest_restore() == []
    statuses = road.world.say(
        f"SELECT event_name, status FROM information_schema.events WHERE event_schema = '{NAME}'"
    )
    assert list(statuses) == [("honest_event", "ENABLED")]


def test_the_masters_own_code_is_the_masters_no_more(road: Road) -> None:
    """A definer of rank in the live site, such as root, is nobody after a restore."""
    world = road.world
    world.root.select_db(NAME)
    world.say("CREATE VIEW of_root AS SELECT 1 AS one")
    world.say("CREATE PROCEDURE p_of_root() SELECT * FROM canary.victim")
    found: list[str] = []
    real = world.activate

    def activate() -> None:
        found.extend(_definers_of_rank(world))
        real()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "activate", activate)
        outcome = road.back_up_and_restore()
    # (Views and routines that no longer may read what they read are no failure of the restore.)
    assert found + outcome.problems == [], str(outcome)
    assert outcome.reached == "live", str(outcome)
    assert world.server.flavour in Flavour
