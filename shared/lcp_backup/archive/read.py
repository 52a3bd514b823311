"""Archives read back: fetched ahead and in parallel, checked before a byte is handed out."""

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from lcp_backup.archive.deflate import inflate_member, inflate_stream
from lcp_backup.archive.index import read_index
from lcp_backup.archive.segment import Segment
from lcp_backup.archive.streams import RangeSource
from lcp_backup.archive.write import SEGMENT_SIZE, WrittenArchive
from lcp_backup.errors import ArchiveDamaged
from lcp_backup.model import Archive

_GAP = 1 << 20
"""Bytes that are read at once of what lies between segments; mostly it is less in all."""


class OpenArchive(NamedTuple):
    """An archive that segments are read from, and what to call it in an error."""

    source: RangeSource
    name: str


def read_segments(
    source: RangeSource, segments: Iterable[Segment], *, name: str, threads: int
) -> Generator[tuple[Segment, bytes]]:
    """The raw bytes of segments of one archive; else as `read_segments_of`."""
    archive = OpenArchive(source, name)
    return read_segments_of(lambda _: archive, segments, threads=threads)


def read_segments_of(
    archive_of: Callable[[Segment], OpenArchive], segments: Iterable[Segment], *, threads: int
) -> Generator[tuple[Segment, bytes]]:
    """The raw bytes of segments, in the order asked for; all of an archive's or only some.

    A segment is handed out only once its SHA-256 held and it inflated to exactly its raw size.
    At most about `threads + 2` segments are in memory.

    Args:
        archive_of: tells where a segment lies; called by one thread, in the segments' order.
        segments: from an index.
        threads: how many segments are fetched and inflated at once.

    Raises ArchiveDamaged, which names the archive, the segment's place among those asked for
    (counted from 1) and its offset; StorageError from the source, and what `archive_of` raises.
    """

    def fetch(placed: tuple[int, Segment, OpenArchive]) -> bytes:
        number, segment, archive = placed
        data = _checked(archive.source, segment, archive.name, number)
        try:
            return inflate_member(data, segment.raw_size)
        except ArchiveDamaged as error:
            raise ArchiveDamaged(f"{_place(archive.name, number, segment)} {error}") from None

    pieces = _in_order(
        ((number, it, archive_of(it)) for number, it in enumerate(segments, 1)),
        fetch,
        size_of=lambda placed: placed[1].raw_size + placed[1].size,
        threads=threads,
    )
    for (_, segment, _), raw in pieces:
        yield segment, raw


def read_whole(source: RangeSource, *, threads: int) -> Iterator[bytes]:
    """All bytes of an object from front to back, as they lie there; ranges are fetched ahead.

    For what has no index, such as an upload. Raises StorageError from the source.
    """
    size = source.size
    spans = ((at, min(SEGMENT_SIZE, size - at)) for at in range(0, size, SEGMENT_SIZE))
    pieces = _in_order(
        spans, lambda span: source.read(*span), size_of=lambda span: span[1], threads=threads
    )
    for _, data in pieces:
        yield data


def read_back(
    written: WrittenArchive, source: RangeSource, index_source: RangeSource, *, threads: int
) -> Archive:
    """Reads a written archive back once and describes it for the manifest.

    Every segment is checked against the index, and the SHA-256 of the whole object is taken on the
    way: what `sha256sum` prints. The one way to that figure for an archive whose head was written
    last; for any other it is a proof that the storage holds what the writer wrote.

    Raises ArchiveDamaged, StorageError.
    """
    name = written.name
    if (source.size, index_source.size) != (written.size, written.index_size):
        raise ArchiveDamaged(
            f"{name} has {source.size} bytes and its index {index_source.size};"
            f" {written.size} and {written.index_size} were written"
        )
    digest = hashlib.sha256()
    at = 0

    def fetch(numbered: tuple[int, Segment]) -> bytes:
        return _checked(source, numbered[1], name, numbered[0])

    segments = read_index(index_source, archive_name=name, sha256=written.index_sha256)
    pieces = _in_order(
        enumerate(segments, 1), fetch, size_of=lambda item: item[1].size, threads=threads
    )
    for (_, segment), data in pieces:
        if segment.offset > at:
            digest.update(source.read(at, segment.offset - at))
        digest.update(data)
        at = segment.offset + segment.size
    if at < source.size:
        digest.update(source.read(at, source.size - at))
    if written.sha256 not in (None, digest.hexdigest()):
        raise ArchiveDamaged(f"{name} is not what was written: its SHA-256 differs")
    return written.described(digest.hexdigest())


def check_gaps(
    source: RangeSource,
    segments: Iterable[Segment],
    *,
    size: int,
    name: str,
    check: Callable[[], None],
) -> None:
    """Checks what of an archive no reader of segments sees, and `tar` does.

    Args:
        segments: all of the archive's, in their order.
        size: bytes that the archive had when it was written.
        name: what to call it in an error.
        check: called before every segment; what it raises ends the work.

    Raises ArchiveDamaged unless it has that size, and is gzip between its segments and behind them;
    StorageError.
    """
    if source.size != size:
        raise ArchiveDamaged(f"{name} has {source.size} bytes, and {size} were written")

    def read(begin: int, end: int) -> None:
        ranges = (source.read(at, min(_GAP, end - at)) for at in range(begin, end, _GAP))
        where = f"{name}, outside of its segments, at bytes {begin} to {end},"
        for _ in inflate_stream(ranges, name=where):
            check()

    at = 0
    for segment in segments:
        check()
        if segment.offset > at:
            read(at, segment.offset)
        at = max(at, segment.offset + segment.size)
    if at < size:
        read(at, size)


def _place(name: str, number: int, segment: Segment) -> str:
    return f"{name}: segment {number}, {segment.size} bytes at byte {segment.offset},"


def _checked(source: RangeSource, segment: Segment, name: str, number: int) -> bytes:
    if segment.offset + segment.size > source.size:
        raise ArchiveDamaged(
            f"{_place(name, number, segment)} is not there: the object has {source.size} bytes"
        )
    data = source.read(segment.offset, segment.size)
    if hashlib.sha256(data).hexdigest() != segment.sha256:
        raise ArchiveDamaged(
            f"{_place(name, number, segment)} is not what was written: its SHA-256 differs"
        )
    return data


def _in_order[T, R](
    items: Iterable[T],
    work: Callable[[T], R],
    *,
    size_of: Callable[[T], int],
    threads: int,
) -> Iterator[tuple[T, R]]:
    """Does `work` on several items at once and gives the results in the items' order.

    No more is taken in than `threads + 2` times two segments' bytes, or one item that is larger.
    """
    most = (threads + 2) * 2 * SEGMENT_SIZE
    waiting: deque[tuple[T, Future[R]]] = deque()
    held = 0
    pool = ThreadPoolExecutor(threads, thread_name_prefix="read archive")
    try:
        for item in items:
            size = size_of(item)
            while waiting and held + size > most:
                done, future = waiting.popleft()
                held -= size_of(done)
                yield done, future.result()
            waiting.append((item, pool.submit(work, item)))
            held += size
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
