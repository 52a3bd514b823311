"""How a volume is shared out among workers: each unpacks shares of it, one after the other.

A share is a run of segments of one archive: all members that begin in them, also where the last of
them goes on behind. A *large* file is one that is too large for that and lies in several segments:
it has shares of its own, each some of these segments. Folders are in no share: they get their
attributes once all shares are unpacked.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from lcp_backup.archive.segment import IndexedMember

LEAST: Final = 16 << 20
"""Bytes of the smallest shares, about: an invocation takes some time to begin."""
MOST: Final = 2 << 30
"""Bytes of the largest shares, about, so that one is unpacked in a small part of an invocation's
time: what is stopped or dies in the middle does not have much to do again."""
_SHARES_OF_WORKER: Final = 4
"""So that no worker waits long for one that got slow ones."""
_MEMBER: Final = 32 << 10
"""What a member takes beside its content, in bytes that are written in the same time."""

type _Place = tuple[int, int]
"""Source and segment."""


class Share(NamedTuple):
    """One worker's work at a time; `first` to `last` are segments of the archive of `source`."""

    source: int
    first: int
    last: int
    large: tuple[int, int] | None = None
    """The large file that these segments are pieces of: in which segment it begins, and where."""

    def holds(self, member: IndexedMember, most: int) -> bool:
        """Whether a member, which has `most` bytes if it is not large, belongs to this share."""
        if member.type == "folder" or member.source != self.source:
            return False
        if self.large is not None:
            return (member.segment, member.at) == self.large
        return self.first <= member.segment <= self.last and not is_large(member, most)


class SharedVolume(NamedTuple):
    """A volume that is shared out."""

    most: int
    """Bytes; what is larger is a large file."""
    shares: tuple[Share, ...]
    """Those that take longest first."""


def is_large(member: IndexedMember, most: int) -> bool:
    """Whether a member has shares of its own."""
    return member.type == "file" and member.size > most and member.more > 0


def share_out(members: Iterable[IndexedMember], workers: int) -> SharedVolume:
    """Shares members out, so that so many workers take about equally long.

    Memory: about 150 bytes for every segment.

    Arguments: `members` of the backup's index, all that are wanted, in any order.
    """
    weights: dict[_Place, int] = {}
    perhaps_large: list[IndexedMember] = []
    for member in members:
        if member.type == "folder":
            continue
        if member.size > LEAST:
            perhaps_large.append(member)
        else:
            _add(weights, member)
    total = sum(weights.values()) + sum(map(_weight, perhaps_large))
    most = min(max(total // (workers * _SHARES_OF_WORKER), LEAST), MOST)
    shares: list[Share] = []
    for member in perhaps_large:
        if is_large(member, most):
            shares += _pieces(member, most)
        else:
            _add(weights, member)
    return SharedVolume(most, (*shares, *_runs(weights, most)))


def _weight(member: IndexedMember) -> int:
    return member.size + _MEMBER


def _add(weights: dict[_Place, int], member: IndexedMember) -> None:
    place = (member.source, member.segment)
    weights[place] = weights.get(place, 0) + _weight(member)


def _pieces(member: IndexedMember, most: int) -> Iterator[Share]:
    segments = member.more + 1
    count = min(-(-member.size // most), segments)
    for number in range(count):
        first = member.segment + segments * number // count
        last = member.segment + segments * (number + 1) // count - 1
        yield Share(member.source, first, last, (member.segment, member.at))


def _runs(weights: dict[_Place, int], most: int) -> Iterator[Share]:
    run: list[_Place] = []
    held = 0
    for place in sorted(weights):
        if run and (held + weights[place] > most or place[0] != run[0][0]):
            yield Share(run[0][0], run[0][1], run[-1][1])
            run, held = [], 0
        run.append(place)
        held += weights[place]
    if run:
        yield Share(run[0][0], run[0][1], run[-1][1])
