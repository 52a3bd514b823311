"""The catalog: what lies in the bucket, by its nouns; `keys` says where each lies."""

import heapq
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog.backups import BackupLock, Backups
from lcp_backup.catalog.downloads import Downloads
from lcp_backup.catalog.keys import Keys
from lcp_backup.catalog.lease import StoredLease
from lcp_backup.catalog.pause import StoredPause
from lcp_backup.catalog.pins import Pins
from lcp_backup.catalog.reports import Reports
from lcp_backup.catalog.runs import TIME_DIGITS, Runs
from lcp_backup.catalog.scripts import StoredScripts
from lcp_backup.catalog.uploads import StoredUploads
from lcp_backup.catalog.usage import StoredBytes
from lcp_backup.catalog.verifications import StoredVerifications
from lcp_backup.catalog.work import StoredWork
from lcp_backup.errors import NotFound, UnknownFormat
from lcp_backup.model import BackupId, Manifest, Run, RunKind, RunState
from lcp_backup.pages import Page, read_page

type Clock = Callable[[], datetime]
"""The time now, aware and in UTC."""

_SLOT_AT_END = re.compile(r"-(?P<day>[0-9]{8})(?P<minute>[0-9]{4})$")
"""How ids of backups end, and those of runs do not."""


def utc_now() -> datetime:
    """The clock of a real run."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Unreadable:
    """A backup whose manifest this version cannot read: damaged, copied, or of a later version."""

    id: str
    reason: str

    @property
    def slot(self) -> datetime:
        """As its id tells it."""
        return BackupId.parse(self.id).slot


class Catalog:
    """The backups, downloads, runs, uploads and lease of one environment: one prefix of one bucket.

    Arguments: `prefix` without a slash at either end, may be empty; `clock` answers aware UTC;
    `lock` is what the objects of new backups get.
    """

    def __init__(
        self,
        store: ObjectStore,
        prefix: str,
        clock: Clock = utc_now,
        *,
        lock: BackupLock | None = None,
    ) -> None:
        keys = Keys(prefix)
        self.now = clock
        self.location = f"s3://{store.bucket}/{keys.root}"
        """Where this catalog lies, for messages."""
        self.backups = Backups(store, keys, clock, lock)
        self.verifications = StoredVerifications(store, keys)
        self.pins = Pins(store, keys, clock)
        self.reports = Reports(store, keys)
        self.runs = Runs(store, keys, clock)
        self.work = StoredWork(store, keys)
        self.uploads = StoredUploads(store, keys)
        self.downloads = Downloads(store, keys)
        self.lease = StoredLease(store, keys, clock)
        self.scripts = StoredScripts(store)
        self.pause = StoredPause(store, keys, clock)
        self.bytes = StoredBytes(store, keys)

    def page(
        self,
        limit: int,
        after: str | None = None,
        *,
        backups: bool = False,
        kinds: Collection[RunKind] = (),
        states: Collection[RunState] = tuple(RunState),
        also_unreadable: bool = False,
    ) -> Page[Manifest | Run | Unreadable]:
        """A page of backups, of runs or of both, newest first; how many it has: `read_page`.

        A backup stands where its slot does, and a run where it began.

        Args:
            limit: of records, at least 1.
            after: the id that was the `last` of the page before, whether it still exists or not.
            backups: whether backups are wanted.
            kinds: of the runs that are wanted.
            states: of those.
            also_unreadable: True has backups among them whose manifests this version cannot read;
                else these are passed over.

        Raises UnknownFormat of a run's record, StorageError.
        """
        bound = None if after is None else _place(after)
        # A tilde comes behind all that an id may go on with.
        before = None if bound is None else f"{bound[0]}~"
        of_backups = map(_place, self.backups.ids() if backups else ())
        of_runs = map(_place, self.runs.ids(before=before) if kinds else ())
        places = heapq.merge(of_backups, of_runs, reverse=True)
        return read_page(
            (it for moment, it in places if bound is None or (moment, it) < bound),
            lambda record_id: self._listed(record_id, kinds, states, also_unreadable),
            limit=limit,
            worth_reading=lambda record_id: (
                _is_of_backup(record_id) or any(f"-{kind}-" in record_id for kind in kinds)
            ),
        )

    def _listed(
        self,
        record_id: str,
        kinds: Collection[RunKind],
        states: Collection[RunState],
        also_unreadable: bool,
    ) -> Manifest | Run | Unreadable | None:
        if _is_of_backup(record_id):
            try:
                return self.backups.find(record_id)
            except UnknownFormat as error:
                return Unreadable(record_id, str(error)) if also_unreadable else None
        try:
            run = self.runs.get(record_id)
        except NotFound:  # cleanup may delete one while they are read
            return None
        return run if run.kind in kinds and run.state in states else None


def _is_of_backup(record_id: str) -> bool:
    return _SLOT_AT_END.search(record_id) is not None


def _place(record_id: str) -> tuple[str, str]:
    """Where the id of a backup or of a run stands among both: at its time, and there by itself."""
    slot = _SLOT_AT_END.search(record_id)
    moment = f"{slot['day']}T{slot['minute']}00" if slot else record_id[:TIME_DIGITS]
    return moment, record_id
