"""A bucket that is a folder, for rivals that have none: nobody's time goes into HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from bench.sinks import FileSink, FileSource
from lcp_backup.aws.s3 import ObjectStore, StoredObject
from lcp_backup.aws.s3_bucket import Bucket
from lcp_backup.aws.s3_reader import ObjectReader
from lcp_backup.aws.s3_writer import ObjectWriter
from lcp_backup.errors import ObjectNotFound


class FileStore(ObjectStore):
    """What a catalog's backups ask of a bucket, on files below a folder; for one writer.

    What is written is on the disk before a call ends. What it does not override it cannot do.
    """

    def __init__(self, root: Path) -> None:
        self.bucket = "bench"
        self._root = root
        self._sources: list[FileSource] = []

    @property
    def bytes_read(self) -> int:
        """Bytes that were read of all objects; not for a time in which threads read."""
        return sum(source.bytes_read for source in self._sources)

    def get(self, key: str) -> StoredObject:
        source, etag = self._open(key)
        return StoredObject(source.read(0, source.size), etag)

    def put_new(self, key: str, body: bytes, **_: Any) -> str:
        sink = FileSink(self._path(key))
        sink.write(body)
        sink.complete()
        return self._open(key)[1]

    def names(self, prefix: str, until: str = "/") -> Iterator[str]:
        assert prefix.endswith("/")
        folder = self._root / prefix
        listed = [it.name for it in folder.iterdir()] if folder.exists() else []
        # (Of a folder's name all of it stands before the slash.)
        yield from dict.fromkeys(name.partition(until)[0] for name in sorted(listed))

    def reader(self, key: str) -> ObjectReader:
        source, etag = self._open(key)
        bucket = Bucket(self.bucket, None)
        return ObjectReader(source.read, source.size, bucket=bucket, key=key, etag=etag)

    def writer(self, key: str, **_: Any) -> ObjectWriter:
        # As good as one to those who use it: they know it by its protocol, ByteSink.
        return cast("ObjectWriter", FileSink(self._path(key)))

    def _open(self, key: str) -> tuple[FileSource, str]:
        path = self._root / key
        try:
            source = FileSource(path)
        except FileNotFoundError as error:
            raise ObjectNotFound(f"{key} is not in the bench's folder") from error
        self._sources.append(source)
        return source, f'"{source.size}-{path.stat().st_mtime_ns}"'

    def _path(self, key: str) -> Path:
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
