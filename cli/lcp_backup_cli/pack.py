"""A document library as the tar file that an upload takes."""

from __future__ import annotations

import os
import stat
import tarfile
import tempfile
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
    left out: no backup holds them. Raises CliError for a target that exists, OSError for a full
    disk.
    """
    if target.exists():
        raise CliError(
            f"{target} exists", "Delete it, or choose another --output.", exit_code=Exit.USAGE
        )
    left_out = 0
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            with tarfile.open(
                fileobj=file, mode="w:gz", compresslevel=_LEVEL, format=tarfile.PAX_FORMAT
            ) as archive:
                for path in _below(library):
                    arcname = str(path.relative_to(library.parent))
                    member = archive.gettarinfo(str(path), arcname)
                    if member is None or not (
                        member.isreg() or member.isdir() or member.issym() or member.islnk()
                    ):
                        left_out += 1
                    elif member.isreg():
                        with path.open("rb") as opened:
                            archive.addfile(member, cast("IO[bytes]", _Counted(opened, read)))
                    else:
                        archive.addfile(member)
            file.flush()
            os.fsync(file.fileno())
        Path(name).rename(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return left_out


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
