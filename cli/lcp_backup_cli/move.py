"""Moving: download."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from lcp_backup_cli import words
from lcp_backup_cli.commands import Session, command, workers_option
from lcp_backup_cli.download import Download, patiently
from lcp_backup_cli.errors import CliError, Exit
from lcp_backup_cli.look import BackupId


@command("lcp-backup download latest --dest /var/backups")
def download(
    session: Session,
    backup_id: BackupId,
    *,
    database: Annotated[bool, typer.Option("--database", help="Only the database.")] = False,
    volume: Annotated[bool, typer.Option("--volume", help="Only the volume.")] = False,
    path: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH", help="Of the volume, only this file or folder; may be given again."
        ),
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Of the database, only this table; may be given again."),
    ] = None,
    dest: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The folder to put it into.")
    ] = Path(),
    concurrency: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="How many ranges are fetched at once.")
    ] = 8,
    workers: Annotated[int | None, workers_option("volume", "if it has to be assembled")] = None,
) -> None:
    """Download the archives of a backup, or parts of it.

    After an interruption, run the same command again: it goes on where it stopped. A file gets its
    name once it is whole and its SHA-256 is right.
    """
    asked = {"database": database or bool(table), "volume": volume or bool(path)}
    kinds = [kind for kind, wanted in asked.items() if wanted] or list(asked)
    if not dest.is_dir():
        raise CliError(
            f"{dest} is no folder", "Make it first, or choose another --dest.", exit_code=Exit.USAGE
        )
    wanted = session.backup_id(backup_id)
    done = []
    try:
        for kind in kinds:
            chosen = {"path": path or None} if kind == "volume" else {"table": table or None}
            by = workers if kind == "volume" else None
            done.append(_one(session, wanted, kind, chosen, dest=dest, threads=concurrency, by=by))
    except KeyboardInterrupt:
        # Also while the service still assembles the archive.
        session.terminal.tell("\nIt stopped. Run the same command again: it goes on from here.")
        raise
    session.terminal.document({"backup_id": wanted, "files": done})


def save_report(session: Session, backup_id: str, dest: Path) -> None:
    """Puts the last report on a backup into a folder; raises CliError."""

    def ask() -> dict[str, Any]:
        found: dict[str, Any] = session.client.get(f"/backup/{backup_id}/report")["download"]
        return found

    identity = {"backup_id": backup_id, "kind": "report"}
    started = Download(ask, identity, dest, threads=1, moved=lambda _: None)
    with closing(started) as it:
        it.run()
        session.terminal.say(f"{it.target}: {words.size(it.size)}.")


def _one(
    session: Session,
    backup_id: str,
    kind: str,
    chosen: dict[str, list[str] | None],
    *,
    dest: Path,
    threads: int,
    by: int | None,
) -> dict[str, Any]:
    terminal = session.terminal

    def ask() -> dict[str, Any]:
        found: dict[str, Any] = session.client.get(
            f"/backup/download/{kind}/{backup_id}", {**chosen, "workers": by}
        )
        return found

    with terminal.bars() as bars:
        bar = bars.add_task(kind, total=None)
        identity = {"backup_id": backup_id, "kind": kind, **chosen}
        started = Download(
            patiently(ask, terminal.tell),
            identity,
            dest,
            threads=threads,
            moved=lambda count: bars.advance(bar, count),
            note=terminal.note,
        )
        with closing(started) as it:
            told = {
                "kind": kind,
                "file": str(it.target),
                "size": it.size,
                "sha256": it.sha256,
            }
            # What it says then comes below the bars, and not into them.
            if was_there := it.is_there():
                bars.remove_task(bar)
                checked = it.sha256 is not None
            else:
                bars.update(bar, total=it.size)
                checked = it.run()
    if was_there:
        terminal.say(f"{it.target} is there already.")
        return {**told, "checked": checked}
    how = "its SHA-256 is right" if checked else "the service knows no SHA-256 of it"
    terminal.say(f"{it.target}: {words.size(it.size)}, {how}.")
    return {**told, "checked": checked}
