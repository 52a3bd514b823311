"""A folder whose file system is not mounted is noticed, whatever lies in its place."""

from pathlib import Path

import pytest

from lcp_backup.errors import VolumeError
from lcp_backup.volume.mounts import check_mounted


def test_a_path_at_which_nothing_is_mounted_is_told_though_the_folder_is_there(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with pytest.raises(VolumeError, match="no file system is mounted at .*FileSystemMountPath"):
        check_mounted(str(folder), str(tmp_path))
    with pytest.raises(VolumeError, match="no file system is mounted"):
        check_mounted(str(folder), str(tmp_path / "missing"))


def test_a_folder_beside_the_mount_is_told(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for folder in (tmp_path, tmp_path / "link", Path("/procedure")):
        with pytest.raises(VolumeError, match="does not lie on the file system"):
            check_mounted(str(folder), "/proc")


@pytest.mark.parametrize("folder", ["/proc", "/proc/self/fd", "/proc/missing"])
def test_a_folder_on_the_mount_is_fine(folder: str) -> None:
    check_mounted(folder, "/proc")


def test_who_has_no_such_file_system_is_not_asked_for_one(tmp_path: Path) -> None:
    check_mounted(str(tmp_path), None)
