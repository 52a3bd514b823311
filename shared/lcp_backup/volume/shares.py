"""How the folder is shared out among workers: into stretches of about equal work."""

from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from lcp_backup.archive import tar
from lcp_backup.archive.write import SEGMENT_SIZE
from lcp_backup.exclusion import PathPatterns
from lcp_backup.volume.base import Base, compared, footprint
from lcp_backup.volume.entry import Entry, Found
from lcp_backup.volume.notices import Notices
from lcp_backup.volume.packing import lasting_ctime, settled_before
from lcp_backup.volume.scan import scan
from lcp_backup.volume.share import Boundary, CutFile, is_stored_unread

CUT_FROM: Final = 256 << 20
"""Bytes of a file from which on several workers may share it."""
_MOST_MARKS: Final = 4096
"""Places at which the folder may be cut that are kept until all of it is seen."""
_TO_LIST: Final = 128
"""Bytes of work that a file makes which is only listed."""


class Shares(NamedTuple):
    """What each worker packs."""

    boundaries: tuple[Boundary, ...]
    """Between one share and the next; one fewer than there are shares."""
    size: int
    """Raw bytes that the largest share has, about."""


def share_out(
    folder: Path,
    base: Base | None,
    *,
    most: int,
    least_size: int,
    leave_out: PathPatterns,
    began: datetime,
    threads: int,
    check: Callable[[], None],
) -> Shares:
    """Cuts the folder into at most so many shares of about equal work, by one scan of it.

    Memory: a few thousand names, however many files there are. What changes in the folder later
    belongs to one share or another all the same, by its name.

    Args:
        base: what is in it is not stored again, and is hardly any work.
        most: shares. least_size: raw bytes of each, about, where there are several.
        leave_out, began, threads, check: as of `pack`.

    Raises VolumeError when the folder cannot be read, and what check raises.
    """
    marks = _Marks()
    settled = settled_before(began)
    with closing(scan(folder, Notices(), threads=threads, leave_out=leave_out)) as found:
        for entry in found if base is None else compared(found, base):
            check()
            marks.take(entry, settled)
    count = max(1, min(most, marks.total // max(1, least_size)))
    return marks.shares(count)


class _Marks:
    """Places in the folder, with the work that lies in front of each; fewer as there is more."""

    def __init__(self) -> None:
        self.total = 0
        self._grain = SEGMENT_SIZE // 8
        self._marked = 0
        self._marks: list[tuple[int, Boundary]] = []

    def take(self, entry: Entry, settled: int) -> None:
        size = _work(entry)
        if size >= CUT_FROM and (entry.known is None or is_stored_unread(entry)):
            self._cut(entry, settled)
        self.total += size
        if self.total - self._marked >= self._grain:
            self._mark(self.total, Boundary.behind(entry.name))

    def shares(self, count: int) -> Shares:
        boundaries: list[Boundary] = []
        places = [0]
        marks = iter(self._marks)
        for number in range(1, count):
            wanted = max(self.total * number // count, places[-1] + 1)
            mark = next((it for it in marks if it[0] >= wanted), None)
            if mark is None or mark[0] >= self.total:
                break
            places.append(mark[0])
            boundaries.append(mark[1])
        ends = (*places[1:], self.total)
        largest = max(end - begin for begin, end in zip(places, ends, strict=True))
        return Shares(tuple(boundaries), largest)

    def _cut(self, entry: Entry, settled: int) -> None:
        status = entry.status
        file = CutFile.of(status, lasting_ctime(status, settled))
        at = SEGMENT_SIZE
        while at < status.st_size:
            if self.total + at - self._marked >= self._grain:
                self._mark(self.total + at, Boundary.inside(entry.name, at, file))
            at += SEGMENT_SIZE

    def _mark(self, place: int, boundary: Boundary) -> None:
        self._marks.append((place, boundary))
        self._marked = place
        if len(self._marks) > _MOST_MARKS:
            self._marks = self._marks[1::2]
            self._grain *= 2
            self._marked = self._marks[-1][0]


def _work(entry: Entry) -> int:
    """About how many bytes a worker handles for an entry."""
    if entry.found is Found.UNCHANGED:
        return _TO_LIST
    return footprint(entry.status.st_size) if entry.found is Found.FILE else tar.BLOCK
