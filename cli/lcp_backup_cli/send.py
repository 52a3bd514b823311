"""Sending: upload and pack."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from lcp_backup_cli import local_files, words
from lcp_backup_cli import pack as packing
from lcp_backup_cli.commands import Session, command
from lcp_backup_cli.errors import CliError, Exit
from lcp_backup_cli.follow import follow, outcome
from lcp_backup_cli.uploads import Pending, Sender


@command("lcp-backup upload --database database.sql.gz --volume volume.tgz")
def upload(
    session: Session,
    *,
    database: Annotated[
        Path, typer.Option("--database", metavar="FILE", help="A dump: SQL, or packed.")
    ],
    volume: Annotated[
        Path, typer.Option("--volume", metavar="FILE", help="The packed document library.")
    ],
    concurrency: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="How many parts are sent at once.")
    ] = 8,
) -> None:
    """Upload a backup that was made elsewhere, and wait until it is taken in.

    After an interruption, run the same command again: what has arrived is not sent again.
    """
    terminal, client = session.terminal, session.client
    files = [local_files.checked("database", database), local_files.checked("volume", volume)]
    total = sum(file.size for file in files)
    with terminal.bars() as bars:
        bar = bars.add_task("reading", total=total)
        announced = {
            file.kind: {
                "size": file.size,
                "sha256": local_files.sha256(file, lambda count: bars.advance(bar, count)),
            }
            for file in files
        }
    pending = Pending(client.access.url, announced)
    plan = _opened(session, pending, announced)
    try:
        if plan is not None:
            _send(session, files, plan, concurrency)
            client.post(f"/backup/upload/{plan['upload_id']}/complete")
    except KeyboardInterrupt:
        terminal.tell("\nIt stopped. Run the same command again: it goes on from here.")
        raise
    upload_id = pending.get()
    assert upload_id is not None
    try:
        run = follow(session, upload_id)
    except CliError as error:
        if error.exit_code is Exit.FILES:
            # The service has deleted them: the next upload is another one.
            pending.forget()
        raise
    pending.forget()
    terminal.document(run)
    outcome(session, run)


@command("lcp-backup pack /opt/liferay/data", calls=False)
def pack(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Liferay's data folder.")],
    output: Annotated[Path, typer.Option(metavar="FILE", help="The file to write.")] = Path(
        "volume.tgz"
    ),
) -> None:
    """Pack a document library as an upload takes it."""
    library = packing.library_of(folder.resolve())
    with session.terminal.bars() as bars:
        bar = bars.add_task("pack", total=packing.size_of(library))
        left_out = packing.pack(library, output, lambda count: bars.advance(bar, count))
    size = output.stat().st_size
    session.terminal.document({"file": str(output), "size": size, "left_out": left_out})
    session.terminal.say(f"{output}: {words.size(size)}.")
    if left_out:
        files = "1 file was" if left_out == 1 else f"{left_out} files were"
        session.terminal.tell(f"{files} left out: pipes, sockets and devices are in no backup.")


def _opened(session: Session, pending: Pending, announced: dict[str, Any]) -> dict[str, Any] | None:
    """The open upload of these files; None if it has everything and is being taken in."""
    client = session.client
    if (known := pending.get()) is not None:
        try:
            plan: dict[str, Any] = client.get(f"/backup/upload/{known}")
        except CliError as error:
            # It may have been taken in while nobody was watching.
            if error.code == "conflict" or _was_taken_in(session, known):
                return None
            if error.code != "not-found":
                raise
        else:
            session.terminal.tell(f"Going on with the upload {known}.")
            return plan
    plan = client.post("/backup/upload", announced)
    pending.put(plan["upload_id"])
    return plan


def _was_taken_in(session: Session, upload_id: str) -> bool:
    try:
        run = session.client.get(f"/backup/runs/{upload_id}")
    except CliError:
        return False
    return bool(run["state"] != "failed")


def _send(
    session: Session, files: list[local_files.LocalFile], plan: dict[str, Any], threads: int
) -> None:
    upload_id = plan["upload_id"]

    def renew() -> dict[str, Any]:
        fresh: dict[str, Any] = session.client.get(f"/backup/upload/{upload_id}")
        return fresh

    with session.terminal.bars() as bars:
        bar = bars.add_task("upload", total=sum(file.size for file in files))
        sender = Sender(
            files,
            plan,
            renew,
            threads=threads,
            moved=lambda count: bars.advance(bar, count),
            note=session.terminal.note,
        )
        with closing(sender) as it:
            it.run()
