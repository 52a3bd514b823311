"""Restore: a backup is loaded beside the live site, checked to its end, and then swapped in."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from lcp_backup.archive.index import read_index
from lcp_backup.archive.read import read_segments
from lcp_backup.archive.segment import Segment
from lcp_backup.catalog import Catalog
from lcp_backup.database import staged_schema
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.database.local_infile import ROWS_TRAVEL_AS_STATEMENTS
from lcp_backup.database.staged_schema import Accounts, IndexedDump, Loaded, Scope, StagedDatabase
from lcp_backup.errors import InvalidRequest, NotFound, RestoredInPart
from lcp_backup.jobs.active_run import ActiveRun, RunTiming, announced
from lcp_backup.jobs.queued_run import queued, succeeded_before
from lcp_backup.jobs.side_by_side import Check, side_by_side
from lcp_backup.model import Archive, BackupType, Manifest, Notice, RunKind
from lcp_backup.requests import LATEST, RestoreRequest
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry
from lcp_backup.volume import selection, staging, swap, unpack
from lcp_backup.volume.mounts import check_mounted

_MOST_DEFINERS: Final = 1000
_THREADS: Final = os.process_cpu_count() or 1
_CONNECTIONS: Final = _THREADS + 1
"""Over how many connections rows are loaded unless a setting says (measured: docs/decisions.md)."""
_VOLUME_THREADS: Final = 16
"""How many threads write files of the volume at once; on EFS each call takes a millisecond."""


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
        if request.only_if_new and (pause := catalog.pause.get()):
            telemetry.log.warning("restores are paused", by=pause.by, reason=pause.reason)
            return RestoreResult(None, restored=False)
        if request.backup_id == LATEST:
            # What somebody uploaded is never restored by a schedule, unless that is wanted.
            uploaded = not request.only_if_new or settings.backup_restore_uploaded
            manifest = source.backups.latest(uploaded=uploaded)
        else:
            manifest = source.backups.get(request.backup_id)
            _check_is_meant(manifest, catalog, request.run_id)
        last = next(catalog.runs.restores(), None) if request.only_if_new else None
        if last is not None and last.is_about(manifest):
            telemetry.log.info("restored already", backup_id=manifest.id)
            return RestoreResult(manifest.id, restored=False)
        active = ActiveRun(
            catalog,
            telemetry,
            RunKind.RESTORE,
            manifest.id,
            timing,
            run_id=request.run_id,
            backup_run_id=manifest.run_id,
        )
        with announced(active, telemetry, metric="RestoreFailure", failed="Restore Failed") as run:
            run.add_notices(settings.notices)
            work = _Restore(run, request, manifest, settings, source, locate(), accounts())
            loaded = work.replace()
            if loaded is not None:
                run.detail("rows were loaded", rows=loaded.rows, as_data=loaded.rows_as_data)
            run.add_notices(_notices(loaded))
            result = work.result(loaded)
            run.set_result(
                whole=request.is_whole,
                rows=result.rows,
                read_bytes=result.read_bytes,
                kept=result.kept,
                statements_left_out=result.statements_left_out,
                definers=result.definers,
                events_disabled=result.events_disabled,
            )
    telemetry.count(
        RestoreSuccess=1, RestoreSeconds=(catalog.now() - run.started_at).total_seconds()
    )
    telemetry.announce(
        "Restore Completed",
        {"backupId": manifest.id, "runId": run.id, "whole": request.is_whole},
    )
    return result


def _check_is_meant(manifest: Manifest, catalog: Catalog, run_id: str | None) -> None:
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


@dataclass
class _Restore:
    """One restore, under the lease."""

    run: ActiveRun
    request: RestoreRequest
    manifest: Manifest
    settings: Settings
    source: Catalog
    live: DatabaseEndpoint
    accounts: Accounts
    read_bytes: int = 0
    kept: list[str] = field(default_factory=list)

    def replace(self) -> Loaded | None:
        """Stages what is asked for and swaps it in; answers what was loaded into the database."""
        request = self.request
        if request.wants_volume:
            check_mounted(self.settings.backup_folder, self.settings.file_system_mount_path)
        self.run.detail(
            "the backup is restored to here",
            asked_for=request.backup_id,
            made_by=self.manifest.type,
            dumped_from=self.manifest.database_facts.server_version,
            strategy=self.settings.backup_restore_strategy,
            host=self.live.host,
            port=self.live.port,
            tls=self.live.tls,
            database=request.into_database or self.live.name,
            folder=request.into_folder or self.settings.backup_folder,
            connections=self._connections(),
        )
        in_place = request.is_whole and self.settings.restores_overwrite
        request.check_can_keep(restores_overwrite=self.settings.restores_overwrite)
        self.run.step("finishing or undoing what an earlier restore left")
        # (Of the database, `stage` and `overwrite` do the same first.)
        self.run.add_notices(swap.recover(Path(self.settings.backup_folder)))
        with ExitStack() as undo:

            def stage_database(check: Check) -> StagedDatabase | None:
                if not request.wants_database:
                    return None
                if in_place:
                    # The live database is not touched before its replacement was read to the end.
                    archive = self.manifest.database
                    for _ in self._read(archive, self._read_index(archive)):
                        check()
                    return None
                staged = self._stage_database(check)
                undo.callback(staged.discard)
                return staged

            def stage_volume(check: Check) -> swap.StagedVolume | None:
                if not request.wants_volume:
                    return None
                staged = self._stage_volume(check)
                undo.callback(staged.discard)
                return staged

            self.run.step("loading the database and unpacking the volume beside the live site")
            database, volume = side_by_side(stage_database, stage_volume, self.run.check)
            self.run.step("swapping")
            self.run.confirm()
            loaded = None
            try:
                if database is not None:
                    loaded = database.swap()
                elif in_place:
                    loaded = self._overwrite()
            except RestoredInPart:
                # The rows are the backup's now, so the files they name must be too.
                self._swap_volume(volume)
                raise
            self._swap_volume(volume)
        if volume is not None:
            self.run.add_notices(volume.notices)
        return loaded

    def result(self, loaded: Loaded | None) -> RestoreResult:
        """What the restore answers once it is done."""
        return RestoreResult(
            self.manifest.id,
            restored=True,
            run_id=self.run.id,
            rows=loaded.rows if loaded else 0,
            read_bytes=self.read_bytes,
            kept=self.kept,
            statements_left_out=list(loaded.left_out) if loaded else [],
            definers=list(loaded.definers[:_MOST_DEFINERS]) if loaded else [],
            events_disabled=list(loaded.disabled) if loaded else [],
        )

    @property
    def _label(self) -> str:
        """What makes the names under which something is kept this run's own."""
        return f"{self.run.started_at:%Y%m%d%H%M%S}"

    # --- the database ---------------------------------------------------------

    def _stage_database(self, check: Check) -> StagedDatabase:
        endpoint = self.live
        if self.request.into_database is not None:
            endpoint = replace(endpoint, name=self.request.into_database)
            if endpoint.name.lower() == self.live.name.lower():
                raise InvalidRequest(
                    f"into_database is the live database {endpoint.name!r}: leave it out, or name"
                    " another"
                )
            staged_schema.check_empty(endpoint)
        tables = keep_in = None
        if self.request.into_database is None:
            tables = frozenset(self.request.tables) or None
            if self.request.keep_previous:
                keep_in = f"{self.live.name}_{self._label}"
                self.kept.append(keep_in)
        return staged_schema.stage(
            endpoint,
            self._dump(),
            dumped_name=self.manifest.database_facts.name,
            connections=self._connections(),
            progress=self.run.progress_of("database"),
            check=check,
            scope=Scope(tables, keep_in),
            given=self.accounts,
        )

    def _overwrite(self) -> Loaded:
        return staged_schema.overwrite(
            self.live,
            self._dump(),
            dumped_name=self.manifest.database_facts.name,
            connections=self._connections(),
            progress=self.run.progress_of("database"),
            check=self.run.check,
            given=self.accounts,
        )

    def _dump(self) -> IndexedDump:
        archive = self.manifest.database
        return IndexedDump(
            self._read_index(archive),
            lambda segments: self._read(archive, segments),
            by_dump_program=self.manifest.type is not BackupType.UPLOADED,
            tables=self.request.tables or None,
        )

    def _connections(self) -> int:
        return self.settings.backup_restore_connections or _CONNECTIONS

    # --- the volume -----------------------------------------------------------

    def _stage_volume(self, check: Check) -> swap.StagedVolume:
        archive = self.manifest.volume
        folder = Path(self.settings.backup_folder)
        if self.request.into_folder is not None:
            folder = staging.check_below(Path(self.request.into_folder), folder)
            staging.check_empty(folder)
        paths = selection.checked_paths(self.request.paths)
        progress = self.run.progress_of("volume")
        if paths:
            staged = selection.unpack_selection(
                selection.Selection(self._read_index(archive), paths),
                lambda segments: self._read(archive, segments),
                folder,
                owner=None,
                threads=_VOLUME_THREADS,
                progress=progress,
                check=check,
            )
        else:
            chunks = (raw for _, raw in self._read(archive, self._read_index(archive)))
            staged = unpack.unpack(
                chunks,
                folder,
                owner=None,
                threads=_VOLUME_THREADS,
                progress=progress,
                check=check,
            )
        if self.request.keep_previous and self.request.into_folder is None:
            self.kept.append(str(staged.keep_previous(self._label)))
        return staged

    def _swap_volume(self, staged: swap.StagedVolume | None) -> None:
        if staged is None:
            return
        if self.request.paths and self.request.into_folder is None:
            staged.swap_selection(selection.checked_paths(self.request.paths))
        else:
            staged.swap()

    # --- archives -------------------------------------------------------------

    def _read_index(self, archive: Archive) -> Iterator[Segment]:
        index = self.source.backups.open(self.manifest.id, archive.index_name)
        return read_index(index, archive_name=archive.name, sha256=archive.index_sha256)

    def _read(
        self, archive: Archive, segments: Iterable[Segment]
    ) -> Iterator[tuple[Segment, bytes]]:
        pieces = read_segments(
            self.source.backups.open(self.manifest.id, archive.name),
            segments,
            name=f"{archive.name} of backup {self.manifest.id}",
            threads=_THREADS,
        )
        for segment, raw in pieces:
            self.read_bytes += segment.size
            yield segment, raw
