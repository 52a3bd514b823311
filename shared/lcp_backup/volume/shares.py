"""How the folder is shared out among workers: into stretches of about equal work."""

from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, NamedTuple

from lcp_backup.archive import tar
from lcp_backup.archive.write import SEGMENT_SIZE
from lcp_backup.document import Document
from lcp_backup.exclusion import PathPatterns
from lcp_backup.volume.base import Base, compared, footprint
from lcp_backup.volume.entry import Entry, Found
from lcp_backup.volume.notices import Notices
from lcp_backup.volume.packing import lasting_ctime, settled_before
from lcp_backup.volume.scan import scan
from lcp_backup.volume.share import Boundary, CutFile, is_stored_unread
from lcp_backup.volume.span import Span

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


class Survey(Document):
    """How far a folder was looked through, and at which places of that it may be cut."""

    format: Literal[1] = 1
    reached: Boundary | None
    """Where to go on; None when all of it was looked through."""
    names: int
    """How many files, links and folders were seen."""
    work: int
    """Bytes that workers have to handle for these, about."""
    grain: int
    """Of that, what lies between two marks at least."""
    marks: tuple[tuple[int, Boundary], ...]
    """Places, each with the work that lies in front of it: some thousands, however large the
    folder is."""

    def shares(self, *, most: int, least_size: int) -> Shares:
        """Cuts what was looked through into shares of about equal work.

        Arguments: `most` shares; `least_size`: raw bytes of each, about, where there are several.
        """
        count = max(1, min(most, self.work // max(1, least_size)))
        boundaries: list[Boundary] = []
        places = [0]
        marks = iter(self.marks)
        for number in range(1, count):
            wanted = max(self.work * number // count, places[-1] + 1)
            mark = next((it for it in marks if it[0] >= wanted), None)
            if mark is None or mark[0] >= self.work:
                break
            places.append(mark[0])
            boundaries.append(mark[1])
        ends = (*places[1:], self.work)
        largest = max(end - begin for begin, end in zip(places, ends, strict=True))
        return Shares(tuple(boundaries), largest)


def survey(
    folder: Path,
    base: Base | None,
    before: Survey | None,
    *,
    leave_out: PathPatterns,
    began: datetime,
    threads: int,
    check: Callable[[], None],
    is_over: Callable[[], bool],
) -> Survey:
    """Looks through the folder, or goes on with that, to find where it may be cut.

    Memory: a few thousand names, however many files there are. What changes in the folder behind
    the survey's back belongs to one share or another all the same, by its name: shares are then
    less equal, and nothing else.

    Args:
        base: what is in it is not stored again, and is hardly any work.
        before: what was found so far; None begins.
        is_over: True ends it early, but only once it has got anywhere.
        leave_out, began, threads, check: as of `pack`.

    Raises VolumeError when the folder cannot be read, and what check raises.
    """
    marks = _Marks(before)
    settled = settled_before(began)
    from_here = before.reached if before is not None else None
    span = Span(from_here.name) if from_here is not None else None
    reached = None
    with closing(scan(folder, Notices(), threads=threads, leave_out=leave_out, span=span)) as found:
        for entry in found if base is None else compared(found, base):
            check()
            if reached is not None and is_over():
                return marks.survey(reached)
            marks.take(entry, settled)
            reached = entry.name
    return marks.survey(None)


class _Marks:
    """Places in the folder, with the work that lies in front of each; fewer as there is more."""

    def __init__(self, before: Survey | None) -> None:
        self.names = before.names if before else 0
        self.total = before.work if before else 0
        self._grain = before.grain if before else SEGMENT_SIZE // 8
        self._marks = list(before.marks) if before else []
        self._marked = self._marks[-1][0] if self._marks else 0

    def survey(self, reached: str | None) -> Survey:
        """All that was found, up to this name and with it; None: up to the end."""
        return Survey(
            reached=None if reached is None else Boundary.behind(reached),
            names=self.names,
            work=self.total,
            grain=self._grain,
            marks=tuple(self._marks),
        )

    def take(self, entry: Entry, settled: int) -> None:
        size = _work(entry)
        if size >= CUT_FROM and (entry.known is None or is_stored_unread(entry)):
            self._cut(entry, settled)
        self.names += 1
        self.total += size
        if self.total - self._marked >= self._grain:
            self._mark(self.total, Boundary.behind(entry.name))

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
