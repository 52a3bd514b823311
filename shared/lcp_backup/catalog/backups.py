"""Backups: one exists if and only if its manifest does: written last, and deleted first."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import batched

from lcp_backup.aws.s3 import ObjectStore, OpenMultipart
from lcp_backup.aws.s3_bucket import LockMode, ObjectLock
from lcp_backup.aws.s3_reader import ObjectReader
from lcp_backup.aws.s3_shared import SharedMultipart
from lcp_backup.aws.s3_writer import ObjectWriter
from lcp_backup.catalog.keys import MANIFEST, Keys, archive_name, index_name
from lcp_backup.catalog.retired import Retired
from lcp_backup.catalog.unfinished import Unfinished
from lcp_backup.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    ObjectNotFound,
    PreconditionFailed,
    UnknownFormat,
)
from lcp_backup.model import ArchiveKind, BackupId, BackupType, Manifest
from lcp_backup.pages import READ_AT_ONCE

_OF_A_DEAD_RUN = timedelta(days=1)


@dataclass(frozen=True)
class Leftover:
    """What lies below an id that is not published: a dead run left it, or others may read it."""

    backup_id: str
    keys: tuple[str, ...]
    size: int
    """Bytes of all of it."""
    newest: datetime
    """When the last of it was written, UTC."""


@dataclass(frozen=True)
class BackupLock:
    """What a new backup is made of is locked for `term`, counted from when it is written."""

    mode: LockMode
    term: timedelta


class Backups:
    """The backups of one environment, and what dead runs left below ids that never became one.

    Arguments: `now` answers aware UTC; with `lock`, no version of a backup's objects can be deleted
    for a while. Unpublishing hides a locked backup all the same: its versions stay until the lock
    ends.
    """

    def __init__(
        self,
        store: ObjectStore,
        keys: Keys,
        now: Callable[[], datetime],
        lock: BackupLock | None = None,
    ) -> None:
        self._store = store
        self._keys = keys
        self._now = now
        self._lock = lock

    def find(self, backup_id: str) -> Manifest | None:
        """The manifest of a backup, or None when it does not exist.

        Raises UnknownFormat, which names the backup; also for a manifest of another backup, which
        somebody has copied: who deletes what lies here must not delete that one.
        """
        try:
            body = self._store.get(self._keys.of_backup(backup_id, MANIFEST)).body
        except ObjectNotFound:
            return None
        try:
            manifest = Manifest.read(body)
        except UnknownFormat as error:
            raise UnknownFormat(f"backup {backup_id}: {error}") from None
        if manifest.id != backup_id:
            raise UnknownFormat(
                f"what lies as backup {backup_id} in the bucket is the manifest of"
                f" {manifest.id[:100]!r}: somebody copied it; delete it by hand"
            )
        return manifest

    def get(self, backup_id: str) -> Manifest:
        """The manifest of a backup; raises NotFound, InvalidRequest, UnknownFormat."""
        BackupId.parse(backup_id)
        manifest = self.find(backup_id)
        if manifest is None:
            raise NotFound(
                f"there is no backup {backup_id} in {self._where}",
                public=f"there is no backup {backup_id}",
            )
        return manifest

    def is_gone(self, backup_id: str) -> bool:
        """Whether no manifest lies below an id, not even one that this version cannot read."""
        try:
            return self.find(backup_id) is None
        except UnknownFormat:
            return False

    def ids(self) -> list[str]:
        """The ids of everything below the backups' folder, newest slot first, published or not."""
        found: list[tuple[datetime, str]] = []
        for name in self._store.names(self._keys.backups):
            # A folder that is no backup was put there by somebody else, and stays untouched.
            with suppress(InvalidRequest):
                found.append((BackupId.parse(name).slot, name))
        return [name for _, name in sorted(found, reverse=True)]

    def all(self) -> Iterator[Manifest]:
        """Every backup, newest slot first."""
        return (manifest for name in self.ids() if (manifest := self.find(name)) is not None)

    def latest(self, *, uploaded: bool = True) -> Manifest:
        """The newest backup; with `uploaded` False, the newest that the service made of a site.

        Raises NotFound when there is none; UnknownFormat rather than to pass a newer one over.
        """
        ids = self.ids()
        # What a manifest says is known by reading it. The first is nearly always the answer; behind
        # it there may be a month of uploads, and one after the other they would take a minute.
        with ThreadPoolExecutor(READ_AT_ONCE, thread_name_prefix="manifest") as pool:
            for some in (ids[:1], *batched(ids[1:], READ_AT_ONCE, strict=False)):
                for manifest in pool.map(self.find, some):
                    if manifest is None or (not uploaded and manifest.type is BackupType.UPLOADED):
                        continue
                    return manifest
        made_here = "" if uploaded else " that was made of a site: uploaded ones do not count here"
        raise NotFound(
            f"there is no backup in {self._where}{made_here}",
            public=f"there is no backup{made_here or ' yet'}",
        )

    def is_free(self, backup_id: str) -> bool:
        """Whether nothing lies below an id, not even what a dead run left."""
        return next(self._store.entries(self._keys.of_backup(backup_id, "")), None) is None

    def id_for(self, wanted: BackupId) -> BackupId:
        """The id of a slot's backup, made or to be made: `wanted`, unless that is another's.

        An upload may have taken the minute, or a backup that an upload had driven out of its own,
        or one that was deleted and whose archive is still read, or a volume that could not be
        finished: none of these is a backup of this slot, and to answer it would be a success that
        never was.
        """
        backup_id = wanted
        while True:
            found = self.find(str(backup_id))
            if found is None and not self._is_held(str(backup_id)):
                return backup_id
            if (
                found is not None
                and found.type is not BackupType.UPLOADED
                and found.slot == wanted.slot
            ):
                return backup_id
            backup_id = backup_id.before()

    def _is_held(self, backup_id: str) -> bool:
        """Whether other backups may read what lies below an id that is not published.

        What a run left that died is cleared by the next one of its slot. What is older may be the
        archive of a backup whose manifest somebody deleted by hand.
        """
        if self._has_mark(backup_id):
            return True
        entries = self._store.entries(self._keys.of_backup(backup_id, ""))
        return any(self._now() - entry.modified >= _OF_A_DEAD_RUN for entry in entries)

    def _has_mark(self, backup_id: str) -> bool:
        return self.retired(backup_id) is not None or self.unfinished(backup_id) is not None

    def archive_writer(self, backup_id: str, kind: ArchiveKind) -> ObjectWriter:
        """Where a new archive's bytes go."""
        return self._store.writer(
            self._keys.of_backup(backup_id, archive_name(kind)),
            takes_head=kind is ArchiveKind.DATABASE,
            lock=self._new_lock(),
        )

    def index_writer(self, backup_id: str, kind: ArchiveKind) -> ObjectWriter:
        """Where a new index's bytes go."""
        key = self._keys.of_backup(backup_id, index_name(kind))
        return self._store.writer(key, threads=1, lock=self._new_lock())

    def shared_archive(self, backup_id: str, kind: ArchiveKind, mark: str) -> SharedMultipart:
        """Where a new archive's bytes go that several processes write; `mark` is the archive's."""
        return self._store.shared_multipart(
            self._keys.of_backup(backup_id, archive_name(kind)), mark
        )

    def start_shared(self, backup_id: str, kind: ArchiveKind, mark: str) -> str:
        """Opens such an archive's multipart; answers S3's id of it."""
        return self.shared_archive(backup_id, kind, mark).start(
            content_type="application/gzip", lock=self._new_lock()
        )

    def abort_archive(self, backup_id: str, kind: ArchiveKind) -> None:
        """Ends what is open of an unpublished archive; one that is whole stays."""
        key = self._keys.of_backup(backup_id, archive_name(kind))
        for multipart in list(self._store.open_multiparts(key)):
            self._store.abort_multipart(multipart.key, multipart.multipart_id)

    def clear_index(self, backup_id: str, kind: ArchiveKind) -> None:
        """As `clear_unpublished`, of an index alone."""
        self._check_is_free(backup_id)
        self._store.delete([self._keys.of_backup(backup_id, index_name(kind))])

    def open(self, backup_id: str, name: str) -> ObjectReader:
        """An archive or index of a backup, to be read; raises ObjectNotFound."""
        return self._store.reader(self._keys.of_backup(backup_id, name))

    def download_url(self, backup_id: str, kind: ArchiveKind, expires: timedelta) -> str:
        """A URL by which anybody may fetch an archive for a while; the backup must exist."""
        return self._store.presigned_get(
            self._keys.of_backup(backup_id, archive_name(kind)),
            expires=expires,
            file_name=f"{backup_id}-{archive_name(kind)}",
            content_type="application/gzip",
        )

    def publish(self, manifest: Manifest) -> None:
        """Makes the backup exist; raises Conflict when one with its id does already."""
        body = manifest.model_dump_json(indent=1).encode()
        try:
            key = self._keys.of_backup(manifest.id, MANIFEST)
            self._store.put_new(key, body, lock=self._new_lock())
        except PreconditionFailed as error:
            raise Conflict(
                f"backup {manifest.id} was published by another run meanwhile"
            ) from error

    def keep_locked(self, backup_id: str) -> None:
        """Locks a volume's archive for as long as that of a new backup, which reads it.

        Does nothing where backups are not locked. Raises ObjectNotFound, StorageError.
        """
        if (lock := self._new_lock()) is not None:
            key = self._keys.of_backup(backup_id, archive_name(ArchiveKind.VOLUME))
            self._store.lock_until(key, lock)

    def unpublish(self, backup_id: str) -> None:
        """Makes the backup not exist, then deletes what it was made of; may be called again."""
        self._store.delete([self._keys.of_backup(backup_id, MANIFEST)])
        self._store.delete(
            [entry.key for entry in self._store.entries(self._keys.of_backup(backup_id, ""))]
        )

    def retire(self, backup_id: str) -> None:
        """Makes the backup not exist; its volume's archive stays, for backups that read it.

        May be called again. The mark is written first: without it the archive would pass for
        what a dead run left.
        """
        self._retire(backup_id, self._keys.of_backup(backup_id, MANIFEST))

    def retire_unfinished(self, backup_id: str) -> None:
        """Makes a volume that could not be finished a retired one; else as `retire`.

        Only the mark goes where a backup has the id: a run that had lost its lease wrote it late.
        """
        mark = self._keys.of_unfinished(backup_id)
        if self.is_gone(backup_id):
            self._retire(backup_id, mark)
        else:
            self._store.delete([mark])

    def _retire(self, backup_id: str, told_by: str) -> None:
        if self.retired(backup_id) is None:
            self.mark_retired(backup_id, Retired(since=self._now()))
        self._store.delete([told_by])
        kept = self._keys.of_backup(backup_id, archive_name(ArchiveKind.VOLUME))
        entries = self._store.entries(self._keys.of_backup(backup_id, ""))
        self._store.delete([entry.key for entry in entries if entry.key != kept])

    def retired(self, backup_id: str) -> Retired | None:
        """The mark of a backup that was retired, or None; raises UnknownFormat."""
        try:
            return Retired.read(self._store.get(self._keys.of_retired(backup_id)).body)
        except ObjectNotFound:
            return None

    def mark_retired(self, backup_id: str, mark: Retired) -> None:
        """Writes the mark of a retired backup, over the one it had."""
        body = mark.model_dump_json(indent=1).encode()
        self._store.put(self._keys.of_retired(backup_id), body)

    def forget_retired(self, leftover: Leftover) -> None:
        """Deletes the mark of a retired backup and what was kept of it.

        The mark first: what a kill leaves is then like what a dead run left, and goes like that.
        """
        self._store.delete([self._keys.of_retired(leftover.backup_id)])
        self._store.delete(leftover.keys)

    def unfinished(self, backup_id: str) -> Unfinished | None:
        """What a run could not finish below an id, or None; raises UnknownFormat as `find`."""
        try:
            mark = Unfinished.read(self._store.get(self._keys.of_unfinished(backup_id)).body)
        except ObjectNotFound:
            return None
        if mark.id != backup_id:
            raise UnknownFormat(f"the mark unfinished/{backup_id}.json is of {mark.id[:100]!r}")
        return mark

    def unfinished_ids(self) -> list[str]:
        """The ids of all volumes that runs could not finish."""
        found: list[str] = []
        for name in self._store.names(self._keys.unfinished, ".json"):
            with suppress(InvalidRequest):
                found.append(str(BackupId.parse(name)))
        return found

    def keep_unfinished(self, mark: Unfinished) -> None:
        """Keeps a volume, whose archive and index are complete, for the next run to go on from."""
        body = mark.model_dump_json(indent=1).encode()
        self._store.put(self._keys.of_unfinished(mark.id), body)

    def clear_unpublished(self, backup_id: str) -> None:
        """Deletes what a dead run left below an id; call it under the lease, before writing there.

        Raises Conflict when the backup exists, or did and others may read its archive; also when
        that is of a volume that could not be finished.
        """
        self._check_is_free(backup_id)
        for multipart in list(self._store.open_multiparts(self._keys.of_backup(backup_id, ""))):
            self._store.abort_multipart(multipart.key, multipart.multipart_id)
        self._store.delete(
            [entry.key for entry in self._store.entries(self._keys.of_backup(backup_id, ""))]
        )

    def _check_is_free(self, backup_id: str) -> None:
        if self.find(backup_id) is not None or self._has_mark(backup_id):
            raise Conflict(f"backup {backup_id} exists; a published backup is never rewritten")

    def leftovers(self) -> Iterator[Leftover]:
        """What lies below ids that have no manifest, newest slot first."""
        for backup_id in self.ids():
            entries = list(self._store.entries(self._keys.of_backup(backup_id, "")))
            if not entries or any(entry.key.endswith(f"/{MANIFEST}") for entry in entries):
                continue
            newest = max(entry.modified for entry in entries)
            size = sum(entry.size for entry in entries)
            yield Leftover(backup_id, tuple(entry.key for entry in entries), size, newest)

    def delete_leftover(self, leftover: Leftover) -> None:
        """Deletes exactly the objects that were found; what was written since stays."""
        self._store.delete(leftover.keys)

    def open_multiparts(self, backup_id: str | None = None) -> Iterator[OpenMultipart]:
        """Multipart uploads of archives, of all or of one backup's, that were never ended."""
        prefix = self._keys.of_backup(backup_id, "") if backup_id else self._keys.backups
        return self._store.open_multiparts(prefix)

    def _new_lock(self) -> ObjectLock | None:
        return ObjectLock(self._lock.mode, self._now() + self._lock.term) if self._lock else None

    def abort_multipart(self, multipart: OpenMultipart) -> None:
        """Ends one that was found open; one that is gone already counts as ended."""
        self._store.abort_multipart(multipart.key, multipart.multipart_id)

    @property
    def _where(self) -> str:
        return f"s3://{self._store.bucket}/{self._keys.root}"
