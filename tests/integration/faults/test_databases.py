"""What real sites hold: it comes back, or the backup says in time that it will not."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from lcp_backup.database.endpoint import Flavour
from lcp_backup.errors import DumpFailed, InvalidRequest
from lcp_backup.model import Notice
from tests.support.fingerprint import NAME
from tests.support.road import Road
from tests.support.servers import only_on


@pytest.fixture(autouse=True)
def _the_site_as_it_was(road: Road) -> Iterator[None]:
    road.world.make_site()
    road.begin()
    yield
    road.world.make_site()


def run(road: Road, sql: str, *, delimiter: str = ";\n") -> None:
    """Statements of the site's own account."""
    with closing(road.world.site()) as connection, connection.cursor() as cursor:
        for statement in sql.strip().removesuffix(";").split(delimiter):
            cursor.execute(statement)


def notices(road: Road, backup_id: str) -> dict[str, Notice]:
    return {notice.code: notice for notice in road.catalog().backups.get(backup_id).warnings}


def comes_back(road: Road) -> None:
    """A backup of the site as it stands, restored where nothing is left, is the site again."""
    before = road.world.read.live()
    backup_id = road.create()
    road.world.say(f"DROP DATABASE `{NAME}`")
    road.world.say(f"CREATE DATABASE `{NAME}` CHARACTER SET utf8mb4")
    road.restore(backup_id)
    assert road.world.read.live() == before


# --- comes back -------------------------------------------------------------------------


_QUOTES = r'''
CREATE TABLE "Quote_" ("id" INT PRIMARY KEY, "say ""it""" VARCHAR(60) DEFAULT 'it''s \n', t TEXT)
 ENGINE=InnoDB COMMENT 'a\b''c'//
INSERT INTO "Quote_" VALUES (1, 'back\slash', 'line
two \ three''s')//
CREATE VIEW "Said" AS SELECT "id", 'a\' || "say ""it""" AS "said" FROM "Quote_"//
CREATE PROCEDURE "P one"() BEGIN SELECT 'x\y' AS "col;umn", "id" FROM "Quote_"; END//
CREATE FUNCTION "F one"() RETURNS VARCHAR(10) DETERMINISTIC RETURN 'a\'//
CREATE TRIGGER "T one" BEFORE INSERT ON "Quote_" FOR EACH ROW SET NEW."t" = NEW."t" || '\'//
CREATE TRIGGER "T two" BEFORE UPDATE ON "Quote_" FOR EACH ROW SET NEW."t" = '\'//
CREATE EVENT "E one" ON SCHEDULE EVERY 1 YEAR STARTS '2031-01-01 00:00:00'
 DO UPDATE "Quote_" SET "t" = '\'
'''


@pytest.mark.parametrize(
    "mode", ["ANSI,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES", "NO_BACKSLASH_ESCAPES", "ANSI"]
)
def test_stored_code_in_a_mode_that_changes_quoting(road: Road, mode: str) -> None:
    sql = _QUOTES
    if "ANSI" not in mode:
        sql = sql.replace('say ""it""', "say it").replace('"', "`").replace("||", "OR")
    if "ESCAPES" not in mode:
        sql = sql.replace("\\", "")
    run(road, f"SET sql_mode = '{mode}'//{sql}", delimiter="//")
    comes_back(road)


@only_on(Flavour.MARIADB)
def test_a_package_of_oracles_language(road: Road) -> None:
    run(
        road,
        "SET sql_mode = 'ORACLE'//CREATE PACKAGE billing AS FUNCTION vat(net INT) RETURN INT; END//"
        "CREATE PACKAGE BODY billing AS FUNCTION vat(net INT) RETURN INT AS BEGIN RETURN net + 19;"
        " END; END",
        delimiter="//",
    )
    comes_back(road)
    # Over a live one, too.
    assert road.back_up_and_restore().error is None
    assert road.world.say(f"SELECT `{NAME}`.`billing`.`vat`(1)") == ((20,),)


@only_on(Flavour.MARIADB)
def test_a_default_that_draws_from_a_sequence(road: Road) -> None:
    run(
        road,
        "CREATE SEQUENCE TicketIds START WITH 100;\n"
        "CREATE TABLE Ticket_ (ticketId BIGINT NOT NULL DEFAULT NEXTVAL(TicketIds),"
        " title VARCHAR(40), PRIMARY KEY (ticketId)) ENGINE=InnoDB;\n"
        "INSERT INTO Ticket_ (title) VALUES ('a'), ('b'), ('c')",
    )
    comes_back(road)
    run(road, "INSERT INTO Ticket_ (title) VALUES ('d')")


@only_on(Flavour.MARIADB)
def test_the_history_of_system_versioned_tables(road: Road) -> None:
    run(
        road,
        "CREATE TABLE Price_ (priceId BIGINT PRIMARY KEY, amount INT) ENGINE=InnoDB"
        " WITH SYSTEM VERSIONING;\n"
        "INSERT INTO Price_ VALUES (1, 10), (2, 5);\n"
        "UPDATE Price_ SET amount = 20 WHERE priceId = 1;\n"
        "UPDATE Price_ SET amount = 30 WHERE priceId = 1;\n"
        "DELETE FROM Price_ WHERE priceId = 2",
    )
    asked = (
        f"SELECT priceId, amount, ROW_START, ROW_END FROM `{NAME}`.Price_ FOR SYSTEM_TIME ALL"
        " ORDER BY 1, 2, 3"
    )
    history = road.world.say(asked)
    assert len(history) == 4
    comes_back(road)
    assert road.world.say(asked) == history


_HARD = {
    "a primary key required": {
        Flavour.MYSQL: ("sql_require_primary_key", "ON", "OFF"),
        Flavour.MARIADB: ("innodb_force_primary_key", "ON", "OFF"),
    },
    "idle sessions ended": dict.fromkeys(Flavour, ("wait_timeout", "2", "28800")),
    "slow reads ended": dict.fromkeys(Flavour, ("net_read_timeout", "1", "30")),
}


@pytest.mark.parametrize("setting", _HARD)
def test_a_site_on_a_server_with_hard_settings(road: Road, setting: str) -> None:
    name, value, usual = _HARD[setting][road.world.server.flavour]
    road.world.say(f"SET GLOBAL {name} = {value}")
    try:
        comes_back(road)
    finally:
        road.world.say(f"SET GLOBAL {name} = {usual}")


def test_a_view_that_root_defined(road: Road) -> None:
    world = road.world
    world.root.select_db(NAME)
    world.say("CREATE DEFINER=`root`@`localhost` VIEW ReleaseNames AS SELECT x FROM t")
    outcome = road.back_up_and_restore()
    assert outcome.error is None
    assert outcome.problems == []
    assert road.honest_restore() == []


# --- is told in time --------------------------------------------------------------------


def test_a_table_that_reads_from_others_fails_the_backup(road: Road) -> None:
    run(
        road,
        "CREATE TABLE log_2025 (id INT, t VARCHAR(10), KEY (id)) ENGINE=MyISAM;\n"
        "CREATE TABLE log_2026 (id INT, t VARCHAR(10), KEY (id)) ENGINE=MyISAM;\n"
        "CREATE TABLE log_all (id INT, t VARCHAR(10), KEY (id)) ENGINE=MERGE"
        " UNION=(log_2025, log_2026) INSERT_METHOD=LAST",
    )
    with pytest.raises(DumpFailed, match=r"(?i)log_all \(MRG_MyISAM\)"):
        road.create()


def test_a_key_to_a_table_that_is_gone_fails_the_backup(road: Road) -> None:
    run(
        road,
        "CREATE TABLE parent (id int PRIMARY KEY) ENGINE=InnoDB;\n"
        "CREATE TABLE child (id int, FOREIGN KEY (id) REFERENCES parent (id)) ENGINE=InnoDB;\n"
        "SET foreign_key_checks = 0;\n"
        "DROP TABLE parent",
    )
    with pytest.raises(DumpFailed, match="child to parent"):
        road.create()


def test_an_event_at_which_the_dump_program_never_ends_fails_the_backup(road: Road) -> None:
    run(
        road,
        "CREATE EVENT PurgeNightly ON SCHEDULE EVERY 1 YEAR STARTS '2031-01-01 00:00:00'"
        " DO DELETE FROM t WHERE x = 'a;;b'",
    )
    with pytest.raises(DumpFailed, match="PurgeNightly"):
        road.create()


def test_database_partitions_of_liferay_fail_the_backup(road: Road) -> None:
    run(
        road,
        "CREATE TABLE Company (companyId bigint PRIMARY KEY);\n"
        "INSERT INTO Company VALUES (20097), (35012)",
    )
    road.world.say("CREATE DATABASE lpartition_35012")
    try:
        with pytest.raises(DumpFailed, match="lpartition_35012"):
            road.create()
    finally:
        road.world.say("DROP DATABASE lpartition_35012")


def test_a_key_of_another_schema_is_told_and_keeps_a_restore_from_breaking_it(road: Road) -> None:
    run(
        road,
        "CREATE TABLE Customer_ (customerId BIGINT PRIMARY KEY) ENGINE=InnoDB;\n"
        "INSERT INTO Customer_ VALUES (1)",
    )
    world = road.world
    world.say("CREATE DATABASE crm")
    try:
        world.say(
            "CREATE TABLE crm.Invoice (customerId BIGINT, CONSTRAINT fk_customer FOREIGN KEY"
            f" (customerId) REFERENCES `{NAME}`.Customer_ (customerId)) ENGINE=InnoDB"
        )
        world.say("INSERT INTO crm.Invoice VALUES (1)")
        backup_id = road.create()
        assert notices(road, backup_id)["foreign-key-from-elsewhere"].subject == (
            "crm.Invoice.fk_customer"
        )
        before = world.read.live()
        with pytest.raises(InvalidRequest, match="crm.Invoice.fk_customer"):
            road.restore(backup_id)
        assert world.read.live() == before
    finally:
        world.say("DROP DATABASE crm")


def test_a_view_that_reads_another_schema_is_told_with_what_its_restore_needs(road: Road) -> None:
    road.world.root.select_db(NAME)
    road.world.say("CREATE VIEW beyond AS SELECT v.id FROM canary.victim AS v")
    assert notices(road, road.create())["view-of-another-schema"].subject == "beyond"


def test_a_row_that_the_server_could_not_take_again_is_a_notice_with_the_value_to_set(
    road: Road,
) -> None:
    run(road, "CREATE TABLE DLContent (contentId BIGINT PRIMARY KEY, data_ LONGBLOB) ENGINE=InnoDB")
    ((packet,),) = road.world.say("SELECT @@GLOBAL.max_allowed_packet")
    road.world.say("SET GLOBAL max_allowed_packet = 4194304")
    try:
        run(road, "INSERT INTO DLContent VALUES (1, REPEAT(x'DEADBEEF', 650000))")
        told = notices(road, road.create())["row-larger-than-packet"]
    finally:
        road.world.say(f"SET GLOBAL max_allowed_packet = {packet}")
    assert told.subject == "DLContent"
    assert "max_allowed_packet to at least 6291456" in told.detail


def test_what_a_dump_does_not_hold_is_a_notice(road: Road) -> None:
    run(road, "CREATE TABLE measured (id int PRIMARY KEY, f float, d double)")
    expected = {"float-rounded": "measured.f"}
    if road.world.mysql:
        run(road, "ANALYZE TABLE audit UPDATE HISTOGRAM ON what WITH 4 BUCKETS")
        expected["histograms-left-out"] = "audit.what"
    else:
        road.world.say(f"ALTER DATABASE `{NAME}` COMMENT 'the site'")
        expected["schema-comment"] = NAME
    found = notices(road, road.create())
    assert {code: found[code].subject for code in found.keys() & expected.keys()} == expected
