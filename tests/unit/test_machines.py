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


def states(definition: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """All states, each with those that it may lead to by name."""
    for state in definition["States"].values():
        yield state, definition["States"]
        for inner in [*state.get("Branches", ()), state.get("ItemProcessor")]:
            if inner is not None:
                yield from states(inner)


@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.parent.name)
def test_a_step_that_is_not_done_is_called_again(path: Path) -> None:
    found = 0
    for state, beside in states(json.loads(path.read_text())):
        if "done.$" in state.get("ResultSelector", {}):
            found += 1
            choice = beside[state["Next"]]
            (rule,) = choice["Choices"]
            assert rule["Variable"] == state["ResultPath"] + ".done"
            assert rule["BooleanEquals"] is True
            assert beside[rule["Next"]] is not state
            assert beside[choice["Default"]] is state
    # (A piece of an assembly takes one invocation, and an upload one task.)
    assert (found == 0) is (path.parent.name in {"assemble", "upload"})


def test_how_the_task_of_an_upload_ended_is_seen_though_another_upload_keeps_the_function() -> None:
    """It may have one place, which an upload has for 15 minutes; a run ends by this step alone."""
    machine = json.loads((ROOT / "functions" / "upload" / "upload.asl.json").read_text())
    (throttled,) = [
        it for it in machine["States"]["Ended"]["Retry"] if THROTTLED in it["ErrorEquals"]
    ]
    waits = [
        min(throttled["IntervalSeconds"] * throttled["BackoffRate"] ** number, 120)
        for number in range(throttled["MaxAttempts"])
    ]
    assert sum(waits) / 2 > 30 * 60


def test_a_load_is_left_to_a_task_alike_by_a_restore_and_by_a_verification() -> None:
    loads = []
    for name, stage, last in (("restore", "Stage", "Load"), ("verify", "Prove", "Database")):
        path = ROOT / "functions" / f"{name}_worker" / f"{name}.asl.json"
        branch = json.loads(path.read_text())["States"][stage]["Branches"][0]["States"]
        assert branch[last]["Next"] == "IsLeft"
        assert branch[last]["ResultPath"] == "$.load"
        shared = [branch[it] for it in ("IsLeft", "LoadTask", "Loaded", "IsLoaded")]
        loads.append(json.dumps(shared).replace(f"${{{name.capitalize()}}}", "${Function}"))
        # However it ended, the function looks what became of it.
        (caught,) = branch["LoadTask"]["Catch"]
        assert caught["Next"] == branch["LoadTask"]["Next"] == "Loaded"
        assert caught["ErrorEquals"] == ["States.ALL"]
    assert loads[0] == loads[1]
