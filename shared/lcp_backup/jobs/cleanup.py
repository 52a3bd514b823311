"""Cleanup: expired backups go, the newest never does; what crashes left goes after a day."""

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from lcp_backup.catalog import Catalog
from lcp_backup.jobs.abandoned_uploads import forget_uploads
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.dead_runs import settle_runs
from lcp_backup.jobs.expiry import expire
from lcp_backup.jobs.planned import CarryOut, carry_out, only_plan
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.jobs.unpublished import GRACE, forget_unpublished
from lcp_backup.model import RunKind
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry

DOWNLOADS_KEPT: Final = timedelta(days=1)
"""How long an assembled archive is used again."""


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
        return _swept(settings, catalog, telemetry, only_plan)
    with ActiveRun(NewRun(catalog, RunKind.CLEANUP, None), telemetry, timing) as run:
        run.add_notices(settings.notices)
        result = _swept(settings, catalog, telemetry, carry_out)
        run.set_result(
            expired=result.expired,
            thinned=result.thinned,
            retired=result.retired,
            leftovers=result.leftovers,
            abandoned=result.abandoned,
        )
    telemetry.count(CleanupSuccess=1, CleanupFreedBytes=result.freed_bytes)
    return result


def _swept(
    settings: Settings, catalog: Catalog, telemetry: Telemetry, settle: CarryOut
) -> CleanupResult:
    """Plans everything, and has `settle` carry it out or not."""
    now = catalog.now()
    expiry = expire(settings, catalog, telemetry, now, settle)
    unpublished = forget_unpublished(catalog, telemetry, now, expiry.read, settle)
    # A deletion that is under way, or a pin that comes too late, is seen for as long as that.
    old_pins = catalog.pins.written_before(now - GRACE)
    settle(partial(catalog.pins.forget, [it for it in old_pins if catalog.backups.is_gone(it)]))
    runs = settle_runs(catalog, telemetry, now, settle)
    abandoned = forget_uploads(catalog, telemetry, now, settle)
    downloads = [it for it in catalog.downloads.all() if now - it.modified >= DOWNLOADS_KEPT]
    settle(partial(catalog.downloads.delete, downloads))
    settle(partial(catalog.downloads.abort_stale, now - GRACE))
    settle(partial(catalog.work.abort_stale, now - GRACE))
    result = CleanupResult(
        dry_run=settle is only_plan,
        expired=expiry.expired,
        thinned=expiry.thinned,
        kept=expiry.kept,
        leftovers=[it.backup_id for it in unpublished.leftovers],
        unfinished=unpublished.unfinished,
        retired=[it.backup_id for it in unpublished.retired],
        multiparts=unpublished.multiparts + runs.multiparts,
        abandoned=abandoned,
        downloads=[it.key.rpartition("/")[2] for it in downloads],
        runs=runs.old,
        died=runs.died,
        freed_bytes=expiry.freed_bytes
        + sum(it.size for it in (*unpublished.leftovers, *unpublished.retired))
        + sum(it.size for it in downloads),
    )
    telemetry.log.info("cleanup", **vars(result))
    return result
