"""Create: one database and one volume captured together, and published only when both are whole."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from lcp_backup import VERSION
from lcp_backup.archive.segment import Section
from lcp_backup.archive.write import OnlyFile, WrittenArchive
from lcp_backup.catalog import Catalog
from lcp_backup.database import preflight
from lcp_backup.database.dump import start_dump
from lcp_backup.database.dump_program import check_flavours, find_program
from lcp_backup.database.endpoint import DatabaseEndpoint, ask_server, generated_columns
from lcp_backup.database.sections import Cut, SectionCutter
from lcp_backup.database.sql import max_packet, usable, working
from lcp_backup.errors import (
    Conflict,
    LeaseHeld,
    LeaseLost,
    OutOfTime,
    StorageError,
    TableChangedDuringDump,
)
from lcp_backup.exclusion import LeftOut, PathPatterns, matches_table
from lcp_backup.jobs.active_run import ActiveRun, RunTiming, announced
from lcp_backup.jobs.archives import open_archive, read_back_or_describe
from lcp_backup.jobs.new_volume import NewVolume, secure_sources, store_volume
from lcp_backup.jobs.queued_run import end_queued, queued, succeeded_before
from lcp_backup.jobs.side_by_side import Check, side_by_side
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.jobs.unfinished import LEAST_READ, keep_unfinished, packing_is_over
from lcp_backup.model import (
    Archive,
    ArchiveKind,
    BackupId,
    BackupType,
    DatabaseFacts,
    Manifest,
    Notice,
    RunKind,
)
from lcp_backup.requests import CreateRequest
from lcp_backup.setting_values import VolumeMode
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry
from lcp_backup.volume.measure import Measured, measure
from lcp_backup.volume.mounts import check_mounted

_POLL_SECONDS = 3.0


@dataclass(frozen=True)
class CreateResult:
    """What a create answers; `created` is False when the backup had been published before."""

    backup_id: str
    created: bool
    run_id: str
    bytes: int
    """Stored bytes of both archives."""
    warnings: int


def create_backup(
    request: CreateRequest,
    *,
    settings: Settings,
    catalog: Catalog,
    telemetry: Telemetry,
    locate: Callable[[], DatabaseEndpoint],
    programs: Sequence[Path],
    timing: RunTiming,
    pause: Callable[[float], None] = time.sleep,
) -> CreateResult:
    """Makes the backup of the request's slot, or answers the one that exists.

    Two deliveries of one event have one slot: the second waits for the first while that lives, and
    makes the backup itself when the first has died. Nothing is published unless both archives are
    whole; whatever is raised, no multipart stays open and the live data is not touched. What was
    stored of a large volume when the time ended is kept, and the next create goes on from there.

    Arguments: `locate` finds the database, anew for every run; `programs` are the folders to look
    for dump programs in, the first one first; `pause` takes seconds. Raises
    LeaseHeld, StoredInPart, OutOfTime, DatabaseError, VolumeError, StorageError, AwsError and their
    kinds.
    """
    with queued(catalog, request.run_id, telemetry.log):
        succeeded_before(catalog, request.run_id)  # then the backup is found, unless it was deleted
        wanted = BackupId.of(settings.project_id, settings.environment_id, request.time)

        def capture(run: ActiveRun) -> Manifest:
            run.add_notices(settings.notices)
            check_mounted(settings.backup_folder, settings.file_system_mount_path)
            return _Capture(
                run=run,
                backup_id=backup_id,
                slot=wanted.slot,
                backup_type=request.type,
                folder=Path(settings.backup_folder),
                shrink_limit=settings.backup_volume_shrink_limit,
                volume_threads=settings.backup_volume_threads,
                catalog=catalog,
                locate=locate,
                programs=programs,
                whole=settings.backup_volume_mode is VolumeMode.FULL,
                leave_out=settings.left_out_paths,
                table_patterns=settings.backup_exclude_tables,
            ).capture()

        backup_id = catalog.backups.id_for(wanted)
        while (
            published := _wait_for_other_delivery(catalog, str(backup_id), timing, pause)
        ) is None:
            # Anew: what was waited for may have left something to go on from, under that id.
            backup_id = catalog.backups.id_for(wanted)
            stored = NewRun(catalog, RunKind.CREATE, str(backup_id), run_id=request.run_id)
            active = ActiveRun(stored, telemetry, timing)
            try:
                return _result(_publish(active, capture, catalog, telemetry), created=True)
            except LeaseHeld as held:
                if held.backup_id != str(backup_id):
                    raise
                # The other delivery was faster by a moment: it is waited for like any other.
        telemetry.log.info("published already", backup_id=published.id)
        end_queued(catalog, request.run_id, created=False)
        return _result(published, created=False)


def _publish(
    active: ActiveRun,
    capture: Callable[[ActiveRun], Manifest],
    catalog: Catalog,
    telemetry: Telemetry,
) -> Manifest:
    """One run from lease to event."""
    with announced(active, telemetry, metric="CreateFailure", failed="Backup Failed") as run:
        manifest = capture(run)
        run.step("publishing")
        run.confirm()
        manifest = secure_sources(catalog, manifest)
        catalog.backups.publish(manifest)
        run.set_result(bytes=manifest.size, warnings=len(manifest.warnings), losses=manifest.losses)
        if manifest.losses:
            telemetry.log.error("the backup lacks something of the site", losses=manifest.losses)
    telemetry.count(
        CreateSuccess=1,
        # Also when there are none: the alarm then goes off.
        CreateLosses=manifest.losses,
        CreateStoredBytes=manifest.size,
        CreateRawBytes=manifest.database.raw_size + manifest.volume.raw_size,
        CreateSeconds=(manifest.published_at - manifest.started_at).total_seconds(),
    )
    telemetry.announce(
        "Backup Created",
        {"backupId": manifest.id, "type": manifest.type, "bytes": manifest.size, "runId": run.id},
    )
    return manifest


def _result(manifest: Manifest, *, created: bool) -> CreateResult:
    return CreateResult(
        backup_id=manifest.id,
        created=created,
        run_id=manifest.run_id,
        bytes=manifest.size,
        warnings=len(manifest.warnings) + manifest.warnings_left_out,
    )


def _wait_for_other_delivery(
    catalog: Catalog, backup_id: str, timing: RunTiming, pause: Callable[[float], None]
) -> Manifest | None:
    """The backup once it is published, or None when nobody who lives is making it."""
    while True:
        if (manifest := catalog.backups.find(backup_id)) is not None:
            return manifest
        if catalog.lease.backup_in_use() != backup_id:
            return None
        if timing.deadline is not None and catalog.now() >= timing.deadline:
            raise LeaseHeld(f"backup {backup_id} is still being made by another run")
        pause(_POLL_SECONDS)


@dataclass(frozen=True)
class _DumpedDatabase:
    """The database's archive, whole in the bucket but not published."""

    archive: Archive
    facts: DatabaseFacts
    notices: tuple[Notice, ...]
    left_out: tuple[str, ...]
    """Tables whose rows are not in it."""


@dataclass(frozen=True, kw_only=True)
class _Capture:
    """Both archives of one backup, written below its id; nothing is published."""

    run: ActiveRun
    backup_id: BackupId
    slot: datetime
    backup_type: BackupType
    folder: Path
    shrink_limit: int
    volume_threads: int
    catalog: Catalog
    locate: Callable[[], DatabaseEndpoint]
    programs: Sequence[Path]
    whole: bool
    leave_out: PathPatterns
    table_patterns: tuple[str, ...]
    stored: list[NewVolume] = field(default_factory=list[NewVolume])
    """The volume, once all of it is stored."""

    def capture(self) -> Manifest:
        """Captures; when a table was altered meanwhile, captures once more from the start.

        The volume is captured again too: its files must not be older than the rows that name them.
        """
        try:
            try:
                database, volume = self._capture_both()
            except TableChangedDuringDump as error:
                self.run.step(f"capturing once more: {error.public}", reason=str(error))
                database, volume = self._capture_both()
            self.run.check()
        except LeaseLost:
            # What lies below the id may by now be another run's.
            raise
        except OutOfTime as error:
            # Of a volume that is whole: it was the database that took too long.
            if self.stored and self.stored[0].packed.read_size >= LEAST_READ:
                raise self._kept(self.stored[0]) from error
            self._clear()
            raise
        except BaseException:
            # An archive that was whole is of no use alone; cleanup would take it away tomorrow.
            self._clear()
            raise
        told = (*database.notices, *volume.notices)
        return Manifest(
            id=str(self.backup_id),
            type=self.backup_type,
            project=self.backup_id.project,
            environment=self.backup_id.environment,
            slot=self.slot,
            run_id=self.run.id,
            started_at=self.run.started_at,
            published_at=self.catalog.now(),
            service_version=VERSION,
            database=database.archive,
            volume=volume.archive,
            sources=volume.sources,
            database_facts=database.facts,
            volume_facts=volume.packed.facts,
            warnings=(*told, *volume.packed.notices),
            warnings_left_out=volume.packed.notices_left_out,
            losses=volume.packed.losses + sum(notice.means_loss for notice in told),
            left_out=LeftOut(
                table_patterns=self.table_patterns,
                tables=database.left_out,
                path_patterns=self.leave_out.patterns,
                paths=volume.packed.left_out,
            ),
        )

    def _clear(self) -> None:
        # (Conflict: what is there is kept for the next run.)
        with suppress(StorageError, Conflict):
            self.catalog.backups.clear_unpublished(str(self.backup_id))

    def _kept(self, volume: NewVolume) -> OutOfTime:
        def measured(is_over: Callable[[], bool]) -> Measured:
            return measure(
                self.folder, leave_out=self.leave_out, threads=self.volume_threads, is_over=is_over
            )

        return keep_unfinished(self.catalog, self.run, str(self.backup_id), volume, measured)

    def _capture_both(self) -> tuple[_DumpedDatabase, NewVolume]:
        self.run.confirm()
        self.catalog.backups.clear_unpublished(str(self.backup_id))
        self.stored.clear()
        snapshot = threading.Event()
        self.run.step("dumping the database, and packing the volume once its snapshot stands")
        return side_by_side(
            lambda check: self._dump(snapshot, check),
            lambda check: self._pack(snapshot, check),
            self.run.check,
        )

    def _dump(self, snapshot: threading.Event, check: Check) -> _DumpedDatabase:
        endpoint = self.locate()
        with working(endpoint, endpoint.name) as connection, usable(endpoint):
            server = ask_server(connection)
            program = find_program(self.programs, server.flavour)
            generated = generated_columns(connection, endpoint.name)
            self.run.detail(
                "the database is dumped from here",
                host=endpoint.host,
                port=endpoint.port,
                tls=endpoint.tls,
                server=server.version,
                program=str(program.path),
                program_version=program.version,
                generated_columns=len(generated),
            )
            notices = check_flavours(server, program, generated)
            preflight.check_left_out(connection, endpoint.name, self.table_patterns)
            notices += preflight.inspect(connection, server, endpoint.name, program.version)
            history = preflight.keeps_history(connection, server, endpoint.name, program.version)
            packet = max_packet(connection)
        inspection = preflight.Inspection(server, endpoint.name, check)
        counted = self.run.progress_of("database")
        tables: set[str] = set()
        left_out: set[str] = set()
        with (
            open_archive(
                self.catalog,
                str(self.backup_id),
                ArchiveKind.DATABASE,
                OnlyFile(f"{endpoint.name}.sql", self.catalog.now()),
            ) as writer,
            start_dump(
                endpoint, program, server, snapshot_stands=snapshot, history=history
            ) as dump,
        ):
            cutter = SectionCutter()

            def store(cuts: Iterable[Cut]) -> None:
                for cut in cuts:
                    check()
                    # The server sends them all the same: not every dump program can be told.
                    if cut.section is Section.ROWS and cut.table is not None:
                        if cut.table in left_out:
                            continue
                        if matches_table(self.table_patterns, cut.table):
                            left_out.add(cut.table)
                            continue
                    inspection.look_at(cut)
                    if cut.section is Section.DEFINITION and cut.table is not None:
                        tables.add(cut.table)
                    writer.add(cut.chunks, section=cut.section, table=cut.table)
                    counted(sum(len(chunk) for chunk in cut.chunks))

            for chunk in dump.chunks():
                check()
                store(cutter.feed(chunk))
            store(cutter.close())
            dump.finish()
            check()
            written = writer.finish()
        facts = DatabaseFacts(
            name=endpoint.name,
            flavour=server.flavour,
            server_version=server.version,
            client_version=program.version,
            tables=len(tables),
        )
        notices += inspection.notices(packet)
        archive = self._read_back_or_describe(written)
        return _DumpedDatabase(archive, facts, notices, tuple(sorted(left_out)))

    def _pack(self, snapshot: threading.Event, check: Check) -> NewVolume:
        while not snapshot.wait(0.05):
            check()
        volume = store_volume(
            self.catalog,
            str(self.backup_id),
            self.folder,
            whole=self.whole,
            leave_out=self.leave_out,
            began=self.run.started_at,
            shrink_limit=self.shrink_limit,
            threads=self.volume_threads,
            progress=self.run.progress_of("volume"),
            check=check,
            is_over=packing_is_over(self.run),
        )
        if volume.packed.reached_size is not None:
            raise self._kept(volume)
        self.stored.append(volume)
        return volume

    def _read_back_or_describe(self, written: WrittenArchive) -> Archive:
        archive = read_back_or_describe(self.catalog, str(self.backup_id), written)
        self.run.detail(
            "an archive is in the bucket, not published yet",
            archive=archive.name,
            bytes=archive.size,
            raw_bytes=archive.raw_size,
            segments=archive.segments,
        )
        return archive
