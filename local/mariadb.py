"""A private MariaDB server: own data folder, own port, own users; never one that already runs."""

import getpass
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pymysql

from local import processes

NAME = "mariadb"
MASTER_USER = "dxpcloud"
# What RDS gives its master user: no SUPER, no FILE, no SYSTEM_USER.
RDS_RIGHTS = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER,"
    " SHOW DATABASES, CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, REPLICATION SLAVE,"
    " REPLICATION CLIENT, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, CREATE USER,"
    " EVENT, TRIGGER"
)


def make(data: Path) -> None:
    """Makes the data folder of a server whose `root` has no password."""
    command = [
        "mariadb-install-db",
        "--no-defaults",
        f"--datadir={data}",
        f"--user={getpass.getuser()}",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
    ]
    with tempfile.TemporaryDirectory(prefix="lcp-") as own:
        # It runs a server, and one that starts deletes the temporary tables of all that share its
        # folder: two at once would make each other fail.
        env = {**os.environ, "TMPDIR": own}
        done = subprocess.run(command, check=False, capture_output=True, env=env, text=True)
    if done.returncode:
        raise SystemExit(f"MariaDB's data folder was not made:\n{done.stdout}{done.stderr}")


def command(data: Path, port: int, socket: Path, options: Sequence[str] = ()) -> list[str]:
    """What runs a server on its data folder, at the loopback address alone.

    `options` are further ones of the server's. A socket's path may have 107 bytes at most.
    """
    return [
        shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        or "mariadbd",
        "--no-defaults",
        f"--datadir={data}",
        f"--user={getpass.getuser()}",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        f"--socket={socket}",
        "--max-allowed-packet=1G",
        # A toy's data need not survive a power cut.
        "--innodb-flush-log-at-trx-commit=0",
        "--skip-log-bin",
        *options,
    ]


def start(state: Path, password: str, options: Sequence[str] = ()) -> int:
    """Makes and starts a server below `state` with one user of RDS's rights; answers its port.

    `options` are further ones of the server's.
    """
    data = state / "mariadb"
    make(data)
    port = processes.free_port()
    # A project may lie deep. (Temporary tables are there, too, as in `make`.)
    sockets = Path(tempfile.mkdtemp(prefix="lcp-"))
    (state / "mariadb.socket").write_text(str(sockets))
    own = ("--event-scheduler=OFF", "--innodb-buffer-pool-size=256M", f"--tmpdir={sockets}")
    processes.start(NAME, command(data, port, sockets / "sock", (*own, *options)), state)
    root_password = secrets.token_hex(16)
    with _wait_for(port, state) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE USER '{MASTER_USER}'@'%%' IDENTIFIED BY %s", (password,))
        cursor.execute(f"GRANT {RDS_RIGHTS} ON *.* TO '{MASTER_USER}'@'%' WITH GRANT OPTION")
        cursor.execute("DELETE FROM mysql.global_priv WHERE User = ''")
        cursor.execute("ALTER USER 'root'@'localhost' IDENTIFIED BY %s", (root_password,))
        cursor.execute("FLUSH PRIVILEGES")
    return port


def stop(state: Path) -> None:
    """Stops the server; its data stays until the state folder goes."""
    processes.stop(NAME, state)
    note = state / "mariadb.socket"
    if note.exists():
        shutil.rmtree(note.read_text(), ignore_errors=True)
        note.unlink()


def _wait_for(port: int, state: Path) -> "pymysql.Connection[pymysql.cursors.Cursor]":
    for _ in range(300):
        try:
            return pymysql.connect(host="127.0.0.1", port=port, user="root", autocommit=True)
        except pymysql.err.OperationalError:
            if not processes.is_running(NAME, state):
                break
            time.sleep(0.1)
    raise SystemExit(f"MariaDB did not start; see {state / 'mariadb.log'}")
