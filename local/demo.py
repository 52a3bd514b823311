"""The main job from end to end, on the embedded stack, with real servers and every byte compared.

Wherever a user would use the command line it does so too; the original service's own calls are made
as its pages have them, by curl.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local import site
from local.api import Answer, Api
from local.stack import PROJECT, Stack, User

_PATIENCE = 150
"""Seconds to wait for a rule that fires every minute, and for the backup it starts."""


def run(state: Path) -> None:
    """Deploys, lets the rule fire, destroys the site, restores it and compares every byte.

    Leaves the stack running: whoever called it stops it.
    """
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:5.1f} s] {text}", flush=True)

    say("starting a private MariaDB and MiniStack, filling the sample site")
    stack = Stack.start(state)
    say("sam build")
    stack.build()
    say("sam deploy, LCP_BACKUP_CREATE_SCHEDULE='* * * * *'")
    variables = {"LCP_BACKUP_CREATE_SCHEDULE": "* * * * *", "LCP_PROJECT_ID": "demo"}
    stack.deploy(variables)
    stack.add_users()
    described = stack.describe()
    admin = Api(described["api_url"], stack.users["admin"])
    viewer = Api(described["api_url"], stack.users["viewer"])
    say(f"the API answers at {admin.url}")
    _lcp_backup(stack, say, "login", admin.url)

    with stack.database.connect() as connection:
        before = site.fingerprint(connection, stack.database.name, stack.folder)
    say(
        f"the site: {len(before.database)} tables, views, triggers, routines and events,"
        f" {len(before.files)} files, folders and links"
    )
    backup_id = _first_backup(stack, viewer, say)
    # The rule has done its work; a restore must not meet the next minute's backup.
    stack.deploy({**variables, "LCP_BACKUP_CREATE_SCHEDULE": "0 0 1 1 *"})
    admin.wait_for_all()
    say("schedule changed to once a year: sam deploy replaced the rule")

    files = state / "downloaded"
    files.mkdir()
    _lcp_backup(stack, say, "list")
    for kind in ("database", "volume"):
        _download(viewer, kind, backup_id, files / f"{kind}.tgz", say)
    uploaded_id = _upload(admin, files, say)

    for one, expected in ((backup_id, before), (uploaded_id, before.as_uploaded())):
        with stack.database.connect() as connection:
            site.destroy(connection, stack.database.name, stack.folder)
            gone = before.differences(
                site.fingerprint(connection, stack.database.name, stack.folder)
            )
        say(f"destroyed the site: {len(gone)} tables, code and files are gone or changed")
        _lcp_backup(stack, say, "restore", one, "--yes", "dev", "--wait")
        with stack.database.connect() as connection:
            after = site.fingerprint(connection, stack.database.name, stack.folder)
        if different := expected.differences(after):
            raise SystemExit(f"NOT restored as it was: {', '.join(different[:10])}")
        say("every row, view, trigger, routine, event, file, mode, time and link is as it was")
        if expected != before:
            say("but for the event, which is disabled until somebody enables it: it was uploaded")

    would = stack.invoke("cleanup", {"dry_run": True})
    did = stack.invoke("cleanup", {})
    if backup_id not in did["kept"] or would["expired"] != did["expired"]:
        raise SystemExit(f"cleanup did something else than it said: {would} {did}")
    say(f"cleanup: {len(did['kept'])} kept, {len(did['expired'])} expired; the newest always stays")
    _verify(stack, admin, backup_id, say)
    say("demo: all checks held")


def _first_backup(stack: Stack, viewer: Api, say: Callable[[str], None]) -> str:
    (rule,) = (
        rule for rule in stack.client("events").list_rules()["Rules"] if "-create-" in rule["Name"]
    )
    say(f"waiting for the rule {rule['Name']} to fire: {rule['ScheduleExpression']}")
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        listed = _ok(viewer.call("GET", "/backup/list"))["backups"]
        if listed:
            backup: dict[str, Any] = listed[0]
            say(f"GET /backup/list: {backup['backupId']} ({backup['type']})")
            return str(backup["backupId"])
        time.sleep(1)
    raise SystemExit(f"no backup appeared; see {stack.state / 'ministack.log'}")


def _download(
    viewer: Api, kind: str, backup_id: str, target: Path, say: Callable[[str], None]
) -> None:
    _shell(
        f"curl -X POST {viewer.url}/backup/download/{kind}/{backup_id}"
        " -H 'Content-Type: application/json' -u user@domain.com:password"
        f" --output {target.name}",
        viewer.user,
        target.parent,
        say,
    )
    subprocess.run(["gzip", "--test", target], check=True)
    listed = subprocess.run(["tar", "tzf", target], check=True, capture_output=True, text=True)
    names = listed.stdout.splitlines()
    say(
        f"{target.name}: {target.stat().st_size:,} bytes, gzip is whole, GNU tar lists"
        f" {len(names)} members, first {names[0]}"
    )


def _upload(admin: Api, files: Path, say: Callable[[str], None]) -> str:
    answer = _shell(
        f"curl -X POST {admin.url}/backup/upload -H 'Content-Type: multipart/form-data'"
        " -F 'database=@database.tgz' -F 'volume=@volume.tgz' -u user@domain.com:password",
        admin.user,
        files,
        say,
    )
    uploaded = json.loads(answer)
    if "backupId" not in uploaded:
        raise SystemExit(f"the upload was not taken in: {answer}")
    say(f"taken in as backup {uploaded['backupId']} (run {uploaded['run_id']})")
    return str(uploaded["backupId"])


def _lcp_backup(stack: Stack, say: Callable[[str], None], *arguments: str) -> None:
    """Shows a command of the command line, has it run for the admin, and shows what it says."""
    say(f"$ lcp-backup {' '.join(arguments)}")
    home = stack.state / "home"
    admin = stack.users["admin"]
    given = {"LCP_BACKUP_USER": admin.name, "LCP_BACKUP_PASSWORD": admin.password}
    done = subprocess.run(
        [sys.executable, "-m", "lcp_backup_cli", *arguments],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(PROJECT / "cli"),
            "XDG_CONFIG_HOME": str(home),
            "XDG_STATE_HOME": str(home),
            # What a person would type at the login.
            **(given if arguments[0] == "login" else {}),
        },
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"it ended with {done.returncode}: {done.stderr}")
    for line in done.stdout.splitlines():
        print(f"           {line}", flush=True)


def _verify(stack: Stack, admin: Api, backup_id: str, say: Callable[[str], None]) -> None:
    run = admin.wait_for(_ok(admin.post(f"/backup/verify/{backup_id}"))["run_id"])
    found = _ok(admin.call("GET", f"/backup/{backup_id}"))["verification"]
    say(f"POST /backup/verify/{backup_id}: {found['verdict']} (run {run['id']})")
    if found["verdict"] != "verified":
        raise SystemExit(f"the backup was not verified: {found['error']}")
    say(
        f"proved by a restore that was dropped again: {found['rows']:,} rows in {found['tables']}"
        f" tables, {found['files']} files, {found['readBytes']:,} bytes in {found['seconds']:.1f} s"
    )
    report = _ok(admin.call("GET", f"/backup/{backup_id}/report"))
    say(f"rows and files agree ({report['store']}): {report['text']}")
    if report["differences"] or report["documents"] != "volume":
        raise SystemExit(f"rows and files do not agree: {report['text']}")
    with stack.database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES LIKE 'lcp%'")
        if left := cursor.fetchall():
            raise SystemExit(f"the verification left schemas: {left}")


def _ok(answer: Answer) -> dict[str, Any]:
    if answer.status >= 400:
        raise SystemExit(f"the API answered {answer.status}: {answer.body.decode()}")
    content: dict[str, Any] = answer.json()
    return content


def _shell(command: str, user: User, folder: Path, say: Callable[[str], None]) -> str:
    """Shows a user's command, then has the shell run it with a real name and password."""
    say(f"$ {command}")
    login = shlex.quote(f"{user.name}:{user.password}")
    done = subprocess.run(
        ["sh", "-c", f"{command.replace('user@domain.com:password', login)} -sS"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def default_state() -> Path:
    """Where the demo keeps its state: not where `make up` does."""
    return PROJECT / ".local" / "demo"
