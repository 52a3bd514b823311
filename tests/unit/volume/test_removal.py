"""A tree is removed whatever it is; what cannot be is told, and nothing else is touched."""

import itertools
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from lcp_backup.volume.pace import Pace
from lcp_backup.volume.removal import remove
from tests.support.child_process import in_child
from tests.support.trees import deep_tree, odd_tree, set_immutable, set_none_immutable, snapshot


@pytest.fixture(params=["quick", "slow"], autouse=True)
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees are removed by one thread, and by many from the first folder on."""
    if request.param == "slow":
        monkeypatch.setattr(Pace, "slow", True)


@pytest.fixture
def immutable(tmp_path: Path) -> Iterator[Path]:
    """A file that not even root can remove, in a folder of its own."""
    file = tmp_path / "tree" / "inner" / "immutable"
    file.parent.mkdir(parents=True)
    file.touch()
    try:
        set_immutable(file)
    except OSError:
        pytest.skip("nothing can be set immutable here")
    yield file
    set_none_immutable(tmp_path)


def test_what_is_not_there_is_removed_already(tmp_path: Path) -> None:
    assert remove(tmp_path / "tree") is None
    assert remove(tmp_path / "nowhere" / "tree") is None


def test_a_tree_of_everything_goes_and_what_its_links_lead_to_stays(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    for folder in (tree, outside):
        folder.mkdir()
        odd_tree(folder)
    (tree / "link out").symlink_to(outside)
    os.mkfifo(tree / "pipe")
    before = snapshot(outside)
    assert remove(tree) is None
    assert not tree.exists()
    assert snapshot(outside) == before


@pytest.mark.parametrize("kind", ["file", "link", "pipe"])
def test_what_is_no_folder_goes_itself(tmp_path: Path, kind: str) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    if kind == "file":
        tree.touch()
    elif kind == "link":
        tree.symlink_to(outside)
    else:
        os.mkfifo(tree)
    assert remove(tree) is None
    assert list(tmp_path.iterdir()) == [outside]
    assert (outside / "inner").exists()


@pytest.mark.parametrize("depth", [16, 17, 3000])
def test_a_tree_of_any_depth_goes_with_few_descriptors_and_little_memory(
    tmp_path: Path, depth: int
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    deep_tree(tree, depth, "a folder with a rather long name")
    (tree / "moved-up-0").mkdir()
    (tree / "moved-up-0" / "file").touch()
    (tree / "moved-up-1").touch()

    def work() -> None:
        tracemalloc.start()
        assert remove(tree) is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 20

    in_child(work, descriptors=45)
    assert not tree.exists()


def test_a_wide_tree_of_deep_ones_goes(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for number in range(50):
        (tree / str(number)).mkdir(parents=True)
        deep_tree(tree / str(number), 40)
    assert remove(tree) is None
    assert not tree.exists()


def test_modes_are_not_in_the_way_of_who_is_not_root() -> None:
    def work() -> None:
        tree = Path.cwd() / "tree"
        deep = tree / "closed" / Path(*["d"] * 40)
        deep.mkdir(parents=True)
        (deep / "file").touch()
        folders = [*deep.relative_to(Path.cwd()).parents][:-1]
        for folder in (deep, *(Path.cwd() / it for it in folders)):
            folder.chmod(0)
        assert remove(tree) is None
        assert list(Path.cwd().iterdir()) == []

    in_child(work, as_nobody=True)


def test_what_cannot_be_removed_is_told_and_all_else_goes(immutable: Path) -> None:
    tree = immutable.parent.parent
    (tree / "a").touch()
    (tree / "inner" / "b").touch()
    (tree / "z" / "y").mkdir(parents=True)
    remains = remove(tree)
    assert remains is not None
    assert (remains.first, remains.total) == ("tree/inner/immutable", 1)
    assert remains.reason == "Operation not permitted"
    assert [it.name for it in tree.rglob("*")] == ["inner", "immutable"]
    set_immutable(immutable, immutable=False)
    assert remove(tree) is None
    assert not tree.exists()


def test_a_folder_that_cannot_be_changed_is_told(immutable: Path) -> None:
    deep = immutable.parent / Path(*["d"] * 30)
    deep.mkdir(parents=True)
    for folder in (deep.parent, immutable.parent.parent):
        set_immutable(folder)
    # (It may be moved up with all that it holds.)
    parent = os.open(deep.parent, os.O_PATH)
    try:
        remains = remove(immutable.parent.parent)
        assert remains is not None
        assert remains.total == 2
        assert os.stat("d", dir_fd=parent)
    finally:
        os.close(parent)


def test_what_is_mounted_in_the_tree_is_left(tmp_path: Path) -> None:
    mounted = tmp_path / "tree" / "a" / "mounted"
    mounted.mkdir(parents=True)
    (tmp_path / "tree" / "b").touch()
    program = (
        "import sys, pathlib; from lcp_backup.volume.removal import remove\n"
        "tree = pathlib.Path(sys.argv[1]); (tree / 'a/mounted/canary').touch()\n"
        "remains = remove(tree); assert remains.total == 1, remains\n"
        "assert remains.first == 'tree/a/mounted', remains\n"
        "assert (tree / 'a/mounted/canary').exists(); assert not (tree / 'b').exists()\n"
    )
    source = Path(__file__).parents[3] / "shared"
    command = f'mount -t tmpfs none "{mounted}" && exec "$0" "$@"'
    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", command, sys.executable, "-c", program, tmp_path / "tree"],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    if "ermi" in result.stderr and "mount" in result.stderr:
        pytest.skip("nothing can be mounted here")
    assert (result.returncode, result.stderr) == (0, "")


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    deep_tree(tmp_path / "tree", 100)
    before = len(list(Path("/proc/self/fd").iterdir()))
    remove(tmp_path / "tree")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_slow_file_system_is_asked_by_many_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(64):
        (tmp_path / "tree" / "inner" / str(number)).mkdir(parents=True)
        (tmp_path / "tree" / "inner" / str(number) / "1.0").touch()
    threads: set[int] = set()
    unlink = os.unlink

    def late(name: str, *, dir_fd: int | None = None) -> None:
        time.sleep(0.002)
        threads.add(threading.get_ident())
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", late)
    assert remove(tmp_path / "tree") is None
    assert len(threads) > 4


def test_a_removal_that_is_ended_leaves_the_rest_and_no_descriptor(tmp_path: Path) -> None:
    class Ended(Exception):
        pass

    calls = itertools.count()

    def check() -> None:
        if next(calls) == 50:
            raise Ended

    for number in range(100):
        (tmp_path / "tree" / "inner" / str(number)).mkdir(parents=True)
    before = list(Path("/proc/self/fd").iterdir())
    with pytest.raises(Ended):
        remove(tmp_path / "tree", check=check)
    assert list(Path("/proc/self/fd").iterdir()) == before
    assert (tmp_path / "tree").exists()
    assert remove(tmp_path / "tree") is None
    assert not (tmp_path / "tree").exists()
