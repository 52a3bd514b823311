"""Runs that never ended are marked as failed; what they left goes, and so do old records."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from lcp_backup.catalog import Catalog
from lcp_backup.errors import NotFound, UnknownFormat
from lcp_backup.jobs.failure import DIED
from lcp_backup.jobs.left_work import DEAD_AFTER, forget_work, runs_left
from lcp_backup.jobs.planned import CarryOut
from lcp_backup.model import Run, RunError, RunId, RunState
from lcp_backup.telemetry import Telemetry

RUNS_KEPT: Final = timedelta(days=90)
"""How long records of runs stay: they outlive every backup, so that its story can be told."""
_SETTLED_WITHIN: Final = timedelta(days=2)
"""Only younger records are opened, as an earlier cleanup has settled all others; and those of
uploads that still lie there."""


@dataclass
class SettledRuns:
    """What became of the records of runs."""

    old: list[str] = field(default_factory=list)
    """Ids of runs whose records went."""
    died: list[str] = field(default_factory=list)
    """Ids of runs that never ended, now marked as failed."""
    multiparts: int = 0
    """How many multiparts were ended that functions side by side had open; none in a dry run."""


def settle_runs(
    catalog: Catalog, telemetry: Telemetry, now: datetime, carry_out: CarryOut
) -> SettledRuns:
    """Has old records deleted, dead runs marked, and what they left taken away.

    Raises StorageError.
    """
    found = SettledRuns()
    # An upload's run has its id, and may begin days after it was announced.
    open_uploads = frozenset(catalog.uploads.ids())
    for run_id in catalog.runs.ids():
        started = RunId.parse(run_id).started_at
        if started < now - RUNS_KEPT:
            found.old.append(run_id)
        elif started <= now - DEAD_AFTER and (
            now - _SETTLED_WITHIN <= started or run_id in open_uploads
        ):
            run = _dead(catalog, telemetry, run_id, now)
            if run is not None:
                carry_out(partial(catalog.runs.write, _buried(run, now)))
                found.died.append(run_id)
    carry_out(partial(catalog.runs.delete, found.old))

    def forget(run: Run) -> None:
        found.multiparts += forget_work(catalog, run)

    for run in runs_left(catalog, telemetry):
        carry_out(partial(forget, run))
        if not run.state.ended:
            carry_out(partial(catalog.runs.write, _buried(run, now)))
            if run.id not in found.died:
                found.died.append(run.id)
    return found


def _dead(catalog: Catalog, telemetry: Telemetry, run_id: str, now: datetime) -> Run | None:
    """A run that has not ended, and whose record nobody renews any more."""
    try:
        run = catalog.runs.get(run_id)
    except (UnknownFormat, NotFound) as error:
        telemetry.log.warning("a record was passed over", run=run_id, reason=str(error))
        return None
    return None if run.state.ended or run.updated_at > now - DEAD_AFTER else run


def _buried(run: Run, now: datetime) -> Run:
    error = RunError(
        code=DIED,
        message=f"the run's function ended without a word after {run.updated_at:%Y-%m-%d %H:%M} UTC"
        " (killed, out of memory or out of time); a backup it was making was not published, and a"
        " restore it was doing is finished or undone by the next restore",
    )
    return run.model_copy(update={"state": RunState.FAILED, "finished_at": now, "error": error})
