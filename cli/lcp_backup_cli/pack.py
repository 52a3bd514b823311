"""A document library as the tar file that an upload takes."""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

from lcp_backup_cli.errors import CliError, Exit
from lcp_backup_cli.gzip_file import GzipFile, not_yet

_LIBRARY = "document_library"


def library_of(folder: Path) -> Path:
    """The document library in a data folder, or the folder itself; raises CliError."""
    for found in (folder / _LIBRARY, folder):
        if found.name == _LIBRARY and found.is_dir():
            return found
    wrong = f"there is no folder {_LIBRARY} in {folder}"
    if not folder.is_dir():
        exists = folder.exists()
        wrong = f"{folder} is a file, and no folder" if exists else f"there is no folder {folder}"
    raise CliError(
        wrong,
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
    left out: no backup holds them. Raises CliError for a target that exists, cannot be written or
    lies in the library, OSError for a file that cannot be read.
    """
    if target.resolve().is_relative_to(library.resolve()):
        raise CliError(
            f"{target} would lie in the folder that is packed, and be packed itself",
            "Choose an --output outside of it.",
            exit_code=Exit.USAGE,
        )
    with not_yet(target) as handle:
        packed = GzipFile(handle, target)
        # (A stream that is written asks for nothing else than `write`.)
        whole = cast("IO[bytes]", packed)
        with tarfile.open(fileobj=whole, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            left_out = _add_all(library, archive, read)
        packed.finish()
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
