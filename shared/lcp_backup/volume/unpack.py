"""Unpacks a tar stream into a staged tree beside the live folder; trusts nothing in it.

The files' bytes go from the inflated segment to the file without another copy.
"""

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from lcp_backup.archive.tar import MemberKind
from lcp_backup.archive.untar import Member, TarReader
from lcp_backup.errors import ArchiveRefused, VolumeError
from lcp_backup.volume.descent import OPEN_FOLDER, Descent, open_folder
from lcp_backup.volume.names import (
    KEPT_PREFIX,
    MOST_COMPONENT,
    MOST_NAME,
    STAGING_NAME,
    is_own,
    link_stays_inside,
    quoted,
)
from lcp_backup.volume.staging import stage
from lcp_backup.volume.swap import StagedVolume

_MOST_SECONDS = 2**33
"""The year 2242, and 1697 before 1970: what file systems of today can store, about."""
_MAX_ID = 2**32 - 2
_ALL_OF_OWNER = 0o700

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = {errno.ENOSPC, errno.EDQUOT}
_THROUGH = {errno.ELOOP, errno.ENOTDIR}

type Content = Iterable[memoryview]


def unpack(
    chunks: Iterable[bytes],
    folder: Path,
    *,
    owner: tuple[int, int] | None,
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> StagedVolume:
    """Unpacks a whole tar stream beside the live folder, which is not touched.

    Kept: names of any bytes, permissions, times to the nanosecond, empty folders, symbolic and hard
    links; the owner, as far as this process may give files away. Set-user-id, set-group-id and
    sticky bits of files are dropped, those of folders are kept, but for set-user-id. A later member
    of the same name replaces an earlier file, as with `tar`.

    Args:
        chunks: the tar's bytes, such as the segments of `archive.read.read_segments`.
        folder: LCP_BACKUP_FOLDER; made, at the swap, when it does not exist.
        owner: uid and gid of everything, such as Liferay's 1000 and 1000; None: the archive's.
        progress: told the bytes of every chunk once they are unpacked.
        check: called before every chunk and every member; what it raises ends the unpacking.

    Raises, with the staged tree removed:
        ArchiveRefused: a member has a place outside the folder, leads there, is written through a
            link, has a name that no file system holds, is a hard link to anything but a file, or is
            neither file, folder nor link; the message names it.
        ArchiveDamaged: it is no whole tar file.
        VolumeError: the file system is full or does not let itself be written, or the live folder
            has something in the way that cannot be moved.
    """
    return staged_by(
        lambda tree: extract(chunks, tree, progress=progress, check=check),
        folder,
        owner,
        check=check,
    )


def staged_by(
    fill: "Callable[[Members], None]",
    folder: Path,
    owner: tuple[int, int] | None,
    *,
    selected: Collection[str] | None = None,
    check: Callable[[], None],
) -> StagedVolume:
    """A staged tree of what `fill` hands over, removed when that raises; else as `unpack`.

    `selected` are the paths that will be swapped, when that is not the whole folder; `check` is
    called again and again, and what it raises ends the work.
    """
    staged = stage(folder)
    with ExitStack() as undo:
        undo.callback(staged.discard)
        try:
            with _Tree(staged.new, owner) as tree:
                fill(tree)
        except OSError as error:
            raise _unwritable(folder, error) from error
        staged.carry_over_links(selected or (), check=check)
        staged.check_replaceable(selected)
        undo.pop_all()
    return staged


def _unwritable(folder: Path, error: OSError) -> VolumeError:
    if error.errno in _FULL:
        reason = f"the file system that holds it is full ({error.strerror})"
    else:
        reason = error.strerror or type(error).__name__
    return VolumeError(
        f"the volume cannot be unpacked beside {str(folder)!r}: {reason};"
        " the live folder is as it was"
    )


class Members(Protocol):
    """Takes a tar file's members one after the other; `components` are a name's, never none."""

    def add_folder(self, components: list[str], attributes: "Attributes") -> None: ...

    def add_file(
        self, components: list[str], size: int, content: Content, attributes: "Attributes"
    ) -> None:
        """The content is `size` bytes; what is not taken of it is passed over."""

    def add_link(self, components: list[str], target: str, attributes: "Attributes") -> None:
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
    """Reads a whole tar stream and hands over its members; raises as `unpack` does."""
    reader = TarReader(chunks, progress, check)
    for member in reader.members():
        hand_over(member, reader, into)


def hand_over(member: Member, reader: TarReader, into: Members) -> None:
    """Checks the member at hand and gives it on, with its content; raises as `unpack` does."""
    components = _components(member.name)
    if not components:
        if member.kind is not MemberKind.FOLDER:
            raise ArchiveRefused(f"the archive's member {quoted(member.name)} has no name")
        return  # `tar -c .` has the folder itself, whose mode and owner the live one decides
    attributes = _attributes(member)
    if member.kind is MemberKind.FILE:
        into.add_file(components, member.size, reader.content(), attributes)
    elif member.kind is MemberKind.FOLDER:
        into.add_folder(components, attributes)
    elif member.kind is MemberKind.LINK:
        name = "/".join(components)
        check_link(name, member.target, MOST_NAME)
        into.add_link(components, member.target, attributes)
    elif member.kind is MemberKind.SECOND_NAME:
        into.add_name(components, _components(member.target))
    else:
        raise ArchiveRefused(
            f"the archive's member {quoted(member.name)} is {member.found}, which is not taken"
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


def _components(name: str) -> list[str]:
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


class Attributes(NamedTuple):
    """What a member carries beside its content."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int


def _attributes(member: Member) -> Attributes:
    if not (0 <= member.uid <= _MAX_ID and 0 <= member.gid <= _MAX_ID):
        raise ArchiveRefused(f"the archive's member {quoted(member.name)} has an impossible owner")
    most = _MOST_SECONDS * 1_000_000_000
    mtime_ns = min(max(member.mtime_ns, -most), most)
    return Attributes(member.mode, member.uid, member.gid, mtime_ns)


class _Tree:
    """Writes members below one folder, reaching them from there and never through a link.

    Folders get their mode and time when the next member lies outside them, because writing into
    them would change the time and may need more than the mode allows. So memory does not grow with
    their number; one that is entered again has its time put back.
    """

    def __init__(self, root: Path, owner: tuple[int, int] | None) -> None:
        self._owner = owner
        self._may_give_away = os.geteuid() == 0
        descriptor = os.open(root, OPEN_FOLDER)
        self._way = Descent(descriptor)
        self._final: list[Attributes | None] = []
        """What each folder on the way gets when it is left; None: what it has."""
        self._give_away(lambda uid, gid: os.fchown(descriptor, uid, gid), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._way:
            while kind is None and self._final:
                self._leave()

    def add_folder(self, components: list[str], attributes: Attributes) -> None:
        self._enter(components)
        self._final[-1] = attributes

    def add_file(
        self,
        components: list[str],
        size: int,  # noqa: ARG002 -- the protocol's
        content: Content,
        attributes: Attributes,
    ) -> None:
        folder = self._enter(components[:-1])
        descriptor = self._made(
            components, folder, lambda: os.open(components[-1], _NEW_FILE, 0o600, dir_fd=folder)
        )
        try:
            for piece in content:
                rest = piece
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            self._settle(descriptor, attributes, attributes.mode & 0o777)
        finally:
            # A network file system may tell only now that it is full.
            os.close(descriptor)

    def add_link(self, components: list[str], target: str, attributes: Attributes) -> None:
        folder, last = self._enter(components[:-1]), components[-1]
        self._made(components, folder, lambda: os.symlink(target, last, dir_fd=folder))
        self._give_away(
            lambda uid, gid: os.chown(last, uid, gid, dir_fd=folder, follow_symlinks=False),
            attributes,
        )
        times = (attributes.mtime_ns, attributes.mtime_ns)
        os.utime(last, ns=times, dir_fd=folder, follow_symlinks=False)

    def add_name(self, components: list[str], existing: list[str]) -> None:
        """A hard link; what it names must be a file that was unpacked before it."""
        name = "/".join(components)
        if not existing or existing == components:
            raise ArchiveRefused(f"the archive's hard link {quoted(name)} has no file")
        # A handle of the file itself: so what was looked at is what gets the name, and its folder,
        # which may be left now with a mode that lets nobody in, is not needed any more.
        source = self._enter(existing[:-1])
        try:
            file = os.open(existing[-1], os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
        except (FileNotFoundError, NotADirectoryError):
            raise _no_file(name, existing) from None
        try:
            # A second name of a link would lead elsewhere than the first, from where it lies.
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise _no_file(name, existing)
            folder, itself = self._enter(components[:-1]), f"/proc/self/fd/{file}"
            self._made(
                components,
                folder,
                lambda: os.link(itself, components[-1], dst_dir_fd=folder, follow_symlinks=True),
            )
        finally:
            os.close(file)

    def _enter(self, components: list[str]) -> int:
        """The open folder of these components; makes what is missing, leaves what is left."""
        same = 0
        most = min(len(components), len(self._final))
        while same < most and self._way.name(same + 1) == components[same]:
            same += 1
        while len(self._final) > same:
            self._leave()
        for count in range(same, len(components)):
            self._go_down(components, count)
        return self._way.descriptor

    def _go_down(self, components: list[str], count: int) -> None:
        """Enters the next folder on the way to these components."""
        name = components[count]
        parent = self._way.descriptor
        made = True
        try:
            os.mkdir(name, _ALL_OF_OWNER, dir_fd=parent)
        except FileExistsError:
            made = False
        try:
            descriptor, status = open_folder(name, parent)
        except OSError as error:
            if error.errno not in _THROUGH:
                raise
            way = "/".join(components[: count + 1])
            raise ArchiveRefused(
                f"the archive writes through {quoted(way)}, which is no folder"
            ) from None
        self._way.enter(name, descriptor)
        self._final.append(None)
        if made:
            # Not in the archive so far: as `mkdir` would have made it.
            os.fchmod(descriptor, 0o755)
            self._give_away(lambda uid, gid: os.fchown(descriptor, uid, gid), None)
        else:
            self._final[-1] = Attributes(
                status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns
            )
            if status.st_mode & _ALL_OF_OWNER != _ALL_OF_OWNER:
                os.fchmod(descriptor, _ALL_OF_OWNER)

    def _leave(self) -> None:
        final = self._final.pop()
        with self._way.leaving() as descriptor:
            if final is not None:
                self._settle(descriptor, final, final.mode & 0o3777)

    def _settle(self, descriptor: int, attributes: Attributes, mode: int) -> None:
        """Owner first: giving a file away takes bits off its mode."""
        self._give_away(lambda uid, gid: os.fchown(descriptor, uid, gid), attributes)
        os.fchmod(descriptor, mode)
        os.utime(descriptor, ns=(attributes.mtime_ns, attributes.mtime_ns))

    def _give_away(self, chown: Callable[[int, int], None], attributes: Attributes | None) -> None:
        owner = self._owner or (attributes and (attributes.uid, attributes.gid))
        if not self._may_give_away or owner is None:
            return
        try:
            chown(*owner)
        except PermissionError:
            # A mount that decides the owner itself (an EFS access point) lets nobody choose.
            self._may_give_away = False
        except OSError as error:
            if error.errno != errno.EINVAL:  # an owner that this container's user space has not
                raise

    def _made[T](self, components: list[str], folder: int, make: Callable[[], T]) -> T:
        """Makes a member; what an earlier one of its name made goes, unless that is a folder."""
        try:
            return make()
        except FileExistsError:
            pass
        try:
            os.unlink(components[-1], dir_fd=folder)
        except (IsADirectoryError, PermissionError):
            raise ArchiveRefused(
                f"the archive has {quoted('/'.join(components))} as a folder and as a file"
            ) from None
        return make()


def _no_file(name: str, existing: list[str]) -> ArchiveRefused:
    return ArchiveRefused(
        f"the archive's hard link {quoted(name)} names {quoted('/'.join(existing))},"
        " which is no file before it in the archive"
    )
