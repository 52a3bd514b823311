"""The members of a tar file, checked one by one before anybody works on them; trusts none."""

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from lcp_backup.archive.segment import IndexedMember
from lcp_backup.archive.tar import MemberKind
from lcp_backup.archive.tar_header import Member
from lcp_backup.archive.untar import TarReader
from lcp_backup.errors import ArchiveRefused
from lcp_backup.volume.names import (
    KEPT_PREFIX,
    MOST_COMPONENT,
    MOST_NAME,
    STAGING_NAME,
    is_own,
    link_stays_inside,
    quoted,
)

_MOST_SECONDS = 2**33
"""The year 2242, and 1697 before 1970: what file systems of today can store, about."""
_MAX_ID = 2**32 - 2

type Content = Iterable[memoryview]


class Attributes(NamedTuple):
    """What a member carries beside its content."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int


class Members(Protocol):
    """Takes a tar file's members one after the other; `components` are a name's, never none."""

    def add_folder(self, components: list[str], attributes: Attributes) -> None: ...

    def add_file(
        self, components: list[str], size: int, content: Content, attributes: Attributes
    ) -> None:
        """The content is `size` bytes; what is not taken of it is passed over."""

    def add_link(self, components: list[str], target: str, attributes: Attributes) -> None:
        """A symbolic link that stays inside."""

    def add_name(self, components: list[str], existing: list[str]) -> None:
        """A hard link to an earlier member, which may be missing."""


def extract(
    chunks: Iterable[bytes],
    into: Members,
    *,
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> None:
    """Reads a whole tar stream and hands over its members.

    Arguments are those of `TarReader`. Raises what `hand_over` and `TarReader` raise, and `into`.
    """
    reader = TarReader(chunks, progress, check)
    for member in reader.members():
        hand_over(member, reader, into)


def hand_over(member: Member, reader: TarReader, into: Members) -> None:
    """Checks the member at hand and gives it on, with its content.

    Raises ArchiveRefused, which names a member that has a place outside the folder, leads there,
    has a name that no file system holds, or is neither file, folder nor link.
    """
    components = components_of(member.name)
    if not components:
        if member.kind is not MemberKind.FOLDER:
            raise ArchiveRefused(f"the archive's member {quoted(member.name)} has no name")
        return  # `tar -c .` has the folder itself, whose mode and owner the live one decides
    attributes = attributes_of(member)
    if member.kind is MemberKind.FILE:
        into.add_file(components, member.size, reader.content(), attributes)
    elif member.kind is MemberKind.FOLDER:
        into.add_folder(components, attributes)
    elif member.kind is MemberKind.LINK:
        name = "/".join(components)
        check_link(name, member.target, MOST_NAME)
        into.add_link(components, member.target, attributes)
    elif member.kind is MemberKind.SECOND_NAME:
        into.add_name(components, components_of(member.target))
    else:
        raise ArchiveRefused(
            f"the archive's member {quoted(member.name)} is {member.found}, which a"
            " restore does not create; pack the folder without it"
        )


def check_link(name: str, target: str, most: int) -> None:
    """Raises ArchiveRefused for a symbolic link that leads out of the folder, or is too long."""
    if len(target) > most or len(os.fsencode(target)) > most:
        raise ArchiveRefused(
            f"the archive's link {quoted(name)} leads to a name of {len(os.fsencode(target))}"
            f" bytes; at most {most} are taken"
        )
    if "\0" in target or not link_stays_inside(name, target):
        raise ArchiveRefused(
            f"the archive's link {quoted(name)} leads out of the folder, to {quoted(target)}"
        )


def components_of(name: str) -> list[str]:
    """The components of a member's name; raises ArchiveRefused for one that cannot be restored."""
    size = len(os.fsencode(name.removeprefix("./").rstrip("/")))
    if size > MOST_NAME:
        raise ArchiveRefused(
            f"the archive's member {quoted(name)} has a name of {size} bytes;"
            f" at most {MOST_NAME} are taken"
        )
    components = [component for component in name.split("/") if component not in ("", ".")]
    if name.startswith("/") or ".." in components or "\0" in name:
        raise ArchiveRefused(f"the archive's member {quoted(name)} lies outside the folder")
    if size > MOST_COMPONENT:
        longest = max(len(os.fsencode(component)) for component in components)
        if longest > MOST_COMPONENT:
            raise ArchiveRefused(
                f"the archive's member {quoted(name)} has a component of {longest} bytes between"
                f" two slashes of its name; at most {MOST_COMPONENT} are taken"
            )
    if components and is_own(components[0]):
        raise ArchiveRefused(
            f"the archive's member {quoted(name)} is what a restore left: {STAGING_NAME!r} and"
            f" {KEPT_PREFIX + '...'!r} are this service's own"
        )
    return components


def attributes_of(member: Member | IndexedMember) -> Attributes:
    """What a member carries; raises ArchiveRefused for an owner that cannot be."""
    if not (0 <= member.uid <= _MAX_ID and 0 <= member.gid <= _MAX_ID):
        raise ArchiveRefused(f"the archive's member {quoted(member.name)} has an impossible owner")
    most = _MOST_SECONDS * 1_000_000_000
    mtime_ns = min(max(member.mtime_ns, -most), most)
    return Attributes(member.mode, member.uid, member.gid, mtime_ns)
