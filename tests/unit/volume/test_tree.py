"""Many threads write one tree, and it is as if one had written it."""

import errno
import os
import random
import tarfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lcp_backup.archive.tar import MemberKind
from lcp_backup.errors import ArchiveRefused, LeaseLost, VolumeError
from lcp_backup.volume import crew, pace, tree, tree_folders
from lcp_backup.volume.members import Attributes
from lcp_backup.volume.tree import Tree
from tests.support.child_process import in_child
from tests.support.tars import Tar
from tests.support.trees import snapshot
from tests.support.unpacked import unpack

Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file system is slow enough for threads, and each of them gets one thing at a time."""
    monkeypatch.setattr(crew, "SLOW_STEPS", 0)
    monkeypatch.setattr(tree, "_STEPS", 1)


def nothing() -> None:
    """No check."""


def at(mode: int, second: int) -> Attributes:
    return Attributes(mode, os.getuid(), os.getgid(), second * 10**9 + 123)


def filled(folder: Path, fill: Callable[[Tree], None], check: Callable[[], None] = nothing) -> None:
    folder.mkdir(exist_ok=True)
    with Tree(folder, None, threads=8, check=check) as it:
        fill(it)
        it.finish()


def unpacked(tar: Tar, folder: Path) -> None:
    unpack(
        [tar.raw()],
        folder,
        owner=None,
        threads=8,
        progress=lambda _: None,
        check=nothing,
    ).swap()


def content(text: bytes) -> Iterator[memoryview]:
    yield memoryview(text)


def delayed(monkeypatch: pytest.MonkeyPatch, call: str, when: Callable[..., bool]) -> None:
    """Has some calls of the operating system take longer than all others."""
    real: Call = getattr(os, call)

    def late(*args: Any, **kwargs: Any) -> Any:
        if when(*args):
            time.sleep(0.05)
        return real(*args, **kwargs)

    monkeypatch.setattr(os, call, late)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def writers() -> list[threading.Thread]:
    return [it for it in threading.enumerate() if it.name.startswith("write volume")]


@pytest.fixture
def untouched(tmp_path: Path) -> Iterator[Path]:
    """A live folder; afterwards it is as it was, and no file, thread or descriptor is left."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "live").write_text("live")
    before, descriptors = snapshot(tmp_path), open_descriptors()
    yield folder
    assert snapshot(tmp_path).keys() == before.keys()
    assert (folder / "live").read_text() == "live"
    assert writers() == []
    assert open_descriptors() == descriptors


def test_what_is_slow_is_done_by_all_threads_at_once(tmp_path: Path) -> None:
    together = threading.Barrier(8, timeout=60)
    met_there: set[str] = set()
    real = os.utime

    def met(path: Any, **kwargs: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            together.wait()
            met_there.add(threading.current_thread().name)
        real(path, **kwargs)

    def fill(into: Tree) -> None:
        for number in range(8):
            into.add_file([str(number)], 1, content(b"x"), at(0o644, number))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "utime", met)
        filled(tmp_path / "out", fill)
    assert len(snapshot(tmp_path / "out")) == 8
    assert len(met_there) == 8


def test_the_later_member_of_a_name_wins_however_long_the_earlier_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delayed(monkeypatch, "write", lambda _, piece: bytes(piece).startswith(b"early"))
    delayed(monkeypatch, "symlink", lambda target, *_: target == "early")
    tar = Tar().add("first")
    for number in range(12):
        tar.add(f"d/f{number}", b"early").add(f"d/f{number}", b"late")
        tar.add(f"d/l{number}", kind=tarfile.SYMTYPE, target="early")
        tar.add(f"d/l{number}", b"late")
        tar.add(f"d/x{number}", b"early")
        tar.add(f"d/x{number}", kind=tarfile.SYMTYPE, target="late")
    unpacked(tar, tmp_path / "out")
    found = snapshot(tmp_path / "out")
    for number in range(12):
        assert found[f"d/f{number}"].content == b"late"
        assert found[f"d/l{number}"].content == b"late"
        assert found[f"d/x{number}"].content == "late"


def test_a_large_file_replaces_a_small_one_that_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delayed(monkeypatch, "write", lambda _, piece: bytes(piece[:5]) == b"early")
    large = b"late" * (1 << 19)
    tar = Tar().add("first").add("f", b"early").add("f", large).add("g", large).add("g", b"small")
    unpacked(tar, tmp_path / "out")
    found = snapshot(tmp_path / "out")
    assert (found["f"].content, found["g"].content) == (large, b"small")


def test_a_hard_link_waits_for_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    delayed(monkeypatch, "open", lambda name, *_: name == "file")
    tar = Tar().add("first")
    for number in range(12):
        tar.add(f"{number}/file", b"x").add(
            f"{number}/second", kind=tarfile.LNKTYPE, target=f"{number}/file"
        )
        tar.add(f"{number}/second", b"y") if number % 2 else None
    unpacked(tar, tmp_path / "out")
    found = snapshot(tmp_path / "out")
    for number in range(12):
        assert found[f"{number}/file"].content == b"x"
        assert found[f"{number}/second"].content == (b"y" if number % 2 else b"x")


@pytest.mark.parametrize(
    ("tar", "said"),
    [
        (Tar().add("1").add("f", b"early").add("f/evil", b"x"), "writes through 'f'"),
        (
            Tar().add("1").add("d/x").add("l", kind=tarfile.SYMTYPE, target="d").add("l/evil"),
            "writes through 'l'",
        ),
        (Tar().add("1").add("f/x").add("f", b"x"), "'f' as a folder and as a file"),
        (
            Tar().add("1").add("f", kind=tarfile.DIRTYPE).add("f", b"x"),
            "'f' as a folder and as a file",
        ),
        (
            Tar().add("1").add("h", kind=tarfile.LNKTYPE, target="later").add("later"),
            "'h' names 'later'",
        ),
        (
            Tar().add("1").add("l", kind=tarfile.SYMTYPE, target="early").add("l/x/y", b"x"),
            "writes through 'l'",
        ),
    ],
)
def test_what_is_still_being_written_is_in_the_way_of_an_attack_already(
    tar: Tar, said: str, untouched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delayed(monkeypatch, "open", lambda name, *_: name == "f")
    delayed(monkeypatch, "symlink", lambda *_: True)
    with pytest.raises(ArchiveRefused, match=said):
        unpacked(tar, untouched)


def shuffled_tree(chance: random.Random) -> list[tuple[MemberKind, list[str], int]]:
    """Members of folders in folders, in any order; a number says an attribute of each."""
    members = []
    for number in range(60):
        name = ["top", f"{number % 7}", f"{number}"][: 1 + chance.randrange(3)]
        members.append((MemberKind.FOLDER, name, number))
    for number in range(900):
        name = ["top", f"{number % 7}", f"{chance.randrange(60)}"][: 1 + chance.randrange(3)]
        kind = MemberKind.LINK if number % 9 == 0 else MemberKind.FILE
        members.append((kind, [*name, f"f{number}"], number))
    chance.shuffle(members)
    return members


MODES = (0o755, 0o555, 0o300, 0o700, 0o2750, 0o0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("at_hand", [2, 1024])
def test_folders_that_are_entered_again_and_again_have_their_own_attributes_in_the_end(
    seed: int, at_hand: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_AT_HAND", at_hand)
    monkeypatch.setattr(tree_folders, "_KEPT_OPEN", 3)

    def work() -> None:
        members = shuffled_tree(random.Random(seed))
        expected: dict[str, tuple[int, int]] = {}

        def fill(into: Tree) -> None:
            for kind, name, number in members:
                mode = MODES[number % len(MODES)]
                attributes = at(mode, 1000 + number)
                if kind is MemberKind.FOLDER:
                    into.add_folder(name, attributes)
                elif kind is MemberKind.LINK:
                    into.add_link(name, "nowhere", attributes)
                    mode = 0o777
                else:
                    into.add_file(name, 3, content(b"abc"), attributes)
                    mode &= 0o777
                expected["/".join(name)] = (mode, attributes.mtime_ns)

        filled(Path("out"), fill)
        found = {}
        os.seteuid(os.getuid())  # to look into all of them
        for name, it in snapshot(Path("out")).items():
            found[name] = (it.mode, it.mtime_ns)
        made = found.keys() - expected.keys()
        assert all(found.pop(name)[0] == 0o755 for name in made)
        assert found == expected

    in_child(work, as_nobody=True)


def test_a_folder_that_is_needed_again_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All writing stands still until as much is under way as may be.
    going = threading.Event()
    real = os.write
    given = 0

    def held(descriptor: int, piece: Any) -> int:
        if threading.current_thread() is not threading.main_thread():
            assert going.wait(20)
        return real(descriptor, piece)

    monkeypatch.setattr(os, "write", held)

    def fill(into: Tree) -> None:
        nonlocal given
        for number in range(20):
            into.add_file([str(number % 2), str(number)], 1, content(b"x"), at(0o644, 1))
            given += 1
        going.set()

    filled(tmp_path / "out", fill)
    assert given == 20


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["open", "write", "fchmod", "utime", "close"])
def test_the_first_error_of_a_thread_ends_the_unpacking_and_leaves_nothing(
    code: int, call: str, untouched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Call = getattr(os, call)
    left = 5

    def full(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        if threading.current_thread() is threading.main_thread():
            return real(*args, **kwargs)
        left -= 1
        if left == 0:
            if call == "close":
                real(*args, **kwargs)
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    tar = Tar()
    for number in range(200):
        tar.add(f"{number % 20}/{number}", b"x" * 1000)
    monkeypatch.setattr(os, call, full)
    with pytest.raises(VolumeError, match=f"is full .*{os.strerror(code)}.*is as it was"):
        unpacked(tar, untouched)
    assert left <= 0


def test_an_error_in_the_last_folder_that_is_settled_is_one_too(
    untouched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.utime

    def failing(path: Any, *, ns: tuple[int, int], **kwargs: Any) -> None:
        if ns[0] == 5 * 10**9:
            raise OSError(errno.EIO, "Input/output error")
        real(path, ns=ns, **kwargs)

    monkeypatch.setattr(os, "utime", failing)
    tar = Tar().add("d", kind=tarfile.DIRTYPE, mode=0o755, mtime=5).add("d/e/f", b"x")
    with pytest.raises(VolumeError, match="Input/output error"):
        unpacked(tar, untouched)


def test_what_check_raises_while_threads_are_waited_for_ends_the_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delayed(monkeypatch, "write", lambda *_: True)
    ended = False

    def check() -> None:
        if ended:
            raise LeaseLost("taken over")

    def fill(into: Tree) -> None:
        nonlocal ended
        for number in range(20):
            into.add_file([str(number)], 1, content(b"x"), at(0o644, 1))
        ended = True

    before = open_descriptors()
    with pytest.raises(LeaseLost):
        filled(tmp_path / "out", fill, check)
    assert writers() == []
    assert open_descriptors() == before


def test_no_more_is_under_way_than_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_MOST_SIZE", 4 << 20)
    under_way = most = 0
    lock = threading.Lock()
    real = os.write

    def counted(descriptor: int, piece: Any) -> int:
        nonlocal under_way
        done = real(descriptor, piece)
        with lock:
            under_way -= len(piece)
        return done

    monkeypatch.setattr(os, "write", counted)

    def pieces() -> Iterator[memoryview]:
        nonlocal under_way, most
        with lock:
            under_way += 1 << 20
            most = max(most, under_way)
        yield memoryview(bytes(1 << 20))

    def fill(into: Tree) -> None:
        for number in range(40):
            into.add_file([str(number)], 1 << 20, pieces(), at(0o644, 1))

    filled(tmp_path / "out", fill)
    assert most <= 6 << 20


def test_memory_does_not_grow_with_the_number_of_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "_AT_HAND", 128)

    def work() -> None:
        def fill(into: Tree) -> None:
            for number in range(3000):
                into.add_folder([f"{number % 90}", f"{number}"], at(0o755, 1))

        tracemalloc.start()
        filled(Path("out"), fill)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20

    in_child(work)


def test_deep_ways_one_after_the_other_cost_few_descriptors_and_no_memory() -> None:
    def work() -> None:
        def fill(into: Tree) -> None:
            for number in range(12):
                into.add_file([*[f"{number}"] * 400, "f"], 1, content(b"x"), at(0o644, 1))

        tracemalloc.start()
        filled(Path("out"), fill)
        assert tracemalloc.get_traced_memory()[1] < 6 << 20

    in_child(work, descriptors=60)


def test_a_folder_that_was_moved_away_meanwhile_is_not_written_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_folders, "_KEPT_OPEN", 0)
    # The first file is written by who gives it out, and the second one by a thread.
    monkeypatch.setattr(crew, "SLOW_STEPS", 1)
    monkeypatch.setattr(crew, "SLOW_CALL_NS", 0)
    monkeypatch.setattr(pace, "idle_calls", lambda _: 0)
    out = tmp_path / "out"

    def fill(into: Tree) -> None:
        into.add_file(["a", "b", "f"], 1, content(b"x"), at(0o644, 1))
        (out / "a").rename(tmp_path / "elsewhere")
        (out / "a" / "b").mkdir(parents=True)
        into.add_file(["a", "b", "g"], 1, content(b"x"), at(0o644, 1))

    with pytest.raises(FileNotFoundError, match="was moved"):
        filled(out, fill)
    assert not (tmp_path / "elsewhere" / "b" / "g").exists()
    assert not (out / "a" / "b" / "g").exists()
