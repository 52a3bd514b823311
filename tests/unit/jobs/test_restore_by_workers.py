"""A volume that workers restore is what one function restores, and a failure leaves the old one."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from lcp_backup.archive.read import OpenArchive
from lcp_backup.catalog import Catalog
from lcp_backup.database.accounts import Accounts
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.errors import (
    ArchiveDamaged,
    BackupError,
    Conflict,
    InvalidRequest,
    LeaseHeld,
    LeaseLost,
    NotFound,
    RunIsOver,
    UnknownFormat,
)
from lcp_backup.jobs import at_work, restore_by_workers, restored
from lcp_backup.jobs.active_run import RunTiming
from lcp_backup.jobs.at_work import AtWork
from lcp_backup.jobs.handing_out import ALONE
from lcp_backup.jobs.restore import restore_backup
from lcp_backup.jobs.restore_by_workers import work_on_restore
from lcp_backup.jobs.restore_fan_out import workers_for
from lcp_backup.jobs.restored import RestoreResult
from lcp_backup.jobs.retirement import delete_backup
from lcp_backup.jobs.staged_site import SiteStaging
from lcp_backup.jobs.stored_backup import StoredBackup
from lcp_backup.model import BackupType, Run, RunState
from lcp_backup.requests import RestoreRequest
from lcp_backup.settings import Settings
from lcp_backup.steps import RestoreStepRequest
from lcp_backup.telemetry import Telemetry
from lcp_backup.volume.shared_tree import SharedTree
from lcp_backup.volume.slices import Slice
from tests.support.backups import a_manifest
from tests.support.clock import SettableClock
from tests.support.trees import Member, odd_tree, snapshot
from tests.support.volumes import Volumes, refer_to_every_size

IDLE = RunTiming(heartbeat=timedelta(hours=1))
SERVER = DatabaseEndpoint(host="nowhere", port=3306, user="u", password=SecretStr("p"), name="d")


@dataclass
class Site:
    """A folder, its backups, and a state machine that does what restore.asl.json says."""

    catalog: Catalog
    telemetry: Telemetry
    folder: Path
    clock: SettableClock
    started: list[dict[str, Any]] = field(default_factory=list)
    retries: int = 1

    @property
    def settings(self) -> Settings:
        return Settings.from_env(
            {
                "LCP_PROJECT_ID": "acme",
                "LCP_ENVIRONMENT_ID": "prd",
                "LCP_BACKUP_FOLDER": str(self.folder),
                "LCP_RESTORE_MACHINE": "arn",
            }
        )

    def restore(self, **request: Any) -> RestoreResult:
        """What the restore function answers; the machine is started and does nothing yet."""
        asked = {"backup_id": "latest", "only": "volume", "workers": 3, **request}
        return restore_backup(
            RestoreRequest(**asked),
            settings=self.settings,
            catalog=self.catalog,
            source=self.catalog,
            telemetry=self.telemetry,
            locate=lambda: SERVER,
            accounts=lambda: Accounts(None, None),
            timing=IDLE,
            start_workers=lambda name, event: self.started.append({"name": name, **event}),
        )

    def step(self, step: str, **more: Any) -> dict[str, Any]:
        """One invocation."""
        event = {"run_id": self.started[-1]["run_id"], "step": step, **more}
        return work_on_restore(
            RestoreStepRequest.read(event),
            settings=self.settings,
            catalog=self.catalog,
            source=self.catalog,
            telemetry=self.telemetry,
            locate=lambda: SERVER,
            accounts=lambda: Accounts(None, None),
            timing=IDLE,
            pause=lambda seconds: self.clock.pass_by(timedelta(seconds=seconds)),
        )

    def unpack(self, portion: int) -> int:
        """One item of the Map; how many invocations it took."""
        calls, left = 0, self.retries
        while True:
            calls += 1
            try:
                if self.step("unpack", portion=portion)["done"]:
                    return calls
            except BackupError:
                if not left:
                    raise
                left -= 1

    def execute(self) -> int:
        """The whole machine, or what it comes to; how many invocations unpacked."""
        try:
            with ThreadPoolExecutor(3) as pool:
                calls = sum(pool.map(self.unpack, self.portions()))
            self.step("attributes")
            self.step("swap")
        except BackupError as error:
            self.step("abort", error={"Error": type(error).__name__, "Cause": ""})
            raise
        return calls

    def portions(self) -> range:
        event = self.started[-1]
        work = self.catalog.work.of(event["run_id"])
        assert work.place("items") == {name: event[name] for name in ("bucket", "key")}
        return range(work.get("items").count(b"portion"))

    @property
    def record(self) -> Run:
        return self.catalog.runs.get(self.started[-1]["run_id"])

    def is_settled(self) -> bool:
        """Whether nothing is left of a restore but its record."""
        self.catalog.lease.check_is_free()
        left = list(self.catalog.work.of(self.started[-1]["run_id"]).names())
        return not left and [it.name for it in self.folder.parent.iterdir()] == [self.folder.name]


@pytest.fixture
def site(
    catalog: Catalog,
    telemetry: Telemetry,
    clock: SettableClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Site:
    refer_to_every_size(monkeypatch)
    folder = tmp_path / "liferay" / "data"
    folder.parent.mkdir()
    odd_tree(folder)
    # Deflated quickly.
    large = folder / "document_library" / "20097" / "0" / "large.bin"
    large.write_bytes(bytes(9 << 20) + b"end")
    return Site(catalog, telemetry, folder, clock)


@pytest.fixture
def there(site: Site, tmp_path: Path) -> dict[str, Member]:
    """What the newest backup holds; the live folder is another by now, and in two sources."""
    volumes = Volumes(site.catalog, site.clock, site.folder, tmp_path)
    volumes.back_up()
    (site.folder / "new").write_bytes(b"new")
    volumes.back_up()
    found = snapshot(site.folder)
    (site.folder / "new").write_bytes(b"newer")
    (site.folder / "live").mkdir()
    return found


def read_by_one_function(site: Site) -> int:
    """Bytes of the archives that a restore without workers reads."""
    return site.restore(workers=1).read_bytes


def test_workers_bring_back_the_very_folder_under_one_run(
    site: Site, there: dict[str, Member], announced: list[tuple[str, dict[str, Any]]]
) -> None:
    answer = site.restore()
    assert (answer.restored, answer.run_id) == (False, site.started[-1]["name"])
    assert site.record.state is RunState.RUNNING
    with pytest.raises(LeaseHeld):
        site.catalog.lease.check_is_free()
    site.execute()
    assert snapshot(site.folder) == there
    assert site.is_settled()
    run = site.record
    assert (run.state, run.result["whole"]) == (RunState.SUCCEEDED, False)
    assert [name for name, _ in announced] == ["Restore Completed"]
    manifest = site.catalog.backups.latest()
    assert run.backup_run_id == manifest.run_id
    assert int(str(run.result["read_bytes"])) >= read_by_one_function(site) > 0
    assert run.progress["volume"] >= manifest.volume_facts.bytes


def test_a_folder_without_files_comes_back_by_workers_too(site: Site, tmp_path: Path) -> None:
    """A Map has something to do: what AWS makes of one without items is nowhere told."""
    shutil.rmtree(site.folder)
    site.folder.mkdir()
    (site.folder / "empty").mkdir()
    Volumes(site.catalog, site.clock, site.folder, tmp_path).back_up()
    there = snapshot(site.folder)
    (site.folder / "empty").rmdir()
    site.restore()
    assert len(site.portions()) == 1
    site.execute()
    assert snapshot(site.folder) == there
    assert site.is_settled()


@pytest.mark.parametrize("changed", ["slices", "portions"])
def test_no_file_is_lost_where_slices_and_portions_are_not_in_the_same_order(
    site: Site, there: dict[str, Member], changed: str
) -> None:
    """What a worker leaves out because it begins too late, nobody else unpacks."""
    site.restore()
    change_request(site, lambda asked: asked[changed].reverse())
    site.execute()
    assert snapshot(site.folder) == there


def test_a_slice_that_is_missing_ends_the_restore_and_leaves_the_old_folder(
    site: Site, there: dict[str, Member]
) -> None:
    site.restore()
    live = snapshot(site.folder)
    assert live != there
    change_request(site, lambda asked: asked["slices"].pop())
    with pytest.raises(InvalidRequest, match="is asked for, and there are"):
        site.execute()
    assert snapshot(site.folder) == live
    assert site.is_settled()


def change_request(site: Site, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes what the run was asked for, as only somebody by hand does."""
    work = site.catalog.work.of(site.started[-1]["run_id"])
    asked = json.loads(work.get("request"))
    change(asked)
    work.put("request", json.dumps(asked).encode())


def test_a_worker_whose_time_ends_goes_on_in_a_next_invocation(
    site: Site, there: dict[str, Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore_by_workers, "end_of_stretch", lambda _: lambda: True)
    site.restore(workers=2)
    assert site.execute() > 2
    assert snapshot(site.folder) == there


def test_a_worker_that_fails_once_is_tried_again_and_counts_once(
    site: Site, there: dict[str, Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.restore()
    failed = set()
    unpack = SharedTree.unpack

    def fails_once(tree: SharedTree, own: Slice, *more: Any) -> Any:
        done = unpack(tree, own, *more)
        portion = own.segments[0].number, own.archive
        if portion not in failed:
            failed.add(portion)
            raise ArchiveDamaged("for once")
        return done

    monkeypatch.setattr(SharedTree, "unpack", fails_once)
    site.execute()
    assert snapshot(site.folder) == there
    assert site.record.state is RunState.SUCCEEDED
    assert site.record.progress["volume"] < 2 * site.catalog.backups.latest().volume_facts.bytes


@pytest.mark.parametrize("fails", ["unpack", "settle"])
def test_what_always_fails_leaves_the_old_folder_and_the_reason(
    site: Site,
    there: dict[str, Member],
    fails: str,
    monkeypatch: pytest.MonkeyPatch,
    announced: list[tuple[str, dict[str, Any]]],
) -> None:
    before = snapshot(site.folder)
    site.restore()

    def fail(*_: object) -> None:
        raise ArchiveDamaged("segment 3 is damaged")

    monkeypatch.setattr(SharedTree, fails, fail)
    with pytest.raises(ArchiveDamaged):
        site.execute()
    assert snapshot(site.folder) == before != there
    assert site.is_settled()
    run = site.record
    assert run.state is RunState.FAILED
    assert run.error is not None
    assert (run.error.code, run.error.message) == ("archive-damaged", "segment 3 is damaged")
    assert [name for name, _ in announced] == ["Restore Failed"]
    site.step("abort", error={})  # twice
    assert len(announced) == 1


@pytest.mark.usefixtures("there")
def test_a_restore_into_another_folder_is_not_told_as_one_of_the_live_site(site: Site) -> None:
    before = snapshot(site.folder)
    site.restore(into_folder=str(site.folder.parent / "other"))
    site.execute()
    assert snapshot(site.folder) == before
    assert site.record.result["live_site"] == "as-it-was"
    site.restore()
    site.execute()
    assert site.record.result["live_site"] == "replaced"


@pytest.mark.usefixtures("there")
def test_a_swap_that_fails_tells_its_own_reason_once(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    announced: list[tuple[str, dict[str, Any]]],
) -> None:
    before = snapshot(site.folder)
    site.restore()

    def fail(*_: object, **__: object) -> None:
        raise LeaseLost("late")

    monkeypatch.setattr(SiteStaging, "stage", fail)
    with pytest.raises(LeaseLost):
        site.execute()
    assert snapshot(site.folder) == before
    assert site.is_settled()
    assert site.record.error is not None
    assert site.record.error.code == "lease-lost"
    assert [name for name, _ in announced] == ["Restore Failed"]


@pytest.mark.usefixtures("there")
def test_a_function_that_dies_while_it_swaps_is_waited_for_and_then_the_run_fails(
    site: Site,
) -> None:
    before = snapshot(site.folder)
    site.restore()
    assert site.catalog.work.of(site.record.id).claim("swap")
    began = site.clock()
    site.step("abort", error={"Error": "Sandbox.Timedout", "Cause": ""})
    assert site.clock() - began >= restore_by_workers._SILENCE
    assert site.record.error is not None
    assert "Sandbox.Timedout" in site.record.error.message
    assert snapshot(site.folder) == before
    assert site.is_settled()


@pytest.mark.usefixtures("there")
def test_a_request_that_nobody_can_read_ends_the_run_with_nothing_staged(
    site: Site, announced: list[tuple[str, dict[str, Any]]]
) -> None:
    before = snapshot(site.folder)
    site.restore()
    site.catalog.work.of(site.record.id).put("request", b'{"format": 2}')
    with pytest.raises(UnknownFormat):
        site.execute()
    assert site.record.error is not None
    assert site.record.error.code == "unknown-format"
    assert [name for name, _ in announced] == ["Restore Failed"]
    assert snapshot(site.folder) == before
    assert site.is_settled()


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("portion", [-1, 10**9])
def test_a_portion_that_there_is_not_is_refused_by_its_number(site: Site, portion: int) -> None:
    site.restore()
    with pytest.raises(InvalidRequest, match="portion"):
        site.step("unpack", portion=portion)


@pytest.mark.usefixtures("there")
def test_steps_that_come_late_do_nothing(site: Site) -> None:
    site.restore()
    site.execute()
    restored = snapshot(site.folder)
    for step in ("unpack", "attributes", "swap"):
        with pytest.raises(RunIsOver):
            site.step(step)
    site.step("abort", error={})
    assert site.record.state is RunState.SUCCEEDED
    assert snapshot(site.folder) == restored


@pytest.mark.usefixtures("there")
def test_nothing_is_made_of_what_a_worker_may_still_write(site: Site) -> None:
    """It is waited for until it cannot go on, and does not get to go on."""
    site.restore()
    for portion in site.portions():
        site.unpack(portion)
    work = site.catalog.work.of(site.record.id)
    zombie = AtWork(work, site.clock, lambda: None)
    zombie.__enter__()
    began = site.clock()
    site.step("attributes")
    assert site.clock() - began >= at_work.TERM
    with pytest.raises(LeaseLost, match="could not say in time"):
        zombie.check()
    with pytest.raises(LeaseLost, match="closed to workers"):
        AtWork(work, site.clock, lambda: None).__enter__()
    site.step("swap")
    assert site.record.state is RunState.SUCCEEDED


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("meanwhile", ["swap", "abort"])
def test_attributes_that_come_late_meet_neither_a_live_folder_nor_another_restore(
    site: Site, meanwhile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine lost its answer: what follows waits until that one cannot go on."""
    site.restore()
    for portion in site.portions():
        site.unpack(portion)
    if meanwhile == "swap":
        site.step("attributes")  # the one whose answer the machine got
    settle = SharedTree.settle
    late: list[str] = []

    def is_overtaken(tree: SharedTree, *given: Any) -> None:
        settle(tree, *given)
        began = site.clock()
        site.step(meanwhile, **({"error": {}} if meanwhile == "abort" else {}))
        assert site.clock() - began >= at_work.TERM
        tree.check()
        late.append("went on")

    monkeypatch.setattr(SharedTree, "settle", is_overtaken)
    with pytest.raises(LeaseLost, match="could not say in time"):
        site.step("attributes")
    assert not late
    site.catalog.lease.check_is_free()
    assert [it.name for it in site.folder.parent.iterdir()] == [site.folder.name]


@pytest.mark.usefixtures("there")
def test_attributes_do_not_begin_while_another_invocation_swaps(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.restore()
    for portion in site.portions():
        site.unpack(portion)
    site.step("attributes")
    swapped = restored.swapped

    def comes_late(*given: Any) -> None:
        with pytest.raises(LeaseLost, match="closed to workers"):
            site.step("attributes")
        swapped(*given)

    monkeypatch.setattr(restore_by_workers, "swapped", comes_late)
    site.step("swap")
    assert site.record.state is RunState.SUCCEEDED


def test_a_swap_that_is_delivered_twice_is_done_and_ended_by_the_first(
    site: Site, there: dict[str, Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.restore()
    for portion in site.portions():
        site.unpack(portion)
    site.step("attributes")
    swapped = restored.swapped
    refused: list[RunState] = []

    def twice(*given: Any) -> Any:
        with pytest.raises(Conflict, match="swapped by another invocation already"):
            site.step("swap")
        refused.append(site.record.state)
        return swapped(*given)

    monkeypatch.setattr(restore_by_workers, "swapped", twice)
    site.step("swap")
    assert refused == [RunState.RUNNING]
    assert site.record.state is RunState.SUCCEEDED
    assert snapshot(site.folder) == there
    assert site.is_settled()


@pytest.mark.usefixtures("there")
def test_a_machine_that_does_not_start_fails_the_restore_and_leaves_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(site.folder)

    class Refusing(list[dict[str, Any]]):
        def append(self, event: dict[str, Any]) -> None:
            super().append(event)
            raise InvalidRequest("no machine")

    monkeypatch.setattr(site, "started", Refusing())
    with pytest.raises(InvalidRequest):
        site.restore()
    assert snapshot(site.folder) == before
    assert site.record.state is RunState.FAILED
    site.catalog.lease.check_is_free()
    assert [it.name for it in site.folder.parent.iterdir()] == [site.folder.name]


# --- who restores --------------------------------------------------------------------------------


NO_MACHINE = {"LCP_RESTORE_MACHINE": ""}
OVERWRITE = {"LCP_BACKUP_RESTORE_STRATEGY": "OVERWRITE"}


def chosen(
    *,
    seconds: float | None = 880,
    gigabytes: float = 1,
    of_sql: float = 1,
    env: dict[str, str] | None = None,
    **request: Any,
) -> int:
    manifest = a_manifest(SettableClock()())
    kind = BackupType(request.pop("type", "Auto"))
    in_any_order = request.pop("in_any_order", False)
    facts = manifest.volume_facts.model_copy(
        update={"bytes": int(gigabytes * 1e9), "in_any_order": in_any_order}
    )
    given = {"LCP_RESTORE_MACHINE": "arn", "LCP_BACKUP_WORKERS": "8", **(env or {})}
    settings = Settings.from_env(given)
    database = manifest.database.model_copy(update={"raw_size": int(of_sql * 1e9)})
    update = {"volume_facts": facts, "type": kind, "database": database}
    manifest = manifest.model_copy(update=update)
    asked = RestoreRequest(**request)
    return workers_for(asked, settings, manifest, seconds=seconds)


@pytest.mark.parametrize(
    ("workers", "given"),
    [
        (ALONE, {}),
        (ALONE, {"seconds": None, "gigabytes": 900}),
        (8, {"gigabytes": 90}),
        (8, {"seconds": 10}),
        (ALONE, {"gigabytes": 90, "env": NO_MACHINE}),
        (ALONE, {"gigabytes": 90, "of_sql": 40, "type": "Uploaded"}),
        (8, {"gigabytes": 90, "type": "Uploaded", "in_any_order": True}),
        (8, {"of_sql": 40, "type": "Uploaded", "only": "database"}),
        (ALONE, {"gigabytes": 90, "paths": ("a",)}),
        (ALONE, {"gigabytes": 90, "only": "database"}),
        (8, {"of_sql": 40}),
        (8, {"of_sql": 40, "only": "database"}),
        (8, {"of_sql": 40, "into_database": "other"}),
        (ALONE, {"of_sql": 40, "only": "volume"}),
        (ALONE, {"of_sql": 40, "tables": ("a",)}),
        (ALONE, {"of_sql": 40, "env": OVERWRITE}),
        (3, {"workers": 3, "tables": ("a",)}),
        (3, {"workers": 3, "only": "database"}),
        (ALONE, {"gigabytes": 90, "workers": 1}),
        (3, {"workers": 3}),
        (8, {"workers": 64}),
        (ALONE, {"workers": 1, "env": NO_MACHINE}),
    ],
)
def test_workers_restore_what_one_invocation_could_not_or_what_asks_for_them(
    workers: int, given: dict[str, Any]
) -> None:
    assert chosen(**given) == workers


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"env": NO_MACHINE}, "deployed with Workers=1"),
        ({"type": "Uploaded"}, "was uploaded"),
        ({"paths": ("a",)}, "a whole volume"),
    ],
)
def test_workers_that_cannot_be_had_are_refused_with_the_reason(
    given: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"workers: 2 are asked for, .*{reason}.* workers out"):
        chosen(workers=2, **given)


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("workers", [1, 3])
def test_a_backup_that_is_deleted_while_its_restore_begins_is_not_called_damaged(
    site: Site, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    before = snapshot(site.folder)
    opened = StoredBackup._open
    latest = site.catalog.backups.latest()

    def delete_first(backup: StoredBackup, backup_id: str, name: str) -> OpenArchive:
        monkeypatch.setattr(StoredBackup, "_open", opened)
        delete_backup(site.catalog, latest)
        return opened(backup, backup_id, name)

    monkeypatch.setattr(StoredBackup, "_open", delete_first)
    with pytest.raises(NotFound, match=f"{latest.id} was deleted while it was read"):
        site.restore(workers=workers)
    assert snapshot(site.folder) == before
    assert [it.name for it in site.folder.parent.iterdir()] == [site.folder.name]
    site.catalog.lease.check_is_free()
