"""A database that one function verifies beside a volume that workers read, as without them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lcp_backup.database import accounts, scratch
from lcp_backup.errors import ServerGaveUp
from lcp_backup.jobs.stored_backup import StoredBackup
from lcp_backup.model import RunState
from tests.support.job_site import JobSite
from tests.support.scratch_schemas import on_server
from tests.support.verify_machine import VerifyMachine


@pytest.fixture
def machine(mariadb_site: JobSite, monkeypatch: pytest.MonkeyPatch) -> VerifyMachine:
    mariadb_site.create()
    machine = VerifyMachine(mariadb_site, monkeypatch)
    machine.load_alone()
    return machine


@pytest.fixture
def left(machine: VerifyMachine) -> Callable[[], set[str]]:
    """What the verification has made on the server and not dropped."""
    before = on_server(machine.site)
    return lambda: on_server(machine.site) - before


def test_a_site_is_proved_as_by_one_function_and_nothing_of_it_stays(
    machine: VerifyMachine, left: Callable[[], set[str]]
) -> None:
    site = machine.site
    site.env["LCP_BACKUP_VERIFY_SQL"] = "SELECT COUNT(*) > 0 FROM User_"
    live = site.fingerprint()
    first = site.catalog.runs.get(site.verify("latest", workers=1)["run_id"])
    alone, reported = site.verification(), site.reported()
    machine.begin()
    run = machine.execute()
    assert (run.state, run.error) == (RunState.SUCCEEDED, None)
    found = site.verification()
    assert found is not None
    assert alone is not None
    assert found.report is not None
    assert alone.report is not None
    of_run = {"run_id", "started_at", "finished_at", "load_seconds", "read_seconds", "report"}
    assert found.model_dump(exclude=of_run) == alone.model_dump(exclude=of_run)
    of_run = {"run_id", "made_at"}
    assert found.report.model_dump(exclude=of_run) == alone.report.model_dump(exclude=of_run)
    assert (found.run_id, found.report.run_id) == (run.id, run.id)
    report, listed = site.reported()
    assert (report, listed) == (found.report, reported[1])
    assert 0 < found.restore_seconds == max(found.load_seconds, found.read_seconds)
    assert run.progress["database"] == first.progress["database"]
    # (A segment in which one portion ends and the next begins is read by both.)
    assert run.progress["volume"] >= first.progress["volume"]
    assert run.result == first.result
    assert live.differences(site.fingerprint()) == []
    assert left() == set()


def test_a_dump_that_does_not_load_is_bad_and_its_statement_named(
    machine: VerifyMachine, left: Callable[[], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = StoredBackup.read_database

    def broken(self: StoredBackup, segments: Any) -> Iterator[Any]:
        for segment, raw in real(self, segments):
            yield segment, raw.replace(b"`userId` bigint", b"`userId` no_such_type")

    monkeypatch.setattr(StoredBackup, "read_database", broken)
    machine.begin()
    run = machine.execute()
    found = machine.site.verification()
    assert found is not None
    assert found.error is not None
    assert (found.verdict, run.state) == ("bad", RunState.FAILED)
    assert found.error == run.error
    assert "definition of User_" in found.error.message
    assert found.server is not None
    assert found.server.startswith("mariadb ")
    assert left() == set()


def test_what_a_killed_function_left_on_the_server_goes_with_the_abort(
    machine: VerifyMachine, left: Callable[[], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill drops nothing, and ends the connections."""
    site = machine.site

    def die(*_: Any) -> None:
        raise ServerGaveUp("killed")

    machine.begin()
    with monkeypatch.context() as patch:
        patch.setattr(scratch, "drop", lambda *_: None)
        patch.setattr(accounts, "_retire", lambda *_: None)
        patch.setattr(scratch, "count_rows", die)
        with pytest.raises(ServerGaveUp) as raised:
            machine.step("database")
    assert left() != set()
    assert machine.abort(raised.value) is False
    assert left() == set()
    found = site.verification()
    assert found is not None
    assert found.verdict == "could-not-verify"
