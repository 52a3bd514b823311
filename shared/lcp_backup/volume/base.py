"""The backup that a new one is compared with, its *base*: which files are as they were in it."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Final

from lcp_backup.archive import tar
from lcp_backup.archive.segment import IndexedMember
from lcp_backup.volume.carry import Moved
from lcp_backup.volume.entry import Entry, Found
from lcp_backup.volume.names import place_in_order

SETTLED_NS: Final = 3_000_000_000
"""How long ago a file must have been changed last, in nanoseconds, for its ctime to tell a later
change: file systems count in ticks, and the clock of a file server may go behind."""


class Verdict(Enum):
    """What the attributes of a file say of its content."""

    SAME = "the content is what it was"
    MAYBE = "only reading tells: it was touched, moved or restored"
    CHANGED = "it has to be stored"


def verdict(member: IndexedMember, status: os.stat_result) -> Verdict:
    """Whether a file is what a member of the base was.

    A changed content changes size, mtime, ctime or, when the file was replaced, the inode; of these
    a program can set back all but ctime and inode. What a restore would set again must be equal
    too, since it stands in the archive.
    """
    attributes = (member.size, member.mtime_ns, member.mode, member.uid, member.gid)
    if member.type != "file" or attributes != (
        status.st_size,
        status.st_mtime_ns,
        status.st_mode & 0o7777,
        status.st_uid,
        status.st_gid,
    ):
        return Verdict.CHANGED
    if member.ctime_ns == status.st_ctime_ns and member.inode == status.st_ino:
        return Verdict.SAME
    return Verdict.CHANGED if member.sha256 is None else Verdict.MAYBE


class Numbers:
    """Some of the numbers from 0 on; a byte for each up to the largest, as a set takes 70."""

    def __init__(self) -> None:
        self._marks = bytearray()

    def __len__(self) -> int:
        return sum(self._marks)

    def __contains__(self, number: int) -> bool:
        return number < len(self._marks) and bool(self._marks[number])

    def add(self, first: int, end: int) -> None:
        """Adds those from `first` on and before `end`."""
        self._marks.extend(bytes(max(end - len(self._marks), 0)))
        self._marks[first:end] = b"\1" * (end - first)


class Base:
    """The members of the base, in step with a scan of the folder; and what is referred to of them.

    Args:
        members: begins anew, each time it is called, with those of the base's index in their order.
        places: for each source of the base's index, by its number there, its number in the new
            index. Members of a source that is neither named nor carried over are stored anew.
        moved: tells where members lie that were carried over into the new archive.
    """

    def __init__(
        self,
        members: Callable[[], Iterator[IndexedMember]],
        places: Mapping[int, int],
        moved: Moved,
    ) -> None:
        self._all_members = members
        self._members = members()
        self._places = places
        self._moved = moved
        self._ahead: IndexedMember | None = next(self._members, None)
        self._referred = (0, 0)
        """The segment of the member that was referred to last."""
        self.used: dict[int, Numbers] = {}
        """The segments that the new index needs, by their source's number in it."""
        self.live: dict[int, int] = {}
        """How many raw bytes of each source are needed, by its number in the new index."""

    def find(self, name: str) -> IndexedMember | None:
        """The member of this name, placed as the new index has it; None when it has to be stored.

        Names must come in the order of a scan: what was passed over is not found any more.
        """
        member = self._ahead
        while member is not None and member.name != name:
            if place_in_order(member.name) > place_in_order(name):
                return None
            member = next(self._members, None)
            self._ahead = member
        if member is None:
            return None
        self._ahead = next(self._members, None)
        return self._placed(member)

    def files_behind(self, name: str) -> Iterator[IndexedMember]:
        """The files of the base that come behind a name, placed as the new index has them."""
        after = place_in_order(name)
        for member in self._all_members():
            if member.type == "file" and place_in_order(member.name) > after:
                placed = self._placed(member)
                if placed is not None:
                    yield placed

    def _placed(self, member: IndexedMember) -> IndexedMember | None:
        place = self._places.get(member.source)
        if place is None:
            return self._moved.place(member)
        # (As `_replace`, which costs several times as much.)
        return IndexedMember._make((*member[:2], place, *member[3:]))

    def refer(self, member: IndexedMember) -> None:
        """Counts a member of a source that the new index lists."""
        if not member.source:
            return
        place = (member.source, member.segment)
        if member.more or place != self._referred:
            self._referred = place
            if (used := self.used.get(member.source)) is None:
                used = self.used[member.source] = Numbers()
            used.add(member.segment, member.segment + 1 + member.more)
        self.live[member.source] = self.live.get(member.source, 0) + footprint(member.size)


def footprint(size: int) -> int:
    """What a file of so many bytes takes of an archive: whole blocks, and one for its header."""
    return tar.BLOCK + size + -size % tar.BLOCK


def compared(entries: Iterable[Entry], base: Base) -> Iterator[Entry]:
    """The entries of a scan, those that the base knows told from the others."""
    find = base.find
    for entry in entries:
        if entry.found is not Found.FILE or (member := find(entry.name)) is None:
            yield entry
            continue
        said = verdict(member, entry.status)
        if said is Verdict.CHANGED:
            yield entry
        else:
            found = Found.UNCHANGED if said is Verdict.SAME else Found.FILE
            yield Entry(
                entry.name, found, entry.folder, entry.base, entry.status, entry.target, member
            )
