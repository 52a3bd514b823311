"""A backup that several functions make, on the deployed stack, by its state machine."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.deployed import Deployed

BUDGET = 40
"""Seconds that Lambda gives a worker: 20 to stop in, and of the others half for a stretch. (With 4
in place of 20 it fails on a machine that is busy with other tests.)"""


@pytest.fixture
def files(deployed: Deployed) -> Iterator[Path]:
    """Enough for some seconds of work."""
    folder = deployed.stack.folder / "document_library" / "many"
    folder.mkdir()
    for number in range(48):
        (folder / f"{number}.bin").write_bytes(os.urandom(1 << 20))
    yield folder
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(900):
        if condition():
            return
        time.sleep(0.2)
    pytest.fail("it did not happen within three minutes")


def left(deployed: Deployed, run_id: str) -> list[str]:
    """What the functions of a run have left to each other."""
    return [key.partition(f"{run_id}/")[2] for key in deployed.keys(f"runs/{run_id}/")]


def has_gone_on_or_ended(names: list[str]) -> bool:
    """Whether a worker has done its second stretch, or all is done."""
    return not names or any(name.endswith("/1") for name in names)


@contextmanager
def refused(deployed: Deployed, what: str) -> Iterator[None]:
    """The workers may not write some of what they leave to each other."""
    arn = deployed.stack.client("lambda").get_function_configuration(
        FunctionName=deployed.described["workers"]["CreateWorkerFunctionName"]
    )["Role"]
    iam, role = deployed.stack.client("iam"), arn.rpartition("/")[2]
    place = f"{deployed.described['bucket']}/{deployed.described['prefix']}/runs/*/{what}/*"
    statement = {
        "Effect": "Deny",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{place}",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=role, PolicyName="refused", PolicyDocument=document)
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="refused")


@contextmanager
def short_budgets(deployed: Deployed) -> Iterator[None]:
    """Workers have to go on in a next invocation."""
    functions: Any = deployed.stack.client("lambda")
    name = deployed.described["workers"]["CreateWorkerFunctionName"]
    before = functions.get_function_configuration(FunctionName=name)["Timeout"]
    functions.update_function_configuration(FunctionName=name, Timeout=BUDGET)
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=name, Timeout=before)


@pytest.mark.usefixtures("files")
def test_a_site_comes_back_exactly_that_workers_backed_up_of_which_each_failed_once(
    deployed: Deployed,
) -> None:
    stack = deployed.stack
    before = deployed.fingerprint()
    event = {"time": "2026-11-20T06:40:00Z", "workers": 3}
    with refused(deployed, "rest"):
        begun = stack.invoke("create", event)
        run_id = begun["run_id"]
        assert (begun["created"], begun["is_under_way"]) == (False, True)
        assert stack.invoke("create", event)["run_id"] == run_id, "a second delivery"
        wait_until(lambda: {"error", "database"} <= set(left(deployed, run_id)))
    with short_budgets(deployed):
        # Until one goes on, or all have come to an end; the last step has its own time.
        wait_until(lambda: has_gone_on_or_ended(left(deployed, run_id)))
    ended = deployed.admin.wait_for(run_id)
    assert (ended["state"], ended["error"]) == ("succeeded", None)
    manifest = next(it for it in deployed.manifests() if it["id"] == begun["backup_id"])
    assert (manifest["run_id"], manifest["volume"]["writers"]) == (run_id, 3)
    assert manifest["losses"] == 0
    wait_until(lambda: left(deployed, run_id) == [])
    deployed.destroy()
    assert stack.invoke("restore", {"backup_id": begun["backup_id"]})["restored"] is True
    assert before.differences(deployed.fingerprint()) == []


def test_a_worker_that_always_fails_ends_the_run_in_its_words_and_nothing_stays_open(
    deployed: Deployed,
) -> None:
    folder = deployed.stack.folder / "document_library" / "aside"
    folder.symlink_to(deployed.stack.folder.parent)
    try:
        begun = deployed.stack.invoke("create", {"time": "2026-11-20T07:10:00Z", "workers": 3})
        ended = deployed.admin.wait_for(begun["run_id"])
    finally:
        folder.unlink()
    assert (ended["state"], ended["error"]["code"]) == ("failed", "volume-incomplete")
    assert "symbolic link that leads out" in ended["error"]["message"]
    (execution,) = [
        it
        for it in deployed.stack.client("stepfunctions").list_executions(
            stateMachineArn=deployed.described["machines"]["CreateMachineArn"]
        )["executions"]
        if it["name"] == begun["run_id"]
    ]
    wait_until(lambda: status_of(deployed, execution["executionArn"]) == "FAILED")
    assert left(deployed, begun["run_id"]) == []
    assert [key for key in deployed.keys("backups/") if begun["backup_id"] in key] == []
    open_ones = deployed.s3.list_multipart_uploads(Bucket=deployed.described["bucket"])
    assert [it for it in open_ones.get("Uploads", []) if begun["backup_id"] in it["Key"]] == []


def status_of(deployed: Deployed, arn: str) -> str:
    machines = deployed.stack.client("stepfunctions")
    return str(machines.describe_execution(executionArn=arn)["status"])
