"""What lies in the bucket: backups, runs and the lease; no other module knows a key.

    <prefix>/backups/<id>/database.tgz  volume.tgz  database.index  volume.index  manifest.json
    <prefix>/uploads/<upload id>/upload.json  database  volume
    <prefix>/runs/<run id>.json
    <prefix>/lease.json
    <prefix>/restore-paused.json

A backup exists if and only if its manifest does: that is published last and unpublished first.
"""

import heapq
import re
import secrets
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import batched, islice
from typing import Literal

from pydantic import AwareDatetime

from lcp_backup.aws.s3 import (
    LISTED_AT_ONCE,
    ObjectReader,
    ObjectStore,
    OpenMultipart,
)
from lcp_backup.aws.s3_bucket import LockMode, ObjectLock
from lcp_backup.aws.s3_writer import ObjectWriter
from lcp_backup.errors import (
    Conflict,
    InvalidRequest,
    LeaseHeld,
    LeaseLost,
    NotFound,
    ObjectNotFound,
    PreconditionFailed,
    RestoredInPart,
    UnknownFormat,
)
from lcp_backup.model import (
    FORMAT,
    ArchiveKind,
    BackupId,
    BackupType,
    Document,
    Manifest,
    Run,
    RunKind,
    RunState,
    Upload,
    read_document,
)
from lcp_backup.pages import READ_AT_ONCE, Page, read_page

type Clock = Callable[[], datetime]
"""The time now, aware and in UTC."""

MANIFEST = "manifest.json"
_UPLOAD = "upload.json"
_UPLOAD_ID = re.compile(rf"\d{{8}}T\d{{6}}-{RunKind.UPLOAD}-[0-9a-f]{{8}}")
_RUN_TIME = "%Y%m%dT%H%M%S"
_DAY = re.compile(r"[0-9]{8}")
_SLOT_AT_END = re.compile(r"-(?P<day>[0-9]{8})(?P<minute>[0-9]{4})$")
"""How ids of backups end, and those of runs do not."""
_DAYS_AT_ONCE = 16
_TIME_DIGITS = len("YYYYMMDDTHHMMSS")


def utc_now() -> datetime:
    """The clock of a real run."""
    return datetime.now(UTC)


def archive_name(kind: ArchiveKind) -> str:
    """The name of an archive's object below its backup."""
    return f"{kind}.tgz"


def index_name(kind: ArchiveKind) -> str:
    """The name of an index's object below its backup."""
    return f"{kind}.index"


def started_at(run_id: str) -> datetime | None:
    """When a run of this id began (UTC), or None when it is no run id."""
    try:
        return datetime.strptime(run_id.partition("-")[0], _RUN_TIME).replace(tzinfo=UTC)
    except ValueError:
        return None


def _is_of_backup(record_id: str) -> bool:
    return _SLOT_AT_END.search(record_id) is not None


def _place(record_id: str) -> tuple[str, str]:
    """Where the id of a backup or of a run stands among both: at its time, and there by itself."""
    slot = _SLOT_AT_END.search(record_id)
    moment = f"{slot['day']}T{slot['minute']}00" if slot else record_id[:_TIME_DIGITS]
    return moment, record_id


class Lease(Document):
    """The right to write, as it lies in the bucket."""

    format: Literal[1] = FORMAT
    run_id: str
    kind: RunKind
    backup_id: str | None
    acquired_at: AwareDatetime
    expires_at: AwareDatetime


class Pause(Document):
    """Scheduled restores do not start while this lies in the bucket.

    In an incident the DR site is the live one, and the next scheduled restore would overwrite it.
    An object, so that it takes effect without a deployment and every function sees it.
    """

    format: Literal[1] = FORMAT
    by: str
    reason: str
    since: AwareDatetime


class HeldLease:
    """The right to write while a run has it; may be renewed from several threads."""

    def __init__(self, catalog: "Catalog", lease: Lease, etag: str, term: timedelta) -> None:
        self._catalog = catalog
        self._lease = lease
        self._etag = etag
        self._term = term
        self._lock = threading.Lock()

    def renew(self) -> None:
        """Moves the expiry ahead; raises LeaseLost when another run has taken it over."""
        with self._lock:
            try:
                self._move_expiry(self._catalog.now() + self._term)
            except (PreconditionFailed, ObjectNotFound) as error:
                raise LeaseLost(
                    f"run {self._lease.run_id} lost the right to write: it was not renewed"
                    " in time and another run took it over; nothing more was changed"
                ) from error

    def is_with_another_delivery(self) -> bool:
        """Whether another delivery of this run's event has taken it over, and goes on with the run.

        Raises StorageError, UnknownFormat.
        """
        holder = self._catalog.lease_holder()
        return (
            holder is not None
            and holder.run_id == self._lease.run_id
            and holder.acquired_at != self._lease.acquired_at
        )

    def release(self) -> None:
        """Gives it back; does nothing when another run has taken it over."""
        # An expiry in the past, and no deletion: conditional writes are older than conditional
        # deletes, and this way the bucket tells who wrote last.
        with self._lock, suppress(PreconditionFailed, ObjectNotFound):
            self._move_expiry(self._catalog.now())

    def _move_expiry(self, to: datetime) -> None:
        lease = self._lease.model_copy(update={"expires_at": to})
        self._etag = self._catalog.store.put_over(
            self._catalog.lease_key, lease.model_dump_json().encode(), self._etag
        )


def _held_by(holder: Lease) -> LeaseHeld:
    what = f" of backup {holder.backup_id}" if holder.backup_id else ""
    return LeaseHeld(
        f"{holder.kind} run {holder.run_id}{what} holds the right to write since"
        f" {holder.acquired_at:%Y-%m-%d %H:%M:%S} UTC; it is free when that run ends, or at"
        f" {holder.expires_at:%H:%M:%S} UTC should it have died",
        kind=holder.kind,
        run_id=holder.run_id,
        backup_id=holder.backup_id,
    )


@dataclass(frozen=True)
class Leftover:
    """What a run that died left below an id that was never published; `newest` is UTC."""

    backup_id: str
    keys: tuple[str, ...]
    newest: datetime


@dataclass(frozen=True)
class BackupLock:
    """What a new backup is made of is locked for `term`, counted from when it is written."""

    mode: LockMode
    term: timedelta


class Catalog:
    """The backups, runs and lease of one environment: one prefix of one bucket.

    Arguments: `prefix` without a slash at either end, may be empty; `clock` answers aware UTC;
    with `lock`, no version of a backup's objects can be deleted for a while. Unpublishing hides a
    locked backup all the same: its versions stay until the lock ends.
    """

    def __init__(
        self,
        store: ObjectStore,
        prefix: str,
        clock: Clock = utc_now,
        *,
        lock: BackupLock | None = None,
    ) -> None:
        self.store = store
        self.now = clock
        self._lock = lock
        self._root = f"{prefix}/" if prefix else ""
        self._backups_root = f"{self._root}backups/"
        self._uploads_root = f"{self._root}uploads/"
        self._runs_root = f"{self._root}runs/"
        self.lease_key = f"{self._root}lease.json"
        self._pause_key = f"{self._root}restore-paused.json"

    @property
    def location(self) -> str:
        """Where this catalog lies, for messages."""
        return f"s3://{self.store.bucket}/{self._root}"

    # --- backups -------------------------------------------------------------------------------

    def _key(self, backup_id: str, name: str) -> str:
        return f"{self._backups_root}{backup_id}/{name}"

    def find(self, backup_id: str) -> Manifest | None:
        """The manifest of a backup, or None when it does not exist; raises UnknownFormat."""
        try:
            return Manifest.read(self.store.get(self._key(backup_id, MANIFEST)).body)
        except ObjectNotFound:
            return None

    def get(self, backup_id: str) -> Manifest:
        """The manifest of a backup; raises NotFound, InvalidRequest, UnknownFormat."""
        BackupId.parse(backup_id)
        manifest = self.find(backup_id)
        if manifest is None:
            raise NotFound(
                f"there is no backup {backup_id} in {self.location}",
                public=f"there is no backup {backup_id}",
            )
        return manifest

    def ids(self) -> list[str]:
        """The ids of everything below the backups' folder, newest slot first, published or not."""
        found: list[tuple[datetime, str]] = []
        for name in self.store.names(self._backups_root):
            # A folder that is no backup was put there by somebody else, and stays untouched.
            with suppress(InvalidRequest):
                found.append((BackupId.parse(name).slot, name))
        return [name for _, name in sorted(found, reverse=True)]

    def backups(self) -> Iterator[Manifest]:
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
            f"there is no backup in {self.location}{made_here}",
            public=f"there is no backup{made_here or ' yet'}",
        )

    def is_free(self, backup_id: str) -> bool:
        """Whether nothing lies below an id, not even what a dead run left."""
        return next(self.store.entries(self._key(backup_id, "")), None) is None

    def id_for(self, wanted: BackupId) -> BackupId:
        """The id of a slot's backup, made or to be made: `wanted`, unless that is another's.

        An upload may have taken the minute, or a backup that an upload had driven out of its own:
        neither is a backup of this slot, and to answer it would be a success that never was.
        """
        backup_id = wanted
        while (found := self.find(str(backup_id))) is not None:
            if found.type is not BackupType.UPLOADED and found.slot == wanted.slot:
                break
            backup_id = backup_id.before()
        return backup_id

    def archive_writer(self, backup_id: str, kind: ArchiveKind) -> ObjectWriter:
        """Where a new archive's bytes go."""
        return self.store.writer(self._key(backup_id, archive_name(kind)), lock=self._new_lock())

    def index_writer(self, backup_id: str, kind: ArchiveKind) -> ObjectWriter:
        """Where a new index's bytes go."""
        key = self._key(backup_id, index_name(kind))
        return self.store.writer(key, threads=1, lock=self._new_lock())

    def _new_lock(self) -> ObjectLock | None:
        return ObjectLock(self._lock.mode, self.now() + self._lock.term) if self._lock else None

    def open(self, backup_id: str, name: str) -> ObjectReader:
        """An archive or index of a backup, to be read; raises ObjectNotFound."""
        return self.store.reader(self._key(backup_id, name))

    def download_url(self, backup_id: str, kind: ArchiveKind, expires: timedelta) -> str:
        """A URL by which anybody may fetch an archive for a while; the backup must exist."""
        return self.store.presigned_get(
            self._key(backup_id, archive_name(kind)),
            expires=expires,
            file_name=f"{backup_id}-{archive_name(kind)}",
            content_type="application/gzip",
        )

    def publish(self, manifest: Manifest) -> None:
        """Makes the backup exist; raises Conflict when one with its id does already."""
        body = manifest.model_dump_json(indent=1).encode()
        try:
            self.store.put_new(self._key(manifest.id, MANIFEST), body, lock=self._new_lock())
        except PreconditionFailed as error:
            raise Conflict(
                f"backup {manifest.id} was published by another run meanwhile"
            ) from error

    def unpublish(self, backup_id: str) -> None:
        """Makes the backup not exist, then deletes what it was made of; may be called again."""
        self.store.delete([self._key(backup_id, MANIFEST)])
        self.store.delete([entry.key for entry in self.store.entries(self._key(backup_id, ""))])

    def clear_unpublished(self, backup_id: str) -> None:
        """Deletes what a dead run left below an id; call it under the lease, before writing there.

        Raises Conflict when the backup exists.
        """
        if self.find(backup_id) is not None:
            raise Conflict(f"backup {backup_id} exists; a published backup is never rewritten")
        for upload in list(self.store.open_multiparts(self._key(backup_id, ""))):
            self.store.abort_multipart(upload.key, upload.multipart_id)
        self.store.delete([entry.key for entry in self.store.entries(self._key(backup_id, ""))])

    def leftovers(self) -> Iterator[Leftover]:
        """Objects below ids that have no manifest, newest slot first."""
        for backup_id in self.ids():
            entries = list(self.store.entries(self._key(backup_id, "")))
            if not entries or any(entry.key.endswith(f"/{MANIFEST}") for entry in entries):
                continue
            newest = max(entry.modified for entry in entries)
            yield Leftover(backup_id, tuple(entry.key for entry in entries), newest)

    def delete_leftover(self, leftover: Leftover) -> None:
        """Deletes exactly the objects that were found; what was written since stays."""
        self.store.delete(leftover.keys)

    def open_uploads(self) -> Iterator[OpenMultipart]:
        """Multipart uploads below the backups' folder that were never ended."""
        return self.store.open_multiparts(self._backups_root)

    # --- uploads -------------------------------------------------------------------------------

    def upload_key(self, upload_id: str, kind: ArchiveKind) -> str:
        """Where one of the two files of an upload is sent to."""
        return f"{self._uploads_root}{upload_id}/{kind}"

    def write_upload(self, upload: Upload) -> None:
        """Stores what is known of an upload; from then on it exists."""
        key = f"{self._uploads_root}{upload.id}/{_UPLOAD}"
        self.store.put(key, upload.model_dump_json(indent=1).encode())

    def get_upload(self, upload_id: str) -> Upload:
        """An upload that was neither taken in nor given up; raises NotFound, UnknownFormat."""
        try:
            if not _UPLOAD_ID.fullmatch(upload_id):
                raise ObjectNotFound(upload_id)
            return Upload.read(self.store.get(f"{self._uploads_root}{upload_id}/{_UPLOAD}").body)
        except ObjectNotFound as error:
            raise NotFound(f"there is no upload {upload_id[:100]!r}") from error

    def upload_ids(self) -> list[str]:
        """The ids of all that lies in the uploads' folder or is being sent there, oldest first."""
        found = set(self.store.names(self._uploads_root))
        for part in self.store.open_multiparts(self._uploads_root):
            found.add(part.key.removeprefix(self._uploads_root).partition("/")[0])
        # What is no upload was put there by somebody else, and stays untouched.
        return sorted(name for name in found if _UPLOAD_ID.fullmatch(name))

    def delete_upload(self, upload_id: str) -> None:
        """Makes the upload not exist, then deletes what was sent; may be called again.

        Parts go of which the upload's record tells; others: `delete_unnamed_parts`.
        """
        root = f"{self._uploads_root}{upload_id}/"
        try:
            files = self.get_upload(upload_id).files
        except (NotFound, UnknownFormat):
            files = {}
        self.store.delete([f"{root}{_UPLOAD}"])
        for kind, file in files.items():
            if file.etag is None:  # of a sealed one no part is left
                self.store.abort_multipart(self.upload_key(upload_id, kind), file.multipart_id)
        self.store.delete([entry.key for entry in self.store.entries(root)])

    def delete_unnamed_parts(self, upload_id: str) -> None:
        """Deletes parts also of an upload whose record is gone or was never written.

        It has to list the bucket's multipart uploads, a right that has no prefix: cleanup has it.
        """
        for part in list(self.store.open_multiparts(f"{self._uploads_root}{upload_id}/")):
            self.store.abort_multipart(part.key, part.multipart_id)

    # --- runs ----------------------------------------------------------------------------------

    def new_run_id(self, kind: RunKind) -> str:
        """An id that sorts by time and is not met twice."""
        return f"{self.now():{_RUN_TIME}}-{kind}-{secrets.token_hex(4)}"

    def _run_key(self, run_id: str) -> str:
        return f"{self._runs_root}{run_id}.json"

    def queue_run(
        self,
        run_id: str,
        kind: RunKind,
        backup_id: str | None,
        *,
        backup_run_id: str | None = None,
    ) -> Run:
        """Stores the record of a run whose function was asked to start and has not yet.

        For a restore, `backup_run_id` says which backup of that id is meant.
        """
        now = self.now()
        run = Run(
            id=run_id,
            kind=kind,
            state=RunState.QUEUED,
            backup_id=backup_id,
            backup_run_id=backup_run_id,
            started_at=now,
            updated_at=now,
            step="waiting for its function to start",
        )
        self.write_run(run)
        return run

    def write_run(self, run: Run) -> None:
        """Stores a run's record, over the one it had."""
        self.store.put(self._run_key(run.id), run.model_dump_json(indent=1).encode())

    def get_run(self, run_id: str) -> Run:
        """A run's record; raises NotFound, UnknownFormat."""
        try:
            return Run.read(self.store.get(self._run_key(run_id)).body)
        except ObjectNotFound as error:
            raise NotFound(f"there is no run {run_id[:100]!r}") from error

    def run_ids(self, *, before: str | None = None) -> Iterator[str]:
        """The ids of all runs, newest first; with `before` (an id, or how one begins) older ones.

        Taken only as they are needed: a listing of all records would be most of a page's time.
        """
        days = [day for day in self.store.names(self._runs_root, "T") if _DAY.fullmatch(day)]
        older = iter(sorted((day for day in days if before is None or day < before), reverse=True))
        at_once = 1
        # Most often the newest day is the answer. Where it is not, more and more days are listed.
        while some := list(islice(older, at_once)):
            with ThreadPoolExecutor(len(some), thread_name_prefix="day") as pool:
                listed = list(pool.map(lambda day: self._some_runs(f"{day}T"), some))
            for day, found in zip(some, listed, strict=True):
                for run_id in self._runs_below(f"{day}T", found, before):
                    if before is None or run_id < before:
                        yield run_id
            at_once = min(2 * at_once, _DAYS_AT_ONCE)

    def _some_runs(self, start: str) -> list[str]:
        """The ids that begin so, oldest first; only the first of them where there are many."""
        names = self.store.names(f"{self._runs_root}{start}", ".json")
        return [f"{start}{name}" for name in islice(names, LISTED_AT_ONCE)]

    def _runs_below(self, start: str, some: list[str], before: str | None) -> Iterator[str]:
        """The ids that begin so, newest first; `some` is what `_some_runs` found of them."""
        if len(some) < LISTED_AT_ONCE:
            yield from reversed(some)
        elif len(start) == _TIME_DIGITS:  # more in one second than one answer holds
            names = self.store.names(f"{self._runs_root}{start}", ".json")
            yield from sorted((f"{start}{name}" for name in names), reverse=True)
        else:
            # S3 lists in one direction only, and the newest are last: by hours, then minutes.
            for digit in "9876543210":
                narrower = f"{start}{digit}"
                if before is None or narrower <= before:
                    yield from self._runs_below(narrower, self._some_runs(narrower), before)

    def runs(self) -> Iterator[Run]:
        """Every run, newest first."""
        for run_id in self.run_ids():
            with suppress(NotFound):  # cleanup may delete one while they are read
                yield self.get_run(run_id)

    def restores(self, since: datetime | None = None, *, in_part: bool = False) -> Iterator[Run]:
        """The successful restores of a whole site, newest first; of those asked for since then.

        `in_part`: also those of parts, and those that ended half-way.
        """
        for run_id in self.run_ids():
            if RunKind.RESTORE not in run_id:
                continue
            begun = started_at(run_id)
            if begun is None:  # somebody else's object
                continue
            # The id tells the time, so that no older record is opened.
            if since is not None and begun < since:
                return
            run = self.get_run(run_id)
            if run.state is RunState.SUCCEEDED:
                wanted = in_part or run.result.get("whole", True)
            else:
                half_way = run.error is not None and run.error.type == RestoredInPart.__name__
                wanted = in_part and half_way
            if wanted:
                yield run

    def delete_runs(self, run_ids: list[str]) -> None:
        """Deletes runs' records."""
        self.store.delete([self._run_key(run_id) for run_id in run_ids])

    # --- pages ---------------------------------------------------------------------------------

    def page(
        self,
        limit: int,
        after: str | None = None,
        *,
        backups: bool = False,
        kinds: Collection[RunKind] = (),
        states: Collection[RunState] = tuple(RunState),
    ) -> Page[Manifest | Run]:
        """A page of backups, of runs or of both, newest first; how many it has: `read_page`.

        A backup stands where its slot does, and a run where it began.

        Args:
            limit: of records, at least 1.
            after: the id that was the `last` of the page before, whether it still exists or not.
            backups: whether backups are wanted.
            kinds: of the runs that are wanted.
            states: of those.

        Raises UnknownFormat, StorageError.
        """
        bound = None if after is None else _place(after)
        # A tilde comes behind all that an id may go on with.
        before = None if bound is None else f"{bound[0]}~"
        of_backups = map(_place, self.ids() if backups else ())
        of_runs = map(_place, self.run_ids(before=before) if kinds else ())
        places = heapq.merge(of_backups, of_runs, reverse=True)
        return read_page(
            (it for moment, it in places if bound is None or (moment, it) < bound),
            lambda record_id: self._listed(record_id, kinds, states),
            limit=limit,
            worth_reading=lambda record_id: (
                _is_of_backup(record_id) or any(f"-{kind}-" in record_id for kind in kinds)
            ),
        )

    def _listed(
        self, record_id: str, kinds: Collection[RunKind], states: Collection[RunState]
    ) -> Manifest | Run | None:
        if _is_of_backup(record_id):
            return self.find(record_id)
        try:
            run = self.get_run(record_id)
        except NotFound:  # cleanup may delete one while they are read
            return None
        return run if run.kind in kinds and run.state in states else None

    # --- the lease -----------------------------------------------------------------------------

    def acquire(
        self, run_id: str, kind: RunKind, backup_id: str | None, term: timedelta
    ) -> HeldLease:
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
                stored = self.store.get(self.lease_key)
                holder = read_document(Lease, stored.body, "lease")
                if holder.expires_at > now:
                    break
                etag = self.store.put_over(self.lease_key, body, stored.etag)
                return HeldLease(self, lease, etag, term)
            except ObjectNotFound:
                with suppress(PreconditionFailed):
                    etag = self.store.put_new(self.lease_key, body)
                    return HeldLease(self, lease, etag, term)
            except PreconditionFailed:
                # It changed hands just now; the next look tells whose it is.
                continue
        raise _held_by(holder)

    def check_lease_is_free(self) -> None:
        """Raises LeaseHeld, which says who has the right to write, while somebody has."""
        holder = self.lease_holder()
        if holder is not None:
            raise _held_by(holder)

    def lease_holder(self) -> Lease | None:
        """The lease that stands now, if any."""
        try:
            lease = read_document(Lease, self.store.get(self.lease_key).body, "lease")
        except ObjectNotFound:
            return None
        return lease if lease.expires_at > self.now() else None

    def backup_in_use(self) -> str | None:
        """The backup that the run which holds the lease is at work on, if any."""
        holder = self.lease_holder()
        return None if holder is None else holder.backup_id

    # --- the pause of scheduled restores -------------------------------------------------------

    def pause_restores(self, by: str, reason: str) -> Pause:
        """Keeps scheduled restores from starting until they are resumed; may be called again."""
        pause = Pause(by=by, reason=reason, since=self.now())
        self.store.put(self._pause_key, pause.model_dump_json(indent=1).encode())
        return pause

    def resume_restores(self) -> None:
        """Lets scheduled restores start again; does nothing when they may already."""
        self.store.delete([self._pause_key])

    def restores_paused(self) -> Pause | None:
        """The pause that stands, if any; raises UnknownFormat rather than to overlook one."""
        try:
            return read_document(Pause, self.store.get(self._pause_key).body, "pause")
        except ObjectNotFound:
            return None
