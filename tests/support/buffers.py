"""Objects in memory: a sink and a source for tests that need neither files nor S3."""

from lcp_backup.archive.streams import RangeSource
from lcp_backup.errors import StorageError


class Buffer:
    """A ByteSink that becomes a RangeSource once it is complete; breaks where it is told to."""

    def __init__(
        self, data: bytes | None = None, *, fail_at: int | None = None, fail_complete: bool = False
    ) -> None:
        self._written: list[bytes] = []
        self._data = data
        self._fail_at = fail_at
        self._fail_complete = fail_complete
        self.aborted = False
        self.written = 0
        self.writes = 0
        self.reads: list[tuple[int, int]] = []

    @property
    def visible(self) -> bool:
        """Whether a reader would find the object."""
        return self._data is not None

    @property
    def data(self) -> bytes:
        assert self._data is not None
        return self._data

    def write(self, data: bytes) -> None:
        self.written += len(data)
        self.writes += 1
        if self._fail_at is not None and self.written > self._fail_at:
            raise StorageError("the storage refused a part")
        self._written.append(data)

    def append(self, source: RangeSource, offset: int, length: int) -> None:
        self.write(source.read(offset, length))

    def complete(self, head: bytes = b"") -> None:
        if self._fail_complete:
            raise StorageError("the storage refused to complete")
        self._data = head + b"".join(self._written)

    def abort(self) -> None:
        self.aborted = True

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        assert length > 0
        assert offset + length <= self.size
        return self.data[offset : offset + length]
