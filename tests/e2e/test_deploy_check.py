"""`make deploy-check`, with the emulator in the place of the AWS account it is made for."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import emulator
from local.deploy_check import MARK
from local.stack import PROJECT
from tests.support.deployed import Deployed


class Account:
    """Where the check is made, as the person who runs it says it by the environment."""

    def __init__(self, deployed: Deployed, folder: Path) -> None:
        database = deployed.stack.database
        login = f"{database.user}:{database.password}@{database.host}:{database.port}"
        self.variables = {
            "AWS_ENDPOINT_URL": deployed.described["endpoint_url"],
            "AWS_DEFAULT_REGION": emulator.REGION,
            "AWS_ACCESS_KEY_ID": emulator.CREDENTIALS["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": emulator.CREDENTIALS["secret_access_key"],
            "STACK_DATABASE_URL": f"mysql://{login}/{MARK}",
            "LCP_BACKUP_FOLDER": str(folder),
            # Only the emulator's functions have to be told where AWS is.
            "LCP_ENDPOINT_URL": deployed.described["endpoint_url"],
        }

    def check(self, state: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Runs the check in a process of its own; `variables` stand for other ones."""
        code = (
            "import os, sys; from pathlib import Path; from local.deploy_check import run;"
            " run(Path(sys.argv[1]), os.environ)"
        )
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LCP_"))}
        return subprocess.run(
            [sys.executable, "-c", code, state],
            cwd=PROJECT,
            env={**inherited, **self.variables, **variables},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def account(deployed: Deployed, tmp_path: Path) -> Iterator[Account]:
    folder = tmp_path / MARK
    folder.mkdir()
    yield Account(deployed, folder)
    with deployed.stack.database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {MARK}")


def left_of_checks(deployed: Deployed) -> dict[str, list[str]]:
    """What stands in the account under the name of a check."""
    client = deployed.stack.client
    names = {
        "stacks": [
            stack["StackName"] for stack in client("cloudformation").describe_stacks()["Stacks"]
        ],
        "buckets": [bucket["Name"] for bucket in client("s3").list_buckets()["Buckets"]],
        "pools": [
            pool["Name"]
            for pool in client("cognito-idp").list_user_pools(MaxResults=60)["UserPools"]
        ],
        "groups": [
            group["logGroupName"] for group in client("logs").describe_log_groups()["logGroups"]
        ],
    }
    found = {kind: [it for it in them if "check" in it] for kind, them in names.items()}
    found["secrets"] = [
        secret["Name"] for secret in client("secretsmanager").list_secrets()["SecretList"]
    ]
    return found


def test_the_check_does_the_round_trip_and_leaves_nothing_in_the_account(
    deployed: Deployed, account: Account, tmp_path: Path
) -> None:
    before = left_of_checks(deployed)
    done = account.check(tmp_path / "state")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "deploy-check: all checks held" in done.stdout
    assert deployed.stack.database.password not in done.stdout + done.stderr
    assert left_of_checks(deployed) == before


def test_a_check_whose_deployment_fails_leaves_nothing_either(
    deployed: Deployed, account: Account, tmp_path: Path
) -> None:
    before = left_of_checks(deployed)
    done = account.check(tmp_path / "state", LCP_SUBNET_IDS="subnet-0123456789abcdef0")
    assert done.returncode != 0
    assert "SecurityGroupIds" in done.stderr, done.stdout + done.stderr
    assert "could not be removed" not in done.stderr
    assert left_of_checks(deployed) == before
    assert not (tmp_path / "state.unfinished").exists()


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("STACK_DATABASE_URL", "mysql://u:p@127.0.0.1:3306/lportal", "has to be in its name"),
        ("LCP_BACKUP_FOLDER", "/mnt/liferay/data", "has to be in its name"),
        ("LCP_BACKUP_FOLDER", f"/mnt/{MARK}/data", "has to be in its name"),
        ("LCP_FILE_SYSTEM_MOUNT_PATH", "{folder}/", "has to be in its name"),
        ("LCP_DBNAME", "lportal", "LCP_DBNAME cannot be set"),
        ("LCP_USER_POOL_ID", "eu-central-1_abcdefghi", "LCP_USER_POOL_ID cannot be set"),
        ("LCP_BACKUP_OBJECT_LOCK", "COMPLIANCE", "LCP_BACKUP_OBJECT_LOCK cannot be set"),
    ],
)
def test_nothing_is_overwritten_that_was_not_named_for_it(
    account: Account, tmp_path: Path, variable: str, value: str, says: str
) -> None:
    value = value.format(folder=account.variables["LCP_BACKUP_FOLDER"])
    done = account.check(tmp_path / "state", **{variable: value})
    assert done.returncode != 0
    assert says in done.stderr
    assert "sam build" not in done.stdout
