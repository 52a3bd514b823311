"""The main job from end to end, on the embedded stack, with real parts and every byte compared."""

import gzip
import json
import subprocess
import time
from pathlib import Path
from typing import Any

from local import site
from local.stack import PROJECT, Stack

_PATIENCE = 150
"""Seconds to wait for a rule that fires every minute, and for the backup it starts."""


def run(state: Path) -> None:
    """Deploys, lets the rule fire, destroys the site, restores it and compares every byte.

    Leaves the stack running: whoever called it stops it.
    """
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:5.1f} s] {text}", flush=True)

    say("starting a private MariaDB and MiniStack, seeding the sample site")
    stack = Stack.start(state)
    say("sam build")
    stack.build()
    say("sam deploy, LCP_BACKUP_CREATE_SCHEDULE='* * * * *'")
    variables = {"LCP_BACKUP_CREATE_SCHEDULE": "* * * * *", "LCP_PROJECT_ID": "demo"}
    stack.deploy(variables)
    described = stack.describe()

    with stack.database.connect() as connection:
        before = site.fingerprint(connection, stack.database.name, stack.folder)
    say(
        f"the site: {len(before.database)} tables, views, triggers, routines and events,"
        f" {len(before.files)} files, folders and links"
    )
    manifest = _first_backup(stack, described, say)
    # The rule has done its work; a restore must not meet the next minute's backup.
    stack.deploy({**variables, "LCP_BACKUP_CREATE_SCHEDULE": "0 0 1 1 *"})
    say("schedule changed to once a year: sam deploy replaced the rule")
    backup_id = manifest["id"]
    _download(stack, described, manifest, state / "downloaded", say)

    with stack.database.connect() as connection:
        site.destroy(connection, stack.database.name, stack.folder)
        gone = before.differences(site.fingerprint(connection, stack.database.name, stack.folder))
    say(f"destroyed the site: {len(gone)} tables, objects and files are gone or changed")

    answer = stack.invoke("restore", {"backup_id": backup_id})
    say(f"restored {answer['backup_id']} (run {answer['run_id']})")
    with stack.database.connect() as connection:
        after = site.fingerprint(connection, stack.database.name, stack.folder)
    if different := before.differences(after):
        raise SystemExit(f"NOT restored as it was: {', '.join(different[:10])}")
    say("every row, view, trigger, routine, event, file, mode, time and link is as it was")

    would = stack.invoke("cleanup", {"dry_run": True})
    did = stack.invoke("cleanup", {})
    if backup_id not in did["kept"] or would["expired"] != did["expired"]:
        raise SystemExit(f"cleanup did something else than it said: {would} {did}")
    say(f"cleanup: {len(did['kept'])} kept, {len(did['expired'])} expired; the newest always stays")
    say("demo: all checks held")


def _first_backup(stack: Stack, described: dict[str, Any], say: Any) -> dict[str, Any]:
    (rule,) = (
        rule for rule in stack.client("events").list_rules()["Rules"] if "-create-" in rule["Name"]
    )
    say(f"waiting for the rule {rule['Name']} to fire: {rule['ScheduleExpression']}")
    s3 = stack.client("s3")
    prefix = f"{described['prefix']}/backups/"
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        page = s3.list_objects_v2(Bucket=described["bucket"], Prefix=prefix)
        for entry in page.get("Contents", []):
            if entry["Key"].endswith("/manifest.json"):
                body = s3.get_object(Bucket=described["bucket"], Key=entry["Key"])["Body"].read()
                manifest: dict[str, Any] = json.loads(body)
                say(
                    f"backup {manifest['id']} ({manifest['type']}): database"
                    f" {manifest['database']['size']:,} bytes, volume"
                    f" {manifest['volume']['size']:,} bytes, {len(manifest['warnings'])} warnings"
                )
                return manifest
        time.sleep(1)
    raise SystemExit(f"no backup appeared; see {stack.state / 'ministack.log'}")


def _download(
    stack: Stack, described: dict[str, Any], manifest: dict[str, Any], target: Path, say: Any
) -> None:
    target.mkdir()
    s3 = stack.client("s3")
    for kind in ("database", "volume"):
        name = manifest[kind]["name"]
        key = f"{described['prefix']}/backups/{manifest['id']}/{name}"
        s3.download_file(described["bucket"], key, str(target / name))
        with gzip.open(target / name) as whole:
            while whole.read(1 << 20):
                pass
        listed = subprocess.run(
            ["tar", "tzf", target / name], check=True, capture_output=True, text=True
        ).stdout.splitlines()
        say(f"{name}: gzip is whole, GNU tar lists {len(listed)} members, first {listed[0]}")


def default_state() -> Path:
    """Where the demo keeps its state: not where `make up` does."""
    return PROJECT / ".local" / "demo"
