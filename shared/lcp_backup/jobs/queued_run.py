"""A run that has an id before it begins: it was queued, and its event may come more than once."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aws_lambda_powertools import Logger

from lcp_backup.catalog import Catalog
from lcp_backup.errors import LeaseHeld, NotFound, RunIsOver, StorageError, UnknownFormat
from lcp_backup.jobs.failure import describe, log_failure
from lcp_backup.model import Manifest, Run, RunError, RunId, RunKind, RunState


def succeeded_before(catalog: Catalog, run_id: str | None) -> bool:
    """Whether an earlier delivery of a run's event did it already.

    Failed is final: raises RunIsOver for a run whose record says so, because somebody was told. A
    run that is under way is not over, as it may have been killed. Raises StorageError.
    """
    if run_id is None or (run := ended(catalog, run_id)) is None:
        return False
    if run.state is RunState.FAILED:
        raise over(run)
    return True


def ended(catalog: Catalog, run_id: str) -> Run | None:
    """The record of a run that has ended, or None."""
    try:
        run = catalog.runs.get(run_id)
    except NotFound:
        return None
    return run if run.state.ended else None


def over(run: Run) -> RunIsOver:
    how = f" with {run.error.code}" if run.error is not None else ""
    return RunIsOver(
        f"{run.kind} run {run.id} has {run.state}{how} at {run.finished_at:%Y-%m-%d %H:%M:%S} UTC,"
        " and is not done again by a late delivery of its event; ask for it anew if it is wanted"
    )


def check_is_meant(manifest: Manifest, catalog: Catalog, run_id: str | None) -> None:
    """Raises NotFound when the backup that was asked for is gone and another has its id."""
    if run_id is None:
        return
    try:
        asked = catalog.runs.get(run_id)
    except NotFound:
        return  # it was given an id, and nobody queued it
    if asked.backup_run_id is not None and not asked.is_about(manifest):
        raise NotFound(
            f"the backup {asked.backup_id} that was asked for, made by run {asked.backup_run_id},"
            f" was deleted; {manifest.id} is now another one, made by run {manifest.run_id}: look"
            " at it, and ask for it anew if it is wanted"
        )


@contextmanager
def queued(catalog: Catalog, run_id: str | None, log: Logger) -> Iterator[None]:
    """Around a job that a queued run asked for: that run ends also when the job never began.

    An unknown backup, for one, is noticed before there is an ActiveRun. Does nothing without an id,
    nor when another delivery of the event has the lease, nor for an upload that waits for it.
    """
    try:
        yield
    except BaseException as error:
        waits = isinstance(error, LeaseHeld) and (
            error.run_id == run_id
            or (run_id is not None and RunId.parse(run_id).kind is RunKind.UPLOAD)
        )
        if (
            run_id is not None
            and not waits
            and _end_queued(catalog, run_id, RunState.FAILED, describe(error, run_id), {})
        ):
            log_failure(log, "the run never began", run_id, error)
        raise


def end_queued(catalog: Catalog, run_id: str | None, **result: str | int | bool) -> None:
    """A queued run whose work was found done already ends as succeeded; others stay as they are."""
    if run_id is not None:
        _end_queued(catalog, run_id, RunState.SUCCEEDED, None, result)


def _end_queued(
    catalog: Catalog,
    run_id: str,
    state: RunState,
    error: RunError | None,
    result: dict[str, str | int | bool],
) -> bool:
    """Whether the run was still queued, and has ended now."""
    with suppress(NotFound, StorageError, UnknownFormat):
        run = catalog.runs.get(run_id)
        if run.state is not RunState.QUEUED:
            return False
        now = catalog.now()
        end = {"state": state, "error": error, "result": result, "step": ""}
        catalog.runs.write(run.model_copy(update={**end, "updated_at": now, "finished_at": now}))
        return True
    return False
