"""An object to be read several times: fetched once, or in its place where it is large."""

import hashlib
import os
from contextlib import AbstractContextManager, nullcontext
from tempfile import TemporaryFile, gettempdir
from types import TracebackType
from typing import Final, Self

from lcp_backup.archive.streams import RangeSource
from lcp_backup.errors import ArchiveDamaged, VolumeError

LARGEST: Final = 256 << 20
"""Bytes of the largest object of which a copy is made: half of what a function has room for."""
_PIECE: Final = 4 << 20


def read_again(
    source: RangeSource, *, sha256: str, name: str
) -> AbstractContextManager[RangeSource]:
    """What is read instead of `source`, for as long as the block lasts: it was checked.

    A copy, or `source` itself where that is large. Arguments and errors are those of LocalCopy.
    """
    if source.size <= LARGEST:
        return LocalCopy(source, sha256=sha256, name=name)
    digest = hashlib.sha256()
    for offset in range(0, source.size, _PIECE):
        digest.update(source.read(offset, min(_PIECE, source.size - offset)))
    _check(digest.hexdigest(), sha256, name)
    return nullcontext(source)


class LocalCopy:
    """A RangeSource over a copy on this machine's disk, for as long as the `with` block lasts.

    Args:
        source: an index; of a million files it has about 50 MB.
        sha256: of the whole object, hexadecimal.
        name: what to call it in an error.

    Raises ArchiveDamaged when the copy is not what was written; VolumeError when it finds no room;
    StorageError.
    """

    def __init__(self, source: RangeSource, *, sha256: str, name: str) -> None:
        self.size = source.size
        try:
            self._file = TemporaryFile(prefix="lcp-backup-", buffering=0)  # noqa: SIM115 -- see `__exit__`
        except OSError as error:
            raise self._no_room(name, error) from error
        digest = hashlib.sha256()
        try:
            for offset in range(0, self.size, _PIECE):
                piece = source.read(offset, min(_PIECE, self.size - offset))
                digest.update(piece)
                self._write(piece, name)
            _check(digest.hexdigest(), sha256, name)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def _write(self, piece: bytes, name: str) -> None:
        rest = memoryview(piece)
        try:
            while rest:
                rest = rest[os.write(self._file.fileno(), rest) :]
        except OSError as error:
            raise self._no_room(name, error) from error

    def _no_room(self, name: str, error: OSError) -> VolumeError:
        return VolumeError(
            f"{name}, of {self.size} bytes, cannot be kept in the temporary folder {gettempdir()!r}"
            f" ({error.strerror}): free some room there, or give the function more of it (Lambda's"
            " ephemeral storage)"
        )

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`."""
        return os.pread(self._file.fileno(), length, offset)


def _check(found: str, sha256: str, name: str) -> None:
    if found != sha256:
        raise ArchiveDamaged(f"{name} is not what was written: its SHA-256 differs")
