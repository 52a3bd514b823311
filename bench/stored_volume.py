"""Our side of what is measured of increments: the volume's share of a create and of a restore.

Archives and indexes lie in files on the disk, as restic's repository does, and reach it before a
create ends, as restic's do. Everything that the benchmarks ask of the service is in this file.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.sinks import FileSink, FileSource
from lcp_backup.archive.index import read_index
from lcp_backup.archive.read import read_segments
from lcp_backup.archive.segment import Segment
from lcp_backup.archive.write import ArchiveWriter, WrittenArchive
from lcp_backup.volume.pack import pack
from lcp_backup.volume.selection import Selection, unpack_selection
from lcp_backup.volume.unpack import unpack

_THREADS: Final = os.process_cpu_count() or 2
_ARCHIVE: Final = "volume.tgz"
_INDEX: Final = "volume.index"


@dataclass(frozen=True)
class StoredVolume:
    """The volume of one backup."""

    at: Path
    """The folder that holds archive and index."""
    written: WrittenArchive

    @property
    def size(self) -> int:
        """Bytes that this backup added to what is stored."""
        return self.written.size + self.written.index_size


class Reading:
    """The archives and indexes that one job reads."""

    def __init__(self) -> None:
        self._sources: list[FileSource] = []

    @property
    def size(self) -> int:
        """Bytes that were read of all of them."""
        return sum(source.bytes_read for source in self._sources)

    def open(self, stored: "StoredVolume", name: str) -> FileSource:
        """One file of a stored volume; what is read of it counts from now on."""
        source = FileSource(stored.at / name)
        self._sources.append(source)
        return source


def create(
    folder: Path, at: Path, base: StoredVolume | None = None, reading: Reading | None = None
) -> StoredVolume:
    """Backs the folder up into a new folder `at`: what changed since `base`, or all of it."""
    at.mkdir(parents=True)
    with ArchiveWriter(
        FileSink(at / _ARCHIVE),
        FileSink(at / _INDEX),
        name=_ARCHIVE,
        index_name=_INDEX,
        threads=_THREADS,
    ) as writer:
        pack(folder, writer, progress=lambda _: None, check=lambda: None)
        return StoredVolume(at, writer.finish())


def restore(stored: StoredVolume, target: Path) -> None:
    """Restores the whole volume into an empty folder: staged, checked and swapped in."""
    reading = Reading()
    segments = _segments(stored, reading)
    read = read_segments(reading.open(stored, _ARCHIVE), segments, name=_ARCHIVE, threads=_THREADS)
    chunks = (raw for _, raw in read)
    unpack(chunks, target, owner=None, progress=lambda _: None, check=lambda: None).swap()


def restore_file(stored: StoredVolume, target: Path, path: str) -> int:
    """Restores one file; answers the bytes that were read for it of archives and indexes."""
    reading = Reading()
    archive = reading.open(stored, _ARCHIVE)
    unpack_selection(
        Selection(_segments(stored, reading), (path,)),
        lambda some: read_segments(archive, some, name=_ARCHIVE, threads=_THREADS),
        target,
        owner=None,
        progress=lambda _: None,
        check=lambda: None,
    ).swap_selection((path,))
    return reading.size


def _segments(stored: StoredVolume, reading: Reading) -> Iterator[Segment]:
    index = reading.open(stored, _INDEX)
    return read_index(index, archive_name=_ARCHIVE, sha256=stored.written.index_sha256)
