"""Uploads whose database and volume workers restore and prove, and dumps of others' own making."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from lcp_backup.database import sections, shared_load
from lcp_backup.database.policy import Policy
from lcp_backup.database.session import Session
from lcp_backup.errors import InvalidRequest
from lcp_backup.jobs.staged_site import SiteStaging
from lcp_backup.model import RunState
from tests.support.job_site import JobSite
from tests.support.large_table import ROWS, backed_up
from tests.support.restore_machine import RestoreMachine
from tests.support.sender import Sender
from tests.support.verify_machine import VerifyMachine

_HEAD = "CREATE DATABASE IF NOT EXISTS `lportal`;\nUSE `lportal`;\n"
_A = "CREATE TABLE `a` (id INT PRIMARY KEY, w INT) ENGINE=InnoDB;\n"
_B = "CREATE TABLE `b` (id INT PRIMARY KEY, w INT) ENGINE=InnoDB;\n"
_ROWS = "INSERT INTO `a` VALUES (1,1),(2,2);\n"
_AGAIN = "INSERT INTO `a` VALUES (3,3);\n"
_DROP = "DROP TABLE IF EXISTS `a`;\n"

FOREIGN: Final = {
    "a table that is defined twice": _DROP + _A + _ROWS + _DROP + _A + _AGAIN,
    "a table that gets a column": _DROP
    + _A
    + _ROWS
    + _DROP
    + _A.replace("w INT", "w INT, more INT")
    + _AGAIN.replace("3)", "3,3)"),
    "another one between": _DROP + _A + _ROWS + _B + _DROP + _A + _AGAIN,
    "defined anew in the place of stored code": _A
    + _ROWS
    + "DELIMITER ;;\nCREATE PROCEDURE p() SELECT 1;;\nDROP TABLE a;;\n"
    + _A.replace(";\n", ";;\n")
    + "DELIMITER ;\n"
    + _AGAIN,
    "there already": _A + _ROWS + _A.replace("TABLE", "TABLE IF NOT EXISTS") + _AGAIN,
    "dropped in the end": _A + _ROWS + _B + "DROP TABLE b;\n" + _AGAIN,
    "rows that replace others": _A + _ROWS + "REPLACE INTO `a` VALUES (2,9),(4,4);\n",
    "in the place of a key that comes later": _A.replace("id INT PRIMARY KEY", "id INT")
    + _ROWS
    + "ALTER TABLE `a` ADD PRIMARY KEY (id);\nALTER TABLE a ADD KEY (w);\n"
    + "REPLACE INTO `a` VALUES (2,9),(4,4);\n",
    "rows that are there": _A + _ROWS + "INSERT IGNORE INTO `a` VALUES (2,9),(4,4);\n",
    "names that differ by case": _A + _A.replace("`a`", "`A`") + _ROWS + _AGAIN.upper(),
    "a mode that changes between": _A
    + _ROWS
    + "SET SQL_MODE='NO_AUTO_VALUE_ON_ZERO';\n"
    + _B.replace("KEY,", "KEY AUTO_INCREMENT,")
    + "INSERT INTO `b` VALUES (0,1);\n",
    "literals that the server converts": "SET NAMES latin1;\nSET character_set_connection=binary;\n"
    + _A.replace("w INT", "w VARCHAR(9) CHARACTER SET utf8mb4")
    + "INSERT INTO `a` VALUES (1,'\u00e4');\n",
    "an engine without transactions": _A.replace("InnoDB", "MyISAM") + _ROWS + _B + _AGAIN,
}
_REPEATED = "{0} INTO a VALUES (1,1),(2,2);\n{0} INTO a VALUES (2,9),(4,4);\n"
_ANY = "CREATE TABLE `a` (id INT AUTO_INCREMENT PRIMARY KEY, w INT) ENGINE=InnoDB;\n"
_CODE = "DELIMITER ;;\nCREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET @x = 1;;\nDELIMITER ;\n"
_OLD = "SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO';\n"
_BACK = "SET SQL_MODE=@OLD_SQL_MODE;\n"

IN_ORDER: Final = {
    "the last row of a key": _A + _REPEATED.format("REPLACE"),
    "the first row of a key": _A + _REPEATED.format("INSERT IGNORE"),
    "ids that the server gives": _ANY + "INSERT INTO a (w) VALUES (5),(6);\n" * 2,
    "ids in the place of none": _ANY
    + "INSERT INTO a VALUES (NULL,5);\nINSERT INTO a VALUES (0,6);\n",
    "a sequence": "CREATE SEQUENCE s ENGINE=InnoDB;\n"
    + _A.replace("id INT", "id INT DEFAULT NEXTVAL(s)")
    + "INSERT INTO a (w) VALUES (5);\nINSERT INTO a (w) VALUES (6);\n",
    "tables behind the end": _OLD
    + _A
    + _ROWS
    + _BACK
    + _ANY.replace("`a`", "b")
    + "INSERT INTO b VALUES (0,1);\n"
    + _BACK,
    "an engine set between": _A
    + _ROWS
    + "SET default_storage_engine=MyISAM;\n"
    + "CREATE TABLE b (id INT);\n",
    "another table where one is defined": _A
    + _ROWS
    + "DELIMITER ;;\n"
    + (_B + _DROP + _A).replace(";\n", ";;\n")
    + "DELIMITER ;\n"
    + "INSERT INTO b VALUES (7,7);\n",
    "a trigger that goes with its table": _DROP + _A + _ROWS + _CODE + _DROP + _A + _ROWS + _CODE,
    "a trigger that is gone with its table": _A + _ROWS + _CODE + _DROP + _A + _ROWS,
    "a trigger of a table that is replaced": _A
    + _ROWS
    + _CODE
    + _A.replace("CREATE", "CREATE OR REPLACE")
    + _ROWS,
    "a view that is there": _A
    + _ROWS
    + "CREATE VIEW v AS SELECT 1 AS id;\nCREATE VIEW IF NOT EXISTS v AS SELECT 2 AS id;\n",
    "a routine twice": _A
    + _ROWS
    + "DROP PROCEDURE IF EXISTS p;\nCREATE PROCEDURE p() SELECT 1;\n" * 2,
    "code that is dropped": _A
    + _ROWS
    + "CREATE VIEW v AS SELECT 1 AS id;\nDROP VIEW v;\n"
    + _CODE
    + "DROP TRIGGER t;\n"
    + _B,
}


_STAMPS = "CREATE TABLE `{}` (id INT AUTO_INCREMENT PRIMARY KEY, s TIMESTAMP NULL) ENGINE=InnoDB;\n"
_STAMP = "INSERT INTO `{}` VALUES ({},'2020-01-01 00:00:00');\n"

AMONG_OTHERS: Final = {
    "the time zone": "SET TIME_ZONE='+05:00';\n",
    "the SQL mode": "SET SQL_MODE='NO_AUTO_VALUE_ON_ZERO';\n",
    "behind a routine": "DROP PROCEDURE IF EXISTS p;\nCREATE PROCEDURE p() SELECT 1;\n"
    "SET TIME_ZONE='+05:00';\n",
    "a column, behind a DELIMITER line": "DELIMITER ;;\nCREATE PROCEDURE p() SELECT 1;;\n"
    "ALTER TABLE b ADD z INT DEFAULT 4;;\nDELIMITER ;\n",
}


@pytest.fixture
def by_hand(mariadb_site: JobSite) -> Iterator[JobSite]:
    """A site beside which `mariadb` loads dumps into the database `by_hand`."""
    drop = "DROP DATABASE IF EXISTS by_hand"
    mariadb_site.server.execute(drop)
    yield mariadb_site
    mariadb_site.server.execute(drop)


def loaded_by_hand(site: JobSite, dump: str) -> dict[str, Any]:
    site.server.execute("CREATE DATABASE by_hand")
    command = site.server.client("by_hand")
    subprocess.run(command, input=dump.encode(), check=True, capture_output=True)
    return rows(site, "by_hand")


def rows(site: JobSite, schema: str) -> dict[str, Any]:
    """Of each table, with its engine."""
    names = site.server.execute(
        f"SELECT table_name, engine FROM information_schema.tables WHERE table_schema = '{schema}'"
    )
    read = "SELECT * FROM {}.`{}` ORDER BY 1"
    return {
        str(name): (engine, site.server.execute(read.format(schema, name)))
        for name, engine in names
    }


def sent(site: JobSite, folder: Path, dump: str) -> str:
    sender = Sender(site, folder)
    volume = sender.packed("document_library/empty", "document_library/Übersicht.txt")
    whole = f"{_HEAD}{dump}-- Dump completed\n".encode()
    return sender.take_in(sender.send(whole, volume))


@pytest.mark.parametrize("dump", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_dump_of_anybodys_comes_back_as_the_stock_client_loads_it_and_is_proved(
    by_hand: JobSite, tmp_path: Path, dump: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = loaded_by_hand(by_hand, dump)
    assert any(there for _, there in expected.values())
    backup_id = sent(by_hand, tmp_path, dump)
    by_hand.restore(backup_id, only="database")
    assert rows(by_hand, by_hand.name) == expected
    assert by_hand.verify(backup_id)["verdict"] == "verified"
    by_hand.server.execute(f"DROP DATABASE {by_hand.name}")
    restore = RestoreMachine(by_hand, monkeypatch)
    restore.begin(backup_id=backup_id, only="database")
    restore.execute()
    assert rows(by_hand, by_hand.name) == expected
    verification = VerifyMachine(by_hand, monkeypatch)
    verification.begin(backup_id=backup_id)
    assert verification.execute().state is RunState.SUCCEEDED, verification.record.error
    assert by_hand.schemas() == {by_hand.name}


@pytest.mark.parametrize("dump", IN_ORDER.values(), ids=IN_ORDER.keys())
def test_what_rows_mean_by_their_place_they_mean_whoever_loads_them(
    by_hand: JobSite, tmp_path: Path, dump: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = loaded_by_hand(by_hand, dump), made(by_hand, "by_hand")
    monkeypatch.setattr(sections, "SEGMENT_SIZE", 1)  # each statement is a piece
    backup_id = sent(by_hand, tmp_path, dump)
    by_hand.restore(backup_id, only="database")
    assert (rows(by_hand, by_hand.name), made(by_hand, by_hand.name)) == expected
    by_hand.server.execute(f"DROP DATABASE {by_hand.name}")
    restore = RestoreMachine(by_hand, monkeypatch)
    restore.begin(backup_id=backup_id, only="database")
    assert restore.step("tables") == {}
    for portion in reversed(restore.items("items-rows")):
        assert restore.step("rows", portion=portion) == {"done": True}
    restore.finish()
    assert (rows(by_hand, by_hand.name), made(by_hand, by_hand.name)) == expected


def made(site: JobSite, schema: str) -> list[tuple[object, ...]]:
    """The engines of tables, and what stored code there is."""
    return [
        *site.server.execute(
            "SELECT table_name, engine FROM information_schema.tables"
            f" WHERE table_schema = '{schema}' ORDER BY table_name"
        ),
        *site.server.execute(
            "SELECT trigger_name FROM information_schema.triggers"
            f" WHERE trigger_schema = '{schema}'"
        ),
        *site.server.execute(
            "SELECT routine_name FROM information_schema.routines"
            f" WHERE routine_schema = '{schema}'"
        ),
    ]


def test_rows_that_are_the_end_of_a_dump_are_counted_too(
    mariadb_site: JobSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup_id = sent(mariadb_site, tmp_path, _A + _B + _ROWS + "INSERT INTO `b` VALUES (1,1);\n")
    counted = []
    count = Session.count

    def counting(session: Session, table: str) -> int:
        counted.append(table)
        return count(session, table)

    monkeypatch.setattr(Session, "count", counting)
    mariadb_site.restore(backup_id, only="database")
    assert sorted(counted) == ["a", "b"]


@pytest.mark.parametrize("said", AMONG_OTHERS.values(), ids=AMONG_OTHERS.keys())
def test_a_part_of_a_dump_means_what_it_does_in_the_whole(
    by_hand: JobSite, tmp_path: Path, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it is said among the rows of a table that is not asked for."""
    tables = _STAMPS.format("a") + _STAMPS.format("b")
    one, two = _STAMP.format("a", 1) + said, _STAMP.format("a", 2)
    trigger = "CREATE TRIGGER {0} BEFORE INSERT ON {0} FOR EACH ROW SET @x = 1;\n"
    end = "SET SQL_MODE='';\n" + trigger.format("b") + trigger.format("a")
    if "ALTER" in said:
        dump = tables + one + end
    else:
        dump = tables + one + two + _STAMP.format("b", 0) + end
    expected = loaded_by_hand(by_hand, dump)["b"]
    backup_id = sent(by_hand, tmp_path, dump)
    name = by_hand.name
    by_hand.server.execute(f"CREATE TABLE `{name}`.a (live INT)")
    by_hand.restore(backup_id, tables=["b"])
    assert rows(by_hand, name)["b"] == expected
    by_hand.server.execute(f"DROP TABLE `{name}`.b")
    restore = RestoreMachine(by_hand, monkeypatch)
    restore.begin(backup_id=backup_id, tables=["b"])
    restore.execute()
    there = rows(by_hand, name)
    assert there["b"] == expected
    assert there["a"] == ("InnoDB", ())
    assert len(there) > 2, "the site's other tables stay"
    triggers = f"SHOW TRIGGERS FROM `{name}` WHERE `Table` IN ('a', 'b')"
    assert [row[0] for row in by_hand.server.execute(triggers)] == ["b"]
    assert by_hand.schemas() == {name}


def stock(site: JobSite, folder: Path) -> str:
    """What a user packs of the site, taken in."""
    backed_up(site)
    sender = Sender(site, folder)
    return sender.take_in(sender.send(sender.dumped(), sender.packed("document_library")))


def test_what_stock_programs_packed_comes_back_by_workers_and_by_none_alone(
    job_site: JobSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = RestoreMachine(job_site, monkeypatch)
    backup_id = stock(job_site, tmp_path)
    before = job_site.fingerprint()
    with job_site.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE `{job_site.name}`")
    for file in (job_site.folder / "document_library").iterdir():
        file.rename(file.with_name(f"other {file.name}"))

    def load(*_: object, **__: object) -> None:
        raise AssertionError("one function loads the whole database")

    monkeypatch.setattr(SiteStaging, "load", load)
    uploaded: list[bool] = []

    class Recording(Policy):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            uploaded.append(kwargs["uploaded"])
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(shared_load, "Policy", Recording)
    machine.begin(backup_id=backup_id)
    assert machine.step("tables") == {}
    machine.load_rows_by_three()
    machine.finish()
    assert set(uploaded) == {True}, "what a stranger wrote is judged as that"
    result = machine.record.result
    assert result["events_disabled"] == ["ForgetAudit"]
    loaded = result["rows"]
    assert isinstance(loaded, int)
    assert loaded > ROWS
    job_site.server.execute(f"ALTER EVENT `{job_site.name}`.ForgetAudit ENABLE")
    assert before.differences(job_site.fingerprint()) == []
    assert job_site.schemas() == {job_site.name}


def test_what_stock_programs_packed_is_proved_by_workers_and_a_row_too_few_is_bad(
    job_site: JobSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = VerifyMachine(job_site, monkeypatch)
    backup_id = stock(job_site, tmp_path)
    machine.begin(backup_id=backup_id)
    assert machine.told["loads"] == "by-workers"
    assert machine.execute().state is RunState.SUCCEEDED
    job_site.env["LCP_BACKUP_VERIFY_SQL"] = f"SELECT COUNT(*) = {ROWS + 1} FROM big"
    machine.begin(backup_id=backup_id)
    assert machine.execute().state is RunState.FAILED
    assert machine.record.error is not None
    assert machine.record.error.code == "load-failed"


def test_an_uploaded_volume_whose_members_have_an_order_is_unpacked_by_one_function(
    mariadb_site: JobSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = RestoreMachine(mariadb_site, monkeypatch)
    library = mariadb_site.folder / "document_library"
    (library / "second.txt").hardlink_to(library / "Übersicht.txt")
    before = mariadb_site.fingerprint()
    sender = Sender(mariadb_site, tmp_path)
    backup_id = sender.take_in(sender.send(sender.dumped(), sender.packed("document_library")))
    with pytest.raises(InvalidRequest, match="hard links"):
        machine.begin(backup_id=backup_id)
    (library / "second.txt").unlink()
    mariadb_site.restore(backup_id)
    mariadb_site.server.execute(f"ALTER EVENT `{mariadb_site.name}`.ForgetAudit ENABLE")
    assert before.differences(mariadb_site.fingerprint()) == []
    assert (library / "second.txt").samefile(library / "Übersicht.txt")
