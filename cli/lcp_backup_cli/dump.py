"""The database of a Liferay that runs somewhere else, as the dump that an upload takes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from lcp_backup_cli import words
from lcp_backup_cli.commands import Session, command
from lcp_backup_cli.errors import CliError, Exit
from lcp_backup_cli.gzip_file import GzipFile, not_yet

_PROGRAMS = ("mariadb-dump", "mysqldump")
_CHUNK = 256 * 1024
_END = b"-- Dump completed"
"""How both programs end a dump that is whole."""
_LOOKED_AT = 4096
_FLAGS = (
    "--add-drop-database",
    "--single-transaction",
    "--quick",
    "--routines",
    "--triggers",
    "--events",
    "--hex-blob",
    "--default-character-set=utf8mb4",
    "--max-allowed-packet=1G",
    "--no-tablespaces",
)


@command("lcp-backup dump lportal --user root", calls=False)
def dump(
    session: Session,
    database: Annotated[str, typer.Argument(metavar="DATABASE", help="Its name.")],
    *,
    user: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Who logs in to it; you are then asked for the password."
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="Where it is; on this machine otherwise.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", min=1, max=65535, help="Its port, if not 3306.")
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from stdin instead.")
    ] = False,
    output: Annotated[Path, typer.Option(metavar="FILE", help="The file to write.")] = Path(
        "database.sql.gz"
    ),
) -> None:
    """Dump a MySQL or MariaDB database as an upload takes it.

    This runs mariadb-dump or mysqldump, whichever is on the PATH. Without --user, their
    option files (~/.my.cnf) decide. The password is on no command line and in no file.
    """
    program = _program()
    options = _options(session, user, host, port, from_stdin=password_stdin)
    with session.terminal.bars() as bars:
        bar = bars.add_task("dump", total=_expected(program, database, options))
        size = _write(program, database, options, output, lambda count: bars.advance(bar, count))
        bars.update(bar, total=size)
    packed = output.stat().st_size
    session.terminal.document({"file": str(output), "size": packed, "sql_size": size})
    session.terminal.say(f"{output}: {words.size(packed)}, {words.size(size)} of SQL.")


def _program() -> str:
    for name in _PROGRAMS:
        if found := shutil.which(name):
            return found
    raise CliError(
        "neither mariadb-dump nor mysqldump is on the PATH",
        "Install the client programs of your database: mariadb-client or mysql-client.",
    )


def _options(
    session: Session, user: str | None, host: str | None, port: int | None, *, from_stdin: bool
) -> str:
    """An options file for the client programs."""
    given = {"host": host, "port": None if port is None else str(port), "user": user}
    if from_stdin:
        given["password"] = typer.get_text_stream("stdin").readline().rstrip("\r\n")
    elif user is not None:
        given["password"] = session.terminal.ask(
            f"Database password of {user}: ", "Use --password-stdin.", hidden=True
        )
    lines = [f"{name}={_quoted(value)}" for name, value in given.items() if value]
    return "\n".join(["[client]", *lines, ""])


def _quoted(value: str) -> str:
    """As option files want it: `#` ends an unquoted value, and backslashes escape."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@contextmanager
def _given(options: str) -> Iterator[tuple[str, int]]:
    """The options as a file that only the child can read: the argument, and what it inherits."""
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "w") as pipe:
            pipe.write(options)
        yield f"--defaults-extra-file=/dev/fd/{reading}", reading
    finally:
        os.close(reading)


def _expected(program: str, database: str, options: str) -> int | None:
    """About how many bytes of SQL there will be; None where nobody tells."""
    folder, name = os.path.split(program)
    client = Path(folder, "mariadb" if name.startswith("mariadb") else "mysql")
    text = database.replace("\\", "\\\\").replace("'", "''")
    asked = (
        "SELECT SUM(data_length) FROM information_schema.tables"  # noqa: S608 -- their own database
        f" WHERE table_schema = '{text}'"
    )
    try:
        with _given(options) as (argument, inherited):
            done = subprocess.run(
                [str(client), argument, "--batch", "--skip-column-names", "--execute", asked],
                pass_fds=[inherited],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                timeout=30,
            )
        return int(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _write(
    program: str, database: str, options: str, target: Path, read: Callable[[int], None]
) -> int:
    """Writes the dump; answers the bytes of its SQL. Raises CliError, and leaves nothing then."""
    size, end = 0, b""
    with (
        not_yet(target) as handle,
        tempfile.TemporaryFile() as complaints,
        _given(options) as (argument, inherited),
    ):
        packed = GzipFile(handle, target)
        with subprocess.Popen(
            [program, argument, *_flags(program), "--databases", "--", database],
            pass_fds=[inherited],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
        ) as running:
            assert running.stdout is not None
            try:
                while chunk := running.stdout.read(_CHUNK):
                    packed.write(chunk)
                    size += len(chunk)
                    end = (end + chunk)[-_LOOKED_AT:]
                    read(len(chunk))
            except BaseException:
                running.kill()
                raise
        complaints.seek(0)
        told = complaints.read(_LOOKED_AT).decode(errors="replace").strip()
        if running.returncode != 0 or not end.rstrip().rpartition(b"\n")[2].startswith(_END):
            raise CliError(
                f"{Path(program).name} ended with {running.returncode}"
                + (f": {told}" if told else ", without the line that ends a whole dump"),
                "Check the password, the database's name, --user, --host and --port.",
                exit_code=Exit.SITE,
                code="dump-failed",
            )
        packed.finish()
    return size


def _flags(program: str) -> list[str]:
    told = subprocess.run([program, "--version"], capture_output=True, check=False).stdout
    # Else it wants a privilege that a site's account does not have.
    return [*_FLAGS, *([] if b"MariaDB" in told else ["--set-gtid-purged=OFF"])]
