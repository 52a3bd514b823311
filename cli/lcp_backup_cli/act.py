"""Doing: create, restore, verify, report, pin, delete, pause, resume."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from lcp_backup_cli import words
from lcp_backup_cli.commands import Session, an_id, command, workers_option
from lcp_backup_cli.errors import CliError, Exit
from lcp_backup_cli.follow import follow, outcome
from lcp_backup_cli.look import BackupId
from lcp_backup_cli.move import save_report

Wait = Annotated[
    bool, typer.Option("--wait", help="Wait until the run has ended; fail if it fails.")
]
Workers = Annotated[int | None, workers_option("volume")]
WorkersOnBoth = Annotated[int | None, workers_option("volume and the database")]
Yes = Annotated[
    str | None,
    typer.Option("--yes", metavar="NAME", help="The environment's name, instead of typing it."),
]


class Half(StrEnum):
    """The halves of a backup."""

    DATABASE = "database"
    VOLUME = "volume"


@command("lcp-backup create --wait")
def create(session: Session, *, workers: Workers = None, wait: Wait = False) -> None:
    """Make a backup now."""
    last = next(session.client.pages("/backup/list", "backups", 1, {}), None) if wait else None
    started = session.client.post("/backup/create", {"workers": workers} if workers else None)
    # How much it will be is guessed by the last one; of the volume only what changed is stored.
    guess = last and last["database"]
    totals = {"database": guess["rawSize"]} if guess else {}
    _go_on(session, started, wait=wait, totals=totals)


@command("lcp-backup restore latest --table User_ --table Group_ --wait")
def restore(
    session: Session,
    backup_id: BackupId,
    *,
    only: Annotated[
        Half | None, typer.Option(metavar="|".join(Half), help="Only this half.")
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this table; may be given again.")
    ] = None,
    path: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH", help="Only this file or folder of the volume; may be given again."
        ),
    ] = None,
    into_database: Annotated[
        str | None, typer.Option(metavar="SCHEMA", help="Into another schema, empty or not there.")
    ] = None,
    into_folder: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Into another folder, empty or not there.")
    ] = None,
    keep_previous: Annotated[
        bool, typer.Option("--keep-previous", help="Keep what is replaced beside the new.")
    ] = False,
    scripts: Annotated[
        bool, typer.Option("--scripts", help="Run the environment's scripts before the swap.")
    ] = False,
    workers: WorkersOnBoth = None,
    yes: Yes = None,
    wait: Wait = False,
) -> None:
    """Restore a backup, or parts of it. Stop Liferay first.

    This replaces the live data. The environment's name, the second part of the backup's id, has to
    be typed.
    """
    _check_not_empty("--table", *(table or ()))
    _check_not_empty("--path", *(path or ()))
    _check_not_empty("--into-database", into_database)
    _check_not_empty("--into-folder", into_folder)
    wanted = session.backup_id(backup_id)
    environment = _environment_of(wanted)
    body: dict[str, Any] = {
        "only": only.value if only else None,
        "tables": table or None,
        "paths": path or None,
        "into_database": into_database,
        "into_folder": into_folder,
        "keep_previous": keep_previous or None,
        "scripts": scripts or None,
        "workers": workers,
    }
    body = {name: value for name, value in body.items() if value is not None}
    known = _known(session, wanted)
    is_whole = known and not {"only", "tables", "paths"} & set(body)
    terminal = session.terminal
    if known:
        # `latest` may be one that somebody sent: whoever restores it should see that.
        what = "uploaded backup" if known["type"] == "Uploaded" else "backup"
        terminal.tell(
            f"The {what} {wanted} was made at {words.local(known['createdAt'])}:"
            f" {known['tables']} tables ({words.size(known['database']['rawSize'])} of SQL),"
            f" {known['files']} files ({words.size(known['volume']['rawSize'])})."
        )
    else:
        terminal.tell(
            f"The backup {wanted} is not in the list of this environment; a disaster-recovery"
            " environment reads it from its source."
        )
    terminal.tell(f"At {session.client.host} this will {_effect(body)}.")
    if is_whole and (estimate := known.get("restoreEstimate")):
        terminal.tell(f"It {words.estimate(estimate)}.")
    question = f"Type the environment's name ({environment}) to go on: "
    terminal.confirm(environment, question, yes, f"--yes {environment}")
    started = session.client.post(f"/backup/restore/{wanted}", body)
    totals = {kind: known[kind]["rawSize"] for kind in ("database", "volume")} if is_whole else {}
    _go_on(session, started, wait=wait, totals=totals)


@command("lcp-backup verify latest --wait")
def verify(
    session: Session, backup_id: BackupId, *, workers: WorkersOnBoth = None, wait: Wait = False
) -> None:
    """Prove a backup by restoring it, into a schema that is dropped again.

    Nothing of the site is touched. With --wait it fails if the backup is bad.
    """
    # Not resolved here: the latest that can be proved was made of a site, not uploaded.
    body = {"workers": workers} if workers else None
    started = session.client.post(f"/backup/verify/{_latest_or_id(backup_id)}", body)
    _go_on(session, started, wait=wait, totals={})
    if wait:
        _say_report(session, started["backup_id"])


@command("lcp-backup report latest --wait --dest .")
def report(
    session: Session,
    backup_id: BackupId,
    *,
    wait: Wait = False,
    dest: Annotated[
        Path | None,
        typer.Option(help="Put the list of differences into this folder; with --wait."),
    ] = None,
) -> None:
    """Compare the rows of a backup's documents with its files.

    It finds rows whose file is missing or another one, and files that no row names. Nothing of the
    site is touched. Every verification does so, too.
    """
    if dest is not None and not (wait and dest.is_dir()):
        raise CliError(
            f"{dest} is no folder" if wait else "without --wait there is no list yet",
            "Choose another --dest." if wait else "Give --wait as well.",
            exit_code=Exit.USAGE,
        )
    started = session.client.post(f"/backup/{_latest_or_id(backup_id)}/report")
    _go_on(session, started, wait=wait, totals={})
    if wait:
        _say_report(session, started["backup_id"])
    if dest is not None:
        save_report(session, started["backup_id"], dest)


@command("lcp-backup pin acme-prd-202611230015 'before the migration'")
def pin(
    session: Session,
    backup_id: BackupId,
    reason: Annotated[str, typer.Argument(metavar="REASON", help="Why, for others to see.")],
) -> None:
    """Keep a backup from expiring and from being deleted."""
    _check_not_empty("the reason", reason)
    wanted = session.backup_id(backup_id)
    pinned = session.client.put(f"/backup/{wanted}/pin", {"reason": reason})
    session.terminal.document(pinned)
    session.terminal.say(f"{wanted} stays until it is unpinned: lcp-backup unpin {wanted}")


@command("lcp-backup unpin acme-prd-202611230015")
def unpin(
    session: Session,
    backup_id: Annotated[str, typer.Argument(metavar="ID", help="A backup's id.")],
) -> None:
    """Let a backup expire again."""
    session.client.delete(f"/backup/{an_id(backup_id)}/pin")
    session.terminal.document({"unpinned": backup_id})
    session.terminal.say(f"{backup_id} expires like any other.")


@command("lcp-backup delete acme-prd-202611230015 --yes prd")
def delete(
    session: Session,
    backup_id: Annotated[str, typer.Argument(metavar="ID", help="A backup's id.")],
    yes: Yes = None,
) -> None:
    """Delete a backup for good.

    There is no way back. The environment's name, the second part of the backup's id, has to be
    typed.
    """
    environment = _environment_of(backup_id)
    question = f"There is no way back. Type the environment's name ({environment}) to delete it: "
    session.terminal.confirm(environment, question, yes, f"--yes {environment}")
    session.client.delete(f"/backup/{backup_id}")
    session.terminal.document({"deleted": backup_id})
    session.terminal.say(f"{backup_id} is deleted.")


@command("lcp-backup pause --reason 'prd is down, this site is live'")
def pause(
    session: Session,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for others to see.")] = "",
) -> None:
    """Keep scheduled restores from starting, as long as this site is the live one."""
    paused = session.client.put("/backup/restore/pause", {"reason": reason})
    session.terminal.document(paused)
    session.terminal.say(
        f"Scheduled restores are paused, by {paused['by']} since {words.local(paused['since'])}."
    )


@command("lcp-backup resume")
def resume(session: Session) -> None:
    """Let scheduled restores start again."""
    session.client.delete("/backup/restore/pause")
    session.terminal.document({"restores_paused": None})
    session.terminal.say("Scheduled restores will start again.")


def _go_on(
    session: Session, started: dict[str, Any], *, wait: bool, totals: dict[str, int]
) -> None:
    run_id = started["run_id"]
    if not wait:
        session.terminal.document(started)
        session.terminal.say(f"It has begun. Follow it: lcp-backup run {run_id} --follow")
        return
    run = follow(session, run_id, totals=totals)
    session.terminal.document(run)
    outcome(session, run)


def _check_not_empty(name: str, *values: str | None) -> None:
    """Raises CliError for what a script's variable did not hold.

    Before it is said what will be replaced: an empty name stands for nothing that could be told.
    """
    if any(value is not None and not value.strip() for value in values):
        raise CliError(
            f"{name} is empty",
            "Give it a value, or leave it out." if name.startswith("-") else "Give one.",
            exit_code=Exit.USAGE,
            code="usage",
        )


def _environment_of(backup_id: str) -> str:
    return an_id(backup_id).split("-")[1]


def _latest_or_id(text: str) -> str:
    return text if text == "latest" else an_id(text)


def _say_report(session: Session, backup_id: str) -> None:
    if not session.terminal.as_json:
        found = session.client.get(f"/backup/{an_id(backup_id)}")["report"]
        if found is not None:
            session.terminal.say(f"report: {found['text']}")


def _known(session: Session, backup_id: str) -> dict[str, Any]:
    """All about a backup; nothing if this environment does not have it."""
    try:
        found: dict[str, Any] = session.client.get(f"/backup/{an_id(backup_id)}")
    except CliError as error:
        if error.code != "not-found":
            raise
        return {}
    return found


def _effect(body: dict[str, Any]) -> str:
    """What a restore with this body does, after `this will`."""
    tables, paths = body.get("tables"), body.get("paths")
    database, folder = body.get("into_database"), body.get("into_folder")
    what = []
    if tables or (not paths and body.get("only") != "volume"):
        named = _named_tables(tables) if tables else "the whole database"
        what.append(f"load {named} into the schema {database}" if database else f"REPLACE {named}")
    if paths or (not tables and body.get("only") != "database"):
        named = f"{', '.join(paths)} of the volume" if paths else "the whole document library"
        what.append(f"unpack {named} into {folder}" if folder else f"REPLACE {named}")
    kept = ", and keep what was there beside it" if body.get("keep_previous") else ""
    scripts = ", and run the environment's scripts before the swap" if body.get("scripts") else ""
    return " and ".join(what) + kept + scripts


def _named_tables(names: list[str]) -> str:
    return f"the table{'s' if len(names) > 1 else ''} {', '.join(names)}"
