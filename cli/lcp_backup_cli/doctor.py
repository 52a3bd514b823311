"""A deployment as it can be judged from outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any

import typer
from rich.text import Text

from lcp_backup_cli import VERSION, words
from lcp_backup_cli.commands import Session, command
from lcp_backup_cli.errors import CliError, Exit

_CLOCKS_DIFFER = timedelta(minutes=2)
_MISSED = 1.5
"""A backup that is older than so many intervals of its schedule is late."""
_STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: str
    """`ok`, `warning` or `problem`."""
    text: str
    to_do: str = ""


@command("lcp-backup doctor --profile prd")
def doctor(session: Session) -> None:
    """Check a deployment from outside, and say what to do; fails if there is a problem."""
    found = list(findings(session))
    terminal = session.terminal
    terminal.document({"findings": [asdict(it) for it in found]})
    terminal.table(
        ["what", "state", "found"],
        [
            [
                it.what,
                Text(it.state, _STYLES[it.state]),
                f"{it.text}. {it.to_do}".rstrip(" .") + ".",
            ]
            for it in found
        ],
    )
    if problems := [it.what for it in found if it.state == "problem"]:
        if terminal.as_json:
            raise typer.Exit(Exit.FAILED)  # the one document has told all
        raise CliError(
            f"there is a problem with: {', '.join(problems)}",
            "The table says what to do.",
            code="problems-found",
        )


def findings(session: Session) -> Iterator[Finding]:
    """All that can be found out; stops at what all the rest needs."""
    client = session.client
    try:
        health, date = client.health()
    except CliError as error:
        yield Finding("address", "problem", error.sentence, error.way_out)
        return
    yield Finding("address", "ok", f"{client.access.url} answers")
    yield _version(str(health.get("version", "?")))
    if date is not None:
        yield _clock(parsedate_to_datetime(date), datetime.now(UTC))
    try:
        who = client.get("/backup/whoami")
    except CliError as error:
        yield Finding("credential", "problem", error.sentence, error.way_out)
        return
    yield Finding(
        "credential", "ok", f"{who['name']} is {who['role']}, by {words.credential(who['by'])}"
    )
    schedules = client.get("/backup/schedules")
    yield from _backups(session, schedules)
    yield from _schedules(schedules)
    yield from _runs(session)


def _version(theirs: str) -> Finding:
    if theirs.split(".")[:1] == VERSION.split(".")[:1]:
        return Finding("version", "ok", f"the service is {theirs}, this program {VERSION}")
    return Finding(
        "version",
        "warning",
        f"the service is {theirs}, and this program {VERSION}",
        "Install the program that came with the service.",
    )


def _clock(theirs: datetime, ours: datetime) -> Finding:
    apart = abs(theirs - ours)
    if apart <= _CLOCKS_DIFFER:
        return Finding("clock", "ok", "this machine's clock is right")
    return Finding(
        "clock",
        "warning",
        f"this machine's clock is {words.duration(apart)} off",
        "Set it: signed URLs and tokens depend on the time.",
    )


def _backups(session: Session, schedules: dict[str, Any]) -> Iterator[Finding]:
    last = next(session.client.pages("/backup/list", "backups", 1, {}), None)
    rule = schedules["create"]
    if last is None:
        state = "problem" if rule else "warning"
        yield Finding("last backup", state, "there is none", "Make one: lcp-backup create --wait.")
        return
    if last["status"] == "unreadable":
        yield Finding(
            "last backup",
            "problem",
            f"{last['backupId']} cannot be read: {last['error']}",
            "docs/errors.md says what to do about unknown-format.",
        )
        return
    made = datetime.fromisoformat(last["createdAt"])
    age = datetime.now(UTC) - made
    text = f"{last['backupId']}, {words.duration(age)} ago"
    fires = [datetime.fromisoformat(it) for it in rule["next"]] if rule else []
    # The longest pause that the schedule has, as far as it can be seen.
    pauses = [after - before for before, after in pairwise(fires)]
    if pauses and age > max(pauses) * _MISSED:
        yield Finding(
            "last backup",
            "problem",
            f"{text}, although one is due every {words.duration(max(pauses))}",
            "See why: lcp-backup runs --kind create.",
        )
    else:
        yield Finding("last backup", "ok", text)
    yield _verification(last)
    if last["warnings"]:
        yield Finding(
            "its warnings",
            "warning",
            f"{last['warnings']}",
            f"Read them: lcp-backup show {last['backupId']}.",
        )


def _verification(last: dict[str, Any]) -> Finding:
    known = last.get("verification")
    if known is None:
        to_do = "Prove that it can be restored: lcp-backup verify latest --wait."
        return Finding("verification", "warning", "the last backup was never verified", to_do)
    if known["verdict"] == "verified":
        return Finding("verification", "ok", f"verified at {words.local(known['verifiedAt'])}")
    return Finding(
        "verification",
        "problem",
        f"{known['verdict']}: {known['error']}",
        f"See lcp-backup run {known['runId']}.",
    )


def _schedules(schedules: dict[str, Any]) -> Iterator[Finding]:
    for kind in ("create", "restore"):
        if rule := schedules[kind]:
            yield Finding("schedule", "ok", f"{kind} next at {words.local(rule['next'][0])}")
    if not schedules["create"] and not schedules["restore"]:
        yield Finding(
            "schedule",
            "warning",
            "nothing makes backups by itself",
            "Set the parameter BackupCreateSchedule.",
        )
    if paused := schedules["restores_paused"]:
        yield Finding(
            "restores",
            "warning",
            f"paused by {paused['by']} since {words.local(paused['since'])}",
            "When the incident is over: lcp-backup resume.",
        )


def _runs(session: Session) -> Iterator[Finding]:
    for kind in ("create", "restore"):
        run = next(session.client.pages("/backup/runs", "runs", 1, {"kind": kind}), None)
        if run is None or run["state"] != "failed":
            continue
        error = run["error"] or {"code": "failed", "message": ""}
        yield Finding(
            f"last {kind}",
            "problem",
            f"it failed: {error['message']}",
            f"docs/errors.md explains {error['code']}; lcp-backup run {run['id']} shows all.",
        )
