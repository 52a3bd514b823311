"""What the processes of one run leave to each other: small objects below the run's id."""

import secrets
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Final

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.aws.s3_reader import ObjectReader
from lcp_backup.aws.s3_writer import ObjectWriter
from lcp_backup.catalog.keys import Keys
from lcp_backup.errors import ObjectNotFound, PreconditionFailed
from lcp_backup.model import RunId

REQUEST: Final = "request"
"""What the run was asked for: who finds it knows that several processes are at work on the run."""
ERROR: Final = "error"
"""How the process ended that failed last."""
ITEMS: Final = "items"
"""What a Distributed Map reads."""


class RunWork:
    """The objects of one run. No name ends like a record's key does, which lies beside them.

    Raises StorageError and the kind of it that is named.
    """

    def __init__(self, store: ObjectStore, keys: Keys, run_id: str) -> None:
        self._store = store
        self._keys = keys
        self.run_id = run_id

    def put(self, name: str, body: bytes) -> None:
        """Writes an object, over the one that was there."""
        self._store.put(self._key(name), body)

    def put_new(self, name: str, body: bytes) -> bool:
        """Writes an object where none is; whether this call did, and not another process.

        `body` must be the writer's alone, as of `ObjectStore.put_new`.
        """
        try:
            self._store.put_new(self._key(name), body)
        except PreconditionFailed:
            return False
        return True

    def claim(self, name: str) -> bool:
        """Whether this call is the first for a name: of several at once, one is."""
        return self.put_new(name, secrets.token_bytes(16))

    def get(self, name: str) -> bytes:
        """Reads an object whole; raises ObjectNotFound."""
        return self._store.get(self._key(name)).body

    def find(self, name: str) -> bytes | None:
        """Reads an object whole; None when there is none."""
        try:
            return self.get(name)
        except ObjectNotFound:
            return None

    def writer(self, name: str) -> ObjectWriter:
        """A sink for a larger one, where none is."""
        return self._store.writer(self._key(name), threads=1)

    def open(self, name: str) -> ObjectReader:
        """A larger one, to be read; raises ObjectNotFound."""
        return self._store.reader(self._key(name))

    def place(self, name: str) -> dict[str, str]:
        """Bucket and key, for who reads it without this service."""
        return {"bucket": self._store.bucket, "key": self._key(name)}

    def names(self) -> Iterator[str]:
        """All there are, in their order."""
        start = self._key("")
        return (entry.key.removeprefix(start) for entry in self._store.entries(start))

    def remove(self, name: str) -> None:
        """Deletes one, whether it is there or not."""
        self._store.delete([self._key(name)])

    def delete(self, *, but: Collection[str] = ()) -> None:
        """Deletes all; the request last, by which those are found that a kill leaves."""
        names = [name for name in self.names() if name not in but]
        self._store.delete([self._key(name) for name in names if name != REQUEST])
        self._store.delete([self._key(name) for name in names if name == REQUEST])

    def _key(self, name: str) -> str:
        return self._keys.of_work(self.run_id, name)


class StoredWork:
    """What the runs of one environment have left below their ids."""

    def __init__(self, store: ObjectStore, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    def of(self, run_id: str) -> RunWork:
        """That of one run, whether there is any or not."""
        return RunWork(self._store, self._keys, run_id)

    def abort_stale(self, before: datetime) -> None:
        """Ends multipart uploads that dead processes began before this moment."""
        for multipart in list(self._store.open_multiparts(self._keys.runs)):
            if multipart.started <= before:
                self._store.abort_multipart(multipart.key, multipart.multipart_id)

    def run_ids(self) -> Iterator[str]:
        """The runs that have left any, oldest first."""
        for name in self._store.names(self._keys.runs):
            if RunId.find(name) is not None:
                yield name
