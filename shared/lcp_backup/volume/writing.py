"""What is done to one file, link or folder of a tree; any thread may do it."""

import errno
import os
import stat
from collections.abc import Callable, Iterable
from typing import Final

from lcp_backup.errors import ArchiveRefused
from lcp_backup.volume.members import Attributes
from lcp_backup.volume.names import quoted

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITABLE = 0o600
FOLDER_MODE: Final = 0o3777
"""What a folder gets of its mode: no set-user-id, which means nothing there."""
_NOT_IN_ARCHIVE = 0o755
"""The mode of a folder that has no member of its own: as `mkdir` would have made it."""


class Writing:
    """Makes members in a folder that is open, never through a link.

    `way` is a member's whole name, for an error. A later member of a name takes the place of an
    earlier one that was no folder.

    Args:
        owner: uid and gid of everything; None: the members' own.

    Raises ArchiveRefused, OSError.
    """

    def __init__(self, owner: tuple[int, int] | None) -> None:
        self._owner = owner
        self._may_give_away = os.geteuid() == 0
        self._modes_kept: dict[int, bool] = {}
        """Whether a file that is made with a mode has it: neither umask nor ACL takes from it."""

    def make_file(
        self, folder: int, way: str, content: Iterable[bytes | memoryview], attributes: Attributes
    ) -> None:
        """A file of these pieces."""
        name = _last(way)
        mode = attributes.mode & 0o777
        # Nobody else gets into the tree before it is whole, so the mode may be there from the start
        # and costs no call of its own; but one that would not let us write comes last.
        first_mode = mode if mode & _WRITABLE == _WRITABLE else _WRITABLE
        descriptor = _made(folder, way, lambda: os.open(name, _NEW_FILE, first_mode, dir_fd=folder))
        try:
            has_mode = first_mode == mode and self._keeps(descriptor, mode)
            for piece in content:
                # Mostly one call takes all of it.
                done = os.write(descriptor, piece)
                while done < len(piece):
                    done += os.write(descriptor, memoryview(piece)[done:])
            self._settle(descriptor, attributes, None if has_mode else mode)
        finally:
            # A network file system may tell only now that it is full.
            os.close(descriptor)

    def make_link(self, folder: int, way: str, target: str, attributes: Attributes) -> None:
        """A symbolic link."""
        name = _last(way)
        _made(folder, way, lambda: os.symlink(target, name, dir_fd=folder))
        self._give_away(
            lambda uid, gid: os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False),
            attributes,
        )
        times = (attributes.mtime_ns, attributes.mtime_ns)
        os.utime(name, ns=times, dir_fd=folder, follow_symlinks=False)

    def make_name(self, folder: int, way: str, file: int) -> None:
        """A hard link to the file that is open."""
        itself = f"/proc/self/fd/{file}"
        _made(
            folder,
            way,
            lambda: os.link(itself, _last(way), dst_dir_fd=folder, follow_symlinks=True),
        )

    def settle_file(self, descriptor: int, attributes: Attributes) -> None:
        """Gives a file what it shall have."""
        self._settle(descriptor, attributes, attributes.mode & 0o777)

    def settle_folder(self, descriptor: int, attributes: Attributes | None) -> None:
        """Gives a folder what it shall have; None: it was made and is not in the archive."""
        if attributes is not None:
            self._settle(descriptor, attributes, attributes.mode & FOLDER_MODE)
        else:
            self.give_folder(descriptor)
            os.fchmod(descriptor, _NOT_IN_ARCHIVE)

    def give_folder(self, descriptor: int) -> None:
        """Gives a folder to the owner of everything, if there is one."""
        self._give_away(lambda uid, gid: os.fchown(descriptor, uid, gid), None)

    def _keeps(self, descriptor: int, mode: int) -> bool:
        """Whether the file that was made with this mode has it, as all have that follow.

        What takes from it is the same for a whole tree: the umask, or an ACL that folders inherit.
        """
        keeps = self._modes_kept.get(mode)
        if keeps is None:
            keeps = os.fstat(descriptor).st_mode & 0o7777 == mode
            self._modes_kept[mode] = keeps
        return keeps

    def _settle(self, descriptor: int, attributes: Attributes, mode: int | None) -> None:
        """Owner first: giving a file away takes bits off its mode. None: it has that already."""
        self._give_away(lambda uid, gid: os.fchown(descriptor, uid, gid), attributes)
        if mode is not None:
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


def open_file(folder: int, name: str) -> int | None:
    """A handle of the file itself, good for `make_name`; None for a link and whatever is no file.

    It needs no right to the file.
    """
    try:
        file = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    # A second name of a link would lead elsewhere than the first, from where it lies.
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    return None


def _last(way: str) -> str:
    return way.rpartition("/")[2]


def _made[T](folder: int, way: str, make: Callable[[], T]) -> T:
    """Makes a member; what an earlier one of its name made goes, unless that is a folder."""
    try:
        return make()
    except FileExistsError:
        pass
    try:
        os.unlink(_last(way), dir_fd=folder)
    except (IsADirectoryError, PermissionError):
        raise both_folder_and_file(way) from None
    return make()


def both_folder_and_file(way: str) -> ArchiveRefused:
    """What is raised for a name that two members have that cannot both be there."""
    return ArchiveRefused(f"the archive has {quoted(way)} as a folder and as a file")
