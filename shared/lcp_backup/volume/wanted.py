"""Which members are *wanted* of a backup's volume, and in which archives they lie.

The members of a backup may lie in several archives, each beside others that the backup does not
hold any more. They are found by their places: the segment, and the byte in it.
"""

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.archive.untar import TarReader
from lcp_backup.errors import ArchiveDamaged
from lcp_backup.volume.members import Members, hand_over


class Place(NamedTuple):
    """Where a member lies, as in IndexedMember."""

    source: int
    segment: int
    at: int
    more: int


class WantedMembers:
    """Where the members lie that are wanted of a backup.

    Memory: four bytes for every member, and about 150 for every segment.

    Arguments: `members` of the backup's index, or their places; all that are wanted, in any order.
    """

    def __init__(self, members: Iterable[IndexedMember | Place]) -> None:
        self._at: dict[tuple[int, int], array[int]] = {}
        self._continued: set[tuple[int, int]] = set()
        for member in members:
            place = (member.source, member.segment)
            positions = self._at.get(place)
            if positions is None:
                positions = self._at[place] = array("I")
            positions.append(member.at)
            for segment in range(member.segment + 1, member.segment + 1 + member.more):
                self._continued.add((member.source, segment))

    def count_segments(self) -> int:
        """In how many segments any of them begins or goes on."""
        return len(self._at) + sum(place not in self._at for place in self._continued)

    def __contains__(self, segment: Segment) -> bool:
        """Whether any of them begins or goes on in a segment."""
        place = (segment.source, segment.number)
        return place in self._at or place in self._continued

    def are_all_of(self, segment: Segment) -> bool:
        """Whether a segment holds nothing else: neither in the middle nor at its beginning."""
        place = (segment.source, segment.number)
        if len(self._at.get(place, ())) != segment.members:
            return False
        return self.goes_on_in(segment) or (segment.members > 0 and segment.first == 0)

    def goes_on_in(self, segment: Segment) -> bool:
        """Whether one of them, that began in an earlier segment, goes on in this one."""
        return (segment.source, segment.number) in self._continued

    def begin_in(self, segment: Segment) -> list[int]:
        """At which of a segment's raw bytes any of them begin, in their order."""
        return sorted(self._at.get((segment.source, segment.number), ()))


def hand_over_wanted(
    wanted: WantedMembers,
    read: Iterable[tuple[Segment, bytes]],
    into: Members,
    *,
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> None:
    """Hands over the wanted members of segments, with their contents, one after the other.

    Args:
        read: the segments that hold any, each archive's in its order, with their raw bytes.
        progress, check: as of `TarReader`.

    Raises ArchiveDamaged when a segment does not hold what the index says; what `read` raises, and
    as `hand_over` does.
    """
    stretches = _Stretches(wanted, read)
    while (chunks := stretches.next()) is not None:
        reader = TarReader(chunks, progress, check)
        for member in reader.members():
            hand_over(member, reader, into)
            for _ in reader.content():
                pass  # what was not taken of it
            chunks.is_handed_over()
            if (following := chunks.next_begin) is None:
                # What follows may be a file that ends in a segment which nobody needs.
                break
            reader.pass_over(following)
        reader.drain()
        chunks.check_is_done()


class _Stretches:
    """Segments in which members go on from one into the next, read as one piece of a tar file."""

    def __init__(self, wanted: WantedMembers, read: Iterable[tuple[Segment, bytes]]) -> None:
        self._wanted = wanted
        self._read = iter(read)
        self._waiting: tuple[Segment, bytes] | None = None

    def next(self) -> "_Stretch | None":
        if self._waiting is None:
            self._waiting = next(self._read, None)
        return None if self._waiting is None else _Stretch(self, self._wanted)

    def take(self, after: Segment | None) -> tuple[Segment, bytes] | None:
        """The next segment; None when it does not go on with what is in the one before."""
        if self._waiting is None:
            self._waiting = next(self._read, None)
        if self._waiting is None:
            return None
        segment, _ = taken = self._waiting
        goes_on = self._wanted.goes_on_in(segment)
        if after is not None and not (
            goes_on and (segment.source, segment.number) == (after.source, after.number + 1)
        ):
            return None
        if after is None and goes_on:
            raise ArchiveDamaged(
                f"segment {segment.number} goes on with a file of which the segment before is"
                " missing in the index"
            )
        self._waiting = None
        return taken


class _Stretch:
    """The raw bytes of one stretch, from the first wanted member on."""

    def __init__(self, stretches: _Stretches, wanted: WantedMembers) -> None:
        self._stretches = stretches
        self._wanted = wanted
        self._last: Segment | None = None
        self._expected: deque[int] = deque()
        self._passed = 0
        """Raw bytes in front of the segment at hand, counted from the first wanted member."""

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        taken = self._stretches.take(self._last)
        if taken is None:
            raise StopIteration
        segment, raw = taken
        positions = self._wanted.begin_in(segment)
        if self._last is None:
            raw = raw[positions[0] :]
            self._passed = -positions[0]
        self._expected.extend(self._passed + at for at in positions)
        self._passed += segment.raw_size
        self._last = segment
        return raw

    @property
    def next_begin(self) -> int | None:
        """At which byte of the stretch the next member begins that is wanted.

        None when there is none in the segments that were read.
        """
        return self._expected[0] if self._expected else None

    def is_handed_over(self) -> None:
        """The member that begins there was handed over."""
        self._expected.popleft()

    def check_is_done(self) -> None:
        if self._expected and self._last is not None:
            raise ArchiveDamaged(
                f"segment {self._last.number} does not hold what the index says: no member begins"
                f" where one should"
            )
