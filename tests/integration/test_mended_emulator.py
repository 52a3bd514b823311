"""The emulator differs from AWS where local/mended_*.py say so, and what they mend stays mended.

One emulator, one function that does as it is told, and small machines around it.
"""

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from local import emulator
from local.emulator import ALLOWED

BUCKET = "mended"
MOST_DATA = 256 << 10
SMALLEST_PART = 5 << 20
ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role"
FUNCTION = f"arn:aws:lambda:{emulator.REGION}:{ACCOUNT}:function:told"
CODE = """
class Refused(Exception):
    pass

def handler(event, context):
    if event.get("refuse"):
        try:
            raise KeyError("Traceback (most recent call last):")
        except KeyError:
            raise Refused("no: this is\\nno ValueError: of mine") from None
    return "x" * event.get("size", 0)
"""
INVOKE = {
    "Type": "Task",
    "Resource": "arn:aws:states:::lambda:invoke",
    "Parameters": {"FunctionName": FUNCTION, "Payload.$": "$"},
}
CATCH_ALL = {"Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]}
CAUGHT = {"Type": "Pass", "Result": "caught", "End": True}
MAP_RIGHTS = {"lambda:InvokeFunction", "s3:GetObject", "states:StartExecution"}


@dataclass(frozen=True)
class Emulated:
    """A private emulator."""

    state: Path
    client: Callable[[str], Any]

    @property
    def s3(self) -> Any:
        return self.client("s3")

    def role(self, *actions: str) -> str:
        """A role that may do these; answers its name."""
        name = f"r-{uuid4().hex[:8]}"
        iam = self.client("iam")
        iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
        if actions:
            statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
            document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=document)
        return name

    def start(self, definition: dict[str, Any], event: object, *, role: str = "worker") -> str:
        """Begins an execution of a machine; answers its ARN."""
        states = self.client("stepfunctions")
        machine = states.create_state_machine(
            name=f"m-{uuid4().hex[:8]}",
            definition=json.dumps(definition),
            roleArn=f"{ROLE}/{role}",
        )
        arn: str = states.start_execution(
            stateMachineArn=machine["stateMachineArn"], input=json.dumps(event)
        )["executionArn"]
        return arn

    def ended(self, execution: str) -> dict[str, Any]:
        """What came of it."""
        states = self.client("stepfunctions")
        for _ in range(300):
            found: dict[str, Any] = states.describe_execution(executionArn=execution)
            if found["status"] != "RUNNING":
                return found
            time.sleep(0.1)
        raise AssertionError(f"{execution} does not end")

    def run(self, definition: dict[str, Any], event: object, **more: str) -> dict[str, Any]:
        return self.ended(self.start(definition, event, **more))

    def bytes_read(self) -> int:
        """How many bytes the emulator has read so far, from files and connections."""
        pid = (self.state / f"{emulator.NAME}.pid").read_text().split()[0]
        return int(Path(f"/proc/{pid}/io").read_text().split()[1])


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    state = tmp_path_factory.mktemp("emulator")
    try:
        endpoint = emulator.start(state)

        def client(service: str) -> Any:
            make: Callable[..., Any] = boto3.client
            return make(
                service,
                endpoint_url=endpoint,
                region_name=emulator.REGION,
                aws_access_key_id=emulator.CREDENTIALS["access_key_id"],
                aws_secret_access_key=emulator.CREDENTIALS["secret_access_key"],
            )

        made = Emulated(state, client)
        made.s3.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        _make_function(made)
        yield made
    finally:
        emulator.stop(state)


def _make_function(emulated: Emulated) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", CODE)
    iam = emulated.client("iam")
    iam.create_role(RoleName="worker", AssumeRolePolicyDocument="{}")
    statement = {"Effect": "Allow", "Action": sorted(MAP_RIGHTS), "Resource": "*"}
    iam.put_role_policy(
        RoleName="worker",
        PolicyName="all",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    emulated.client("lambda").create_function(
        FunctionName="told",
        Runtime="python3.13",
        Handler="app.handler",
        Role=f"{ROLE}/worker",
        Code={"ZipFile": code.getvalue()},
    )


def mapped(child: dict[str, Any]) -> dict[str, Any]:
    """A machine that does this for every item of a document in the bucket."""
    processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, **child}
    reader = {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "JSON"},
        "Parameters": {"Bucket": BUCKET, "Key": "items.json"},
    }
    state = {"Type": "Map", "Label": "All", "ItemReader": reader, "ItemProcessor": processor}
    return {"StartAt": "All", "States": {"All": {**state, "ResultPath": None, "End": True}}}


# --- Step Functions ------------------------------------------------------------------------------


def test_an_error_of_a_function_is_caught_by_its_class(emulated: Emulated) -> None:
    catch = [
        {"ErrorEquals": ["KeyError", "ValueError", "Runtime.HandlerError"], "Next": "Other"},
        {"ErrorEquals": ["Refused"], "Next": "Caught"},
    ]
    states = {
        "Told": {**INVOKE, "Catch": catch, "End": True},
        "Other": {"Type": "Fail"},
        "Caught": CAUGHT,
    }
    found = emulated.run({"StartAt": "Told", "States": states}, {"refuse": True})
    assert (found["status"], found.get("output")) == ("SUCCEEDED", '"caught"')


@pytest.mark.parametrize("missing", [None, *sorted(MAP_RIGHTS)], ids=str)
def test_a_machine_does_what_its_role_allows_and_nothing_else(
    emulated: Emulated, missing: str | None
) -> None:
    emulated.s3.put_object(Bucket=BUCKET, Key="items.json", Body=b"[{}]")
    role = emulated.role(*MAP_RIGHTS - {missing})
    told = {"StartAt": "Told", "States": {"Told": {**INVOKE, "End": True}}}
    found = emulated.run(mapped(told), {}, role=role)
    assert found["status"] == ("FAILED" if missing else "SUCCEEDED"), found
    decisions = (emulated.state / ALLOWED).read_text().splitlines()
    asked = {it["action"] for it in map(json.loads, decisions) if f"/{role}/" in it["principal"]}
    assert missing not in asked
    assert missing or asked == MAP_RIGHTS


def test_what_the_role_is_not_asked_for_is_refused(emulated: Emulated) -> None:
    publish = {"Type": "Task", "Resource": "arn:aws:states:::sns:publish", "End": True}
    found = emulated.run({"StartAt": "Publish", "States": {"Publish": publish}}, {})
    assert "knows no rights for arn:aws:states:::sns:publish" in found["cause"]


@pytest.mark.parametrize(("size", "status"), [(MOST_DATA // 2, "SUCCEEDED"), (MOST_DATA, "FAILED")])
def test_a_state_passes_on_256_kib_and_no_retry_or_catch_helps_beyond(
    emulated: Emulated, size: int, status: str
) -> None:
    told = {**INVOKE, **CATCH_ALL, "ResultPath": None, "End": True}
    machine = {"StartAt": "Told", "States": {"Told": told, "Caught": CAUGHT}}
    found = emulated.run(machine, {"size": size})
    assert found["status"] == status
    assert found.get("error") == (None if status == "SUCCEEDED" else "States.DataLimitExceeded")


def test_as_many_items_are_done_at_once_as_the_input_says(emulated: Emulated) -> None:
    emulated.s3.put_object(Bucket=BUCKET, Key="items.json", Body=b"[{}, {}, {}]")
    machine = mapped({"StartAt": "Done", "States": {"Done": {"Type": "Pass", "End": True}}})
    machine["States"]["All"]["MaxConcurrencyPath"] = "$.most"
    execution = emulated.start(machine, {"most": 2})
    assert emulated.ended(execution)["status"] == "SUCCEEDED"
    states = emulated.client("stepfunctions")
    (run,) = states.list_map_runs(executionArn=execution)["mapRuns"]
    assert states.describe_map_run(mapRunArn=run["mapRunArn"])["maxConcurrency"] == 2


def test_an_execution_ends_when_its_time_is_over_and_its_workers_do_too(
    emulated: Emulated,
) -> None:
    emulated.s3.put_object(Bucket=BUCKET, Key="items.json", Body=b"[{}, {}]")
    again = {**INVOKE, "ResultPath": None, "Next": "Again"}
    machine = mapped({"StartAt": "Again", "States": {"Again": again}})
    execution = emulated.start({**machine, "TimeoutSeconds": 1}, {})
    assert emulated.ended(execution)["status"] == "TIMED_OUT"
    states = emulated.client("stepfunctions")
    (run,) = states.list_map_runs(executionArn=execution)["mapRuns"]
    for child in states.list_executions(mapRunArn=run["mapRunArn"])["executions"]:
        emulated.ended(child["executionArn"])
    assert emulated.ended(execution)["status"] == "TIMED_OUT", "and no worker's error changes that"


def test_a_branch_that_fails_ends_its_parallel_at_once_and_nothing_more_of_it_is_begun(
    emulated: Emulated,
) -> None:
    wait, told = {"Type": "Wait", "Seconds": 4, "Next": "Told"}, {**INVOKE, "End": True}
    slow = {"StartAt": "Wait", "States": {"Wait": wait, "Told": told}}
    refuse = {"FunctionName": FUNCTION, "Payload": {"refuse": True}}
    fails = {"StartAt": "Told", "States": {"Told": {**told, "Parameters": refuse}}}
    catch = [{"ErrorEquals": ["Refused"], "Next": "Caught"}]
    both = {"Type": "Parallel", "Branches": [slow, fails], "Catch": catch, "End": True}
    begun = time.monotonic()
    execution = emulated.start(
        {"StartAt": "Both", "States": {"Both": both, "Caught": CAUGHT}}, {"size": 0}
    )
    assert emulated.ended(execution)["output"] == '"caught"'
    assert time.monotonic() - begun < 4
    time.sleep(5)
    history = emulated.client("stepfunctions").get_execution_history(executionArn=execution)
    assert [it for it in history["events"] if it["type"] == "TaskSucceeded"] == []


def test_a_parallel_passes_on_what_its_branches_made_in_their_order(emulated: Emulated) -> None:
    def branch(seconds: int, made: str) -> dict[str, Any]:
        wait = {"Type": "Wait", "Seconds": seconds, "Next": "Made"}
        return {
            "StartAt": "Wait",
            "States": {"Wait": wait, "Made": {"Type": "Pass", "Result": made, "End": True}},
        }

    both = {"Type": "Parallel", "Branches": [branch(1, "first"), branch(0, "second")], "End": True}
    found = emulated.run({"StartAt": "Both", "States": {"Both": both}}, {})
    assert json.loads(found["output"]) == ["first", "second"]


# --- ECS -----------------------------------------------------------------------------------------

TASK_RIGHTS = {
    "ecs:RunTask",
    "ecs:DescribeTasks",
    "iam:PassRole",
    "events:PutTargets",
    "events:PutRule",
    "events:DescribeRule",
}
LISTS = """
import boto3, os
print(boto3.client("s3").list_objects_v2(Bucket=os.environ["BUCKET"])["Name"])
"""


def a_task(emulated: Emulated, code: str, *, role: str) -> str:
    """A definition of a task of this role that runs this code; answers its ARN."""
    family = f"t-{uuid4().hex[:8]}"
    emulated.client("logs").create_log_group(logGroupName=family)
    options = {"awslogs-group": family, "awslogs-region": emulator.REGION}
    log = {"logDriver": "awslogs", "options": {**options, "awslogs-stream-prefix": "of"}}
    container = {"name": "it", "image": "none", "entryPoint": ["python3", "-c"], "command": [code]}
    made = emulated.client("ecs").register_task_definition(
        family=family,
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        taskRoleArn=f"{ROLE}/{role}",
        executionRoleArn=f"{ROLE}/{role}",
        containerDefinitions=[{**container, "logConfiguration": log}],
    )
    arn: str = made["taskDefinition"]["taskDefinitionArn"]
    return arn


def running(definition: str) -> dict[str, Any]:
    """A machine that runs a task and waits for its end."""
    overrides = [{"Name": "it", "Environment": [{"Name": "BUCKET", "Value.$": "$.bucket"}]}]
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::ecs:runTask.sync",
        "Parameters": {
            "Cluster": "tasks",
            "TaskDefinition": definition,
            "LaunchType": "FARGATE",
            "Overrides": {"ContainerOverrides": overrides},
        },
        "End": True,
    }
    return {"StartAt": "Run", "States": {"Run": state}}


def test_a_task_is_a_process_with_its_overrides_and_the_rights_of_its_role(
    emulated: Emulated,
) -> None:
    definition = a_task(emulated, LISTS, role=emulated.role("s3:ListBucket"))
    machine = emulated.role(*TASK_RIGHTS)
    found = emulated.run(running(definition), {"bucket": BUCKET}, role=machine)
    assert found["status"] == "SUCCEEDED", found
    assert [it["ExitCode"] for it in json.loads(found["output"])["Containers"]] == [0]
    group = definition.rpartition("/")[2].partition(":")[0]
    for _ in range(50):
        lines = emulated.client("logs").filter_log_events(logGroupName=group)["events"]
        if lines:
            break
        time.sleep(0.1)
    assert [line["message"] for line in lines] == [BUCKET]


def test_a_task_that_ends_with_another_code_than_0_fails_its_state(emulated: Emulated) -> None:
    definition = a_task(emulated, LISTS, role=emulated.role())
    machine = emulated.role(*TASK_RIGHTS)
    found = emulated.run(running(definition), {"bucket": BUCKET}, role=machine)
    assert (found["status"], found["error"]) == ("FAILED", "States.TaskFailed")
    task = json.loads(found["cause"])
    assert task["StopCode"] == "EssentialContainerExited"
    assert [it["ExitCode"] for it in task["Containers"]] == [1]


@pytest.mark.parametrize("missing", [None, *sorted(TASK_RIGHTS)], ids=str)
def test_a_machine_runs_a_task_by_what_its_role_allows_and_nothing_else(
    emulated: Emulated, missing: str | None
) -> None:
    definition = a_task(emulated, "", role=emulated.role())
    role = emulated.role(*TASK_RIGHTS - {missing})
    found = emulated.run(running(definition), {"bucket": BUCKET}, role=role)
    assert found["status"] == ("FAILED" if missing else "SUCCEEDED"), found
    assert missing is None or missing in found["cause"]


@pytest.mark.parametrize(
    ("service", "status"),
    [("ecs-tasks.amazonaws.com", "SUCCEEDED"), ("lambda.amazonaws.com", "FAILED")],
)
def test_a_role_is_passed_to_the_service_that_its_right_names(
    emulated: Emulated, service: str, status: str
) -> None:
    definition = a_task(emulated, "", role=emulated.role())
    role = emulated.role(*TASK_RIGHTS - {"iam:PassRole"})
    condition = {"StringEquals": {"iam:PassedToService": service}}
    statement = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [{**statement, "Condition": condition}]}
    emulated.client("iam").put_role_policy(
        RoleName=role, PolicyName="pass", PolicyDocument=json.dumps(document)
    )
    found = emulated.run(running(definition), {"bucket": BUCKET}, role=role)
    assert found["status"] == status, found


def test_a_task_is_stopped_with_its_execution(emulated: Emulated) -> None:
    definition = a_task(emulated, "import time; time.sleep(60)", role=emulated.role())
    machine = emulated.role(*TASK_RIGHTS, "ecs:StopTask")
    execution = emulated.start(running(definition), {"bucket": BUCKET}, role=machine)
    ecs = emulated.client("ecs")
    family = definition.rpartition("/")[2].partition(":")[0]

    def task(status: str) -> dict[str, Any]:
        for _ in range(100):
            arns = ecs.list_tasks(cluster="tasks", family=family, desiredStatus=status)["taskArns"]
            if arns:
                (found,) = ecs.describe_tasks(cluster="tasks", tasks=arns)["tasks"]
                if found["lastStatus"] == status:
                    return dict(found)
            time.sleep(0.1)
        raise AssertionError(f"no task of {family} is {status}")

    task("RUNNING")
    emulated.client("stepfunctions").stop_execution(executionArn=execution)
    stopped = task("STOPPED")
    assert [it["exitCode"] for it in stopped["containers"]] == [143]


def test_a_layer_is_had_by_a_right_for_this_layer_alone(emulated: Emulated) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("python/here.py", "")
    publish = emulated.client("lambda").publish_layer_version
    arns = [
        publish(LayerName=name, Content={"ZipFile": packed.getvalue()})["LayerVersionArn"]
        for name in ("mine", "theirs")
    ]
    role = emulated.role()
    statement = {"Effect": "Allow", "Action": "lambda:GetLayerVersion", "Resource": arns[0]}
    emulated.client("iam").put_role_policy(
        RoleName=role,
        PolicyName="layer",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    get = 'import boto3; boto3.client("lambda").get_layer_version_by_arn(Arn="{}")'
    machine = emulated.role(*TASK_RIGHTS)
    found = [
        emulated.run(
            running(a_task(emulated, get.format(arn), role=role)), {"bucket": BUCKET}, role=machine
        )["status"]
        for arn in arns
    ]
    assert found == ["SUCCEEDED", "FAILED"]


# --- S3 ------------------------------------------------------------------------------------------


def test_a_range_is_read_and_copied_without_the_object_around_it(emulated: Emulated) -> None:
    size, part = 32 << 20, SMALLEST_PART
    body = bytes(range(256)) * (size >> 8)
    s3 = emulated.s3
    s3.put_object(Bucket=BUCKET, Key="large", Body=body)
    before = emulated.bytes_read()
    answer = s3.get_object(Bucket=BUCKET, Key="large", Range="bytes=3-1000")
    assert answer["Body"].read() == body[3:1001]
    upload = {"Bucket": BUCKET, "Key": "copy"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    copied = s3.upload_part_copy(
        **upload,
        PartNumber=1,
        CopySource={"Bucket": BUCKET, "Key": "large"},
        CopySourceRange=f"bytes=1-{part}",
    )
    assert emulated.bytes_read() - before < size // 2
    tag = copied["CopyPartResult"]["ETag"]
    s3.complete_multipart_upload(
        **upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]}
    )
    assert s3.get_object(Bucket=BUCKET, Key="copy")["Body"].read() == body[1 : part + 1]
    assert s3.get_object(Bucket=BUCKET, Key="large")["Body"].read() == body


def test_parts_with_a_checksum_are_numbered_without_gaps(emulated: Emulated) -> None:
    s3 = emulated.s3
    upload = {"Bucket": BUCKET, "Key": "gaps"}
    begun = s3.create_multipart_upload(**upload, ChecksumAlgorithm="CRC32")
    upload["UploadId"] = begun["UploadId"]
    sent = s3.upload_part(**upload, PartNumber=2, Body=b"body", ChecksumAlgorithm="CRC32")
    part = {"PartNumber": 2, "ETag": sent["ETag"], "ChecksumCRC32": sent["ChecksumCRC32"]}
    with pytest.raises(ClientError, match="InvalidPartOrder"):
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [part]})


@pytest.mark.parametrize("first", [SMALLEST_PART, SMALLEST_PART - 1])
def test_only_the_last_part_of_a_multipart_may_be_below_5_mib(
    emulated: Emulated, first: int
) -> None:
    s3 = emulated.s3
    upload = {"Bucket": BUCKET, "Key": "parts"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    sizes = {7: first, 9: 1}
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(**upload, PartNumber=number, Body=bytes(size))["ETag"],
        }
        for number, size in sizes.items()
    ]
    if first == SMALLEST_PART:
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        assert s3.head_object(Bucket=BUCKET, Key="parts")["ContentLength"] == first + 1
    else:
        with pytest.raises(ClientError, match="EntityTooSmall"):
            s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
