"""What a backup holds: ls and tables."""

from __future__ import annotations

from typing import Annotated

import typer

from lcp_backup_cli import words
from lcp_backup_cli.commands import Session, command
from lcp_backup_cli.look import BackupId

_ALL = 1_000_000
"""Entries: of a folder nobody reads more."""

Most = Annotated[
    int, typer.Option("--limit", metavar="N", min=1, help="At most this many, in order of name.")
]


@command("lcp-backup ls latest document_library/20097", name="ls")
def list_files(
    session: Session,
    backup_id: BackupId,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A folder of the volume.")] = "",
    limit: Most = _ALL,
) -> None:
    """List what lies in a folder of a backup's volume.

    The paths are those that --path of download and restore takes.
    """
    wanted = session.backup_id(backup_id)
    query = {"path": path.strip("/") or None}
    found = list(session.client.pages(f"/backup/{wanted}/files", "files", limit, query))
    session.terminal.document({"backup_id": wanted, "path": path, "files": found})
    session.terminal.table(
        ["kind", ">size", "changed", "path"],
        [
            [
                it["kind"],
                words.size(it["size"]) if it["kind"] == "file" else "-",
                words.local(it["mtime"]),
                _shown(it["name"], it["path"]),
            ]
            for it in found
        ],
    )


@command("lcp-backup tables latest", name="tables")
def list_tables(session: Session, backup_id: BackupId, limit: Most = _ALL) -> None:
    """List the tables and views of a backup's database.

    The names are those that --table of download and restore takes.
    """
    wanted = session.backup_id(backup_id)
    found = list(session.client.pages(f"/backup/{wanted}/tables", "tables", limit, {}))
    session.terminal.document({"backup_id": wanted, "tables": found})
    session.terminal.table(
        ["kind", ">in the archive", ">as SQL", "name"],
        [
            [
                f"{it['kind']}, with triggers" if it["has_triggers"] else it["kind"],
                words.size(it["size"]),
                words.size(it["sql_size"]),
                it["name"],
            ]
            for it in found
        ],
    )


def _shown(name: str, path: str) -> str:
    """The path to give; with the name beside it, where that is no text."""
    return f"{path} ({name})" if path.startswith("base64:") else path
