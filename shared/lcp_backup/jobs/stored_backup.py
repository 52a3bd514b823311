"""A published backup as a restore reads it: its segments, fetched and checked."""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from typing import Final

from lcp_backup.archive.index import IndexReader, read_index, read_members
from lcp_backup.archive.local_copy import read_again
from lcp_backup.archive.read import OpenArchive, check_gaps, read_segments, read_segments_of
from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.archive.streams import RangeSource
from lcp_backup.aws.s3_reader import ObjectReader
from lcp_backup.catalog import Catalog
from lcp_backup.errors import (
    ArchiveDamaged,
    NotFound,
    ObjectNotFound,
    StorageError,
    UnknownFormat,
)
from lcp_backup.model import Manifest
from lcp_backup.volume.wanted import WantedMembers

THREADS: Final = os.process_cpu_count() or 1
"""As many as there are processors: inflating costs most of the reading."""


def published(catalog: Catalog, backup_id: str, run_id: str) -> Manifest:
    """The backup that this run made; raises NotFound when it was deleted, InvalidRequest.

    Also when another one has its id since.
    """
    manifest = catalog.backups.get(backup_id)
    if manifest.run_id != run_id:
        raise NotFound(
            f"the backup {backup_id} that was meant was deleted, and another one was made since"
        )
    return manifest


@contextmanager
def deletion_told(catalog: Catalog, manifest: Manifest) -> Iterator[None]:
    """Around what reads a backup: raises NotFound where it fails because the backup was deleted.

    What is missing then is no damage, and nobody has to look for any.
    """
    try:
        yield
    except (ArchiveDamaged, ObjectNotFound) as error:
        # (What cannot be looked at now, or read by this version, is not known to be gone.)
        with suppress(StorageError, UnknownFormat):
            found = catalog.backups.find(manifest.id)
            if found is None or found.run_id != manifest.run_id:
                reason = f"backup {manifest.id} was deleted while it was read"
                raise NotFound(reason) from error
        raise


class StoredBackup:
    """The database and the volume of a backup; `read_bytes` counts what was read of both.

    `source` is the catalog that holds the backup; it is only read. Every segment's SHA-256 is
    checked before its bytes are handed out. What reads raises ArchiveDamaged, NotFound and
    StorageError. The two may be read in two threads, each in one.

    Arguments: `threads` is how many segments of each are inflated at once.
    """

    def __init__(self, source: Catalog, manifest: Manifest, *, threads: int = THREADS) -> None:
        self._source = source
        self._threads = threads
        self.manifest = manifest
        self.read_bytes = 0
        """Stored bytes that were read of the archives."""

    def database_segments(self) -> Iterator[Segment]:
        """The segments of the database, in their order."""
        archive = self.manifest.database
        index = self._open(self.manifest.id, archive.index_name).source
        return read_index(index, archive_name=archive.name, sha256=archive.index_sha256)

    def read_database(self, segments: Iterable[Segment]) -> Iterator[tuple[Segment, bytes]]:
        """These segments of the database, each with its raw bytes."""
        archive = self._open(self.manifest.id, self.manifest.database.name)
        return self._counted(
            read_segments(archive.source, segments, name=archive.name, threads=self._threads)
        )

    def check_database_gaps(self, check: Callable[[], None]) -> None:
        """Checks what of the database's archive no restore reads; as `read.check_gaps`."""
        archive = self.manifest.database
        found = self._open(self.manifest.id, archive.name)
        segments = self.database_segments()
        check_gaps(found.source, segments, size=archive.size, name=found.name, check=check)

    @contextmanager
    def volume(self) -> Iterator["StoredVolume"]:
        """The volume, for as long as the block lasts."""
        archive = self.manifest.volume
        index = self._open(self.manifest.id, archive.index_name).source
        name = f"the index of {archive.name} of backup {self.manifest.id}"
        with read_again(index, sha256=archive.index_sha256, name=name) as copy:
            yield StoredVolume(self, copy)

    def read_volume(
        self, segments: Iterable[Segment], archive_of: Callable[[Segment], OpenArchive]
    ) -> Generator[tuple[Segment, bytes]]:
        """These segments of the volume, wherever they lie, each with its raw bytes.

        To be closed: some are fetched ahead.
        """
        return self._counted(read_segments_of(archive_of, segments, threads=self._threads))

    def open_volume_of(self, backup_id: str) -> OpenArchive:
        """The archive of this backup, or of one of its sources."""
        return self._open(backup_id, self.manifest.volume.name)

    def is_as_recorded(self, backup_id: str, archive: OpenArchive) -> bool:
        """Whether the volume of this backup, or of a source, is the object that was referred to.

        Whoever copied the bucket has others: the bytes may be the same, and only reading tells.
        """
        manifest = self.manifest
        etags: dict[str, str | None] = {it.backup_id: it.etag for it in manifest.sources}
        etags[manifest.id] = manifest.volume.etag
        return isinstance(archive.source, ObjectReader) and archive.source.etag == etags.get(
            backup_id
        )

    def _open(self, backup_id: str, name: str) -> OpenArchive:
        shown = f"{name} of backup {backup_id}"
        try:
            return OpenArchive(self._source.backups.open(backup_id, name), shown)
        except ObjectNotFound as error:
            raise ArchiveDamaged(
                f"{shown}, without which backup {self.manifest.id} is not whole, is missing"
            ) from error

    def _counted(
        self, pieces: Generator[tuple[Segment, bytes]]
    ) -> Generator[tuple[Segment, bytes]]:
        with closing(pieces):
            for segment, raw in pieces:
                self.read_bytes += segment.size
                yield segment, raw


class StoredVolume:
    """The volume of a backup: what it holds, and the segments that it lies in."""

    def __init__(self, backup: StoredBackup, index: RangeSource) -> None:
        self._backup = backup
        self._index = index
        self._name = backup.manifest.volume.name
        self.sources = self._reader().sources
        """The ids of the backups that members and segments name by a number."""
        self.archives = archives = (backup.manifest.id, *self.sources)
        """The ids of the backups in whose archives they lie, with this one's in front."""
        self._opened = cache(lambda number: backup.open_volume_of(archives[number]))

    def members(self) -> Iterator[IndexedMember]:
        """All members, in their order."""
        return read_members(self._index, archive_name=self._name)

    def all_segments(self) -> Iterator[Segment]:
        """All that the index lists, each archive's in its order."""
        return self._reader().segments()

    def segments(self, wanted: WantedMembers) -> Iterator[Segment]:
        """The segments that hold any of these members: those of sources, then the backup's own.

        The backup's own hold all folders, which so come when what lies in them is there. Raises
        ArchiveDamaged, once all have come, where the index does not list each of them once: who
        only takes what comes would be without some members, and notice nothing.
        """
        found = 0
        for own in (False, True):
            for segment in self._reader().segments():
                if (not segment.source) is own and segment in wanted:
                    found += 1
                    yield segment
        if found != (needed := wanted.count_segments()):
            raise ArchiveDamaged(
                f"the index of {self._name} of backup {self.archives[0]} lists {found} of the"
                f" {needed} segments in which it says that files lie"
            )

    def read(self, wanted: WantedMembers) -> Generator[tuple[Segment, bytes]]:
        """The segments that hold any of these members, each with its raw bytes; to be closed."""
        return self.read_these(self.segments(wanted))

    def read_these(self, segments: Iterable[Segment]) -> Generator[tuple[Segment, bytes]]:
        """Segments of these archives, each with its raw bytes; to be closed."""
        return self._backup.read_volume(segments, self.archive_of)

    def read_rest(self, wanted: WantedMembers) -> Generator[tuple[Segment, bytes]]:
        """The backup's own segments that hold none of these members, as `read`.

        The end of the tar file is one, and what was carried over and then turned out to be deleted.
        """
        rest = (it for it in self._reader().segments() if not it.source and it not in wanted)
        return self.read_these(rest)

    def check_gaps(self, check: Callable[[], None]) -> None:
        """Checks what of the backup's own archive no restore reads; as `read.check_gaps`."""
        manifest = self._backup.manifest
        found = self._backup.open_volume_of(manifest.id)
        own = (it for it in self.all_segments() if not it.source)
        check_gaps(found.source, own, size=manifest.volume.size, name=found.name, check=check)

    def archive_of(self, segment: Segment) -> OpenArchive:
        """The archive that a segment lies in."""
        return self._opened(segment.source)

    def _reader(self) -> IndexReader:
        return IndexReader(self._index, archive_name=self._name)
