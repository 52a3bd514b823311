"""Uploads whose database and volume workers restore and prove, and dumps of others' own making."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from lcp_backup.database import shared_load
from lcp_backup.database.policy import Policy
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
_LARGE = _A.replace("w INT", "w INT, doc LONGTEXT")
_MANY = ",".join(f"({number},1,'{'x' * 600}')" for number in range(24_000))
"""More than one piece."""
_MANY_WITHOUT_IDS = ",".join(f"({number},'{'x' * 600}')" for number in range(24_000))
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
    "rows that replace others far before them": _LARGE
    + f"REPLACE INTO `a` VALUES {_MANY};\nREPLACE INTO `a` VALUES (23999,2,'');\n",
    "rows that are there far before them": _LARGE
    + f"INSERT IGNORE INTO `a` VALUES {_MANY};\nINSERT IGNORE INTO `a` VALUES (23999,2,'');\n",
    "ids that the server draws": _LARGE.replace("KEY,", "KEY AUTO_INCREMENT,")
    + f"INSERT INTO `a` (w, doc) VALUES {_MANY_WITHOUT_IDS};\nINSERT INTO `a` (w) VALUES (7);\n",
    "ids that the server draws for none": _LARGE.replace("KEY,", "KEY AUTO_INCREMENT,")
    + f"INSERT INTO `a` VALUES {_MANY.replace('(', '(-1')};\nINSERT INTO `a` VALUES (NULL,7,'');\n"
    + "INSERT INTO `a` VALUES (0,8,'');\n",
    "an engine that is set between": _A
    + _ROWS
    + "SET default_storage_engine=MyISAM;\n"
    + _B.replace(" ENGINE=InnoDB", "")
    + "INSERT INTO `b` VALUES (1,1);\n",
    "names that differ by case": _A + _A.replace("`a`", "`A`") + _ROWS + _AGAIN.upper(),
    "a mode that changes between": _A
    + _ROWS
    + "SET SQL_MODE='NO_AUTO_VALUE_ON_ZERO';\n"
    + _B.replace("KEY,", "KEY AUTO_INCREMENT,")
    + "INSERT INTO `b` VALUES (0,1);\n",
    "an engine without transactions": _A.replace("InnoDB", "MyISAM") + _ROWS + _B + _AGAIN,
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
    read = "SELECT * FROM {}.`{}` ORDER BY id"
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

    def load(*_: object) -> None:
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
