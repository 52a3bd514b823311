"""What a run's record says of a task that left no word of its own."""

import json

import pytest

from lcp_backup.jobs.task_end import in_words

TASK = "the task"


@pytest.mark.parametrize(
    "cause",
    [
        "null",
        "[]",
        "7",
        '"text"',
        "[" * 20_000,
        '{"StoppedReason": null, "Containers": null}',
        '{"StoppedReason": 7, "Containers": 7}',
        '{"Containers": [null, 7, "x", {}, {"ExitCode": null}]}',
        '{"Containers": {"ExitCode": 137}}',
        '{"StopCode": {}, "Containers": [{"ExitCode": "137"}]}',
    ],
)
def test_whatever_step_functions_says_there_is_a_sentence(cause: str) -> None:
    assert in_words(TASK, "States.TaskFailed", cause) == "the task ended without a word"


def test_a_task_that_did_not_start_is_told_from_one_that_was_killed() -> None:
    not_started = json.dumps({"StopCode": "TaskFailedToStart", "StoppedReason": "x"})
    assert in_words(TASK, "States.TaskFailed", not_started) == "the task did not start"
    killed = json.dumps({"StopCode": "UserInitiated", "Containers": [{}, {"ExitCode": 137}]})
    assert "was killed" in in_words(TASK, "States.TaskFailed", killed)
