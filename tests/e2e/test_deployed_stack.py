"""The main job on the deployed stack: what an operator's events, rules and tools meet."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from local import site
from local.stack import DeploymentFailed, FunctionError
from tests.support.deployed import NEVER, Deployed


def test_the_archives_open_with_gnu_tar_and_load_with_the_stock_client(
    deployed: Deployed, tmp_path: Path
) -> None:
    stack, described = deployed.stack, deployed.described
    with stack.database.connect() as connection, connection.cursor() as cursor:
        # As nobody has restored it yet: stored code is the client's user's own, and no other owner
        # is one that this user may set.
        cursor.execute("DROP DATABASE IF EXISTS lportal")
        site.fill_database(connection, "lportal")
    backup_id = stack.invoke("create", {"time": "2026-11-20T01:00:00Z"})["backup_id"]
    before = deployed.fingerprint()
    for name in ("database.tgz", "volume.tgz"):
        subprocess.run(
            [
                Path(sys.executable).parent / "aws",
                "s3",
                "cp",
                "--quiet",
                f"s3://{described['bucket']}/{described['prefix']}/backups/{backup_id}/{name}",
                tmp_path / name,
            ],
            check=True,
            env={
                **os.environ,
                "AWS_ENDPOINT_URL": described["endpoint_url"],
                "AWS_DEFAULT_REGION": described["region"],
                "AWS_ACCESS_KEY_ID": described["credentials"]["access_key_id"],
                "AWS_SECRET_ACCESS_KEY": described["credentials"]["secret_access_key"],
            },
        )
        subprocess.run(["tar", "xzf", tmp_path / name, "-C", tmp_path], check=True)
    (tmp_path / "volume").mkdir()
    subprocess.run(["tar", "xzf", tmp_path / "volume.tgz", "-C", tmp_path / "volume"], check=True)
    dump = tmp_path / "lportal.sql"
    with stack.database.connect() as connection, dump.open("rb") as content:
        with connection.cursor() as cursor:
            cursor.execute("DROP DATABASE lportal")
        subprocess.run(
            ["mariadb", "-h127.0.0.1", f"-P{stack.database.port}", f"-u{stack.database.user}"],
            stdin=content,
            check=True,
            env={**os.environ, "MYSQL_PWD": stack.database.password},
        )
        after = site.fingerprint(connection, "lportal", tmp_path / "volume")
    assert before.differences(after) == []


def test_a_destroyed_site_comes_back_with_every_row_and_file(deployed: Deployed) -> None:
    stack = deployed.stack
    before = deployed.fingerprint()
    backup_id = stack.invoke("create", {"time": "2026-11-20T02:00:00Z"})["backup_id"]
    deployed.destroy()
    assert before.differences(deployed.fingerprint()) != []
    answer = stack.invoke("restore", {"backup_id": backup_id})
    assert (answer["backup_id"], answer["restored"]) == (backup_id, True)
    assert before.differences(deployed.fingerprint()) == []
    names = {path.name for path in stack.folder.parent.iterdir()}
    assert names == {"data"}, "a restore leaves nothing beside the folder"


def test_the_newest_backup_is_proved_and_a_flipped_byte_is_told(deployed: Deployed) -> None:
    stack = deployed.stack
    before = deployed.fingerprint()
    backup_id = stack.invoke("create", {"time": "2026-11-20T03:00:00Z"})["backup_id"]
    event = {"backup_id": backup_id}
    assert stack.invoke("verify", event)["verdict"] == "verified"
    shown = deployed.viewer.call("GET", f"/backup/{backup_id}").json()["verification"]
    assert (shown["verdict"], shown["error"]) == ("verified", None)
    (key,) = (it for it in deployed.keys(f"backups/{backup_id}/") if it.endswith("database.tgz"))
    place = {"Bucket": deployed.described["bucket"], "Key": key}
    body = bytearray(deployed.s3.get_object(**place)["Body"].read())
    body[-3000] ^= 1
    deployed.s3.delete_object(**place)
    deployed.s3.put_object(**place, Body=bytes(body), IfNoneMatch="*")
    with pytest.raises(FunctionError, match=f"database.tgz of backup {backup_id}: segment"):
        stack.invoke("verify", event)
    shown = deployed.viewer.call("GET", f"/backup/{backup_id}").json()["verification"]
    assert shown["verdict"] == "bad"
    assert "segment" in shown["error"]
    assert before.differences(deployed.fingerprint()) == []
    assert deployed.admin.call("DELETE", f"/backup/{backup_id}").status == 204
    assert [it for it in deployed.keys("backups/") if backup_id in it] == []


def test_cleanup_does_what_its_dry_run_said(deployed: Deployed) -> None:
    old = deployed.stack.invoke("create", {"time": "2020-01-01T00:00:00Z"})["backup_id"]
    newest = deployed.stack.invoke("create", {})["backup_id"]
    would = deployed.stack.invoke("cleanup", {"dry_run": True})
    assert old in would["expired"]
    assert old in {m["id"] for m in deployed.manifests()}
    did = deployed.stack.invoke("cleanup", {})
    assert did["expired"] == would["expired"]
    assert newest in did["kept"]
    assert [key for key in deployed.keys("backups/") if old in key] == []


def test_what_is_wrong_reaches_the_caller_by_name(deployed: Deployed) -> None:
    with pytest.raises(FunctionError, match="there is no backup acme-dev-209901010000"):
        deployed.stack.invoke("restore", {"backup_id": "acme-dev-209901010000"})
    with pytest.raises(FunctionError, match="backup_id: '../../etc/passwd' is not a backup id"):
        deployed.stack.invoke("restore", {"backup_id": "../../etc/passwd"})
    with pytest.raises(FunctionError, match="a restore needs"):
        deployed.stack.invoke("restore", {})


def test_schedules_become_rules_that_fire_and_one_of_restores_takes_the_place_of_creates(
    deployed: Deployed,
) -> None:
    known = {m["id"] for m in deployed.manifests()}
    base = {"LCP_PROJECT_ID": "acme"}
    deployed.change({**base, "LCP_BACKUP_CREATE_SCHEDULE": "* * * * *"})
    try:
        for _ in range(150):
            new = [m for m in deployed.manifests() if m["id"] not in known]
            if new:
                break
            time.sleep(1)
        assert new[0]["type"] == "Auto"
        # Another test may have restored the site before.
        assert {it["code"] for it in new[0]["warnings"]} <= {"volume-not-compared"}
        deployed.change(
            {
                **base,
                "LCP_BACKUP_RESTORE_SCHEDULE": "0 0 1 1 *",
                "LCP_BACKUP_RESTORE_SOURCE_BUCKET": "production",
                "LCP_ENVIRONMENT_TYPE": "production",
            }
        )
        assert kinds_of_rules(deployed) == {"restore", "cleanup", "WatchRule"}
        shown = deployed.viewer.call("GET", "/backup/schedules").json()
        assert (shown["create"], shown["restore"]["cron"]) == (None, "0 0 1 1 *")
    finally:
        # A parameter that is left out of an update keeps its value, so the switch is an empty one.
        deployed.change(
            {
                **base,
                "LCP_BACKUP_RESTORE_SCHEDULE": "",
                "LCP_BACKUP_RESTORE_SOURCE_BUCKET": "",
                "LCP_BACKUP_CREATE_SCHEDULE": NEVER,
            }
        )
    assert kinds_of_rules(deployed) == {"create", "cleanup", "verify", "WatchRule"}


def kinds_of_rules(deployed: Deployed) -> set[str]:
    return {name.split("-")[-2] for name in deployed.rules()}


def what_stays(deployed: Deployed) -> tuple[set[str], set[str]]:
    """The buckets and user pools of the account, which outlive a stack that is deleted."""
    buckets = deployed.s3.list_buckets()["Buckets"]
    pools = deployed.stack.client("cognito-idp").list_user_pools(MaxResults=60)["UserPools"]
    return {bucket["Name"] for bucket in buckets}, {pool["Id"] for pool in pools}


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        (
            "LCP_BACKUP_CREATE_SCHEDULE",
            "0 99 * * *",
            "LCP_BACKUP_CREATE_SCHEDULE.*hour '99' is not possible",
        ),
        (
            "LCP_BACKUP_RESTORE_SCHEDULE",
            "0 * * * *",
            "BackupRestoreSchedule is set, so EnvironmentType must be production",
        ),
    ],
)
def test_a_wrong_value_fails_the_first_deployment_with_a_sentence_and_leaves_nothing(
    deployed: Deployed, variable: str, value: str, says: str
) -> None:
    before = what_stays(deployed)
    with pytest.raises(DeploymentFailed, match=says):
        deployed.change({variable: value}, stack_name="wrong")
    assert deployed.rules("wrong") == {}
    assert what_stays(deployed) == before
    deployed.stack.delete(stack_name="wrong")


def belongings(deployed: Deployed, stack_name: str) -> set[str]:
    """What there is of a stack in the account, wherever its name shows."""
    client = deployed.stack.client
    found = [f"rule {name}" for name in deployed.rules(stack_name)]
    for function in client("lambda").list_functions()["Functions"]:
        found.append(f"function {function['FunctionName']}")
        with suppress(ClientError):
            client("lambda").get_policy(FunctionName=function["FunctionName"])
            found.append(f"permission of {function['FunctionName']}")
    groups = client("logs").describe_log_groups()["logGroups"]
    found += [f"log group {group['logGroupName']}" for group in groups]
    found += [f"role {role['RoleName']}" for role in client("iam").list_roles()["Roles"]]
    alarms = client("cloudwatch").describe_alarms()["MetricAlarms"]
    found += [f"alarm {alarm['AlarmName']}" for alarm in alarms]
    found += [f"queue {url}" for url in client("sqs").list_queues().get("QueueUrls", [])]
    found += [f"topic {topic['TopicArn']}" for topic in client("sns").list_topics()["Topics"]]
    return {name for name in found if f"{stack_name}-" in name or f"/{stack_name}/" in name}


def test_a_second_stack_lives_beside_the_first_and_leaves_nothing_when_it_is_deleted(
    deployed: Deployed,
) -> None:
    first, rules = belongings(deployed, "lcp-backup"), deployed.rules()
    base = {"LCP_PROJECT_ID": "other"}
    deployed.change(base, stack_name="second")
    drawn = deployed.rules("second")
    there = {name.partition(" ")[0] for name in belongings(deployed, "second")}
    assert there >= {"rule", "function", "permission", "log", "role", "alarm", "queue", "topic"}
    deployed.change({**base, "LCP_BACKUP_RETENTION_PERIOD": "7"}, stack_name="second")
    assert deployed.rules("second") == drawn, "a drawn default stays the same over updates"
    # One that two EventBridge rules are made of, for a day of month and a day of week.
    split = {**base, "LCP_BACKUP_CREATE_SCHEDULE": "0 3 13 * FRI"}
    deployed.change(split, stack_name="second")
    assert {name for name in deployed.rules("second") if "-create-" in name} == {
        "second-create-1",
        "second-create-2",
    }
    deployed.stack.delete(stack_name="second")
    assert belongings(deployed, "second") == set()
    assert (belongings(deployed, "lcp-backup"), deployed.rules()) == (first, rules)


@pytest.mark.parametrize(
    "name", ["Api", "Cleanup", "Create", "Restore", "Schedules", "Upload", "Verify", "Watch"]
)
def test_a_built_function_imports_with_nothing_but_what_was_built(
    deployed: Deployed, name: str
) -> None:
    built = deployed.stack.state / "build"
    code = (
        "import sys;"
        f"sys.path[:0] = [{str(built / f'{name}Function')!r},"
        f" {str(built / 'ServiceLayer' / 'python')!r}];"
        "import app; assert callable(app.handler)"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, cwd="/")


def test_the_layer_describes_every_service_that_is_talked_to(deployed: Deployed) -> None:
    layer = deployed.stack.state / "build" / "ServiceLayer" / "python"
    code = f"""
import sys
sys.path.insert(0, {str(layer)!r})
import boto3
from lcp_backup.aws import clients
for make in (clients.s3, clients.events, clients.functions, clients.rds, clients.secrets):
    make()
boto3.client("cognito-idp")
"""
    region = {"AWS_DEFAULT_REGION": "eu-central-1"}
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, cwd="/", env=region)
