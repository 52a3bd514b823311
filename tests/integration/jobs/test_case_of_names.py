"""Dumps on a server to which names that differ only in case are one (lower_case_table_names)."""

from pathlib import Path

import pytest

from lcp_backup.errors import LoadFailed
from lcp_backup.model import RunState
from tests.support.job_site import JobSite
from tests.support.restore_machine import RestoreMachine
from tests.support.sender import Sender
from tests.support.verify_machine import VerifyMachine

_TABLE = "CREATE TABLE `{0}` (id INT PRIMARY KEY, w INT) ENGINE=InnoDB;\n"
_ROW = "INSERT INTO `{0}` VALUES ({1},{1});\n"
_DROP = "DROP TABLE IF EXISTS `{0}`;\n"
_FIRST = _TABLE.format("Foo") + _ROW.format("Foo", 1)

TWO_IN_ONE = {
    "both with rows": _FIRST + _DROP.format("foo") + _TABLE.format("foo") + _ROW.format("foo", 2),
    "the second one empty": _FIRST + _DROP.format("foo") + _TABLE.format("foo"),
    "with an end": "SET @OLD_TIME_ZONE=@@TIME_ZONE;\n"
    + _FIRST
    + _DROP.format("foo")
    + _TABLE.format("foo")
    + _ROW.format("foo", 2)
    + "SET TIME_ZONE=@OLD_TIME_ZONE;\n",
}
_REFUSED = "'Foo', 'foo' differ only in case|rows were loaded into 'Foo' and"
"""(As many rows in both as one of them has, is noticed last.)"""
_DEFINED = "CREATE DATABASE IF NOT EXISTS `lportal`;\nUSE `lportal`;\n"


def sent(site: JobSite, folder: Path, dump: str) -> str:
    sender = Sender(site, folder)
    whole = f"{_DEFINED}{dump}-- Dump completed\n".encode()
    return sender.take_in(sender.send(whole, sender.packed("document_library/empty")))


@pytest.mark.parametrize("dump", TWO_IN_ONE.values(), ids=TWO_IN_ONE.keys())
def test_tables_that_are_one_to_the_server_are_refused_whoever_loads_them(
    folding_site: JobSite, tmp_path: Path, dump: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = folding_site
    before = site.fingerprint()
    backup_id = sent(site, tmp_path, dump)
    for strategy in ("PREPARE_AND_SWAP", "OVERWRITE"):
        site.env["LCP_BACKUP_RESTORE_STRATEGY"] = strategy
        with pytest.raises(LoadFailed, match=_REFUSED):
            site.restore(backup_id, only="database")
        assert before.differences(site.fingerprint()) == []
    del site.env["LCP_BACKUP_RESTORE_STRATEGY"]
    with pytest.raises(LoadFailed, match=_REFUSED):
        site.verify(backup_id)
    restore = RestoreMachine(site, monkeypatch)
    restore.begin(backup_id=backup_id, only="database")
    with pytest.raises(LoadFailed, match=_REFUSED):
        restore.execute()
    restore.end()
    verification = VerifyMachine(site, monkeypatch)
    verification.begin(backup_id=backup_id)
    assert verification.execute().state is RunState.FAILED
    assert before.differences(site.fingerprint()) == []
    assert site.schemas() == {site.name}


def test_rows_find_their_table_in_any_case_where_the_server_finds_it(
    folding_site: JobSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = folding_site
    dump = _FIRST + _ROW.format("FOO", 2) + _ROW.format("foo", 3)
    backup_id = sent(site, tmp_path, dump)
    read = f"SELECT id FROM {site.name}.foo ORDER BY id"
    site.restore(backup_id, tables=["Foo"])
    assert site.server.execute(read) == ((1,), (2,), (3,))
    site.restore(backup_id, only="database")
    assert site.server.execute(read) == ((1,), (2,), (3,))
    site.server.execute(f"DROP DATABASE {site.name}")
    restore = RestoreMachine(site, monkeypatch)
    restore.begin(backup_id=backup_id, only="database")
    restore.execute()
    assert site.server.execute(read) == ((1,), (2,), (3,))
