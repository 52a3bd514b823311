"""How a stored volume is cut into portions, which workers unpack one after the other.

A portion is a stretch of segments of one archive: all members that begin in them, even if the last
of them goes on behind. A *large* file is one that is too large for that and lies in several
segments: it has portions of its own, each some of these segments. Folders are in no portion: they
get their attributes once all portions are unpacked.
"""

import sys
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Final, NamedTuple

from lcp_backup.archive.segment import IndexedMember

LEAST: Final = 16 << 20
"""Bytes of the smallest portions, about: an invocation takes some time to begin."""
MOST: Final = 2 << 30
"""Bytes of the largest portions, about, so that one is unpacked in a small part of an invocation's
time: what is stopped or dies in the middle does not have much to do again."""
_PORTIONS_OF_WORKER: Final = 4
"""So that no worker waits long for one that got slow ones."""
_MEMBER: Final = 32 << 10
"""What a member takes beside its content, in bytes that are written in the same time."""

type _Place = tuple[int, int]
"""Source and segment."""


class Portion(NamedTuple):
    """One worker's work at a time; `first` to `last` are segments of the archive of `source`."""

    source: int
    first: int
    last: int
    large: tuple[int, int] | None = None
    """The large file that these segments are pieces of: in which segment it begins, and where."""


NOTHING: Final = Portion(0, 0, -1)
"""Holds no member."""


class PortionedVolume(NamedTuple):
    """A volume that is cut into portions."""

    most: int
    """Bytes; what is larger is a large file."""
    portions: tuple[Portion, ...]
    """Those that take longest first."""


def is_large(member: IndexedMember, most: int) -> bool:
    """Whether a member has portions of its own."""
    return member.type == "file" and member.size > most and member.more > 0


def portioned(
    members: Iterable[IndexedMember], workers: int, *, least: int = LEAST
) -> PortionedVolume:
    """Cuts members into portions, so that so many workers take about equally long.

    Memory: about 150 bytes for every segment.

    Arguments: `members` of the backup's index, all that are wanted, in any order; `least` as LEAST.
    """
    weights: dict[_Place, int] = {}
    perhaps_large: list[IndexedMember] = []
    for member in members:
        if member.type == "folder":
            continue
        if is_large(member, least):
            perhaps_large.append(member)
        else:
            _add(weights, member)
    total = sum(weights.values()) + sum(map(_weight, perhaps_large))
    most = _most(total, workers, least)
    portions: list[Portion] = []
    for member in perhaps_large:
        if is_large(member, most):
            portions += _pieces(member, most)
        else:
            _add(weights, member)
    return PortionedVolume(most, (*portions, *(run for _, run in _runs(weights, most))))


def portioned_uncut(
    members: Iterable[IndexedMember], workers: int, *, least: int = LEAST
) -> PortionedVolume:
    """As `portioned`, but with folders, and no file has portions of its own.

    So each member is in one portion whole, for who has to see all of it.
    """
    weights: dict[_Place, int] = {}
    for member in members:
        _add(weights, member)
    most = _most(sum(weights.values()), workers, least)
    runs = sorted(_runs(weights, most), key=itemgetter(0), reverse=True)
    return PortionedVolume(sys.maxsize, tuple(run for _, run in runs))


def _most(total: int, workers: int, least: int) -> int:
    return min(max(total // (workers * _PORTIONS_OF_WORKER), least), MOST)


def _weight(member: IndexedMember) -> int:
    return member.size + _MEMBER


def _add(weights: dict[_Place, int], member: IndexedMember) -> None:
    place = (member.source, member.segment)
    weights[place] = weights.get(place, 0) + _weight(member)


def _pieces(member: IndexedMember, most: int) -> Iterator[Portion]:
    segments = member.more + 1
    count = min(-(-member.size // most), segments)
    for number in range(count):
        first = member.segment + segments * number // count
        last = member.segment + segments * (number + 1) // count - 1
        yield Portion(member.source, first, last, (member.segment, member.at))


def _runs(weights: dict[_Place, int], most: int) -> Iterator[tuple[int, Portion]]:
    """The portions, each with what it holds."""
    run: list[_Place] = []
    held = 0
    for place in sorted(weights):
        if run and (held + weights[place] > most or place[0] != run[0][0]):
            yield held, Portion(run[0][0], run[0][1], run[-1][1])
            run, held = [], 0
        run.append(place)
        held += weights[place]
    if run:
        yield held, Portion(run[0][0], run[0][1], run[-1][1])
