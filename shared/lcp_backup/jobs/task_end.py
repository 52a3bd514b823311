"""How long a task of ECS may last, and what became of one that left no word of its own."""

import json
from datetime import timedelta
from typing import Any, Final

LONGEST: Final = timedelta(hours=12)
"""How long one may work; the state machines wait for a little longer (the `*.asl.json` files)."""
_KILLED: Final = 137
"""The exit code of a process that was killed: 128 and the signal's number."""


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
