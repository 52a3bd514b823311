"""Restore: a backup is loaded beside the live site, checked to its end, and then swapped in."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lcp_backup.archive.index import read_index
from lcp_backup.archive.read import read_segments
from lcp_backup.catalog import Catalog
from lcp_backup.database import load
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.database.load import StagedDatabase
from lcp_backup.errors import RestoredInPart
from lcp_backup.jobs.active_run import ActiveRun, Pace, announce_failure, queued
from lcp_backup.jobs.side_by_side import Check, side_by_side
from lcp_backup.model import Archive, Manifest, RunKind, RunState
from lcp_backup.requests import LATEST, RestoreRequest
from lcp_backup.settings import RestoreStrategy, Settings
from lcp_backup.telemetry import Telemetry
from lcp_backup.volume import staging, unpack


@dataclass(frozen=True)
class RestoreResult:
    """What a restore answers; `restored` is False when it was paused or had been done before."""

    backup_id: str | None
    restored: bool
    run_id: str | None
    statements_left_out: list[str]
    """Heads of statements that need rights which RDS does not give."""


def restore_backup(
    request: RestoreRequest,
    *,
    settings: Settings,
    catalog: Catalog,
    source: Catalog,
    telemetry: Telemetry,
    locate: Callable[[], DatabaseEndpoint],
    pace: Pace,
) -> RestoreResult:
    """Brings database and volume back as they were in a backup.

    The live site is as it was until both are loaded and checked; then each is swapped. A run that
    is killed between the swaps is finished by the next restore. With the strategy OVERWRITE the
    database is replaced in place, after its archive was read and checked to the end: no way back.

    Arguments: `catalog` keeps the run and the lease; `source` holds the backups and is only read;
    `locate` finds the database. Raises NotFound, LeaseHeld, OutOfTime, ArchiveDamaged,
    ArchiveRefused, DatabaseError, VolumeError, StorageError, AwsError and their kinds.
    """
    with queued(catalog, request.run_id):
        return _restore(request, settings, catalog, source, telemetry, locate, pace)


def _restore(
    request: RestoreRequest,
    settings: Settings,
    catalog: Catalog,
    source: Catalog,
    telemetry: Telemetry,
    locate: Callable[[], DatabaseEndpoint],
    pace: Pace,
) -> RestoreResult:
    if request.only_if_new and (pause := catalog.restores_paused()):
        telemetry.log.warning("restores are paused", by=pause.by, reason=pause.reason)
        return RestoreResult(None, restored=False, run_id=None, statements_left_out=[])
    manifest = source.latest() if request.backup_id == LATEST else source.get(request.backup_id)
    if request.only_if_new and _last_restored(catalog) == manifest.id:
        telemetry.log.info("restored already", backup_id=manifest.id)
        return RestoreResult(manifest.id, restored=False, run_id=None, statements_left_out=[])
    try:
        with ActiveRun(
            catalog, telemetry, RunKind.RESTORE, manifest.id, pace, run_id=request.run_id
        ) as run:
            left_out = _replace(run, manifest, settings, source, locate)
            run.set_result(statements_left_out=left_out)
    except BaseException as error:
        telemetry.count(RestoreFailure=1)
        announce_failure(telemetry, "Restore Failed", manifest.id, error)
        raise
    telemetry.count(
        RestoreSuccess=1, RestoreSeconds=(catalog.now() - run.started_at).total_seconds()
    )
    telemetry.announce("Restore Completed", {"backupId": manifest.id, "runId": run.id})
    return RestoreResult(manifest.id, restored=True, run_id=run.id, statements_left_out=left_out)


def _last_restored(catalog: Catalog) -> str | None:
    """The backup that the newest successful restore brought back."""
    for run_id in catalog.run_ids():
        if RunKind.RESTORE not in run_id:
            continue
        run = catalog.get_run(run_id)
        if run.state is RunState.SUCCEEDED:
            return run.backup_id
    return None


def _replace(
    run: ActiveRun,
    manifest: Manifest,
    settings: Settings,
    source: Catalog,
    locate: Callable[[], DatabaseEndpoint],
) -> list[str]:
    run.note(settings.notices)
    run.step("finishing or undoing what an earlier restore left")
    folder = Path(settings.backup_folder)
    endpoint = locate()
    # (Of the database, `stage` and `overwrite` do the same first.)
    staging.recover(folder)
    dumped = manifest.database_facts.name
    in_place = settings.backup_restore_strategy is RestoreStrategy.OVERWRITE

    def raw(archive: Archive) -> Iterator[bytes]:
        index = source.open(manifest.id, archive.index_name)
        segments = read_index(index, archive_name=archive.name, sha256=archive.index_sha256)
        pieces = read_segments(
            source.open(manifest.id, archive.name),
            segments,
            name=f"{archive.name} of backup {manifest.id}",
            threads=os.process_cpu_count() or 1,
        )
        return (piece for _, piece in pieces)

    with ExitStack() as undo:

        def stage_database(check: Check) -> StagedDatabase | None:
            if in_place:
                # The live database is not touched before its replacement was read to the end.
                for _ in raw(manifest.database):
                    check()
                return None
            staged = load.stage(
                endpoint,
                raw(manifest.database),
                dumped_name=dumped,
                progress=run.progress_of("database"),
                check=check,
            )
            undo.callback(staged.discard)
            return staged

        def stage_volume(check: Check) -> staging.StagedVolume:
            staged = unpack.unpack(
                raw(manifest.volume),
                folder,
                owner=None,
                progress=run.progress_of("volume"),
                check=check,
            )
            undo.callback(staged.discard)
            return staged

        run.step("loading the database and unpacking the volume beside the live site")
        database, volume = side_by_side(stage_database, stage_volume, run.check)
        run.step("swapping")
        run.confirm()
        if database is None:
            result = load.overwrite(
                endpoint,
                raw(manifest.database),
                dumped_name=dumped,
                progress=run.progress_of("database"),
                check=run.check,
            )
        else:
            try:
                result = database.swap()
            except RestoredInPart:
                # The rows are the backup's now, so the files they name must be too.
                volume.swap()
                raise
        volume.swap()
    return list(result.left_out)
