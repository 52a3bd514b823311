"""Where file systems are mounted, and whether the one that the folder should lie on is."""

import os
from pathlib import Path

from lcp_backup.errors import VolumeError

_MOUNTS = Path("/proc/self/mountinfo")


def check_mounted(folder: str, mount: str | None) -> None:
    """Makes sure that the folder lies on the file system that should be mounted.

    Without it the folder's name leads to the function's own disk, or to nothing.

    Args:
        folder: LCP_BACKUP_FOLDER.
        mount: where the file system should be, LCP_FILE_SYSTEM_MOUNT_PATH; None: nowhere.

    Raises VolumeError.
    """
    if mount is None:
        return
    if not os.path.ismount(mount):
        raise VolumeError(
            f"no file system is mounted at {mount!r} (FileSystemMountPath), where"
            f" LCP_BACKUP_FOLDER, {folder!r}, should lie: see that the function has its access"
            " point, and that its subnets reach a mount target"
        )
    resolved = Path(os.path.realpath(folder))
    if not resolved.is_relative_to(os.path.realpath(mount)):
        raise VolumeError(
            f"LCP_BACKUP_FOLDER is {folder!r}, which does not lie on the file system that is"
            f" mounted at {mount!r} (FileSystemMountPath): set it to that path, or to a folder"
            " below it"
        )


def mount_points() -> set[Path]:
    """Where something is mounted; the kernel's list, because a bind mount has no other sign."""
    if not _MOUNTS.exists():
        return set()
    lines = _MOUNTS.read_bytes().splitlines()
    return {Path(os.fsdecode(_unescaped(line.split(b" ")[4]))) for line in lines}


def _unescaped(field: bytes) -> bytes:
    """Spaces, tabs, line ends and backslashes come as three octal digits (proc(5))."""
    for character in b" \t\n\\":
        field = field.replace(b"\\%03o" % character, bytes([character]))
    return field
