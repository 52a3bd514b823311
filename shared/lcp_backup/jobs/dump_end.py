"""How the dump of a create by workers goes and ends, where a task of its own may do it.

A function's errors reach the state machine by their class. Of a task it learns no more than an exit
code, so the dump leaves here what became of it, and a step after the task tells the machine.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from aws_lambda_powertools import Logger

from lcp_backup.catalog.work import ERROR, RunWork
from lcp_backup.errors import DumpFailed, TableChangedDuringDump
from lcp_backup.jobs.failure import describe, log_failure
from lcp_backup.jobs.task_end import STARTS_WITHIN, failure_of, reason_left
from lcp_backup.model import RunError

SNAPSHOT: Final = "snapshot"
"""Is there once the dump's snapshot stands."""
DATABASE: Final = "database"
"""What became of the dump."""
DUMPING: Final = "dumping"
"""Is there once the dump was begun."""
_WAITING: Final = "waiting"
"""Since when the dump's snapshot is waited for."""
DUMP_ERROR: Final = "dump-error"
"""How the dump failed, in its own words."""
_TASK: Final = "the task that dumps the database"


def dump_has_to_begin(work: RunWork, now: Callable[[], datetime]) -> Callable[[], None]:
    """A check for who waits for the snapshot; raises DumpFailed when nobody begins to dump.

    A task may hang before it is started. The run then ends within minutes, and not by the timeout
    of its machine, which lets a dump take hours.
    """
    found = work.find(_WAITING)
    since = now() if found is None else datetime.fromisoformat(found.decode())
    if found is None:
        work.put(_WAITING, since.isoformat().encode())

    def check() -> None:
        if now() - since > STARTS_WITHIN and work.find(DUMPING) is None:
            minutes = STARTS_WITHIN // timedelta(minutes=1)
            raise DumpFailed(
                f"nobody began to dump within {minutes} minutes",
                public=f"nobody began to dump the database within {minutes} minutes: too many"
                " functions run at once, or the task in DumpTaskSubnetIds did not get that far",
            )

    return check


def check_dumped(work: RunWork, told: Mapping[str, str], log: Logger) -> None:
    """Returns when the dump is whole; raises TableChangedDuringDump or DumpFailed otherwise.

    Arguments: `told` is the error that the state machine caught, if any. Where the dump left no
    reason of its own, one is left for the run's record that says what ECS did. Raises StorageError.
    """
    if work.find(DATABASE) is not None:
        return
    reason = reason_left(work, DUMP_ERROR)
    if reason is not None:
        kind = TableChangedDuringDump if _is_altered(reason) else DumpFailed
        raise kind(reason.message, public=reason.message)
    error = failure_of(DumpFailed, _TASK, told)
    log_failure(log, "the dump's task failed", work.run_id, error)
    work.put(ERROR, describe(error, work.run_id).model_dump_json().encode())
    raise error


def _is_altered(reason: RunError) -> bool:
    return reason.code == TableChangedDuringDump.code
