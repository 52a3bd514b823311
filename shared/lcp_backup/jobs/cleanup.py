"""Cleanup: expired backups go, the newest never does; what crashes left goes after a day."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.backups import Leftover
from lcp_backup.errors import NotFound, UnknownFormat
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.expiry import expire
from lcp_backup.jobs.failure import DIED
from lcp_backup.jobs.left_work import DEAD_AFTER, forget_work, runs_left
from lcp_backup.jobs.retirement import give_up_unfinished, settle_retired
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.model import Run, RunError, RunId, RunKind, RunState
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry

GRACE = timedelta(days=1)
"""How long something unpublished is left alone: it may belong to a run that is under way."""
UNFINISHED_KEPT = timedelta(days=1)
"""How long a create may go on from what an earlier one stored until its time ended."""
DOWNLOADS_KEPT = timedelta(days=1)
"""How long an assembled archive is used again."""
RUNS_KEPT = timedelta(days=90)
"""How long records of runs stay: they outlive every backup, so that its story can be told."""


@dataclass(frozen=True)
class CleanupResult:
    """What went (or, in a dry run, would go), and what stays."""

    dry_run: bool
    expired: list[str]
    """Ids of backups, newest first."""
    thinned: list[str]
    """Ids of backups that no period of LCP_BACKUP_KEEP keeps, newest first."""
    kept: list[str]
    leftovers: list[str]
    """Ids whose unpublished objects went."""
    unfinished: list[str]
    """Ids of volumes that no run has finished in a day: no create goes on from them any more."""
    retired: list[str]
    """Ids of deleted backups whose archives went, because no backup reads them any more."""
    multiparts: int
    """Multipart uploads of archives that were never ended."""
    abandoned: list[str]
    """Uploads that were never taken in."""
    downloads: list[str]
    """Archives that were assembled for a download."""
    runs: list[str]
    """Records of old runs."""
    died: list[str]
    """Runs that never ended, now marked as failed."""
    freed_bytes: int
    """Of archives and downloads that went; an archive that others may read counts when it goes."""


def clean_up(
    settings: Settings, catalog: Catalog, telemetry: Telemetry, timing: RunTiming, *, dry_run: bool
) -> CleanupResult:
    """Deletes what is past the retention period or thinned out, and what dead runs left.

    The newest backup is never deleted, however old: retention must not take the only good backup
    of a site whose backups have failed for a month. One that is pinned stays, and so does one that
    this version cannot read. Needs no lease: it touches only what is expired, or unpublished for
    more than a day.

    Arguments: `dry_run` deletes nothing and answers what would go. Raises StorageError; what was
    deleted until then stays deleted, and the next run goes on.
    """
    if dry_run:
        return _sweep(settings, catalog, telemetry, dry_run=True)
    with ActiveRun(NewRun(catalog, RunKind.CLEANUP, None), telemetry, timing) as run:
        run.add_notices(settings.notices)
        result = _sweep(settings, catalog, telemetry, dry_run=False)
        run.set_result(
            expired=result.expired,
            thinned=result.thinned,
            retired=result.retired,
            leftovers=result.leftovers,
            abandoned=result.abandoned,
        )
    telemetry.count(CleanupSuccess=1, CleanupFreedBytes=result.freed_bytes)
    return result


def _sweep(
    settings: Settings, catalog: Catalog, telemetry: Telemetry, *, dry_run: bool
) -> CleanupResult:
    now = catalog.now()
    expiry = expire(settings, catalog, telemetry, now, dry_run=dry_run)
    unfinished, read = _give_up_unfinished(catalog, telemetry, now, expiry.read, dry_run=dry_run)
    leftovers, retired = _forget_unpublished(catalog, telemetry, now, read, dry_run=dry_run)
    if not dry_run:
        # A deletion that is under way, or a pin that comes too late, is seen for as long as that.
        old_pins = catalog.pins.written_before(now - GRACE)
        catalog.pins.forget([it for it in old_pins if catalog.backups.is_gone(it)])
    stale = [it for it in catalog.backups.open_multiparts() if now - it.started >= GRACE]
    if not dry_run:
        for multipart in stale:
            catalog.backups.abort_multipart(multipart)
    old, died = _settle_runs(catalog, telemetry, now, dry_run=dry_run)
    of_workers, ended = _settle_workers(catalog, telemetry, now, dry_run=dry_run)
    died += [run_id for run_id in of_workers if run_id not in died]
    abandoned = _forget_uploads(catalog, telemetry, now, dry_run=dry_run)
    downloads = [it for it in catalog.downloads.all() if now - it.modified >= DOWNLOADS_KEPT]
    if not dry_run:
        catalog.downloads.delete(downloads)
        catalog.downloads.abort_stale(now - GRACE)
    result = CleanupResult(
        dry_run=dry_run,
        expired=expiry.expired,
        thinned=expiry.thinned,
        kept=expiry.kept,
        leftovers=[it.backup_id for it in leftovers],
        unfinished=unfinished,
        retired=[it.backup_id for it in retired],
        multiparts=len(stale) + ended,
        abandoned=abandoned,
        downloads=[it.key.rpartition("/")[2] for it in downloads],
        runs=old,
        died=died,
        freed_bytes=expiry.freed_bytes
        + sum(it.size for it in (*leftovers, *retired))
        + sum(it.size for it in downloads),
    )
    telemetry.log.info("cleanup", **vars(result))
    return result


def _give_up_unfinished(
    catalog: Catalog,
    telemetry: Telemetry,
    now: datetime,
    read: set[str] | None,
    *,
    dry_run: bool,
) -> tuple[list[str], set[str] | None]:
    """What no run has finished in a day; the backups whose archives are read, by others too."""
    given_up: list[str] = []
    for backup_id in catalog.backups.unfinished_ids():
        try:
            mark = catalog.backups.unfinished(backup_id)
        except UnknownFormat as error:
            telemetry.log.warning("kept", backup_id=backup_id, reason=str(error))
            read = None
            continue
        if mark is None:
            continue
        if now - mark.stopped_at >= UNFINISHED_KEPT:
            try:
                if not dry_run:
                    give_up_unfinished(catalog, mark)
            except UnknownFormat as error:
                telemetry.log.warning("kept", backup_id=backup_id, reason=str(error))
            else:
                given_up.append(backup_id)
                if not dry_run:
                    continue
        if read is not None:
            read |= {backup_id, *(source.backup_id for source in mark.sources)}
    return given_up, read


def _forget_unpublished(
    catalog: Catalog,
    telemetry: Telemetry,
    now: datetime,
    read: Collection[str] | None,
    *,
    dry_run: bool,
) -> tuple[list[Leftover], list[Leftover]]:
    """What dead runs left, and archives of deleted backups that nobody reads any more."""
    leftovers: list[Leftover] = []
    retired: list[Leftover] = []
    for leftover in catalog.backups.leftovers():
        try:
            mark = catalog.backups.retired(leftover.backup_id)
        except UnknownFormat as error:
            telemetry.log.warning("kept", backup_id=leftover.backup_id, reason=str(error))
            continue
        if mark is not None:
            if settle_retired(catalog, leftover, mark, read, dry_run=dry_run):
                retired.append(leftover)
        elif read is None or leftover.backup_id in read:
            # It may be gone on from; or a manifest that somebody deleted by hand left no mark, and
            # others read the archive.
            telemetry.log.warning("kept", backup_id=leftover.backup_id, reason="may be read")
        elif now - leftover.newest >= GRACE:
            leftovers.append(leftover)
            if not dry_run:
                catalog.backups.delete_leftover(leftover)
    return leftovers, retired


def _forget_uploads(
    catalog: Catalog, telemetry: Telemetry, now: datetime, *, dry_run: bool
) -> list[str]:
    """What users began to send and nobody took in; not what a run is about to take in."""
    abandoned: list[str] = []
    for upload_id in catalog.uploads.ids():
        if now - RunId.parse(upload_id).started_at < GRACE:
            continue
        try:
            if not catalog.runs.get(upload_id).state.ended:
                continue
        except NotFound:
            pass  # it was never sealed
        except UnknownFormat as error:
            telemetry.log.warning("an upload was kept", upload=upload_id, reason=str(error))
            continue
        abandoned.append(upload_id)
        if not dry_run:
            catalog.uploads.delete(upload_id)
            catalog.uploads.delete_unnamed_parts(upload_id)
    return abandoned


def _settle_runs(
    catalog: Catalog, telemetry: Telemetry, now: datetime, *, dry_run: bool
) -> tuple[list[str], list[str]]:
    old: list[str] = []
    died: list[str] = []
    for run_id in catalog.runs.ids():
        started = RunId.parse(run_id).started_at
        if started > now - DEAD_AFTER:
            continue
        if started < now - RUNS_KEPT:
            old.append(run_id)
            continue
        # Only the records of the last two days are opened: older ones were settled by then.
        if started < now - 2 * GRACE:
            continue
        try:
            run = catalog.runs.get(run_id)
        except (UnknownFormat, NotFound) as error:
            telemetry.log.warning("a record was passed over", run=run_id, reason=str(error))
            continue
        if not run.state.ended and run.updated_at <= now - DEAD_AFTER:
            died.append(run_id)
            if not dry_run:
                catalog.runs.write(_buried(run, now))
    if not dry_run:
        catalog.runs.delete(old)
    return old, died


def _settle_workers(
    catalog: Catalog, telemetry: Telemetry, now: datetime, *, dry_run: bool
) -> tuple[list[str], int]:
    """The runs of several functions that never ended, and how many multiparts these had open."""
    died: list[str] = []
    multiparts = 0
    for run in runs_left(catalog, telemetry):
        if not run.state.ended:
            died.append(run.id)
        if not dry_run:
            multiparts += forget_work(catalog, run)
            if not run.state.ended:
                catalog.runs.write(_buried(run, now))
    return died, multiparts


def _buried(run: Run, now: datetime) -> Run:
    error = RunError(
        code=DIED,
        message=f"the run's function ended without a word after {run.updated_at:%Y-%m-%d %H:%M} UTC"
        " (killed, out of memory or out of time); a backup it was making was not published, and a"
        " restore it was doing is finished or undone by the next restore",
    )
    return run.model_copy(update={"state": RunState.FAILED, "finished_at": now, "error": error})
