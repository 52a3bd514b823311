"""Proof: every member of a volume is read as a restore reads it, compared, and written nowhere."""

import hashlib
import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from lcp_backup.archive.segment import IndexedMember, MemberType, Segment
from lcp_backup.errors import ArchiveDamaged
from lcp_backup.volume.members import Attributes, Content, Members
from lcp_backup.volume.names import quoted
from lcp_backup.volume.wanted import WantedMembers, hand_over_wanted


@dataclass(frozen=True)
class Read:
    """What was read of a volume, all as its index says."""

    files: int
    files_compared: int
    """Of which the index has a SHA-256."""


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
    found = _Found(also_without_sha256=nameless > 0)
    hand_over_wanted(wanted, read, found, progress=progress, check=check)
    marks = array("Q", sorted(found.marks))
    count = files = compared = 0
    for member in members():
        check()
        mark = _mark(member.name, member.type, member.size, member.sha256)
        at = bisect_left(marks, mark)
        if at == len(marks) or marks[at] != mark:
            raise ArchiveDamaged(
                f"the volume's member {quoted(member.name)} is not what the index says"
            )
        count += 1
        files += member.type == "file"
        compared += member.sha256 is not None
    if count != found.members:
        raise ArchiveDamaged(
            f"the volume has {found.members} members where the index lists {count}"
        )
    return Read(files, compared)


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
