"""How what an object is made of, bytes and ranges of other objects, is cut into parts for S3.

Of a multipart upload, S3 takes at most 10,000 parts, each of 5 MiB to 5 GiB, and only the last may
be shorter. https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lcp_backup.aws.s3_reader import ObjectReader

MIB = 1024 * 1024
SMALLEST_PART = 5 * MIB
"""S3's limit, for all parts but the last."""
FIRST_PART_SIZE = 8 * MIB
LARGEST_COPY = 1024 * MIB
"""Bytes that S3 is asked to copy at once, at most. It would take 5 GiB; but it answers when it has
copied them, the client waits for a minute, and smaller ones are copied side by side."""
PARTS_PER_DOUBLING = 1000
MAX_PARTS = 10_000
"""S3's limit on the parts of one multipart upload."""


def part_size(number: int) -> int:
    """Bytes of part `number` (from 1): doubles every 1,000 parts, so that 10,000 reach past 5 TiB.

    A fixed 8 MiB would end at 80 GB, found out hours into a multipart.
    """
    return FIRST_PART_SIZE << _doublings(number)


def least_size(number: int) -> int:
    """Bytes that part `number` has at least, unless it is the last.

    It grows like `part_size`: an object of many short ranges would otherwise run out of parts.
    """
    return SMALLEST_PART << _doublings(number)


def _doublings(number: int) -> int:
    return (number - 1) // PARTS_PER_DOUBLING


@dataclass(frozen=True)
class Range:
    """Bytes of another object that S3 is to copy."""

    source: ObjectReader
    offset: int
    length: int

    @property
    def end(self) -> int:
        """The byte after the last."""
        return self.offset + self.length


type Part = bytes | Range
"""What one part is made of: bytes that are sent, or a range that is copied."""


class PartCutter:
    """Takes what an object is made of, from front to back, and gives its parts in their order.

    Ranges that follow one another in their source are joined, and copied when they are large enough
    for a part of their own. Only what cannot be copied is fetched: the beginning of a range where
    bytes before it lack something to a part, and a range that is too short.

    Memory: the bytes of one part, and below twice `least_size` of what was fetched.
    """

    def __init__(self) -> None:
        self._number = 1
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._range: Range | None = None

    def write(self, data: bytes) -> Iterator[tuple[int, Part]]:
        """Appends bytes; gives the parts that are full by now, with their numbers.

        All methods: the parts have to be taken before the next call. What is fetched raises what
        its source raises.
        """
        if data:
            yield from self._end_range(is_last=False)
            yield from self._fill(data)

    def append(self, source: ObjectReader, offset: int, length: int) -> Iterator[tuple[int, Part]]:
        """Appends `length` bytes of another object, from `offset`."""
        before = self._range
        if before is not None and before.source is source and before.end == offset:
            self._range = Range(source, before.offset, before.length + length)
        elif length:
            yield from self._end_range(is_last=False)
            self._range = Range(source, offset, length)

    def end(self) -> Iterator[tuple[int, Part]]:
        """Gives what is left; nothing may be appended any more."""
        yield from self._end_range(is_last=True)
        if self._buffered:
            yield self._cut()

    def _end_range(self, *, is_last: bool) -> Iterator[tuple[int, Part]]:
        ended, self._range = self._range, None
        if ended is None:
            return
        # What has to be sent in front of the copy, if anything, is filled up to a part.
        is_behind_bytes = self._buffered > 0
        lacking = max(0, least_size(self._number) - self._buffered) if is_behind_bytes else 0
        least = 1 if is_last else least_size(self._number + is_behind_bytes)
        if ended.length - lacking < least:
            yield from self._fill(ended.source.read(ended.offset, ended.length))
            return
        if lacking:
            self._take(ended.source.read(ended.offset, lacking))
        if is_behind_bytes:
            yield self._cut()
        at, left = ended.offset + lacking, ended.length - lacking
        # In equal shares, so that none is too short.
        for share in range(-(-left // LARGEST_COPY), 0, -1):
            length = left // share
            yield self._numbered(Range(ended.source, at, length))
            at += length
            left -= length

    def _fill(self, data: bytes) -> Iterator[tuple[int, Part]]:
        self._take(data)
        if self._buffered >= part_size(self._number):
            yield self._cut()

    def _take(self, data: bytes) -> None:
        self._buffer.append(data)
        self._buffered += len(data)

    def _cut(self) -> tuple[int, Part]:
        body = b"".join(self._buffer)
        self._buffer.clear()
        self._buffered = 0
        return self._numbered(body)

    def _numbered(self, part: Part) -> tuple[int, Part]:
        self._number += 1
        return self._number - 1, part
