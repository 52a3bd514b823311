"""Archives that several packings have written, put one behind the other: their indexes as one."""

import hashlib
from collections.abc import Callable
from typing import Final

from lcp_backup.archive.index import IndexReader, IndexWriter
from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.errors import ArchiveDamaged

_COMMENT: Final = 0x10
"""The flag of a comment in the header of a gzip member (RFC 1952, section 2.3.1)."""
_HEADER_SIZE: Final = 10


class JoinedIndex:
    """Writes the index of the joined archive, one packing after the other.

    Memory: one member. The caller ends the writer. `listed` is told every member that is listed.
    """

    def __init__(
        self, writer: IndexWriter, listed: Callable[[IndexedMember], None] = lambda _: None
    ) -> None:
        self._writer = writer
        self._listed = listed
        self._held: IndexedMember | None = None
        """The last member: it may go on in the next packing's segments."""
        self.size = 0
        """Bytes of the archive so far."""
        self.raw_size = 0

    def add(
        self,
        packed: IndexReader,
        *,
        leading: int,
        first: Segment | None = None,
    ) -> None:
        """Adds what a packing has written, behind all that was added before.

        Args:
            packed: its own index, in which its archive begins with byte and segment 0.
            leading: how many of its segments go on with the last file of the packing before.
            first: what its first segment has become, where that was changed (`grown`).

        Raises ArchiveDamaged when the packings do not fit together, and what the reader raises.
        """
        number = self._writer.segments
        if leading:
            if self._held is None:
                raise ArchiveDamaged("a file goes on that no packing has begun")
            self._held = self._held._replace(more=self._held.more + leading)
        for line in packed.lines():
            if isinstance(line, Segment):
                self.add_segment(first if first is not None and line.number == 0 else line)
            else:
                for member in line:
                    self._list(member if member.source else _behind(member, number))

    def add_segment(self, segment: Segment) -> None:
        """Adds a segment, wherever it lay; its members are listed separately."""
        self._writer.add(segment.model_copy(update={"offset": self.size}))
        self.size += segment.size
        self.raw_size += segment.raw_size

    def finish(self) -> None:
        """Lists the last member; nothing may be added any more but segments."""
        if self._held is not None:
            self._writer.add_member(self._held)
            self._listed(self._held)
            self._held = None

    def _list(self, member: IndexedMember) -> None:
        self.finish()
        self._held = member


def _behind(member: IndexedMember, number: int) -> IndexedMember:
    return member._replace(segment=member.segment + number)


def grown(segment: Segment, data: bytes, by: int) -> tuple[Segment, bytes]:
    """A segment with so many bytes more that say nothing: a comment in its gzip header.

    S3 takes no part of less than 5 MiB but the last, and the first worker's whole output may be
    smaller than that. Every program that reads gzip passes a comment over.

    Args:
        by: at least 1. data: the segment's bytes, as `deflate.member` has made them.
    """
    if data[3]:
        raise ValueError("the segment's header has a field already")
    head = bytes((*data[:3], _COMMENT, *data[4:_HEADER_SIZE]))
    body = b"".join([head, b" " * (by - 1), b"\0", data[_HEADER_SIZE:]])
    sha256 = hashlib.sha256(body).hexdigest()
    return segment.model_copy(update={"size": len(body), "sha256": sha256}), body
