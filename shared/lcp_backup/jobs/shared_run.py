"""A run that several processes work on side by side: one lease, one record, one end."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Final

from pydantic import ValidationError

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.lease import HeldLease
from lcp_backup.catalog.work import ERROR, RunWork
from lcp_backup.errors import BackupError, LeaseLost, StorageError
from lcp_backup.jobs import queued_run
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.failure import DIED, describe
from lcp_backup.jobs.stored_run import StoredRun
from lcp_backup.model import Notice, Run, RunError, RunState

SHARED_TERM: Final = timedelta(minutes=5)
"""How long the lease of such a run stands when nobody renews it: between two of its processes there
may be none at work, while a state machine waits for functions to start or tries one again."""
_CLOSING_TIME: Final = timedelta(seconds=60)
"""How long before its deadline a process ends a stretch, at most: half of its time otherwise. What
waits in memory is then sent, some 100 MB."""
_THROTTLED: Final = "Lambda.TooManyRequestsException"
_WITHOUT_A_WORD: Final = ("Sandbox.", "Runtime.", "Lambda.", "States.Timeout")
"""How the names begin of what a state machine says of a function that was killed or never began."""


class SharedRun(StoredRun):
    """One process's part in a run that another has begun, beside others.

    Lease and record are shared: any of them renews the lease, and each adds to the record what it
    has to say, without a word of the others' being lost. A process that fails ends nothing: it
    leaves the reason, takes back the bytes that it counted, and may be tried again. Who ends the
    run says so by `settle`.

    To open it raises LeaseLost when another run has written meanwhile, RunIsOver when the run has
    ended, NotFound when there is no such run.
    """

    def __init__(self, catalog: Catalog, run_id: str) -> None:
        super().__init__(catalog, catalog.runs.get(run_id))
        self._counted: dict[str, int] = {}
        self._written: dict[str, int] = {}
        self._told: list[Notice] = []
        self._changed: dict[str, object] = {}
        self._ends = self._has_settled = False

    def settle(self) -> None:
        """From here on this process ends the run, one way or the other."""
        self._ends = True

    @property
    def has_ended_it(self) -> bool:
        """Whether this process has written the end of the run into its record."""
        return self._has_settled

    def _take_lease(self, term: timedelta) -> HeldLease:
        return self.catalog.lease.take_up(self._record.id, term)

    def _end_refused(self, error: BackupError) -> None:
        self._leave_reason(error)

    def _begin(self) -> None:
        self._record = self.catalog.runs.get(self._record.id)
        if self._record.state.ended:
            self.is_another_deliverys = True
            with suppress(StorageError):
                super().release()
            raise queued_run.over(self._record)

    # --- the record -----------------------------------------------------------

    def change(self, **update: object) -> None:
        with self._lock:
            self._changed |= update
            self._record = self._record.model_copy(update=update)

    def add_progress(self, what: str, more: int) -> None:
        with self._lock:
            self._counted[what] = self._counted.get(what, 0) + more

    def add_notices(self, notices: tuple[Notice, ...]) -> None:
        with self._lock:
            self._told += notices

    def write(self) -> None:
        """Adds to the record what is new here; raises LeaseLost when the run has ended."""
        with self._lock:
            counted = dict(self._counted)
            told, self._told = tuple(self._told), []
            changed, self._changed = self._changed, {}

        def add(run: Run) -> Run:
            if run.state.ended:
                # (Of a run without a lease, nothing else tells its processes.)
                self._lost = LeaseLost(f"run {run.id} was ended by another process meanwhile")
                raise self._lost
            progress = dict(run.progress)
            for what, count in counted.items():
                progress[what] = progress.get(what, 0) + count - self._written.get(what, 0)
            more = {"progress": progress, "updated_at": self.catalog.now()}
            warnings = (*run.warnings, *(it for it in told if it not in run.warnings))
            return run.model_copy(update={**changed, **more, "warnings": warnings})

        try:
            self._record = self.catalog.runs.change(self._record.id, add)
        except BaseException:
            with self._lock:  # the next write says it
                self._told = [*told, *self._told]
                self._changed = changed | self._changed
            raise
        self._written = counted

    def end(self, error: BaseException | None) -> None:
        self.end_as(None if error is None else describe(error, self._record.id))

    def end_as(self, error: RunError | None) -> None:
        """Ends the record: succeeded, or failed for this reason; raises StorageError."""
        if self._has_settled:
            return
        state = RunState.SUCCEEDED if error is None else RunState.FAILED
        self.change(state=state, finished_at=self.catalog.now(), error=error)
        self.write()
        self._has_settled = True

    # --- how a process leaves -------------------------------------------------

    def release(self) -> None:
        if self._ends:
            super().release()

    def is_out_of_its_hands(self, error: BaseException) -> bool:
        if self._ends:
            return super().is_out_of_its_hands(error)
        self._leave_reason(error)
        with self._lock:
            self._counted = dict.fromkeys(self._counted, 0)
        # (Where that fails it is no more than a number that is too large, in a failing run.)
        with suppress(BackupError):
            self.write()
        return True

    def _leave_reason(self, error: BaseException) -> None:
        reason = describe(error, self._record.id).model_dump_json().encode()
        # (Where that fails, the state machine's own word has to do.)
        with suppress(StorageError):
            self.catalog.work.of(self._record.id).put(ERROR, reason)


def end_of_stretch(run: ActiveRun) -> Callable[[], bool]:
    """Tells when a step that goes on in a next invocation has to end this one."""
    deadline, now = run.deadline, run.now()
    if deadline is None:
        return lambda: False
    over = deadline - min(_CLOSING_TIME, (deadline - now) / 2)
    return lambda: run.now() >= over


def why_it_failed(work: RunWork, told: Mapping[str, str]) -> RunError:
    """In the words of the process that failed last, or else of the state machine.

    What a process left is passed over where the last one said nothing: it was tried again since.

    Arguments: `told` is the error that the state machine caught. Raises StorageError.
    """
    error = told.get("Error", "no reason")[:100]
    left = None if error.startswith(_WITHOUT_A_WORD) else work.find(ERROR)
    if left is not None:
        with suppress(ValidationError):
            return RunError.model_validate_json(left)
    what = "ended without a word"
    why = "killed, out of memory or out of time"
    if error == _THROTTLED:
        what, why = "could not be started for minutes", "too many functions run at once"
    return RunError(code=DIED, message=f"a worker of run {work.run_id} {what} ({error}): {why}")


def end_without_lease(
    catalog: Catalog, run_id: str, reason: RunError | None, result: Mapping[str, int] | None = None
) -> None:
    """Ends the record of a run whose lease another one has; what goes wrong is left to cleanup.

    Arguments: without a `reason` it has succeeded, with this result.
    """
    state = RunState.SUCCEEDED if reason is None else RunState.FAILED

    def end(run: Run) -> Run:
        if run.state.ended:
            return run
        now = catalog.now()
        fields = {"state": state, "finished_at": now, "updated_at": now, "error": reason}
        return run.model_copy(update={**fields, "result": dict(result or run.result)})

    with suppress(BackupError):
        catalog.runs.change(run_id, end)
