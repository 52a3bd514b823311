"""A run while it is under way: its lease, its record, its heartbeat and its end."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.lease import HeldLease
from lcp_backup.errors import (
    BackupError,
    LeaseHeld,
    LeaseLost,
    OutOfTime,
    StorageError,
    UnknownFormat,
    code_of,
)
from lcp_backup.jobs import queued_run
from lcp_backup.jobs.failure import describe, log_failure
from lcp_backup.model import Notice, Run, RunError, RunKind, RunState
from lcp_backup.telemetry import EventName, Telemetry

LEASE_TERM = timedelta(minutes=2)
"""How long a dead run's lease stands. Lambda tries a create or an upload again after one minute and
two more minutes later, so the second retry finds the lease free."""
HEARTBEAT = timedelta(seconds=15)
"""How often lease and record are renewed; several may fail before the lease expires."""


@dataclass(frozen=True)
class RunTiming:
    """How a run keeps its lease, and when it must have ended (None: whenever it likes)."""

    deadline: datetime | None = None
    lease_term: timedelta = LEASE_TERM
    heartbeat: timedelta = HEARTBEAT


class ActiveRun:
    """One execution, used as a context: holds the lease and keeps the record while the block runs.

    Entering raises LeaseHeld (the record then tells of the refusal) and StorageError. Leaving ends
    the record as succeeded or failed, whatever ended the block, and gives the lease back. Methods
    may be called from several threads.

    With a `run_id` the record is that run's, and an event may be delivered twice. Whoever reads a
    record that has ended can rely on it: entering then raises RunIsOver. While another delivery
    holds the lease for this run, entering raises LeaseHeld and leaves the record to that one.
    """

    def __init__(
        self,
        catalog: Catalog,
        telemetry: Telemetry,
        kind: RunKind,
        backup_id: str | None,
        timing: RunTiming,
        *,
        run_id: str | None = None,
        backup_run_id: str | None = None,
    ) -> None:
        now = catalog.now()
        self._catalog = catalog
        self._log = telemetry.log
        self._timing = timing
        self._record = Run(
            id=run_id or catalog.runs.new_id(kind),
            kind=kind,
            state=RunState.RUNNING,
            backup_id=backup_id,
            backup_run_id=backup_run_id,
            started_at=now,
            updated_at=now,
        )
        self._was_given = run_id is not None
        self.is_another_deliverys = False
        """Whether it could not begin because another delivery of its event does it, or did."""
        self._lease: HeldLease | None = None
        self._lost: LeaseLost | None = None
        self._renewed_at = now
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    @property
    def id(self) -> str:
        """The run's id."""
        return self._record.id

    @property
    def backup_id(self) -> str | None:
        """The backup it is at work on."""
        return self._record.backup_id

    @property
    def started_at(self) -> datetime:
        """When the run began, UTC."""
        return self._record.started_at

    def __enter__(self) -> Self:
        record = self._record
        self._log.append_keys(run_id=record.id, backup_id=record.backup_id)
        if record.kind.takes_lease:
            try:
                self._lease = self._catalog.lease.acquire(
                    record.id, record.kind, record.backup_id, self._timing.lease_term
                )
            except BackupError as error:
                self._log.warning(
                    "the run could not begin", error=code_of(error), reason=str(error)
                )
                self._end_refused(error)
                self._forget()
                raise
        try:
            # Under the lease, because the delivery that ended the run held it until then.
            if (
                self._was_given
                and (ended := queued_run.ended(self._catalog, record.id)) is not None
            ):
                self.is_another_deliverys = True
                raise queued_run.over(ended)
            self._catalog.runs.write(record)
        except BackupError as error:
            log_failure(self._log, "the run could not begin", record.id, error)
            self._release()
            self._forget()
            raise
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        self._ended.set()
        self._heart.join()
        if error is None:
            self._finish(RunState.SUCCEEDED, None)
        else:
            log_failure(self._log, "the run failed", self.id, error)
            if not self._was_taken_over(error):
                self._finish(RunState.FAILED, describe(error, self.id))
        self._release()
        self._forget()

    def _was_taken_over(self, error: BaseException) -> bool:
        """Whether another delivery of the event goes on with this run, so that it has not ended."""
        if self._lease is not None and isinstance(error, LeaseLost):
            with suppress(StorageError, UnknownFormat):
                return self._lease.is_with_another_delivery()
        return False

    def makes_the_same(self, error: BaseException) -> bool:
        """Whether what kept this run out is another run that makes the same backup."""
        return (
            isinstance(error, LeaseHeld)
            and error.kind == self._record.kind == RunKind.CREATE
            and error.backup_id == self.backup_id is not None
        )

    def _end_refused(self, error: BackupError) -> None:
        """Ends the record of a run that did not get the lease, unless it is another delivery's."""
        if isinstance(error, LeaseHeld) and error.run_id == self.id:
            self.is_another_deliverys = True
        elif isinstance(error, LeaseHeld) and self._record.kind is RunKind.UPLOAD:
            pass  # nobody is told that it failed: it stays queued, and Lambda tries again
        elif self.makes_the_same(error):
            pass  # no failure: its job waits for that one's backup
        elif not self._was_given:
            self._finish(RunState.FAILED, describe(error, self.id))
        elif isinstance(error, LeaseHeld):
            # Of a run that is under way this tells that it has died: it would hold the lease.
            with suppress(StorageError, UnknownFormat):
                if queued_run.ended(self._catalog, self.id) is None:
                    self._finish(RunState.FAILED, describe(error, self.id))

    def _forget(self) -> None:
        # The process lives on: its next lines are not about this run.
        self._log.remove_keys(["run_id", "backup_id"])

    def step(self, text: str, *, reason: str = "") -> None:
        """Says in words what the run does now; `reason` is for the log alone."""
        if reason:
            self._log.info(text, reason=reason)
        else:
            self._log.info(text)
        self._change(step=text)

    def detail(self, text: str, **facts: str | int | bool | None) -> None:
        """Says in the log, at DEBUG, what helps who looks for a fault; no fact may be a secret."""
        self._log.debug(text, extra=facts)

    def progress_of(self, what: str) -> Callable[[int], None]:
        """A callable that counts bytes of `what` as they get done."""

        def report(more: int) -> None:
            with self._lock:
                done = self._record.progress.get(what, 0) + more
                progress = {**self._record.progress, what: done}
                self._record = self._record.model_copy(update={"progress": progress})

        return report

    def set_backup(self, backup_id: str) -> None:
        """Says which backup the run is about, when that is known only once it is under way."""
        self._log.append_keys(backup_id=backup_id)
        self._change(backup_id=backup_id)

    def add_notices(self, notices: tuple[Notice, ...]) -> None:
        """Keeps what a reader of the record should know."""
        with self._lock:
            kept = (*self._record.warnings, *notices)
            self._record = self._record.model_copy(update={"warnings": kept})

    def set_result(self, **result: str | int | bool | list[str] | None) -> None:
        """What the record says of a run that succeeds."""
        self._change(result=result)

    def check(self) -> None:
        """Call it often, it is cheap; raises LeaseLost or OutOfTime when the run has to stop."""
        if self._lost is not None:
            raise self._lost
        now = self._catalog.now()
        if now >= self._renewed_at + self._timing.lease_term:
            raise LeaseLost(
                f"run {self.id} could not renew its right to write in time; it changed nothing more"
            )
        if self._timing.deadline is not None and now >= self._timing.deadline:
            raise OutOfTime(
                f"run {self.id} stopped at {now:%H:%M:%S} UTC because the function's time was about"
                " to end; raise the function's timeout or memory"
            )

    def confirm(self) -> None:
        """Makes sure that this run still may write; for just before a step that counts.

        Raises LeaseLost, OutOfTime, StorageError.
        """
        self.check()
        self._renew()

    def _renew(self) -> None:
        asked_at = self._catalog.now()
        try:
            if self._lease is not None:
                self._lease.renew()
        except LeaseLost as error:
            self._lost = error
            raise
        self._renewed_at = asked_at

    def _release(self) -> None:
        if self._lease is None:
            return
        try:
            self._lease.release()
        except StorageError as error:
            self._log.warning("the lease stands until it expires", reason=str(error))

    def _change(self, **update: object) -> None:
        with self._lock:
            changed = {"updated_at": self._catalog.now(), **update}
            self._record = self._record.model_copy(update=changed)

    def _beat(self) -> None:
        while not self._ended.wait(self._timing.heartbeat.total_seconds()):
            try:
                self._renew()
                self._change()
                self._catalog.runs.write(self._record)
                self.detail("a heartbeat was written", **self._record.progress)
            except LeaseLost:
                return
            except StorageError as error:
                # The next beat may succeed; until then `check` knows how long the lease stands.
                self._log.warning("a heartbeat failed", reason=str(error))

    def _finish(self, state: RunState, error: RunError | None) -> None:
        self._change(state=state, finished_at=self._catalog.now(), error=error)
        try:
            self._catalog.runs.write(self._record)
        except StorageError as failure:
            # What the run did stands; a record that cannot be kept must not change its outcome.
            self._log.error("the run's record could not be kept", reason=str(failure))


@contextmanager
def announced(
    active: ActiveRun, telemetry: Telemetry, *, metric: str, failed: EventName
) -> Iterator[ActiveRun]:
    """One run from lease to event: a failure of the block is counted and told the event bus.

    Not counted is what another delivery of the event goes on with, and a create that another run
    makes as well. A success is the caller's to tell, who knows what came of it.

    Args:
        metric: of a failure, such as `CreateFailure`.
        failed: the event.
    """
    try:
        with active as run:
            yield run
    except BaseException as error:
        if not (active.is_another_deliverys or active.makes_the_same(error)):
            telemetry.count(**{metric: 1})
            reason = describe(error, active.id)
            telemetry.announce(
                failed,
                {"backupId": active.backup_id, "error": reason.code, "reason": reason.message},
            )
        raise
