"""What the functions' roles allow, held against what the functions did on the emulator.

The emulator enforces the roles: what they do not allow fails the other tests here. What they allow
and nobody needs is found here, by what IAM was asked while those tests and this one ran.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from local.api import curl
from local.emulator import ALLOWED
from tests.e2e.conftest import Deployed

FUNCTIONS = ("Api", "Cleanup", "Create", "Restore", "Schedules", "Upload", "Watch")

NOT_SEEN_HERE = {
    ("*", "logs:CreateLogStream", "*"): "Lambda itself writes the logs, by the function's role",
    ("*", "logs:PutLogEvents", "*"): "Lambda itself writes the logs, by the function's role",
    ("*", "sqs:SendMessage", "*"): "Lambda itself sends what was given up, by the function's role",
    ("*", "rds:DescribeDB*", "*"): "the database here has a host name; see test_aws.py",
    ("Create", "s3:GetObject", "*/runs/*"): "a queued run that finds its backup made already",
    ("Cleanup", "s3:AbortMultipartUpload", "*"): "what is aborted is a day old; test_cleanup.py",
    ("Watch", "s3:GetObject", "*/runs/*"): "read in disaster recovery; see test_watch.py",
    ("Watch", "s3:GetObject", "*/restore-paused.json"): "read in disaster recovery, as above",
    ("Upload", "s3:AbortMultipartUpload", "*"): "what a dead upload left open; see test_take_in.py",
    ("Upload", "s3:DeleteObject", "*/backups/*"): "what a dead upload left; see test_take_in.py",
}
"""What a role allows (of which function, or of all) and this emulator has no use for, and why."""


@dataclass(frozen=True)
class Permission:
    """One action on one resource (a pattern) that a statement allows."""

    function: str
    statement: str
    action: str
    resource: str

    def covers(self, action: str, resource: str) -> bool:
        return fnmatchcase(action.lower(), self.action.lower()) and fnmatchcase(
            resource, self.resource
        )


class Roles:
    """The roles of the deployed functions."""

    def __init__(self, deployed: Deployed) -> None:
        self._iam = deployed.stack.client("iam")
        lambda_ = deployed.stack.client("lambda")
        self.names: dict[str, str] = {}
        for function in FUNCTIONS:
            name = deployed.described["functions"][function.lower()]
            arn = lambda_.get_function_configuration(FunctionName=name)["Role"]
            self.names[arn.rpartition("/")[2]] = function

    def documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Function and statement, of every inline policy."""
        for role, function in self.names.items():
            for name in self._iam.list_role_policies(RoleName=role)["PolicyNames"]:
                document = self._iam.get_role_policy(RoleName=role, PolicyName=name)
                for statement in document["PolicyDocument"]["Statement"]:
                    yield function, statement

    def attached(self) -> set[tuple[str, str]]:
        """Function and managed policy."""
        return {
            (function, policy["PolicyName"])
            for role, function in self.names.items()
            for policy in self._iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        }

    def permissions(self) -> set[Permission]:
        """All that is allowed, one action and one resource each."""
        return {
            Permission(function, statement.get("Sid", "?"), action, resource)
            for function, statement in self.documents()
            if statement["Effect"] == "Allow"
            for action in as_list(statement["Action"])
            for resource in as_list(statement["Resource"])
        }


def as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def excuses(known: tuple[str, str, str], permission: Permission) -> bool:
    """Whether an entry of NOT_SEEN_HERE speaks of this permission."""
    has = (permission.function, permission.action, permission.resource)
    return all(fnmatchcase(part, pattern) for part, pattern in zip(has, known, strict=True))


@pytest.fixture(scope="module")
def roles(deployed: Deployed) -> Roles:
    return Roles(deployed)


@pytest.fixture(scope="module")
def asked(deployed: Deployed, roles: Roles) -> set[tuple[str, str, str]]:
    """Function, action and resource that IAM allowed, after one of everything was done."""
    do_one_of_everything(deployed)
    lines = (deployed.stack.state / ALLOWED).read_text().splitlines()
    found = set()
    for line in lines:
        decision = json.loads(line)
        role = re.search(r":assumed-role/([^/]+)/", decision["principal"])
        if role and role[1] in roles.names:
            found.add((roles.names[role[1]], decision["action"], decision["resource"]))
    return found


def do_one_of_everything(deployed: Deployed) -> None:
    """What needs a permission and nothing else in this folder does for certain."""
    stack = deployed.stack
    leave_as_a_dead_run(deployed, "acme-dev-202611210400")
    backup_id = stack.invoke("create", {"time": "2026-11-21T04:00:00Z"})["backup_id"]
    stack.invoke("restore", {"backup_id": "latest"})
    stack.invoke("restore", {"action": "pause", "reason": "a test"})
    stack.invoke("watch", {})
    stack.invoke("restore", {"action": "resume"})
    stack.invoke("create", {"time": "2020-01-01T00:00:00Z"})
    stack.invoke("cleanup", {})
    assert deployed.admin.call("PUT", "/backup/restore/pause").status == 200
    assert deployed.admin.call("DELETE", "/backup/restore/pause").status == 204
    sizes = {"database": {"size": 100}, "volume": {"size": 40_000_000}}
    given_up = deployed.admin.post("/backup/upload", sizes).json()
    assert deployed.admin.call("DELETE", f"/backup/upload/{given_up['upload_id']}").status == 204
    for path in ("create", f"restore/{backup_id}"):
        started = deployed.admin.post(f"/backup/{path}")
        assert deployed.admin.wait_for(started.json()["run_id"])["state"] == "succeeded"
    now = datetime.now(UTC)
    ids = {f"acme-dev-{minute:%Y%m%d%H%M}" for minute in (now, now + timedelta(minutes=1))}
    for free in ids - {manifest["id"] for manifest in deployed.manifests()}:
        leave_as_a_dead_run(deployed, free)
    upload_id = upload_by_form(deployed, backup_id)
    assert stack.invoke("upload", {"upload_id": upload_id})["run_id"] == upload_id
    send_rubbish_in_parts(deployed)
    token = ("--header", f"Authorization: Bearer {stack.token}")
    assert curl(*token, f"{deployed.admin.url}/backup/list").status == 200
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


def test_no_role_has_a_managed_policy_or_a_wildcard(roles: Roles) -> None:
    assert roles.attached() == set()
    wide = {p for p in roles.permissions() if p.resource == "*" or "*" in p.action}
    assert wide == set()


def test_whatever_a_role_allows_its_function_needs(
    roles: Roles, asked: set[tuple[str, str, str]]
) -> None:
    unused = {
        permission
        for permission in roles.permissions()
        if not any(
            function == permission.function and permission.covers(action, resource)
            for function, action, resource in asked
        )
        and not any(excuses(known, permission) for known in NOT_SEEN_HERE)
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
