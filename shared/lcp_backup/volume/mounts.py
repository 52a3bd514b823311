"""Whether the file system that the folder should lie on is there."""

import os
from pathlib import Path

from lcp_backup.errors import VolumeError


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
