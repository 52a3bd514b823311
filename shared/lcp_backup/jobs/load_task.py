"""A dump that one process has to load all of, by a task of ECS that has hours for it.

That is a dump which has to be loaded in its order. It is known only once workers have tried to do
otherwise, so the state machine asks the function first, which says whether a task is to do it; and
after the task, whatever became of it, once more.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from aws_lambda_powertools import Logger

from lcp_backup.catalog.work import ERROR, RunWork
from lcp_backup.errors import TaskFailed
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.failure import describe, log_failure
from lcp_backup.jobs.load_fan_out import seconds_to_load
from lcp_backup.jobs.task_end import LONGEST, STARTS_WITHIN, failure_of, reason_left
from lcp_backup.model import Manifest
from lcp_backup.settings import Settings

LOAD_ERROR: Final = "load-error"
"""How a task's load failed, in its own words."""
TASKS_TIME: Final = (
    f"the {LONGEST // timedelta(hours=1)} hours were about to end that a task has: give"
    " the database's server more cores or memory for this restore"
)
"""What a run says whose task did not come to its end in time."""
_TASK: Final = "the task that loads the database"


def needs_task(manifest: Manifest, settings: Settings, seconds: float | None) -> bool:
    """Whether a task is to load a database, and not a function that has so many seconds left."""
    return (
        settings.dump_task_subnet_ids is not None
        and seconds is not None
        and seconds_to_load(manifest) >= seconds
    )


def leave_run(run: ActiveRun, *, to_task: bool) -> None:
    """Leaves a run to its next step, or first to the task; raises what `hand_over` raises."""
    if to_task:
        run.step("waiting for the task to start that loads the database")
        run.hand_over(STARTS_WITHIN)
    else:
        run.hand_over()


def check_loaded(work: RunWork, told: Mapping[str, str], log: Logger, *, is_loaded: bool) -> None:
    """Returns when the task did what it was to; raises TaskFailed otherwise, StorageError.

    Why it did not is left for the run's record: in the task's own words, or in those of ECS.

    Arguments: `told` is the error that the state machine caught, if any.
    """
    left = reason_left(work, LOAD_ERROR)
    # (Who failed has thrown away what was loaded, though S3 may have kept the word that it was.)
    if is_loaded and left is None:
        return
    error = failure_of(TaskFailed, _TASK, told)
    log_failure(log, "the task that loads failed", work.run_id, error)
    reason = left or describe(error, work.run_id)
    work.put(ERROR, reason.model_dump_json().encode())
    raise error
