"""What is packed is what lay in the folder, whatever happens while it is read."""

import errno
import hashlib
import io
import os
import socket
import stat
import tarfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lcp_backup.archive.write import SEGMENT_SIZE
from lcp_backup.errors import LeaseLost, VolumeError
from lcp_backup.volume import pace, scan, segments
from lcp_backup.volume.notices import MOST_NOTICES
from lcp_backup.volume.removal import remove
from tests.support.archived import Archived
from tests.support.child_process import in_child
from tests.support.trees import TEXT, deep_tree, odd_tree, snapshot
from tests.support.unpacked import unpack


@pytest.fixture(params=[10**9, 0], ids=["in turn", "read ahead"], autouse=True)
def pace_in_a_row(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the file system counts as slow: never, or from the first call."""
    monkeypatch.setattr(pace, "IN_A_ROW", request.param)


in_turn = pytest.mark.parametrize("pace_in_a_row", [10**9], indirect=True)
"""For what depends on that nothing is read before it is its turn."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def test_gnu_tar_gives_back_the_folder_exactly(folder: Path, tmp_path: Path) -> None:
    odd_tree(folder)
    archived = Archived(folder)

    archived.extract(tmp_path / "out")

    assert snapshot(tmp_path / "out") == snapshot(folder)
    assert archived.notices == []


def test_pythons_tarfile_gives_back_the_content(folder: Path) -> None:
    odd_tree(folder)
    archived = Archived(folder)

    contents = archived.contents()

    expected = {n: m.content for n, m in snapshot(folder).items() if isinstance(m.content, bytes)}
    assert contents == expected
    facts = archived.packed.facts
    assert (facts.files, facts.bytes) == (len(contents), sum(map(len, contents.values())))
    assert (facts.links, facts.folders) == (4, 18)


def test_an_empty_folder_is_a_valid_archive(folder: Path, tmp_path: Path) -> None:
    archived = Archived(folder)
    archived.extract(tmp_path / "out")
    assert snapshot(tmp_path / "out") == {}
    assert archived.packed.facts.files == 0


def test_the_folder_may_be_reached_by_a_link(folder: Path, tmp_path: Path) -> None:
    (folder / "a").write_bytes(TEXT)
    (tmp_path / "link").symlink_to("data")
    assert Archived(tmp_path / "link").contents() == {"a": TEXT}


def test_members_come_sorted_and_the_same_every_time(folder: Path) -> None:
    for name in ("b", "a", "C", "ä"):
        (folder / name).mkdir()
        (folder / name / "2").touch()
        (folder / name / "1").touch()
    archived = Archived(folder)
    names = [member.name for member in archived.members]
    assert names == sorted(names)
    assert len(names) == 12
    assert Archived(folder).sink.data == archived.sink.data


def test_every_segment_begins_with_a_file_or_goes_on_with_one_and_the_end_stands_alone(
    folder: Path,
) -> None:
    sizes = {
        "a": 100,
        "b-large": 3 * SEGMENT_SIZE + 77,
        "c": 5_000_000,
        "d": 5_000_000,
        "e": SEGMENT_SIZE - 4096,
        "f": SEGMENT_SIZE,
        "g": 1,
        "h": 1_000_000,
        "i": SEGMENT_SIZE - 100_000,
    }
    for name, size in sizes.items():
        (folder / name).write_bytes(os.urandom(1 << 16) * (size >> 16) + bytes(size & 0xFFFF))
        os.utime(folder / name, (1, 1))  # whole seconds: every header is one block
    archived = Archived(folder)

    raws = archived.raw_segments()
    assert all(len(raw) <= SEGMENT_SIZE for raw in raws)
    begun = {member.segment for member in archived.members if member.at == 0}
    continued: set[int] = set()
    for member in archived.members:
        # Header, content and padding come to an end in the last segment that is named.
        size = 512 + member.size + -member.size % 512
        others = range(member.segment + 1, member.segment + 1 + member.more)
        held = b"".join(raws[number] for number in (member.segment, *others))
        stretch = held[member.at : member.at + size]
        content = (folder / member.name).read_bytes()
        assert stretch[512 : 512 + member.size] == content, member.name
        assert len(stretch) == size
        before = len(held) - len(raws[others[-1]]) if others else 0
        assert before < member.at + size
        continued.update(others)
    *filled, end = range(len(raws))
    assert raws[end] == bytes(1024)
    assert begun | continued == set(filled)
    assert not begun & continued
    more = {member.name: member.more for member in archived.members}
    assert more["b-large"] >= 3
    assert more["c"] == more["d"] == more["e"] == more["i"] == 0
    assert archived.contents() == {name: (folder / name).read_bytes() for name in sizes}
    assert sum(archived.progress) == archived.written.raw_size == len(archived.raw())


def test_the_index_says_of_every_member_what_its_header_says_and_where_that_is(
    folder: Path,
) -> None:
    odd_tree(folder)
    archived = Archived(folder)
    raws = archived.raw_segments()
    for member in archived.members:
        raw = raws[member.segment][member.at :]
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r|") as opened:
            header = opened.next()
        assert header is not None
        status = (folder / member.name).lstat()
        assert (header.name, header.size) == (member.name, member.size)
        assert (member.mtime_ns, member.mode) == (
            status.st_mtime_ns,
            stat.S_IMODE(status.st_mode),
        )
        assert (member.uid, member.gid) == (status.st_uid, status.st_gid)
        assert member.type == ("folder" if header.isdir() else "link" if header.issym() else "file")
        assert member.size == (status.st_size if header.isreg() else 0)
        assert member.source == 0
    assert len(archived.members) == len(list(folder.rglob("*")))
    begun = Counter(member.segment for member in archived.members)
    assert [segment.members for segment in archived.segments] == [
        begun[number] for number in range(len(archived.segments))
    ]


def test_the_index_says_of_every_file_what_its_content_is_and_when_it_was_changed(
    folder: Path,
) -> None:
    odd_tree(folder)
    an_hour_on = datetime.now(UTC) + timedelta(hours=1)
    for member in Archived(folder, began=an_hour_on).members:
        path = folder / member.name
        if member.type == "file":
            status = path.stat()
            assert member.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
            assert (member.ctime_ns, member.inode) == (status.st_ctime_ns, status.st_ino)
        else:
            assert (member.ctime_ns, member.inode, member.sha256) == (0, 0, None)


def test_a_file_changed_just_before_the_run_has_no_ctime_that_could_tell_a_later_change(
    folder: Path,
) -> None:
    (folder / "a").write_bytes(TEXT)
    changed = (folder / "a").stat().st_ctime_ns / 1e9
    for seconds, settled in ((0, False), (2.9, False), (3.1, True)):
        began = datetime.fromtimestamp(changed + seconds, UTC)
        (member,) = Archived(folder, began=began).members
        assert (member.ctime_ns != 0) is settled
        assert member.sha256 == hashlib.sha256(TEXT).hexdigest()


def test_a_segment_is_closed_once_many_members_begin_in_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "_MOST_MEMBERS", 10)
    for number in range(45):
        (folder / str(number)).touch()
    archived = Archived(folder)
    assert [segment.members for segment in archived.segments] == [10, 10, 10, 10, 5, 0]
    assert len(archived.contents()) == 45


def test_what_is_no_file_is_left_out_with_a_notice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)  # a socket's whole path may have about 100 bytes
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    (folder / "file").write_bytes(TEXT)
    archived = Archived(folder)
    assert archived.notices == [("special-file", "pipe"), ("special-file", "socket")]
    assert archived.contents() == {"file": TEXT}


def test_links_are_stored_and_never_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    (folder / "out").symlink_to("../outside")
    (folder / "absolute").symlink_to(tmp_path / "outside" / "secret")
    (folder / "sub").mkdir()
    (folder / "sub" / "in").symlink_to("../file")
    archived = Archived(folder)
    assert archived.notices == [("link-outside", "absolute"), ("link-outside", "out")]
    assert b"secret" not in archived.raw().replace(b"outside", b"")
    assert archived.packed.facts.links == 1


def test_what_an_interrupted_restore_left_is_not_packed(folder: Path) -> None:
    (folder / ".lcp-restore" / "old").mkdir(parents=True)
    (folder / "deeper" / ".lcp-restore").mkdir(parents=True)
    archived = Archived(folder)
    assert [member.name for member in archived.members] == ["deeper", "deeper/.lcp-restore"]


@pytest.mark.parametrize("make", [None, Path.touch])
def test_a_folder_that_is_none_fails_and_names_the_variable(
    tmp_path: Path, make: Callable[[Path], None] | None
) -> None:
    folder = tmp_path / "missing"
    if make:
        make(folder)
    with pytest.raises(VolumeError, match=r"LCP_BACKUP_FOLDER is '.*missing'"):
        Archived(folder)


def on_open_of(
    monkeypatch: pytest.MonkeyPatch, name: str, action: Callable[[], None], *, after: bool
) -> None:
    """Does something right before or after the file of this name is opened."""
    real = os.open

    def opened(path: Any, *args: Any, **kwargs: Any) -> int:
        if path == name and not after:
            action()
        descriptor = real(path, *args, **kwargs)
        if path == name and after:
            action()
        return descriptor

    monkeypatch.setattr(os, "open", opened)


def on_read(monkeypatch: pytest.MonkeyPatch, action: Callable[[], None]) -> None:
    """Does something after the first read of the file `a`."""
    real = os.readv
    done = False

    def read(descriptor: int, buffers: Any) -> int:
        nonlocal done
        count = real(descriptor, [buffers[0][: SEGMENT_SIZE // 4]])
        if not done and Path(f"/proc/self/fd/{descriptor}").readlink().name == "a":
            done = True
            action()
        return count

    monkeypatch.setattr(os, "readv", read)


def not_known_again(archived: Archived) -> list[str]:
    """The files that the next backup stores whatever they are then."""
    return [it.name for it in archived.members if (it.ctime_ns, it.sha256) == (0, None)]


def test_a_file_that_vanishes_is_a_notice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        (folder / name).write_bytes(TEXT)
    on_open_of(monkeypatch, "b", (folder / "b").unlink, after=False)
    archived = Archived(folder)
    assert archived.notices == [("file-vanished", "b")]
    assert archived.contents() == {"a": TEXT, "c": TEXT}
    assert archived.packed.facts.files == 2


def test_a_folder_that_vanishes_is_a_notice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "gone").mkdir()
    (folder / "z").write_bytes(TEXT)
    on_open_of(monkeypatch, "gone", (folder / "gone").rmdir, after=False)
    archived = Archived(folder)
    assert archived.notices == [("file-vanished", "gone")]
    assert archived.contents() == {"z": TEXT}


def test_a_file_that_cannot_be_read_is_a_notice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a").write_bytes(TEXT)
    (folder / "closed").mkdir()
    (folder / "closed" / "x").touch()
    (folder / "z").write_bytes(TEXT)

    def refuse() -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    on_open_of(monkeypatch, "a", refuse, after=False)
    on_open_of(monkeypatch, "closed", refuse, after=False)
    archived = Archived(folder)
    assert archived.notices == [("file-unreadable", "a"), ("file-unreadable", "closed")]
    assert archived.contents() == {"z": TEXT}


def test_a_file_system_in_trouble_is_no_notice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a").write_bytes(TEXT)

    def fail() -> None:
        raise OSError(errno.ENFILE, "Too many open files in system")

    on_open_of(monkeypatch, "a", fail, after=False)
    with pytest.raises(VolumeError, match="Too many open files"):
        Archived(folder)


def test_a_link_that_takes_a_files_place_is_not_followed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "a").write_bytes(TEXT)

    def replace() -> None:
        (folder / "a").unlink()
        (folder / "a").symlink_to(tmp_path / "secret")

    on_open_of(monkeypatch, "a", replace, after=False)
    archived = Archived(folder)
    assert archived.notices == [("file-unreadable", "a")]
    assert b"secret" not in archived.raw()


def test_a_pipe_that_takes_a_files_place_does_not_hang_the_backup(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a").write_bytes(TEXT)

    def replace() -> None:
        (folder / "a").unlink()
        os.mkfifo(folder / "a")

    on_open_of(monkeypatch, "a", replace, after=False)
    assert Archived(folder).notices == [("special-file", "a")]


@pytest.mark.parametrize("size", [1000, 2 * SEGMENT_SIZE + 100])
def test_a_file_that_grows_is_cut_and_noted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    content = os.urandom(1000) * (size // 1000)
    (folder / "a").write_bytes(content)
    (folder / "b").write_bytes(TEXT)

    def grow() -> None:
        with (folder / "a").open("ab") as file:
            file.write(b"more" * 1000)

    on_read(monkeypatch, grow)
    archived = Archived(folder)
    assert archived.notices == [("file-changed", "a")]
    assert archived.contents() == {"a": content, "b": TEXT}
    assert not_known_again(archived) == ["a"]


@pytest.mark.parametrize("size", [1000, 2 * SEGMENT_SIZE + 100])
def test_a_file_that_shrinks_is_filled_up_and_noted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    content = os.urandom(1000) * (size // 1000)
    (folder / "a").write_bytes(content)
    (folder / "b").write_bytes(TEXT)
    real = os.fstat

    def shrink(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        if status.st_size == len(content):
            os.truncate(folder / "a", 300)
        return status

    monkeypatch.setattr(os, "fstat", shrink)
    archived = Archived(folder)
    assert archived.notices == [("file-changed", "a")]
    zeros = bytes(len(content) - 300)
    assert archived.contents() == {"a": content[:300] + zeros, "b": TEXT}
    assert not_known_again(archived) == ["a"]


def test_a_file_that_is_rewritten_is_noted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a").write_bytes(TEXT)
    on_read(monkeypatch, lambda: os.utime(folder / "a", ns=(1, 1)))
    archived = Archived(folder)
    assert archived.notices == [("file-changed", "a")]
    assert not_known_again(archived) == ["a"]


def test_a_file_with_a_bad_place_is_filled_up_and_noted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a").write_bytes(TEXT)
    (folder / "b").write_bytes(TEXT)
    real = os.readv

    def read(*_: Any) -> int:
        monkeypatch.setattr(os, "readv", real)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "readv", read)
    archived = Archived(folder)
    assert archived.notices == [("file-unreadable", "a")]
    assert archived.contents() == {"a": bytes(len(TEXT)), "b": TEXT}
    assert not_known_again(archived) == ["a"]


def test_the_list_of_notices_is_cut_and_the_rest_counted(folder: Path) -> None:
    for number in range(MOST_NOTICES + 7):
        (folder / f"link{number}").symlink_to("/")
    packed = Archived(folder).packed
    assert len(packed.notices) == MOST_NOTICES
    assert packed.notices_left_out == 7


def test_what_means_loss_is_counted_beyond_the_list_and_listed_first(folder: Path) -> None:
    for number in range(MOST_NOTICES + 7):
        os.mkfifo(folder / f"a{number}")
    for number in range(2):
        (folder / f"link{number}").symlink_to("/")
    packed = Archived(folder).packed
    assert [notice.code for notice in packed.notices[:3]] == ["link-outside"] * 2 + ["special-file"]
    assert (len(packed.notices), packed.notices_left_out) == (MOST_NOTICES, 9)
    assert packed.losses == 2
    for number in range(2, MOST_NOTICES + 3):
        (folder / f"link{number}").symlink_to("/")
    packed = Archived(folder).packed
    assert {notice.code for notice in packed.notices} == {"link-outside"}
    assert packed.losses == MOST_NOTICES + 3


def test_an_undecodable_name_can_be_stored_in_index_and_manifest(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff")).symlink_to("/")
    (folder / os.fsdecode(b"\xfe")).touch()
    archived = Archived(folder)
    assert archived.notices == [("link-outside", "\\xff")]
    assert [os.fsencode(member.name) for member in archived.members] == [b"\xfe"]
    assert "\\xff" in archived.packed.notices[0].model_dump_json()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_check_raises_ends_the_packing(folder: Path) -> None:
    for number in range(10):
        (folder / str(number)).touch()
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise LeaseLost("taken over")

    descriptors = open_descriptors()
    with pytest.raises(LeaseLost):
        Archived(folder, check)
    assert calls == 5
    assert open_descriptors() == descriptors


def test_no_descriptor_stays_open(folder: Path) -> None:
    odd_tree(folder)
    descriptors = open_descriptors()
    Archived(folder)
    assert open_descriptors() == descriptors


@pytest.mark.parametrize("depth", [31, 32, 33, 34, 200, 1200])
def test_a_folder_of_any_depth_that_a_path_can_have_is_packed_and_restored(
    folder: Path, tmp_path: Path, depth: int
) -> None:
    deep_tree(folder, depth)
    (folder / "other").write_bytes(TEXT)
    out = tmp_path / "out"

    def work() -> None:
        archived = Archived(folder)
        assert archived.notices == []
        facts = archived.packed.facts
        assert (facts.files, facts.folders) == (2, depth)
        chunks = [archived.raw()]
        unpack(
            chunks, out, owner=None, threads=4, progress=lambda _: None, check=lambda: None
        ).swap()

    in_child(work, descriptors=80)
    assert Path(out, *["d"] * depth, "file").is_file()
    assert (out / "other").read_bytes() == TEXT


def test_what_has_too_long_a_name_is_told_once_and_all_else_is_packed(folder: Path) -> None:
    long = "a folder with a rather long name "  # 33 bytes, and the slash
    deep_tree(folder, 3000, long)
    (folder / "other").write_bytes(TEXT)
    archived = Archived(folder)
    ((code, name),) = archived.notices
    assert code == "name-too-long"
    assert name == "/".join([long] * 121)
    assert "has a name of 4113 bytes; 4095 are taken" in archived.packed.notices[0].detail
    assert archived.packed.facts.folders == 120
    assert archived.contents() == {"other": TEXT}
    remove(folder)


def test_folders_that_are_moved_while_they_are_read_lose_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        deep = folder / Path(*["d"] * number)
        deep.mkdir(exist_ok=True)
        (deep / "z").touch()
    middle = folder / Path(*["d"] * 37)

    def move() -> None:
        with suppress(FileNotFoundError):  # another thread was faster
            middle.rename(folder / "moved")

    on_open_of(monkeypatch, "z", move, after=True)
    archived = Archived(folder)
    names = [name for name in archived.contents() if not name.startswith("moved")]
    # What other threads were about to open in the folder that was moved is told.
    moved = "/".join(["d"] * 37)
    assert all(code == "file-vanished" and it.startswith(moved) for code, it in archived.notices)
    assert len(names) + len(archived.notices) == 40


@in_turn
def test_a_folder_that_is_not_where_it_was_is_told_and_the_ones_above_it_are_packed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "_MOST_IDLE", 0)  # so that what lies deep is opened again
    for number in range(40):
        deep = folder / Path(*["d"] * number)
        deep.mkdir(exist_ok=True)
        (deep / "z").touch()
    deepest = folder / Path(*["d"] * 39)
    high = folder / Path(*["d"] * 34)

    def move() -> None:
        if deepest.exists():
            deepest.rename(folder / "1")
            high.rename(folder / "2")
            # Others of the same names are not the ones that were being read.
            deepest.parent.mkdir(parents=True)
            (deepest.parent / "z").touch()

    on_open_of(monkeypatch, "z", move, after=True)
    archived = Archived(folder)
    names = [name for name in archived.contents() if name[0] not in "12"]
    # Those of 39 levels are opened; 38 to 34 are nowhere on the way any more.
    assert len(names) == 40 - 5
    assert {code for code, _ in archived.notices} == {"file-vanished"}
    assert len(archived.notices) == 5


def test_names_of_a_restore_are_passed_over_and_what_looks_like_one_is_told(folder: Path) -> None:
    for name in (
        ".lcp-restore",
        ".lcp-restore.2",
        ".lcp-restore-data",
        ".lcp-kept-1",
        ".LCP-restore",
    ):
        (folder / name).mkdir()
        (folder / name / "x").touch()
    (folder / "document_library").mkdir()
    (folder / "document_library" / ".lcp-restore").write_bytes(TEXT)
    archived = Archived(folder)
    assert archived.contents() == {"document_library/.lcp-restore": TEXT}
    assert archived.notices == [("reserved-name", ".LCP-restore")]
