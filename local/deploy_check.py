"""`make deploy-check`: the main job once on a real AWS account, in a stack of its own.

Deploys the template under a name of its own, uploads a sample site through the API, restores it
into the database and the folder that were given, backs that up, downloads the backup and compares
every row and file; then takes away what it made, also when something failed.

It needs what `sam deploy` needs (credentials and a region, as every AWS tool finds them), and where
a site would be: a database by `STACK_DATABASE_URL`, and a file system and a network by the LCP_*
variables of their parameters. What is there is overwritten, so both have to be named for it.
"""

import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local import mariadb, site
from local.api import Answer, Api
from local.database import Database
from local.stack import PROJECT, Stack, variables_from

MARK = "lcp_backup_check"
"""In the names of the database and of the folder: neither is anybody's site."""

type Say = Callable[[str], None]


def run(state: Path, environment: Mapping[str, str]) -> None:
    """Does it all; raises SystemExit with a sentence when something is not as it should be."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:5.1f} s] {text}", flush=True)

    database = Database.parse(environment.get("STACK_DATABASE_URL", ""))
    variables = variables_from(environment)
    folder = variables.get("LCP_BACKUP_FOLDER", "")
    for what, name in (("database", database.name), ("folder (LCP_BACKUP_FOLDER)", folder)):
        if MARK not in name:
            raise SystemExit(
                f"what is in the {what} will be overwritten, so {MARK} has to be in its name, and"
                f" in {name!r} it is not"
            )
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True, mode=0o700)
    with _Sample.made(state, database.name) as sample:
        name = f"lcp-backup-check-{secrets.token_hex(4)}"
        stack = Stack(state, None, database, Path(folder))
        try:
            say("sam build")
            stack.build()
            say(f"sam deploy, as {name}")
            stack.deploy({"LCP_PROJECT_ID": "check", **variables}, stack_name=name)
            stack.add_users(stack_name=name)
            url = stack.describe(stack_name=name)["api_url"]
            api = Api(url, stack.users["admin"])
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
            _remove(stack, name, say)
    say(f"deploy-check: all checks held; {database.name} and {folder} are left, and yours to drop")


class _Sample:
    """The demo's site on this machine, as the two archives that a user would upload."""

    def __init__(self, state: Path, server: Database) -> None:
        self._state = state
        self._server = server
        self._folder = state / "sample"
        with server.connect() as connection:
            site.fill_database(connection, server.name)
            site.fill_folder(self._folder)
            self._before = site.fingerprint(connection, server.name, self._folder).as_uploaded()
        dump = state / f"{server.name}.sql"
        dump.write_bytes(self._client("mariadb-dump", "--single-transaction", "--routines",
                                      "--events", "--triggers", server.name))  # fmt: skip
        _tar("-czf", state / "database.tgz", "-C", state, dump.name)
        # Of the two formats of GNU tar this one has times to the nanosecond.
        _tar("--format=posix", "-czf", state / "volume.tgz", "-C", self._folder, ".")

    @classmethod
    @contextmanager
    def made(cls, state: Path, name: str) -> "Iterator[_Sample]":
        """On a private server, in a schema of this name (a dump of the service's says USE)."""
        password = secrets.token_urlsafe(12)
        port = mariadb.start(state, password)
        try:
            yield cls(state, Database("127.0.0.1", port, mariadb.MASTER_USER, password, name))
        finally:
            mariadb.stop(state)

    def differences(self, api: Api, backup_id: str) -> list[str]:
        """What the download of a backup has not, or not so; it is put where the sample was."""
        for kind in ("database", "volume"):
            target = self._state / f"downloaded-{kind}.tgz"
            path = f"/backup/download/{kind}/{backup_id}"
            answer = api.call("GET", path, "--location", "--output", target)
            if answer.status != 200:
                raise SystemExit(f"GET {path}: {answer.status}")
        name = self._server.name
        with self._server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE `{name}`")
            cursor.execute(f"CREATE DATABASE `{name}`")
        # Their owner is an account of the other server's, and does not count (see `fingerprint`).
        dump = re.sub(
            rb"DEFINER=`[^`]+`@`[^`]+`", b"", _tar("-xzOf", self._state / "downloaded-database.tgz")
        )
        self._client("mariadb", name, sent=dump)
        shutil.rmtree(self._folder)
        self._folder.mkdir()
        _tar("-xzf", self._state / "downloaded-volume.tgz", "-C", self._folder)
        with self._server.connect() as connection:
            return self._before.differences(site.fingerprint(connection, name, self._folder))

    def _client(self, program: str, *arguments: str, sent: bytes | None = None) -> bytes:
        options = self._state / "sample.cnf"
        options.touch(mode=0o600)
        options.write_text(
            f"[client]\nhost={self._server.host}\nport={self._server.port}\n"
            f"user={self._server.user}\npassword={self._server.password}\n"
        )
        command = [program, f"--defaults-file={options}", *arguments]
        done = subprocess.run(command, input=sent, capture_output=True, check=False)
        if done.returncode:
            raise SystemExit(f"{program} failed: {done.stderr.decode(errors='replace')[-2000:]}")
        return done.stdout


def _remove(stack: Stack, name: str, say: Say) -> None:
    """Deletes the stack, and the bucket and the user pool that it would keep."""
    say(f"removing {name}")
    try:
        kept = stack.kept_by_deletion(stack_name=name)
    except ClientError:
        kept = []  # it was refused before there was a stack
    stack.delete(stack_name=name)
    for kind, physical in kept:
        if kind == "AWS::S3::Bucket":
            s3 = stack.client("s3")
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=physical):
                for version in page.get("Versions", []) + page.get("DeleteMarkers", []):
                    s3.delete_object(
                        Bucket=physical, Key=version["Key"], VersionId=version["VersionId"]
                    )
            s3.delete_bucket(Bucket=physical)
        else:
            stack.client("cognito-idp").delete_user_pool(UserPoolId=physical)
    stack.delete_secrets()


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
    )
    if done.returncode:
        raise SystemExit(f"the upload failed: {done.stdout}{done.stderr}")
    listed = api.call("GET", "/backup/list").json()["backups"]
    return str(listed[0]["backupId"])


def _tar(*arguments: str | Path) -> bytes:
    return subprocess.run(["tar", *arguments], check=True, capture_output=True).stdout


def default_state() -> Path:
    """Where the check keeps its state."""
    return PROJECT / ".local" / "deploy-check"
