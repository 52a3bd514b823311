"""A foreign volume is rewritten as our own, and refused where a restore would refuse it."""

import gzip
import subprocess
import tarfile
import tracemalloc
from functools import partial
from pathlib import Path

import pytest

from lcp_backup.errors import ArchiveError, ArchiveRefused
from lcp_backup.intake import places
from tests.support.taken_volume import Store
from tests.support.tars import Tar
from tests.support.trees import odd_tree, snapshot

gzipped = partial(gzip.compress, mtime=0)
"""Equal for equal bytes: tests are named by what they are given, also in another process."""

LIBRARY = "document_library"


@pytest.mark.parametrize("form", ["posix", "gnu"])
@pytest.mark.parametrize("root", [".", "content", "data"])
def test_what_tar_packed_is_restored_as_it_was(tmp_path: Path, form: str, root: str) -> None:
    folder = tmp_path / "data"
    odd_tree(folder)
    names = {".": ["."], "content": sorted(p.name for p in folder.iterdir()), "data": ["data"]}
    within = tmp_path if root == "data" else folder
    command = ["tar", "-cz", f"--format={form}", "-f", "-", "--", *names[root]]
    packed = subprocess.run(command, cwd=within, capture_output=True, check=True).stdout
    store = Store()
    facts = store.take(packed)
    restored = tmp_path / "restored"
    store.restore(restored)
    found, expected = snapshot(restored), snapshot(folder)
    if form == "gnu":  # keeps whole seconds only
        cut = 1_000_000_000
        found, expected = (
            {name: it._replace(mtime_ns=it.mtime_ns // cut) for name, it in tree.items()}
            for tree in (found, expected)
        )
    assert found == expected
    assert (restored / "second name").samefile(restored / LIBRARY / "20097/0/1.0")
    assert facts.files == sum(isinstance(it.content, bytes) for it in expected.values())


def test_segments_start_at_a_file_or_continue_one() -> None:
    large, small = bytes(20 << 20), b"small"
    store = Store()
    store.take(Tar().add(f"{LIBRARY}/large", large).add(f"{LIBRARY}/small", small).raw())
    raws = [raw for _, raw in store.segments()]
    first, last = store.members()
    assert (first.name, first.segment, first.at, first.more) == (f"{LIBRARY}/large", 0, 0, 2)
    assert (last.name, last.segment, last.more) == (f"{LIBRARY}/small", 2, 0)
    assert raws[2][last.at + 512 :].startswith(small)
    assert [segment.members for segment, _ in store.segments()] == [1, 0, 1, 0]
    assert raws[-1] == bytes(1024)


def test_a_folder_data_around_it_all_is_left_out_of_the_names() -> None:
    store = Store()
    raw = Tar().add("data/", kind=tarfile.DIRTYPE).add(f"data/{LIBRARY}/a", b"a").raw()
    store.take(gzipped(raw))
    assert store.names() == [f"{LIBRARY}/a"]


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (Tar(), "no folder 'document_library': it is empty"),
        (Tar().add("lportal.sql", b"x"), "at its top it has 'lportal.sql'"),
        (Tar().add(LIBRARY, b"x"), "no folder 'document_library'"),
        (Tar().add(f"data/{LIBRARY}/a").add("b"), "holds 'b' beside its folder 'data'"),
        (Tar().add(f"data/{LIBRARY}/a").add("data", b"x"), "'data' as a folder and as a file"),
        (Tar().add(f"{LIBRARY}/../../x"), "lies outside the folder"),
        (Tar().add("/etc/passwd"), "lies outside the folder"),
        (Tar().add(".lcp-restore/x"), "this service's own"),
        (Tar().add("data/.lcp-restore/x"), "this service's own"),
        (Tar().add(f"{LIBRARY}/a", kind=tarfile.CHRTYPE), "a device"),
        (Tar().add(f"{LIBRARY}/a", kind=tarfile.FIFOTYPE), "a device, pipe"),
        (Tar().add(f"{LIBRARY}/a", kind=tarfile.SYMTYPE, target="/etc"), "leads out"),
        (Tar().add(f"{LIBRARY}/a", kind=tarfile.SYMTYPE, target="../../x"), "leads out"),
        (Tar().add("data/a", kind=tarfile.SYMTYPE, target="../x"), "leads out"),
        (Tar().add(f"{LIBRARY}/a", kind=tarfile.LNKTYPE, target="/etc/shadow"), "outside"),
        (Tar().add(f"{LIBRARY}/a", kind=tarfile.LNKTYPE, target="b"), "no file before it"),
        (
            Tar().add("data/a").add("data/b", kind=tarfile.LNKTYPE, target="a"),
            "hard link 'b' names 'a', which is no file before it",
        ),
        (
            Tar()
            .add(f"{LIBRARY}/f")
            .add("l", kind=tarfile.SYMTYPE, target=f"{LIBRARY}/f")
            .add("h", kind=tarfile.LNKTYPE, target="l"),
            "hard link 'h' names 'l', which is no file before it",
        ),
        (
            Tar()
            .add(f"{LIBRARY}/a/b/c/d/e/f/g/h/l", kind=tarfile.SYMTYPE, target="../" * 9 + "etc/x")
            .add(f"{LIBRARY}/evil", kind=tarfile.LNKTYPE, target=f"{LIBRARY}/a/b/c/d/e/f/g/h/l"),
            "hard link 'document_library/evil' names .*, which is no file before it",
        ),
        (
            Tar()
            .add("f")
            .add("f", kind=tarfile.SYMTYPE, target="g")
            .add("h", kind=tarfile.LNKTYPE, target="f"),
            "hard link 'h' names 'f', which is no file before it",
        ),
        (
            Tar().add("d/f").add("h", kind=tarfile.LNKTYPE, target="d"),
            "hard link 'h' names 'd', which is no file before it",
        ),
        (
            Tar()
            .add("d/f")
            .add("l", kind=tarfile.SYMTYPE, target="d")
            .add("h", kind=tarfile.LNKTYPE, target="l/f"),
            "hard link 'h' names 'l/f', which is no file before it",
        ),
        (Tar().add("a", kind=tarfile.LNKTYPE, target="a"), "'a', which is no file before it"),
        (Tar().add(".LCP-restore/x"), "this service's own"),
        (Tar().add("data/.Lcp-Kept-1/x"), "this service's own"),
        (Tar().add(f"{LIBRARY}/{'n' * 300}"), "300 bytes between two slashes of its name"),
        (
            Tar().add(f"{LIBRARY}/l", kind=tarfile.SYMTYPE, target="t/" * 2500),
            "link 'document_library/l' leads to a name of 5000 bytes; at most 4095",
        ),
        (
            Tar().add(f"{LIBRARY}/l", kind=tarfile.SYMTYPE, target="t/" * 2045),
            "link 'document_library/l' leads to a name of 4090 bytes; at most 4080",
        ),
        (Tar().add("d/" * 128 + "f"), "'d/d.*/f' lies 129 deep; at most 128"),
        (Tar().add("data/" + "d/" * 128 + "f"), "'d/d.*/f' lies 129 deep; at most 128"),
        (Tar().add("d/" * 1500 + "f"), "lies 1501 deep; at most 128"),
        (Tar().add("d/" * 100_000 + "f"), "a name of 200001 bytes; at most 4095"),
        (Tar().add("a", kind=tarfile.SYMTYPE, target="b").add("a/b"), "writes through 'a'"),
        (Tar().add("a/b").add("a", b"x"), "'a' as a folder and as a file"),
        (Tar().add("a", b"x").add("a/", kind=tarfile.DIRTYPE), "'a' as a folder and as a file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "sent",
)
def test_what_a_restore_would_refuse_is_refused_now(archive: Tar, said: str) -> None:
    store = Store()
    with pytest.raises(ArchiveRefused, match=said):
        store.take(gzipped(archive.raw()))
    assert not store.archive.visible


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the volume is empty"),
        (b"PK\x03\x04" + bytes(600), "the volume is a zip archive"),
        (gzipped(b"-- MySQL dump"), "the volume is text, and no tar.gz of the folder"),
        (Tar().add(f"{LIBRARY}/a", bytes(5000)).raw()[:3000], "cut short"),
        (gzipped(Tar().add(f"{LIBRARY}/a", bytes(5000)).raw())[:-20], "in the middle"),
        (Tar().add(f"{LIBRARY}/a").raw()[:1000] + b"x" * 1000, "cut short|not valid"),
        (Tar().add(f"{LIBRARY}/a").raw() * 2, "bytes after the end of the archive"),
        (gzipped(Tar().add(f"{LIBRARY}/a").raw()) * 2, "bytes after the end of the archive"),
        (gzipped(Tar().add(f"{LIBRARY}/a").raw() * 2), "bytes after the end of the archive"),
        (gzipped(Tar().add(f"{LIBRARY}/a").raw()[:512]), "mark of its end is missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "sent",
)
def test_what_is_no_volume_is_refused_by_what_was_found(data: bytes, said: str) -> None:
    store = Store()
    with pytest.raises(ArchiveError, match=said):
        store.take(data)
    assert not store.archive.visible


def test_a_bomb_of_empty_files_is_refused_before_it_fills_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places, "MOST_NAMES", 3)
    Store().take(Tar().add(f"{LIBRARY}/a").add(f"{LIBRARY}/b").raw())
    four = Tar().add(f"{LIBRARY}/a").add(f"{LIBRARY}/b").add(f"{LIBRARY}/c")
    with pytest.raises(ArchiveRefused, match="more than 3 files and folders"):
        Store().take(four.raw())


def test_a_bomb_is_refused() -> None:
    bomb = gzipped(Tar().add(f"{LIBRARY}/zeros", bytes(5_000_000)).raw())
    with pytest.raises(ArchiveRefused, match="inflates to more than 1000000 bytes"):
        Store().take(bomb, limit=1_000_000)


def test_names_at_the_limits_are_taken_and_restored(tmp_path: Path) -> None:
    deep = f"{LIBRARY}/" + "d/" * 126 + "f"
    second = f"{LIBRARY}/" + "n" * 255
    tar = Tar().add(deep, b"x").add(second, kind=tarfile.LNKTYPE, target=deep)
    tar.add(f"{LIBRARY}/l", kind=tarfile.SYMTYPE, target="t" * 4080)
    store = Store()
    store.take(gzipped(tar.raw()))
    store.restore(tmp_path / "restored")
    assert (tmp_path / "restored" / deep).samefile(tmp_path / "restored" / second)


def test_twenty_members_of_100000_folders_each_are_refused_at_once() -> None:
    tar = Tar()
    for number in range(20):
        tar.add(f"{LIBRARY}/{number}/" + "d/" * 100_000 + "f")
    raw = gzipped(tar.raw())
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveRefused, match="at most 4095"):
            Store().take(raw)
        # A segment, the inflated bytes at hand, and little else.
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_folders_that_only_names_imply_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MOST_NAMES", 50)
    tar = Tar()
    for number in range(5):
        tar.add(f"{LIBRARY}/{number}/" + "d/" * 10 + "f")
    with pytest.raises(ArchiveRefused, match="more than 50 files and folders"):
        Store().take(tar.raw())


def test_a_file_of_more_names_than_efs_holds_is_refused(tmp_path: Path) -> None:
    tar = Tar().add(f"{LIBRARY}/0", b"x")
    for number in range(1, 175):
        # Each of the one before it: the file is the same.
        tar.add(f"{LIBRARY}/{number}", kind=tarfile.LNKTYPE, target=f"{LIBRARY}/{number - 1}")
    store = Store()
    store.take(tar.raw())
    store.restore(tmp_path / "restored")
    assert (tmp_path / "restored" / LIBRARY / "174").stat().st_nlink == 175
    more = Tar().add(f"{LIBRARY}/0", b"x")
    for number in range(1, 176):
        more.add(f"{LIBRARY}/{number}", kind=tarfile.LNKTYPE, target=f"{LIBRARY}/{number - 1}")
    with pytest.raises(ArchiveRefused, match="'document_library/175' is one of more than 175"):
        Store().take(more.raw())


def test_replaced_files_and_links_are_what_they_were_replaced_by(tmp_path: Path) -> None:
    tar = Tar().add(f"{LIBRARY}/f", b"1").add("l", kind=tarfile.SYMTYPE, target="x").add("l", b"2")
    tar.add("h", kind=tarfile.LNKTYPE, target="l").add("l", kind=tarfile.SYMTYPE, target="h")
    tar.add("h", kind=tarfile.LNKTYPE, target=f"{LIBRARY}/f").add(f"{LIBRARY}/f", b"3")
    tar.add("g", kind=tarfile.LNKTYPE, target="h")
    store = Store()
    store.take(tar.raw())
    store.restore(tmp_path / "restored")
    found = {name: it.content for name, it in snapshot(tmp_path / "restored").items()}
    assert found == {LIBRARY: None, f"{LIBRARY}/f": b"3", "h": b"1", "g": b"1", "l": "h"}


LINK, SECOND_NAME, FOLDER = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


def library(top: str = "") -> Tar:
    return Tar().add(f"{top}{LIBRARY}/", kind=FOLDER).add(f"{top}{LIBRARY}/f", b"1")


@pytest.mark.parametrize(
    ("tar", "told"),
    [
        (library(), True),
        (library("./").add("./", kind=FOLDER), True),
        (library("data/"), True),
        (Tar().add(f"{LIBRARY}/f", b"1").add(f"{LIBRARY}/", kind=FOLDER), True),
        (library().add(f"{LIBRARY}/", kind=FOLDER, mode=0o700), True),
        (library().add("l", kind=LINK, target="x"), True),
        (Tar().add(f"{LIBRARY}/f", b"1"), False),
        (library().add("a/b/", kind=FOLDER), False),
        (library().add(f"{LIBRARY}/f", b"2"), False),
        (library().add(f"{LIBRARY}/f", kind=LINK, target="x"), False),
        (library().add("l", kind=LINK, target="x").add("l", kind=LINK, target="y"), False),
        (library().add("h", kind=SECOND_NAME, target=f"{LIBRARY}/f"), False),
    ],
)
def test_members_have_no_order_where_each_has_its_own_name_and_every_folder_is_one(
    tar: Tar, told: bool
) -> None:
    assert Store().take(tar.raw()).in_any_order is told


APPLE = b"\0\5\x16\7\0\2\0\0Mac OS X        "


@pytest.mark.parametrize("top", ["data/", "./", ""])
def test_what_macos_adds_to_an_archive_is_left_out_and_told(top: str, tmp_path: Path) -> None:
    tar = Tar()
    if top:
        tar.add(f"{top}._{top.strip('/')}" if top == "./" else "._data", APPLE)
        tar.add(top, kind=tarfile.DIRTYPE)
    tar.add(f"{top}._{LIBRARY}", APPLE).add(f"{top}{LIBRARY}", kind=tarfile.DIRTYPE)
    tar.add(f"{top}.DS_Store", APPLE).add(f"{top}{LIBRARY}/.DS_Store", APPLE)
    tar.add(f"{top}{LIBRARY}/._1.0", APPLE).add(f"{top}{LIBRARY}/1.0", b"hello")
    tar.add(f"{top}{LIBRARY}/._2.0", kind=tarfile.LNKTYPE, target=f"{top}{LIBRARY}/._1.0")
    store = Store()
    facts = store.take(gzipped(tar.raw()))
    store.restore(tmp_path / "restored")
    found = {name: it.content for name, it in snapshot(tmp_path / "restored").items()}
    assert found == {LIBRARY: None, f"{LIBRARY}/1.0": b"hello"}
    assert (facts.files, facts.bytes) == (1, 5)
    ((code, subject, detail),) = [(it.code, it.subject, it.detail) for it in store.notices]
    assert code == "macos-files-left-out"
    assert subject.startswith("._") or subject.endswith(f"._{LIBRARY}")
    assert detail.startswith("6 files" if top else "5 files")


def test_folders_and_links_of_such_names_are_the_sites_own() -> None:
    tar = Tar().add(f"{LIBRARY}/._folder/1.0", b"x")
    store = Store()
    store.take(tar.add(f"{LIBRARY}/._link", kind=tarfile.SYMTYPE, target="._folder").raw())
    assert store.names() == [f"{LIBRARY}/._folder/1.0", f"{LIBRARY}/._link"]
    assert store.notices == ()


def test_a_million_such_files_make_one_notice() -> None:
    tar = Tar().add(f"{LIBRARY}/1.0")
    for number in range(1000):
        tar.add(f"{LIBRARY}/._{number}", APPLE)
    store = Store()
    store.take(tar.raw())
    (notice,) = store.notices
    assert notice.detail.startswith("1000 files")
    assert len(notice.detail) < 500
