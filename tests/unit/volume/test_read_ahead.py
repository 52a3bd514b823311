"""Small files are in memory before their turn, within bounds; what is given is what was hashed."""

import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lcp_backup.volume import pace, read_ahead
from lcp_backup.volume.entry import Entry
from lcp_backup.volume.notices import Notices
from lcp_backup.volume.scan import scan
from tests.support.trees import TEXT, odd_tree


@pytest.fixture(params=[10**9, 0], ids=["in turn", "read ahead"], autouse=True)
def pace_in_a_row(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the file system counts as slow: never, or from the first call."""
    monkeypatch.setattr(pace, "IN_A_ROW", request.param)


ahead = pytest.mark.parametrize("pace_in_a_row", [0], indirect=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def read(folder: Path, notices: Notices) -> Iterator[tuple[str, bytes | None, str | None]]:
    """Each name, its content, and its SHA-256."""
    with (
        closing(scan(folder, notices, threads=4)) as entries,
        closing(read_ahead.read_ahead(entries, notices, threads=4)) as opened,
    ):
        for entry, file in opened:
            if file is None:
                yield entry.name, None, None
                continue
            content = bytearray(file.status.st_size)
            for start in range(0, len(content), 10_000):
                file.fill(memoryview(content)[start : start + 10_000])
            yield entry.name, bytes(content), file.finish(notices)


def test_every_file_comes_in_order_with_its_content_and_its_sha256(folder: Path) -> None:
    odd_tree(folder)
    for number in range(100):
        (folder / f"many{number:03}").write_bytes(os.urandom(number * 300))
    notices = Notices()
    found = list(read(folder, notices))
    with closing(scan(folder, Notices())) as entries:
        assert [name for name, *_ in found] == [entry.name for entry in entries]
    for name, content, sha256 in found:
        if content is not None:
            assert content == (folder / name).read_bytes()
            assert sha256 == hashlib.sha256(content).hexdigest()
    assert notices.listed == ()


def test_a_file_that_may_not_be_what_was_given_has_no_sha256(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "bad").write_bytes(TEXT)
    (folder / "changed").write_bytes(TEXT * 2)
    real = os.readv

    def readv(descriptor: int, buffers: Any) -> int:
        size = os.fstat(descriptor).st_size
        if size == len(TEXT):
            raise OSError(errno.EIO, "Input/output error")
        os.utime(folder / "changed", ns=(1, 1))
        return real(descriptor, buffers)

    monkeypatch.setattr(os, "readv", readv)
    notices = Notices()
    assert list(read(folder, notices)) == [
        ("bad", bytes(len(TEXT)), None),
        ("changed", TEXT * 2, None),
    ]
    assert [notice.code for notice in notices.listed] == ["file-unreadable", "file-changed"]


@ahead
def test_no_more_bytes_wait_than_are_allowed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(60):
        (folder / f"{number:02}").write_bytes(bytes(1000))
    monkeypatch.setattr(read_ahead, "SMALL", 1000)
    monkeypatch.setattr(read_ahead, "_BATCH_SIZE", 2000)
    monkeypatch.setattr(read_ahead, "MOST_IN_FLIGHT", 9000)
    given = asked = most = 0

    def counted(entries: Iterator[Entry]) -> Iterator[Entry]:
        nonlocal asked
        for entry in entries:
            asked += 1
            yield entry

    with (
        closing(scan(folder, Notices())) as entries,
        closing(read_ahead.read_ahead(counted(entries), Notices(), threads=4)) as opened,
    ):
        for _ in opened:
            most = max(most, asked - given)
            given += 1
    assert given == 60
    assert 2 < most <= 9


@ahead
def test_a_file_that_grew_since_the_scan_does_not_wait_in_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a").write_bytes(TEXT)
    loaded: list[str] = []
    real = read_ahead.OpenFile.load

    def load(file: read_ahead.OpenFile) -> None:
        loaded.append(file.name)
        real(file)

    monkeypatch.setattr(read_ahead.OpenFile, "load", load)

    with closing(scan(folder, Notices())) as entries:
        everything = list(entries)
        (folder / "a").write_bytes(bytes(100 << 20))
        with closing(read_ahead.read_ahead(everything, Notices(), threads=2)) as opened:
            for _, file in opened:
                assert file is not None
                assert file.status.st_size == 100 << 20
    assert loaded == []


@ahead
def test_small_files_are_read_by_other_threads_and_large_ones_when_it_is_their_turn(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        (folder / f"{number}").write_bytes(TEXT)
    (folder / "large").write_bytes(bytes(read_ahead.SMALL + 1))
    readers: dict[int, set[str]] = {}
    real = os.readv

    def readv(descriptor: int, buffers: Any) -> int:
        size = os.fstat(descriptor).st_size
        readers.setdefault(size, set()).add(threading.current_thread().name)
        return real(descriptor, buffers)

    monkeypatch.setattr(os, "readv", readv)
    assert len(list(read(folder, Notices()))) == 21
    assert threading.current_thread().name not in readers[len(TEXT)]
    assert readers[read_ahead.SMALL + 1] == {threading.current_thread().name}
