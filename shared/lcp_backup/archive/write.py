"""The one writer of archives: raw segments in, a segmented `.tgz` and its index out."""

import hashlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import ClassVar, Final, NamedTuple, Self

from lcp_backup.archive import tar
from lcp_backup.archive.deflate import STORED_OVERHEAD, member, stored_member
from lcp_backup.archive.index import IndexWriter
from lcp_backup.archive.segment import IndexedMember, Section, Segment
from lcp_backup.archive.streams import ByteSink, RangeSource
from lcp_backup.errors import ArchiveDamaged
from lcp_backup.model import Archive

SEGMENT_SIZE: Final = 8 << 20
"""Raw bytes a producer puts into a segment; only what cannot be cut may be larger."""

type Raw = bytes | bytearray | memoryview


class OnlyFile(NamedTuple):
    """The one file of an archive whose size is known only when all of it was written."""

    name: str
    modified: datetime
    """Aware; whole seconds are kept."""


@dataclass(frozen=True)
class WrittenArchive:
    """An archive that is complete in its sink, and what the writer knows of it."""

    name: str
    size: int
    raw_size: int
    segments: int
    index_name: str
    index_size: int
    index_sha256: str
    is_exact: bool
    """Whether every member in its segments is listed."""
    sha256: str | None
    """Of the whole object; None for an OnlyFile, whose first bytes were written last, and when
    segments were copied in. `read.read_back` reads the object once and gives it."""
    segments_sha256: str
    """Of the segments' SHA-256s, as `Archive.segments_sha256`."""
    copied_segments: int
    """How many of the segments were copied in from other archives: their bytes nobody has read."""

    def described(self, sha256: str | None) -> Archive:
        """The archive as a manifest lists it, with the SHA-256 of the whole object.

        None stands for one that nobody knows, because segments were copied in.
        """
        return Archive(
            name=self.name,
            size=self.size,
            raw_size=self.raw_size,
            sha256=sha256,
            segments_sha256=None if sha256 else self.segments_sha256,
            segments=self.segments,
            index_name=self.index_name,
            index_size=self.index_size,
            index_sha256=self.index_sha256,
            exact=self.is_exact,
        )


class ArchiveWriter:
    """Compresses segments on all cores and writes them in order; whole, or not at all.

    Use it in a `with` block. Only `finish` makes anything visible: leaving the block by an
    exception, or without having called it, aborts both sinks. (Python's own GzipFile and TarFile
    write a valid trailer while an exception leaves: a broken dump then looks like a good backup.)

    Equal segments give equal archives: no time and no name is stored by the gzip layer.

    Memory: at most about `threads + 2` segments of SEGMENT_SIZE, and one that is larger. Not for
    several threads at once.

    Args:
        sink: takes the archive. `index_sink`: takes its index.
        name, index_name: the objects' names, such as `volume.tgz` and `volume.index`.
        threads: how many segments are compressed at once.
        only_file: given, the segments are the content of this file, and the writer makes the tar
            file around it; not given, the segments are a tar file, up to and with its end.
        sources: backups in whose archives some of the listed members lie.
    """

    def __init__(
        self,
        sink: ByteSink,
        index_sink: ByteSink,
        *,
        name: str,
        index_name: str,
        threads: int,
        only_file: OnlyFile | None = None,
        sources: Sequence[str] = (),
    ) -> None:
        self._sinks = [sink, index_sink]
        self._sink = sink
        self._index_sink = index_sink
        self._name = name
        self._index_name = index_name
        self._only_file = only_file
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"compress {name}")
        self._most_waiting = (threads + 2) * SEGMENT_SIZE
        self._waiting: deque[_Compressing | _Copying] = deque()
        self._waiting_size = 0
        self._sha256 = hashlib.sha256()
        self._index = IndexWriter(index_sink, name, sources)
        # The head is stored, not deflated: its length is known before its content, so the offsets
        # in the index are true from the start.
        self._head_size = tar.FILE_HEAD_SIZE + STORED_OVERHEAD if only_file else 0
        self._offset = self._head_size
        self._raw_size = 0
        self._copied_segments = 0
        self._own_members = 0
        """How many begin in the archive's segments, less those of them that are listed."""
        self.segments = 0
        """How many were taken in."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.abort()

    @property
    def raw_size(self) -> int:
        """Bytes taken in so far."""
        return self._raw_size

    def add(
        self,
        chunks: Sequence[Raw],
        *,
        members: int = 0,
        first: int = 0,
        section: Section | None = None,
        table: str | None = None,
    ) -> None:
        """Takes the next segment; blocks while the queue is full. An empty one leaves no trace.

        Args:
            chunks: the segment's raw bytes in order; they must not change any more.
            members, first, section, table: what it holds, for the index (`segment.Segment`).

        Raises what the sink raises, also for an earlier segment.
        """
        size = sum(len(chunk) for chunk in chunks)
        if not size:
            return
        while self._waiting and self._waiting_size + size > self._most_waiting:
            self._write_next()
        content = Segment(
            offset=0,
            size=0,
            raw_size=size,
            sha256="",
            members=members,
            first=first,
            section=section,
            table=table,
        )
        compressed = self._pool.submit(_compressed, chunks)
        self._waiting.append(_Compressing(content, compressed))
        self._waiting_size += size
        self._raw_size += size
        self._own_members += members
        self.segments += 1

    def list_member(self, member: IndexedMember) -> None:
        """Lists a member in the index; members are listed in their order, wherever they lie."""
        self._index.add_member(member)
        self._own_members -= not member.source

    def list_segment(self, segment: Segment) -> None:
        """Lists a segment of a source; behind all of the archive's own, so none may follow."""
        while self._waiting:
            self._write_next()
        self._index.add(segment)

    def copy(self, source: RangeSource, segment: Segment) -> None:
        """Takes a segment of another archive next, as it is: its bytes, and what it holds.

        The sink copies the bytes (`ByteSink.append`); they are neither inflated nor compared with
        their SHA-256, which a reader of the new archive does. That of the whole archive is unknown
        from then on. Segments that were added before stay in front.

        Args:
            source: the archive that the segment lies in.
            segment: as the index lists it that is to have it; its place is the one in `source`.

        Raises ArchiveDamaged when the source is too short, ValueError for an archive of an OnlyFile
        (its head is known last, and what was copied takes none in front), and what the sink raises.
        """
        if self._only_file is not None:
            raise ValueError("no segment can be copied into the archive of an OnlyFile")
        if segment.offset + segment.size > source.size:
            raise ArchiveDamaged(
                f"no segment of {segment.size} bytes lies at byte {segment.offset} of an archive"
                f" of {source.size} bytes, from which it was to be copied into {self._name}"
            )
        self._waiting.append(_Copying(segment.model_copy(update={"source": 0}), source))
        self._own_members += segment.members
        self.segments += 1
        self._raw_size += segment.raw_size
        self._copied_segments += 1
        # What is copied holds no memory that counts. It waits only for what is being compressed.
        while self._waiting and self._waiting[0].is_ready:
            self._write_next()

    def finish(self) -> WrittenArchive:
        """Writes what is left and makes archive and index visible, in this order.

        On any exception both sinks are aborted and nothing is left (or an archive without an
        index, which nothing refers to, when it was the index that failed).
        """
        try:
            while self._waiting:
                self._write_next()
            head = b""
            raw_size = self._raw_size
            if self._only_file is not None:
                file_head = tar.file_head(
                    self._only_file.name, raw_size, int(self._only_file.modified.timestamp())
                )
                tail = tar.padding(raw_size) + tar.END
                raw_size += len(file_head) + len(tail)
                head = stored_member(file_head)
                self._write(member(tail))
            index_sha256 = self._index.end(archive_size=self._offset, raw_size=raw_size)
            self._sink.complete(head)
            self._sinks.remove(self._sink)
            self._index_sink.complete()
            self._sinks.remove(self._index_sink)
        finally:
            self.abort()
        return WrittenArchive(
            name=self._name,
            size=self._offset,
            raw_size=raw_size,
            segments=self._index.segments,
            index_name=self._index_name,
            index_size=self._index.size,
            index_sha256=index_sha256,
            segments_sha256=self._index.segments_sha256,
            sha256=self._sha256.hexdigest() if self._is_all_read else None,
            copied_segments=self._copied_segments,
            is_exact=self._own_members == 0,
        )

    def abort(self) -> None:
        """Gives up what is not complete and ends the threads; harmless when called again."""
        self._pool.shutdown(cancel_futures=True)
        self._waiting.clear()
        sinks, self._sinks = self._sinks, []
        try:
            for sink in sinks[:1]:
                sink.abort()
        finally:
            for sink in sinks[1:]:
                sink.abort()

    def _write_next(self) -> None:
        segment, offset = self._waiting.popleft(), self._offset
        if isinstance(segment, _Copying):
            content = segment.content
            self._sink.append(segment.source, content.offset, content.size)
            self._offset += content.size
            self._index.add(content.model_copy(update={"offset": offset}))
            return
        self._waiting_size -= segment.content.raw_size
        data, sha256 = segment.compressed.result()
        self._write(data)
        self._index.add(
            segment.content.model_copy(
                update={"offset": offset, "size": len(data), "sha256": sha256}
            )
        )

    @property
    def _is_all_read(self) -> bool:
        """Whether the bytes of the archive go through here, from the first to the last."""
        return self._only_file is None and not self._copied_segments

    def _write(self, data: bytes) -> None:
        self._sink.write(data)
        if self._is_all_read:
            self._sha256.update(data)
        self._offset += len(data)


@dataclass(frozen=True)
class _Compressing:
    """A segment that waits to be written, once it is compressed."""

    content: Segment
    compressed: Future[tuple[bytes, str]]

    @property
    def is_ready(self) -> bool:
        return self.compressed.done()


@dataclass(frozen=True)
class _Copying:
    """A segment that waits to be copied, until those before it are written."""

    content: Segment
    source: RangeSource
    is_ready: ClassVar[bool] = True


def _compressed(chunks: Sequence[Raw]) -> tuple[bytes, str]:
    data = member(chunks[0] if len(chunks) == 1 else b"".join(chunks))
    return data, hashlib.sha256(data).hexdigest()
