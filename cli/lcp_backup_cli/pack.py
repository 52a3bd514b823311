"""A document library as the tar file that an upload takes."""

from __future__ import annotations

import os
import stat
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

from lcp_backup_cli.errors import CliError, Exit

_LIBRARY = "document_library"
_LEVEL = 3
"""Documents hardly get smaller: what counts is the time."""


def library_of(folder: Path) -> Path:
    """The document library in a data folder, or the folder itself; raises CliError."""
    for found in (folder / _LIBRARY, folder):
        if found.name == _LIBRARY and found.is_dir():
            return found
    raise CliError(
        f"there is no folder {_LIBRARY} in {folder}",
        f"Give Liferay's data folder, the one that holds {_LIBRARY}.",
        exit_code=Exit.USAGE,
    )


def size_of(library: Path) -> int:
    """The bytes of all files."""
    return sum(
        path.lstat().st_size for path in _below(library) if stat.S_ISREG(path.lstat().st_mode)
    )


def pack(library: Path, target: Path, read: Callable[[int], None]) -> int:
    """Writes the library to `target`, which has its name only once it is whole.

    `read` is told the bytes as they are read. Answers how many pipes, sockets and devices were
    left out: no backup holds them. Raises CliError for a target that exists or cannot be written,
    OSError for a file that cannot be read.
    """
    if target.exists():
        raise CliError(
            f"{target} exists", "Delete it, or choose another --output.", exit_code=Exit.USAGE
        )
    try:
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name}-", suffix=".partial"
        )
    except OSError as error:
        raise _unwritable(target, error) from None
    try:
        try:
            packed = _Gzip(handle, target)
            # (A stream that is written asks for nothing else than `write`.)
            whole = cast("IO[bytes]", packed)
            with tarfile.open(fileobj=whole, mode="w|", format=tarfile.PAX_FORMAT) as archive:
                left_out = _add_all(library, archive, read)
            packed.finish()
        finally:
            os.close(handle)
        Path(name).rename(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return left_out


def _add_all(library: Path, archive: tarfile.TarFile, read: Callable[[int], None]) -> int:
    left_out = 0
    for path in _below(library):
        member = archive.gettarinfo(str(path), str(path.relative_to(library.parent)))
        if member is None or not (
            member.isreg() or member.isdir() or member.issym() or member.islnk()
        ):
            left_out += 1
        elif member.isreg():
            with path.open("rb") as opened:
                archive.addfile(member, cast("IO[bytes]", _Counted(opened, read)))
        else:
            archive.addfile(member)
    return left_out


class _Gzip:
    """Writes a gzip file by an open handle; unlike `gzip`, it tells a full disk once and is done.

    Raises CliError, which names the target.
    """

    def __init__(self, handle: int, target: Path) -> None:
        self._handle = handle
        self._target = target
        self._deflate = zlib.compressobj(_LEVEL, wbits=31)
        self._failed = False

    def write(self, data: bytes) -> int:
        """As a file does."""
        self._put(self._deflate.compress(data))
        return len(data)

    def finish(self) -> None:
        """Writes what is left, and waits until all of it is on the disk."""
        self._put(self._deflate.flush())
        try:
            os.fsync(self._handle)
        except OSError as error:
            raise _unwritable(self._target, error) from None

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        # (tarfile writes its end even after an error.)
        while rest and not self._failed:
            try:
                rest = rest[os.write(self._handle, rest) :]
            except OSError as error:
                self._failed = True
                raise _unwritable(self._target, error) from None


def _unwritable(target: Path, error: OSError) -> CliError:
    return CliError(
        f"{target} cannot be written: {error.strerror}",
        "Make room, or choose another --output.",
        exit_code=Exit.FAILED,
    )


def _below(folder: Path) -> Iterator[Path]:
    """The folder and all in it, in the order of names; links are not followed."""
    yield folder
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            yield from _below(path)
        else:
            yield path


class _Counted:
    """A file that tells how much of it was read."""

    def __init__(self, file: IO[bytes], read: Callable[[int], None]) -> None:
        self._file = file
        self._told = read

    def read(self, size: int) -> bytes:
        """As a file does."""
        chunk = self._file.read(size)
        self._told(len(chunk))
        return chunk
