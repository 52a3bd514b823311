"""A run that is watched until it has ended: as a bar, as lines, or as JSON lines."""

from __future__ import annotations

import time
from typing import Any

from rich.progress import TaskID

from lcp_backup_cli import words
from lcp_backup_cli.commands import Session, an_id
from lcp_backup_cli.errors import EXIT_BY_CODE, CliError, Exit

_POLL = 1.0
"""Seconds between two looks at a run."""
_LIVE_SITE = {
    "as-it-was": "It changed nothing of the live site. ",
    "swapping": "It failed while the live site was being replaced: the message says what it is now,"
    " and docs/operations.md (RestoreFailed) what to do. ",
}
"""By what the record of a restore says of it."""
_UNDER_WAY = {"queued", "running"}


def follow(
    session: Session, run_id: str, *, as_lines: bool = False, totals: dict[str, int] | None = None
) -> dict[str, Any]:
    """The record of a run once it has ended.

    Args:
        as_lines: with `--json`, print each change of the record as a line.
        totals: how many bytes are expected of the database and of the volume; only for the bars.

    Raises CliError if it failed. Ctrl-C leaves the run going, and says how to follow it again.
    """
    try:
        run = _watched(session, an_id(run_id, "run"), as_lines=as_lines, totals=totals or {})
    except KeyboardInterrupt:
        session.terminal.tell(
            f"\nThe run {run_id} goes on. Follow it again: lcp-backup run {run_id} --follow"
        )
        raise
    if run["state"] != "succeeded":
        raise failure(run)
    return run


def failure(run: dict[str, Any]) -> CliError:
    """That a run did not succeed, with its reason."""
    error = run["error"] or {"code": "failed", "message": "no reason is recorded"}
    live_site = _LIVE_SITE.get(run["result"].get("live_site"), "")
    return CliError(
        f"the {run['kind']} failed: {error['message']}",
        f"{live_site}It was run {run['id']}; docs/errors.md explains {error['code']}.",
        exit_code=EXIT_BY_CODE.get(error["code"], Exit.FAILED),
        code=error["code"],
        run_id=run["id"],
    )


def outcome(session: Session, run: dict[str, Any]) -> None:
    """What people are told of a run that succeeded."""
    took = words.lasted(run["started_at"], run["finished_at"] or run["updated_at"])
    made = f", backup {run['backup_id']}" if run["backup_id"] else ""
    session.terminal.say(f"{run['kind']} succeeded in {took}{made} (run {run['id']})")
    if kept := run["result"].get("kept"):
        session.terminal.say(f"  kept, for you to drop: {', '.join(kept)}")
    for notice in run["warnings"]:
        session.terminal.say(f"  warning: {words.notice(notice)}")
    # The warnings of a backup are in its manifest; its run only counts them.
    if count := run["result"].get("warnings"):
        losses = run["result"].get("losses")
        lost = f", {losses} of them about something that is not in it" if losses else ""
        session.terminal.say(
            f"  warnings of the backup: {count}{lost}."
            f" Read them: lcp-backup show {run['backup_id']}"
        )


def _watched(
    session: Session, run_id: str, *, as_lines: bool, totals: dict[str, int]
) -> dict[str, Any]:
    terminal = session.terminal
    bars: dict[str, TaskID] = {}
    told: tuple[str, str] | None = None
    line: dict[str, Any] | None = None
    with terminal.bars() as shown:
        # What the run does stands above the bars: there is no room beside them.
        shown.add_task("run", total=None)
        while True:
            run: dict[str, Any] = session.client.get(f"/backup/runs/{run_id}")
            if as_lines and run != line:
                terminal.line(run)
                line = run
            now = (run["state"], run["step"])
            if now != told:
                terminal.tell(f"{run_id}: {words.state(run)}")
            told = now
            for kind, done in run["progress"].items():
                total = totals.get(kind)
                if kind not in bars:
                    bars[kind] = shown.add_task(kind, total=total)
                # What was expected is an estimate: the site has grown.
                most = None if total is None else max(total, done)
                shown.update(bars[kind], completed=done, total=most)
            if run["state"] not in _UNDER_WAY:
                return run
            time.sleep(_POLL)
