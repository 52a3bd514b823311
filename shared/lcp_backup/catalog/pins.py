"""Pins: somebody keeps a backup for longer, and nobody deletes it meanwhile.

    nothing, or free --(pin)--> pinned --(unpin)--> free
    nothing, or free --(a deletion begins)--> deleted, for good

One object for each backup tells, and it is only ever written under the condition that it is still
what was read. So of a pin and a deletion that are under way at one time only one gets through: it
is pinned and stays, or it goes and the pin is refused. The object is never deleted while its backup
may exist: conditional writes are older than conditional deletes.
"""

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime

from lcp_backup.aws.s3 import ObjectInfo, ObjectStore
from lcp_backup.catalog.keys import Keys
from lcp_backup.document import Document, read_document
from lcp_backup.errors import Conflict, ObjectNotFound, Pinned, PreconditionFailed
from lcp_backup.model import Manifest
from lcp_backup.pages import READ_AT_ONCE


class PinState(StrEnum):
    """What was last decided of a backup."""

    PINNED = "pinned"
    FREE = "free"
    """It was pinned, and is not any more."""
    DELETED = "deleted"
    """Its deletion has begun; a kill may have come between."""


class Pin(Document):
    """What somebody decided of a backup: that it stays, or does not have to any more, or goes."""

    format: Literal[1] = 1
    backup_run_id: str
    """The run that made the backup: another that gets the id later has nothing to do with it."""
    state: PinState
    by: str | None = None
    """Who pinned or unpinned it."""
    reason: str | None = None
    """Why it is pinned."""
    since: AwareDatetime


class Pins:
    """The pins of one environment; `now` answers aware UTC."""

    def __init__(self, store: ObjectStore, keys: Keys, now: Callable[[], datetime]) -> None:
        self._store = store
        self._keys = keys
        self._now = now

    def pin(self, manifest: Manifest, by: str, reason: str) -> Pin:
        """Keeps a published backup from being deleted until it is unpinned.

        May be called again: with the same reason nothing changes, with another it is the caller's
        pin from then on. The backup may be gone by the time of the answer only if its manifest was
        deleted more than a day ago, which the caller has to look at.

        Raises Conflict when its deletion has begun; UnknownFormat, StorageError.
        """
        while True:
            pin, etag = self._read(manifest)
            if pin is not None and pin.state is PinState.DELETED:
                raise Conflict(
                    f"the deletion of backup {manifest.id} has begun, so it cannot be pinned any"
                    " more"
                )
            if pin is not None and (pin.state, pin.reason) == (PinState.PINNED, reason):
                return pin
            if made := self._decide(manifest, etag, PinState.PINNED, by, reason):
                return made

    def unpin(self, manifest: Manifest, by: str) -> None:
        """Lets a backup expire and be deleted again; does nothing to one that is not pinned.

        Raises UnknownFormat, StorageError.
        """
        while True:
            pin, etag = self._read(manifest)
            if pin is None or pin.state is not PinState.PINNED:
                return
            if self._decide(manifest, etag, PinState.FREE, by, None):
                return

    def begin_deletion(self, manifest: Manifest) -> None:
        """Sees to it that a backup cannot be pinned any more; may be called again.

        Raises Pinned, UnknownFormat, StorageError.
        """
        while True:
            pin, etag = self._read(manifest)
            if pin is not None and pin.state is PinState.DELETED:
                return
            _refuse_pinned(manifest, pin)
            if self._decide(manifest, etag, PinState.DELETED, None, None):
                return

    def require_unpinned(self, manifest: Manifest) -> None:
        """Raises Pinned when a deletion would be refused now; UnknownFormat, StorageError."""
        _refuse_pinned(manifest, self.of(manifest))

    def of(self, manifest: Manifest) -> Pin | None:
        """What was last decided of a backup, if anything; raises UnknownFormat, StorageError."""
        return self._read(manifest)[0]

    def of_all(self, manifests: Collection[Manifest]) -> dict[str, Pin]:
        """The pins of those backups that are pinned, by their ids; read side by side.

        Raises UnknownFormat, StorageError.
        """
        known = self.ids() if manifests else frozenset()
        some = [manifest for manifest in manifests if manifest.id in known]
        with ThreadPoolExecutor(READ_AT_ONCE, thread_name_prefix="pin") as pool:
            pins = zip(some, pool.map(self.of, some), strict=True)
            return {
                manifest.id: pin
                for manifest, pin in pins
                if pin is not None and pin.state is PinState.PINNED
            }

    def ids(self) -> frozenset[str]:
        """The ids of all backups, existing or not, of which something was decided."""
        return frozenset(map(_id_of, self._store.entries(self._keys.pins)))

    def written_before(self, moment: datetime) -> list[str]:
        """The ids of which something was decided, and nothing after a moment (aware UTC)."""
        entries = self._store.entries(self._keys.pins)
        return [_id_of(entry) for entry in entries if entry.modified <= moment]

    def forget(self, backup_ids: Collection[str]) -> None:
        """Deletes what was decided of backups; they must have been gone for a while."""
        self._store.delete([self._keys.of_pin(backup_id) for backup_id in backup_ids])

    def _read(self, manifest: Manifest) -> tuple[Pin | None, str | None]:
        """What was decided of the backup, and the tag of what lies there, if anything does."""
        try:
            stored = self._store.get(self._keys.of_pin(manifest.id))
        except ObjectNotFound:
            return None, None
        pin = read_document(Pin, stored.body, "pin")
        return (pin if pin.backup_run_id == manifest.run_id else None), stored.etag

    def _decide(
        self, manifest: Manifest, etag: str | None, state: PinState, by: str | None, why: str | None
    ) -> Pin | None:
        """Writes it in the place of what was read; None when something else lies there by now."""
        pin = Pin(backup_run_id=manifest.run_id, state=state, by=by, reason=why, since=self._now())
        key, body = self._keys.of_pin(manifest.id), pin.model_dump_json(indent=1).encode()
        try:
            if etag is None:
                self._store.put_new(key, body)
            else:
                self._store.put_over(key, body, etag)
        except (PreconditionFailed, ObjectNotFound):
            return None
        return pin


def _refuse_pinned(manifest: Manifest, pin: Pin | None) -> None:
    if pin is not None and pin.state is PinState.PINNED:
        raise Pinned(
            f"backup {manifest.id} is pinned by {pin.by} since {pin.since:%Y-%m-%d} and"
            f" cannot be deleted before it is unpinned; the reason: {pin.reason}"
        )


def _id_of(entry: ObjectInfo) -> str:
    return entry.key.rpartition("/")[2].removesuffix(".json")
