"""What functions leave that worked on one run side by side, once none of them lives any more."""

from contextlib import suppress
from datetime import timedelta
from typing import Final

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.work import REQUEST, RunWork
from lcp_backup.errors import NotFound, StorageError, UnknownFormat
from lcp_backup.model import Run, RunId, RunKind
from lcp_backup.telemetry import Telemetry

DEAD_AFTER: Final = timedelta(hours=1)
"""A run that is under way renews its record every few seconds, or waits for functions to start."""


def runs_left(catalog: Catalog, telemetry: Telemetry) -> list[Run]:
    """The runs that have left something, and of which no function is at work: none has the lease.

    Of a kind that takes no lease, none has renewed the record for an hour, or it has ended. An
    execution that was stopped by hand runs none of its steps any more, and so ends nothing.
    Raises StorageError.
    """
    found: list[Run] = []
    for run_id in list(catalog.work.run_ids()):
        try:
            run = catalog.runs.get(run_id)
        except (NotFound, UnknownFormat) as error:
            telemetry.log.warning("a run's work was kept", run=run_id, reason=str(error))
            continue
        if not run.kind.takes_lease:
            if _is_over(catalog, run):
                found.append(run)
            continue
        # The record first: what has no lease then will not get one any more.
        holder = catalog.lease.holder()
        if holder is None or holder.run_id != run_id:
            found.append(run)
    return found


def is_under_way(catalog: Catalog, run_id: str) -> bool:
    """Whether functions may still go on with a run that takes no lease; raises StorageError."""
    try:
        return not _is_over(catalog, catalog.runs.get(run_id))
    except NotFound:
        return False
    except UnknownFormat:  # a newer version's
        return True


def _is_over(catalog: Catalog, run: Run) -> bool:
    return run.state.ended or run.updated_at <= catalog.now() - DEAD_AFTER


def forget_work(catalog: Catalog, run: Run) -> int:
    """Ends the multiparts that such a run has open, and deletes what it left; how many there were.

    Archives that are whole are left to the rule for what is not published: by now another run may
    be writing where they lie. While another run writes, a create's is left to the next cleanup.
    """
    work = catalog.work.of(run.id)
    count: int | None = 0
    if RunId.parse(run.id).kind is RunKind.CREATE:
        count = _abort(catalog, work, run.backup_id)
    if count is None:
        return 0
    work.delete()
    return count


def _abort(catalog: Catalog, work: RunWork, backup_id: str | None) -> int | None:
    """How many there were; None when others could have begun them."""
    if backup_id is None or work.find(REQUEST) is None:
        return 0
    # Listed first: who begins one of these later has the lease by then.
    stale = list(catalog.backups.open_multiparts(backup_id))
    if catalog.lease.holder() is not None:
        return None
    for multipart in stale:
        with suppress(StorageError):
            catalog.backups.abort_multipart(multipart)
    return len(stale)
