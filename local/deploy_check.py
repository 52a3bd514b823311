"""`make deploy-check`: the main job once on a real AWS account, in a stack of its own.

Deploys the template under a name of its own, uploads a sample site through the API, restores it
into the database and the folder that were given, backs that up, downloads the backup and compares
every row and file; then takes away what it made, also when something failed.

It needs what `sam deploy` needs (credentials and a region, as every AWS tool finds them), and where
a site would be: a database by `STACK_DATABASE_URL`, and a file system and a network by the LCP_*
variables of their parameters. What is there is overwritten, so both have to be named for it. A
check that was killed leaves a note of its stack, and the next one removes that first.
"""

import os
import platform
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local import mariadb
from local.api import Answer, Api
from local.database import Database
from local.deploy_sample import Sample
from local.stack import PROJECT, Stack, variables_from
from local.stack_removal import remove

MARK = "lcp_backup_check"
"""In the names of the database and of the folder: neither is anybody's site."""

_UPLOADED_WITHIN = 1800
"""Seconds for sending the sample and having it taken in."""


_TAKEN = {
    "LCP_ARCHITECTURE",
    "LCP_BACKUP_FOLDER",
    "LCP_DATABASE_CA",
    "LCP_DATABASE_TLS",
    "LCP_ENDPOINT_URL",
    "LCP_FILE_SYSTEM_ACCESS_POINT_ARN",
    "LCP_FILE_SYSTEM_ARN",
    "LCP_FILE_SYSTEM_MOUNT_PATH",
    "LCP_KMS_KEY_ARN",
    "LCP_SECURITY_GROUP_IDS",
    "LCP_SUBNET_IDS",
}
"""Variables that say how to reach the place. One that names another database, other users or a
lock could have the check overwrite a site, write into a real user pool, or leave what nobody can
delete."""
_MOUNT_PATH = "/mnt/liferay"
"""The template's own."""


def run(state: Path, environment: Mapping[str, str]) -> None:
    """Does it all; raises SystemExit with a sentence when something is not as it should be."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:5.1f} s] {text}", flush=True)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stopped)
    database = Database.parse(environment.get("STACK_DATABASE_URL", ""))
    variables = _checked(variables_from(environment), database)
    folder = variables["LCP_BACKUP_FOLDER"]
    # boto3 and the SAM CLI know the one name of it only.
    if region := environment.get("AWS_REGION"):
        os.environ.setdefault("AWS_DEFAULT_REGION", region)
    note = state.with_suffix(".unfinished")
    mariadb.stop(state)
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True, mode=0o700)
    stack = Stack(state, None, database, Path(folder))
    say(_whose(stack))
    if note.exists():
        say("an earlier check did not end")
        remove(stack, note.read_text(), say)
        note.unlink()
    name = f"lcp-backup-check-{secrets.token_hex(4)}"
    with Sample.made(state, database.name, name) as sample:
        try:
            say("sam build")
            stack.build()
            say(f"sam deploy, as {name}")
            note.write_text(name)
            stack.secret_prefix = f"{name}/"
            stack.deploy({"LCP_PROJECT_ID": "check", **variables}, stack_name=name)
            stack.add_users(stack_name=name)
            url = stack.describe(stack_name=name)["api_url"]
            api = Api(url, stack.users["admin"])
            _wait_for(api)
            say(f"the API answers at {url}")
            uploaded = _upload(api, state)
            say(f"the sample site is taken in as backup {uploaded}")
            _succeeded(api, api.post(f"/backup/restore/{uploaded}"))
            say("and restored")
            created = _succeeded(api, api.post("/backup/create"))["backup_id"]
            say(f"backed up as {created}")
            different = sample.differences(api, created)
            if different:
                raise SystemExit(f"NOT as it was: {', '.join(different[:10])}")
            say("its download holds every row, view, trigger, routine, event, file, mode and time")
        finally:
            if note.exists():
                remove(stack, name, say)
                note.unlink()
    say(f"deploy-check: all checks held; {database.name} and {folder} are left, and yours to drop")


def _stopped(number: int, _: object) -> None:
    raise SystemExit(f"stopped by signal {number}")


def _checked(variables: dict[str, str], database: Database) -> dict[str, str]:
    """The variables, if nothing can be overwritten that was not named for it."""
    if others := sorted(set(variables) - _TAKEN):
        raise SystemExit(
            f"{', '.join(others)} cannot be set for this check, which takes only what says how to"
            f" reach the database and the folder: {', '.join(sorted(_TAKEN))}"
        )
    folder = PurePosixPath(variables.get("LCP_BACKUP_FOLDER", ""))
    mount = PurePosixPath(variables.get("LCP_FILE_SYSTEM_MOUNT_PATH", _MOUNT_PATH))
    for what, name in (
        ("database", database.name),
        ("folder (LCP_BACKUP_FOLDER)", "" if folder == mount else folder.name),
    ):
        if MARK not in name:
            raise SystemExit(
                f"what is in the {what} will be overwritten, so {MARK} has to be in its name, and"
                f" in {name!r} it is not"
            )
    # What is built here runs on the like only.
    mine = "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"
    if variables.setdefault("LCP_ARCHITECTURE", mine) != mine:
        raise SystemExit(f"LCP_ARCHITECTURE has to be {mine}: the check builds on this machine")
    return variables


def _whose(stack: Stack) -> str:
    """Where all of this will happen; raises SystemExit when AWS does not answer."""
    try:
        account = stack.client("sts").get_caller_identity()["Account"]
        region = stack.client("cloudformation").meta.region_name
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(
            f"AWS does not answer ({error}); set AWS_PROFILE and AWS_DEFAULT_REGION"
        ) from None
    return f"account {account}, region {region}"


def _wait_for(api: Api) -> None:
    """Until the API answers: its stage is deployed a little after the stack is there."""
    for _ in range(60):
        if api.call("GET", "/backup/health").status == 200:
            return
        time.sleep(1)
    raise SystemExit("the API does not answer GET /backup/health")


def _succeeded(api: Api, answer: Answer) -> dict[str, Any]:
    """The record of the run that a call began, once it has succeeded."""
    begun = answer.json()
    if answer.status >= 400:
        raise SystemExit(f"the API answered {answer.status}: {begun.get('detail', begun)}")
    run = api.wait_for(begun["run_id"])
    if run["state"] != "succeeded":
        raise SystemExit(f"the {run['kind']} failed: {run['error']['message']}")
    return run


def _upload(api: Api, files: Path) -> str:
    """Uploads both archives by the way of any size; answers the backup's id."""
    script = PROJECT / "docs" / "upload.sh"
    done = subprocess.run(
        ["sh", script, api.url, files / "database.tgz", files / "volume.tgz"],
        env={**os.environ, "LCP_USER": f"{api.user.name}:{api.user.password}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=_UPLOADED_WITHIN,
    )
    if done.returncode:
        raise SystemExit(f"the upload failed: {done.stdout}{done.stderr}")
    listed = api.call("GET", "/backup/list").json()["backups"]
    return str(next(it["backupId"] for it in listed if it["type"] == "Uploaded"))


def default_state() -> Path:
    """Where the check keeps its state."""
    return PROJECT / ".local" / "deploy-check"
