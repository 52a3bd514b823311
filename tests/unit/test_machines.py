"""The state machines: what they try again, and for how long."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lcp_backup import errors

ROOT = Path(__file__).parents[2]
MACHINES = sorted(ROOT.glob("functions/*/*.asl.json"))
THROTTLED = "Lambda.TooManyRequestsException"


def tasks(definition: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All that call a function, also inside of maps and branches."""
    for name, state in definition["States"].items():
        if state["Type"] == "Task" and state["Resource"].endswith(":lambda:invoke"):
            yield name, state
        for inner in [*state.get("Branches", ()), state.get("ItemProcessor")]:
            if inner is not None:
                yield from tasks(inner)


CALLS = [
    pytest.param(state, id=f"{path.parent.name}-{name}")
    for path in MACHINES
    for name, state in tasks(json.loads(path.read_text()))
]


@pytest.mark.parametrize("state", CALLS)
def test_a_function_that_cannot_be_started_yet_is_waited_for_as_long_as_another_one_works(
    state: dict[str, Any],
) -> None:
    """Workers keep their place for up to 15 minutes, and an account may have ten places."""
    retry = next(
        it for it in state["Retry"] if {THROTTLED, "States.ALL"}.intersection(it["ErrorEquals"])
    )
    waits = [
        min(retry["IntervalSeconds"] * retry["BackoffRate"] ** number, retry["MaxDelaySeconds"])
        for number in range(retry["MaxAttempts"])
    ]
    # (With full jitter it is half of that, more or less.)
    assert sum(waits) / 2 > 4 * 60


@pytest.mark.parametrize("state", CALLS)
def test_what_is_not_tried_again_are_errors_that_there_are(state: dict[str, Any]) -> None:
    """Step Functions knows an error by the name of its class alone."""
    for retry in state["Retry"]:
        for name in retry["ErrorEquals"]:
            assert name.startswith(("States.", "Lambda.")) or hasattr(errors, name), name
