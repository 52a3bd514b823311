"""A published backup as a restore reads it: its segments, fetched and checked."""

import os
from collections.abc import Iterable, Iterator
from typing import Final

from lcp_backup.archive.index import read_index
from lcp_backup.archive.read import read_segments
from lcp_backup.archive.segment import Segment
from lcp_backup.catalog import Catalog
from lcp_backup.model import Archive, Manifest

THREADS: Final = os.process_cpu_count() or 1
"""How many segments of the database, and as many of the volume, are inflated at once."""


class StoredBackup:
    """The database and the volume of a backup; `read_bytes` counts what was read of both.

    `source` is the catalog that holds the backup; it is only read. Every segment's SHA-256 is
    checked before its bytes are handed out. What reads raises ArchiveDamaged, NotFound and
    StorageError. The two may be read in two threads, each in one.
    """

    def __init__(self, source: Catalog, manifest: Manifest) -> None:
        self._source = source
        self.manifest = manifest
        self.read_bytes = 0
        """Stored bytes that were read of the archives."""

    def database_segments(self) -> Iterator[Segment]:
        """The segments of the database, in their order."""
        return self._segments(self.manifest.database)

    def volume_segments(self) -> Iterator[Segment]:
        """The segments of the volume, in their order."""
        return self._segments(self.manifest.volume)

    def read_database(self, segments: Iterable[Segment]) -> Iterator[tuple[Segment, bytes]]:
        """These segments of the database, each with its raw bytes."""
        return self._read(self.manifest.database, segments)

    def read_volume(self, segments: Iterable[Segment]) -> Iterator[tuple[Segment, bytes]]:
        """These segments of the volume, each with its raw bytes."""
        return self._read(self.manifest.volume, segments)

    def _segments(self, archive: Archive) -> Iterator[Segment]:
        index = self._source.backups.open(self.manifest.id, archive.index_name)
        return read_index(index, archive_name=archive.name, sha256=archive.index_sha256)

    def _read(
        self, archive: Archive, segments: Iterable[Segment]
    ) -> Iterator[tuple[Segment, bytes]]:
        pieces = read_segments(
            self._source.backups.open(self.manifest.id, archive.name),
            segments,
            name=f"{archive.name} of backup {self.manifest.id}",
            threads=THREADS,
        )
        for segment, raw in pieces:
            self.read_bytes += segment.size
            yield segment, raw
