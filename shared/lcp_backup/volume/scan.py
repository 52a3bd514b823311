"""Walks the folder in a fixed order, without following links and without holding the whole tree."""

import errno
import os
import stat
from collections.abc import Generator, Iterator
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from lcp_backup.errors import VolumeError
from lcp_backup.volume.descent import Descent
from lcp_backup.volume.names import (
    KEPT_PREFIX,
    LIBRARY,
    MOST_NAME,
    STAGING_NAME,
    is_own,
    link_stays_inside,
)
from lcp_backup.volume.notices import Notices

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NOT_OF_ONE_FILE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETIMEDOUT, errno.EHOSTDOWN}
"""What says that the machine or the file system is in trouble, not this one file."""


class Found(Enum):
    """What an entry is."""

    FOLDER = "folder"
    FILE = "file"
    LINK = "link"
    LINK_OUT = "link that leads out of the folder"
    OTHER = "other"


class Entry(NamedTuple):
    """One thing in the folder; what it needs of the file system is good until the next one."""

    name: str
    """Relative to the folder, `/` between its components."""
    found: Found
    folder_fd: int
    """The open folder it lies in: opening `base` from there, no link on the way can be followed.

    Of a folder, itself.
    """
    base: str
    status: os.stat_result | None
    """Given for folders and links of both kinds; a file's is taken once it is open."""
    target: str = ""
    """Where a link points."""


def scan(folder: Path, notices: Notices, below: str = "") -> Generator[Entry]:
    """Everything in the folder but the folder itself: sorted, a folder before its content.

    Holds the names of one folder per level, and a few open descriptors. What vanishes or cannot be
    read on the way becomes a notice, and so does what is not taken because no restore would: a
    socket, pipe or device (`special-file`), a name of more than MOST_NAME bytes (`name-too-long`)
    with all below it, and one that only a file system that ignores case takes for a staging folder
    (`reserved-name`). Links that lead out are told from the others. What a restore left is passed
    over.

    Args:
        folder: LCP_BACKUP_FOLDER.
        notices: gets what is not yielded.
        below: only what lies in this folder of it, whose name is then the beginning of all names.

    Raises VolumeError when the folder itself is missing, no folder or not readable, or the file
    system fails as a whole.
    """
    try:
        root = os.open(folder / below, _OPEN_FOLDER)
    except OSError as error:
        raise _unusable(folder, error) from error
    with Descent(root) as way:
        try:
            top = [it for it in _listed(root) if below or _is_taken(it[0], notices)]
        except OSError as error:
            raise _unusable(folder, error) from error
        levels = [(f"{below}/" if below else "", iter(top))]
        while levels:
            prefix, bases = levels[-1]
            for base, found in bases:
                name = prefix + base
                if _is_too_long(name):
                    detail = f"has a name of {len(os.fsencode(name))} bytes; {MOST_NAME} are taken"
                    notices.add("name-too-long", name, detail)
                    continue
                try:
                    if found is Found.FOLDER:
                        status, inner = _entered(way, base)
                        levels.append((f"{name}/", iter(inner)))
                        yield Entry(name, found, way.descriptor, base, status)
                        break
                    entry = _entry(name, found, way.descriptor, base)
                except OSError as error:
                    note_unreadable(notices, name, error)
                    continue
                if entry.found is Found.OTHER:
                    notices.add("special-file", name, "neither a file, a folder nor a link")
                else:
                    yield entry
            else:
                levels.pop()
                _leave(way, levels, notices)


def _is_taken(base: str, notices: Notices) -> bool:
    """Whether a name in the top level is the site's."""
    if not is_own(base):
        return True
    if not base.startswith((STAGING_NAME, KEPT_PREFIX)):
        detail = f"is as good as {STAGING_NAME!r}, which is this service's own; not backed up"
        notices.add("reserved-name", base, detail)
    return False


def _is_too_long(name: str) -> bool:
    # A character has at most four bytes.
    return len(name) > MOST_NAME // 4 and len(os.fsencode(name)) > MOST_NAME


def _entered(way: Descent, base: str) -> tuple[os.stat_result, list[tuple[str, Found]]]:
    """Goes down into a folder; its status, and what it holds."""
    descriptor = os.open(base, _OPEN_FOLDER | os.O_NOFOLLOW, dir_fd=way.descriptor)
    try:
        status, listed = os.fstat(descriptor), _listed(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    way.enter(base, descriptor)
    return status, listed


def _leave(
    way: Descent, levels: list[tuple[str, Iterator[tuple[str, Found]]]], notices: Notices
) -> None:
    """Goes up to the next folder that is still where it was."""
    while levels:
        try:
            way.leave()
        except OSError as error:
            note_unreadable(notices, levels[-1][0], error)
            levels.pop()
        else:
            return


def note_unreadable(notices: Notices, name: str, error: OSError) -> None:
    """Makes a notice of what happened to one file; raises VolumeError when it is not about it."""
    if error.errno in _NOT_OF_ONE_FILE:
        raise VolumeError(f"reading the folder failed at {name!r}: {error.strerror}") from error
    notices.add_error(name, error)


def _unusable(folder: Path, error: OSError) -> VolumeError:
    return VolumeError(
        f"LCP_BACKUP_FOLDER is {str(folder)!r}, which cannot be backed up: {error.strerror}; name"
        f" the folder that holds {LIBRARY}, see that its file system is mounted, and let the"
        " function's user read it"
    )


def _listed(descriptor: int) -> list[tuple[str, Found]]:
    with os.scandir(descriptor) as entries:
        listed = [(entry.name, _found(entry)) for entry in entries]
    listed.sort(key=lambda item: item[0])
    return listed


def _found(entry: os.DirEntry[str]) -> Found:
    if entry.is_file(follow_symlinks=False):
        return Found.FILE
    if entry.is_dir(follow_symlinks=False):
        return Found.FOLDER
    return Found.LINK if entry.is_symlink() else Found.OTHER


def _entry(name: str, found: Found, folder_fd: int, base: str) -> Entry:
    if found is not Found.LINK:
        return Entry(name, found, folder_fd, base, None)
    status = os.stat(base, dir_fd=folder_fd, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        raise FileNotFoundError(errno.ENOENT, "was replaced while the folder was read")
    target = os.readlink(base, dir_fd=folder_fd)
    found = Found.LINK if link_stays_inside(name, target) else Found.LINK_OUT
    return Entry(name, found, folder_fd, base, status, target)
