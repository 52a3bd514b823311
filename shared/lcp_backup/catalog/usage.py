"""How many bytes lie in the bucket, and what they are there for."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Final

from lcp_backup.aws.s3 import ObjectInfo, ObjectStore
from lcp_backup.catalog.keys import MANIFEST, Keys

MOST_LISTED: Final = 20_000
"""Objects that are looked at: 20 listings, two or three seconds. Hourly backups of 30 days are
4,300."""


@dataclass(frozen=True)
class Usage:
    """Bytes of what can be listed; versions of what was deleted, which S3 keeps for a week, and
    parts that wait for the rest of theirs cannot."""

    backups: int
    """Everything below the ids of backups that exist."""
    retired: int
    """Archives of deleted backups that others still read."""
    unfinished: int
    """What is below any other id: volumes to be gone on from, and what runs under way or dead ones
    have written."""
    downloads: int
    uploads: int
    is_complete: bool
    """Whether everything was counted; otherwise all of these are the least there is."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.backups + self.retired + self.unfinished + self.downloads + self.uploads


class StoredBytes:
    """Counts what one environment stores."""

    def __init__(self, store: ObjectStore, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    def count(self, most: int = MOST_LISTED) -> Usage:
        """The bytes now; only names and sizes are read. Raises StorageError."""
        places = (self._keys.backups, self._keys.downloads, self._keys.uploads)
        listed = (entry for place in places for entry in self._store.entries(place))
        some = list(islice(listed, most))
        retired = frozenset(self._store.names(self._keys.retired, ".json"))
        sizes = {"backups": 0, "retired": 0, "unfinished": 0}
        for backup_id, entries in self._by_backup(some):
            of_one = list(entries)
            if any(it.key.endswith(f"/{MANIFEST}") for it in of_one):
                kind = "backups"
            else:
                kind = "retired" if backup_id in retired else "unfinished"
            sizes[kind] += sum(it.size for it in of_one)
        return Usage(
            **sizes,
            downloads=self._below(some, self._keys.downloads),
            uploads=self._below(some, self._keys.uploads),
            is_complete=next(listed, None) is None,
        )

    def _by_backup(self, some: list[ObjectInfo]) -> Iterator[tuple[str, Iterator[ObjectInfo]]]:
        """The objects of each id; S3 lists them by their keys, so those of one stand together."""
        start = self._keys.backups
        of_backups = (it for it in some if it.key.startswith(start))
        return groupby(of_backups, lambda it: it.key.removeprefix(start).partition("/")[0])

    @staticmethod
    def _below(some: list[ObjectInfo], start: str) -> int:
        return sum(it.size for it in some if it.key.startswith(start))
