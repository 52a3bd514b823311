"""A run as the bucket has it: its record, and its lease while it is under way."""

import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from datetime import timedelta

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.lease import HeldLease
from lcp_backup.errors import (
    BackupError,
    LeaseHeld,
    LeaseLost,
    NotFound,
    StorageError,
    UnknownFormat,
)
from lcp_backup.jobs import queued_run
from lcp_backup.jobs.failure import describe
from lcp_backup.model import Notice, Run, RunKind, RunState


class StoredRun(ABC):
    """One run: nothing of it is stored before `open`, and after it only what `write` is told to.

    Methods may be called from several threads.
    """

    def __init__(self, catalog: Catalog, record: Run) -> None:
        self.catalog = catalog
        self._record = record
        self.is_another_deliverys = False
        """Whether it could not begin because another delivery of its event does it, or did."""
        self.is_handed_over = False
        """Whether another process goes on with it."""
        self._lease: HeldLease | None = None
        self._lost: LeaseLost | None = None
        self._renewed_at = catalog.now()
        self._term = timedelta(0)
        self._lock = threading.Lock()

    @property
    def record(self) -> Run:
        """What is known of it here, written or not."""
        return self._record

    def open(self, term: timedelta) -> None:
        """Takes the lease for `term`, if runs of this kind need one, and sees to the record.

        Raises LeaseHeld, LeaseLost, RunIsOver, StorageError, UnknownFormat.
        """
        asked_at = self.catalog.now()
        if self._record.kind.takes_lease:
            try:
                self._lease = self._take_lease(term)
            except BackupError as error:
                with suppress(StorageError, UnknownFormat):
                    self._end_refused(error)
                raise
        self._renewed_at, self._term = asked_at, term
        self._begin()

    @abstractmethod
    def _take_lease(self, term: timedelta) -> HeldLease: ...

    @abstractmethod
    def _end_refused(self, error: BackupError) -> None:
        """Ends the record of a run that did not get the lease, where that is to be told."""

    @abstractmethod
    def _begin(self) -> None:
        """Reads or writes the record, under the lease."""

    def makes_the_same(self, error: BaseException) -> bool:
        """Whether what kept this run out is another run that makes the same backup."""
        return (
            isinstance(error, LeaseHeld)
            and error.kind == self._record.kind == RunKind.CREATE
            and error.backup_id == self._record.backup_id is not None
        )

    # --- the lease ------------------------------------------------------------

    def check(self) -> None:
        """Asks nobody; raises LeaseLost when the lease was lost, or may have expired by now."""
        if self._lost is not None:
            raise self._lost
        if self.catalog.now() >= self._renewed_at + self._term:
            raise LeaseLost(
                f"run {self._record.id} could not renew its right to write in time; it changed"
                " nothing more"
            )

    def renew(self, term: timedelta | None = None) -> None:
        """Moves the lease's expiry ahead, by its term or this one.

        Raises LeaseLost, StorageError.
        """
        asked_at = self.catalog.now()
        try:
            if self._lease is not None:
                self._lease.renew(term)
        except LeaseLost as error:
            self._lost = error
            raise
        self._renewed_at = asked_at

    def release(self) -> None:
        """Gives the lease back; raises StorageError, and it then stands until it expires."""
        if self._lease is not None:
            self._lease.release()

    # --- the record -----------------------------------------------------------

    def change(self, **update: object) -> None:
        """Changes fields of the record, which is not written yet."""
        with self._lock:
            changed = {"updated_at": self.catalog.now(), **update}
            self._record = self._record.model_copy(update=changed)

    def add_progress(self, what: str, more: int) -> None:
        """Counts bytes of `what`, for the next time the record is written."""
        with self._lock:
            done = self._record.progress.get(what, 0) + more
            progress = {**self._record.progress, what: done}
            self._record = self._record.model_copy(update={"progress": progress})

    def add_notices(self, notices: tuple[Notice, ...]) -> None:
        """Adds what a reader of the record should know, for the next time it is written."""
        with self._lock:
            kept = (*self._record.warnings, *notices)
            self._record = self._record.model_copy(update={"warnings": kept})

    def write(self) -> None:
        """Stores the record over the one that was there; raises StorageError."""
        self.catalog.runs.write(self._record)

    def end(self, error: BaseException | None) -> None:
        """The record of a run that succeeded, or failed with this; raises StorageError."""
        state, told = RunState.SUCCEEDED, None
        if error is not None:
            state, told = RunState.FAILED, describe(error, self._record.id)
        self.change(state=state, finished_at=self.catalog.now(), error=told)
        self.write()

    def hand_over(self, term: timedelta | None) -> None:
        """Leaves lease and record, both renewed, to another process, which begins within `term`.

        Raises LeaseLost, StorageError.
        """
        self.renew(term)
        self.change()
        self.write()
        self.is_handed_over = True

    def is_out_of_its_hands(self, error: BaseException) -> bool:
        """Whether another delivery goes on with this run, or another process has ended it.

        It may be asked for anew since.
        """
        if self._lease is not None and (isinstance(error, LeaseLost) or self.is_handed_over):
            with suppress(NotFound, StorageError, UnknownFormat):
                return self._lease.is_with_another_delivery() or self._was_ended_elsewhere()
        return False

    def _was_ended_elsewhere(self) -> bool:
        run = self.catalog.runs.get(self._record.id)
        return run.state.ended or run.state is RunState.QUEUED

    def _has_ended(self) -> bool:
        return queued_run.ended(self.catalog, self._record.id) is not None


class NewRun(StoredRun):
    """A run that begins here.

    With a `run_id` the record is that run's, and an event may be delivered twice. Whoever reads a
    record that has ended can rely on it: to open the run then raises RunIsOver. While another
    delivery holds the lease for this run, LeaseHeld is raised and the record left to that one.
    """

    def __init__(
        self,
        catalog: Catalog,
        kind: RunKind,
        backup_id: str | None,
        *,
        run_id: str | None = None,
        backup_run_id: str | None = None,
    ) -> None:
        now = catalog.now()
        record = Run(
            id=run_id or catalog.runs.new_id(kind),
            kind=kind,
            state=RunState.RUNNING,
            backup_id=backup_id,
            backup_run_id=backup_run_id,
            started_at=now,
            updated_at=now,
        )
        super().__init__(catalog, record)
        self._was_given = run_id is not None

    def _take_lease(self, term: timedelta) -> HeldLease:
        record = self._record
        return self.catalog.lease.acquire(record.id, record.kind, record.backup_id, term)

    def _end_refused(self, error: BackupError) -> None:
        if isinstance(error, LeaseHeld) and error.run_id == self._record.id:
            self.is_another_deliverys = True
        elif isinstance(error, LeaseHeld) and self._record.kind is RunKind.UPLOAD:
            pass  # nobody is told that it failed: it stays queued, and Lambda tries again
        elif self.makes_the_same(error):
            pass  # no failure: its job waits for that one's backup
        elif not self._was_given:
            self.end(error)
        elif isinstance(error, LeaseHeld) and not self._has_ended():
            # Of a run that is under way this tells that it has died: it would hold the lease.
            self.end(error)

    def _begin(self) -> None:
        try:
            # The delivery that ended the run held the lease until then.
            if self._was_given:
                self._follow_earlier_delivery()
            self.write()
        except BackupError:
            with suppress(StorageError):  # then it stands until it expires
                self.release()
            raise

    def _follow_earlier_delivery(self) -> None:
        try:
            earlier = self.catalog.runs.get(self._record.id)
        except NotFound:
            return
        if earlier.state.ended:
            self.is_another_deliverys = True
            raise queued_run.over(earlier)
        # What one that was killed has said of what it touched stays true.
        self.change(result=earlier.result)


class LeftRun(StoredRun):
    """A run that another process began and left; it goes on here, under its lease and record.

    All that is needed is its id. Only the lease may be held by several processes at once: the
    record is written as a whole, so it is kept by one process, and then by the next.

    To open it raises LeaseLost when another run has written meanwhile: this one then ends as
    failed. Raises NotFound when there is no such run.
    """

    def __init__(self, catalog: Catalog, run_id: str) -> None:
        super().__init__(catalog, catalog.runs.get(run_id))

    def _take_lease(self, term: timedelta) -> HeldLease:
        return self.catalog.lease.take_up(self._record.id, term)

    def _end_refused(self, error: BackupError) -> None:
        if isinstance(error, LeaseLost) and not self._has_ended():
            self.end(error)

    def _begin(self) -> None:
        # After a failure the lease is left as it is: other processes of the run may be at work.
        self._record = self.catalog.runs.get(self._record.id)
        if self._record.state.ended:
            self.is_another_deliverys = True
            with suppress(StorageError):
                self.release()
            raise queued_run.over(self._record)
