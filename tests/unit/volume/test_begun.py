"""A restore goes on with what an earlier one left, and with nothing else."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lcp_backup.archive.segment import IndexedMember, MemberType
from lcp_backup.volume import mounts
from lcp_backup.volume.begun import LASTS, Begun, BegunTree, NotAsLeft, Wanted
from lcp_backup.volume.names import place_in_order
from lcp_backup.volume.staging import check_empty, stage
from lcp_backup.volume.swap import recover
from tests.support.clock import SettableClock
from tests.support.trees import snapshot

PROGRAM = Path(__file__).parents[2] / "support" / "volume_swap_killed.py"
NOW = SettableClock()()
WANTED = Wanted("the volume of a backup", NOW)
WRITTEN = 2_000_000_000 * 10**9
"""A ctime that everything is older than."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "opt" / "data"
    folder.mkdir(parents=True)
    (folder / "live").write_text("live")
    return folder


@pytest.fixture(params=["beside", "inside"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, folder: Path) -> str:
    mounted = {folder} if request.param == "inside" else set()
    monkeypatch.setattr(mounts, "mount_points", lambda: mounted)
    return str(request.param)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A staged tree that is whole."""
    new = tmp_path / "new"
    for name in ("a/b/1", "a/b/2", "a/b/3", "a/4", "b"):
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        (new / name).write_text(f"text of {name}")
    (new / "a" / "link").symlink_to("4")
    return new


def members_of(tree: Path) -> list[IndexedMember]:
    found = []
    for path in sorted(tree.rglob("*"), key=lambda it: place_in_order(str(it.relative_to(tree)))):
        status = path.lstat()
        kind: MemberType = "file"
        if path.is_symlink() or path.is_dir():
            kind = "link" if path.is_symlink() else "folder"
        size = status.st_size if kind == "file" else 0
        name = str(path.relative_to(tree))
        found.append(
            IndexedMember(
                name, kind, 0, 0, 0, size, status.st_mtime_ns, status.st_mode & 0o7777, 0, 0
            )
        )
    return found


def missing(new: Path, members: list[IndexedMember], *, ctime_ns: int = WRITTEN) -> list[str]:
    tree = BegunTree(new, Begun(0, ctime_ns), threads=2, check=lambda: None)
    names = [it.name for it in tree.missing(members)]
    whole = {it.name for it in members} - set(names)
    assert tree.whole_size == sum(it.size for it in members if it.name in whole)
    return names


def leave(folder: Path, wanted: Wanted = WANTED) -> None:
    staged = stage(folder)
    (staged.new / "half").write_text("half of it")
    staged.leave(wanted, wanted.now, 10)
    staged.discard()


def leftovers(folder: Path) -> list[Path]:
    return [it for it in folder.parent.rglob("*") if it.name.startswith(".lcp-")]


# --- what lies there whole ----------------------------------------------------


def test_what_lies_there_whole_is_not_missing(new: Path) -> None:
    assert missing(new, members_of(new)) == []


def cut(file: Path) -> None:
    mtime = file.stat().st_mtime_ns
    file.write_text("cut")
    os.utime(file, ns=(mtime, mtime))


@pytest.mark.parametrize(
    "change",
    [
        Path.unlink,
        cut,
        # A restore sets the time last: this one was killed before.
        lambda it: os.utime(it, ns=(1, it.stat().st_mtime_ns + 1)),
        lambda it: it.unlink() or it.symlink_to("3"),
        lambda it: os.link(it, it.with_name("second")),
    ],
    ids=["gone", "cut", "half-written", "link", "linked"],
)
def test_a_file_that_does_not_lie_there_whole_is_missing(
    change: Callable[[Path], object], new: Path
) -> None:
    members = members_of(new)
    change(new / "a" / "b" / "2")
    # (Where a name was added or removed, its folder was changed as well.)
    assert [it for it in missing(new, members) if it != "a/b"] == ["a/b/2"]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda new: os.utime(new / "a" / "b"), "a/b"),
        (lambda new: (new / "a" / "b").chmod(0o700), "a/b"),
        (lambda new: os.utime(new / "a" / "link", follow_symlinks=False), "a/link"),
    ],
    ids=["time of a folder", "mode of a folder", "time of a link"],
)
def test_a_folder_or_link_that_has_not_what_it_shall_have_is_missing(
    change: Callable[[Path], object], name: str, new: Path
) -> None:
    members = members_of(new)
    change(new)
    assert missing(new, members) == [name]


def test_a_file_that_was_changed_after_it_was_left_is_missing(new: Path) -> None:
    members = members_of(new)
    changed = new / "a" / "b" / "2"
    before = changed.stat()
    changed.write_text("TEXT OF a/b/2")
    os.utime(changed, ns=(before.st_mtime_ns, before.st_mtime_ns))
    ctime_ns = changed.stat().st_ctime_ns
    others = [it for it in new.rglob("*") if it.stat().st_ctime_ns == ctime_ns]
    assert others == [changed], "the clock of this file system is too coarse for the test"
    assert missing(new, members, ctime_ns=ctime_ns - 1) == ["a/b/2"]


def test_what_the_backup_does_not_hold_is_removed(new: Path) -> None:
    members = members_of(new)
    (new / "a" / "b" / "0").write_text("somebody's")
    (new / "a" / "out").symlink_to("/etc")
    (new / "zz").write_text("somebody's")
    assert missing(new, members) == ["a", "a/b"]
    assert [it.name for it in members_of(new)] == [it.name for it in members]


def test_a_folder_of_which_something_is_removed_is_as_whole_as_before(new: Path) -> None:
    (new / "a" / "out").symlink_to("/etc")
    members = [it for it in members_of(new) if it.name != "a/out"]
    assert missing(new, members) == []
    assert members_of(new) == members


def test_a_file_in_a_folders_place_is_removed(new: Path) -> None:
    members = members_of(new)
    shutil.rmtree(new / "a")
    (new / "a").write_text("somebody's")
    assert missing(new, members) == [it.name for it in members if it.name != "b"]
    assert not (new / "a").exists()


@pytest.mark.parametrize("name", ["a/b/1", "a/new", "z"])
def test_a_folder_that_the_backup_does_not_hold_has_everything_unpacked_anew(
    name: str, new: Path
) -> None:
    members = members_of(new)
    (new / name).unlink(missing_ok=True)
    (new / name).mkdir()
    (new / name / "file").touch()
    with pytest.raises(NotAsLeft, match=name):
        missing(new, members)
    assert (new / name / "file").exists()


def test_what_is_neither_file_nor_folder_nor_link_has_everything_unpacked_anew(new: Path) -> None:
    members = members_of(new)
    os.mkfifo(new / "a" / "pipe")
    with pytest.raises(NotAsLeft, match="a/pipe"):
        missing(new, members)


def test_the_folders_above_a_selection_may_be_there(new: Path) -> None:
    members = [it for it in members_of(new) if it.name.startswith("a/b")]
    for name in ("a/4", "a/link", "b"):
        (new / name).unlink()
    assert missing(new, members) == []


# --- whose it is --------------------------------------------------------------


@pytest.mark.usefixtures("way")
def test_what_is_left_is_found_by_the_same_and_becomes_live(folder: Path) -> None:
    leave(folder)
    later = Wanted(WANTED.key, NOW + LASTS - timedelta(seconds=1))
    assert recover(folder, later) == ()
    with stage(folder, later) as staged:
        assert staged.begun is not None
        assert staged.begun.reached_size == 10
        assert (staged.new / "half").read_text() == "half of it"
        staged.swap()
    assert {name for name, _ in snapshot(folder).items()} == {"half"}
    assert leftovers(folder) == []


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    "other",
    [
        Wanted("the volume of another", NOW),
        Wanted(WANTED.key, NOW + LASTS),
        Wanted(WANTED.key, NOW - LASTS),
        None,
    ],
    ids=["another", "a day later", "clock set back", "none"],
)
def test_what_is_left_for_another_is_thrown_away(other: Wanted | None, folder: Path) -> None:
    leave(folder)
    before = (folder / "live").read_text()
    recover(folder, other)
    assert leftovers(folder) == []
    leave(folder)
    with stage(folder, other) as staged:
        assert staged.begun is None
        assert list(staged.new.iterdir()) == []
    assert (folder / "live").read_text() == before


@pytest.mark.usefixtures("way")
def test_a_swap_that_is_thrown_away_leaves_nothing_to_go_on_with(folder: Path) -> None:
    leave(folder)
    with stage(folder, WANTED) as staged:
        staged.swap_selection(["half"])
        assert staged.swapping
    leave(folder)
    with stage(folder, WANTED) as staged:
        assert staged.begun
    assert leftovers(folder) == []
    assert (folder / "half").read_text() == "half of it"


def test_an_empty_folder_in_which_a_restore_has_begun_is_empty(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "mount_points", lambda: {folder})
    (folder / "live").unlink()
    leave(folder)
    check_empty(folder, WANTED)
    assert leftovers(folder)
    check_empty(folder)
    assert leftovers(folder) == []


def link_to_another(marker: Path) -> None:
    real = marker.with_name("real")
    marker.rename(real)
    marker.symlink_to(real)


@pytest.mark.parametrize(
    "change",
    [
        Path.unlink,
        link_to_another,
        lambda it: it.write_bytes(b"\xff"),
        lambda it: it.write_text("[" * 100_000),
        lambda it: it.write_text("[]"),
        lambda it: it.write_text(json.dumps({"key": WANTED.key, "reached_size": 10})),
        lambda it: it.write_text(
            json.dumps({"key": WANTED.key, "reached_size": 10, "stopped_at": "2026-11-20"})
        ),
        lambda it: (it.parent / "new").rename(it.parent / "elsewhere"),
        lambda it: (it.parent / "selection").write_text("[]"),
    ],
)
def test_what_no_restore_left_like_that_is_thrown_away(
    change: Callable[[Path], object], folder: Path
) -> None:
    leave(folder)
    (marker,) = folder.parent.glob(".lcp-restore*/begun")
    change(marker)
    with stage(folder, WANTED) as staged:
        assert staged.begun is None
        assert list(staged.new.iterdir()) == []
    assert (folder / "live").read_text() == "live"


def test_a_keeping_that_was_asked_for_before_is_not_the_next_ones(folder: Path) -> None:
    leave(folder)
    staged = stage(folder, WANTED)
    staged.keep_previous("label")
    del staged  # killed
    with stage(folder, WANTED) as staged:
        assert staged.begun
        staged.swap()
    assert leftovers(folder) == []


@pytest.mark.parametrize("mode", ["begun-beside", "begun-inside"])
def test_leaving_and_going_on_killed_before_any_step_leave_the_old_tree_or_the_new(
    mode: str, tmp_path: Path
) -> None:
    result = subprocess.run(
        [sys.executable, PROGRAM, tmp_path, mode],
        env={"PYTHONPATH": str(Path(mounts.__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert int(result.stdout) > 30
