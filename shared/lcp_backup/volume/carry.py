"""Wanted members carried over from other archives into a new one, in front of what is packed.

A segment of which everything is wanted is copied as it is, which S3 does by itself. Of any other
the wanted members are cut out and go into new segments: its bytes are fetched for that, never the
files.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from typing import NamedTuple

from lcp_backup.archive.read import OpenArchive, read_segments_of
from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.archive.tar import BLOCK
from lcp_backup.archive.untar import TarReader
from lcp_backup.archive.write import SEGMENT_SIZE, ArchiveWriter
from lcp_backup.errors import ArchiveDamaged
from lcp_backup.volume.wanted import WantedMembers


class Moved:
    """Where members went that were carried over.

    Memory: sixteen bytes for every member that was cut out, and about 200 for every segment.
    """

    def __init__(self) -> None:
        self._copied: dict[tuple[int, int], int] = {}
        self._cut: dict[tuple[int, int], tuple[array[int], array[int], array[int]]] = {}

    def place(self, member: IndexedMember) -> IndexedMember | None:
        """The member as it lies in the new archive; None when it was not carried over."""
        place = (member.source, member.segment)
        number = self._copied.get(place)
        if number is not None:
            return member._replace(source=0, segment=number)
        if place not in self._cut:
            return None
        before, segments, after = self._cut[place]
        found = bisect_left(before, member.at)
        if found == len(before) or before[found] != member.at:
            return None
        return member._replace(source=0, segment=segments[found], at=after[found])

    def copied(self, segment: Segment, number: int) -> None:
        """Notes that a segment is now one of the new archive's."""
        self._copied[segment.source, segment.number] = number

    def cut_out(self, segment: Segment, at: int, number: int, new_at: int) -> None:
        """Notes where a member is now that began at this byte of a segment."""
        places = self._cut.setdefault(
            (segment.source, segment.number), (array("I"), array("I"), array("I"))
        )
        for column, value in zip(places, (at, number, new_at), strict=True):
            column.append(value)


def carry(
    writer: ArchiveWriter,
    wanted: WantedMembers,
    segments: Callable[[], Iterator[Segment]],
    archive_of: Callable[[Segment], OpenArchive],
    *,
    threads: int,
    check: Callable[[], None],
    unsure: Collection[int] = (),
) -> Moved:
    """Takes wanted members over into the archive that is written; the caller lists them.

    Args:
        writer: at the beginning of a segment.
        wanted: what is wanted; a large file with all its segments.
        segments: begins anew, each time it is called, with the segments that hold any of it: each
            archive's in its order.
        archive_of: tells where a segment lies.
        threads: how many segments are fetched at once.
        check: called before every segment; what it raises ends the work.
        unsure: sources of which nothing is copied unread, because they may have been changed.

    Raises ArchiveDamaged when a segment is not what the index says; what writer and source raise.
    """
    moved = Moved()

    def is_copied(segment: Segment) -> bool:
        return segment.source not in unsure and wanted.are_all_of(segment)

    fetched = read_segments_of(
        archive_of, (it for it in segments() if not is_copied(it)), threads=threads
    )
    cuts = _Cuts(writer, moved)
    # Closed: what is fetched ahead is not waited for when something fails.
    with closing(fetched):
        for segment in segments():
            check()
            if is_copied(segment):
                # A file may go on from here into the next segment, with nothing between them.
                cuts.flush()
                moved.copied(segment, writer.segments)
                writer.copy(archive_of(segment).source, segment)
            else:
                same, raw = next(fetched)
                if (same.source, same.number) != (segment.source, segment.number):
                    raise ArchiveDamaged(f"segment {segment.number} did not come twice")
                cuts.take(segment, raw, wanted)
    cuts.flush()
    return moved


class _Piece(NamedTuple):
    """A member that was cut out and waits for the segment that it goes into."""

    segment: Segment
    at: int
    new_at: int


class _Cuts:
    """Members that were cut out of segments, gathered into new ones."""

    def __init__(self, writer: ArchiveWriter, moved: Moved) -> None:
        self._writer = writer
        self._moved = moved
        self._bytes: list[bytes] = []
        self._size = 0
        self._pieces: list[_Piece] = []
        self._first = 0

    def take(self, segment: Segment, raw: bytes, wanted: WantedMembers) -> None:
        """Cuts members out of a segment's raw bytes, and the end of a file that goes on in it."""
        if wanted.goes_on_in(segment):
            self.flush()
            self._add(raw[: segment.first] if segment.members else raw)
        for at in wanted.begin_in(segment):
            extent = _extent(memoryview(raw)[at:])
            if self._size + min(extent, len(raw) - at) > SEGMENT_SIZE:
                self.flush()
            if not self._pieces:
                self._first = self._size
            self._pieces.append(_Piece(segment, at, self._size))
            self._add(raw[at : at + extent])
            if at + extent > len(raw):
                self.flush()  # the rest of it is in the next segment

    def flush(self) -> None:
        """Hands over what was gathered as a segment."""
        if not self._bytes:
            return
        number = self._writer.segments
        for piece in self._pieces:
            self._moved.cut_out(piece.segment, piece.at, number, piece.new_at)
        self._writer.add([b"".join(self._bytes)], members=len(self._pieces), first=self._first)
        self._bytes = []
        self._pieces = []
        self._size = self._first = 0

    def _add(self, data: bytes) -> None:
        self._bytes.append(data)
        self._size += len(data)


def _extent(raw: memoryview) -> int:
    """Bytes of the member with which these begin: headers, content and padding."""
    reader = TarReader([raw], lambda _: None, lambda: None)
    member = next(reader.members(), None)
    if member is None:
        raise ArchiveDamaged("no member begins where the index says")
    return reader.content_at + member.size + -member.size % BLOCK
