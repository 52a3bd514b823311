"""How long a task of ECS may last, and what became of one that left no word of its own."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Final

from lcp_backup.catalog.work import RunWork
from lcp_backup.errors import BackupError, StorageError
from lcp_backup.jobs.failure import describe
from lcp_backup.model import RunError

LONGEST: Final = timedelta(hours=12)
"""How long one may work; the state machines wait for a little longer (the `*.asl.json` files)."""
STARTS_WITHIN: Final = timedelta(minutes=20)
"""For so long a task is waited for: Fargate takes about a minute to start one, and gives up some
minutes later. A function is tried again for 17 minutes where too many run (create.asl.json)."""
_KILLED: Final = 137
"""The exit code of a process that was killed: 128 and the signal's number."""


@contextmanager
def telling_why(work: RunWork, name: str) -> Iterator[None]:
    """Whatever ends the block, the reason is left under this name, for who looks after the task."""
    try:
        yield
    except BaseException as error:
        # (Where that fails, the words of ECS have to do.)
        with suppress(StorageError):
            work.put(name, describe(error, work.run_id).model_dump_json().encode())
        raise


def reason_left(work: RunWork, name: str) -> RunError | None:
    """How a task ended by its own word; None when it left none. Raises StorageError."""
    left = work.find(name)
    return None if left is None else RunError.model_validate_json(left)


def failure_of[Failure: BackupError](
    kind: type[Failure], task: str, told: Mapping[str, str]
) -> Failure:
    """The error of a task that left no word of its own.

    Arguments: `task` is what a sentence calls it; `told` is the error that the state machine
    caught, if any.
    """
    name, cause = told.get("Error", ""), told.get("Cause", "")
    return kind(f"{name or 'no error'}: {cause[:2000]}", public=in_words(task, name, cause))


def in_words(task: str, error: str, cause: str) -> str:
    """What happened to it, by what Step Functions says.

    Arguments: `task` is what a sentence calls it; `error` and `cause` are those of the failure that
    the state machine caught, empty where there was none.
    """
    found = _task(cause)
    stopped = str(found.get("StoppedReason", "")) or cause
    if "CannotPullContainer" in stopped:
        return (
            f"{task} did not start: its image could not be had. The subnets of DumpTaskSubnetIds"
            " need a way to public.ecr.aws, such as a NAT gateway"
        )
    if "apacity is unavailable" in stopped:
        return (
            f"{task} did not start: AWS has no capacity for it now. Try again later, or give"
            " DumpTaskSubnetIds subnets of more zones"
        )
    if error == "States.Timeout":
        return f"{task} did not come to an end in its time"
    if (error and error != "States.TaskFailed") or found.get("StopCode") == "TaskFailedToStart":
        return f"{task} did not start"
    containers = found.get("Containers")
    if isinstance(containers, list) and any(
        isinstance(it, dict) and it.get("ExitCode") == _KILLED for it in containers
    ):
        return f"{task} was killed: stopped by hand, or out of memory"
    return f"{task} ended without a word"


def _task(cause: str) -> dict[str, Any]:
    try:
        found = json.loads(cause)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
