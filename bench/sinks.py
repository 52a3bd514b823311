"""Ends of a pipe: where a benchmark's archive goes."""

import os
from pathlib import Path
from typing import BinaryIO


class DiscardingSink:
    """A ByteSink that only counts."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)

    def complete(self, head: bytes = b"") -> None:
        self.size += len(head)

    def abort(self) -> None:
        self.size = 0


class FileSink:
    """A ByteSink into a file; without a head, which a volume archive does not have."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb")

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def complete(self, head: bytes = b"") -> None:
        assert not head
        self._file.close()

    def abort(self) -> None:
        self._file.close()


class FileSource:
    """A RangeSource over a file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")

    @property
    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, offset)
