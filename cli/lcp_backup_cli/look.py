"""Looking: list, show, schedules."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.text import Text

from lcp_backup_cli import words
from lcp_backup_cli.commands import Session, command
from lcp_backup_cli.terminal import visible


class Status(StrEnum):
    """Which backups are listed."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ALL = "all"


Limit = Annotated[int, typer.Option(metavar="N", min=1, help="At most this many, newest first.")]
BackupId = Annotated[str, typer.Argument(metavar="ID|latest", help="A backup's id, or `latest`.")]


@command("lcp-backup list --status failed", name="list")
def list_backups(
    session: Session,
    status: Annotated[
        Status,
        typer.Option(
            metavar="|".join(Status), help="Also runs that made no backup, or only these."
        ),
    ] = Status.SUCCEEDED,
    limit: Limit = 50,
) -> None:
    """List backups, newest first."""
    found = list(session.client.pages("/backup/list", "backups", limit, {"status": status.value}))
    session.terminal.document({"backups": found})
    if not found:
        session.terminal.say(
            "There is no backup yet. Make one: lcp-backup create --wait"
            if status is Status.SUCCEEDED
            else "There is none."
        )
        return
    session.terminal.table(
        [
            "id",
            "type",
            _time_column(found),
            ">database",
            ">volume",
            ">warnings",
            "verified",
            "kept until",
            *_if_failed(found),
        ],
        [
            [
                backup["backupId"] or backup["runId"],
                backup["type"] or "-",
                words.local(backup["createdAt"] or backup["startedAt"]),
                words.size(_of(backup, "database", "size")),
                words.size(_of(backup, "volume", "size")),
                str(backup["warnings"] or "-"),
                _verified(backup),
                _kept_until(backup),
                *([_outcome(backup)] if _if_failed(found) else []),
            ]
            for backup in found
        ],
    )


@command("lcp-backup show latest")
def show(session: Session, backup_id: BackupId) -> None:
    """Show all about one backup."""
    backup = session.client.get(f"/backup/{session.backup_id(backup_id)}")
    session.terminal.document(backup)
    rows = [
        ["id", backup["backupId"]],
        ["type", backup["type"] or "-"],
        ["made", f"{words.local(backup['createdAt'])}, begun {words.local(backup['startedAt'])}"],
        ["run", backup["runId"]],
        ["database", _archive(backup, "database")],
        ["", f"{backup['databaseName']} of {backup['server']}, {backup['tables']} tables"],
        ["volume", _archive(backup, "volume")],
        ["", f"{backup['files']} files"],
        ["stored", _stored(backup)],
        ["kept until", _kept_until(backup).replace("newest", "there is a newer one")],
    ]
    for kind in ("database", "volume"):
        sha256 = _of(backup, kind, "sha256")
        rows.append([f"SHA-256, {kind}", sha256 or "not known: parts were copied inside S3"])
    rows.extend(["warning", words.notice(it)] for it in backup["notices"])
    if backup["noticesLeftOut"]:
        rows.append(["", f"and {backup['noticesLeftOut']} more, in the log"])
    if verification := backup.get("verification"):
        text = f"{verification['verdict']} at {words.local(verification['verifiedAt'])}"
        wrong = f": {verification['error']}" if verification["error"] else ""
        rows.append(["verification", f"{text}, in {verification['seconds']:.0f} s{wrong}"])
    if estimate := backup.get("restoreEstimate"):
        rows.append(["a restore", words.estimate(estimate)])
    if report := backup.get("report"):
        rows.append(["report", f"{report['text']}, at {words.local(report['madeAt'])}"])
    if pinned := backup.get("pinned"):
        rows.append(["pinned", f"by {pinned['by']} since {words.local(pinned['since'])}"])
        rows.append(["", pinned["reason"]])
    if not session.terminal.as_json:
        for name, text in rows:
            session.terminal.say(f"{name:<18}{text}")


@command("lcp-backup schedules")
def schedules(session: Session) -> None:
    """Show what runs by itself, and when next, in local time and UTC."""
    known = session.client.get("/backup/schedules")
    session.terminal.document(known)
    rows = []
    for kind in ("create", "restore", "cleanup", "verify"):
        rule = known.get(kind)
        if rule is None:
            rows.append([kind, "never", "-", "-", "-"])
            continue
        for number, at in enumerate(rule["next"][:3]):
            first = [kind, rule["cron"], rule["words"]] if number == 0 else ["", "", ""]
            rows.append([*first, words.local(at), words.utc(at)])
    columns = ["what", "cron (UTC)", "in words (UTC)", "next, local time", "next, UTC"]
    session.terminal.table(columns, rows)
    if paused := known["restores_paused"]:
        session.terminal.say(
            f"Scheduled restores have been paused by {paused['by']} since"
            f" {words.local(paused['since'])}: {paused['reason'] or 'no reason given'}"
        )


def _of(backup: dict[str, Any], kind: str, name: str) -> Any:
    return (backup.get(kind) or {}).get(name)


def _kept_until(backup: dict[str, Any]) -> str:
    """The day; or why there is none."""
    if backup["status"] != "succeeded":
        return "-"
    if backup.get("pinned"):
        return "pinned"
    until = words.moment(backup.get("keptUntil"))
    return "newest" if until is None else f"{until:%Y-%m-%d}"


def _stored(backup: dict[str, Any]) -> str:
    """What its own archives take, and what changed since the backup before."""
    change = backup.get("change")
    whole = f"{words.size(backup['size'])}, for {words.size(backup['wholeSize'])} of the site"
    if change is None:
        return whole
    files = f"{change['files']:+d} files ({words.difference(change['fileBytes'])})"
    sql = f"{words.difference(change['sqlBytes'])} of SQL"
    return f"{whole}; {files}, {sql} since {change['since']}"


def _archive(backup: dict[str, Any], kind: str) -> str:
    return (
        f"{words.size(_of(backup, kind, 'size'))},"
        f" {words.size(_of(backup, kind, 'rawSize'))} once unpacked"
    )


def _verified(backup: dict[str, Any]) -> Text:
    """When it was, or with what outcome."""
    verification = backup.get("verification")
    if verification is None:
        return Text("-")
    if verification["verdict"] == "verified":
        return Text(words.local(verification["verifiedAt"])[:10], "green")
    return Text(verification["verdict"], "red")


def _time_column(found: list[dict[str, Any]]) -> str:
    """What the times are: a run that failed made nothing, and is listed with when it began."""
    made = {backup["status"] == "succeeded" for backup in found}
    return "made" if made == {True} else "began" if made == {False} else "made, or began"


def _if_failed(found: list[dict[str, Any]]) -> list[str]:
    return ["outcome"] if any(backup["status"] != "succeeded" for backup in found) else []


def _outcome(backup: dict[str, Any]) -> Text:
    if backup["status"] == "succeeded":
        return Text("succeeded", "green")
    return Text(visible(f"{backup['status']}: {backup['error']}"), "red")
