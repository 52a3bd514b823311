"""Real database servers, private to the test run: a MariaDB, and a MySQL when one is there.

MySQL is taken from the folder that LCP_TEST_MYSQL_DIR names, laid out as
`../shared/tools/mysql-community fetch DIR` does. Without the variable no test asks for MySQL.
"""

import getpass
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pymysql
from pydantic import SecretStr

from lcp_backup.database.endpoint import DatabaseEndpoint, Flavour, connect
from local import mariadb
from local.processes import free_port

_HOST = "127.0.0.1"
MYSQL_DIR = os.environ.get("LCP_TEST_MYSQL_DIR")
FLAVOURS = [Flavour.MARIADB, *([Flavour.MYSQL] if MYSQL_DIR else [])]
"""The kinds of servers that tests are run on."""
_START_SECONDS = 60
_FAST = (
    "--innodb-buffer-pool-size=64M",
    "--innodb-doublewrite=0",
    "--local-infile=1",
)
_MYSQL = (
    f"--bind-address={_HOST}",
    "--skip-log-bin",
    "--max-allowed-packet=1G",
    "--innodb-flush-log-at-trx-commit=0",
    "--secure-file-priv=NULL",
    "--mysqlx=OFF",
)


@dataclass(frozen=True)
class DatabaseServer:
    """A running server of this test run; its `root` has no password and may do everything."""

    flavour: Flavour
    port: int
    programs: Path
    """The folder of its own dump program and client."""
    log: Path

    def endpoint(
        self, name: str, *, user: str = "root", password: str = "", host: str = _HOST
    ) -> DatabaseEndpoint:
        """The endpoint of the schema `name`."""
        return DatabaseEndpoint(
            host=host, port=self.port, user=user, password=SecretStr(password), name=name
        )

    def execute(self, sql: str, *, database: str | None = None) -> tuple[tuple[object, ...], ...]:
        """Runs one statement as root and answers its rows."""
        with (
            connect(self.endpoint(database or ""), database=database) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql)
            return tuple(cursor.fetchall())

    def client(self, *arguments: str) -> list[str]:
        """The command of the stock client as root; what it is to run goes to its stdin."""
        program = "mysql" if self.flavour is Flavour.MYSQL else "mariadb"
        return [
            str(self.programs / program),
            "--no-defaults",
            "--protocol=tcp",
            f"--host={_HOST}",
            f"--port={self.port}",
            "--user=root",
            "--default-character-set=utf8mb4",
            "--max-allowed-packet=1G",
            *arguments,
        ]

    def load(self, sql: bytes, database: str | None = None) -> None:
        """Loads SQL, such as a dump, with the stock client."""
        command = self.client(*([database] if database else []))
        done = subprocess.run(command, input=sql, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode(errors="replace")


@contextmanager
def running_server(flavour: Flavour, folder: Path, *options: str) -> Iterator[DatabaseServer]:
    """Makes and starts a server below the folder, with further options of the server's."""
    temporary = folder / "tmp"
    temporary.mkdir()
    port = free_port()
    own = (
        *_FAST,
        # A MariaDB that starts deletes the temporary tables of all that share its folder.
        f"--tmpdir={temporary}",
        f"--pid-file={folder / 'pid'}",
        *options,
    )
    make = {Flavour.MARIADB: _mariadb, Flavour.MYSQL: _mysql}[flavour]
    command, programs = make(folder, port, own)
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    server = DatabaseServer(flavour, port, programs, log)
    try:
        _wait_until_it_answers(server, process)
        yield server
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder / "data", ignore_errors=True)


def _mariadb(folder: Path, port: int, options: Sequence[str]) -> tuple[list[str], Path]:
    mariadb.make(folder / "data")
    dump = shutil.which("mariadb-dump")
    assert dump, "mariadb-dump is not installed (apt-get install mariadb-client)"
    fast = ("--innodb-flush-method=nosync", *options)
    # Its name is short on purpose: pytest's folders lie deep.
    return mariadb.command(folder / "data", port, folder / "s", fast), Path(dump).parent


def _mysql(folder: Path, port: int, options: Sequence[str]) -> tuple[list[str], Path]:
    assert MYSQL_DIR, "only asked for when LCP_TEST_MYSQL_DIR is set"
    unpacked = Path(MYSQL_DIR)
    command = [
        str(unpacked / "bin/mysqld"),
        "--no-defaults",
        f"--basedir={unpacked / 'x/usr'}",
        f"--plugin-dir={unpacked / 'x/usr/lib/mysql/plugin'}",
        f"--lc-messages-dir={unpacked / 'x/usr/share/mysql'}",
        f"--datadir={folder / 'data'}",
        f"--user={getpass.getuser()}",
        f"--port={port}",
        f"--socket={folder / 's'}",
        *_MYSQL,
        *options,
    ]
    done = subprocess.run([*command, "--initialize-insecure"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return command, unpacked / "bin"


def _wait_until_it_answers(server: DatabaseServer, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            with pymysql.connect(host=_HOST, port=server.port, user="root"):
                return
        except pymysql.OperationalError:
            said = server.log.read_text(errors="replace")[-2000:]
            assert process.poll() is None, f"the {server.flavour} server died:\n{said}"
            assert time.monotonic() < end, f"the {server.flavour} server does not answer:\n{said}"
            time.sleep(0.1)


def only_on[**P](flavour: Flavour) -> "Callable[[Callable[P, None]], Callable[P, None]]":
    """A test of what only one kind of server has."""

    def marked(test: Callable[P, None]) -> Callable[P, None]:
        test.only = flavour  # type: ignore[attr-defined] # for conftest.py
        return test

    return marked
