"""A run under way: what its record and its lease look like, whatever ends it."""

import io
import json
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from aws_lambda_powertools import Logger

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.errors import (
    ArchiveDamaged,
    AwsError,
    DumpFailed,
    LeaseHeld,
    LeaseLost,
    OutOfTime,
    RunIsOver,
    StorageError,
)
from lcp_backup.jobs import active_run
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.queued_run import queued, succeeded_before
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.model import RunKind, RunState
from lcp_backup.telemetry import Telemetry
from tests.support.clock import SettableClock

IDLE = RunTiming(heartbeat=timedelta(hours=1))
BEATING = RunTiming(heartbeat=timedelta(milliseconds=20))


@pytest.fixture
def written(telemetry: Telemetry) -> io.StringIO:
    """The log, of a name of its own: a logger is kept by name, with the stream it was given."""
    stream = io.StringIO()
    telemetry.log = Logger(service=f"runs-{uuid4()}", stream=stream)
    return stream


def test_a_run_that_succeeds_leaves_its_record_and_a_free_lease(
    catalog: Catalog, telemetry: Telemetry
) -> None:
    with ActiveRun(
        NewRun(catalog, RunKind.CREATE, "acme-prd-202611230015"), telemetry, IDLE
    ) as run:
        run.step("at work")
        run.progress_of("volume")(123)
        run.set_result(size=5)
        assert catalog.runs.get(run.id).state is RunState.RUNNING
        with pytest.raises(LeaseHeld, match=run.id):
            catalog.lease.acquire("other", RunKind.RESTORE, None, timedelta(minutes=1))
    record = catalog.runs.get(run.id)
    assert record.state is RunState.SUCCEEDED
    assert record.finished_at is not None
    assert record.progress == {"volume": 123}
    assert record.result == {"size": 5}
    assert record.backup_id == "acme-prd-202611230015"
    catalog.lease.acquire("other", RunKind.RESTORE, None, timedelta(minutes=1))


def test_a_run_that_fails_says_why_and_gives_the_lease_back(
    catalog: Catalog, telemetry: Telemetry
) -> None:
    with pytest.raises(ArchiveDamaged):
        with ActiveRun(NewRun(catalog, RunKind.CREATE, None), telemetry, IDLE) as run:
            raise ArchiveDamaged("segment 3 is not what was written")
    record = catalog.runs.get(run.id)
    assert record.state is RunState.FAILED
    assert record.error is not None
    assert (record.error.code, record.error.message) == (
        "archive-damaged",
        "segment 3 is not what was written",
    )
    catalog.lease.acquire("other", RunKind.CREATE, None, timedelta(minutes=1))


def test_what_a_server_said_is_in_the_log_under_the_runs_id_and_not_in_its_record(
    catalog: Catalog, telemetry: Telemetry, written: io.StringIO
) -> None:
    said = "Access denied for user 'dxpcloud'@'10.0.3.7'"
    with pytest.raises(DumpFailed):
        with ActiveRun(NewRun(catalog, RunKind.CREATE, None), telemetry, IDLE) as run:
            raise DumpFailed(f"exit code 2: {said}", public="the program failed with exit code 2")
    record = catalog.runs.get(run.id)
    assert record.error is not None
    assert record.error.message == (
        f"the program failed with exit code 2; see the log, run {run.id}"
    )
    [line] = [it for it in map(json.loads, written.getvalue().splitlines()) if "error" in it]
    assert (line["run_id"], line["error"]) == (run.id, "dump-failed")
    assert said in line["reason"]


def test_a_queued_run_that_never_began_says_so_in_the_same_way(
    catalog: Catalog, telemetry: Telemetry, written: io.StringIO
) -> None:
    run = catalog.runs.queue(catalog.runs.new_id(RunKind.RESTORE), RunKind.RESTORE, None)
    with pytest.raises(AwsError):
        with queued(catalog, run.id, telemetry.log):
            raise AwsError("AccessDenied: arn:aws:sts::123456789012:assumed-role/api")
    record = catalog.runs.get(run.id)
    assert record.error is not None
    assert record.error.message.endswith(f"see the log, run {run.id}")
    assert "123456789012" not in record.model_dump_json()
    [line] = map(json.loads, written.getvalue().splitlines())
    assert (line["run_id"], "123456789012" in line["reason"]) == (run.id, True)


def test_a_foreign_errors_text_never_reaches_the_record(
    catalog: Catalog, telemetry: Telemetry
) -> None:
    with pytest.raises(RuntimeError):
        with ActiveRun(NewRun(catalog, RunKind.CREATE, None), telemetry, IDLE) as run:
            raise RuntimeError("mysql://root:hunter2@host")
    record = catalog.runs.get(run.id)
    assert "hunter2" not in record.model_dump_json()
    assert record.error is not None
    assert record.error.code == "unexpected"


def test_a_refused_run_is_recorded_and_names_the_holder(
    catalog: Catalog, telemetry: Telemetry
) -> None:
    with ActiveRun(NewRun(catalog, RunKind.RESTORE, None), telemetry, IDLE) as first:
        with pytest.raises(LeaseHeld, match=first.id):
            with ActiveRun(NewRun(catalog, RunKind.CREATE, None), telemetry, IDLE):
                raise AssertionError("two runs hold the lease")
    refused, *_ = (run for run in catalog.runs.all() if run.kind is RunKind.CREATE)
    assert refused.state is RunState.FAILED
    assert refused.error is not None
    assert refused.error.code == "lease-held"


def test_the_heartbeat_keeps_the_lease_and_shows_progress(
    catalog: Catalog, telemetry: Telemetry, clock: SettableClock
) -> None:
    with ActiveRun(NewRun(catalog, RunKind.CREATE, None), telemetry, BEATING) as run:
        run.progress_of("database")(42)
        clock.pass_by(timedelta(seconds=119))
        _until(lambda: catalog.runs.get(run.id).progress == {"database": 42})
        clock.pass_by(timedelta(seconds=119))
        with pytest.raises(LeaseHeld, match=run.id):
            catalog.lease.acquire("other", RunKind.CREATE, None, timedelta(minutes=1))
        run.check()


def test_a_run_whose_lease_was_taken_over_stops_before_a_step_that_counts(
    catalog: Catalog, telemetry: Telemetry, clock: SettableClock
) -> None:
    with pytest.raises(LeaseLost):
        with ActiveRun(NewRun(catalog, RunKind.CREATE, None), telemetry, IDLE) as run:
            clock.pass_by(timedelta(minutes=1))
            run.check()
            clock.pass_by(timedelta(minutes=1))
            taker = catalog.lease.acquire("taker", RunKind.CREATE, None, timedelta(minutes=2))
            run.confirm()
    taker.renew()


def test_a_run_that_cannot_renew_stops_by_itself_before_its_lease_ends(
    catalog: Catalog,
    telemetry: Telemetry,
    clock: SettableClock,
    monkeypatch: pytest.MonkeyPatch,
    store: ObjectStore,
) -> None:
    def unreachable(*_: Any) -> str:
        raise StorageError("S3 failed")

    with pytest.raises(LeaseLost, match="could not renew"):
        with ActiveRun(NewRun(catalog, RunKind.CREATE, None), telemetry, BEATING) as run:
            monkeypatch.setattr(store, "put_over", unreachable)
            time.sleep(0.1)
            clock.pass_by(timedelta(minutes=2))
            run.check()


def test_a_run_stops_cleanly_when_the_functions_time_ends(
    catalog: Catalog, telemetry: Telemetry, clock: SettableClock
) -> None:
    timing = RunTiming(deadline=clock() + timedelta(minutes=1), heartbeat=timedelta(hours=1))
    with pytest.raises(OutOfTime, match="raise the function's timeout"):
        with ActiveRun(NewRun(catalog, RunKind.CREATE, None), telemetry, timing) as run:
            run.check()
            clock.pass_by(timedelta(minutes=1))
            run.check()
    record = catalog.runs.get(run.id)
    assert record.error is not None
    assert record.error.code == "out-of-time"


def test_a_record_that_cannot_be_kept_does_not_hide_how_the_run_went(
    catalog: Catalog, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, store: ObjectStore
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise StorageError("S3 failed")

    with pytest.raises(DumpFailed, match="the real reason"):
        with ActiveRun(NewRun(catalog, RunKind.CREATE, None), telemetry, IDLE):
            monkeypatch.setattr(store, "put", unreachable)
            raise DumpFailed("the real reason")


def test_cleanup_runs_beside_a_run_that_holds_the_lease(
    catalog: Catalog, telemetry: Telemetry
) -> None:
    with ActiveRun(NewRun(catalog, RunKind.CREATE, None), telemetry, IDLE):
        with ActiveRun(NewRun(catalog, RunKind.CLEANUP, None), telemetry, IDLE) as cleanup:
            cleanup.confirm()
    assert catalog.runs.get(cleanup.id).state is RunState.SUCCEEDED


def test_a_run_whose_record_says_that_it_ended_is_not_done_again(
    catalog: Catalog, telemetry: Telemetry
) -> None:
    """Lambda may deliver an event twice, whatever it is told; the record is the truth."""
    for state in (RunState.FAILED, RunState.SUCCEEDED):
        run = catalog.runs.queue(catalog.runs.new_id(RunKind.RESTORE), RunKind.RESTORE, None)
        with suppress(ArchiveDamaged):
            with ActiveRun(NewRun(catalog, RunKind.RESTORE, None, run_id=run.id), telemetry, IDLE):
                if state is RunState.FAILED:
                    raise ArchiveDamaged("segment 3")
        record = catalog.runs.get(run.id)
        assert record.state is state
        again = ActiveRun(NewRun(catalog, RunKind.RESTORE, None, run_id=run.id), telemetry, IDLE)
        with pytest.raises(RunIsOver, match=f"{run.id} has {state} .*ask for it anew") as raised:
            with again:
                raise AssertionError("it was done again")
        assert again.is_no_failure(raised.value)
        assert catalog.runs.get(run.id) == record
        catalog.lease.check_is_free()
    with pytest.raises(RunIsOver):
        succeeded_before(catalog, next(it.id for it in catalog.runs.all() if it.error is not None))
    assert succeeded_before(catalog, record.id)


def test_a_second_delivery_leaves_the_record_to_the_one_that_is_at_work(
    catalog: Catalog, telemetry: Telemetry
) -> None:
    run = catalog.runs.queue(catalog.runs.new_id(RunKind.RESTORE), RunKind.RESTORE, None)
    with ActiveRun(NewRun(catalog, RunKind.RESTORE, None, run_id=run.id), telemetry, IDLE):
        second = ActiveRun(NewRun(catalog, RunKind.RESTORE, None, run_id=run.id), telemetry, IDLE)
        with pytest.raises(LeaseHeld) as raised, queued(catalog, run.id, telemetry.log), second:
            raise AssertionError("two deliveries are at work")
        assert second.is_no_failure(raised.value)
        assert catalog.runs.get(run.id).state is RunState.RUNNING
        assert not succeeded_before(catalog, run.id)


def test_a_run_that_was_killed_is_taken_over_once_its_lease_has_ended(
    catalog: Catalog, telemetry: Telemetry, clock: SettableClock
) -> None:
    run = catalog.runs.queue(catalog.runs.new_id(RunKind.CREATE), RunKind.CREATE, None)
    catalog.lease.acquire(run.id, RunKind.CREATE, None, timedelta(minutes=2))
    catalog.runs.write(run.model_copy(update={"state": RunState.RUNNING}))
    clock.pass_by(timedelta(minutes=2))
    assert not succeeded_before(catalog, run.id)
    with ActiveRun(NewRun(catalog, RunKind.CREATE, None, run_id=run.id), telemetry, IDLE):
        pass
    assert catalog.runs.get(run.id).state is RunState.SUCCEEDED


@pytest.mark.parametrize("before", [RunState.QUEUED, RunState.RUNNING, RunState.SUCCEEDED])
def test_a_delivery_that_another_run_keeps_out_changes_no_record_that_has_ended(
    catalog: Catalog, telemetry: Telemetry, before: RunState
) -> None:
    run = catalog.runs.queue(catalog.runs.new_id(RunKind.RESTORE), RunKind.RESTORE, None)
    ended = {"finished_at": catalog.now()} if before.ended else {}
    catalog.runs.write(run.model_copy(update={"state": before, **ended}))
    catalog.lease.acquire("other", RunKind.CREATE, None, timedelta(minutes=2))
    with pytest.raises(LeaseHeld):
        with ActiveRun(NewRun(catalog, RunKind.RESTORE, None, run_id=run.id), telemetry, IDLE):
            raise AssertionError("two runs hold the lease")
    # One that was under way would hold the lease, so it is dead.
    expected = before if before.ended else RunState.FAILED
    assert catalog.runs.get(run.id).state is expected


def test_a_storage_that_is_away_ends_no_run_that_another_delivery_may_be_doing(
    catalog: Catalog, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = catalog.runs.queue(catalog.runs.new_id(RunKind.RESTORE), RunKind.RESTORE, None)
    catalog.runs.write(run.model_copy(update={"state": RunState.RUNNING}))

    def away(*_: Any) -> None:
        raise StorageError("S3 failed")

    monkeypatch.setattr(catalog.lease, "acquire", away)
    with pytest.raises(StorageError), queued(catalog, run.id, telemetry.log):
        with ActiveRun(NewRun(catalog, RunKind.RESTORE, None, run_id=run.id), telemetry, IDLE):
            raise AssertionError("it began without a lease")
    assert catalog.runs.get(run.id).state is RunState.RUNNING


def _until(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")


def test_a_delivery_that_meets_its_own_run_leaves_the_record_to_it(
    catalog: Catalog, telemetry: Telemetry
) -> None:
    """The other one has the lease, and has not written yet that it runs."""
    run = catalog.runs.queue(catalog.runs.new_id(RunKind.RESTORE), RunKind.RESTORE, None)
    with pytest.raises(LeaseHeld), queued(catalog, run.id, telemetry.log):
        raise LeaseHeld("another delivery has it", run_id=run.id)
    assert catalog.runs.get(run.id).state is RunState.QUEUED
    with pytest.raises(LeaseHeld), queued(catalog, run.id, telemetry.log):
        raise LeaseHeld("somebody else has it", run_id="another")
    assert catalog.runs.get(run.id).state is RunState.FAILED


def test_an_upload_that_meets_a_lease_late_stays_queued(
    catalog: Catalog, telemetry: Telemetry
) -> None:
    held = catalog.lease.acquire("a create", RunKind.CREATE, None, timedelta(minutes=1))
    run = catalog.runs.queue(catalog.runs.new_id(RunKind.UPLOAD), RunKind.UPLOAD, None)
    upload = ActiveRun(NewRun(catalog, RunKind.UPLOAD, None, run_id=run.id), telemetry, IDLE)
    with pytest.raises(LeaseHeld), queued(catalog, run.id, telemetry.log), upload:
        pytest.fail("it has no lease")
    assert catalog.runs.get(run.id).state is RunState.QUEUED
    held.release()
    with queued(catalog, run.id, telemetry.log), upload:
        pass
    assert catalog.runs.get(run.id).state is RunState.SUCCEEDED


def test_a_run_that_slept_until_another_delivery_took_it_over_does_not_end_its_record(
    catalog: Catalog, telemetry: Telemetry, clock: SettableClock
) -> None:
    run = catalog.runs.queue(catalog.runs.new_id(RunKind.RESTORE), RunKind.RESTORE, None)
    first = ActiveRun(NewRun(catalog, RunKind.RESTORE, None, run_id=run.id), telemetry, IDLE)
    second = ActiveRun(NewRun(catalog, RunKind.RESTORE, None, run_id=run.id), telemetry, IDLE)
    with pytest.raises(LeaseLost), first:
        clock.pass_by(IDLE.lease_term)
        second.__enter__()
        first.check()
    assert catalog.runs.get(run.id).state is RunState.RUNNING
    second.__exit__(None, None, None)
    assert catalog.runs.get(run.id).state is RunState.SUCCEEDED


def test_a_failure_is_counted_and_announced_once(
    catalog: Catalog,
    telemetry: Telemetry,
    announced: list[tuple[str, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[dict[str, float]] = []
    monkeypatch.setattr(telemetry, "count", lambda **values: counted.append(values))
    active = ActiveRun(NewRun(catalog, RunKind.CREATE, None), telemetry, IDLE)
    with pytest.raises(ArchiveDamaged):
        with active_run.announced(
            active, telemetry, metric="CreateFailure", failed="Backup Failed"
        ):
            raise ArchiveDamaged("segment 3 is not what was written")
    assert counted == [{"CreateFailure": 1}]
    [(event, detail)] = announced
    assert (event, detail["error"]) == ("Backup Failed", "archive-damaged")
