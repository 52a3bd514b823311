"""A database that is loaded beside the live one by a step of its own, while workers unpack."""

from collections.abc import Iterator
from typing import Any

import pytest

from lcp_backup.catalog.work import RunWork
from lcp_backup.database import staged_schema
from lcp_backup.database.piece_load import PieceLoad
from lcp_backup.database.staged_schema import StagedDatabase
from lcp_backup.errors import Conflict, LeaseLost, LoadFailed, RunIsOver
from lcp_backup.jobs.staged_site import SiteStaging
from lcp_backup.model import RunState
from tests.support.job_site import JobSite
from tests.support.restore_machine import RestoreMachine


@pytest.fixture
def machine(mariadb_site: JobSite, monkeypatch: pytest.MonkeyPatch) -> Iterator[RestoreMachine]:
    mariadb_site.create()
    machine = RestoreMachine(mariadb_site, monkeypatch)
    yield machine
    machine.end()


@pytest.fixture(params=["alone", "by-workers"])
def loading(machine: RestoreMachine, request: pytest.FixtureRequest) -> RestoreMachine:
    """One whose database one function loads, and one whose rows several do."""
    if request.param == "alone":
        machine.load_alone()
    return machine


def change(site: JobSite) -> None:
    with site.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {site.name}.Image_")
    (site.folder / "document_library" / "large.bin").unlink()


@pytest.mark.parametrize("load_first", [True, False])
def test_what_was_loaded_beside_is_swapped_in_with_what_workers_unpacked(
    loading: RestoreMachine, *, load_first: bool
) -> None:
    machine, site = loading, loading.site
    before = site.fingerprint()
    change(site)
    changed = site.fingerprint()
    machine.begin()
    works = [RestoreMachine.load, RestoreMachine.unpack]
    for work in works if load_first else reversed(works):
        work(machine)
        assert changed.differences(site.fingerprint()) == [], "the live site is as it was"
    machine.step("load")  # a second delivery
    machine.step("swap")
    assert before.differences(site.fingerprint()) == []
    assert site.schemas() == {site.name}
    run = site.catalog.runs.get(machine.told["run_id"])
    assert (run.state, run.result["whole"]) == (RunState.SUCCEEDED, True)
    assert run.result["rows"]
    # (All but what makes a tar file of it.)
    assert 0 < site.manifest().database.raw_size - run.progress["database"] < 4096
    assert list(site.catalog.work.of(run.id).names()) == []


def test_an_abort_leaves_nothing_of_what_was_loaded_beside(loading: RestoreMachine) -> None:
    machine, site = loading, loading.site
    change(site)
    changed = site.fingerprint()
    machine.begin()
    machine.load()
    assert len(site.schemas()) > 1
    machine.step("abort", error={"Error": "ArchiveDamaged", "Cause": ""})
    assert site.schemas() == {site.name}
    assert changed.differences(site.fingerprint()) == []
    assert machine.state is RunState.FAILED
    with pytest.raises(RunIsOver):
        machine.step("load")


def test_a_load_that_is_still_under_way_when_the_run_is_aborted_takes_itself_back(
    machine: RestoreMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = machine.site
    machine.load_alone()
    machine.begin()
    load = SiteStaging.load

    def overtaken(self: SiteStaging, check: Any, **_: Any) -> StagedDatabase:
        staged = load(self, check)
        run_id = machine.told["run_id"]
        site.catalog.work.of(run_id).put("closed-load", b"")  # as an abort begins
        check.__self__._until = site.catalog.now()
        return staged

    monkeypatch.setattr(SiteStaging, "load", overtaken)
    with pytest.raises(LeaseLost):
        machine.step("load")
    assert site.schemas() == {site.name}


@pytest.mark.parametrize(
    ("request_", "loads"),
    [({"only": "volume"}, "in-swap"), ({"into_database": "elsewhere_1"}, "by-workers")],
)
def test_the_machine_is_told_who_loads(
    machine: RestoreMachine, request_: dict[str, Any], loads: str
) -> None:
    machine.begin(**request_)
    assert machine.told["loads"] == loads
    machine.step("abort", error={"Error": "States.Timeout", "Cause": ""})


def test_a_database_that_is_overwritten_is_loaded_by_the_swap(machine: RestoreMachine) -> None:
    site = machine.site
    before = site.fingerprint()
    change(site)
    site.env["LCP_BACKUP_RESTORE_STRATEGY"] = "OVERWRITE"
    machine.begin()
    assert machine.told["loads"] == "in-swap"
    machine.unpack()
    machine.step("swap")
    assert before.differences(site.fingerprint()) == []


@pytest.mark.parametrize("step", ["tables", "load"])
def test_a_second_delivery_does_not_do_away_with_what_the_first_is_at_work_on(
    machine: RestoreMachine, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    site = machine.site
    before = site.fingerprint()
    change(site)
    machine.begin()
    method = {"tables": "share_out", "load": "complete"}[step]
    first = getattr(SiteStaging, method)
    refused: list[str] = []

    def under_way(self: SiteStaging, *given: Any) -> Any:
        done = first(self, *given)
        with pytest.raises(Conflict, match=f"does the step {step} of run") as raised:
            machine.step(step)
        refused.append(str(raised.value))
        return done

    monkeypatch.setattr(SiteStaging, method, under_way)
    machine.execute()
    assert len(refused) == 1
    assert before.differences(site.fingerprint()) == []
    assert machine.state is RunState.SUCCEEDED


def test_what_a_second_delivery_had_begun_anew_when_it_was_killed_is_not_swapped_in(
    machine: RestoreMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = machine.site
    change(site)
    changed = site.fingerprint()
    machine.load_alone()
    machine.begin()
    machine.unpack()
    load, add_foreign_keys = SiteStaging.load, PieceLoad.add_foreign_keys

    def second(self: SiteStaging, check: Any, **_: Any) -> StagedDatabase:
        patched.setattr(SiteStaging, "load", load)
        patched.setattr(RunWork, "claim", lambda *_: True)  # as if both were the first
        with monkeypatch.context() as alive:
            alive.setattr(PieceLoad, "add_foreign_keys", add_foreign_keys)
            machine.step("load")  # the first one ends while this one waits for it
        return load(self, check)

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(SiteStaging, "load", second)
        patched.setattr(PieceLoad, "add_foreign_keys", killed)
        patched.setattr(staged_schema, "discard_if_possible", lambda *_: None)
        with pytest.raises(Killed):
            machine.step("load")
    with pytest.raises(LoadFailed, match="is not there any more"):
        machine.step("swap")
    assert changed.differences(site.fingerprint()) == []
    assert site.schemas() == {site.name}
