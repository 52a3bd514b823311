"""Restore: a backup is loaded beside the live site, checked to its end, and then swapped in."""

from collections.abc import Callable

from lcp_backup.catalog import Catalog
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.database.staged_schema import Accounts
from lcp_backup.jobs.active_run import ActiveRun, RunTiming, announced
from lcp_backup.jobs.handing_out import ALONE, StartWorkers
from lcp_backup.jobs.queued_run import check_is_meant, queued, succeeded_before
from lcp_backup.jobs.restore_fan_out import hand_out, workers_for
from lcp_backup.jobs.restored import RestoreResult, swapped, tell_completed
from lcp_backup.jobs.staged_site import AS_IT_WAS, SiteStaging
from lcp_backup.jobs.stored_backup import StoredBackup, deletion_told
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.model import Manifest, RunKind
from lcp_backup.requests import LATEST, RestoreRequest
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry


def restore_backup(
    request: RestoreRequest,
    *,
    settings: Settings,
    catalog: Catalog,
    source: Catalog,
    telemetry: Telemetry,
    locate: Callable[[], DatabaseEndpoint],
    accounts: Callable[[], Accounts],
    timing: RunTiming,
    start_workers: StartWorkers,
) -> RestoreResult:
    """Brings database and volume back as they were in a backup, or the selection that is asked for.

    The live site is as it was until all is loaded and checked; then both are swapped. A run
    that is killed between the swaps is finished by the next restore. With the strategy OVERWRITE
    the whole database is replaced in place, after its archive was read and checked to the end: no
    way back. A selection, and what goes into another database or folder, never overwrite.

    A scheduled restore does nothing while restores are paused, nor when the newest backup was the
    last one restored. A run that has ended is never done again: a second delivery of its event
    answers what the first one did, or raises RunIsOver when it failed. A queued run restores the
    very backup that it was queued for, or none.

    Arguments: `catalog` keeps the run and the lease; `source` holds the backups and is only read;
    `locate` finds the database, `accounts` the accounts that an operator made for restores;
    `start_workers` has the run gone on with by workers, where one invocation would not come to an
    end. Raises NotFound, InvalidRequest, LeaseHeld, OutOfTime,
    ArchiveDamaged, ArchiveRefused, DatabaseError, VolumeError, StorageError, AwsError and their
    kinds.
    """
    with queued(catalog, request.run_id, telemetry.log):
        if succeeded_before(catalog, request.run_id):
            telemetry.log.info("restored already, by this run", run_id=request.run_id)
            return RestoreResult(request.backup_id, restored=False, run_id=request.run_id)
        if request.only_if_new and settings.scripts_on_schedule:
            request = request.model_copy(update={"scripts": True})
        if request.only_if_new and (pause := catalog.pause.get()):
            telemetry.log.warning("restores are paused", by=pause.by, reason=pause.reason)
            return RestoreResult(None, restored=False)
        manifest = _chosen(request, settings, catalog, source)
        last = next(catalog.runs.restores(), None) if request.only_if_new else None
        if last is not None and last.is_about(manifest):
            telemetry.log.info("restored already", backup_id=manifest.id)
            return RestoreResult(manifest.id, restored=False)
        stored = NewRun(
            catalog,
            RunKind.RESTORE,
            manifest.id,
            run_id=request.run_id,
            backup_run_id=manifest.run_id,
        )
        workers = workers_for(
            request, settings, manifest, seconds=timing.seconds_left(catalog.now())
        )
        active = ActiveRun(stored, telemetry, timing)
        with (
            announced(active, telemetry, metric="RestoreFailure", failed="Restore Failed") as run,
            deletion_told(source, manifest),
        ):
            run.add_notices(settings.notices)
            if "live_site" not in run.result:
                run.set_result(live_site=AS_IT_WAS)
            backup = StoredBackup(source, manifest)
            if workers > ALONE:
                hand_out(
                    run,
                    request,
                    backup,
                    settings,
                    workers=workers,
                    catalog=catalog,
                    start=start_workers,
                )
                return RestoreResult(manifest.id, restored=False, run_id=run.id)
            site = SiteStaging(
                run, request, backup, settings, catalog, locate(), accounts()
            ).stage()
            result = swapped(run, request, backup, site)
    tell_completed(run, telemetry, whole=request.is_whole)
    return result


def _chosen(
    request: RestoreRequest, settings: Settings, catalog: Catalog, source: Catalog
) -> Manifest:
    """The backup that is asked for; raises NotFound."""
    if request.backup_id == LATEST:
        # What somebody uploaded is never restored by a schedule, unless that is wanted.
        uploaded = not request.only_if_new or settings.backup_restore_uploaded
        return source.backups.latest(uploaded=uploaded)
    manifest = source.backups.get(request.backup_id)
    check_is_meant(manifest, catalog, request.run_id)
    return manifest
