"""A volume that several functions restore, on the deployed stack, by its state machine."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.deployed import Deployed

BUDGET = 24
"""Seconds that Lambda gives a worker: 20 to stop in, and of the others half for a stretch."""
WORKER = "RestoreWorkerFunctionName"


@pytest.fixture
def files(deployed: Deployed) -> Iterator[None]:
    """Some portions of a volume, and a file that is one too large for one."""
    folder = deployed.stack.folder / "document_library" / "portions"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.bin").write_bytes(os.urandom(1 << 20))
    (folder / "large.bin").write_bytes(os.urandom(1 << 20) * 20)
    yield
    shutil.rmtree(folder, ignore_errors=True)


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail("it did not happen within a minute")


def left(deployed: Deployed, run_id: str) -> list[str]:
    """What the functions of a run have left to each other."""
    return [key.partition(f"{run_id}/")[2] for key in deployed.keys(f"runs/{run_id}/")]


@contextmanager
def short_budgets(deployed: Deployed) -> Iterator[None]:
    """Workers have to go on in a next invocation."""
    functions: Any = deployed.stack.client("lambda")
    name = deployed.described["workers"][WORKER]
    before = functions.get_function_configuration(FunctionName=name)["Timeout"]
    functions.update_function_configuration(FunctionName=name, Timeout=BUDGET)
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=name, Timeout=before)


@contextmanager
def refused(deployed: Deployed) -> Iterator[None]:
    """The workers may not say how far they are."""
    name = deployed.described["workers"][WORKER]
    functions, iam = deployed.stack.client("lambda"), deployed.stack.client("iam")
    role = functions.get_function_configuration(FunctionName=name)["Role"].rpartition("/")[2]
    place = f"{deployed.described['bucket']}/{deployed.described['prefix']}/runs/*/unpack-*"
    statement = {"Effect": "Deny", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{place}"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=role, PolicyName="refused", PolicyDocument=document)
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="refused")


@pytest.mark.usefixtures("files")
def test_a_site_comes_back_exactly_whose_volume_workers_unpack_of_which_each_failed_once(
    deployed: Deployed,
) -> None:
    stack = deployed.stack
    before = deployed.fingerprint()
    backup_id = stack.invoke("create", {"time": "2026-11-20T08:00:00Z"})["backup_id"]
    deployed.destroy()
    with short_budgets(deployed):
        with refused(deployed):
            begun = stack.invoke("restore", {"backup_id": backup_id, "workers": 3})
            run_id = begun["run_id"]
            assert (begun["backup_id"], begun["restored"]) == (backup_id, False)
            wait_until(lambda: "error" in left(deployed, run_id))
        ended = deployed.admin.wait_for(run_id)
    assert (ended["state"], ended["error"]) == ("succeeded", None)
    assert ended["result"]["whole"] is True
    assert before.differences(deployed.fingerprint()) == []
    assert left(deployed, run_id) == []
    assert [it.name for it in stack.folder.parent.iterdir() if it.name.startswith(".lcp")] == []


def test_a_backup_that_workers_find_damaged_leaves_the_site_as_it_is(deployed: Deployed) -> None:
    stack = deployed.stack
    backup_id = stack.invoke("create", {"time": "2026-11-20T09:00:00Z"})["backup_id"]
    before = deployed.fingerprint()
    key = f"{deployed.described['prefix']}/backups/{backup_id}/volume.tgz"
    deployed.s3.delete_object(Bucket=deployed.described["bucket"], Key=key)
    run_id = stack.invoke("restore", {"backup_id": backup_id, "workers": 2})["run_id"]
    ended = deployed.admin.wait_for(run_id)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "archive-damaged")
    machines = stack.client("stepfunctions")
    (execution,) = [
        it["executionArn"]
        for it in machines.list_executions(
            stateMachineArn=deployed.described["machines"]["RestoreMachineArn"]
        )["executions"]
        if it["name"] == run_id
    ]
    wait_until(lambda: machines.describe_execution(executionArn=execution)["status"] == "FAILED")
    assert before.differences(deployed.fingerprint()) == []
    assert left(deployed, run_id) == []
    assert deployed.admin.call("DELETE", f"/backup/{backup_id}").status == 204
