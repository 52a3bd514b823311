"""A run that one process begins and another one ends: all that passes between them is its id."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.errors import (
    ArchiveDamaged,
    AwsError,
    LeaseHeld,
    LeaseLost,
    NotFound,
    RunIsOver,
    StorageError,
)
from lcp_backup.jobs import active_run
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.stored_run import LeftRun, NewRun
from lcp_backup.model import Notice, RunKind, RunState
from lcp_backup.telemetry import Telemetry
from tests.support.clock import SettableClock

IDLE = RunTiming(heartbeat=timedelta(hours=1))
NOTICE = Notice(code="left-behind", subject="schema", detail="drop it by hand")

type Resume = Callable[[str], ActiveRun]


@pytest.fixture
def resume(store: ObjectStore, clock: SettableClock, telemetry: Telemetry) -> Resume:
    """What another process does: it has the bucket and an id, and nothing else."""
    return lambda run_id: ActiveRun(
        LeftRun(Catalog(store, "acme/prd", clock), run_id), telemetry, IDLE
    )


@pytest.fixture
def left(catalog: Catalog, telemetry: Telemetry) -> str:
    """The id of a run that was begun and handed over."""
    stored = NewRun(catalog, RunKind.RESTORE, "acme-prd-202611230015", backup_run_id="maker")
    with ActiveRun(stored, telemetry, IDLE) as run:
        run.add_notices((NOTICE,))
        run.progress_of("volume")(100)
        run.hand_over()
    return run.id


def test_another_process_goes_on_with_record_and_lease_and_ends_them(
    catalog: Catalog, left: str, resume: Resume, clock: SettableClock
) -> None:
    begun = catalog.runs.get(left)
    assert (begun.state, begun.progress) == (RunState.RUNNING, {"volume": 100})
    with pytest.raises(LeaseHeld, match=left):
        catalog.lease.check_is_free()
    clock.pass_by(timedelta(seconds=100))
    with resume(left) as run:
        clock.pass_by(timedelta(seconds=100))
        run.confirm()
        run.progress_of("volume")(23)
        assert (run.backup_id, run.started_at) == (begun.backup_id, begun.started_at)
    ended = catalog.runs.get(left)
    assert (ended.state, ended.progress) == (RunState.SUCCEEDED, {"volume": 123})
    assert (ended.warnings, ended.backup_run_id) == ((NOTICE,), "maker")
    catalog.lease.check_is_free()


def test_it_may_be_handed_on_and_the_last_one_ends_it(
    catalog: Catalog, left: str, resume: Resume
) -> None:
    with resume(left) as second:
        second.progress_of("volume")(1)
        second.hand_over()
    assert catalog.runs.get(left).state is RunState.RUNNING
    with pytest.raises(ArchiveDamaged), resume(left):
        raise ArchiveDamaged("segment 3")
    ended = catalog.runs.get(left)
    assert (ended.state, ended.progress) == (RunState.FAILED, {"volume": 101})
    catalog.lease.check_is_free()


def test_a_run_that_nobody_took_up_in_time_is_lost_once_another_one_wrote(
    catalog: Catalog,
    telemetry: Telemetry,
    left: str,
    resume: Resume,
    clock: SettableClock,
    announced: list[tuple[str, dict[str, Any]]],
) -> None:
    clock.pass_by(IDLE.lease_term)
    taker = catalog.lease.acquire("taker", RunKind.CREATE, None, timedelta(minutes=2))
    with pytest.raises(LeaseLost):
        with active_run.announced(
            resume(left), telemetry, metric="RestoreFailure", failed="Restore Failed"
        ):
            raise AssertionError("two runs hold the lease")
    taker.renew()
    record = catalog.runs.get(left)
    assert record.error is not None
    assert (record.state, record.error.code) == (RunState.FAILED, "lease-lost")
    assert len(announced) == 1


def test_a_run_that_nobody_took_up_in_time_goes_on_if_nobody_wrote(
    catalog: Catalog, left: str, resume: Resume, clock: SettableClock
) -> None:
    clock.pass_by(2 * IDLE.lease_term)
    with resume(left) as run:
        run.confirm()
    assert catalog.runs.get(left).state is RunState.SUCCEEDED


def test_a_run_that_has_ended_is_not_taken_up_and_its_lease_stays_free(
    catalog: Catalog, left: str, resume: Resume
) -> None:
    with resume(left):
        pass
    ended = catalog.runs.get(left)
    late = resume(left)
    with pytest.raises(RunIsOver) as raised, late:
        raise AssertionError("it was done again")
    assert late.is_no_failure(raised.value)
    assert catalog.runs.get(left) == ended
    catalog.lease.check_is_free()
    with pytest.raises(NotFound):
        resume(catalog.runs.new_id(RunKind.RESTORE))


def test_a_process_that_cannot_read_the_record_leaves_the_lease_to_the_others(
    catalog: Catalog,
    left: str,
    resume: Resume,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, get = resume(left), store.get

    def away(key: str) -> Any:
        if "/runs/" in key:
            raise StorageError("S3 failed")
        return get(key)

    with monkeypatch.context() as patch:
        patch.setattr(store, "get", away)
        with pytest.raises(StorageError), run:
            raise AssertionError("it went on without its record")
    with pytest.raises(LeaseHeld, match=left):
        catalog.lease.check_is_free()
    assert catalog.runs.get(left).state is RunState.RUNNING


def test_a_run_whose_next_process_could_not_be_started_has_failed(
    catalog: Catalog, telemetry: Telemetry
) -> None:
    with pytest.raises(AwsError):
        with ActiveRun(NewRun(catalog, RunKind.RESTORE, None), telemetry, IDLE) as run:
            run.hand_over()
            raise AwsError("no function was started")
    assert catalog.runs.get(run.id).state is RunState.FAILED
    catalog.lease.check_is_free()


@pytest.mark.parametrize("fails_by", [AwsError, LeaseLost])
def test_a_process_that_fails_late_does_not_change_what_the_next_one_ended(
    catalog: Catalog, telemetry: Telemetry, resume: Resume, fails_by: type[AwsError | LeaseLost]
) -> None:
    with pytest.raises(fails_by):
        with ActiveRun(NewRun(catalog, RunKind.RESTORE, None), telemetry, IDLE) as run:
            run.hand_over()
            with resume(run.id):
                pass
            raise fails_by("the answer was lost")
    assert catalog.runs.get(run.id).state is RunState.SUCCEEDED


def test_processes_at_work_side_by_side_keep_each_others_lease(
    catalog: Catalog, telemetry: Telemetry, resume: Resume, clock: SettableClock
) -> None:
    with ActiveRun(NewRun(catalog, RunKind.RESTORE, None), telemetry, IDLE) as first:
        with resume(first.id) as second:
            for run in (second, first, second, first):
                clock.pass_by(timedelta(seconds=50))
                run.confirm()
            second.hand_over()
        first.confirm()
    assert catalog.runs.get(first.id).state is RunState.SUCCEEDED
    catalog.lease.check_is_free()
