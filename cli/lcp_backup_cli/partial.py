"""A file that is on its way: what of it is on the disk, and that it is not taken for a whole one.

Two files lie beside the place where the whole one will be: `NAME.partial` with the bytes, and
`NAME.partial.log` with a line for each part that was written. A line has the part's CRC-32, so
that after a kill, or a power cut, what is on the disk is believed only where it is what was sent.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import threading
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from lcp_backup_cli.errors import CliError, Exit

_FORMAT = 1


class Partial:
    """A file of `size` bytes that is written in parts, in any order, by several threads.

    Args:
        target: where it will be, once it is whole.
        identity: what tells these bytes from others: when it differs from what is on the disk,
            everything begins anew.
        part_size: bytes; the last part may be shorter.

    Raises CliError where the disk has no room, or another process writes the same file.
    """

    def __init__(self, target: Path, size: int, identity: dict[str, Any], part_size: int) -> None:
        self.target = target
        self.size = size
        self.part_size = part_size
        self.path = target.with_name(f"{target.name}.partial")
        self._log_path = target.with_name(f"{target.name}.partial.log")
        self._head = {"format": _FORMAT, "size": size, "part_size": part_size, **identity}
        self._lock = threading.Lock()
        self._hash = hashlib.sha256()
        self._hashed = 0
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise CliError(
                f"another process is downloading {target.name} to the same place",
                "Wait for it, or choose another --dest.",
                exit_code=Exit.BUSY,
                code="busy",
            ) from None
        self.done = self._found()
        """The numbers of the parts that are there."""
        missing = self.size - sum(self._length(number) for number in self.done)
        free = shutil.disk_usage(target.parent).free
        if missing > free:
            self.close()
            raise _no_room(target, f"{missing:,} bytes are needed, {free:,} are free")
        try:
            os.truncate(self._file, size)
        except OSError as error:
            self.close()
            raise _no_room(target, str(error.strerror)) from None
        self._log = self._log_path.open("a")

    @property
    def missing(self) -> list[int]:
        """The numbers of the parts that are to be fetched."""
        count = -(-self.size // self.part_size)
        return [number for number in range(count) if number not in self.done]

    @property
    def done_bytes(self) -> int:
        """How much is there."""
        return sum(self._length(number) for number in self.done)

    def span(self, number: int) -> tuple[int, int]:
        """First byte, and the one behind the last, of a part."""
        first = number * self.part_size
        return first, first + self._length(number)

    def write(self, offset: int, chunk: bytes) -> None:
        """Puts bytes into their place; raises CliError when the disk is full."""
        try:
            while chunk:
                written = os.pwrite(self._file, chunk, offset)
                offset, chunk = offset + written, chunk[written:]
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
                raise _no_room(self.target, str(error.strerror)) from None
            raise

    def finish(self, number: int, crc: int) -> None:
        """A part is there; from now on it is not fetched again."""
        with self._lock:
            try:
                self._log.write(f"{number} {crc}\n")
                self._log.flush()
            except OSError as error:
                raise _no_room(self.target, str(error.strerror)) from None
            self.done.add(number)

    def hash_what_is_there(self) -> None:
        """Reads on, as far as all parts from the beginning are there: less is left for the end."""
        while self._hashed < self.size and self._hashed // self.part_size in self.done:
            chunk = os.pread(self._file, self.part_size, self._hashed)
            self._hash.update(chunk)
            self._hashed += len(chunk)

    def sha256(self) -> str:
        """Of the whole, as it was read back from the disk; only when no part is missing."""
        self.hash_what_is_there()
        assert self._hashed == self.size
        return self._hash.hexdigest()

    def complete(self) -> None:
        """Gives it its final name, once all of it is safely on the disk."""
        os.fsync(self._file)
        self.path.rename(self.target)
        folder = os.open(self.target.parent, os.O_RDONLY)
        with suppress(OSError):  # some file systems cannot
            os.fsync(folder)
        os.close(folder)
        self._log_path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Takes away what is there: it is not what it should be."""
        self._log_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leaves what is there for another time."""
        if hasattr(self, "_log"):
            self._log.close()
        os.close(self._file)

    def _length(self, number: int) -> int:
        return min(self.part_size, self.size - number * self.part_size)

    def _found(self) -> set[int]:
        """The parts that are on the disk, if they belong to these very bytes."""
        lines = self._log_path.read_text().splitlines() if self._log_path.exists() else []
        if not lines or lines[0] != json.dumps(self._head):
            os.truncate(self._file, 0)
            self._log_path.write_text(json.dumps(self._head) + "\n")
            return set()
        done = set()
        for line in lines[1:]:
            number, _, crc = line.partition(" ")
            # The last line may have been cut by a kill.
            if number.isdigit() and crc.isdigit() and self._crc(int(number)) == int(crc):
                done.add(int(number))
        with self._log_path.open("a") as log:
            log.write("\n")
        return done

    def _crc(self, number: int) -> int:
        first, end = self.span(number)
        return zlib.crc32(os.pread(self._file, max(0, end - first), first))


def _no_room(target: Path, why: str) -> CliError:
    return CliError(
        f"there is no room for {target.name} in {target.parent}: {why}",
        "Make room, or choose another --dest, and run the same command again: it goes on.",
        code="no-room",
    )
