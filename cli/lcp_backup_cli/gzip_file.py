"""A gzip file that is written here, and has its name only once it is whole."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lcp_backup_cli.errors import CliError, Exit

_LEVEL = 3
"""Documents hardly get smaller: what counts is the time."""


@contextmanager
def not_yet(target: Path) -> Iterator[int]:
    """A file open for writing, which becomes `target` if the block ends well, else nothing.

    Raises CliError for a target that exists or cannot be written.
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
            yield handle
        finally:
            os.close(handle)
        Path(name).rename(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class GzipFile:
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
