"""Runs the dump program, and believes it only when it ended well in every way that can be seen."""

import fcntl
import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Final

from lcp_backup.database.endpoint import DatabaseEndpoint, Flavour, Server
from lcp_backup.errors import DumpFailed, FlavourMismatch, TableChangedDuringDump
from lcp_backup.model import Notice
from lcp_backup.setting_values import DatabaseTls

_PROGRAMS: Final = ("mariadb-dump", "mysqldump")
_PIPE_SIZE: Final = 1 << 20
_WORTH_A_READ: Final = _PIPE_SIZE // 4
_GATHER_SECONDS: Final = 0.003
"""Dump programs write 4 KiB at a time. Whoever waits for each of these has both processes woken a
quarter of a million times for a gigabyte; a short wait lets the pipe fill."""
_IDLE_SECONDS: Final = 1.0
_EXIT_SECONDS: Final = 30
_STDERR_KEPT: Final = 4000
_NAMED_COLUMNS: Final = 5

_VERSION = re.compile(r"(?:Distrib|from) (\d[\w.]*)|Ver (\d[\w.]*)(?! Distrib)(?=[\s-])")
"""MariaDB: `Ver 10.19 Distrib 10.11.19-MariaDB` (the program's own version comes first) or, newer,
`from 11.8.9-MariaDB`; MySQL: `Ver 9.7.4`."""
SANDBOX_LINE: Final = re.compile(rb"/\*M?!999999\\- enable the sandbox mode \*/[ \t]*\n")
"""The first line of MariaDB's dumps, which only its own client understands; it is not stored."""
_FIRST_LINE_SIZE: Final = 200
_SNAPSHOT_SIGN = re.compile(rb"^-- [A-Z][a-z ]+ structure for ", re.MULTILINE)
_TRAILER = re.compile(rb"(?:\A|\n)-- Dump completed(?: on [^\n]*)?\n\Z")
_TAIL_SIZE: Final = 200
_TLS_FAILED = re.compile(r"error: (2026|3159)\b")
"""No TLS as demanded (the client's error), or none and the server demands it."""
_CLEAR_TEXT_PLUGINS: Final = {"mysql_clear_password.so", "dialog.so"}
_PLUGIN_FOLDERS: Final = ("lib/*-linux-gnu/libmariadb*/plugin", "lib*/mariadb/plugin")
"""Where distributions have MariaDB's plugins, from the folder above the programs'."""
_TABLE_CHANGED = re.compile(r"(?:Error |\()1412\b|Error in field count for table")
"""MySQL's error for a table that was altered since the snapshot; and its program's own words when
a column was added by an instant ALTER, which MySQL 9 does not answer with that error."""


@dataclass(frozen=True)
class DumpProgram:
    """A dump program that runs here."""

    path: Path
    flavour: Flavour
    version: str
    """Such as `10.11.19` or `9.7.4`."""


def find_program(folders: Sequence[Path], flavour: Flavour) -> DumpProgram:
    """The first dump program of this flavour in the folders; if there is none, of the other.

    Raises DumpFailed when no folder holds one that starts.
    """
    second: DumpProgram | None = None
    broken: list[str] = []
    for folder in folders:
        for name in _PROGRAMS:
            path = folder / name
            if not path.is_file():
                continue
            try:
                program = _identified(path)
            except (OSError, subprocess.SubprocessError) as error:
                broken.append(f"{path}: {error}")
                continue
            if program.flavour is flavour:
                return program
            second = second or program
    if second is None:
        why = "; ".join(broken) or "none of them is in " + ", ".join(map(str, folders))
        raise DumpFailed(f"no dump program ({' or '.join(_PROGRAMS)}) can be started: {why}")
    return second


def check_flavours(
    server: Server, program: DumpProgram, generated: Sequence[str]
) -> tuple[Notice, ...]:
    """Refuses a dump that could not be restored, and warns of a pair that is not made to match.

    MariaDB's program writes values for MySQL's generated columns: the dump then succeeds and its
    restore fails (error 3105). The other way round is as little tried by anybody.

    Args:
        generated: the schema's generated columns as `table.column`.

    Raises FlavourMismatch.
    """
    if program.flavour is server.flavour:
        return ()
    pair = (
        f"{program.path.name} is of {program.flavour} {program.version}"
        f" and the server of {server.flavour} {server.version}"
    )
    if generated:
        named = ", ".join(generated[:_NAMED_COLUMNS])
        if len(generated) > _NAMED_COLUMNS:
            named += f" and {len(generated) - _NAMED_COLUMNS} more"
        raise FlavourMismatch(
            f"{pair}: a dump of generated columns ({named})"
            f" could not be restored; give the function a dump program of {server.flavour}"
        )
    return (Notice(code="client-mismatch", subject=program.path.name, detail=pair),)


class Dump:
    """A dump that runs: take its `chunks` to their end, then let `finish` judge it."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", snapshot_stands: threading.Event
    ) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._stdout = process.stdout
        self._snapshot_stands = snapshot_stands
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
        Sets the event `snapshot_stands` once what is read can no longer change, at the latest at
        the end.
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
        self._snapshot_stands.set()

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
        if not self._snapshot_stands.is_set() and _SNAPSHOT_SIGN.search(self._tail + chunk):
            self._snapshot_stands.set()
        self._tail = (self._tail + chunk[-_TAIL_SIZE:])[-_TAIL_SIZE:]
        return chunk

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
    snapshot_stands: threading.Event,
    history: bool = False,
) -> Iterator[Dump]:
    """Starts a dump of the endpoint's schema; leaving the block kills what still runs.

    The dump is one consistent snapshot of the transactional tables, with routines, triggers and
    events; other tables are not locked. The password is neither on the command line nor in the
    environment, but in a file of its own that is gone when the block is left. TLS is as the
    endpoint says; when it says PREFERRED, as the connection has it that asked for `server`.

    Args:
        snapshot_stands: set once what the dump will read can no longer change.
        history: with the old rows of system-versioned tables (MariaDB 10.11, both programs).

    Raises DumpFailed when the program cannot be started.
    """
    with TemporaryDirectory(prefix="dump-") as private:
        ca = Path(private, "ca.pem")
        ca.write_text(endpoint.ca or "", encoding="ascii")
        encrypted = server.encrypted and endpoint.tls is not DatabaseTls.DISABLED
        tls = tls_options(program, endpoint.tls, encrypted=encrypted, ca=ca)
        plugins = _plugins(program, Path(private, "plugin"), clear_text=encrypted)
        options = Path(private, "options.cnf")
        options.touch(0o600)
        options.write_text(_options(endpoint) + "".join(f"{line}\n" for line in tls))
        command = [
            str(program.path),
            # Must be the first; and no other file, such as a ~/.my.cnf, may change a backup.
            f"--defaults-file={options}",
            *_flags(program, server),
            *(["--dump-history"] if history else []),
            *([f"--plugin-dir={plugins}"] if plugins else []),
            "--databases",
            endpoint.name,
        ]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=_environment(program.path, private),
                start_new_session=True,
            )
        except OSError as error:
            raise DumpFailed(f"{program.path} cannot be started: {error.strerror}") from None
        assert process.stdout is not None
        with suppress(OSError):
            # Fewer and larger reads; the system may not grant it, and nothing hangs on it.
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        dump = Dump(process, snapshot_stands)
        try:
            yield dump
        finally:
            dump.stop()


def _identified(path: Path) -> DumpProgram:
    done = subprocess.run(
        [str(path), "--version"],
        capture_output=True,
        text=True,
        timeout=_EXIT_SECONDS,
        check=True,
        env=_environment(path, "/nonexistent"),
    )
    version = _VERSION.search(done.stdout)
    if version is None:
        raise subprocess.SubprocessError(f"it calls itself {done.stdout[:100]!r}")
    return DumpProgram(path, Flavour.of(done.stdout), version[1] or version[2])


def _bundled_libraries(path: Path) -> Path | None:
    """The folder of the libraries that were brought along with the program, if they were."""
    libraries = path.parent.parent / "lib"
    return libraries if (libraries / "plugin").is_dir() else None


def _environment(path: Path, home: str) -> dict[str, str]:
    # Its own: the function's holds credentials that are none of the program's business.
    environment = {"PATH": os.defpath, "HOME": home}
    if libraries := _bundled_libraries(path):
        environment["LD_LIBRARY_PATH"] = str(libraries)
    return environment


def _flags(program: DumpProgram, server: Server) -> list[str]:
    flags = [
        "--add-drop-database",
        "--single-transaction",
        "--quick",
        "--routines",
        "--triggers",
        "--events",
        "--hex-blob",
        # With an empty environment the programs would speak Latin-1.
        "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
    ]
    if program.flavour is Flavour.MYSQL:
        # Both would need privileges that a managed database does not give (FLUSH, PROCESS).
        flags += ["--no-tablespaces", "--set-gtid-purged=OFF"]
        if server.flavour is Flavour.MARIADB and int(program.version.split(".")[0]) >= 8:  # noqa: PLR2004 -- the version that brought the flag
            flags.append("--column-statistics=0")
    return flags


def tls_options(
    program: DumpProgram, tls: DatabaseTls, *, encrypted: bool, ca: Path
) -> tuple[str, ...]:
    """The lines of an options file that make the program do what LCP_DATABASE_TLS says.

    PREFERRED is not left to the program: MariaDB's, told to prefer TLS, answers a server without it
    as if there were TLS, with the password in clear text (caching_sha2_password).

    MariaDB's programs cannot demand TLS without verifying it: told REQUIRED, they go on without it
    when the server offers none. The service's own connection, just before, does not.

    Args:
        encrypted: what PREFERRED came to, when the service connected.
        ca: the file of the certificates to believe.
    """
    if tls is DatabaseTls.PREFERRED:
        tls = DatabaseTls.REQUIRED if encrypted else DatabaseTls.DISABLED
    verifies = tls is DatabaseTls.VERIFY_IDENTITY
    # With the file, MariaDB's programs would check the authority in the other modes, too.
    trusted = (f"ssl-ca={_quoted(str(ca))}",) if verifies else ()
    if program.flavour is Flavour.MYSQL:
        # From 8.0 on, without TLS: or caching_sha2_password is refused ("requires secure
        # connection") until the server has met the account. PyMySQL asks for the key unasked.
        asks_for_key = not verifies and int(program.version.split(".")[0]) >= 8  # noqa: PLR2004 -- as it says
        return (
            f"ssl-mode={tls}",
            *trusted,
            *(("get-server-public-key",) if asks_for_key else ()),
        )
    return (
        f"ssl={int(tls is not DatabaseTls.DISABLED)}",
        # From 11.4 on they verify by themselves, and know no authority.
        f"ssl-verify-server-cert={int(verifies)}",
        *trusted,
    )


def _plugins(program: DumpProgram, folder: Path, *, clear_text: bool) -> Path | None:
    """The folder that the program is to take plugins from; None leaves it to the program.

    MariaDB's programs send a password in clear text to every server that asks for it so, TLS or
    not; unless they do not find the plugin. (MySQL's do not have it enabled.)

    Args:
        folder: made, and filled, where one has to be.
        clear_text: the plugins that send the password as it is are let be.
    """
    libraries = _bundled_libraries(program.path)
    # Or caching_sha2_password fails with 1045, as if the password were wrong.
    bundled = libraries / "plugin" if libraries else None
    if clear_text or program.flavour is Flavour.MYSQL:
        return bundled
    folder.mkdir()
    above = program.path.resolve().parent.parent
    found = [bundled] if bundled else [p for name in _PLUGIN_FOLDERS for p in above.glob(name)]
    for plugin in (plugin for source in found for plugin in source.glob("*.so")):
        if plugin.name not in _CLEAR_TEXT_PLUGINS:
            (folder / plugin.name).symlink_to(plugin.absolute())
    return folder


def _options(endpoint: DatabaseEndpoint) -> str:
    return (
        "[client]\n"
        f"host={_quoted(endpoint.host)}\n"
        f"port={endpoint.port}\n"
        # Or `localhost` would mean a socket.
        "protocol=tcp\n"
        f"user={_quoted(endpoint.user)}\n"
        f"password={_quoted(endpoint.password.get_secret_value())}\n"
    )


def _quoted(value: str) -> str:
    """A value as option files want it: `#` ends an unquoted one, and backslashes escape."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r") + '"'
