"""What an archive is written into and read from; S3 objects, files and buffers all fit."""

from typing import Protocol


class RangeSource(Protocol):
    """An object's bytes, readable anywhere and by several threads at once."""

    @property
    def size(self) -> int:
        """Bytes in the object."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; raises StorageError when they cannot be had."""


class ByteSink(Protocol):
    """Takes an object's bytes from front to back; nothing is visible before `complete`."""

    def write(self, data: bytes) -> None:
        """Appends; may block while earlier bytes travel."""

    def append(self, source: RangeSource, offset: int, length: int) -> None:
        """Appends bytes that lie in another object; without fetching them where the storage can.

        May block like `write`. Offset and length are in bytes.
        """

    def complete(self, head: bytes = b"") -> None:
        """Makes the object visible, with `head` put in front of all that was written.

        Raises ValueError for a head when the first bytes came by `append`.
        """

    def abort(self) -> None:
        """Leaves nothing behind; may be called more than once, and after a failure."""


class Nowhere:
    """A ByteSink that keeps nothing: for the index of an archive that nobody reads by segments."""

    def write(self, data: bytes) -> None: ...

    def append(self, source: RangeSource, offset: int, length: int) -> None: ...

    def complete(self, head: bytes = b"") -> None: ...

    def abort(self) -> None: ...
