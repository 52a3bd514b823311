"""Steps down into folders, never through a link."""

import os

OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_folder(name: str, parent: int) -> tuple[int, os.stat_result]:
    """Opens a folder of the one that is open as `parent`, and never follows a link.

    One that does not let its owner in is opened up first, with the mode 0700.

    Returns the descriptor, and the status as it was before. Raises OSError.
    """
    try:
        descriptor = os.open(name, OPEN_FOLDER, dir_fd=parent)
    except PermissionError:
        before = open_up(name, parent)
        return os.open(name, OPEN_FOLDER, dir_fd=parent), before
    return descriptor, os.fstat(descriptor)


def open_up(name: str, parent: int) -> os.stat_result:
    """Gives a folder's owner all rights to it, whatever its mode; returns its status before.

    Raises OSError for a link, for what is no folder, and for who is not the owner.
    """
    # Opened for nothing but to be named: that needs no right to it, and `chmod` by the name itself
    # would follow a link that took the folder's place.
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        before = os.fstat(handle)
        os.chmod(f"/proc/self/fd/{handle}", 0o700)  # noqa: PTH101 -- no path, a descriptor
    finally:
        os.close(handle)
    return before
