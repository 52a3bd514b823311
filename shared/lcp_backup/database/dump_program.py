"""The dump program: found, matched to the server, and what it is told."""

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lcp_backup.database.endpoint import DatabaseEndpoint, Flavour, Server
from lcp_backup.errors import DumpFailed, FlavourMismatch
from lcp_backup.model import Notice
from lcp_backup.setting_values import DatabaseTls

_PROGRAMS: Final = ("mariadb-dump", "mysqldump")
_NAMED_COLUMNS: Final = 5
_VERSION = re.compile(r"(?:Distrib|from) (\d[\w.]*)|Ver (\d[\w.]*)(?! Distrib)(?=[\s-])")
"""MariaDB: `Ver 10.19 Distrib 10.11.19-MariaDB` (the program's own version comes first) or, newer,
`from 11.8.9-MariaDB`; MySQL: `Ver 9.7.4`."""
_CLEAR_TEXT_PLUGINS: Final = {"mysql_clear_password.so", "dialog.so"}
_PLUGIN_FOLDERS: Final = ("lib/*-linux-gnu/libmariadb*/plugin", "lib*/mariadb/plugin")
"""Where distributions have MariaDB's plugins, from the folder above the programs'."""
_ANSWER_SECONDS: Final = 30


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


def flags(program: DumpProgram, server: Server) -> list[str]:
    """The options of its command line, but for what a single dump adds."""
    given = [
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
        given += ["--no-tablespaces", "--set-gtid-purged=OFF"]
        if server.flavour is Flavour.MARIADB and int(program.version.split(".")[0]) >= 8:  # noqa: PLR2004 -- the version that brought the flag
            given.append("--column-statistics=0")
    return given


def environment(path: Path, home: str) -> dict[str, str]:
    """The environment in which the program at this path runs."""
    # Its own: the function's holds credentials that are none of the program's business.
    variables = {"PATH": os.defpath, "HOME": home}
    if libraries := _bundled_libraries(path):
        variables["LD_LIBRARY_PATH"] = str(libraries)
    return variables


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


def plugins_for(program: DumpProgram, folder: Path, *, clear_text: bool) -> Path | None:
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


def connection_options(endpoint: DatabaseEndpoint) -> str:
    """The head of an options file that says where to connect, and as whom."""
    return (
        "[client]\n"
        f"host={_quoted(endpoint.host)}\n"
        f"port={endpoint.port}\n"
        # Or `localhost` would mean a socket.
        "protocol=tcp\n"
        f"user={_quoted(endpoint.user)}\n"
        f"password={_quoted(endpoint.password.get_secret_value())}\n"
    )


def _identified(path: Path) -> DumpProgram:
    done = subprocess.run(
        [str(path), "--version"],
        capture_output=True,
        text=True,
        timeout=_ANSWER_SECONDS,
        check=True,
        env=environment(path, "/nonexistent"),
    )
    version = _VERSION.search(done.stdout)
    if version is None:
        raise subprocess.SubprocessError(f"it calls itself {done.stdout[:100]!r}")
    return DumpProgram(path, Flavour.of(done.stdout), version[1] or version[2])


def _bundled_libraries(path: Path) -> Path | None:
    """The folder of the libraries that were brought along with the program, if they were."""
    libraries = path.parent.parent / "lib"
    return libraries if (libraries / "plugin").is_dir() else None


def _quoted(value: str) -> str:
    """A value as option files want it: `#` ends an unquoted one, and backslashes escape."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r") + '"'
