"""What is unpacked is what was packed; what could do harm is refused before anything is touched."""

import errno
import gzip
import os
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lcp_backup.archive.deflate import inflate_stream
from lcp_backup.archive.index import read_index
from lcp_backup.archive.read import read_segments
from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.errors import (
    ArchiveDamaged,
    ArchiveError,
    ArchiveRefused,
    LeaseLost,
    StorageError,
    VolumeError,
)
from lcp_backup.volume import crew, tree
from lcp_backup.volume.pack import pack
from lcp_backup.volume.swap import StagedVolume
from tests.support.buffers import Buffer
from tests.support.child_process import in_child
from tests.support.tars import Tar
from tests.support.trees import TEXT, odd_tree, snapshot
from tests.support.unpacked import unpack


@pytest.fixture(autouse=True, scope="module", params=["one thread", "threads"])
def slow_file_system(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every file system is slow enough for threads, and each of them gets one thing at a time."""
    with pytest.MonkeyPatch.context() as patched:
        if request.param == "threads":
            patched.setattr(crew, "SLOW_STEPS", 0)
            patched.setattr(tree, "_STEPS", 1)
        yield


CUT = 700
"""Odd, so that headers and files lie over the chunks' borders."""


def staged(
    chunks: Iterable[bytes], folder: Path, owner: tuple[int, int] | None = None
) -> StagedVolume:
    return unpack(
        chunks, folder, owner=owner, threads=16, progress=lambda _: None, check=lambda: None
    )


def restore(chunks: Iterable[bytes], folder: Path, owner: tuple[int, int] | None = None) -> None:
    with staged(chunks, folder, owner) as new:
        new.swap()


def cut(raw: bytes, size: int = CUT) -> Iterator[bytes]:
    return (raw[at : at + size] for at in range(0, len(raw), size))


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A live folder, which nothing that is refused may change."""
    folder = tmp_path / "data"
    (folder / "document_library").mkdir(parents=True)
    (folder / "document_library" / "live").write_text("live")
    return folder


@pytest.fixture
def untouched(live: Path, tmp_path: Path) -> Iterator[Path]:
    """The live folder; afterwards it is as it was, and nothing lies beside it."""
    before = snapshot(tmp_path)
    yield live
    after = snapshot(tmp_path)
    assert after.keys() == before.keys()
    assert {n: m.content for n, m in after.items()} == {n: m.content for n, m in before.items()}


def test_a_packed_folder_comes_back_exactly(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    odd_tree(source)
    sink, index_sink = Buffer(), Buffer()
    with ArchiveWriter(
        sink, index_sink, name="volume.tgz", index_name="volume.index", threads=2
    ) as writer:
        pack(source, writer, began=datetime.now(UTC), progress=lambda _: None, check=lambda: None)
        written = writer.finish()
    segments = read_index(index_sink, archive_name="volume.tgz")
    pairs = read_segments(sink, segments, name="volume.tgz", threads=2)
    progress: list[int] = []

    with unpack(
        (raw for _, raw in pairs),
        tmp_path / "out",
        owner=None,
        threads=4,
        progress=progress.append,
        check=lambda: None,
    ) as new:
        new.swap()

    assert snapshot(tmp_path / "out") == snapshot(source)
    assert sum(progress) == written.raw_size
    # A hard link is stored as a file of its own.
    assert (tmp_path / "out" / "second name").stat().st_nlink == 1


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar"])
def test_what_gnu_tar_packed_is_restored(tmp_path: Path, form: str) -> None:
    source = tmp_path / "source"
    (source / "document_library" / "empty").mkdir(parents=True)
    long_name = "n" * (90 if form == "ustar" else 200)
    (source / "document_library" / long_name).write_bytes(TEXT)
    (source / "document_library" / "second").hardlink_to(source / "document_library" / long_name)
    (source / "link").symlink_to("document_library")
    upload = tmp_path / "volume.tgz"
    subprocess.run(
        ["tar", f"--format={form}", "-czf", upload, "-C", source, "."],
        check=True,
    )

    restore(inflate_stream([upload.read_bytes()], name="volume.tgz"), tmp_path / "out")

    found, expected = snapshot(tmp_path / "out"), snapshot(source)
    assert {n: (m.mode, m.content) for n, m in found.items()} == {
        n: (m.mode, m.content) for n, m in expected.items()
    }
    assert (tmp_path / "out" / "document_library" / "second").stat().st_nlink == 2


@given(size=st.integers(1, 5000))
@settings(max_examples=15)
def test_chunks_of_any_size_give_the_same_tree(
    size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    raw = Tar().add("a/ü", b"1" * 700).add("b" * 150, b"2" * 3).add("c").raw()
    folder = tmp_path_factory.mktemp("chunks") / "data"
    restore(cut(raw, size), folder)
    assert {n: m.content for n, m in snapshot(folder).items()} == {
        "a": None,
        "a/ü": b"1" * 700,
        "b" * 150: b"2" * 3,
        "c": b"",
    }


def test_folders_that_are_not_in_the_archive_are_made(tmp_path: Path) -> None:
    restore([Tar().add("document_library/1/2/file", TEXT).raw()], tmp_path / "out")
    found = snapshot(tmp_path / "out")
    assert found["document_library/1/2/file"].content == TEXT
    assert found["document_library/1"].mode == 0o755


def test_folders_have_their_times_in_any_order_of_members(tmp_path: Path) -> None:
    tar = Tar()
    tar.add("a/b/1").add("a", kind=tarfile.DIRTYPE, mode=0o555, mtime=1000)
    tar.add("z", kind=tarfile.DIRTYPE, mode=0o750, mtime=3000)
    tar.add("a/b/2").add("a/b", kind=tarfile.DIRTYPE, mode=0o700, mtime=2000).add("z/1")
    restore([tar.raw()], tmp_path / "out")
    found = snapshot(tmp_path / "out")
    assert [found[n].mtime_ns // 10**9 for n in ("a", "a/b", "z")] == [1000, 2000, 3000]
    assert [found[n].mode for n in ("a", "a/b", "z")] == [0o555, 0o700, 0o750]
    assert "a/b/2" in found


def test_a_later_member_of_a_name_replaces_the_earlier(tmp_path: Path) -> None:
    tar = Tar().add("a", b"1").add("b", kind=tarfile.LNKTYPE, target="a").add("a", b"2")
    tar.add("c", kind=tarfile.SYMTYPE, target="a").add("c", b"3")
    restore([tar.raw()], tmp_path / "out")
    contents = {n: m.content for n, m in snapshot(tmp_path / "out").items()}
    assert contents == {"a": b"2", "b": b"1", "c": b"3"}


def test_dangerous_bits_of_files_are_dropped(tmp_path: Path) -> None:
    tar = Tar().add("f", mode=0o7755).add("d", kind=tarfile.DIRTYPE, mode=0o7775)
    restore([tar.raw()], tmp_path / "out")
    found = snapshot(tmp_path / "out")
    assert (found["f"].mode, found["d"].mode) == (0o755, 0o3775)


@pytest.mark.parametrize(("owner", "expected"), [(None, (12, 34)), ((1000, 1000), (1000, 1000))])
def test_root_gives_everything_to_its_owner(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: tuple[int, int] | None,
    expected: tuple[int, int],
) -> None:
    given_to: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda _, uid, gid: given_to.append((uid, gid)))
    monkeypatch.setattr(os, "chown", lambda _, uid, gid, **__: given_to.append((uid, gid)))
    tar = Tar().add("f", uid=12, gid=34).add("d", kind=tarfile.DIRTYPE, uid=12, gid=34)
    tar.add("l", kind=tarfile.SYMTYPE, target="f", uid=12, gid=34)
    staged([tar.raw()], tmp_path / "out", owner)
    assert set(given_to) == {expected}
    assert len(given_to) >= 3


def test_who_is_not_root_keeps_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "fchown", lambda *_: pytest.fail("gave something away"))
    restore([Tar().add("f", uid=12).raw()], tmp_path / "out", (5, 5))


def test_a_mount_that_decides_the_owner_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", refuse)
    restore([Tar().add("f", TEXT, uid=12).raw()], tmp_path / "out")
    assert snapshot(tmp_path / "out")["f"].content == TEXT


HOSTILE: dict[str, tuple[Tar, str]] = {
    "absolute": (Tar().add("/etc/cron.d/evil", b"x"), "/etc/cron.d/evil"),
    "parent": (Tar().add("../evil", b"x"), "../evil"),
    "parent inside": (Tar().add("a/../../evil", b"x"), "a/../../evil"),
    "parent folder": (Tar().add("..", kind=tarfile.DIRTYPE), "'..'"),
    "absolute link": (Tar().add("l", kind=tarfile.SYMTYPE, target="/etc"), "'l'"),
    "link out": (Tar().add("a/l", kind=tarfile.SYMTYPE, target="../../x"), "'a/l'"),
    "link that climbs late": (
        Tar().add("a/l", kind=tarfile.SYMTYPE, target="b/../../.."),
        "'a/l'",
    ),
    "write through a link": (
        Tar().add("d/x").add("l", kind=tarfile.SYMTYPE, target="d").add("l/evil", b"x"),
        "'l'",
    ),
    "folder over a link": (
        Tar().add("l", kind=tarfile.SYMTYPE, target="d").add("l", kind=tarfile.DIRTYPE),
        "'l'",
    ),
    "write through a file": (Tar().add("f").add("f/evil", b"x"), "'f'"),
    "file over a folder": (Tar().add("f/x").add("f", b"x"), "'f'"),
    "link over a folder": (Tar().add("f/x").add("f", kind=tarfile.SYMTYPE, target="y"), "'f'"),
    "hard link out": (Tar().add("h", kind=tarfile.LNKTYPE, target="../data/x"), "../data/x"),
    "absolute hard link": (Tar().add("h", kind=tarfile.LNKTYPE, target="/etc/shadow"), "shadow"),
    "hard link to nothing": (Tar().add("h", kind=tarfile.LNKTYPE, target="later"), "'h'"),
    "hard link to a folder": (Tar().add("d/x").add("h", kind=tarfile.LNKTYPE, target="d"), "'h'"),
    "hard link to itself": (Tar().add("h", kind=tarfile.LNKTYPE, target="./h"), "'h'"),
    "hard link through a link": (
        Tar()
        .add("d/x")
        .add("l", kind=tarfile.SYMTYPE, target="d")
        .add("h", kind=tarfile.LNKTYPE, target="l/x"),
        "'l'",
    ),
    "hard link to a link": (
        Tar()
        .add("d/x")
        .add("l", kind=tarfile.SYMTYPE, target="d/x")
        .add("h", kind=tarfile.LNKTYPE, target="l"),
        "'h'",
    ),
    "hard link to a link that leads out from where it would lie": (
        Tar()
        .add("etc/passwd", b"x")
        .add(
            "document_library/a/b/c/d/e/f/g/h/l",
            kind=tarfile.SYMTYPE,
            target=f"{'../' * 9}etc/passwd",
        )
        .add(
            "document_library/evil",
            kind=tarfile.LNKTYPE,
            target="document_library/a/b/c/d/e/f/g/h/l",
        ),
        "'document_library/evil'",
    ),
    "hard link to a file that a link replaced": (
        Tar()
        .add("d/f", b"x")
        .add("d/f", kind=tarfile.SYMTYPE, target="../d")
        .add("h", kind=tarfile.LNKTYPE, target="d/f"),
        "'h'",
    ),
    "hard link to a link to a file by its second name": (
        Tar()
        .add("f", b"x")
        .add("d/l", kind=tarfile.SYMTYPE, target="../f")
        .add("d/h", kind=tarfile.LNKTYPE, target="d/l")
        .add("h", kind=tarfile.LNKTYPE, target="d/h"),
        "'d/h'",
    ),
    "hard link that replaces its own file": (
        Tar().add("f", b"x").add("f", kind=tarfile.LNKTYPE, target="f"),
        "'f'",
    ),
    "long component": (Tar().add("d/" + "n" * 256, b"x"), "256 bytes between two slashes"),
    "long component of two bytes each": (Tar().add("d/" + "ü" * 128, b"x"), "256 bytes between"),
    "long name": (
        Tar().add("/".join(["n" * 255] * 17), b"x"),
        "a name of 4351 bytes; at most 4095",
    ),
    "long target": (
        Tar().add("l", kind=tarfile.SYMTYPE, target="t/" * 2500),
        "to a name of 5000 bytes; at most 4095",
    ),
    "long target of a hard link": (
        Tar().add("h", kind=tarfile.LNKTYPE, target="t/" * 2500 + "t"),
        "a name of 5001 bytes; at most 4095",
    ),
    "100,000 folders": (Tar().add("d/" * 100_000 + "f", b"x"), "at most 4095"),
    "staging in other letters": (Tar().add(".LCP-Restore/moving-in"), "this service's own"),
    "staging in letters that look the same": (
        Tar().add(".lcp-re\u017ftore/x"),
        "this service's own",
    ),
    "staging with what cannot be seen": (Tar().add(".lcp-re\u200cstore-2/x"), "this service's own"),
    "kept": (Tar().add(".LCP-kept-1/x"), "this service's own"),
    "character device": (Tar().add("c", kind=tarfile.CHRTYPE), "'c'"),
    "block device": (Tar().add("b", kind=tarfile.BLKTYPE), "'b'"),
    "pipe": (Tar().add("p", kind=tarfile.FIFOTYPE), "'p'"),
    "unknown": (Tar().add("u", kind=b"Z"), "'u'"),
    "sparse": (
        Tar().add("s", pax_headers={"GNU.sparse.map": "0,0", "GNU.sparse.size": "9"}),
        "'s'",
    ),
    "no name": (Tar().add("./", b"x"), "no name"),
    "owner": (Tar(tarfile.GNU_FORMAT).add("o", uid=2**40), "'o'"),
    "staging": (Tar().add(".lcp-restore/moving-in"), ".lcp-restore"),
    "huge header": (Tar().add("a", pax_headers={"comment": "x" * 300_000}), "announces"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_by_name_before_anything_is_touched(
    name: str, untouched: Path
) -> None:
    tar, named = HOSTILE[name]
    with pytest.raises(ArchiveRefused) as raised:
        staged(cut(Tar().add("good", b"x").raw()[:1024] + tar.raw()), untouched)
    assert named in str(raised.value)


def test_headers_that_never_end_are_refused(untouched: Path) -> None:
    globals_ = b"".join(
        tarfile.TarInfo.create_pax_global_header({f"key{number}": "x"}) for number in range(3000)
    )
    with pytest.raises(ArchiveRefused, match="nests its headers too deep"):
        staged([globals_], untouched)
    many = tarfile.TarInfo.create_pax_global_header({f"key{n}": "x" for n in range(70)})
    with pytest.raises(ArchiveRefused, match="attributes for all members"):
        staged([many + Tar().add("a").raw()], untouched)


WHOLE = Tar().add("a", b"1" * 600).add("b" * 120, b"2" * 600).raw()


@pytest.mark.parametrize("length", [0, 1, 511, 512, 700, 1535, 1536, 2048, 2560, 3000, 4096, 4600])
def test_an_archive_that_is_cut_short_is_refused(length: int, untouched: Path) -> None:
    assert 4096 - 512 < len(WHOLE.rstrip(b"\0")) < 4096
    with pytest.raises(ArchiveDamaged):
        staged(cut(WHOLE[:length]), untouched)


def test_an_archive_that_ends_inside_a_file_says_so(untouched: Path) -> None:
    with pytest.raises(ArchiveDamaged, match="ends inside a file"):
        staged(cut(WHOLE[:1000]), untouched)


@pytest.mark.parametrize(
    ("joined", "said"),
    [
        (WHOLE + Tar().add("c", b"3").raw(), "bytes after the end of the archive"),
        (WHOLE[:4608] + Tar().add("c", b"3").raw(), "bytes after the end of the archive"),
        (WHOLE + b"x", "bytes after the end of the archive"),
    ],
)
def test_what_stands_behind_the_end_is_refused(joined: bytes, said: str, untouched: Path) -> None:
    with pytest.raises(ArchiveRefused, match=said):
        staged(cut(joined), untouched)


def test_gzip_files_that_were_joined_are_refused_for_their_second_archive(untouched: Path) -> None:
    both = gzip.compress(WHOLE) + gzip.compress(Tar().add("c", b"3").raw())
    with pytest.raises(ArchiveRefused, match="bytes after the end of the archive"):
        staged(inflate_stream([both], name="volume.tgz"), untouched)


def test_a_broken_header_is_not_taken_for_the_end(untouched: Path) -> None:
    # A checksum, a pax record's length, and the checksum of the header after it.
    for position in (1536 + 148, 2048, 2560 + 148):
        raw = bytearray(WHOLE)
        raw[position : position + 5] = b"\xff" * 5
        with pytest.raises(ArchiveDamaged):
            staged(cut(bytes(raw)), untouched)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_any_damage_is_either_harmless_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    raw = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, 4700))] = data.draw(st.integers(0, 255))
    outside = snapshot(tmp_path)
    with suppress(ArchiveError, VolumeError):
        staged(cut(bytes(raw)), tmp_path / "data").discard()
    assert snapshot(tmp_path) == outside


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["write", "close", "mkdir"])
def test_a_full_file_system_says_so_and_changes_nothing(
    code: int, call: str, untouched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Any] = getattr(os, call)
    left = 4

    def full(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            real(*args, **kwargs) if call == "close" else None
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    tar = Tar()
    for number in range(9):
        tar.add(f"{number}/a", b"x" * 1000)
    raw = tar.raw()
    monkeypatch.setattr(os, call, full)
    with pytest.raises(VolumeError, match=f"is full .*{os.strerror(code)}.*is as it was"):
        staged([raw], untouched)


def test_a_storage_that_fails_half_way_changes_nothing(untouched: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield WHOLE[:1000]
        raise StorageError("the object cannot be read")

    with pytest.raises(StorageError):
        staged(chunks(), untouched)


def test_names_as_long_as_a_file_system_holds_are_restored(tmp_path: Path) -> None:
    longest = "/".join(["n" * 255] * 15 + ["m" * 254])
    target = "t" * 4095
    tar = Tar().add(longest, b"x").add("l", kind=tarfile.SYMTYPE, target=target)
    assert len(longest) == 4094
    restore(cut(tar.raw()), tmp_path / "out")
    assert str((tmp_path / "out" / "l").readlink()) == target
    at = os.open(tmp_path / "out", os.O_RDONLY)
    for component in longest.split("/"):
        inner = os.open(component, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    assert os.read(at, 2) == b"x"
    os.close(at)


def test_what_check_raises_changes_nothing(untouched: Path) -> None:
    def check() -> None:
        raise LeaseLost("taken over")

    with pytest.raises(LeaseLost):
        unpack([WHOLE], untouched, owner=None, threads=4, progress=lambda _: None, check=check)


def test_the_bytes_after_the_end_are_still_read(untouched: Path) -> None:
    damaged = bytearray(gzip.compress(WHOLE + bytes(100_000)))
    damaged[-5] ^= 1
    with pytest.raises(ArchiveDamaged, match="not a valid gzip"):
        staged(inflate_stream([bytes(damaged)], name="volume.tgz"), untouched)


def deep(depth: int, file: str = "f") -> Tar:
    folders = [f"{'d/' * number}" for number in range(1, depth + 1)]
    tar = Tar()
    for number, name in enumerate(folders):
        tar.add(name, kind=tarfile.DIRTYPE, mode=0o700 + number % 8, mtime=1000 + number)
    return tar.add(f"{folders[-1]}{file}", b"x").add("other", b"y")


@pytest.mark.parametrize("depth", [31, 32, 33, 34, 100, 1200])
def test_a_tree_of_any_depth_is_made_and_removed_with_few_descriptors(
    tmp_path: Path, depth: int
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()

    def work() -> None:
        raw = deep(depth).raw()
        staged([raw], folder).discard()
        assert list(tmp_path.iterdir()) == [folder]
        restore([raw], folder)
        # Again, over it: what was live is removed.
        restore([raw], folder)
        assert list(tmp_path.iterdir()) == [folder]
        at = folder
        for number in range(min(depth, 900)):
            at /= "d"
            status = at.stat()
            assert (status.st_mode & 0o777, status.st_mtime) == (0o700 + number % 8, 1000 + number)
        restore([Tar().add("f").raw()], folder)
        assert [it.name for it in folder.iterdir()] == ["f"]

    in_child(work, descriptors=60)


def test_a_path_of_1500_folders_in_248_bytes_stands_in_nobodys_way(tmp_path: Path) -> None:
    raw = Tar().add("d/" * 1500 + "f", b"x").raw()
    restore([raw], tmp_path / "data")
    restore([Tar().add("honest", b"x").raw()], tmp_path / "data")
    assert [it.name for it in (tmp_path / "data").iterdir()] == ["honest"]
    assert len(list(tmp_path.iterdir())) == 1


def test_folders_of_any_mode_are_no_obstacle_to_who_is_not_root() -> None:
    tar = Tar()
    for name in ("a", "a/b", "a/b/c"):
        tar.add(name, kind=tarfile.DIRTYPE, mode=0)
    tar.add("z").add("a/b/c/f", b"x", mode=0)
    tar.add("a/b/g", kind=tarfile.LNKTYPE, target="a/b/c/f")
    raw = tar.raw()

    def work() -> None:
        folder = Path.cwd() / "data"
        for _ in range(2):
            restore([raw], folder)
            assert (folder / "a").stat().st_mode & 0o777 == 0
        staged([raw], folder).discard()
        restore([Tar().add("f").raw()], folder)
        assert list(Path.cwd().iterdir()) == [folder]

    in_child(work, as_nobody=True)


def test_members_in_turns_of_two_folders_cost_no_memory(tmp_path: Path) -> None:
    tar = Tar()
    for number in range(600):
        tar.add(f"{number % 2}/{'d/' * 20}{number}", b"x")
    raw = tar.raw()

    def work() -> None:
        tracemalloc.start()
        staged(cut(raw, 1 << 16), tmp_path / "data").discard()
        assert tracemalloc.get_traced_memory()[1] < 2 << 20

    in_child(work)


def test_an_owner_that_a_user_space_does_not_have_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", refuse)
    restore([Tar().add("f", TEXT, uid=2**31).raw()], tmp_path / "out")
    assert snapshot(tmp_path / "out")["f"].content == TEXT


def test_no_descriptor_stays_open(tmp_path: Path, untouched: Path) -> None:
    def open_descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_descriptors()
    restore([Tar().add("a/b/c/d", b"x").add("a/e").raw()], tmp_path / "out")
    with pytest.raises(ArchiveDamaged):
        staged([Tar().add("a/b/c/d", b"x" * 5000).raw()[:3000]], untouched)
    assert open_descriptors() == before
    subprocess.run(["rm", "-r", tmp_path / "out"], check=True)
