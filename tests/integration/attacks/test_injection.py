# ruff: noqa: E501 -- an input stands on one line, as it is sent
"""What the site's account can write into our own backups, through the dump program."""

from collections.abc import Iterator
from contextlib import closing

import pymysql
import pytest

from tests.support.road import Road


@pytest.fixture(autouse=True)
def _the_site_as_it_was(road: Road) -> Iterator[None]:
    road.world.make_site()
    yield
    road.world.make_site()


_INTO_OWN_BACKUPS = {
    # The programs write bodies as they are, in the mode in which they were made.
    "a mode that changes quoting": (
        "NO_BACKSLASH_ESCAPES",
        "utf8mb4",
        ("CREATE PROCEDURE inj() SELECT '\\', ' ;;\nCREATE EVENT inj_e ON SCHEDULE EVERY 1 SECOND DO"
        " DELETE FROM canary.victim ;;\n '"),
    ),
    "double quotes that are names": (
        "ANSI_QUOTES",
        "utf8mb4",
        ("CREATE PROCEDURE inj() SELECT 1 AS \"\\\", ' ;;\nCREATE EVENT inj_e ON SCHEDULE EVERY 1"
        " SECOND DO DELETE FROM canary.victim ;;\n ' AS \"b\""),
    ),
    "a versioned comment": (
        "",
        "utf8mb4",
        ("CREATE PROCEDURE inj() BEGIN /*!99999 ;;\nCREATE EVENT inj_e ON SCHEDULE EVERY 1 SECOND DO"
        " DELETE FROM canary.victim ;;\n */ SELECT 1; END"),
    ),
    "a delimiter in a string": (
        "",
        "utf8mb4",
        ("CREATE PROCEDURE inj() SELECT ';;\nDELIMITER ;\nCREATE EVENT inj_e ON SCHEDULE EVERY 1"
        " SECOND DO DELETE FROM canary.victim;\n'"),
    ),
    "a line comment": (
        "",
        "utf8mb4",
        "CREATE PROCEDURE inj() BEGIN -- ' ;;\n SELECT 1; # ;;\n SELECT ' ;; '; END",
    ),
    "a character set that eats a backslash": (
        "",
        "gbk",
        (b"CREATE PROCEDURE inj() SELECT '\xbf\\', ' ;;\nCREATE EVENT inj_e ON SCHEDULE EVERY 1 SECOND"
        b" DO DELETE FROM canary.victim ;;\n '"),
    ),
    "a table's name with a newline": (
        "",
        "utf8mb4",
        ("CREATE TABLE `x\nCREATE EVENT inj_e ON SCHEDULE EVERY 1 SECOND DO DELETE FROM"
        " canary.victim;\n-- ` (id int)"),
    ),
    "a view's name with a newline": (
        "",
        "utf8mb4",
        ("CREATE VIEW `x\nCREATE EVENT inj_e ON SCHEDULE EVERY 1 SECOND DO DELETE FROM"
        " canary.victim;\n-- ` AS SELECT 1 AS a"),
    ),
    "an event's name with a newline": (
        "",
        "utf8mb4",
        "CREATE EVENT `x\n;\nDELETE FROM canary.victim ;\n` ON SCHEDULE EVERY 1 YEAR DO SET @a = 1",
    ),
    "a comment of a table": (
        "",
        "utf8mb4",
        "CREATE TABLE x (id int) COMMENT='\\n; DELETE FROM canary.victim; -- '",
    ),
    "a table's name that ends a comment": (
        "",
        "utf8mb4",
        "CREATE TABLE `x*/; DELETE FROM canary.victim; /*` (id int)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _INTO_OWN_BACKUPS)
def test_what_the_site_can_write_into_our_own_backups_is_contained(road: Road, name: str) -> None:
    """Injected statements do nothing, and a backup that holds such things can be restored."""
    mode, charset, sql = _INTO_OWN_BACKUPS[name]
    world = road.world
    with closing(world.site()) as connection, connection.cursor() as cursor:
        cursor.execute(f"SET NAMES {charset}")
        cursor.execute(f"SET sql_mode = '{mode}'")
        try:
            cursor.execute(sql)
        except pymysql.MySQLError:
            return  # the server refuses it, so no site can hold it
    before = world.read.live()
    found: list[str] = []
    real = world.activate

    def activate() -> None:
        if world.say("SELECT 1 FROM information_schema.events WHERE event_name = 'inj_e'"):
            found.append("the injected statement was executed")
        if world.read.live() != before:
            found.append("the site came back otherwise than it was")
        real()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "activate", activate)
        outcome = road.back_up_and_restore()
    assert found + outcome.problems == [], str(outcome)
    assert outcome.reached == "live", str(outcome)
