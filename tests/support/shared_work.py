"""Runs of several functions on the deployed stack: what they leave, and how they are failed."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.deployed import Deployed


def wait_until(condition: Callable[[], bool]) -> None:
    """Returns once it is so; fails the test after three minutes."""
    for _ in range(900):
        if condition():
            return
        time.sleep(0.2)
    pytest.fail("it did not happen within three minutes")


def left(deployed: Deployed, run_id: str) -> list[str]:
    """What the functions of a run have left to each other."""
    return [key.partition(f"{run_id}/")[2] for key in deployed.keys(f"runs/{run_id}/")]


def wait_for_failed_execution(deployed: Deployed, machine: str, run_id: str) -> None:
    """The run's execution on this machine ends as failed."""
    machines = deployed.stack.client("stepfunctions")
    arn = deployed.described["machines"][machine]
    executions = machines.list_executions(stateMachineArn=arn)["executions"]
    (execution,) = [it["executionArn"] for it in executions if it["name"] == run_id]
    wait_until(lambda: machines.describe_execution(executionArn=execution)["status"] == "FAILED")


@contextmanager
def refused(deployed: Deployed, worker: str, what: str) -> Iterator[None]:
    """The workers may not write `what` (a pattern) of what they leave to each other.

    Arguments: `worker` is a function, by the name that the stack's description has for it.
    """
    name = {**deployed.described["workers"], **deployed.described["functions"]}[worker]
    function = deployed.stack.client("lambda").get_function_configuration(FunctionName=name)
    place = f"{deployed.described['bucket']}/{deployed.described['prefix']}/runs/*/{what}"
    role = function["Role"].rpartition("/")[2]
    with denied(deployed, role, "s3:PutObject", f"arn:aws:s3:::{place}"):
        yield


@contextmanager
def denied(deployed: Deployed, role: str, action: str, resource: str) -> Iterator[None]:
    """The role of this name may not do that."""
    iam = deployed.stack.client("iam")
    statement = {"Effect": "Deny", "Action": action, "Resource": resource}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=role, PolicyName="denied", PolicyDocument=document)
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="denied")


@contextmanager
def some_portions(deployed: Deployed) -> Iterator[None]:
    """Files of the site for some portions of a volume, and one that is too large for one."""
    folder = deployed.stack.folder / "document_library" / "portions"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.bin").write_bytes(os.urandom(1 << 20))
    (folder / "large.bin").write_bytes(os.urandom(1 << 20) * 20)
    yield
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def short_budgets(deployed: Deployed, worker: str, seconds: int) -> Iterator[None]:
    """Workers have to go on in a next invocation."""
    functions: Any = deployed.stack.client("lambda")
    name = deployed.described["workers"][worker]
    before = functions.get_function_configuration(FunctionName=name)["Timeout"]
    functions.update_function_configuration(FunctionName=name, Timeout=seconds)
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=name, Timeout=before)
