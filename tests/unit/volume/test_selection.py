"""A selection of a volume: what is read, what is replaced, and what stays."""

import errno
import os
import tarfile
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest

from lcp_backup.archive.index import read_index, read_members
from lcp_backup.archive.read import read_segments
from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.archive.write import SEGMENT_SIZE, ArchiveWriter
from lcp_backup.errors import ArchiveRefused, InvalidRequest, NotFound, VolumeError
from lcp_backup.exclusion import PathPatterns
from lcp_backup.volume import mounts, staging
from lcp_backup.volume.pack import pack
from lcp_backup.volume.selection import selected, unpack_wanted, without
from lcp_backup.volume.swap import StagedVolume
from lcp_backup.volume.wanted import WantedMembers
from tests.support.buffers import Buffer
from tests.support.taken_volume import Store
from tests.support.tars import Tar
from tests.support.trees import odd_tree, snapshot

LARGE = 2 * SEGMENT_SIZE + 12_345
MORE = 70_001
"""By which each next large file is larger: where one ends must not be told by another."""


class Stored:
    """A folder as it lies in a bucket."""

    def __init__(self, folder: Path) -> None:
        self.archive, index = Buffer(), Buffer()
        with ArchiveWriter(
            self.archive, index, name="volume.tgz", index_name="volume.index", threads=2
        ) as writer:
            pack(
                folder, writer, began=datetime.now(UTC), progress=lambda _: None, check=lambda: None
            )
            written = writer.finish()
        self.segments = list(
            read_index(index, archive_name="volume.tgz", sha256=written.index_sha256)
        )
        self.members = list(read_members(index, archive_name="volume.tgz"))
        self.archive.reads.clear()

    @classmethod
    def of(cls, raw: bytes, names: tuple[str, ...]) -> Self:
        """A tar file that nobody judged, of members that take a block each."""
        self = cls.__new__(cls)
        self.archive, index = Buffer(), Buffer()
        with ArchiveWriter(
            self.archive, index, name="volume.tgz", index_name="volume.index", threads=2
        ) as writer:
            writer.add([raw], members=len(names))
            for number, name in enumerate(names):
                writer.list_member(IndexedMember(name, "file", 0, 0, 512 * number, 0, 0, 0, 0, 0))
            writer.finish()
        self.segments = list(read_index(index, archive_name="volume.tgz"))
        self.members = list(read_members(index, archive_name="volume.tgz"))
        return self

    def stage(self, paths: tuple[str, ...], folder: Path) -> StagedVolume:
        wanted = WantedMembers(selected(self.members, paths))
        needed = (segment for segment in self.segments if segment in wanted)
        staged = staging.stage(folder)
        try:
            unpack_wanted(
                wanted,
                read_segments(self.archive, needed, name="volume.tgz", threads=2),
                staged,
                paths=paths,
                owner=None,
                threads=4,
                progress=lambda _: None,
                check=lambda: None,
            )
        except BaseException:
            staged.discard()
            raise
        return staged

    @property
    def read(self) -> int:
        return sum(length for _, length in self.archive.reads)


def contents(folder: Path) -> dict[str, bytes | str | None]:
    """Without the times: those of folders change by a rename and its undoing."""
    return {name: member.content for name, member in snapshot(folder).items()}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Large files between small ones, in the order in which they are packed."""
    folder = tmp_path / "site"
    library = folder / "document_library"
    for number in range(4):
        inner = library / str(number)
        inner.mkdir(parents=True)
        (inner / "a-small").write_bytes(f"small {number}".encode())
        (inner / "b-large").write_bytes(bytes([number]) * (LARGE + number * MORE))
        (inner / "c-small").write_bytes(f"after {number}".encode())
    return folder


@pytest.fixture
def stored(site: Path) -> Stored:
    return Stored(site)


@pytest.mark.parametrize(
    "path",
    [
        "document_library/2/a-small",
        "document_library/2/b-large",
        "document_library/2/c-small",
        "document_library/2",
        "document_library",
    ],
)
def test_what_is_asked_for_comes_back_exactly_and_alone(
    site: Path, stored: Stored, tmp_path: Path, path: str
) -> None:
    target = tmp_path / "elsewhere"
    stored.stage((path,), target).swap()
    wanted = {
        name: member
        for name, member in snapshot(site).items()
        if name == path or name.startswith(f"{path}/")
    }
    found = {
        name: member
        for name, member in snapshot(target).items()
        if not path.startswith(f"{name}/")  # folders above it
    }
    assert found == wanted


def names_in(stored: Stored) -> list[str]:
    return [member.name for member in stored.members]


def test_one_small_file_reads_little_of_the_archive(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    for number in range(20):
        (folder / str(number)).mkdir(parents=True)
        (folder / str(number) / "file").write_bytes(bytes([number]) * SEGMENT_SIZE)
    stored = Stored(folder)
    stored.stage(("7/file",), tmp_path / "elsewhere").discard()
    assert 0 < stored.read < stored.archive.size / 5


def test_a_file_behind_a_large_one_reads_not_all_of_the_large_one(
    stored: Stored, tmp_path: Path
) -> None:
    stored.stage(("document_library/2/c-small",), tmp_path / "elsewhere").discard()
    assert len(stored.archive.reads) == 1


def test_a_selection_is_judged_as_the_whole_is(tmp_path: Path) -> None:
    raw = Tar().add("a/b/l", kind=tarfile.SYMTYPE, target="../../x")
    raw.add("h", kind=tarfile.LNKTYPE, target="a/b/l")
    stored = Stored.of(raw.raw(), ("a/b/l", "h"))
    with pytest.raises(ArchiveRefused, match="hard link 'h' names 'a/b/l'"):
        stored.stage(("a", "h"), tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


def test_odd_names_are_found_like_any_other(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    odd_tree(folder)
    target = tmp_path / "elsewhere"
    Stored(folder).stage(("names",), target).swap()
    names = {name: it for name, it in snapshot(folder).items() if name.startswith("names")}
    assert snapshot(target) == names


def test_a_path_that_is_not_in_the_backup_is_named(stored: Stored) -> None:
    with pytest.raises(NotFound, match="'document_library/9'"):
        list(selected(stored.members, ("document_library/1", "document_library/9")))


def test_a_name_that_is_not_text_is_not_taken_for_the_text_it_is_shown_as(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9")).touch()
    stored = Stored(folder)
    with pytest.raises(NotFound, match="caf"):
        stored.stage(("caf\\xe9",), tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("way", ["beside", "inside"])
def test_a_selection_replaces_what_it_names_and_nothing_else(
    site: Path, stored: Stored, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "mount_points", lambda: {site} if way == "inside" else set())
    library = site / "document_library"
    (library / "1" / "c-small").write_text("changed")
    (library / "1" / "added").write_text("since")
    (library / "2" / "added").write_text("since")
    (library / "3" / "c-small").unlink()
    paths = ("document_library/1", "document_library/3/c-small")
    with stored.stage(paths, site) as staged:
        staged.swap_selection(paths)
    assert (library / "1" / "c-small").read_text() == "after 1"
    assert not (library / "1" / "added").exists()
    assert (library / "2" / "added").read_text() == "since"
    assert (library / "3" / "c-small").read_text() == "after 3"
    assert not list(site.parent.rglob(".lcp-*"))


def test_a_selection_that_would_leave_the_folder_through_a_link_is_refused(
    site: Path, stored: Stored, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    library = site / "document_library"
    (library / "1").rename(tmp_path / "moved")
    (library / "1").symlink_to(outside)
    paths = ("document_library/1/a-small",)
    with stored.stage(paths, site) as staged, pytest.raises(VolumeError, match="is a link"):
        staged.swap_selection(paths)
    assert list(outside.iterdir()) == []


def test_folders_made_above_a_selected_path_are_as_the_one_they_are_made_in(
    site: Path, stored: Stored
) -> None:
    library = site / "document_library"
    library.rename(site.parent / "moved")
    site.chmod(0o2770)
    paths = ("document_library/1/a-small",)
    with stored.stage(paths, site) as staged:
        staged.swap_selection(paths)
    assert (library / "1" / "a-small").read_text() == "small 1"
    for folder in (library, library / "1"):
        status = folder.stat()
        assert status.st_mode & 0o7777 == 0o2770
        assert (status.st_uid, status.st_gid) == (site.stat().st_uid, site.stat().st_gid)


def test_a_selected_path_below_what_is_a_file_now_is_refused(site: Path, stored: Stored) -> None:
    library = site / "document_library"
    (library / "1").rename(site.parent / "moved")
    (library / "1").write_text("a file")
    paths = ("document_library/0", "document_library/1/a-small")
    (library / "0" / "added").touch()
    with stored.stage(paths, site) as staged, pytest.raises(VolumeError, match="is a file"):
        staged.swap_selection(paths)
    assert (library / "0" / "added").exists()
    assert (library / "1").read_text() == "a file"


def test_a_swap_of_a_selection_that_fails_at_any_rename_is_undone_whatever_the_portal_makes(
    site: Path, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = site / "document_library"
    (library / "1" / "c-small").write_text("changed")
    paths = ("document_library/0/a-small", "document_library/1")
    before = contents(site)
    real = os.rename
    for failed_at in range(1, 5):
        left = failed_at

        def rename(source: Any, target: Any) -> None:
            nonlocal left
            left -= 1
            if left == -1:
                (library / "1").mkdir(exist_ok=True)
                raise OSError(errno.EBUSY, "Device or resource busy")
            real(source, target)

        with stored.stage(paths, site) as staged:
            monkeypatch.setattr(os, "rename", rename)
            with pytest.raises(VolumeError, match="resource busy"):
                staged.swap_selection(paths)
            assert staged.is_as_it_was
            monkeypatch.setattr(os, "rename", real)
        assert contents(site) == before


@pytest.mark.parametrize("way", ["beside", "inside"])
@pytest.mark.parametrize("is_selection", [True, False])
def test_the_previous_content_is_kept_when_asked_and_never_packed_or_restored_over(
    site: Path, stored: Stored, way: str, is_selection: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "mount_points", lambda: {site} if way == "inside" else set())
    changed = site / "document_library" / "1" / "c-small"
    changed.write_text("changed")
    paths = ("document_library/1",) if is_selection else ("document_library",)
    with stored.stage(paths, site) as staged:
        kept = staged.keep_previous("20261123001500")
        staged.swap_selection(paths) if is_selection else staged.swap()
    assert changed.read_text() == "after 1"
    assert (kept / "document_library" / "1" / "c-small").read_text() == "changed"
    assert names_in(Stored(site)) == names_in(stored)
    with stored.stage(("document_library",), site) as staged:
        staged.swap()
    assert (kept / "document_library" / "1" / "c-small").read_text() == "changed"
    with stored.stage(paths, site) as staged, pytest.raises(VolumeError, match="exists"):
        staged.keep_previous("20261123001500")


def test_a_killed_restore_into_a_mounted_folder_is_not_in_the_way_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "mount_points", lambda: {tmp_path})
    (staging.stage(tmp_path).new / "half").touch()
    staging.check_empty(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_restore_into_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    staging.check_empty(tmp_path / "not there")
    (tmp_path / "empty").mkdir()
    staging.check_empty(tmp_path / "empty")
    (tmp_path / "empty" / "file").touch()
    for path in (tmp_path / "empty", tmp_path / "empty" / "file"):
        with pytest.raises(InvalidRequest, match="not an empty folder"):
            staging.check_empty(path)


def test_a_file_that_is_left_out_stays_where_it_has_another_name(tmp_path: Path) -> None:
    """Uploads have such: without the file, the name would have nothing to stand for."""
    top = "document_library"
    tar = Tar().add(top, kind=tarfile.DIRTYPE)
    for number in ("1", "2", "3"):
        tar.add(f"{top}/made/{number}", number.encode())
    tar.add(f"{top}/again/2", kind=tarfile.LNKTYPE, target=f"{top}/made/2")
    tar.add(f"{top}/made/4", kind=tarfile.LNKTYPE, target=f"{top}/made/3")
    store = Store()
    store.take(tar.raw())

    def read(wanted: WantedMembers) -> Generator[tuple[Segment, bytes]]:
        yield from (it for it in store.segments() if it[0] in wanted)

    wanted = WantedMembers(
        without(store.members, PathPatterns((f"/{top}/made/",)), read, check=lambda: None)
    )
    with staging.stage(tmp_path / "site") as staged:
        unpack_wanted(
            wanted,
            read(wanted),
            staged,
            owner=None,
            threads=1,
            progress=lambda _: None,
            check=lambda: None,
        )
        staged.swap()
    found = contents(tmp_path / "site")
    assert found[f"{top}/again/2"] == b"2"
    assert f"{top}/made/1" not in found
    assert f"{top}/made/4" not in found
