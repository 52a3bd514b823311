"""A database that is loaded beside the live one by a step of its own, while workers unpack."""

from typing import Any

import pytest

from lcp_backup.aws.machines import MachineStarter
from lcp_backup.database.staged_schema import StagedDatabase
from lcp_backup.errors import LeaseLost, RunIsOver
from lcp_backup.jobs.staged_site import SiteStaging
from lcp_backup.model import RunState
from lcp_backup.requests import RestoreStepRequest
from lcp_backup.service import deadline
from tests.support.job_site import JobSite

_QUARTER_HOUR = 15 * 60 * 1000  # milliseconds


class Machine:
    """A restore that was begun, and what its state machine asks for."""

    def __init__(self, site: JobSite, monkeypatch: pytest.MonkeyPatch) -> None:
        self.site = site
        self.told: dict[str, Any] = {}
        site.env["LCP_RESTORE_MACHINE"] = "arn"

        def start(_starter: MachineStarter, _arn: str, _name: str, told: dict[str, Any]) -> None:
            self.told.update(told)

        monkeypatch.setattr(MachineStarter, "start", start)

    def begin(self, **request: Any) -> None:
        answer = self.site.restore(workers=2, **request)
        assert answer["restored"] is False
        assert self.told["run_id"] == answer["run_id"]

    def step(self, step: str, **more: Any) -> dict[str, Any]:
        event = {"run_id": self.told["run_id"], "step": step, **more}
        return self.site.service().restore_step(
            RestoreStepRequest.read(event), deadline(_QUARTER_HOUR)
        )

    def unpack(self) -> None:
        work = self.site.catalog.work.of(self.told["run_id"])
        for portion in range(work.get("items").count(b"portion")):
            assert self.step("unpack", portion=portion) == {"done": True}
        self.step("attributes")

    @property
    def state(self) -> RunState:
        return self.site.catalog.runs.get(self.told["run_id"]).state


@pytest.fixture
def machine(mariadb_site: JobSite, monkeypatch: pytest.MonkeyPatch) -> Machine:
    mariadb_site.create()
    return Machine(mariadb_site, monkeypatch)


def change(site: JobSite) -> None:
    with site.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {site.name}.Image_")
    (site.folder / "document_library" / "large.bin").unlink()


@pytest.mark.parametrize("load_first", [True, False])
def test_what_was_loaded_beside_is_swapped_in_with_what_workers_unpacked(
    machine: Machine, *, load_first: bool
) -> None:
    site = machine.site
    before = site.fingerprint()
    change(site)
    changed = site.fingerprint()
    machine.begin()
    assert machine.told["loads"] is True
    for work in [machine_load, Machine.unpack] if load_first else [Machine.unpack, machine_load]:
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


def machine_load(machine: Machine) -> None:
    assert machine.step("load") == {}


def test_an_abort_leaves_nothing_of_what_was_loaded_beside(machine: Machine) -> None:
    site = machine.site
    change(site)
    changed = site.fingerprint()
    machine.begin()
    machine.step("load")
    assert len(site.schemas()) > 1
    machine.step("abort", error={"Error": "ArchiveDamaged", "Cause": ""})
    assert site.schemas() == {site.name}
    assert changed.differences(site.fingerprint()) == []
    assert machine.state is RunState.FAILED
    with pytest.raises(RunIsOver):
        machine.step("load")


def test_a_load_that_is_still_under_way_when_the_run_is_aborted_takes_itself_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = machine.site
    machine.begin()
    load = SiteStaging.load

    def overtaken(self: SiteStaging, check: Any) -> StagedDatabase:
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
    [({"only": "volume"}, False), ({"into_database": "elsewhere_1"}, True)],
)
def test_the_machine_is_told_whether_there_is_anything_to_load(
    machine: Machine, request_: dict[str, Any], *, loads: bool
) -> None:
    machine.begin(**request_)
    assert machine.told["loads"] is loads
    machine.step("abort", error={"Error": "States.Timeout", "Cause": ""})


def test_a_database_that_is_overwritten_is_loaded_by_the_swap(machine: Machine) -> None:
    site = machine.site
    before = site.fingerprint()
    change(site)
    site.env["LCP_BACKUP_RESTORE_STRATEGY"] = "OVERWRITE"
    machine.begin()
    assert machine.told["loads"] is False
    machine.unpack()
    machine.step("swap")
    assert before.differences(site.fingerprint()) == []
