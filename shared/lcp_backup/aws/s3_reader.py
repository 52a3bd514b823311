"""S3: one object, read by ranges."""

from collections.abc import Callable

from lcp_backup.aws.s3_bucket import Bucket


class ObjectReader:
    """A RangeSource over one object; it is the same object for as long as the reader is used.

    Args:
        read_range: gives as many bytes of that object, at least 1, from an offset.
        size: bytes in the object.
    """

    def __init__(
        self,
        read_range: Callable[[int, int], bytes],
        size: int,
        *,
        bucket: Bucket,
        key: str,
        etag: str,
    ) -> None:
        self._read_range = read_range
        self._size = size
        self.bucket = bucket
        """The bucket that the object lies in; with `key` and `etag`, what a copy of it names."""
        self.key = key
        """The object's key."""
        self.etag = etag
        """S3's tag of the object."""

    @property
    def size(self) -> int:
        """Bytes in the object."""
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; raises StorageError when they cannot be had."""
        if length == 0:
            return b""
        return self._read_range(offset, length)
