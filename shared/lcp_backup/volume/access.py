"""Whether what lies in a folder lets itself be changed at all."""

import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from lcp_backup.volume.descent import open_up

_GET_FLAGS = 0x80086601
_IMMUTABLE = 0x30
"""FS_IOC_GETFLAGS, and FS_IMMUTABLE_FL or FS_APPEND_FL of what it gives (linux/fs.h)."""
SET_IMMUTABLE: Final = "it is set immutable; remove that with chattr -i -a"
"""What to say of what `is_immutable`."""


def is_immutable(path: Path) -> bool:
    """Whether not even root may rename it or write into it (`chattr +i`, `+a`)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        flags = fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8))
    except OSError:
        return False  # a file system that knows of no such thing
    finally:
        os.close(descriptor)
    return bool(int.from_bytes(flags[:4], sys.byteorder) & _IMMUTABLE)


def lets_in(folder: Path) -> bool:
    """Whether a folder can be listed and written; opened up first where its mode is in the way."""
    if _may_do_all(folder):
        return True
    with suppress(OSError):
        parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            open_up(folder.name, parent)
        finally:
            os.close(parent)
    return _may_do_all(folder)


def _may_do_all(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True, follow_symlinks=False)
