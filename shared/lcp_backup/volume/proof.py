"""Proof: every member of a volume is read as a restore reads it, compared, and written nowhere."""

import hashlib
import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from lcp_backup.archive.segment import IndexedMember, MemberType, Segment
from lcp_backup.errors import ArchiveDamaged
from lcp_backup.volume.members import Attributes, Content, Members
from lcp_backup.volume.names import quoted
from lcp_backup.volume.slices import Slice
from lcp_backup.volume.wanted import WantedMembers, hand_over_wanted

type ReadSegments = Callable[[Iterable[Segment]], Generator[tuple[Segment, bytes]]]
"""As of `shared_tree`."""


@dataclass(frozen=True)
class Read:
    """What was read of a volume, all as its index says."""

    files: int
    files_compared: int
    """Of which the index has a SHA-256."""


class ReadMembers:
    """Members that were read, and nothing of them but a mark of eight bytes each.

    Args:
        wanted: the places of those that are wanted.
        read: the segments that hold any, checked, each archive's in its order.
        also_without_sha256: whether the index may have no SHA-256 of some of the files.
        progress, check: as of `TarReader`.

    Raises ArchiveDamaged when a segment does not hold what the index says; ArchiveRefused for a
    member that no restore would write; and what `read` raises.
    """

    def __init__(
        self,
        wanted: WantedMembers,
        read: Iterable[tuple[Segment, bytes]],
        *,
        also_without_sha256: bool,
        progress: Callable[[int], None],
        check: Callable[[], None],
    ) -> None:
        found = _Found(also_without_sha256=also_without_sha256)
        hand_over_wanted(wanted, read, found, progress=progress, check=check)
        self._marks = array("Q", sorted(found.marks))
        self._count = found.members

    def check_has(self, mark: int, name: Callable[[], str]) -> None:
        """Raises ArchiveDamaged, which names the member, where none of them has this mark."""
        at = bisect_left(self._marks, mark)
        if at == len(self._marks) or self._marks[at] != mark:
            raise ArchiveDamaged(f"the volume's member {quoted(name())} is not what the index says")

    def check_are(self, count: int) -> None:
        """Raises ArchiveDamaged where they are not so many."""
        if count != self._count:
            raise ArchiveDamaged(
                f"the volume has {self._count} members where the index lists {count}"
            )


def read_all(
    members: Callable[[], Iterator[IndexedMember]],
    wanted: WantedMembers,
    read: Iterable[tuple[Segment, bytes]],
    *,
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> Read:
    """Reads all members; name, kind, size and SHA-256 of each must be those of the index.

    Takes no room on a disk, and eight bytes of memory for a member.

    Args:
        members: those of the index, from the first; called twice.
        wanted: the places of the same.
        read: the segments that hold any, checked, each archive's in its order.
        progress, check: as of `TarReader`.

    Raises ArchiveDamaged, which names a member that is not what the index says; ArchiveRefused for
    one that no restore would write; and what `read` raises.
    """
    nameless = sum(it.type == "file" and it.sha256 is None for it in members())
    found = ReadMembers(
        wanted, read, also_without_sha256=nameless > 0, progress=progress, check=check
    )
    count = files = compared = 0
    for member in members():
        check()
        found.check_has(mark_of(member), partial(str, member.name))
        count += 1
        files += member.type == "file"
        compared += member.sha256 is not None
    found.check_are(count)
    return Read(files, compared)


def read_portion(
    own: Slice,
    read: ReadSegments,
    *,
    also_without_sha256: bool,
    name_of: Callable[[int], str],
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> int:
    """Reads the members of a portion as `read_all` does those of a volume; how many they are.

    Of a slice without members all segments are read.

    Args:
        own: with marks, as `mark_of` answers them.
        read: reads segments of the archive that it lies in.
        also_without_sha256: as of ReadMembers.
        name_of: the name of a member with this mark; asked for one that is not as it should be.
        progress, check: as of `TarReader`.

    Raises as `read_all`.
    """
    wanted = WantedMembers(own.places(0))
    count = sum(1 for _ in own.marks())
    with closing(read(own.segments)) as segments:
        if not count:
            for _, raw in segments:
                check()
                progress(len(raw))
            return 0
        found = ReadMembers(
            wanted,
            segments,
            also_without_sha256=also_without_sha256,
            progress=progress,
            check=check,
        )
    for mark in own.marks():
        check()
        found.check_has(mark, partial(name_of, mark))
    found.check_are(count)
    return count


def mark_of(member: IndexedMember) -> int:
    """By what a member that was read is found again: eight bytes of all that the index says."""
    return _mark(member.name, member.type, member.size, member.sha256)


class _Found(Members):
    """Takes members and keeps of each a mark, made of all that the index says of it, too."""

    def __init__(self, *, also_without_sha256: bool) -> None:
        self._also_without = also_without_sha256
        self.marks = array("Q")
        self.members = 0

    def add_folder(self, components: list[str], attributes: Attributes) -> None:  # noqa: ARG002
        self._add(components, "folder")

    def add_file(
        self,
        components: list[str],
        size: int,
        content: Content,
        attributes: Attributes,  # noqa: ARG002
    ) -> None:
        digest = hashlib.sha256()
        for piece in content:
            digest.update(piece)
        if self._also_without:
            self.marks.append(_mark("/".join(components), "file", size, None))
        self._add(components, "file", size, digest.hexdigest())

    def add_link(self, components: list[str], target: str, attributes: Attributes) -> None:  # noqa: ARG002
        self._add(components, "link")

    def add_name(self, components: list[str], existing: list[str]) -> None:  # noqa: ARG002
        self._add(components, "second-name")

    def _add(
        self, components: list[str], kind: MemberType, size: int = 0, sha256: str | None = None
    ) -> None:
        self.members += 1
        self.marks.append(_mark("/".join(components), kind, size, sha256))


def _mark(name: str, kind: MemberType, size: int, sha256: str | None) -> int:
    facts = f"{kind}\0{size}\0{sha256 or ''}\0".encode() + os.fsencode(name)
    return int.from_bytes(hashlib.blake2b(facts, digest_size=8).digest())
