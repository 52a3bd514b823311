"""Real database servers, private to the test run: a MariaDB, and a MySQL when one is there.

MySQL is taken from the folder that LCP_TEST_MYSQL_DIR names, laid out as
`../shared/tools/mysql-community fetch DIR` does. Without the variable no test asks for MySQL.
"""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest
from pydantic import SecretStr

from lcp_backup.database.endpoint import DatabaseEndpoint, Flavour, connect

_MYSQL_DIR = os.environ.get("LCP_TEST_MYSQL_DIR")
_FLAVOURS = [Flavour.MARIADB, *([Flavour.MYSQL] if _MYSQL_DIR else [])]
_START_SECONDS = 60
_HOST = "127.0.0.1"

_FAST = [
    f"--bind-address={_HOST}",
    "--skip-log-bin",
    "--max-allowed-packet=1G",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-buffer-pool-size=64M",
    "--innodb-doublewrite=0",
    "--local-infile=1",
    "--secure-file-priv=NULL",
]
_FAST_MARIADB = [*_FAST[:-1], "--innodb-flush-method=nosync"]


_OF_EVERY_VERSION = {
    Path(__file__).parent / "database" / name
    for name in ("test_dump.py", "test_roundtrip.py", "test_rows.py")
}
"""What a dump says and how it is read differs between versions of one server."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what comes out the same on every machine, so that CI need not try it on two."""
    for item in items:
        if item.path not in _OF_EVERY_VERSION and not _asks_for_mysql(item):
            item.add_marker(pytest.mark.same_everywhere)


def _asks_for_mysql(item: pytest.Item) -> bool:
    ids = item.callspec.id if hasattr(item, "callspec") else ""
    return "mysql" in ids or "mysql" in getattr(item, "fixturenames", ())


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


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A private MariaDB."""
    with running_mariadb(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture(scope="session")
def mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A private MySQL."""
    with running_mysql(tmp_path_factory.mktemp("mysql")) as server:
        yield server


@contextmanager
def running_mariadb(folder: Path, *options: str) -> Iterator[DatabaseServer]:
    """Makes and starts a MariaDB below the folder, with further options of the server's."""
    subprocess.run(
        [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={folder / 'data'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            f"--user={getpass.getuser()}",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    program = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "mariadbd is not installed (apt-get install mariadb-server)"
    dump = shutil.which("mariadb-dump")
    assert dump, "mariadb-dump is not installed (apt-get install mariadb-client)"
    command = [program, "--no-defaults", *_FAST_MARIADB, *options]
    with _running(command, folder, Flavour.MARIADB, Path(dump).parent) as server:
        yield server


@contextmanager
def running_mysql(folder: Path, *options: str) -> Iterator[DatabaseServer]:
    """Makes and starts a MySQL below the folder, with further options of the server's."""
    assert _MYSQL_DIR, "only asked for when LCP_TEST_MYSQL_DIR is set"
    unpacked = Path(_MYSQL_DIR)
    command = [
        str(unpacked / "bin/mysqld"),
        "--no-defaults",
        f"--basedir={unpacked / 'x/usr'}",
        f"--plugin-dir={unpacked / 'x/usr/lib/mysql/plugin'}",
        f"--lc-messages-dir={unpacked / 'x/usr/share/mysql'}",
        "--mysqlx=OFF",
        *_FAST,
        *options,
    ]
    initialize = [*command, f"--datadir={folder / 'data'}", f"--user={getpass.getuser()}"]
    done = subprocess.run([*initialize, "--initialize-insecure"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    with _running(command, folder, Flavour.MYSQL, unpacked / "bin") as server:
        yield server


@pytest.fixture(params=_FLAVOURS, ids=str)
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    """Each server in turn: what is promised holds on both."""
    found = request.getfixturevalue(str(request.param))
    assert isinstance(found, DatabaseServer)
    return found


@contextmanager
def _running(
    command: list[str], folder: Path, flavour: Flavour, programs: Path
) -> Iterator[DatabaseServer]:
    with socket.socket() as free:
        free.bind((_HOST, 0))
        port = free.getsockname()[1]
    log = folder / "server.log"
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *command,
                f"--datadir={folder / 'data'}",
                # Short on purpose: a socket's path may have about 100 bytes.
                f"--socket={folder / 's'}",
                # A MariaDB that starts deletes the temporary tables of all that share its folder.
                f"--tmpdir={temporary}",
                f"--pid-file={folder / 'pid'}",
                f"--port={port}",
                f"--user={getpass.getuser()}",
            ],
            stdout=output,
            stderr=output,
        )
    server = DatabaseServer(flavour, port, programs, log)
    try:
        _wait_until_it_answers(server, process)
        yield server
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder / "data", ignore_errors=True)


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
