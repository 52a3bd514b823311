"""Tasks on Fargate, for dumps, loads and uploads, on the deployed stack: processes here."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support.deployed import NEVER, Deployed
from tests.support.permissions import Roles, excuses
from tests.support.shared_work import denied, left, wait_for_failed_execution, wait_until

OWN = {"LCP_BACKUP_CREATE_SCHEDULE": NEVER, "LCP_PROJECT_ID": "acme"}
TASK = {
    "LCP_SUBNET_IDS": "subnet-0123456789abcdef0",
    "LCP_SECURITY_GROUP_IDS": "sg-0123456789abcdef0",
    "LCP_DUMP_TASK_SUBNET_IDS": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
}


@pytest.fixture(scope="module", autouse=True)
def task(deployed: Deployed) -> Iterator[None]:
    """The stack has one while these tests run."""
    deployed.change(OWN | TASK)
    yield
    deployed.change(OWN)
    ecs = deployed.stack.client("ecs")
    assert ecs.list_tasks(cluster="default", desiredStatus="RUNNING")["taskArns"] == []


def resources(deployed: Deployed) -> dict[str, str]:
    """Logical and physical id of all that the stack has."""
    pages = deployed.stack.client("cloudformation").get_paginator("list_stack_resources")
    return {
        it["LogicalResourceId"]: it["PhysicalResourceId"]
        for page in pages.paginate(StackName=deployed.described["stack_name"])
        for it in page["StackResourceSummaries"]
    }


@pytest.fixture(scope="module")
def files(deployed: Deployed, task: None) -> dict[str, bytes]:  # noqa: ARG001 -- made before
    """A backup's two archives, to be sent as somebody's own."""
    made = deployed.stack.invoke("create", {"time": "2026-11-20T07:40:00Z"})
    prefix = f"{deployed.described['prefix']}/backups/{made['backup_id']}"
    bucket = deployed.described["bucket"]
    return {
        kind: deployed.s3.get_object(Bucket=bucket, Key=f"{prefix}/{kind}.tgz")["Body"].read()
        for kind in ("database", "volume")
    }


def sent(deployed: Deployed, files: dict[str, bytes]) -> str:
    """An upload of these for which, as its record says, a function had not time enough before."""
    sizes = {kind: {"size": len(body)} for kind, body in files.items()}
    opened = deployed.admin.post("/backup/upload", sizes).json()
    for kind, body in files.items():
        assert requests.put(opened[kind]["url"], data=body, timeout=60).status_code == 200
    place = {
        "Bucket": deployed.described["bucket"],
        "Key": f"{deployed.described['prefix']}/uploads/{opened['upload_id']}/upload.json",
    }
    record = json.loads(deployed.s3.get_object(**place)["Body"].read())
    deployed.s3.put_object(**place, Body=json.dumps({**record, "was_out_of_time": True}).encode())
    return str(opened["upload_id"])


def completed(deployed: Deployed, upload_id: str) -> dict[str, Any]:
    """The upload's run, once it has ended."""
    assert deployed.admin.post(f"/backup/upload/{upload_id}/complete").status == 202
    run: dict[str, Any] = deployed.admin.wait_for(upload_id)
    return run


def tasks_of(deployed: Deployed, run_id: str) -> list[dict[str, Any]]:
    """The tasks that were run for a run."""
    ecs = deployed.stack.client("ecs")
    cluster = resources(deployed)["DumpCluster"]
    arns = [
        arn
        for status in ("RUNNING", "STOPPED")
        for arn in ecs.list_tasks(cluster=cluster, desiredStatus=status)["taskArns"]
    ]
    found = ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
    return [it for it in found if run_id in str(it["overrides"])]


def assert_nothing_is_left(deployed: Deployed, backup_id: str, run_id: str) -> None:
    wait_for_failed_execution(deployed, "CreateMachineArn", run_id)
    assert left(deployed, run_id) == []
    assert [key for key in deployed.keys("backups/") if backup_id in key] == []
    open_ones = deployed.s3.list_multipart_uploads(Bucket=deployed.described["bucket"])
    assert [it for it in open_ones.get("Uploads", []) if backup_id in it["Key"]] == []


def test_a_site_comes_back_exactly_whose_database_a_task_dumped(deployed: Deployed) -> None:
    stack = deployed.stack
    before = deployed.fingerprint()
    begun = stack.invoke("create", {"time": "2026-11-20T08:40:00Z", "workers": 2})
    ended = deployed.admin.wait_for(begun["run_id"])
    assert ended["error"] is None
    assert ended["state"] == "succeeded"
    (task,) = tasks_of(deployed, begun["run_id"])
    assert [it["exitCode"] for it in task["containers"]] == [0]
    wait_until(lambda: left(deployed, begun["run_id"]) == [])
    deployed.destroy()
    assert stack.invoke("restore", {"backup_id": begun["backup_id"]})["restored"] is True
    assert before.differences(deployed.fingerprint()) == []


def test_no_secret_stands_in_the_tasks_definition(deployed: Deployed) -> None:
    ecs = deployed.stack.client("ecs")
    task = resources(deployed)["DumpTask"]
    described = str(ecs.describe_task_definition(taskDefinition=task)["taskDefinition"])
    assert deployed.stack.token not in described
    assert deployed.stack.database.password not in described
    assert "secretsmanager" not in described


def test_a_task_that_fails_ends_the_run_in_its_words_and_nothing_stays_open(
    deployed: Deployed,
) -> None:
    bucket, prefix = deployed.described["bucket"], deployed.described["prefix"]
    place = f"arn:aws:s3:::{bucket}/{prefix}/backups/*"
    with denied(deployed, resources(deployed)["DumpTaskRole"], "s3:PutObject", place):
        begun = deployed.stack.invoke("create", {"time": "2026-11-20T09:10:00Z", "workers": 2})
        ended = deployed.admin.wait_for(begun["run_id"])
    assert (ended["state"], ended["error"]["code"]) == ("failed", "storage-failed")
    (task,) = tasks_of(deployed, begun["run_id"])
    assert [it["exitCode"] for it in task["containers"]] == [1]
    assert_nothing_is_left(deployed, begun["backup_id"], begun["run_id"])
    logs = deployed.stack.client("logs")
    group = resources(deployed)["DumpTaskLogGroup"]
    wait_until(lambda: begun["run_id"] in str(logs.filter_log_events(logGroupName=group)["events"]))


def test_a_task_that_does_not_start_ends_the_run_and_the_record_says_so(
    deployed: Deployed,
) -> None:
    with denied(deployed, resources(deployed)["CreateMachineRole"], "ecs:RunTask", "*"):
        begun = deployed.stack.invoke("create", {"time": "2026-11-20T09:20:00Z", "workers": 2})
        ended = deployed.admin.wait_for(begun["run_id"])
    assert (ended["state"], ended["error"]["code"]) == ("failed", "dump-failed")
    assert "the task that dumps the database did not start" in ended["error"]["message"]
    assert tasks_of(deployed, begun["run_id"]) == []
    assert_nothing_is_left(deployed, begun["backup_id"], begun["run_id"])


def test_a_table_that_was_altered_while_a_task_dumped_has_all_captured_once_more(
    deployed: Deployed,
) -> None:
    """The task is not started here, and its word is put in its place."""
    reason = {"code": "table-changed-during-dump", "message": "a table was altered"}
    with denied(deployed, resources(deployed)["CreateMachineRole"], "ecs:RunTask", "*"):
        begun = deployed.stack.invoke("create", {"time": "2026-11-20T09:25:00Z", "workers": 2})
        key = f"{deployed.described['prefix']}/runs/{begun['run_id']}/dump-error"
        bucket = deployed.described["bucket"]
        deployed.s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(reason).encode())
        ended = deployed.admin.wait_for(begun["run_id"])
    assert "did not start" in ended["error"]["message"]
    machines = deployed.stack.client("stepfunctions")
    history = machines.get_execution_history(
        executionArn=execution_of(deployed, begun["run_id"]), maxResults=1000
    )
    entered = [it.get("stateEnteredEventDetails", {}).get("name") for it in history["events"]]
    assert (entered.count("Again"), entered.count("Plan")) == (1, 2)


def execution_of(deployed: Deployed, run_id: str) -> str:
    arn: str = deployed.described["machines"]["CreateMachineArn"]
    return f"{arn.replace(':stateMachine:', ':execution:')}:{run_id}"


def test_a_task_is_stopped_with_its_execution(deployed: Deployed) -> None:
    """Whose run then has to be ended by cleanup, or here by its worker."""
    stack = deployed.stack
    machines, ecs = stack.client("stepfunctions"), stack.client("ecs")
    with stack.database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLES `{stack.database.name}`.`User_` WRITE")
        begun = stack.invoke("create", {"time": "2026-11-20T09:30:00Z", "workers": 2})
        run_id = begun["run_id"]
        wait_until(lambda: "dumping" in left(deployed, run_id))
        (task,) = tasks_of(deployed, run_id)
        assert task["lastStatus"] == "RUNNING"
        machines.stop_execution(executionArn=execution_of(deployed, run_id))
        wait_until(lambda: tasks_of(deployed, run_id)[0]["lastStatus"] == "STOPPED")
    worker = deployed.described["workers"]["CreateWorkerFunctionName"]
    payload = json.dumps({"run_id": run_id, "step": "abort", "error": {"Error": "Stopped"}})
    stack.client("lambda").invoke(FunctionName=worker, Payload=payload)
    ended = deployed.admin.wait_for(run_id)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "dump-failed")
    assert "was stopped" in ended["error"]["message"]
    cluster = resources(deployed)["DumpCluster"]
    assert ecs.list_tasks(cluster=cluster, desiredStatus="RUNNING")["taskArns"] == []


def test_an_upload_that_a_task_took_in_is_restored_exactly_by_workers(
    deployed: Deployed, files: dict[str, bytes]
) -> None:
    enable_event(deployed)
    before = deployed.fingerprint()
    ended = completed(deployed, upload_id := sent(deployed, files))
    assert ended["error"] is None
    assert ended["state"] == "succeeded"
    # (Its process ends a moment after its run.)
    wait_until(lambda: tasks_of(deployed, upload_id)[0]["lastStatus"] == "STOPPED")
    (task,) = tasks_of(deployed, upload_id)
    assert [it["exitCode"] for it in task["containers"]] == [0]
    assert [key for key in deployed.keys("uploads/") if upload_id in key] == []
    (uploaded,) = [it for it in deployed.manifests() if it["run_id"] == upload_id]
    assert (uploaded["id"], uploaded["type"]) == (ended["backup_id"], "Uploaded")
    deployed.destroy()
    begun = deployed.stack.invoke("restore", {"backup_id": uploaded["id"], "workers": 2})
    restored = deployed.admin.wait_for(begun["run_id"])
    assert (restored["state"], restored["error"]) == ("succeeded", None)
    # (Events of uploads come back disabled.)
    assert before.differences(deployed.fingerprint()) == ["event ForgetAudit"]
    enable_event(deployed)
    assert before.differences(deployed.fingerprint()) == []


def enable_event(deployed: Deployed) -> None:
    """The site's only event, which may have come back disabled by an upload of another test."""
    with deployed.stack.database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"ALTER EVENT `{deployed.stack.database.name}`.ForgetAudit ENABLE")


def test_an_upload_whose_task_did_not_start_is_kept_and_taken_in_when_it_is_completed_again(
    deployed: Deployed, files: dict[str, bytes]
) -> None:
    upload_id = sent(deployed, files)
    with denied(deployed, resources(deployed)["UploadMachineRole"], "ecs:RunTask", "*"):
        ended = completed(deployed, upload_id)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "task-failed")
    assert "the task that takes the upload in did not start" in ended["error"]["message"]
    assert tasks_of(deployed, upload_id) == []
    assert completed(deployed, upload_id)["state"] == "succeeded"


def test_an_upload_whose_task_was_killed_has_failed_and_says_so(
    deployed: Deployed, files: dict[str, bytes]
) -> None:
    ecs, cluster = deployed.stack.client("ecs"), resources(deployed)["DumpCluster"]
    upload_id = sent(deployed, files)
    assert deployed.admin.post(f"/backup/upload/{upload_id}/complete").status == 202
    wait_until(lambda: tasks_of(deployed, upload_id) != [])
    (task,) = tasks_of(deployed, upload_id)
    ecs.stop_task(cluster=cluster, task=task["taskArn"], reason="by hand")
    ended = deployed.admin.wait_for(upload_id)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "task-failed")


def in_its_order(dump: bytes) -> bytes:
    """The same site, in a dump of which no worker can load the rows: a `.gz` of SQL."""
    with tarfile.open(fileobj=io.BytesIO(dump)) as packed:
        (member,) = packed.getmembers()
        read = packed.extractfile(member)
        assert read is not None
        sql = read.read()
    end = sql.rindex(b"/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE")
    again = b"REPLACE INTO `Again_` VALUES (1);\n"
    own = b"CREATE TABLE `Again_` (id INT PRIMARY KEY) ENGINE=InnoDB;\n" + 2 * again
    own += b"DROP TABLE `Again_`;\n"
    return gzip.compress(sql[:end] + own + sql[end:])


@pytest.fixture(scope="module")
def ordered(deployed: Deployed, files: dict[str, bytes]) -> str:
    """A backup of the site whose dump has to be loaded in its order, and takes days by its size."""
    own = {**files, "database": in_its_order(files["database"])}
    sizes = {kind: {"size": len(body)} for kind, body in own.items()}
    opened = deployed.admin.post("/backup/upload", sizes).json()
    for kind, body in own.items():
        assert requests.put(opened[kind]["url"], data=body, timeout=60).status_code == 200
    ended = completed(deployed, opened["upload_id"])
    assert ended["error"] is None
    backup_id = str(ended["backup_id"])
    key = f"{deployed.described['prefix']}/backups/{backup_id}/manifest.json"
    place = {"Bucket": deployed.described["bucket"], "Key": key}
    manifest = json.loads(deployed.s3.get_object(**place)["Body"].read())
    manifest["database"]["raw_size"] = 1 << 50
    deployed.s3.put_object(**place, Body=json.dumps(manifest).encode())
    return backup_id


def test_a_dump_that_has_to_be_loaded_in_its_order_is_restored_exactly_by_a_task(
    deployed: Deployed, ordered: str
) -> None:
    enable_event(deployed)
    before = deployed.fingerprint()
    deployed.destroy()
    begun = deployed.stack.invoke("restore", {"backup_id": ordered, "workers": 2})
    restored = deployed.admin.wait_for(begun["run_id"])
    assert (restored["state"], restored["error"]) == ("succeeded", None)
    (task,) = tasks_of(deployed, begun["run_id"])
    assert [it["exitCode"] for it in task["containers"]] == [0]
    enable_event(deployed)
    assert before.differences(deployed.fingerprint()) == []


def test_a_dump_that_has_to_be_loaded_in_its_order_is_proved_by_a_task(
    deployed: Deployed, ordered: str
) -> None:
    begun = deployed.stack.invoke("verify", {"backup_id": ordered, "workers": 2})
    proved = deployed.admin.wait_for(begun["run_id"])
    assert (proved["state"], proved["error"]) == ("succeeded", None)
    (task,) = tasks_of(deployed, begun["run_id"])
    assert [it["exitCode"] for it in task["containers"]] == [0]


def test_a_restore_whose_task_does_not_start_leaves_the_site_as_it_was_and_says_so(
    deployed: Deployed, ordered: str
) -> None:
    before = deployed.fingerprint()
    with denied(deployed, resources(deployed)["RestoreMachineRole"], "ecs:RunTask", "*"):
        begun = deployed.stack.invoke("restore", {"backup_id": ordered, "workers": 2})
        ended = deployed.admin.wait_for(begun["run_id"])
    assert (ended["state"], ended["error"]["code"]) == ("failed", "task-failed")
    assert "the task that loads the database did not start" in ended["error"]["message"]
    assert tasks_of(deployed, begun["run_id"]) == []
    assert before.differences(deployed.fingerprint()) == []


NOT_SEEN_HERE = {
    ("DumpTaskExecution", "logs:*", "*"): "ECS itself writes the logs, by this role",
    ("DumpTask", "rds:DescribeDB*", "*"): "the database here has a host name; see aws/test_rds.py",
    ("DumpTask", "s3:AbortMultipartUpload", "*"): "of dumps that fail half-way; see test_faults.py",
    ("DumpTask", "s3:ListBucket", "*"): "S3 says 404 only to who may list; this emulator to all",
    ("UploadMachine", "ecs:StopTask", "*"): "as of the first machine, whose execution is stopped",
    ("RestoreMachine", "ecs:StopTask", "*"): "as of the first machine",
    ("VerifyMachine", "ecs:StopTask", "*"): "as of the first machine",
    ("CreateMachine", "states:*", "*:execution:*"): "the emulator's Map starts items, and no more",
}
"""As in test_permissions.py."""
OF_A_TASK = {
    "StartItsMachine",
    "SeeWhatTheFunctionIs",
    "FetchItsCode",
    "RunLoadTask",
    "MindLoadTask",
    "GiveLoadTaskItsRoles",
    "HearOfLoadTask",
}
"""What the roles of functions and machines allow for one; test_permissions.py has all else."""
MORE = {"Upload", "Restore", "Verify", "RestoreMachine", "VerifyMachine"}
"""Those of which it has all else."""


def test_whatever_the_roles_of_a_task_allow_it_needs(deployed: Deployed) -> None:
    """What they do not allow and it needs fails the tests above."""
    of = {"DumpTask", "DumpTaskExecution", "CreateMachine", "UploadMachine", *MORE}
    there = resources(deployed)
    roles = Roles(deployed, {there[f"{whose}Role"]: whose for whose in of})
    assert {p.function for p in roles.permissions()} == of
    wanted = [
        it for it in roles.permissions() if it.function not in MORE or it.statement in OF_A_TASK
    ]
    assert not any(it.resource == "*" or "*" in it.action for it in wanted)
    unused = {
        permission
        for permission in roles.unused()
        if not any(excuses(known, permission) for known in NOT_SEEN_HERE)
        and (permission.function not in MORE or permission.statement in OF_A_TASK)
    }
    assert unused == set()
