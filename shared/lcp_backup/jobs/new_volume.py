"""The volume of a backup that is being made: what changed is stored, the rest is referred to."""

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lcp_backup.catalog import Catalog
from lcp_backup.errors import Conflict, ObjectNotFound, PreconditionFailed
from lcp_backup.exclusion import PathPatterns
from lcp_backup.history import Found
from lcp_backup.jobs.archives import open_archive, read_back_or_describe
from lcp_backup.jobs.increment import (
    IndexUnusable,
    SourceUnusable,
    archives_found,
    open_increment,
)
from lcp_backup.jobs.volume_loss import check_for_loss
from lcp_backup.model import Archive, ArchiveKind, Manifest, Notice, VolumeSource
from lcp_backup.volume.pack import pack
from lcp_backup.volume.packing import Packed


@dataclass(frozen=True)
class NewVolume:
    """The volume's archive, whole in the bucket but not published."""

    archive: Archive
    sources: tuple[VolumeSource, ...]
    packed: Packed
    notices: tuple[Notice, ...]
    """What was seen beside the folder, such as by comparing it with the last backup's."""
    reached_before: int | None
    """As `Increment.reached_before`."""
    path_patterns: tuple[str, ...]
    """What of the folder was left out."""


def store_volume(
    catalog: Catalog,
    backup_id: str,
    folder: Path,
    *,
    whole: bool,
    leave_out: PathPatterns,
    began: datetime,
    shrink_limit: int,
    threads: int,
    progress: Callable[[int], None],
    check: Callable[[], None],
    is_over: Callable[[int], bool] = lambda _: False,
) -> NewVolume:
    """Writes the archive and the index of a folder below an id that is not published.

    Args:
        folder: LCP_BACKUP_FOLDER.
        whole: whether the archive is to hold everything; what did not change is copied into it.
        leave_out: what of the folder is not backed up.
        began: when the run began, UTC.
        shrink_limit: as of `check_for_loss`.
        progress: as of `pack`; told a negative number when what it counted was in vain.
        threads, check, is_over: as of `pack`. What was ended early is not compared with the last
            backup.

    Raises VolumeError, VolumeIncomplete, StorageError, and what check raises.
    """
    counted = _Counted(progress)

    distrusted: dict[str, str] = {}

    def attempt(unusable: Collection[str] = (), stores_anew: bool = False) -> NewVolume:
        counted.begin_anew()
        with (
            open_increment(
                catalog,
                whole=whole,
                unusable=unusable,
                distrusted=distrusted,
                stores_anew=stores_anew,
            ) as increment,
            open_archive(catalog, backup_id, ArchiveKind.VOLUME, None, increment.sources) as writer,
        ):
            increment.carry(writer, folder if whole else None, leave_out, threads, check)
            packed = pack(
                folder,
                writer,
                base=increment.base(),
                leave_out=leave_out,
                began=began,
                threads=threads,
                progress=counted.count,
                check=check,
                is_over=is_over,
            )
            for segment in increment.segments():
                writer.list_segment(segment)
            lost: tuple[Notice, ...] = ()
            if not packed.ended_early:
                lost = check_for_loss(packed, catalog, shrink_limit, leave_out.patterns)
            written = writer.finish()
        return NewVolume(
            archive=read_back_or_describe(catalog, backup_id, written),
            sources=increment.referred(),
            packed=packed,
            notices=(*increment.notices, *lost),
            reached_before=increment.reached_before(leave_out),
            path_patterns=leave_out.patterns,
        )

    def attempts() -> NewVolume:
        unusable: Collection[str] = ()
        try:
            return attempt()
        except SourceUnusable as error:
            unusable = error.backup_ids
        except (ObjectNotFound, PreconditionFailed):
            # A copy is made by S3 while other things are packed, and fails whenever it does. What
            # lies there is looked at anew.
            pass
        with suppress(SourceUnusable, ObjectNotFound, PreconditionFailed):
            return attempt(unusable)
        return attempt(stores_anew=True)

    while True:
        try:
            return attempts()
        except IndexUnusable as error:
            distrusted[error.backup_id] = error.reason


class _Counted:
    """The progress of a volume that may be begun anew: what was counted until then was in vain."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress = progress
        self._counted = 0

    def count(self, more: int) -> None:
        self._counted += more
        self._progress(more)

    def begin_anew(self) -> None:
        self.count(-self._counted)


def secure_sources(catalog: Catalog, manifest: Manifest) -> Manifest:
    """Makes sure, just before a backup is published, that every archive it reads lies there.

    And stays there: where backups are locked, the archives are from now on as long as the backup.

    Returns the manifest with what its own archive is known by. Raises Conflict, which names the
    backup whose archive is gone: the next run stores anew what lay
    there. StorageError.
    """
    found = archives_found(catalog, manifest)
    for source in manifest.sources:
        if found.get(source.backup_id) != Found(source.size, source.etag):
            raise Conflict(
                f"{manifest.volume.name} of backup {source.backup_id}, to which this backup was to"
                " refer, was deleted or replaced while it was made: nothing was published, and the"
                " next backup stores those files again"
            )
        catalog.backups.keep_locked(source.backup_id)
    own = found.get(manifest.id)
    volume = manifest.volume.model_copy(update={"etag": own.etag if own else None})
    return manifest.model_copy(update={"volume": volume})
