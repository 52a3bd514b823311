"""Who takes an upload in: the upload function, or a task that has hours for it, by a state machine.

A gzip file from elsewhere is one stream that nobody can begin to read in the middle, so this is one
process in either case, with the same run, record and result.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Final

from lcp_backup.catalog import Catalog
from lcp_backup.errors import (
    ArchiveRefused,
    LeaseLost,
    RunIsOver,
    TaskFailed,
    UnknownFormat,
)
from lcp_backup.jobs.failure import describe, log_failure
from lcp_backup.jobs.queued_run import over
from lcp_backup.jobs.task_end import LONGEST, in_words
from lcp_backup.model import ArchiveKind, BackupId, Manifest, Run, RunId, RunState, Upload
from lcp_backup.steps import UploadStepRequest
from lcp_backup.telemetry import Telemetry
from lcp_backup.uploads import were_refused

TASKS_TIME: Final = (
    f"the {LONGEST // timedelta(hours=1)} hours were about to end that a task has; load and unpack"
    " the files where a site has them, and back that up"
)
"""What a run says whose task did not come to its end in time."""

type StartTask = Callable[[str, str], None]
"""Starts the execution of this name, for the run of this id."""

_SURE_RATES: Final = {ArchiveKind.DATABASE: 8e6, ArchiveKind.VOLUME: 80e6}
"""Bytes a second, as they are sent, that a function is planned to take in: half of what was
measured of what they inflate to (docs/limits.md), for dumps that inflate four times."""


def needs_task(upload: Upload, seconds: float | None) -> bool:
    """Whether a function that has so much time would not come to an end; None: as long as it likes.

    That is so too where one did not that had this upload before.
    """
    if seconds is None:
        return False
    takes = max(file.size / _SURE_RATES[kind] for kind, file in upload.files.items())
    return upload.was_out_of_time or takes >= seconds


def hand_to_task(catalog: Catalog, upload_id: str, start: StartTask) -> None:
    """Leaves a queued run to a task, of which there is one for each time that it was queued.

    Raises RunIsOver when it has ended meanwhile; AwsError, NotFound, StorageError.
    """
    # (From now on an hour has to pass before it is given up.)
    waits = {"step": "waiting for its task to start", "updated_at": catalog.now()}
    run = catalog.runs.change(
        upload_id,
        lambda it: it if it.state is not RunState.QUEUED else it.model_copy(update=waits),
    )
    if run.state.ended:
        raise over(run)
    start(execution_of(run), upload_id)


def execution_of(run: Run) -> str:
    """What the execution is called for a run as it was queued, be it twice in one second."""
    return f"{run.id}-{run.started_at:%Y%m%dT%H%M%S%f}"


def end_of_task(
    request: UploadStepRequest, catalog: Catalog, telemetry: Telemetry, finish: Callable[[], object]
) -> None:
    """Returns when the upload was taken in, and sees that its run has ended otherwise.

    Arguments: `finish` takes in what is published already, for a task that was killed after that.

    Raises ArchiveRefused when the files were refused, RunIsOver when the run failed by its own
    word or the upload was completed again since, LeaseHeld while a process of the run may live
    (Step Functions may be wrong, and may have started two), TaskFailed when the task left no word,
    NotFound, StorageError, and what `finish` raises.
    """
    if published_by(catalog, request.run_id) is not None:
        finish()
        return
    failed: list[TaskFailed] = []

    def is_anothers(run: Run) -> bool:
        return run.state is RunState.QUEUED and execution_of(run) != request.execution

    def end(run: Run) -> Run:
        failed.clear()
        if run.state.ended or is_anothers(run):
            return run
        _see_that_it_is_dead(catalog, run.id)
        error = request.error.get("Error", ""), request.error.get("Cause", "")
        words = in_words("the task that takes the upload in", *error)
        if run.state is RunState.QUEUED and (holder := catalog.lease.holder()) is not None:
            words = f"{words}: run {holder.run_id} was writing all the time"
        failed.append(TaskFailed(f"{words}: {error[0]} {error[1][:2000]}", public=words))
        now = catalog.now()
        told = {"error": describe(failed[0], run.id), "state": RunState.FAILED, "step": ""}
        return run.model_copy(update={**told, "updated_at": now, "finished_at": now})

    run = catalog.runs.change(request.run_id, end)
    if failed:
        log_failure(telemetry.log, "the task failed", run.id, failed[0])
        telemetry.count(UploadFailure=1)
        reason = {"error": TaskFailed.code, "reason": run.error.message if run.error else ""}
        telemetry.announce("Upload Failed", {"backupId": run.backup_id, **reason})
        raise failed[0]
    if run.state is RunState.FAILED and were_refused(run):
        raise ArchiveRefused(run.error.message if run.error else "")
    if run.state is RunState.FAILED:
        raise over(run)
    if is_anothers(run):
        raise RunIsOver(f"upload {run.id} was completed again, and that is another task's")


def _see_that_it_is_dead(catalog: Catalog, run_id: str) -> None:
    """Raises LeaseHeld while a process of the run has the lease; later none can get it back."""
    catalog.lease.check_is_not_of(run_id)
    with suppress(LeaseLost):  # another run had it since
        catalog.lease.take_up(run_id, timedelta(0))


def published_by(catalog: Catalog, upload_id: str) -> Manifest | None:
    """The backup that an earlier delivery made of the upload."""
    opened_at = RunId.parse(upload_id).started_at
    for backup_id in catalog.backups.ids():
        # An uploaded backup's minute is before its run only by the minutes that were taken.
        if BackupId.parse(backup_id).slot < opened_at - timedelta(days=1):
            break
        # (What this version cannot read, none of its deliveries has made.)
        with suppress(UnknownFormat):
            manifest = catalog.backups.find(backup_id)
            if manifest is not None and manifest.run_id == upload_id:
                return manifest
    return None
