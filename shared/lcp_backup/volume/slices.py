"""Slices of a volume's index: what the worker of one portion needs of it, so that it reads no more.

The plan passes over the index anyway. It leaves of it, for each portion, where the members' headers
lie and which segments hold them, in *blocks*. A block names the one before it of the same portion,
with its SHA-256: so who has a portion's last block has its slice, and knows that it is what was
left. A slice does not grow with the volume, as a portion does not.
"""

import hashlib
import os
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, Protocol

from lcp_backup.archive.deflate import inflate_stream, member
from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.document import Document, read_document
from lcp_backup.errors import ArchiveDamaged
from lcp_backup.volume.large_files import LargeFileBegins, LargePiece
from lcp_backup.volume.portions import MOST, NOTHING, Portion, PortionedVolume, is_large
from lcp_backup.volume.wanted import Place

_MOST_WAITING: Final = 1 << 18
"""Members and segments that wait until their block is written: some 10 MB."""
_OBJECT_SIZE: Final = 8 << 20
"""Bytes of an object that holds blocks, about."""


class Block(NamedTuple):
    """Where a block lies: in which object, counted from 0, and which of its bytes it is."""

    object: int
    offset: int
    size: int
    sha256: str


class _File(NamedTuple):
    """As LargePiece; the name's bytes in hexadecimal, for it may be no text."""

    encoded: str
    size: int
    begin: int


type Mark = Callable[[IndexedMember], int]
"""Answers eight bytes."""
type _SegmentRow = tuple[int, int, int, int, str, int, int]


class _Content(Document):
    """What a block says."""

    format: Literal[1] = 1
    before: Block | None
    archive: str
    places: tuple[int, ...]
    """Segment, byte and further segments of each member, one behind the other."""
    segments: tuple[_SegmentRow, ...]
    marks: tuple[int, ...] = ()
    """Of each of these members, in their order; none where no marks were asked for."""
    file: _File | None = None
    """In the last block of a piece of a large file."""


class Slice:
    """What is needed of the index for one portion; made by `read_slice`."""

    def __init__(self, blocks: Sequence[_Content]) -> None:
        self._blocks = blocks
        self.archive = blocks[-1].archive
        """The id of the backup in whose archive it lies."""
        self.segments = tuple(_segment(row) for block in blocks for row in block.segments)
        """Those that hold anything of the portion, in their order."""
        file = blocks[-1].file
        self.piece = None
        """Of which large file they are a piece, if they are that."""
        if file is not None:
            name = os.fsdecode(bytes.fromhex(file.encoded))
            self.piece = LargePiece(name, file.size, file.begin)

    def places(self, first: int) -> Iterator[Place]:
        """Where the members lie that begin in the segment `first`, or behind it."""
        for block in self._blocks:
            numbers = iter(block.places)
            for segment, at, more in zip(numbers, numbers, numbers, strict=True):
                if segment >= first:
                    yield Place(0, segment, at, more)

    def marks(self) -> Iterator[int]:
        """The marks of all members, as they were asked for."""
        return (mark for block in self._blocks for mark in block.marks)


def read_slice(last: Block, read: Callable[[Block], bytes], what: str) -> Slice:
    """A portion's slice, checked.

    Args:
        last: its last block, as `write_slices` answered it.
        read: fetches a block.
        what: what to call the slice in an error.

    Raises ArchiveDamaged when it is not what was left; UnknownFormat, and what `read` raises.
    """
    blocks: list[_Content] = []
    block: Block | None = last
    while block is not None:
        data = read(block)
        if hashlib.sha256(data).hexdigest() != block.sha256:
            raise ArchiveDamaged(f"{what} is not what was left there: its SHA-256 differs")
        content = read_document(_Content, b"".join(inflate_stream([data], name=what)), what)
        blocks.append(content)
        block = content.before
    return Slice(blocks[::-1])


def write_slices(
    cut: PortionedVolume,
    members: Iterable[IndexedMember],
    segments: Callable[[], Iterable[Segment]],
    archives: Sequence[str],
    put: Callable[[int, bytes], None],
    *,
    folders: bool = False,
    mark: Mark | None = None,
) -> tuple[Block, ...]:
    """Leaves the slices of a volume, and answers the last block of each portion's, in their order.

    With marks, behind the portions' come slices without members: the segments of the first archive,
    cut into portions, that nothing of the volume lies in.

    Memory: some 20 MB, about 70 bytes for every segment, and a little for every portion.

    Args:
        cut: as the members were cut into portions.
        members: the same once more.
        segments: all that the index lists, each archive's in its order; called when the members
            are through.
        archives: the ids of the backups that members and segments name by a number.
        put: writes the object with this number.
        folders: whether they are among the portions' members.
        mark: what to say of each member beside its place: eight bytes.

    Raises ArchiveDamaged when the index contradicts itself, and what the others raise.
    """
    slices = _Slices(cut, archives, put, mark)
    for it in members:
        if folders or it.type != "folder":
            slices.add(it)
    slices.add_segments(segments())
    return slices.end()


def _segment(row: _SegmentRow) -> Segment:
    number, offset, size, raw_size, sha256, members, first = row
    return Segment(
        number=number,
        offset=offset,
        size=size,
        raw_size=raw_size,
        sha256=sha256,
        members=members,
        first=first,
    )


class _Growing:
    """A slice that is being written."""

    def __init__(self, portion: Portion) -> None:
        self.portion = portion
        self.first, self.end = portion.first, portion.last
        """The last segment in which any of its members goes on."""
        self.places = array("Q")
        self.marks = array("Q")
        self.segments: list[_SegmentRow] = []
        self.before: Block | None = None
        self.file: _File | None = None

    @property
    def waiting(self) -> int:
        return len(self.places) // 3 + len(self.segments)

    def take(self, it: Segment) -> None:
        row = (it.number, it.offset, it.size, it.raw_size, it.sha256, it.members, it.first)
        self.segments.append(row)


class _LargeFile:
    """A file that has portions of its own, and where these begin in it."""

    def __init__(self, member: IndexedMember, pieces: Sequence[_Growing]) -> None:
        self.first, self.end = member.segment, member.segment + member.more
        self._member = member
        self._pieces = {piece.first: piece for piece in pieces}
        self._begins = LargeFileBegins(member)
        self._begin_of: dict[int, int] = {}

    def take(self, segment: Segment) -> None:
        begin = self._begins.next(segment)
        if segment.number in self._pieces:
            self._begin_of[segment.number] = begin

    def settle(self) -> None:
        header = self._begins.header_size()
        encoded = os.fsencode(self._member.name).hex()
        for number, piece in self._pieces.items():
            piece.file = _File(encoded, self._member.size, self._begin_of[number] - header)


class _Span(Protocol):
    """Some neighbouring segments of an archive, and who wants them."""

    @property
    def first(self) -> int: ...
    @property
    def end(self) -> int: ...
    def take(self, segment: Segment, /) -> None: ...


class _Sweep:
    """The spans of one archive in which its segments lie, as these come in their order."""

    def __init__(self, spans: Iterable[_Span]) -> None:
        self._waiting = deque(sorted(spans, key=lambda it: it.first))
        self._open: list[_Span] = []

    def over(self, number: int) -> Sequence[_Span]:
        while self._waiting and self._waiting[0].first <= number:
            self._open.append(self._waiting.popleft())
        self._open = [it for it in self._open if it.end >= number]
        return self._open


class _Runs:
    """The portions of one archive that are stretches of segments."""

    def __init__(self) -> None:
        self._slices: list[_Growing] = []
        self._firsts: list[int] = []
        self.needed: set[int] = set()
        """The segments that hold any of their members."""

    def set(self, slices: Iterable[_Growing]) -> None:
        self._slices = sorted(slices, key=lambda it: it.first)
        self._firsts = [it.first for it in self._slices]

    def of(self, segment: int) -> _Growing:
        return self._slices[bisect_right(self._firsts, segment) - 1]


class _Slices:
    """All slices of a volume."""

    def __init__(
        self,
        cut: PortionedVolume,
        archives: Sequence[str],
        put: Callable[[int, bytes], None],
        mark: Mark | None,
    ) -> None:
        self._most = cut.most
        self._mark = mark
        self._rest: list[_Growing] = []
        self._rest_size = 0
        """Raw bytes of the last of these."""
        self._archives = archives
        self._put = put
        self._all = [_Growing(portion) for portion in cut.portions]
        self._runs = [_Runs() for _ in archives]
        for source, runs in enumerate(self._runs):
            runs.set(it for it in self._all if it.portion.source == source and not it.portion.large)
        self._pieces: dict[tuple[int, int, int], list[_Growing]] = {}
        for it in self._all:
            if it.portion.large is not None:
                self._pieces.setdefault((it.portion.source, *it.portion.large), []).append(it)
        self._large: dict[int, list[_LargeFile]] = {}
        self._at: tuple[int, int] | None = None
        """Source and segment of the member before, and what is to be had for these:"""
        self._slice = self._all[0] if self._all else _Growing(Portion(0, 0, -1))
        self._waiting = 0
        self._objects = 0
        self._object = bytearray()

    def add(self, member: IndexedMember) -> None:
        """Takes a member's place."""
        if is_large(member, self._most):
            pieces = self._pieces[member.source, member.segment, member.at]
            self._large.setdefault(member.source, []).append(_LargeFile(member, pieces))
            return
        segment, more = member.segment, member.more
        if (member.source, segment) != self._at:
            self._at = (member.source, segment)
            runs = self._runs[member.source]
            runs.needed.add(segment)
            self._slice = runs.of(segment)
        self._slice.places.extend((segment, member.at, more))
        if self._mark is not None:
            self._slice.marks.append(self._mark(member))
        if more:
            self._slice.end = max(self._slice.end, segment + more)
            self._runs[member.source].needed.update(range(segment + 1, segment + more + 1))
        self._has_come()

    def add_segments(self, segments: Iterable[Segment]) -> None:
        """Takes what the index lists of segments, once all members have come."""
        sweeps = [
            _Sweep(
                (
                    *(it for it in self._all if it.portion.source == source),
                    *self._large.get(source, ()),
                )
            )
            for source in range(len(self._archives))
        ]
        found = 0
        for segment in segments:
            is_needed = segment.number in self._runs[segment.source].needed
            found += is_needed
            if self._mark is not None and not (is_needed or segment.source):
                self._add_rest(segment)
            for span in sweeps[segment.source].over(segment.number):
                if not isinstance(span, _Growing):
                    span.take(segment)
                elif is_needed or span.portion.large:
                    span.take(segment)
                    self._has_come()
        if found != (needed := sum(len(runs.needed) for runs in self._runs)):
            raise ArchiveDamaged(
                f"the index lists {found} of the {needed} segments in which it says that files lie"
            )

    def _add_rest(self, segment: Segment) -> None:
        if not self._rest or self._rest_size + segment.raw_size > MOST:
            self._rest.append(_Growing(NOTHING))
            self._rest_size = 0
        self._rest_size += segment.raw_size
        self._rest[-1].take(segment)
        self._has_come()

    def end(self) -> tuple[Block, ...]:
        """Writes all that waits."""
        for large in self._large.values():
            for file in large:
                file.settle()
        last = tuple(self._write(it) for it in (*self._all, *self._rest))
        self._put_object()
        return last

    def _has_come(self) -> None:
        self._waiting += 1
        if self._waiting >= _MOST_WAITING:
            # Members and segments mostly come in the order of the archives, so that few slices
            # are growing at a time; the others wait with what little they have.
            for it in sorted((*self._all, *self._rest), key=lambda it: -it.waiting):
                self._waiting -= it.waiting
                self._write(it)
                if self._waiting <= _MOST_WAITING // 2:
                    break

    def _write(self, it: _Growing) -> Block:
        """Writes what waits of a slice as a block."""
        content = _Content(
            before=it.before,
            archive=self._archives[it.portion.source],
            places=tuple(it.places),
            marks=tuple(it.marks),
            segments=tuple(it.segments),
            file=it.file,
        )
        data = member(content.model_dump_json().encode())
        if len(self._object) + len(data) > _OBJECT_SIZE:
            self._put_object()
        it.before = Block(
            self._objects, len(self._object), len(data), hashlib.sha256(data).hexdigest()
        )
        self._object += data
        it.places, it.marks, it.segments = array("Q"), array("Q"), []
        return it.before

    def _put_object(self) -> None:
        if self._object:
            self._put(self._objects, bytes(self._object))
            self._objects += 1
            self._object.clear()
