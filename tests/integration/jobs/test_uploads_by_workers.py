"""Uploads whose database and volume workers restore and prove, and dumps of others' own making."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lcp_backup.database import sections, shared_load
from lcp_backup.database.policy import Policy
from lcp_backup.database.session import Session
from lcp_backup.errors import InvalidRequest
from lcp_backup.jobs.staged_site import SiteStaging
from lcp_backup.model import RunState
from tests.support.foreign_dumps import (
    AMONG_OTHERS,
    ENDS_WITH_ROWS,
    FOREIGN,
    IN_ORDER,
    loaded_by_hand,
    made,
    rows,
    said_among_others,
    sent,
    stock,
)
from tests.support.job_site import JobSite
from tests.support.large_table import ROWS
from tests.support.restore_machine import RestoreMachine
from tests.support.sender import Sender
from tests.support.verify_machine import VerifyMachine


@pytest.fixture
def by_hand(mariadb_site: JobSite) -> Iterator[JobSite]:
    """A site beside which `mariadb` loads dumps into the database `by_hand`."""
    drop = "DROP DATABASE IF EXISTS by_hand"
    mariadb_site.server.execute(drop)
    yield mariadb_site
    mariadb_site.server.execute(drop)


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


def test_rows_that_are_the_end_of_a_dump_are_counted_too(
    mariadb_site: JobSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup_id = sent(mariadb_site, tmp_path, ENDS_WITH_ROWS)
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
    dump = said_among_others(said)
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
