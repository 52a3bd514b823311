"""What the functions' roles allow, held against what the functions did on the emulator.

The emulator enforces the roles: what they do not allow fails the other tests here. What they allow
and nobody needs is found here, by what IAM was asked while those tests and this one ran. (The
emulator's S3 asks IAM for no key.) What a function must not be able to do, were it taken over, is
tried with its role.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local import emulator
from local.api import curl
from tests.support.deployed import Deployed
from tests.support.permissions import Roles, excuses
from tests.support.roles import FUNCTIONS, MACHINES

NOT_SEEN_HERE = {
    ("*", "logs:CreateLogStream", "*"): "Lambda itself writes the logs, by the function's role",
    ("*", "logs:PutLogEvents", "*"): "Lambda itself writes the logs, by the function's role",
    ("*", "sqs:SendMessage", "*"): "Lambda itself sends what was given up, by the function's role",
    ("*", "rds:DescribeDB*", "*"): "the database here has a host name; see aws/test_rds.py",
    ("Schedules", "events:Put*", "*-restore-*"): "in disaster recovery; see test_deployed_stack.py",
    ("Cleanup", "s3:GetObject", "*/runs/*"): "of runs an hour old and more; see test_cleanup.py",
    ("Cleanup", "s3:AbortMultipartUpload", "*"): "what is aborted is a day old; test_cleanup.py",
    ("Cleanup", "s3:*Object", "*/uploads/*"): "what is forgotten is a day old; test_cleanup.py",
    ("Cleanup", "s3:*Object", "*/retired/*"): "of volumes of 64 MiB; see test_history_holds.py",
    ("Create", "s3:PutObject", "*/unfinished/*"): "of runs whose time ends; see test_unfinished.py",
    ("Cleanup", "s3:*Object", "*/unfinished/*"): "of runs whose time ends; see test_unfinished.py",
    ("Cleanup", "s3:*Object", "*/pins/*"): "of backups that expire, or went; see test_cleanup.py",
    ("Restore", "s3:GetObject", "*/scripts/*"): "where operators put some; see test_scripts.py",
    ("Api", "s3:PutObject", "*/retired/*"): "of volumes of 64 MiB; see test_http_assembled.py",
    ("Cleanup", "s3:DeleteObject", "*/downloads/*"): "they stay for a day; see test_cleanup.py",
    ("Cleanup", "s3:DeleteObject", "*/runs/*"): "records stay for 90 days; see test_cleanup.py",
    ("*Machine", "states:*", "*:execution:*"): "the emulator's Map starts items, and no more",
    ("Watch", "s3:GetObject", "*/runs/*"): "read when proof is due, or in disaster recovery",
    ("Watch", "s3:GetObject", "*/restore-paused.json"): "read in disaster recovery, as above",
    ("Upload", "s3:AbortMultipartUpload", "*"): "what was refused late; see test_take_in.py",
    ("Assemble", "s3:ListBucket", "*"): "S3 says 404 only to who may list; this emulator to all",
    ("RestoreWorker", "s3:ListBucket", "*"): "as above",
    ("VerifyWorker", "s3:ListBucket", "*"): "as above",
    ("CreateWorker", "s3:AbortMultipartUpload", "*"): "of creates that fail; see test_workers.py",
    (
        "Create",
        "s3:GetObject",
        "*/request",
    ): "if the answer to its write was lost; test_s3.py",
    ("Assemble", "s3:AbortMultipartUpload", "*"): "what failed half-way; see test_assemble.py",
}
"""What a role allows (of which function, or of all) and this emulator has no use for, and why."""


def roles_of(deployed: Deployed, described: dict[str, Any]) -> Roles:
    """The roles of the functions and state machines of a deployed stack."""
    lambda_ = deployed.stack.client("lambda")
    names: dict[str, str] = {}
    for function in FUNCTIONS:
        name = (
            described["workers"][f"{function}FunctionName"]
            if function.endswith("Worker")
            else described["functions"][function.lower()]
        )
        arn = lambda_.get_function_configuration(FunctionName=name)["Role"]
        names[arn.rpartition("/")[2]] = function
    machines = deployed.stack.client("stepfunctions")
    for machine in MACHINES:
        arn = described["machines"][f"{machine}Arn"]
        role = machines.describe_state_machine(stateMachineArn=arn)["roleArn"]
        names[role.rpartition("/")[2]] = machine
    return Roles(deployed, names)


@pytest.fixture(scope="module")
def roles(deployed: Deployed) -> Roles:
    return roles_of(deployed, deployed.described)


@pytest.fixture(scope="module")
def used(deployed: Deployed) -> None:
    """One of everything was done."""
    do_one_of_everything(deployed)


def do_one_of_everything(deployed: Deployed) -> None:
    """What needs a permission and nothing else in this folder does for certain."""
    stack = deployed.stack
    leave_as_a_dead_run(deployed, "acme-dev-202611210400")
    backup_id = stack.invoke("create", {"time": "2026-11-21T04:00:00Z"})["backup_id"]
    stack.invoke("restore", {"backup_id": "latest"})
    stack.invoke("restore", {"action": "pause", "reason": "a test"})
    stack.invoke("watch", {})
    stack.invoke("restore", {"action": "resume"})
    for _ in range(2):  # the second time, what was known before is deleted
        assert stack.invoke("verify", {"backup_id": "latest"})["verdict"] == "verified"
    verified = stack.invoke("verify", {"backup_id": backup_id, "workers": 2})
    assert deployed.admin.wait_for(verified["run_id"])["state"] == "succeeded"
    stack.invoke("create", {"time": "2020-01-01T00:00:00Z"})
    shared = stack.invoke("create", {"time": "2026-11-21T04:30:00Z", "workers": 2})
    made = deployed.admin.wait_for(shared["run_id"])
    assert made["state"] == "succeeded"
    shared = stack.invoke("restore", {"backup_id": made["backup_id"], "workers": 2})
    assert deployed.admin.wait_for(shared["run_id"])["state"] == "succeeded"
    stack.invoke("cleanup", {})
    assert deployed.admin.call("PUT", "/backup/restore/pause").status == 200
    assert deployed.viewer.call("GET", "/backup/schedules").status == 200
    assert deployed.admin.call("DELETE", "/backup/restore/pause").status == 204
    sizes = {"database": {"size": 100}, "volume": {"size": 40_000_000}}
    given_up = deployed.admin.post("/backup/upload", sizes).json()
    assert deployed.admin.call("DELETE", f"/backup/upload/{given_up['upload_id']}").status == 204
    for path in ("create", f"restore/{backup_id}", f"verify/{backup_id}", f"{backup_id}/report"):
        started = deployed.admin.post(f"/backup/{path}")
        assert deployed.admin.wait_for(started.json()["run_id"])["state"] == "succeeded"
    for listing in ("files", "tables"):
        assert deployed.viewer.call("GET", f"/backup/{backup_id}/{listing}").status == 200
    report = deployed.viewer.call("GET", f"/backup/{backup_id}/report").json()
    assert report["documents"] == "volume"
    assert curl(report["download"]["url"]).body.count(b"\n") == 1 + report["listed"]
    for kind in ("database", "volume"):
        url = f"{deployed.viewer.url}/backup/download/{kind}/{backup_id}"
        user = deployed.viewer.user
        assert curl("--location", "--user", f"{user.name}:{user.password}", url).status == 200
    selection = f"/backup/download/volume/{backup_id}?path=document_library"
    for asked in (selection, f"{selection}/20097&workers=2"):
        assert deployed.viewer.call("GET", asked, "--location", "--retry", "10").status == 200
    upload_id = upload_by_form(deployed, backup_id)
    assert stack.invoke("upload", {"upload_id": upload_id})["run_id"] == upload_id
    send_rubbish_in_parts(deployed)
    token = ("--header", f"Authorization: Bearer {stack.token}")
    assert curl(*token, f"{deployed.admin.url}/backup/list").status == 200
    pin = deployed.admin.call("PUT", f"/backup/{backup_id}/pin", "--json", '{"reason": "a test"}')
    assert pin.status == 200
    assert deployed.admin.call("DELETE", f"/backup/{backup_id}").status == 409
    assert deployed.admin.call("DELETE", f"/backup/{backup_id}/pin").status == 204
    assert deployed.admin.call("DELETE", f"/backup/{backup_id}").status == 204


def leave_as_a_dead_run(deployed: Deployed, backup_id: str) -> None:
    """An archive that nothing refers to, and an upload that never ended."""
    bucket = deployed.described["bucket"]
    left = f"{deployed.described['prefix']}/backups/{backup_id}"
    deployed.s3.put_object(Bucket=bucket, Key=f"{left}/database.tgz", Body=b"half")
    deployed.s3.create_multipart_upload(Bucket=bucket, Key=f"{left}/volume.tgz")


def send_rubbish_in_parts(deployed: Deployed) -> None:
    """An upload that S3 takes and the check does not."""
    sizes = {"database": {"size": 10}, "volume": {"size": 17 << 20}}
    opened = deployed.admin.post("/backup/upload", sizes).json()
    with TemporaryDirectory() as folder:
        wanted = [(10, opened["database"]["url"])]
        wanted += [(part["size"], part["url"]) for part in opened["volume"]["parts"]]
        for size, url in wanted:
            file = Path(folder, "rubbish")
            file.write_bytes(bytes(size))
            assert curl("--upload-file", file, url).status == 200
    upload_id = opened["upload_id"]
    assert deployed.admin.post(f"/backup/upload/{upload_id}/complete").status == 202
    assert deployed.admin.wait_for(upload_id)["state"] == "failed"


def upload_by_form(deployed: Deployed, backup_id: str) -> str:
    """Sends a backup's own archives back; answers the upload's id."""
    with TemporaryDirectory() as folder:
        fields: list[str] = []
        for kind in ("database", "volume"):
            key = f"{deployed.described['prefix']}/backups/{backup_id}/{kind}.tgz"
            file = f"{folder}/{kind}.tgz"
            deployed.s3.download_file(deployed.described["bucket"], key, file)
            fields += ["--form", f"{kind}=@{file}"]
        answer = deployed.admin.call("POST", "/backup/upload", *fields)
        run_id: str = answer.json()["run_id"]
        assert deployed.admin.wait_for(run_id)["state"] == "succeeded"
        return run_id


def test_without_a_key_no_role_has_a_managed_policy_and_none_has_a_wildcard(roles: Roles) -> None:
    assert roles.attached() == set()
    wide = {p for p in roles.permissions() if p.resource == "*" or "*" in p.action}
    assert wide == set()


@pytest.mark.usefixtures("used")
def test_whatever_a_role_allows_its_function_needs(roles: Roles) -> None:
    unused = {
        permission
        for permission in roles.unused()
        if not any(excuses(known, permission) for known in NOT_SEEN_HERE)
    }
    assert unused == set()


def test_what_is_said_to_be_needed_elsewhere_is_allowed(roles: Roles) -> None:
    allowed = roles.permissions()
    stale = {
        known
        for known in NOT_SEEN_HERE
        if not any(excuses(known, permission) for permission in allowed)
    }
    assert stale == set()


def test_a_key_is_given_to_the_roles_that_need_it_each_right_by_one_policy(
    deployed: Deployed,
) -> None:
    """That they may use it through S3 only, tests/unit/test_template.py sees."""
    own = f"arn:aws:kms:{emulator.REGION}:000000000000:key/1234abcd"
    source = "arn:aws:kms:us-east-1:111122223333:key/5678abcd"
    keys = {
        "LCP_PROJECT_ID": "other",
        "LCP_KMS_KEY_ARN": own,
        "LCP_BACKUP_RESTORE_SOURCE_BUCKET": "production",
        "LCP_BACKUP_RESTORE_SOURCE_KMS_KEY_ARN": source,
    }
    deployed.change(keys, stack_name="keyed")
    roles = roles_of(deployed, deployed.stack.describe(stack_name="keyed"))
    allowed = {p for p in roles.permissions() if p.action.startswith("kms:")}
    readers = set(FUNCTIONS) - {"Schedules"}
    assert {(p.function, p.action, p.resource) for p in allowed} == {
        *((function, "kms:Decrypt", own) for function in (*readers, *MACHINES)),
        *((function, "kms:GenerateDataKey", own) for function in readers - {"Watch"}),
        *((function, "kms:Decrypt", source) for function in ("Restore", "RestoreWorker", "Watch")),
    }
    assert len({arn for _, arn in roles.attached()}) == 3
    deployed.stack.delete(stack_name="keyed")


# --- what a function cannot do, whatever runs in it ----------------------------------------------

ASSUMABLE = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"},
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        },
    ],
}

type ClientOf = Callable[[str, str], Any]
"""A client by function and service, with nothing but the rights of the function's role."""


@pytest.fixture(scope="module")
def acting_as(deployed: Deployed, roles: Roles) -> ClientOf:
    def client(function: str, service: str) -> Any:
        (name,) = [role for role, of in roles.names.items() if of == function]
        iam = deployed.stack.client("iam")
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(ASSUMABLE))
        arn = iam.get_role(RoleName=name)["Role"]["Arn"]
        taken = deployed.stack.client("sts").assume_role(RoleArn=arn, RoleSessionName="taken-over")
        credentials = taken["Credentials"]
        make: Callable[..., Any] = boto3.client
        return make(
            service,
            endpoint_url=deployed.stack.endpoint_url,
            region_name=emulator.REGION,
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
        )

    return client


@dataclass(frozen=True)
class Published:
    """A backup that is there, and its place."""

    bucket: str
    prefix: str
    id: str

    def key(self, name: str) -> str:
        return f"{self.prefix}/backups/{self.id}/{name}"


@pytest.fixture(scope="module")
def published(deployed: Deployed) -> Published:
    backup_id = deployed.stack.invoke("create", {"time": "2026-11-21T05:00:00Z"})["backup_id"]
    return Published(deployed.described["bucket"], deployed.described["prefix"], backup_id)


@contextmanager
def denied() -> Iterator[None]:
    with pytest.raises(ClientError) as error:
        yield
    assert error.value.response["Error"]["Code"] in {"AccessDenied", "AccessDeniedException", "403"}


def test_the_function_that_reads_what_strangers_wrote_deletes_and_overwrites_no_backup(
    deployed: Deployed, acting_as: ClientOf, published: Published
) -> None:
    s3 = acting_as("Upload", "s3")
    place = {"Bucket": published.bucket}
    before = deployed.keys("backups/")
    for name in ("manifest.json", "database.tgz", "volume.index"):
        key = published.key(name)
        with denied():
            s3.delete_object(**place, Key=key)
        with denied():
            s3.put_object(**place, Key=key, Body=b"mine")
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.put_object(**place, Key=key, Body=b"mine", IfNoneMatch="*")
        begun = s3.create_multipart_upload(**place, Key=key)["UploadId"]
        part = s3.upload_part(**place, Key=key, UploadId=begun, PartNumber=1, Body=b"mine")
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        with denied():
            s3.complete_multipart_upload(**place, Key=key, UploadId=begun, MultipartUpload=parts)
        s3.abort_multipart_upload(**place, Key=key, UploadId=begun)
    with denied():
        s3.get_object(**place, Key=published.key("volume.tgz"))
    assert deployed.keys("backups/") == before
    manifest = deployed.s3.get_object(**place, Key=published.key("manifest.json"))["Body"].read()
    assert json.loads(manifest)["id"] == published.id


def test_a_backup_takes_bytes_of_an_older_one_by_copy_and_still_overwrites_none(
    acting_as: ClientOf, published: Published
) -> None:
    s3 = acting_as("Create", "s3")
    place = {"Bucket": published.bucket}
    key = f"{published.prefix}/backups/acme-dev-202611010601/volume.tgz"
    source = {"Bucket": published.bucket, "Key": published.key("volume.tgz")}
    for overwrites in (False, True):
        target = {**place, "Key": published.key("volume.tgz") if overwrites else key}
        begun = {**target, "UploadId": s3.create_multipart_upload(**target)["UploadId"]}
        copied = s3.upload_part_copy(**begun, PartNumber=1, CopySource=source)["CopyPartResult"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": copied["ETag"]}]}
        with denied():
            s3.complete_multipart_upload(**begun, MultipartUpload=parts)
        if overwrites:
            with pytest.raises(ClientError, match="PreconditionFailed"):
                s3.complete_multipart_upload(**begun, MultipartUpload=parts, IfNoneMatch="*")
            s3.abort_multipart_upload(**begun)
        else:
            s3.complete_multipart_upload(**begun, MultipartUpload=parts, IfNoneMatch="*")
    s3.delete_object(**place, Key=key)


@pytest.mark.parametrize("function", ["Api", "Create", "Restore", "Cleanup", "Watch", "Upload"])
def test_no_function_lists_more_than_its_environment(
    acting_as: ClientOf, published: Published, function: str
) -> None:
    s3 = acting_as(function, "s3")
    below = f"{published.prefix}/backups/"
    assert s3.list_objects_v2(Bucket=published.bucket, Prefix=below)["KeyCount"] > 0
    for prefix in ("", "acme/", "other/prd/backups/"):
        with denied():
            s3.list_objects_v2(Bucket=published.bucket, Prefix=prefix)
    with denied():
        s3.list_objects_v2(Bucket=published.bucket)


def test_cleanup_cannot_touch_the_lease_nor_end_a_pause(
    acting_as: ClientOf, published: Published
) -> None:
    s3 = acting_as("Cleanup", "s3")
    for name in ("lease.json", "restore-paused.json"):
        place = {"Bucket": published.bucket, "Key": f"{published.prefix}/{name}"}
        with denied():
            s3.delete_object(**place)
        with denied():
            s3.put_object(**place, Body=b"")


@pytest.mark.parametrize(
    ("function", "name", "body"),
    [
        ("Create", "uploads/u/database", None),
        ("Restore", "uploads/u/database", None),
        ("Watch", "backups/{id}/database.tgz", None),
        ("Cleanup", "backups/{id}/database.tgz", None),
        ("Restore", "backups/{id}/manifest.json", b""),
        ("Restore", "runs/20261123T001500-create-0a1b2c3d.json", b""),
        ("Upload", "runs/20261123T001500-restore-0a1b2c3d.json", b""),
        ("Api", "backups/{id}/manifest.json", b""),
        ("Api", "lease.json", b""),
    ],
)
def test_what_is_another_functions_business_is_denied(
    acting_as: ClientOf, published: Published, function: str, name: str, body: bytes | None
) -> None:
    s3 = acting_as(function, "s3")
    key = f"{published.prefix}/{name.format(id=published.id)}"
    with denied():
        if body is None:
            s3.get_object(Bucket=published.bucket, Key=key)
        else:
            s3.put_object(Bucket=published.bucket, Key=key, Body=body, IfNoneMatch="*")


def test_the_rules_of_a_stack_whose_name_begins_alike_are_out_of_reach(
    acting_as: ClientOf,
) -> None:
    events = acting_as("Schedules", "events")
    for name in ("lcp-backup-prod-create-1", "lcp-backup-create-create-1", "lcp-backup-create-10"):
        with denied():
            events.put_rule(Name=name, ScheduleExpression="rate(1 day)")
        with denied():
            events.delete_rule(Name=name)
