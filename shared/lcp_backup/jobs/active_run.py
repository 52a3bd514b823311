"""A run that this process is at work on: its heartbeat, its deadline, and how it ends."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from lcp_backup.errors import (
    BackupError,
    LeaseHeld,
    LeaseLost,
    OutOfTime,
    StorageError,
    code_of,
)
from lcp_backup.jobs.failure import describe, log_failure
from lcp_backup.jobs.stored_run import StoredRun
from lcp_backup.model import Notice
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
    whose_time: str = "the function's time was about to end; raise the function's timeout or memory"
    """What a run says that its deadline stops, and the way out."""

    def seconds_left(self, now: datetime) -> float | None:
        """How long it may still last; None: as long as it likes."""
        return None if self.deadline is None else (self.deadline - now).total_seconds()


class ActiveRun:
    """This process's work on a run, used as a context: the run is kept alive while the block runs.

    Entering opens the run and raises what that raises. Leaving ends the record as succeeded or
    failed, whatever ended the block, and gives the lease back; unless the run was handed over.
    Methods may be called from several threads.
    """

    def __init__(self, stored: StoredRun, telemetry: Telemetry, timing: RunTiming) -> None:
        self._stored = stored
        self._log = telemetry.log
        self._timing = timing
        self._stopped = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    @property
    def id(self) -> str:
        """The run's id."""
        return self._stored.record.id

    @property
    def backup_id(self) -> str | None:
        """The backup it is at work on."""
        return self._stored.record.backup_id

    @property
    def result(self) -> Mapping[str, object]:
        """What its record says so far: also what an earlier delivery that was killed has said."""
        return self._stored.record.result

    @property
    def started_at(self) -> datetime:
        """When the run began, in whichever process, UTC."""
        return self._stored.record.started_at

    @property
    def deadline(self) -> datetime | None:
        """When it must have stopped, UTC; None: whenever it likes."""
        return self._timing.deadline

    def now(self) -> datetime:
        """The time now, by the clock of its deadline."""
        return self._stored.catalog.now()

    def seconds_left(self) -> float | None:
        """How long it may still last; None: as long as it likes."""
        return self._timing.seconds_left(self.now())

    def is_no_failure(self, error: BaseException) -> bool:
        """Whether what kept this run out is another delivery of its event, or makes its backup."""
        return self._stored.is_another_deliverys or self._stored.makes_the_same(error)

    def __enter__(self) -> Self:
        self._log.append_keys(run_id=self.id, backup_id=self.backup_id)
        try:
            self._stored.open(self._timing.lease_term)
        except BackupError as error:
            text = "the run could not begin"
            if isinstance(error, LeaseHeld | LeaseLost):
                self._log.warning(text, error=code_of(error), reason=str(error))
            else:
                log_failure(self._log, text, self.id, error)
            self._forget()
            raise
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        self._stop_heart()
        if error is not None:
            log_failure(self._log, "the run failed", self.id, error)
        if error is not None or not self._stored.is_handed_over:
            self._end(error)
        self._forget()

    def _end(self, error: BaseException | None) -> None:
        if error is None or not self._stored.is_out_of_its_hands(error):
            try:
                self._stored.end(error)
            except StorageError as failure:
                # What the run did stands; a record that cannot be kept must not change its outcome.
                self._log.error("the run's record could not be kept", reason=str(failure))
        try:
            self._stored.release()
        except StorageError as failure:
            self._log.warning("the lease stands until it expires", reason=str(failure))

    def _forget(self) -> None:
        # The process lives on: its next lines are not about this run.
        self._log.remove_keys(["run_id", "backup_id"])

    def hand_over(self, term: timedelta | None = None) -> None:
        """Leaves the run to another process, which opens it as a LeftRun; call it before that does.

        Lease and record are renewed once more, and from then on are the other one's to renew.
        Should the block fail all the same, the run fails. Raises LeaseLost, OutOfTime,
        StorageError.

        Arguments: within `term` the other process begins; None: as long as the lease stands.
        """
        self._stop_heart()
        self.check()
        self._stored.hand_over(term)

    def step(self, text: str, *, reason: str = "") -> None:
        """Says in words what the run does now; `reason` is for the log alone."""
        if reason:
            self._log.info(text, reason=reason)
        else:
            self._log.info(text)
        self._stored.change(step=text)

    def detail(self, text: str, **facts: str | int | bool | None) -> None:
        """Says in the log, at DEBUG, what helps who looks for a fault; no fact may be a secret."""
        self._log.debug(text, extra=facts)

    def progress_of(self, what: str) -> Callable[[int], None]:
        """A callable that counts bytes of `what` as they get done."""

        def report(more: int) -> None:
            self._stored.add_progress(what, more)

        return report

    def set_backup(self, backup_id: str) -> None:
        """Says which backup the run is about, when that is known only once it is under way."""
        self._log.append_keys(backup_id=backup_id)
        self._stored.change(backup_id=backup_id)

    def add_notices(self, notices: tuple[Notice, ...]) -> None:
        """Keeps what a reader of the record should know."""
        self._stored.add_notices(notices)

    def set_result(self, **result: str | int | bool | list[str] | None) -> None:
        """What the record says of a run that succeeds."""
        self._stored.change(result=result)

    def write_down(self) -> None:
        """Writes the record now, not with the next heartbeat; raises LeaseLost, StorageError."""
        self._stored.write()

    def check(self) -> None:
        """Call it often, it is cheap; raises LeaseLost or OutOfTime when the run has to stop."""
        self._stored.check()
        now = self._stored.catalog.now()
        if self._timing.deadline is not None and now >= self._timing.deadline:
            raise OutOfTime(
                f"run {self.id} stopped at {now:%H:%M:%S} UTC because {self._timing.whose_time}"
            )

    def confirm(self) -> None:
        """Makes sure that this run still may write; for just before a step that counts.

        Raises LeaseLost, OutOfTime, StorageError.
        """
        self.check()
        self._stored.renew()

    def _stop_heart(self) -> None:
        self._stopped.set()
        self._heart.join()

    def _beat(self) -> None:
        while not self._stopped.wait(self._timing.heartbeat.total_seconds()):
            try:
                self._stored.renew()
                self._stored.change()
                self._stored.write()
                self.detail("a heartbeat was written", **self._stored.record.progress)
            except LeaseLost:
                return
            except StorageError as error:
                # The next beat may succeed; until then `check` knows how long the lease stands.
                self._log.warning("a heartbeat failed", reason=str(error))


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
        if not active.is_no_failure(error):
            telemetry.count(**{metric: 1})
            reason = describe(error, active.id)
            telemetry.announce(
                failed,
                {"backupId": active.backup_id, "error": reason.code, "reason": reason.message},
            )
        raise
