"""The live folder has the old content or the new, whole, whatever happens during the swap."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lcp_backup.errors import InvalidRequest, LeaseLost, OutOfTime, VolumeError
from lcp_backup.volume import mounts
from lcp_backup.volume.staging import check_below, check_empty, stage
from lcp_backup.volume.swap import StagedVolume, recover
from tests.support.child_process import in_child
from tests.support.trees import deep_tree, odd_tree, set_immutable, set_none_immutable, snapshot

PROGRAM = Path(__file__).parents[2] / "support" / "volume_swap_killed.py"


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
    mounted = {folder} if request.param == "inside" else set()
    monkeypatch.setattr(mounts, "mount_points", lambda: mounted)
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
        "selection-inside",
        "beside-kept",
        "inside-kept",
        "selection-kept",
    ],
)
def test_a_swap_killed_before_any_step_leaves_the_old_tree_or_the_new(
    mode: str, tmp_path: Path
) -> None:
    source = Path(mounts.__file__).parents[2]
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


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("ended", [OutOfTime, LeaseLost])
def test_old_content_that_a_run_has_no_time_to_remove_is_told_and_removed_by_the_next(
    folder: Path, ended: type[Exception]
) -> None:
    def check() -> None:
        raise ended("")

    staged = stage(folder)
    new = fill(staged)
    staged.swap()
    staged.discard(check)
    assert [notice.code for notice in staged.notices] == ["leftover-kept"]
    assert [notice.code for notice in recover(folder, None, check)] == ["leftover-kept"]
    assert recover(folder) == ()
    assert snapshot(folder) == new
    assert leftovers(folder) == []


def test_a_mount_point_is_swapped_from_within_and_stays_what_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "mount_points", lambda: {folder, Path("/")})
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
    monkeypatch.setattr(mounts, "mount_points", lambda: {folder / "old"})
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
    monkeypatch.setattr(mounts, "_MOUNTS", listed)
    assert mounts.mount_points() == {Path("/proc"), Path("/mnt/a b\\c")}


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
            assert staged.is_as_it_was is not swapped
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
        assert not staged.is_as_it_was
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


# --- what lies there ----------------------------------------------------------


def staging_of(folder: Path, way: str, number: int = 1) -> Path:
    front = ".lcp-restore" if number == 1 else f".lcp-restore.{number}"
    return folder / front if way == "inside" else folder.parent / f"{front}-{folder.name}"


def restored(folder: Path) -> StagedVolume:
    """A restore as it should go, whatever lies there."""
    with stage(folder) as staged:
        new = fill(staged)
        staged.swap()
    live = {name: it for name, it in snapshot(folder).items() if not name.startswith(".lcp-")}
    assert live == new
    return staged


@pytest.fixture
def immutable(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Sets files immutable, until the test is over."""

    def make(path: Path) -> None:
        try:
            set_immutable(path)
        except OSError:
            pytest.skip("nothing can be set immutable here")

    yield make
    set_none_immutable(tmp_path)


@pytest.mark.parametrize(
    "plant",
    ["file", "link", "dangling link", "pipe", "closed folder", "link for new", "link for old"],
)
def test_whatever_lies_in_the_staging_folders_place_does_not_block_a_restore(
    folder: Path, way: str, tmp_path: Path, plant: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    odd_tree(outside)
    before = snapshot(outside)
    place = staging_of(folder, way)
    if plant == "file":
        place.write_text("x")
    elif plant == "link":
        place.symlink_to(outside)
    elif plant == "dangling link":
        place.symlink_to("nowhere")
    elif plant == "pipe":
        os.mkfifo(place)
    elif plant == "closed folder":
        place.mkdir()
        (place / "new").mkdir(mode=0)
        place.chmod(0)
    else:
        place.mkdir()
        (place / "moving-in").touch()
        (place / "old").mkdir()
        (place / "new").mkdir()
        it = place / plant.removeprefix("link for ")
        it.rmdir()
        it.symlink_to(outside)
    staged = restored(folder)
    assert staged.notices == ()
    assert leftovers(folder) == []
    assert snapshot(outside) == before


@pytest.mark.parametrize("kind", ["selection", "keep", "moving-out", "moving-in"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"{}",
        b"[1]",
        b'["../outside/canary"]',
        b'["a/../../outside/canary"]',
        b'["/etc/passwd"]',
        b'["link/canary"]',
        b'["both/canary"]',
        b'["a\\u0000"]',
        b"[" * 100_000,
        b"../../outside/canary",
        "pipe",
        "folder",
        "link",
    ],
    ids=lambda it: repr(it)[:24],
)
def test_a_marker_that_no_restore_wrote_counts_for_nothing(
    folder: Path, way: str, tmp_path: Path, kind: str, content: bytes | str
) -> None:
    outside = tmp_path / "opt" / "outside"
    outside.mkdir()
    (outside / "canary").write_text("canary")
    (folder / "link").symlink_to("../outside")
    place = staging_of(folder, way)
    (place / "new" / "outside").mkdir(parents=True)
    (place / "new" / "link").mkdir()
    (place / "new" / "link" / "canary").write_text("planted")
    (place / "new" / "outside" / "canary").write_text("planted")
    if content == "pipe":
        os.mkfifo(place / kind)
    elif content == "folder":
        (place / kind / "inner").mkdir(parents=True)
    elif isinstance(content, str):
        (place / kind).symlink_to(outside / "canary")
    else:
        (place / kind).write_bytes(content)
    before = snapshot(outside)
    restored(folder)
    assert snapshot(outside) == before
    assert leftovers(folder) == []


def test_folders_and_links_in_the_place_of_what_a_swap_makes_are_not_in_the_way(
    folder: Path, way: str, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    place = staging_of(folder, way)
    for inner in ("new/missing", "old", "moving-in/inner"):
        (place / inner).mkdir(parents=True)
    (place / "moving-out").touch()
    (place / "new" / "missing" / "file").touch()
    (place / "old-selection").touch()
    (place / "selection").write_text('["missing/file", "both"]')
    (place / "above").symlink_to(outside)
    (place / "selection.unfinished").symlink_to(outside / "x")
    restored(folder)
    assert leftovers(folder) == []
    assert list(outside.iterdir()) == []
    assert outside.stat().st_mode & 0o777 == 0o700


def test_a_link_in_the_place_of_a_folder_being_made_is_not_followed(
    folder: Path, way: str, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    place = staging_of(folder, way)
    (place / "new" / "missing").mkdir(parents=True)
    (place / "new" / "missing" / "file").write_text("new")
    (place / "selection").write_text('["missing/file"]')
    (place / "above").symlink_to(outside)
    recover(folder)
    assert not (folder / "missing").is_symlink()
    assert (folder / "missing" / "file").read_text() == "new"
    assert list(outside.iterdir()) == []
    assert outside.stat().st_mode & 0o777 == 0o700


def test_what_a_selection_moved_away_is_kept_when_its_list_is_lost(folder: Path, way: str) -> None:
    place = staging_of(folder, way)
    (place / "old-selection").mkdir(parents=True)
    (place / "old-selection" / "file").write_text("was live")
    (place / "selection").write_bytes(b"\x00\xff")
    (notice,) = recover(folder)
    assert notice.code == "leftover-kept"
    assert "unfinished" in notice.subject
    (kept,) = folder.parent.rglob("old-selection/file")
    assert kept.read_text() == "was live"
    restored(folder)
    assert kept.read_text() == "was live"


def test_the_old_entries_come_back_when_the_new_ones_are_lost_half_way(folder: Path) -> None:
    place = folder / ".lcp-restore"
    (place / "old").mkdir(parents=True)
    (folder / "both").rename(place / "old" / "both")
    (place / "moving-out").touch()
    recover(folder)
    assert (folder / "both").read_text() == "old"
    assert (folder / "old" / "file").read_text() == "old"
    assert leftovers(folder) == []


def test_what_cannot_be_removed_is_told_and_worked_around_again_and_again(
    folder: Path, way: str, immutable: Callable[[Path], None]
) -> None:
    immutable(folder / "old" / "file")
    staged = restored(folder)
    (notice,) = staged.notices
    assert (notice.code, notice.subject) == ("leftover-kept", str(staging_of(folder, way)))
    assert "Operation not permitted, at '" in notice.detail
    for _ in range(2):
        staged = restored(folder)
        assert staged.notices == (notice,)
        assert len(leftovers(folder)) == 1
    # A second one, and the next restore works around both.
    immutable(folder / "new" / "file")
    assert len(restored(folder).notices) == 2
    assert staging_of(folder, way, 2).exists()
    assert len(restored(folder).notices) == 2
    assert recover(folder) == restored(folder).notices


def test_a_restore_that_was_killed_beside_a_leftover_is_finished(
    folder: Path, way: str, immutable: Callable[[Path], None]
) -> None:
    immutable(folder / "old" / "file")
    restored(folder)
    staged = stage(folder)
    (staged.new / "latest").write_text("latest")
    staged.swap()
    recover(folder)
    assert [it.name for it in folder.iterdir() if not it.name.startswith(".lcp-")] == ["latest"]
    assert [it.name for it in leftovers(folder)] == [staging_of(folder, way).name]


def test_an_immutable_staging_folder_is_worked_around(
    folder: Path, way: str, immutable: Callable[[Path], None]
) -> None:
    place = staging_of(folder, way)
    place.mkdir()
    immutable(place)
    (notice,) = restored(folder).notices
    assert notice.subject == str(place)


def test_a_live_folder_that_cannot_be_changed_is_told_before_anything_is_done(
    folder: Path, immutable: Callable[[Path], None]
) -> None:
    immutable(folder)
    with pytest.raises(VolumeError, match=r"cannot be restored: it is set immutable.*chattr"):
        stage(folder)
    assert leftovers(folder) == []


def test_an_immovable_entry_stays_unless_it_is_to_be_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch, immutable: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(mounts, "mount_points", lambda: {folder})
    (folder / "stays").write_text("stays")
    immutable(folder / "stays")
    with stage(folder) as staged:
        new = fill(staged)
        staged.check_replaceable()
        staged.swap()
    assert snapshot(folder) == {**new, "stays": snapshot(folder)["stays"]}
    assert [(it.code, it.subject) for it in staged.notices] == [("file-left-in-place", "stays")]
    immutable(folder / "both")
    before = snapshot(folder)
    with stage(folder) as staged:
        fill(staged)
        with pytest.raises(VolumeError, match="both' cannot be replaced: it is set immutable"):
            staged.check_replaceable()
        with pytest.raises(VolumeError, match="cannot be replaced"):
            staged.swap()
    assert snapshot(folder) == before


@pytest.mark.usefixtures("way")
def test_a_tree_deeper_than_any_path_that_another_program_left_is_removed(folder: Path) -> None:
    (folder / "old" / "deep").mkdir()
    deep_tree(folder / "old" / "deep", 2500)
    place = folder.parent / f".lcp-restore-{folder.name}" / "new"
    place.mkdir(parents=True)
    deep_tree(place, 2500)
    in_child(lambda: restored(folder), descriptors=60)
    assert leftovers(folder) == []


def test_folders_whose_names_look_alike_are_not_each_others(tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in ("data", "data-2", "2-data"))
    for folder in (one, two, three):
        folder.mkdir()
        (folder / "canary").write_text(folder.name)
        staged = stage(folder)
        (staged.new / "killed").touch()
    for folder in (two, three):
        assert recover(one) == ()
        assert (tmp_path / f".lcp-restore-{folder.name}").exists()
    for folder in (one, two, three):
        recover(folder)
        assert (folder / "canary").read_text() == folder.name
    assert len(list(tmp_path.iterdir())) == 3


def test_what_is_kept_is_never_laid_over_something(folder: Path) -> None:
    with stage(folder) as staged:
        fill(staged)
        kept = staged.keep_previous("label")
        (kept / "squatter").mkdir(parents=True)
        staged.swap()
    assert (kept.parent / f"{kept.name}-2" / "old" / "file").read_text() == "old"
    assert (kept / "squatter").is_dir()
    restored(folder)


def test_a_drill_may_go_again_into_a_folder_where_a_leftover_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch, immutable: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(mounts, "mount_points", lambda: {folder})
    immutable(folder / "old" / "file")
    with stage(folder) as staged:
        staged.swap()
    check_empty(folder)


# --- where a restore into another folder may go -------------------------------


@pytest.mark.parametrize(
    "asked", ["drill", "deep/drill", "data/drill", "link/drill", "./a/../drill"]
)
def test_a_folder_below_the_mount_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    mount = tmp_path.resolve()
    monkeypatch.setattr(mounts, "mount_points", lambda: {Path("/"), mount})
    (mount / "data" / "inner").mkdir(parents=True)
    (mount / "link").symlink_to("data/inner")
    expected = Path(os.path.realpath(mount / asked))
    assert check_below(mount / asked, mount / "data") == expected


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("/etc/drill", "does not lie below"),
        ("../drill", "does not lie below"),
        ("", "does not lie below"),
        ("out/drill", "does not lie below"),
        ("dangling/drill", "does not lie below"),
        ("data", "is the live folder or holds it"),
        ("to live", "is the live folder or holds it"),
        ("above", "is the live folder or holds it"),
        (".lcp-restore-data/new", "this service's own"),
        ("data/.LCP-restore/x", "this service's own"),
        ("a\0b", "is no folder's name"),
    ],
)
def test_a_folder_elsewhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, said: str
) -> None:
    mount = tmp_path.resolve() / "mount"
    monkeypatch.setattr(mounts, "mount_points", lambda: {Path("/"), mount})
    live = mount / "data" if said != "is the live folder or holds it" else mount / "above" / "data"
    live.mkdir(parents=True)
    if asked == "data":
        asked = "above/data"
    (mount / "to live").symlink_to(live)
    (mount / "out").symlink_to(tmp_path)
    (mount / "dangling").symlink_to("/nowhere")
    with pytest.raises(InvalidRequest, match=said):
        check_below(mount / asked, live)


@pytest.mark.parametrize("mounted", [set(), {Path("/")}])
def test_where_nothing_is_mounted_the_live_folders_parent_is_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounted: set[Path]
) -> None:
    monkeypatch.setattr(mounts, "mount_points", lambda: mounted)
    live = tmp_path.resolve() / "site" / "data"
    live.mkdir(parents=True)
    assert check_below(live.parent / "drill", live) == live.parent / "drill"
    for elsewhere in (live.parent.parent / "drill", live.parent, Path("/drill")):
        with pytest.raises(InvalidRequest, match="does not lie below"):
            check_below(elsewhere, live)
    with pytest.raises(InvalidRequest, match="does not lie below '/data'"):
        check_below(Path("/etc/drill"), Path("/data"))


def test_a_mount_point_itself_holds_what_lies_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = tmp_path.resolve() / "data"
    monkeypatch.setattr(mounts, "mount_points", lambda: {Path("/"), live})
    assert check_below(live / "drill", live) == live / "drill"
    with pytest.raises(InvalidRequest, match="does not lie below"):
        check_below(live.parent / "drill", live)
