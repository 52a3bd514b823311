"""The site that `local.deploy_check` uploads, and what of a download differs from it."""

import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local import mariadb, site
from local.api import Api
from local.database import Database


class Sample:
    """The demo's site on this machine, as the two archives that a user would upload."""

    def __init__(self, state: Path, server: Database, mark: str) -> None:
        self._state = state
        self._server = server
        self._folder = state / "sample"
        with server.connect() as connection:
            site.fill_database(connection, server.name)
            site.fill_folder(self._folder)
            # Of this check alone: an earlier one's data must not pass for it.
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE TABLE `{server.name}`.CheckMark (mark VARCHAR(64))")
                cursor.execute(f"INSERT INTO `{server.name}`.CheckMark VALUES (%s)", (mark,))
            (self._folder / "document_library" / mark).write_text(mark)
            self._before = site.fingerprint(connection, server.name, self._folder).as_uploaded()
        dump = state / f"{server.name}.sql"
        dump.write_bytes(self._client("mariadb-dump", "--single-transaction", "--routines",
                                      "--events", "--triggers", server.name))  # fmt: skip
        _tar("-czf", state / "database.tgz", "-C", state, dump.name)
        # Of the two formats of GNU tar this one has times to the nanosecond.
        _tar("--format=posix", "-czf", state / "volume.tgz", "-C", self._folder, ".")

    @classmethod
    @contextmanager
    def made(cls, state: Path, name: str, mark: str) -> "Iterator[Sample]":
        """On a private server, in a schema of this name (a dump of the service's says USE)."""
        password = secrets.token_urlsafe(12)
        try:
            port = mariadb.start(state, password)
            server = Database("127.0.0.1", port, mariadb.MASTER_USER, password, name)
            yield cls(state, server, mark)
        finally:
            mariadb.stop(state)

    def differences(self, api: Api, backup_id: str) -> list[str]:
        """What the download of a backup has not, or not so; it is put where the sample was."""
        for kind in ("database", "volume"):
            target = self._state / f"downloaded-{kind}.tgz"
            path = f"/backup/download/{kind}/{backup_id}"
            answer = api.call("GET", path, "--location", "--output", target)
            if answer.status != 200:
                raise SystemExit(f"GET {path}: {answer.status}")
        name = self._server.name
        with self._server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE `{name}`")
            cursor.execute(f"CREATE DATABASE `{name}`")
        # Their owner is an account of the other server's, and does not count (see `fingerprint`).
        dump = re.sub(
            rb"DEFINER=`[^`]+`@`[^`]+`", b"", _tar("-xzOf", self._state / "downloaded-database.tgz")
        )
        self._client("mariadb", name, sent=dump)
        shutil.rmtree(self._folder)
        self._folder.mkdir()
        _tar("-xpzf", self._state / "downloaded-volume.tgz", "-C", self._folder)
        with self._server.connect() as connection:
            return self._before.differences(site.fingerprint(connection, name, self._folder))

    def _client(self, program: str, *arguments: str, sent: bytes | None = None) -> bytes:
        options = self._state / "sample.cnf"
        options.touch(mode=0o600)
        options.write_text(
            f"[client]\nhost={self._server.host}\nport={self._server.port}\n"
            f"user={self._server.user}\npassword={self._server.password}\n"
        )
        command = [program, f"--defaults-file={options}", *arguments]
        done = subprocess.run(command, input=sent, capture_output=True, check=False)
        if done.returncode:
            raise SystemExit(f"{program} failed: {done.stderr.decode(errors='replace')[-2000:]}")
        return done.stdout


def _tar(*arguments: str | Path) -> bytes:
    return subprocess.run(["tar", *arguments], check=True, capture_output=True).stdout
