"""A foreign volume is rewritten as our own, and refused where a restore would refuse it."""

import gzip
import subprocess
import tarfile
from functools import partial
from pathlib import Path

import pytest

from lcp_backup.archive.index import read_index
from lcp_backup.archive.read import read_segments
from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.errors import ArchiveError, ArchiveRefused
from lcp_backup.intake import volume
from lcp_backup.intake.volume import take_volume
from lcp_backup.model import Notice, Segment, VolumeFacts
from lcp_backup.volume.unpack import unpack
from tests.buffers import Buffer
from tests.trees import odd_tree, snapshot
from tests.unit.test_volume_unpack import Tar

gzipped = partial(gzip.compress, mtime=0)
"""Equal for equal bytes: tests are named by what they are given, also in another process."""

LIBRARY = "document_library"


class Store:
    """Where the archive goes, and what it is read back from."""

    def __init__(self) -> None:
        self.archive = Buffer()
        self.index = Buffer()
        self.notices: tuple[Notice, ...] = ()

    def take(self, data: bytes, *, limit: int = 1 << 30) -> VolumeFacts:
        # Odd, so that headers and files lie over the chunks' borders.
        chunks = (data[at : at + 70_001] for at in range(0, len(data), 70_001))
        with ArchiveWriter(
            self.archive, self.index, name="volume.tgz", index_name="volume.index", threads=1
        ) as writer:
            taken = take_volume(
                chunks, writer, limit=limit, progress=lambda _: None, check=lambda: None
            )
            writer.finish()
        self.notices = taken.notices
        return taken.facts

    def segments(self) -> list[tuple[Segment, bytes]]:
        index = read_index(self.index, archive_name="volume.tgz")
        return list(read_segments(self.archive, index, name="volume.tgz", threads=1))

    def restore(self, folder: Path) -> None:
        chunks = (raw for _, raw in self.segments())
        with unpack(
            chunks, folder, owner=None, progress=lambda _: None, check=lambda: None
        ) as staged:
            staged.swap()

    def names(self) -> list[str]:
        return [name for segment, _ in self.segments() for name in segment.members]


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
    first, *others = [segment for segment, _ in store.segments()]
    assert first.members == (f"{LIBRARY}/large",)
    assert others[0].continues is not None
    assert others[0].continues.name == f"{LIBRARY}/large"
    assert others[-1].members == (f"{LIBRARY}/small",)


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
    monkeypatch.setattr(volume, "MOST_NAMES", 3)
    Store().take(Tar().add(f"{LIBRARY}/a").add(f"{LIBRARY}/b").raw())
    four = Tar().add(f"{LIBRARY}/a").add(f"{LIBRARY}/b").add(f"{LIBRARY}/c")
    with pytest.raises(ArchiveRefused, match="more than 3 files and folders"):
        Store().take(four.raw())


def test_a_bomb_is_refused() -> None:
    bomb = gzipped(Tar().add(f"{LIBRARY}/zeros", bytes(5_000_000)).raw())
    with pytest.raises(ArchiveRefused, match="inflates to more than 1000000 bytes"):
        Store().take(bomb, limit=1_000_000)
