"""A local copy is what was written, and is gone when it is not needed any more."""

import errno
import hashlib
import os
import tempfile
from pathlib import Path

import pytest

from lcp_backup.archive import local_copy
from lcp_backup.archive.local_copy import LocalCopy, read_again
from lcp_backup.errors import ArchiveDamaged, StorageError, VolumeError
from tests.support.buffers import Buffer

CONTENT = os.urandom(10_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_it_can_be_read_anywhere_and_its_source_is_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local_copy, "_PIECE", 3000)
    source = Buffer(CONTENT)
    with LocalCopy(source, sha256=SHA256, name="the index") as copy:
        assert copy.size == len(CONTENT)
        for offset, length in ((0, 10_000), (9_999, 1), (2_500, 4_000), (0, 1)):
            assert copy.read(offset, length) == CONTENT[offset : offset + length]
    assert source.reads == [(0, 3000), (3000, 3000), (6000, 3000), (9000, 1000)]


def test_a_large_object_is_read_where_it_lies_once_it_was_checked(
    monkeypatch: pytest.MonkeyPatch, disk: Path
) -> None:
    monkeypatch.setattr(local_copy, "LARGEST", len(CONTENT) - 1)
    monkeypatch.setattr(local_copy, "_PIECE", 3000)
    source = Buffer(CONTENT)
    with read_again(source, sha256=SHA256, name="the index of x") as found:
        assert found is source
        assert list(disk.iterdir()) == []
    assert source.reads == [(0, 3000), (3000, 3000), (6000, 3000), (9000, 1000)]
    damaged = Buffer(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    with (
        pytest.raises(ArchiveDamaged, match="the index of x is not what was written"),
        read_again(damaged, sha256=SHA256, name="the index of x"),
    ):
        pass


def test_a_small_object_is_fetched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_copy, "LARGEST", len(CONTENT))
    source = Buffer(CONTENT)
    with read_again(source, sha256=SHA256, name="x") as found:
        assert [found.read(0, 5) for _ in range(3)] == [CONTENT[:5]] * 3
    assert len(source.reads) == 1


def test_an_empty_object_has_an_empty_copy() -> None:
    with LocalCopy(Buffer(b""), sha256=hashlib.sha256().hexdigest(), name="x") as copy:
        assert copy.size == 0


@pytest.mark.parametrize("changed", [CONTENT[:-1], CONTENT + b"x", b"\0" + CONTENT[1:], b""])
def test_what_is_not_what_was_written_is_refused_by_its_name(changed: bytes, disk: Path) -> None:
    descriptors = open_descriptors()
    with pytest.raises(ArchiveDamaged, match=r"the index of x is not what was written"):
        LocalCopy(Buffer(changed), sha256=SHA256, name="the index of x")
    assert open_descriptors() == descriptors
    assert list(disk.iterdir()) == []


def test_nothing_is_left_when_it_is_closed_or_cannot_be_fetched(disk: Path) -> None:
    class Broken(Buffer):
        def read(self, offset: int, length: int) -> bytes:
            raise StorageError(f"no bytes at {offset}, {length}")

    descriptors = open_descriptors()
    with LocalCopy(Buffer(CONTENT), sha256=SHA256, name="x"):
        assert open_descriptors() == descriptors + 1
    with pytest.raises(StorageError):
        LocalCopy(Broken(CONTENT), sha256=SHA256, name="x")
    assert open_descriptors() == descriptors
    assert list(disk.iterdir()) == []


def test_a_full_disk_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch, disk: Path) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    descriptors = open_descriptors()
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(VolumeError) as raised:
        LocalCopy(Buffer(CONTENT), sha256=SHA256, name="the index of x")
    for said in ("the index of x, of 10000 bytes", str(disk), "No space left", "ephemeral storage"):
        assert said in raised.value.public
    assert open_descriptors() == descriptors
