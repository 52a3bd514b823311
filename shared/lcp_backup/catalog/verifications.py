"""Verifications: beside a backup's manifest lies what the last one found out."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog.anew import put_anew
from lcp_backup.catalog.keys import VERIFICATION, Keys
from lcp_backup.errors import ObjectNotFound, UnknownFormat
from lcp_backup.model import Manifest
from lcp_backup.pages import READ_AT_ONCE
from lcp_backup.verification import Verification


class StoredVerifications:
    """What the last verification of each backup found out."""

    def __init__(self, store: ObjectStore, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    def find(self, manifest: Manifest) -> Verification | None:
        """What the last verification found out about a backup; None when there was none.

        None, too, for what a later version wrote: it is no reason not to show the backup.
        """
        with suppress(ObjectNotFound, UnknownFormat):
            stored = self._store.get(self._keys.of_backup(manifest.id, VERIFICATION))
            found = Verification.read(stored.body)
            return found if found.is_about(manifest) else None
        return None

    def find_all(self, manifests: Iterable[Manifest]) -> dict[str, Verification]:
        """As `find`, of many backups at once, by their ids; without those that have none.

        Raises StorageError.
        """
        with ThreadPoolExecutor(READ_AT_ONCE, thread_name_prefix="verification") as pool:
            found = pool.map(self.find, manifests)
            return {it.backup_id: it for it in found if it is not None}

    def keep(self, verification: Verification) -> None:
        """Keeps what was found out about a backup, in the place of what was known before.

        As `put_anew`.
        """
        key = self._keys.of_backup(verification.backup_id, VERIFICATION)
        body = verification.model_dump_json(indent=1).encode()
        put_anew(self._store, key, body)

    def forget(self, backup_id: str) -> None:
        """Deletes what was found out about a backup; that there is nothing is fine."""
        self._store.delete([self._keys.of_backup(backup_id, VERIFICATION)])
