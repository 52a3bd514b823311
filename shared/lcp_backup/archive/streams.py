"""What an archive is written into and read from; S3 objects, files and buffers all fit."""

from typing import Protocol


class ByteSink(Protocol):
    """Takes an object's bytes from front to back; nothing is visible before `complete`."""

    def write(self, data: bytes) -> None:
        """Appends; may block while earlier bytes travel."""

    def complete(self, head: bytes = b"") -> None:
        """Makes the object visible, with `head` put in front of all that was written."""

    def abort(self) -> None:
        """Leaves nothing behind; may be called more than once, and after a failure."""


class RangeSource(Protocol):
    """An object's bytes, readable anywhere and by several threads at once."""

    @property
    def size(self) -> int:
        """Bytes in the object."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; raises StorageError when they cannot be had."""
