"""Restore: a backup is loaded beside the live site, checked to its end, and then swapped in."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from lcp_backup.catalog import Catalog
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.database.local_infile import ROWS_TRAVEL_AS_STATEMENTS
from lcp_backup.database.staged_schema import Accounts, Loaded
from lcp_backup.jobs.active_run import ActiveRun, RunTiming, announced
from lcp_backup.jobs.queued_run import check_is_meant, queued, succeeded_before
from lcp_backup.jobs.staged_site import stage_site
from lcp_backup.jobs.stored_backup import StoredBackup
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.model import Manifest, Notice, RunKind
from lcp_backup.requests import LATEST, RestoreRequest
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry

_MOST_DEFINERS: Final = 1000


@dataclass(frozen=True)
class RestoreResult:
    """What a restore answers; `restored` is False when it was paused or had been done before."""

    backup_id: str | None
    restored: bool
    run_id: str | None = None
    rows: int = 0
    """Rows that were loaded."""
    read_bytes: int = 0
    """Bytes of the archives that were read."""
    kept: list[str] = field(default_factory=list)
    """Where what was live before is kept, when that was asked for."""
    statements_left_out: list[str] = field(default_factory=list)
    """Heads of statements that need rights which RDS does not give."""
    definers: list[str] = field(default_factory=list)
    """Who owned each view, trigger, routine and event in the dump, such as `view names:
    root@localhost`. They belong to the locked owner account now, or to LCP_SITE_USER_NAME."""
    scripts: list[str] = field(default_factory=list)
    """The scripts that were run, each with how many rows it changed."""
    events_disabled: list[str] = field(default_factory=list)
    """Events of an uploaded backup: they come back disabled."""


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
    `locate` finds the database, `accounts` the accounts that an operator made for restores.
    Raises NotFound, InvalidRequest, LeaseHeld, OutOfTime,
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
        active = ActiveRun(stored, telemetry, timing)
        with announced(active, telemetry, metric="RestoreFailure", failed="Restore Failed") as run:
            run.add_notices(settings.notices)
            backup = StoredBackup(source, manifest)
            with stage_site(
                run,
                request,
                backup,
                settings,
                catalog=catalog,
                live=locate(),
                accounts=accounts(),
            ) as staged:
                loaded = staged.swap()
            run.add_notices(staged.notices)
            result = _result(run, backup, loaded, staged.kept)
            _record(run, request, loaded, result)
    telemetry.count(
        RestoreSuccess=1, RestoreSeconds=(catalog.now() - run.started_at).total_seconds()
    )
    telemetry.announce(
        "Restore Completed",
        {"backupId": manifest.id, "runId": run.id, "whole": request.is_whole},
    )
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


def _notices(loaded: Loaded | None) -> tuple[Notice, ...]:
    """What a reader of the run should know of the database that was loaded."""
    if loaded is None:
        return ()
    found = [
        Notice(
            code="left-behind",
            subject=schema,
            detail="this schema of the restore could not be dropped: drop it by hand",
        )
        for schema in loaded.left_behind
    ]
    if not loaded.rows_as_data:
        found.append(
            Notice(
                code="rows-as-statements",
                subject="local_infile",
                detail=ROWS_TRAVEL_AS_STATEMENTS,
            )
        )
    return tuple(found)


def _result(
    run: ActiveRun, backup: StoredBackup, loaded: Loaded | None, kept: tuple[str, ...]
) -> RestoreResult:
    """What a restore answers that was done."""
    return RestoreResult(
        backup.manifest.id,
        restored=True,
        run_id=run.id,
        rows=loaded.rows if loaded else 0,
        read_bytes=backup.read_bytes,
        kept=list(kept),
        statements_left_out=list(loaded.left_out) if loaded else [],
        definers=list(loaded.definers[:_MOST_DEFINERS]) if loaded else [],
        events_disabled=list(loaded.disabled) if loaded else [],
        scripts=list(loaded.scripts) if loaded else [],
    )


def _record(
    run: ActiveRun, request: RestoreRequest, loaded: Loaded | None, result: RestoreResult
) -> None:
    """What the run's record and its log say of it."""
    if loaded is not None:
        run.detail("rows were loaded", rows=loaded.rows, as_data=loaded.rows_as_data)
    run.add_notices(_notices(loaded))
    run.set_result(
        whole=request.is_whole,
        rows=result.rows,
        read_bytes=result.read_bytes,
        kept=result.kept,
        statements_left_out=result.statements_left_out,
        definers=result.definers,
        events_disabled=result.events_disabled,
        scripts=result.scripts,
    )
