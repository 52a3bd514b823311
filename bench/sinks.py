"""Ends of a pipe: where a benchmark's archive goes, and comes from."""

import os
import shutil
from pathlib import Path
from typing import BinaryIO

from lcp_backup.archive.streams import RangeSource


class DiscardingSink:
    """A ByteSink that only counts."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)

    def append(self, _source: RangeSource, _offset: int, length: int) -> None:
        self.size += length

    def complete(self, head: bytes = b"") -> None:
        self.size += len(head)

    def abort(self) -> None:
        self.size = 0


class FileSink:
    """A ByteSink that writes a file, which is on the disk once it is complete.

    The beginning, when it is held back, costs a copy, as it does in S3.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rest = path.with_name(f"{path.name}.rest")
        self._file = self._rest.open("wb")

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def append(self, source: RangeSource, offset: int, length: int) -> None:
        self.write(source.read(offset, length))

    def complete(self, head: bytes = b"") -> None:
        if head:
            self._file.close()
            with self._path.open("wb") as whole, self._rest.open("rb") as rest:
                whole.write(head)
                shutil.copyfileobj(rest, whole)
                _settle(whole)
            self._rest.unlink()
        else:
            _settle(self._file)
            self._file.close()
            self._rest.rename(self._path)

    def abort(self) -> None:
        self._file.close()


def _settle(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


class FileSource:
    """A RangeSource over a file, that counts what is read of it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.size = path.stat().st_size
        self.bytes_read = 0

    def read(self, offset: int, length: int) -> bytes:
        self.bytes_read += length
        return os.pread(self._file.fileno(), length, offset)
