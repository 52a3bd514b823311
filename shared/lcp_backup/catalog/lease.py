"""The right to write: held by one run at a time, taken and renewed by conditional writes."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog.keys import Keys
from lcp_backup.document import read_document
from lcp_backup.errors import (
    LeaseHeld,
    LeaseLost,
    ObjectNotFound,
    PreconditionFailed,
    UnknownFormat,
)
from lcp_backup.model import Lease, RunKind


class StoredLease:
    """The one lease of an environment; `now` answers aware UTC."""

    def __init__(self, store: ObjectStore, keys: Keys, now: Callable[[], datetime]) -> None:
        self._store = store
        self._keys = keys
        self.now = now

    def acquire(
        self, run_id: str, kind: RunKind, backup_id: str | None, term: timedelta
    ) -> "HeldLease":
        """Takes the right to write for `term`; raises LeaseHeld, which says who has it.

        One that has expired is taken over: its run is dead, or will meet LeaseLost when it renews.
        """
        now = self.now()
        lease = Lease(
            run_id=run_id, kind=kind, backup_id=backup_id, acquired_at=now, expires_at=now + term
        )
        body = lease.model_dump_json().encode()
        while True:
            try:
                holder, found = self.read()
                if holder.expires_at > now:
                    break
                etag = self._store.put_over(self._keys.lease, body, found)
                return HeldLease(self, lease, etag, term)
            except ObjectNotFound:
                with suppress(PreconditionFailed):
                    etag = self._store.put_new(self._keys.lease, body)
                    return HeldLease(self, lease, etag, term)
            except PreconditionFailed:
                # It changed hands just now; the next look tells whose it is.
                continue
        raise _held_by(holder)

    def take_up(self, run_id: str, term: timedelta) -> "HeldLease":
        """The lease that another process of this run took, renewed for `term`.

        One that has expired is taken up too, if nobody had it since. Raises LeaseLost when another
        run has it, or had it.
        """
        try:
            lease, etag = self.read()
        except ObjectNotFound as error:
            raise _lost_by(run_id) from error
        if lease.run_id != run_id:
            raise _lost_by(run_id)
        held = HeldLease(self, lease, etag, term)
        held.renew()
        return held

    def check_is_free(self) -> None:
        """Raises LeaseHeld, which says who has the right to write, while somebody has."""
        holder = self.holder()
        if holder is not None:
            raise _held_by(holder)

    def check_is_not_of(self, run_id: str) -> None:
        """Raises LeaseHeld while a process of this run has the right to write."""
        holder = self.holder()
        if holder is not None and holder.run_id == run_id:
            raise _held_by(holder)

    def holder(self) -> Lease | None:
        """The lease that stands now, if any."""
        try:
            lease, _ = self.read()
        except ObjectNotFound:
            return None
        return lease if lease.expires_at > self.now() else None

    def read(self) -> tuple[Lease, str]:
        """The last lease that was taken and its tag; raises ObjectNotFound, UnknownFormat."""
        stored = self._store.get(self._keys.lease)
        return read_document(Lease, stored.body, "lease"), stored.etag

    def replace(self, lease: Lease, etag: str) -> str:
        """Writes over the lease that has this tag, and answers the new one's.

        Raises PreconditionFailed when it has been taken over, ObjectNotFound.
        """
        return self._store.put_over(self._keys.lease, lease.model_dump_json().encode(), etag)

    def backup_in_use(self) -> str | None:
        """The backup that the run which holds the lease is at work on, if any."""
        holder = self.holder()
        return None if holder is None else holder.backup_id


class HeldLease:
    """The right to write while a run has it; several threads and processes of it may renew it.

    When it was taken says which lease it is: a second delivery of the run's event takes another.
    """

    def __init__(self, stored: StoredLease, lease: Lease, etag: str, term: timedelta) -> None:
        self._stored = stored
        self._lease = lease
        self._etag = etag
        self._term = term
        self._lock = threading.Lock()

    def renew(self, term: timedelta | None = None) -> None:
        """Moves the expiry ahead, by its own term or this one; raises LeaseLost.

        That is when another run has taken it over, or a process of the run has given it back. It is
        never moved back: another process may have asked for longer, for one that starts slowly.
        """
        with self._lock:
            self._move_expiry(self._term if term is None else term)

    def is_with_another_delivery(self) -> bool:
        """Whether another delivery of this run's event has taken it over, and goes on with the run.

        Raises StorageError, UnknownFormat.
        """
        holder = self._stored.holder()
        return (
            holder is not None
            and holder.run_id == self._lease.run_id
            and holder.acquired_at != self._lease.acquired_at
        )

    def release(self) -> None:
        """Gives it back; does nothing when another run has taken it over."""
        # An expiry in the past, and no deletion: conditional writes are older than conditional
        # deletes, and this way the bucket tells who wrote last.
        with self._lock, suppress(LeaseLost):
            self._move_expiry(timedelta(0))

    def _move_expiry(self, ahead: timedelta) -> None:
        while True:
            expires_at = self._stored.now() + ahead
            if ahead:
                expires_at = max(expires_at, self._lease.expires_at)
            lease = self._lease.model_copy(update={"expires_at": expires_at})
            try:
                self._etag = self._stored.replace(lease, self._etag)
            except (PreconditionFailed, ObjectNotFound) as error:
                if not self._was_renewed_elsewhere():
                    raise _lost_by(self._lease.run_id) from error
            else:
                self._lease = lease
                return

    def _was_renewed_elsewhere(self) -> bool:
        """Whether another process of the run has renewed it; its tag is ours then."""
        try:
            lease, etag = self._stored.read()
        except (ObjectNotFound, UnknownFormat):
            return False
        taken = (lease.run_id, lease.acquired_at) == (self._lease.run_id, self._lease.acquired_at)
        # One that ended was given back: the run is over, and must not come to life again.
        if not taken or lease.expires_at <= self._stored.now():
            return False
        self._lease, self._etag = lease, etag
        return True


def _lost_by(run_id: str) -> LeaseLost:
    return LeaseLost(
        f"run {run_id} lost the right to write: it was not renewed in time and another run took it"
        " over, or another process ended the run; nothing more was changed"
    )


def _held_by(holder: Lease) -> LeaseHeld:
    what = f" of backup {holder.backup_id}" if holder.backup_id else ""
    return LeaseHeld(
        f"{holder.kind} run {holder.run_id}{what} has held the right to write since"
        f" {holder.acquired_at:%Y-%m-%d %H:%M:%S} UTC; it is free when that run ends, or, if that"
        f" run has died, at {holder.expires_at:%H:%M:%S} UTC",
        kind=holder.kind,
        run_id=holder.run_id,
        backup_id=holder.backup_id,
    )
