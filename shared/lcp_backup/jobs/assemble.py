"""Assemble: one plain `.tgz` of a backup's volume, or of a selection, where no such object lies."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

from lcp_backup.archive import tar
from lcp_backup.archive.segment import IndexedMember
from lcp_backup.archive.streams import Nowhere
from lcp_backup.archive.write import ArchiveWriter, OnlyFile
from lcp_backup.catalog import Catalog
from lcp_backup.catalog.downloads import download_name
from lcp_backup.database.excerpt import excerpt
from lcp_backup.errors import ArchiveDamaged, ObjectNotFound, PreconditionFailed
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.archives import THREADS
from lcp_backup.jobs.assemble_fan_out import hand_out, workers_for
from lcp_backup.jobs.handing_out import ALONE, StartWorkers, claim, taken_back_on_failure
from lcp_backup.jobs.queued_run import end_queued, queued
from lcp_backup.jobs.stored_backup import StoredBackup, StoredVolume, deletion_told
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.model import ArchiveKind, BackupType, RunKind
from lcp_backup.requests import DownloadRequest
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry
from lcp_backup.volume.carry import carry
from lcp_backup.volume.paths import checked_paths
from lcp_backup.volume.selection import check_second_names, selected
from lcp_backup.volume.wanted import WantedMembers


@dataclass(frozen=True)
class Assembled:
    """What an assembly answers."""

    backup_id: str
    name: str
    """Of the object among the downloads."""
    bytes: int | None
    """None while workers are at work on it."""


def assemble(
    request: DownloadRequest,
    *,
    settings: Settings,
    catalog: Catalog,
    telemetry: Telemetry,
    timing: RunTiming,
    start_workers: StartWorkers,
) -> Assembled:
    """Writes what is wanted of a backup as one archive among the downloads, unless it lies there.

    Of the volume whole segments are copied by S3; those that also hold what is not wanted are
    fetched, and packed anew. Of the database tables are taken, with what a load of them needs, as
    `<database>.sql`. Two runs for the same archive are harmless, and so is one that is repeated.

    Arguments: `start_workers` has the run gone on with by workers, where one invocation would not
    come to an end.

    Raises NotFound (also for a path or a table), InvalidRequest, ArchiveDamaged (which names the
    backup whose archive is missing or damaged), OutOfTime, StorageError.
    """
    with queued(catalog, request.run_id, telemetry.log):
        manifest = catalog.backups.get(request.backup_id)
        name = download_name(manifest, request.kind, request.selection)
        if (found := catalog.downloads.find(name)) is not None:
            end_queued(catalog, request.run_id, bytes=found.size)
            return Assembled(manifest.id, name, found.size)
        backup = StoredBackup(catalog, manifest)
        workers = workers_for(
            request,
            settings,
            manifest,
            lambda: _all_chosen(backup, request),
            seconds=timing.seconds_left(catalog.now()),
        )
        if workers > ALONE and not claim(catalog, request.run_id):
            telemetry.log.info("workers assemble it already, by this run", run_id=request.run_id)
            return Assembled(manifest.id, name, None)
        stored = NewRun(
            catalog,
            RunKind.DOWNLOAD,
            manifest.id,
            run_id=request.run_id,
            backup_run_id=manifest.run_id,
        )
        with ExitStack() as stack:
            if workers > ALONE:
                # (Also when the run cannot begin: the next delivery of its event then plans it.)
                stack.enter_context(taken_back_on_failure(catalog.work.of(stored.record.id)))
            run = stack.enter_context(ActiveRun(stored, telemetry, timing))
            stack.enter_context(deletion_told(catalog, manifest))
            if workers > ALONE:
                _hand_out(
                    run,
                    request,
                    backup,
                    name=name,
                    workers=workers,
                    catalog=catalog,
                    start=start_workers,
                )
                return Assembled(manifest.id, name, None)
            size = _write(catalog, name, request, backup, run)
            run.set_result(bytes=size)
    return Assembled(manifest.id, name, size)


def _write(
    catalog: Catalog, name: str, request: DownloadRequest, backup: StoredBackup, run: ActiveRun
) -> int:
    """Writes the archive by this function alone; its bytes."""
    run.step(f"assembling the {request.kind}")
    backup.manifest.left_out.check_tables(request.tables)
    with _open(catalog, name, request, backup) as writer:
        if request.kind is ArchiveKind.VOLUME:
            _take_volume(backup, writer, checked_paths(request.paths), run)
        else:
            _take_tables(backup, writer, frozenset(request.tables), run)
        return _finish(catalog, name, writer, backup.manifest.id)


def _open(
    catalog: Catalog, name: str, request: DownloadRequest, backup: StoredBackup
) -> ArchiveWriter:
    only_file = None
    if request.kind is ArchiveKind.DATABASE:
        facts = backup.manifest.database_facts
        only_file = OnlyFile(f"{facts.name}.sql", backup.manifest.started_at)
    # (Nobody reads it by segments, and for what is had again by a call no index is kept.)
    return ArchiveWriter(
        catalog.downloads.writer(name),
        Nowhere(),
        name=name,
        index_name="",
        threads=THREADS,
        only_file=only_file,
    )


def _take_volume(
    backup: StoredBackup, writer: ArchiveWriter, paths: tuple[str, ...], run: ActiveRun
) -> None:
    with backup.volume() as volume:
        _check_selection(volume, paths, run)
        wanted = WantedMembers(_chosen(volume, paths))
        carry(
            writer,
            wanted,
            lambda: volume.segments(wanted),
            volume.archive_of,
            threads=THREADS,
            check=run.check,
            unsure=_changed(backup, volume, wanted),
        )
    writer.add([tar.END])


def _chosen(volume: StoredVolume, paths: tuple[str, ...]) -> Iterator[IndexedMember]:
    return selected(volume.members(), paths) if paths else volume.members()


def _all_chosen(backup: StoredBackup, request: DownloadRequest) -> Iterator[IndexedMember]:
    with backup.volume() as volume:
        yield from _chosen(volume, checked_paths(request.paths))


def _check_selection(volume: StoredVolume, paths: tuple[str, ...], run: ActiveRun) -> None:
    """Raises InvalidRequest for a hard link whose file is not among what is selected."""
    if paths:
        names = WantedMembers(it for it in _chosen(volume, paths) if it.type == "second-name")
        with closing(volume.read(names)) as read:
            check_second_names(names, read, paths, check=run.check)


def _changed(backup: StoredBackup, volume: StoredVolume, wanted: WantedMembers) -> set[int]:
    """Sources whose archives are not the objects that were referred to."""
    seen: dict[int, bool] = {}
    for segment in volume.segments(wanted):
        if segment.source not in seen:
            archive = volume.archive_of(segment)
            seen[segment.source] = backup.is_as_recorded(volume.archives[segment.source], archive)
    return {source for source, is_as_recorded in seen.items() if not is_as_recorded}


def _hand_out(
    run: ActiveRun,
    request: DownloadRequest,
    backup: StoredBackup,
    *,
    name: str,
    workers: int,
    catalog: Catalog,
    start: StartWorkers,
) -> None:
    paths = checked_paths(request.paths)
    with backup.volume() as volume:
        _check_selection(volume, paths, run)
        hand_out(
            run,
            request,
            backup.manifest,
            volume,
            lambda: _chosen(volume, paths),
            name=name,
            workers=workers,
            catalog=catalog,
            start=start,
        )


def _take_tables(
    backup: StoredBackup, writer: ArchiveWriter, tables: frozenset[str], run: ActiveRun
) -> None:
    stretches = excerpt(
        backup.database_segments,
        backup.read_database,
        tables,
        by_dump_program=backup.manifest.type is not BackupType.UPLOADED,
    )
    for segment, raw in stretches:
        run.check()
        writer.add([raw], section=segment.section, table=segment.table)


def _finish(catalog: Catalog, name: str, writer: ArchiveWriter, backup_id: str) -> int:
    """The size of the archive; also when another run has made it meanwhile."""
    try:
        return writer.finish().size
    except PreconditionFailed:
        if (found := catalog.downloads.find(name)) is None:
            raise
        return found.size
    except ObjectNotFound as error:
        # A copy is made by S3 while other things are packed.
        raise ArchiveDamaged(
            f"an archive in which a part of backup {backup_id} lies was deleted while it was read"
        ) from error
