"""Runs the dump program, and believes it only when it ended well in every way that can be seen."""

import fcntl
import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Final

from lcp_backup.database.dump_program import (
    DumpProgram,
    connection_options,
    environment,
    flags,
    plugins_for,
    tls_options,
)
from lcp_backup.database.endpoint import DatabaseEndpoint, Server
from lcp_backup.errors import DumpFailed, TableChangedDuringDump
from lcp_backup.setting_values import DatabaseTls

_PIPE_SIZE: Final = 1 << 20
_WORTH_A_READ: Final = _PIPE_SIZE // 4
_GATHER_SECONDS: Final = 0.003
"""Dump programs write 4 KiB at a time. Whoever waits for each of these has both processes woken a
quarter of a million times for a gigabyte; a short wait lets the pipe fill."""
_IDLE_SECONDS: Final = 1.0
_EXIT_SECONDS: Final = 30
_STDERR_KEPT: Final = 4000

SANDBOX_LINE: Final = re.compile(rb"/\*M?!999999\\- enable the sandbox mode \*/[ \t]*\n")
"""The first line of MariaDB's dumps, which only its own client understands; it is not stored."""
_FIRST_LINE_SIZE: Final = 200
_SNAPSHOT_SIGN = re.compile(rb"^-- [A-Z][a-z ]+ structure for ", re.MULTILINE)
_TRAILER = re.compile(rb"(?:\A|\n)-- Dump completed(?: on [^\n]*)?\n\Z")
_TAIL_SIZE: Final = 200
_TLS_FAILED = re.compile(r"error: (2026|3159)\b")
"""No TLS as demanded (the client's error), or none and the server demands it."""
_TABLE_CHANGED = re.compile(r"(?:Error |\()1412\b|Error in field count for table")
"""MySQL's error for a table that was altered since the snapshot; and its program's own words when
a column was added by an instant ALTER, which MySQL 9 does not answer with that error."""


class Dump:
    """A dump that runs: take its `chunks` to their end, then let `finish` judge it."""

    def __init__(self, process: "subprocess.Popen[bytes]", on_snapshot: Callable[[], None]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._stdout = process.stdout
        self._on_snapshot = on_snapshot
        self._stands = False
        self._ended = False
        self._came_little = False
        self._tail = b""
        self._stderr = b""
        self._listener = threading.Thread(
            target=self._listen, args=(process.stderr,), name="dump stderr", daemon=True
        )
        self._listener.start()

    def chunks(self) -> Iterator[bytes]:
        """The dump as it comes, without the line that only MariaDB's own client understands.

        While nothing comes, an empty chunk about every second: the caller may want to stop.
        Calls `on_snapshot` when what is read can no longer change, at the latest at the end.
        """
        first = b""
        while len(first) < _FIRST_LINE_SIZE and b"\n" not in first:
            chunk = self._read()
            if chunk is None:
                break
            first += chunk
            if not chunk:
                yield b""
        yield self._seen(SANDBOX_LINE.sub(b"", first, count=1) if first else first)
        while (chunk := self._read()) is not None:
            yield self._seen(chunk)
        self._ended = True
        self._snapshot_stands()

    def finish(self) -> None:
        """Returns only when the dump is whole: exit code 0, and its trailer is the last line.

        Raises DumpFailed, or TableChangedDuringDump when trying again may help.
        """
        if not self._ended:
            raise DumpFailed("the dump was not read to its end")
        try:
            code = self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            hung = f"the dump program closed its output but did not end in {_EXIT_SECONDS} seconds"
            raise DumpFailed(hung, public=hung) from None
        self._listener.join(_EXIT_SECONDS)
        said = self._stderr.decode(errors="replace").strip()
        said = f": {said}" if said else ", and said nothing"
        if _TABLE_CHANGED.search(said):
            raise TableChangedDuringDump(f"a table was altered while it was dumped{said}")
        if _TLS_FAILED.search(said):
            raise DumpFailed(
                f"the dump program and the server do not agree on TLS{said}; check LCP_DATABASE_TLS"
                " and LCP_DATABASE_CA"
            )
        if code < 0:
            killed = f"the dump program was killed by {signal.Signals(-code).name}"
            raise DumpFailed(f"{killed}{said}", public=killed)
        if code > 0:
            failed = f"the dump program failed with exit code {code}"
            raise DumpFailed(f"{failed}{said}", public=failed)
        if not _TRAILER.search(self._tail):
            cut = (
                "the dump program ended with exit code 0 but its output does not end with"
                " '-- Dump completed'"
            )
            raise DumpFailed(f"{cut}{said}", public=cut)

    def stop(self) -> None:
        """Kills what still runs and waits for its end; harmless when called again."""
        if self._process.poll() is None:
            # The whole group: the program may be a script around the real one.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._stdout.close()
        self._listener.join(_EXIT_SECONDS)

    def _read(self) -> bytes | None:
        """What has come, nothing when nothing did for a while, None at the end."""
        if self._came_little:
            time.sleep(_GATHER_SECONDS)
        ready, _, _ = select.select([self._stdout], [], [], _IDLE_SECONDS)
        if not ready:
            return b""
        chunk = os.read(self._stdout.fileno(), _PIPE_SIZE)
        self._came_little = len(chunk) < _WORTH_A_READ
        return chunk or None

    def _seen(self, chunk: bytes) -> bytes:
        if not self._stands and _SNAPSHOT_SIGN.search(self._tail + chunk):
            self._snapshot_stands()
        self._tail = (self._tail + chunk[-_TAIL_SIZE:])[-_TAIL_SIZE:]
        return chunk

    def _snapshot_stands(self) -> None:
        if not self._stands:
            self._on_snapshot()
            self._stands = True

    def _listen(self, stderr: IO[bytes]) -> None:
        # Read to the end whatever comes: a full pipe would stop the program.
        with stderr:
            while said := os.read(stderr.fileno(), _STDERR_KEPT):
                self._stderr = (self._stderr + said)[-_STDERR_KEPT:]


@contextmanager
def start_dump(
    endpoint: DatabaseEndpoint,
    program: DumpProgram,
    server: Server,
    *,
    on_snapshot: Callable[[], None],
    history: bool = False,
) -> Iterator[Dump]:
    """Starts a dump of the endpoint's schema; leaving the block kills what still runs.

    The dump is one consistent snapshot of the transactional tables, with routines, triggers and
    events; other tables are not locked. The password is neither on the command line nor in the
    environment, but in a file of its own that is gone when the block is left. TLS is as the
    endpoint says; when it says PREFERRED, as the connection has it that asked for `server`.

    Args:
        on_snapshot: called once, when what the dump reads can no longer change.
        history: with the old rows of system-versioned tables (MariaDB 10.11, both programs).

    Raises DumpFailed when the program cannot be started.
    """
    with TemporaryDirectory(prefix="dump-") as private:
        command = [
            *_options(endpoint, program, server, Path(private)),
            *(["--dump-history"] if history else []),
            "--databases",
            endpoint.name,
        ]
        dump = Dump(_started(command, environment(program.path, private)), on_snapshot)
        try:
            yield dump
        finally:
            dump.stop()


def _options(
    endpoint: DatabaseEndpoint, program: DumpProgram, server: Server, private: Path
) -> list[str]:
    """The command, but for what is dumped; the files that it names are written into `private`."""
    ca = private / "ca.pem"
    ca.write_text(endpoint.ca or "", encoding="ascii")
    encrypted = server.encrypted and endpoint.tls is not DatabaseTls.DISABLED
    tls = tls_options(program, endpoint.tls, encrypted=encrypted, ca=ca)
    plugins = plugins_for(program, private / "plugin", clear_text=encrypted)
    options = private / "options.cnf"
    options.touch(0o600)
    options.write_text(connection_options(endpoint) + "".join(f"{line}\n" for line in tls))
    return [
        str(program.path),
        # Must be the first; and no other file, such as a ~/.my.cnf, may change a backup.
        f"--defaults-file={options}",
        *flags(program, server),
        *([f"--plugin-dir={plugins}"] if plugins else []),
    ]


def _started(command: list[str], variables: dict[str, str]) -> "subprocess.Popen[bytes]":
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=variables,
            start_new_session=True,
        )
    except OSError as error:
        raise DumpFailed(f"{command[0]} cannot be started: {error.strerror}") from None
    assert process.stdout is not None
    with suppress(OSError):
        # Fewer and larger reads; the system may not grant it, and nothing hangs on it.
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    return process
