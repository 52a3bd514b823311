"""The live folder has the old content or the new, whole, whatever happens during the swap."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lcp_backup.errors import VolumeError
from lcp_backup.volume import staging
from lcp_backup.volume.staging import StagedVolume, recover, stage
from tests.trees import odd_tree, snapshot

PROGRAM = Path(__file__).with_name("volume_swap_killed.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "opt" / "data"
    folder.mkdir(parents=True)
    (folder / "old").mkdir()
    (folder / "old" / "file").write_text("old")
    (folder / "both").write_text("old")
    return folder


@pytest.fixture(params=["beside", "inside"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, folder: Path) -> str:
    mounts = {folder} if request.param == "inside" else set()
    monkeypatch.setattr(staging, "_mount_points", lambda: mounts)
    return str(request.param)


def fill(staged: StagedVolume) -> dict[str, Any]:
    (staged.new / "new").mkdir()
    (staged.new / "new" / "file").write_text("new")
    (staged.new / "both").write_text("new")
    (staged.new / ".hidden").write_text("new")
    return dict(snapshot(staged.new))


def leftovers(folder: Path) -> list[Path]:
    return list(folder.parent.rglob(".lcp-restore*"))


@pytest.mark.parametrize(
    "mode",
    [
        "beside",
        "inside",
        "fresh",
        "parts-inside",
        "beside-kept",
        "inside-kept",
        "parts-kept",
    ],
)
def test_a_swap_killed_before_any_step_leaves_the_old_tree_or_the_new(
    mode: str, tmp_path: Path
) -> None:
    source = Path(staging.__file__).parents[2]
    result = subprocess.run(
        [sys.executable, PROGRAM, tmp_path, mode],
        env={"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert int(result.stdout) > 30


@pytest.mark.usefixtures("way")
def test_the_staged_tree_becomes_live_and_the_old_one_goes(folder: Path) -> None:
    before = snapshot(folder)
    with stage(folder) as staged:
        new = fill(staged)
        assert {n: m for n, m in snapshot(folder).items() if ".lcp" not in n} == before
        staged.swap()
    assert snapshot(folder) == new
    assert leftovers(folder) == []


@pytest.mark.usefixtures("way")
def test_without_a_swap_nothing_changes(folder: Path) -> None:
    before = snapshot(folder)
    with stage(folder) as staged:
        fill(staged)
    assert snapshot(folder) == before
    assert leftovers(folder) == []


@pytest.mark.usefixtures("way")
def test_the_old_content_is_there_until_it_is_discarded(folder: Path) -> None:
    staged = stage(folder)
    new = fill(staged)
    staged.swap()
    assert "old" in {path.read_text() for path in folder.parent.rglob("old/file")}
    recover(folder)
    assert snapshot(folder) == new
    assert leftovers(folder) == []
    staged.discard()


def test_a_mount_point_is_swapped_from_within_and_stays_what_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "_mount_points", lambda: {folder, Path("/")})
    inode = folder.stat().st_ino
    with stage(folder) as staged:
        assert folder in staged.new.parents
        new = fill(staged)
        staged.swap()
    assert folder.stat().st_ino == inode
    assert snapshot(folder) == new


def test_a_parent_that_cannot_be_written_is_not_needed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.mkdir

    def refused(path: Any, *args: Any, **kwargs: Any) -> None:
        if Path(path).parent == folder.parent:
            raise OSError(errno.EROFS, "Read-only file system")
        real(path, *args, **kwargs)

    monkeypatch.setattr(os, "mkdir", refused)
    with stage(folder) as staged:
        new = fill(staged)
        staged.swap()
    assert snapshot(folder) == new


def test_a_mount_below_the_folder_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = snapshot(folder)
    monkeypatch.setattr(staging, "_mount_points", lambda: {folder / "old"})
    with pytest.raises(VolumeError, match="is mounted below it"):
        stage(folder)
    assert snapshot(folder) == before


def test_mount_points_are_read_as_the_kernel_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "mountinfo"
    listed.write_bytes(
        b"22 1 0:21 / /proc rw,nosuid - proc proc rw\n"
        b"40 1 0:38 / /mnt/a\\040b\\134c rw shared:1 - nfs4 fs-1:/ rw\n"
    )
    monkeypatch.setattr(staging, "_MOUNTS", listed)
    assert staging._mount_points() == {Path("/proc"), Path("/mnt/a b\\c")}


def test_a_folder_that_does_not_exist_is_made_with_those_above_it(tmp_path: Path) -> None:
    folder = tmp_path / "mnt" / "efs" / "data"
    with stage(folder) as staged:
        new = fill(staged)
        assert not folder.exists()
        staged.swap()
    assert snapshot(folder) == new
    assert leftovers(folder) == []


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(VolumeError, match="is not a folder"):
        stage(tmp_path / "data")


def test_a_folder_reached_by_a_link_is_swapped_where_it_is(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    with stage(tmp_path / "link") as staged:
        new = fill(staged)
        staged.swap()
    assert (tmp_path / "link").is_symlink()
    assert snapshot(folder) == new


def test_the_folder_keeps_its_own_mode_and_owner(folder: Path) -> None:
    folder.chmod(0o2750)
    owner = (folder.stat().st_uid, folder.stat().st_gid)
    with stage(folder) as staged:
        staged.swap()
    assert folder.stat().st_mode & 0o7777 == 0o2750
    assert (folder.stat().st_uid, folder.stat().st_gid) == owner


@pytest.mark.usefixtures("way")
def test_a_swap_that_fails_at_any_rename_is_undone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(folder)
    real = os.rename
    failed_at = -1
    swapped = False
    while not swapped:
        failed_at += 1
        left = failed_at

        def rename(source: Any, target: Any) -> None:
            nonlocal left
            left -= 1
            if left == -1:
                raise OSError(errno.EBUSY, "Device or resource busy")
            real(source, target)

        with stage(folder) as staged:
            fill(staged)
            monkeypatch.setattr(os, "rename", rename)
            try:
                staged.swap()
            except VolumeError as error:
                assert "cannot be replaced: Device or resource busy" in str(error)  # noqa: PT017 -- or not raised
            else:
                swapped = True
            monkeypatch.setattr(os, "rename", real)
        if not swapped:
            assert snapshot(folder) == before
            assert leftovers(folder) == []
    assert failed_at >= 2


@pytest.mark.usefixtures("way")
def test_nothing_is_removed_while_a_swap_is_half_done_and_cannot_be_undone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.rename
    left = 1

    def rename(source: Any, target: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.EIO, "Input/output error")
        real(source, target)

    staged = stage(folder)
    new = fill(staged)
    monkeypatch.setattr(os, "rename", rename)
    for action in (staged.swap, staged.discard, lambda: recover(folder)):
        with pytest.raises(VolumeError, match="Input/output error"):
            action()
    monkeypatch.setattr(os, "rename", real)
    recover(folder)
    assert snapshot(folder) == new


@pytest.mark.usefixtures("way")
def test_what_a_running_portal_makes_during_the_swap_is_not_in_the_way(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.rename
    meddled = False

    def meddle(source: Any, target: Any) -> None:
        nonlocal meddled
        real(source, target)
        if not meddled and Path(source) in (folder / "both", folder):
            meddled = True
            (folder / "new" / "late").mkdir(parents=True)

    with stage(folder) as staged:
        new = fill(staged)
        monkeypatch.setattr(os, "rename", meddle)
        staged.swap()
    assert snapshot(folder) == new
    assert leftovers(folder) == []
    assert meddled


@pytest.mark.usefixtures("way")
def test_leftovers_of_a_killed_restore_are_cleared_by_the_next(folder: Path) -> None:
    fill(stage(folder))
    with stage(folder) as staged:
        new = fill(staged)
        staged.swap()
    assert snapshot(folder) == new


def test_recovering_a_folder_that_nothing_happened_to_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    recover(folder)
    assert not folder.exists()
    folder.mkdir()
    odd_tree(folder)
    before = snapshot(folder)
    recover(folder)
    assert snapshot(folder) == before


def test_a_tree_of_folders_that_may_not_be_written_can_be_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = stage(folder)
    fill(staged)
    (staged.new / "new").chmod(0o500)
    real: Callable[..., None] = os.unlink

    def unlink(path: Any, *args: Any, dir_fd: int | None = None) -> None:
        if dir_fd is not None and not os.fstat(dir_fd).st_mode & 0o200:
            raise PermissionError(errno.EACCES, "Permission denied")
        real(path, *args, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink)
    staged.discard()
    assert leftovers(folder) == []
