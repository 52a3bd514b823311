"""What threads read ahead comes in the archive's order, is bounded, and leaves nothing behind."""

import errno
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lcp_backup.errors import VolumeError
from lcp_backup.volume import levels, pace, read_ahead
from lcp_backup.volume import scan as scanning
from lcp_backup.volume.entry import Found
from lcp_backup.volume.notices import Notices
from lcp_backup.volume.read_ahead import OpenFile
from lcp_backup.volume.scan import scan
from tests.support.child_process import in_child
from tests.support.trees import TEXT, deep_tree, odd_tree

THREADS = 8


@pytest.fixture(autouse=True)
def _slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file system counts as slow from the first call."""
    monkeypatch.setattr(pace, "IN_A_ROW", 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def reference(folder: Path) -> list[str]:
    """The names in the archive's order, by the simplest means."""
    found = []
    for path in sorted(folder.iterdir(), key=lambda it: it.name):
        base = path.name
        found.append(base)
        if path.is_dir() and not path.is_symlink():
            found += [f"{base}/{name}" for name in reference(path)]
    return found


def scanned(folder: Path, threads: int = THREADS) -> tuple[list[str], list[tuple[str, str]]]:
    notices = Notices()
    with closing(scan(folder, notices, threads=threads)) as entries:
        names = [entry.name for entry in entries]
    return names, [(notice.code, notice.subject) for notice in notices.listed]


def random_tree(folder: Path, chance: random.Random) -> None:
    places = [folder]
    for number in range(chance.choice([3, 60, 300])):
        # Now and then as many in one folder as make several chunks, or a way that is long.
        parent = chance.choice([places[-1], places[0], chance.choice(places)])
        name = chance.choice(["a", "b", "Z", "ä", "a.b", "a-", " "]) + str(number)
        if chance.random() < 0.3:
            (parent / name).mkdir()
            places.append(parent / name)
        elif chance.random() < 0.1:
            (parent / name).symlink_to("nowhere")
        else:
            (parent / name).write_bytes(name.encode())


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "CHUNK", 3)
    monkeypatch.setattr(levels, "MOST_NAMES", 5)
    monkeypatch.setattr(scanning, "_WINDOW", 1)
    monkeypatch.setattr(scanning, "_MOST_WAITING", 2)
    monkeypatch.setattr(scanning, "_MOST_IDLE_AHEAD", 2)
    monkeypatch.setattr(scanning, "_PINNED", 1)


@pytest.mark.parametrize("seed", range(25))
def test_the_order_is_that_of_one_thread_whatever_the_tree(folder: Path, seed: int) -> None:
    random_tree(folder, random.Random(seed))
    assert scanned(folder) == (reference(folder), [])


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.usefixtures("small_bounds")
def test_the_order_is_the_same_when_little_may_wait(folder: Path, seed: int) -> None:
    random_tree(folder, random.Random(seed))
    assert scanned(folder, threads=2) == (reference(folder), [])


@pytest.mark.usefixtures("small_bounds")
def test_a_tree_of_odd_things_is_read_as_by_one_thread(folder: Path) -> None:
    odd_tree(folder)
    with (
        closing(scan(folder, Notices(), threads=2)) as many,
        closing(scan(folder, Notices(), threads=1)) as one,
    ):
        for ours, theirs in zip(many, one, strict=True):
            assert (ours.name, ours.found, ours.target) == (
                theirs.name,
                theirs.found,
                theirs.target,
            )
            assert ours.status.st_mtime_ns == theirs.status.st_mtime_ns
            assert ours.status.st_ino == (folder / ours.name).lstat().st_ino


def test_what_vanishes_while_it_is_read_ahead_is_told_and_all_else_is_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        (folder / f"{number % 7}").mkdir(exist_ok=True)
        (folder / f"{number % 7}" / f"{number:03}").touch()
    real, chance, lock = os.stat, random.Random(1), threading.Lock()
    gone: list[str] = []

    def vanishing(path: Any, **kwargs: Any) -> os.stat_result:
        if kwargs.get("dir_fd") is not None and len(path) == 3:
            with lock:
                if chance.random() < 0.1:
                    os.unlink(path, dir_fd=kwargs["dir_fd"])
                    gone.append(path)
        return real(path, **kwargs)

    monkeypatch.setattr(os, "stat", vanishing)
    names, notices = scanned(folder)
    assert gone
    assert sorted(subject[2:] for _, subject in notices) == sorted(gone)
    assert {code for code, _ in notices} == {"file-vanished"}
    assert [subject for _, subject in notices] == sorted(subject for _, subject in notices)
    assert names == reference(folder)


def fill_wide(folder: Path) -> None:
    for number in range(1500):
        (folder / f"{number}").mkdir()
        (folder / f"{number}" / "file").write_bytes(TEXT)


def fill_with_siblings_on_a_long_way(folder: Path) -> None:
    for _ in range(40):
        for number in range(20):
            (folder / f"{number}").mkdir()
        folder = folder / "0"


@pytest.mark.parametrize("fill", [fill_wide, fill_with_siblings_on_a_long_way])
def test_only_so_much_is_begun_before_it_is_needed(
    folder: Path, fill: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder)
    monkeypatch.setattr(scanning, "_WINDOW", 2)
    monkeypatch.setattr(scanning, "_MOST_WAITING", 4)
    most = 0
    with closing(scan(folder, Notices(), threads=2)) as entries:
        names = []
        for entry in entries:
            names.append(entry.name)
            waiting = sum(len(level.inner) + len(level.chunks) for level in entries._levels)
            most = max(most, waiting)
        assert entries._waiting == 0
    assert names == reference(folder)
    assert 0 < most <= 2 * (4 + 2)


def test_few_folders_are_open_at_once_whatever_the_tree(folder: Path) -> None:
    (folder / "wide").mkdir()
    fill_wide(folder / "wide")
    deep_tree(folder, 1000)

    def work() -> None:
        with (
            closing(scan(folder, Notices(), threads=2)) as entries,
            closing(read_ahead.read_ahead(entries, Notices(), threads=2)) as opened,
        ):
            assert sum(file is not None for _, file in opened) == 1501

    in_child(work, descriptors=32 + 32 + 10)


def test_a_deep_chain_is_read_with_a_file_behind_each_folder(folder: Path) -> None:
    at = os.open(folder, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=at)
        os.close(os.open("z", os.O_WRONLY | os.O_CREAT, dir_fd=at))
        inner = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)
    names, notices = scanned(folder)
    down = ["/".join("d" * depth) for depth in range(1, 301)]
    assert names == down + [f"{name}/z" for name in reversed(down[:-1])] + ["z"]
    assert notices == []


def test_what_was_yielded_can_be_opened_until_the_scan_is_closed(folder: Path) -> None:
    fill_wide(folder)
    with closing(scan(folder, Notices(), threads=THREADS)) as entries:
        everything = list(entries)
        for entry in everything:
            if entry.found is Found.FILE:
                OpenFile(entry).close()


def descriptors_and_threads() -> tuple[int, int]:
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


def test_whoever_stops_in_the_middle_leaves_no_thread_and_no_descriptor(folder: Path) -> None:
    fill_wide(folder)
    before = descriptors_and_threads()
    with pytest.raises(KeyError):
        with (
            closing(scan(folder, Notices(), threads=THREADS)) as entries,
            closing(read_ahead.read_ahead(entries, Notices(), threads=THREADS)) as opened,
        ):
            for number, _ in enumerate(opened):
                if number == 100:
                    raise KeyError
    assert descriptors_and_threads() == before


@pytest.mark.parametrize("call", ["stat", "readv", "scandir"])
def test_an_error_in_a_thread_reaches_the_caller_and_ends_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    fill_wide(folder)
    real, lock, calls = getattr(os, call), threading.Lock(), iter(range(10_000))

    def failing(*args: Any, **kwargs: Any) -> Any:
        with lock:
            number = next(calls)
        if number == 200:
            raise MemoryError
        return real(*args, **kwargs)

    before = descriptors_and_threads()
    monkeypatch.setattr(os, call, failing)
    with pytest.raises(MemoryError):
        with (
            closing(scan(folder, Notices(), threads=THREADS)) as entries,
            closing(read_ahead.read_ahead(entries, Notices(), threads=THREADS)) as opened,
        ):
            for _ in opened:
                pass
    monkeypatch.undo()
    assert descriptors_and_threads() == before


def test_a_file_system_in_trouble_ends_the_scan(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_wide(folder)

    def fail(*_: Any, **__: Any) -> Iterator[Any]:
        raise OSError(errno.ETIMEDOUT, "Connection timed out")

    with closing(scan(folder, Notices(), threads=THREADS)) as entries:
        next(entries)
        monkeypatch.setattr(os, "scandir", fail)
        with pytest.raises(VolumeError, match="timed out"):
            for _ in entries:
                pass


def test_files_that_are_passed_over_cost_no_call(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd_tree(folder)
    monkeypatch.setattr(pace, "IN_A_ROW", 100)
    asked: list[str] = []
    real = os.stat

    def stat(path: Any, **kwargs: Any) -> os.stat_result:
        asked.append(path)
        return real(path, **kwargs)

    monkeypatch.setattr(os, "stat", stat)
    with closing(scan(folder, Notices(), files=False)) as entries:
        kinds = {entry.found for entry in entries}
    assert kinds == {Found.FOLDER, Found.LINK}
    assert "1.0" not in asked
