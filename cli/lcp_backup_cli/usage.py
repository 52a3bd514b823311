"""Usage: what the backups take, as a small chart, what there is in all, and what a month costs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from lcp_backup_cli import words
from lcp_backup_cli.commands import Session, command

_WIDEST = 32
"""Characters of the longest bar."""
_PAGE = 1000
_MOST_DAYS = 31
_CENT = 0.005
_LIVE = {
    "backups_bytes": "backups",
    "retired_bytes": "deleted ones that others still read",
    "unfinished_bytes": "unfinished",
    "downloads_bytes": "assembled downloads",
    "uploads_bytes": "uploads on their way",
}


@command("lcp-backup usage")
def usage(session: Session) -> None:
    """Show what the backups take day by day, what there is in all, and what a month costs."""
    known = _all_pages(session)
    terminal = session.terminal
    terminal.document(known)
    if not known["backups"]:
        terminal.say("There is no backup.")
    else:
        terminal.table(["day", ">backups", ">stored", ""], list(_days(known["backups"])))
        last = known["backups"][0]
        terminal.say(
            f"The newest stores {words.size(last['stored_bytes'])}, and a restore of it brings back"
            f" {words.size(last['whole_bytes'])}."
        )
    live, month = known["live"], known["month"]
    parts = [f"{name} {words.size(live[key])}" for key, name in _LIVE.items() if live[key]]
    least = "" if live["complete"] else "more than "
    terminal.say(
        f"Live in the bucket: {least}{words.size(live['total_bytes'])}"
        + (f" ({', '.join(parts)})." if parts else ".")
    )
    cost = f"{month['usd']:.2f}" if month["usd"] >= _CENT else "less than 0.01"
    terminal.say(
        f"A month of that costs {least}{cost} USD in S3 Standard"
        f" ({month['usd_per_gb']} USD a GB in {month['region']}; deleted versions, requests and"
        " functions come on top)."
    )


def _all_pages(session: Session) -> dict[str, Any]:
    """The first page, with the backups of all others."""
    query: dict[str, Any] = {"limit": _PAGE}
    first: dict[str, Any] = session.client.get("/backup/usage", query)
    after = first["next"]
    while after is not None:
        page = session.client.get("/backup/usage", {**query, "next": after})
        first["backups"] += page["backups"]
        after = page["next"]
    return {name: value for name, value in first.items() if name != "next"}


def _days(backups: list[dict[str, Any]]) -> Iterator[list[str]]:
    """A row for each of the last days that have a backup, the oldest first."""
    stored: dict[date, list[int]] = {}
    for backup in backups:
        at = words.moment(backup["created_at"])
        assert at is not None
        stored.setdefault(at.date(), []).append(backup["stored_bytes"])
    days = sorted(stored)[-_MOST_DAYS:]
    most = max(sum(stored[day]) for day in days) or 1
    for day in days:
        total = sum(stored[day])
        bar = "█" * max(1, round(total * _WIDEST / most)) if total else ""
        yield [f"{day:%Y-%m-%d}", str(len(stored[day])), words.size(total), bar]
