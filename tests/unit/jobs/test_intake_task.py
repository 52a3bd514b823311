"""Uploads that are left to a task: when, and what becomes of a run whose task left no word."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from types import FrameType
from typing import Any

import pytest

from lcp_backup.archive.read import read_whole
from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.aws.s3_reader import ObjectReader
from lcp_backup.catalog import Catalog
from lcp_backup.errors import (
    ArchiveRefused,
    AwsError,
    Conflict,
    LeaseHeld,
    LeaseLost,
    OutOfTime,
    RunIsOver,
    StorageError,
    TaskFailed,
)
from lcp_backup.jobs.active_run import RunTiming
from lcp_backup.jobs.intake_task import TASKS_TIME, end_of_task, execution_of, needs_task
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.model import ArchiveKind, RunKind, RunState, Upload, UploadedFile
from lcp_backup.steps import UploadStepRequest
from lcp_backup.telemetry import Telemetry
from tests.support.clock import SettableClock
from tests.support.inbox import Inbox

KILLED = json.dumps({"StoppedReason": "OutOfMemoryError", "Containers": [{"ExitCode": 137}]})
GB = 10**9


@pytest.fixture
def inbox(catalog: Catalog, store: ObjectStore, telemetry: Telemetry) -> Inbox:
    return Inbox(catalog, store, telemetry)


class Ended:
    """The step after a task."""

    def __init__(self, inbox: Inbox, telemetry: Telemetry) -> None:
        self._inbox, self._telemetry = inbox, telemetry

    def __call__(
        self,
        upload_id: str,
        error: str = "States.TaskFailed",
        cause: str = "",
        execution: str | None = None,
    ) -> None:
        told = {"Error": error, "Cause": cause}
        name = execution or execution_of(self._inbox.run(upload_id))
        event = {"run_id": upload_id, "step": "ended", "error": told, "execution": name}
        end_of_task(
            UploadStepRequest.read(event),
            self._inbox.catalog,
            self._telemetry,
            lambda: self._inbox.take_in(upload_id),
        )


@pytest.fixture
def ended(inbox: Inbox, telemetry: Telemetry) -> Ended:
    return Ended(inbox, telemetry)


@pytest.mark.parametrize(
    ("database", "volume", "late", "needs"),
    [
        (1 * GB, 10 * GB, False, False),
        (8 * GB, 10 * GB, False, True),
        (1 * GB, 80 * GB, False, True),
        (1, 1, True, True),
    ],
)
def test_a_task_takes_in_what_a_function_is_not_sure_to_take_in(
    clock: SettableClock, database: int, volume: int, late: bool, needs: bool
) -> None:
    files = {
        kind: UploadedFile(size=size, sha256=None, part_size=GB, multipart_id="m")
        for kind, size in zip(ArchiveKind, (database, volume), strict=True)
    }
    upload = Upload(id="x", by="ann", opened_at=clock(), files=files, was_out_of_time=late)
    assert needs_task(upload, 900) is needs
    assert not needs_task(upload, None), "a task has all the time"


def test_an_upload_for_which_there_is_no_time_is_left_to_a_task(inbox: Inbox) -> None:
    upload_id = inbox.sent()
    sealed_at = inbox.run(upload_id).started_at
    started: list[tuple[str, str]] = []
    brief = RunTiming(inbox.catalog.now(), heartbeat=timedelta(hours=1))
    result = inbox.take_in(upload_id, brief, lambda *it: started.append(it))
    assert (result.backup_id, result.run_id) == ("", upload_id)
    assert started == [(f"{upload_id}-{sealed_at:%Y%m%dT%H%M%S%f}", upload_id)]
    run = inbox.run(upload_id)
    assert (run.state, run.step) == (RunState.QUEUED, "waiting for its task to start")
    assert inbox.take_in(upload_id).backup_id == "acme-prd-202611230015", "the task itself"


def test_an_execution_has_a_name_of_its_own_each_time_that_an_upload_is_completed(
    inbox: Inbox, ended: Ended, clock: SettableClock
) -> None:
    """Step Functions starts none of a name that it had in the last 90 days."""
    upload_id = inbox.sent()
    started: list[str] = []
    for _ in range(2):
        brief = RunTiming(clock(), heartbeat=timedelta(hours=1))
        for _delivery in range(2):
            inbox.take_in(upload_id, brief, lambda name, _: started.append(name))
            clock.pass_by(timedelta(milliseconds=1))
        with pytest.raises(TaskFailed):
            ended(upload_id)
        inbox.uploads.seal(upload_id)
    first, again, second, again_2 = started
    assert (first, second) == (again, again_2)
    assert first != second


def test_a_task_that_cannot_be_started_fails_the_run(inbox: Inbox) -> None:
    upload_id = inbox.sent()

    def start(*_: str) -> None:
        raise AwsError("throttled")

    brief = RunTiming(inbox.catalog.now(), heartbeat=timedelta(hours=1))
    with pytest.raises(AwsError):
        inbox.take_in(upload_id, brief, start)
    assert inbox.run(upload_id).state is RunState.FAILED
    inbox.uploads.seal(upload_id)
    assert inbox.take_in(upload_id).backup_id


def test_an_upload_for_which_the_time_was_not_enough_once_needs_a_task(inbox: Inbox) -> None:
    upload_id = inbox.sent()
    with pytest.raises(OutOfTime):
        inbox.take_in(upload_id, RunTiming(inbox.catalog.now(), heartbeat=timedelta(hours=1)))
    inbox.uploads.seal(upload_id)
    assert needs_task(inbox.uploads.get(upload_id), 900)


def test_a_task_that_took_the_upload_in_has_ended_well(inbox: Inbox, ended: Ended) -> None:
    upload_id = inbox.sent()
    inbox.take_in(upload_id)
    before = inbox.run(upload_id)
    ended(upload_id, "")
    assert inbox.run(upload_id).state is before.state is RunState.SUCCEEDED


def test_a_task_that_never_began_fails_the_run_which_may_be_asked_for_again(
    inbox: Inbox, ended: Ended, announced: list[tuple[str, dict[str, Any]]]
) -> None:
    upload_id = inbox.sent()
    with pytest.raises(TaskFailed, match="did not start"):
        ended(upload_id, "ECS.AccessDeniedException", "User: arn:aws:sts::1:x is not")
    run = inbox.run(upload_id)
    assert (run.state, run.step) == (RunState.FAILED, "")
    assert run.error is not None
    assert run.error.code == "task-failed"
    assert "the task that takes the upload in did not start" in run.error.message
    assert "arn:" not in run.error.message
    assert announced[0][0] == "Upload Failed"
    assert announced[0][1]["reason"] == run.error.message
    with pytest.raises(RunIsOver):
        ended(upload_id)  # Step Functions tries again
    assert len(announced) == 1
    inbox.uploads.seal(upload_id)
    assert inbox.take_in(upload_id).backup_id


def test_a_task_that_was_killed_fails_its_run(
    inbox: Inbox, ended: Ended, clock: SettableClock
) -> None:
    upload_id = inbox.sent()
    stored = NewRun(inbox.catalog, RunKind.UPLOAD, None, run_id=upload_id)
    stored.open(timedelta(minutes=2))
    with pytest.raises(LeaseHeld):
        ended(upload_id, cause=KILLED)
    assert inbox.run(upload_id).state is RunState.RUNNING, "it may live yet"
    clock.pass_by(timedelta(minutes=2))
    with pytest.raises(TaskFailed):
        ended(upload_id, cause=KILLED)
    run = inbox.run(upload_id)
    assert run.state is RunState.FAILED
    assert run.error is not None
    assert "was killed: stopped by hand, or out of memory" in run.error.message


def test_another_run_that_was_in_the_way_to_the_end_is_named(inbox: Inbox, ended: Ended) -> None:
    upload_id = inbox.sent()
    other = NewRun(inbox.catalog, RunKind.CREATE, None)
    other.open(timedelta(minutes=2))
    with pytest.raises(TaskFailed):
        ended(upload_id, cause='{"Containers": [{"ExitCode": 1}]}')
    error = inbox.run(upload_id).error
    assert error is not None
    assert other.record.id in error.message


def test_a_task_that_was_killed_after_publishing_is_made_up_for(
    inbox: Inbox, ended: Ended, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = inbox.sent()

    def killed(*_: object, **__: object) -> None:
        raise StorageError("killed")

    with monkeypatch.context() as dying:
        dying.setattr("lcp_backup.jobs.stored_run.StoredRun.end", killed)
        dying.setattr("lcp_backup.catalog.lease.HeldLease.release", killed)
        dying.setattr("lcp_backup.catalog.uploads.StoredUploads.delete", killed)
        inbox.take_in(upload_id)
    assert inbox.run(upload_id).state is not RunState.SUCCEEDED
    clock.pass_by(timedelta(minutes=3))  # (The state machine waits for the dead one's lease.)
    ended(upload_id, cause=KILLED)
    run = inbox.run(upload_id)
    assert (run.state, run.backup_id) == (RunState.SUCCEEDED, "acme-prd-202611230015")
    assert inbox.keys("uploads") == []


def test_files_that_the_task_refused_wake_nobody(inbox: Inbox, ended: Ended) -> None:
    upload_id = inbox.sent(database=b"<html>")
    with pytest.raises(ArchiveRefused):
        inbox.take_in(upload_id)
    with pytest.raises(ArchiveRefused, match="HTML"):
        ended(upload_id)


def test_a_run_that_failed_by_its_own_word_keeps_it(inbox: Inbox, ended: Ended) -> None:
    upload_id = inbox.sent()
    with pytest.raises(OutOfTime):
        inbox.take_in(upload_id, RunTiming(inbox.catalog.now(), heartbeat=timedelta(hours=1)))
    before = inbox.run(upload_id)
    with pytest.raises(RunIsOver):
        ended(upload_id)
    assert inbox.run(upload_id) == before


def handed_over(inbox: Inbox, upload_id: str) -> list[str]:
    """The names of the executions that a delivery of the function's event starts."""
    started: list[str] = []
    brief = RunTiming(inbox.catalog.now(), heartbeat=timedelta(hours=1))
    inbox.take_in(upload_id, brief, lambda name, _: started.append(name))
    return started


def test_the_end_of_one_task_does_not_end_what_was_completed_again(
    inbox: Inbox, ended: Ended, clock: SettableClock
) -> None:
    """ECS says that a task stopped some ten seconds after its last word, by which somebody acts."""
    upload_id = inbox.sent()
    (first,) = handed_over(inbox, upload_id)
    clock.pass_by(timedelta(seconds=60))
    with pytest.raises(OutOfTime):
        inbox.take_in(upload_id, RunTiming(clock(), heartbeat=timedelta(hours=1)))
    clock.pass_by(timedelta(seconds=2))
    inbox.uploads.seal(upload_id)
    before = inbox.run(upload_id)
    for _ in range(2):
        with pytest.raises(RunIsOver, match="completed again"):
            ended(upload_id, execution=first)
        assert inbox.run(upload_id) == before
    (second,) = handed_over(inbox, upload_id)
    with pytest.raises(RunIsOver):
        ended(upload_id, execution=first)
    with pytest.raises(TaskFailed):
        ended(upload_id, execution=second)


def taken_for_dead(inbox: Inbox, ended: Ended, clock: SettableClock) -> NewRun:
    """A task's run that slept for longer than its lease, and whose end was told meanwhile."""
    zombie = NewRun(inbox.catalog, RunKind.UPLOAD, None, run_id=inbox.sent())
    zombie.open(timedelta(minutes=2))
    clock.pass_by(timedelta(minutes=3))
    with pytest.raises(TaskFailed):
        ended(zombie.record.id, "States.Timeout")
    return zombie


def test_a_task_that_was_taken_for_dead_publishes_nothing_any_more(
    inbox: Inbox, ended: Ended, clock: SettableClock
) -> None:
    """Also one that slept for longer than its lease and whose heart beats first."""
    zombie = taken_for_dead(inbox, ended, clock)
    with pytest.raises(LeaseLost):
        zombie.renew()
    with pytest.raises(LeaseLost):
        zombie.check()


def test_a_task_that_was_taken_for_dead_does_not_end_what_was_completed_again(
    inbox: Inbox, ended: Ended, clock: SettableClock
) -> None:
    zombie = taken_for_dead(inbox, ended, clock)
    inbox.uploads.seal(zombie.record.id)
    with pytest.raises(LeaseLost) as lost:
        zombie.renew()
    assert zombie.is_out_of_its_hands(lost.value)


def test_a_late_delivery_of_an_event_whose_run_has_failed_starts_no_task(
    inbox: Inbox, ended: Ended, clock: SettableClock
) -> None:
    upload_id = inbox.sent()
    (first,) = handed_over(inbox, upload_id)
    with pytest.raises(TaskFailed):
        ended(upload_id, execution=first)
    clock.pass_by(timedelta(minutes=1))
    started: list[str] = []
    with pytest.raises(RunIsOver):
        inbox.take_in(upload_id, RunTiming(clock()), lambda name, _: started.append(name))
    assert started == []


def test_an_upload_that_a_task_takes_in_waits_there_for_another_run(inbox: Inbox) -> None:
    """A function would be tried thrice within three minutes, and then nobody did it."""
    upload_id = inbox.sent()
    other = NewRun(inbox.catalog, RunKind.CREATE, None)
    other.open(timedelta(minutes=2))
    assert len(handed_over(inbox, upload_id)) == 1
    assert inbox.run(upload_id).state is RunState.QUEUED
    with pytest.raises(LeaseHeld):
        inbox.take_in(upload_id, start_task=lambda *_: None)
    assert inbox.run(upload_id).state is RunState.QUEUED


def test_an_upload_that_its_task_takes_in_now_is_left_to_it(inbox: Inbox) -> None:
    upload_id = inbox.sent()
    NewRun(inbox.catalog, RunKind.UPLOAD, None, run_id=upload_id).open(timedelta(minutes=2))
    with pytest.raises(LeaseHeld):
        handed_over(inbox, upload_id)


def test_an_upload_that_waits_for_its_task_is_not_given_up_meanwhile(
    inbox: Inbox, clock: SettableClock
) -> None:
    """A function that was throttled hands it over late, and a task waits for 45 minutes."""
    upload_id = inbox.sent()
    clock.pass_by(timedelta(minutes=58))
    handed_over(inbox, upload_id)
    clock.pass_by(timedelta(minutes=50))
    with pytest.raises(Conflict, match="is being taken in"):
        inbox.uploads.abandon(upload_id)


def test_a_task_whose_time_ends_does_not_speak_of_a_functions(inbox: Inbox) -> None:
    upload_id = inbox.sent()
    timing = RunTiming(inbox.catalog.now(), heartbeat=timedelta(hours=1), whose_time=TASKS_TIME)
    with pytest.raises(OutOfTime):
        inbox.take_in(upload_id, timing)
    error = inbox.run(upload_id).error
    assert error is not None
    assert "function" not in error.message
    assert "12 hours" in error.message


def test_a_task_that_is_stopped_once_it_has_published_has_not_failed(
    inbox: Inbox, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = inbox.sent()

    def stopped(*_: object) -> None:
        raise TaskFailed("stopped")

    with monkeypatch.context() as stopping:
        stopping.setattr("lcp_backup.catalog.uploads.StoredUploads.delete", stopped)
        inbox.take_in(upload_id)
    assert inbox.run(upload_id).state is RunState.SUCCEEDED
    ended(upload_id)


def test_a_task_that_is_stopped_at_work_leaves_nothing_open_and_keeps_the_files(
    inbox: Inbox, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = inbox.sent()
    both_at_work = threading.Barrier(2, timeout=5)

    def slowly(source: ObjectReader, *, threads: int) -> Iterator[bytes]:
        if both_at_work.wait() == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
        yield from read_whole(source, threads=threads)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TaskFailed("stopped", public="the task was stopped")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with monkeypatch.context() as slow, pytest.raises(TaskFailed):
            slow.setattr("lcp_backup.jobs.take_in.read_whole", slowly)
            inbox.take_in(upload_id)
        assert not [it.name for it in threading.enumerate() if it.name.startswith("side")]
    finally:
        signal.signal(signal.SIGTERM, before)
    run = inbox.run(upload_id)
    assert run.state is RunState.FAILED
    assert run.error is not None
    assert run.error.message.startswith("the task was stopped")
    assert list(store.open_multiparts("")) == []
    assert inbox.catalog.lease.holder() is None
    assert len(inbox.keys("uploads")) == 3
    inbox.uploads.seal(upload_id)
    assert inbox.take_in(upload_id).backup_id
