"""Runs: the list, and one of them."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.text import Text

from lcp_backup_cli import words
from lcp_backup_cli.commands import Session, an_id, command
from lcp_backup_cli.follow import follow, outcome
from lcp_backup_cli.look import Limit

_POLL = 2.0
"""Seconds between two looks at the list."""
_STYLES = {"succeeded": "green", "failed": "red", "running": "cyan", "queued": "cyan"}


class Kind(StrEnum):
    """The kinds of runs."""

    CREATE = "create"
    RESTORE = "restore"
    CLEANUP = "cleanup"
    UPLOAD = "upload"
    DOWNLOAD = "download"
    VERIFY = "verify"
    REPORT = "report"


class State(StrEnum):
    """The states of runs."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@command("lcp-backup runs --state failed", name="runs")
def list_runs(
    session: Session,
    kind: Annotated[
        Kind | None, typer.Option(metavar="|".join(Kind), help="Only of this kind.")
    ] = None,
    state: Annotated[
        State | None, typer.Option(metavar="|".join(State), help="Only in this state.")
    ] = None,
    limit: Limit = 20,
    go_on: Annotated[
        bool, typer.Option("--follow", help="Go on, with a line for each change, until Ctrl-C.")
    ] = False,
) -> None:
    """List runs, newest first: what was done, how it goes, why it failed."""
    query = {"kind": kind.value if kind else None, "state": state.value if state else None}

    def found() -> list[dict[str, Any]]:
        return list(session.client.pages("/backup/runs", "runs", limit, query))

    if go_on:
        _follow_all(session, found)
    runs = found()
    session.terminal.document({"runs": runs})
    if not runs:
        session.terminal.say("There is none.")
        return
    session.terminal.table(
        ["run", "state", "backup", "began", ">took", "what"],
        [
            [
                run["id"],
                Text(run["state"], _STYLES.get(run["state"], "")),
                run["backup_id"] or "-",
                words.local(run["started_at"]),
                words.lasted(run["started_at"], run["finished_at"] or run["updated_at"]),
                _what(run),
            ]
            for run in runs
        ],
    )


@command("lcp-backup run 20261123T001500-restore-0a1b2c3d --follow", name="run")
def show_run(
    session: Session,
    run_id: Annotated[str, typer.Argument(metavar="ID", help="A run's id.")],
    go_on: Annotated[bool, typer.Option("--follow", help="Watch it until it has ended.")] = False,
) -> None:
    """Show one run; with --follow until it has ended, and fail if it failed."""
    if go_on:
        outcome(session, follow(session, run_id, as_lines=True))
        return
    run = session.client.get(f"/backup/runs/{an_id(run_id, 'run')}")
    session.terminal.document(run)
    if session.terminal.as_json:
        return
    rows = [
        ("run", run["id"]),
        ("state", words.state(run)),
        ("backup", run["backup_id"] or "-"),
        ("began", words.local(run["started_at"])),
        ("ended", words.local(run["finished_at"])),
        *((f"bytes, {kind}", words.size(done)) for kind, done in run["progress"].items()),
        *((name, _text(value)) for name, value in run["result"].items() if value != []),
        *(("warning", words.notice(it)) for it in run["warnings"]),
    ]
    if error := run["error"]:
        rows.append(("error", f"{error['message']} ({error['code']})"))
    for name, text in rows:
        session.terminal.say(f"{name:<18}{text}".rstrip())


def _follow_all(session: Session, found: Any) -> None:
    seen: dict[str, tuple[str, str]] = {}
    while True:
        for run in reversed(found()):
            now = (run["state"], run["step"])
            if seen.get(run["id"]) != now:
                seen[run["id"]] = now
                session.terminal.line(run)
                session.terminal.say(
                    f"{words.local(run['updated_at'])}  {run['id']}  {run['state']}  {_what(run)}"
                )
        time.sleep(_POLL)


def _what(run: dict[str, Any]) -> str:
    if run["error"]:
        return f"{run['error']['code']}: {run['error']['message']}"
    # The last step of what has succeeded would read as if it were still at it.
    return "" if run["state"] == "succeeded" else run["step"] or ""


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
