"""A late or second delivery of an event: it repeats nothing, and it means what was meant."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn

import pytest

from lcp_backup.catalog import Catalog
from lcp_backup.errors import Conflict, DatabaseUnreachable, InvalidRequest, NotFound, RunIsOver
from lcp_backup.jobs.active_run import RunTiming
from lcp_backup.jobs.create import CreateResult, create_backup
from lcp_backup.jobs.restore import restore_backup
from lcp_backup.jobs.restored import RestoreResult
from lcp_backup.jobs.staged_site import SWAPPING
from lcp_backup.model import BackupType, Manifest, Run, RunKind, RunState
from lcp_backup.requests import CreateRequest, RestoreRequest
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry
from tests.support.backups import a_manifest
from tests.support.clock import SettableClock

SETTINGS = Settings.from_env({"LCP_PROJECT_ID": "acme", "LCP_ENVIRONMENT_ID": "prd"})
IDLE = RunTiming(heartbeat=timedelta(hours=1))
ID = "acme-prd-202611230015"


class _BegunError(DatabaseUnreachable):
    """The job got as far as the database: it would have been done."""


def _begin() -> NoReturn:
    raise _BegunError("the database")


type Restore = Callable[..., RestoreResult]
type Create = Callable[..., CreateResult]


@pytest.fixture
def restore(catalog: Catalog, telemetry: Telemetry) -> Restore:
    def restored(run_id: str | None = None, **request: Any) -> RestoreResult:
        return restore_backup(
            RestoreRequest(run_id=run_id, **request),
            settings=SETTINGS,
            catalog=catalog,
            source=catalog,
            telemetry=telemetry,
            locate=_begin,
            accounts=_begin,
            timing=IDLE,
            start_workers=lambda *_: _begin(),
        )

    return restored


@pytest.fixture
def create(catalog: Catalog, telemetry: Telemetry, clock: SettableClock) -> Create:
    def created(run_id: str | None, *, later: timedelta = timedelta(0)) -> CreateResult:
        return create_backup(
            CreateRequest(time=clock() + later, run_id=run_id),
            settings=SETTINGS,
            catalog=catalog,
            telemetry=telemetry,
            locate=_begin,
            programs=[],
            timing=IDLE,
            pause=lambda seconds: clock.pass_by(timedelta(seconds=seconds)),
        )

    return created


def made(
    catalog: Catalog, clock: SettableClock, run_id: str, kind_of: BackupType = BackupType.AUTO
) -> Manifest:
    """A backup of this minute."""
    manifest = a_manifest(clock()).model_copy(update={"run_id": run_id, "type": kind_of})
    catalog.backups.publish(manifest)
    return manifest


def asked_for(catalog: Catalog, manifest: Manifest) -> Run:
    """A restore of it that the API queued."""
    return catalog.runs.queue(
        catalog.runs.new_id(RunKind.RESTORE),
        RunKind.RESTORE,
        manifest.id,
        backup_run_id=manifest.run_id,
    )


def end(catalog: Catalog, run: Run, state: RunState) -> Run:
    ended = catalog.runs.get(run.id).model_copy(
        update={"state": state, "finished_at": catalog.now()}
    )
    catalog.runs.write(ended)
    return ended


def test_a_restore_that_failed_is_not_done_by_a_second_delivery(
    restore: Restore,
    catalog: Catalog,
    clock: SettableClock,
    announced: list[tuple[str, dict[str, Any]]],
) -> None:
    run = asked_for(catalog, made(catalog, clock, "first"))
    with pytest.raises(_BegunError):
        restore(run.id, backup_id=ID)
    failed = catalog.runs.get(run.id)
    assert failed.state is RunState.FAILED
    with pytest.raises(RunIsOver, match=f"{run.id} has failed with database-unreachable"):
        restore(run.id, backup_id=ID)
    assert catalog.runs.get(run.id) == failed
    assert len(announced) == 1, "it failed once"


def test_a_second_delivery_does_not_take_back_that_the_first_had_begun_to_swap(
    restore: Restore, catalog: Catalog, clock: SettableClock
) -> None:
    """The first was killed in the swap; what it left may be finished before the second fails."""
    run = asked_for(catalog, made(catalog, clock, "first"))
    killed = catalog.runs.get(run.id).model_copy(
        update={"state": RunState.RUNNING, "result": {"live_site": SWAPPING}}
    )
    catalog.runs.write(killed)
    with pytest.raises(_BegunError):
        restore(run.id, backup_id=ID)
    failed = catalog.runs.get(run.id)
    assert (failed.state, failed.result) == (RunState.FAILED, {"live_site": SWAPPING})


def test_a_restore_that_succeeded_is_answered_and_not_done_again(
    restore: Restore, catalog: Catalog, clock: SettableClock
) -> None:
    run = end(catalog, asked_for(catalog, made(catalog, clock, "first")), RunState.SUCCEEDED)
    assert restore(run.id, backup_id=ID) == RestoreResult(ID, restored=False, run_id=run.id)
    assert catalog.runs.get(run.id) == run


def test_a_schedules_event_that_comes_twice_restores_once(
    catalog: Catalog, clock: SettableClock, restore: Restore
) -> None:
    made(catalog, clock, "first")
    fired = {"detail-type": "Scheduled Event", "id": "53dc4d37", "time": "2026-11-23T00:15:00Z"}

    def deliver(**other: str) -> None:
        restore(**vars(RestoreRequest.read({**fired, **other})))

    with pytest.raises(_BegunError):
        deliver()
    (run,) = catalog.runs.all()
    assert run.id.startswith("20261123T001500-restore-")
    assert run.state is RunState.FAILED
    with pytest.raises(RunIsOver):
        deliver()
    assert list(catalog.runs.all()) == [run]
    with pytest.raises(_BegunError):
        deliver(id="another")


def test_a_create_that_failed_is_not_done_by_a_second_delivery_and_a_schedules_is(
    create: Create, catalog: Catalog, announced: list[tuple[str, dict[str, Any]]]
) -> None:
    run = catalog.runs.queue(catalog.runs.new_id(RunKind.CREATE), RunKind.CREATE, ID)
    with pytest.raises(_BegunError):
        create(run.id)
    failed = catalog.runs.get(run.id)
    assert failed.state is RunState.FAILED
    with pytest.raises(RunIsOver):
        create(run.id)
    assert catalog.runs.get(run.id) == failed
    assert len(announced) == 1
    with pytest.raises(_BegunError):
        create(None)
    with pytest.raises(_BegunError):
        create(None)


def test_a_backup_that_was_deleted_is_not_made_again_by_a_second_delivery(
    create: Create, catalog: Catalog, clock: SettableClock
) -> None:
    run = catalog.runs.queue(catalog.runs.new_id(RunKind.CREATE), RunKind.CREATE, ID)
    manifest = made(catalog, clock, run.id)
    end(catalog, run, RunState.SUCCEEDED)
    answer = create(run.id)
    assert (answer.backup_id, answer.created) == (manifest.id, False)
    catalog.backups.unpublish(manifest.id)
    with pytest.raises(RunIsOver):
        create(run.id)
    assert catalog.backups.find(manifest.id) is None


def test_a_create_that_another_run_was_faster_with_has_not_failed(
    create: Create, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schedule and the API in one minute: one waits for the other, and may have to make it."""
    run = catalog.runs.queue(catalog.runs.new_id(RunKind.CREATE), RunKind.CREATE, ID)
    lease = catalog.lease.acquire("faster", RunKind.CREATE, ID, timedelta(minutes=2))
    states: list[RunState] = []

    def look() -> None:
        # Once before the other took the lease, and once after it died.
        states.append(catalog.runs.get(run.id).state)
        if len(states) == 2:
            lease.release()

    monkeypatch.setattr(catalog.lease, "backup_in_use", look)
    with pytest.raises(_BegunError):
        create(run.id)
    assert states == [RunState.QUEUED] * 2


def test_a_killed_scheduled_restore_that_comes_again_takes_the_newest_by_then(
    restore: Restore, catalog: Catalog, clock: SettableClock
) -> None:
    run = asked_for(catalog, made(catalog, clock, "first"))
    catalog.runs.write(run.model_copy(update={"state": RunState.RUNNING}))
    clock.pass_by(timedelta(minutes=5))
    made(catalog, clock, "newer")
    with pytest.raises(_BegunError):
        restore(run.id, only_if_new=True)
    assert catalog.runs.get(run.id).backup_run_id == "newer"


@pytest.mark.parametrize("taker", [BackupType.UPLOADED, BackupType.MANUAL, BackupType.AUTO])
def test_a_queued_restore_never_restores_another_backup_that_took_its_minute(
    restore: Restore, catalog: Catalog, clock: SettableClock, taker: BackupType
) -> None:
    run = asked_for(catalog, made(catalog, clock, "first"))
    catalog.backups.unpublish(ID)
    made(catalog, clock, "second", taker)
    with pytest.raises(NotFound) as raised:
        restore(run.id, backup_id=ID)
    said = f"the backup {ID} that was asked for, made by run first, was deleted"
    assert raised.value.public.startswith(said)
    record = catalog.runs.get(run.id)
    assert record.state is RunState.FAILED
    assert record.error is not None
    assert "made by run second" in record.error.message
    with pytest.raises(RunIsOver):
        restore(run.id, backup_id=ID)


def test_a_killed_restore_is_taken_over_for_the_backup_that_it_began_with(
    restore: Restore, catalog: Catalog, clock: SettableClock
) -> None:
    first = made(catalog, clock, "first")
    run = asked_for(catalog, first)
    catalog.runs.write(run.model_copy(update={"state": RunState.RUNNING}))
    with pytest.raises(_BegunError):
        restore(run.id, backup_id=ID)
    record = catalog.runs.get(run.id)
    assert (record.backup_id, record.backup_run_id) == (first.id, "first")


def test_a_schedule_restores_another_backup_that_has_the_id_of_the_last_one(
    restore: Restore, catalog: Catalog, clock: SettableClock
) -> None:
    run = asked_for(catalog, made(catalog, clock, "first"))
    end(catalog, run, RunState.SUCCEEDED)
    assert not restore(only_if_new=True).restored
    catalog.backups.unpublish(ID)
    made(catalog, clock, "second")
    with pytest.raises(_BegunError):
        restore(only_if_new=True)


def test_a_restore_that_was_done_before_identities_were_kept_is_known_by_its_id(
    restore: Restore, catalog: Catalog, clock: SettableClock
) -> None:
    made(catalog, clock, "first")
    run = catalog.runs.queue(catalog.runs.new_id(RunKind.RESTORE), RunKind.RESTORE, ID)
    end(catalog, run, RunState.SUCCEEDED)
    assert not restore(only_if_new=True).restored


def test_a_queued_restore_of_the_latest_of_another_environment_is_of_whatever_that_is(
    restore: Restore, catalog: Catalog, clock: SettableClock
) -> None:
    """The API of a disaster-recovery environment does not read the source."""
    made(catalog, clock, "first")
    run = catalog.runs.queue(catalog.runs.new_id(RunKind.RESTORE), RunKind.RESTORE, "latest")
    with pytest.raises(_BegunError):
        restore(run.id)


def test_a_backup_that_had_begun_before_is_no_answer_to_who_asks_for_one(
    create: Create, catalog: Catalog, clock: SettableClock
) -> None:
    """It lacks what was changed since; a schedule that fires twice means the same backup."""
    known = made(catalog, clock, "first")
    clock.pass_by(timedelta(seconds=1))
    run = catalog.runs.queue(catalog.runs.new_id(RunKind.CREATE), RunKind.CREATE, known.id)
    with pytest.raises(Conflict, match="ask again in a minute"):
        create(run.id)
    assert catalog.runs.get(run.id).state is RunState.FAILED
    assert create(None).backup_id == known.id


def test_a_create_that_is_queued_for_the_next_minute_waits_for_it(
    create: Create, catalog: Catalog, clock: SettableClock
) -> None:
    made(catalog, clock, "first")
    run = catalog.runs.queue(catalog.runs.new_id(RunKind.CREATE), RunKind.CREATE, None)
    began = clock()
    with pytest.raises(_BegunError):
        create(run.id, later=timedelta(seconds=30))
    assert clock() - began == timedelta(seconds=30)


def test_a_backup_is_not_made_of_a_time_that_has_not_come(create: Create) -> None:
    """It would be the newest until then, which a restore takes and cleanup keeps."""
    with pytest.raises(InvalidRequest, match="has not come yet"):
        create(None, later=timedelta(days=2))
    with pytest.raises(_BegunError):
        create(None, later=timedelta(hours=1))
