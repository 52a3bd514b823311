"""Database servers as RDS gives them: the master has RDS's rights, and the event scheduler runs."""

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lcp_backup.database.endpoint import Flavour
from local.mariadb import RDS_RIGHTS
from tests.integration.conftest import (
    _FAST,
    _FAST_MARIADB,
    _MYSQL_DIR,
    DatabaseServer,
    _running,
)

MASTER = "dxpcloud"
MASTER_PASSWORD = "master-secret"
SITE_USER = "liferay"
SITE_PASSWORD = "site-secret"
MASTER_RIGHTS = {
    Flavour.MARIADB: RDS_RIGHTS,
    Flavour.MYSQL: RDS_RIGHTS
    + ", CREATE ROLE, DROP ROLE, APPLICATION_PASSWORD_ADMIN, ROLE_ADMIN, SET_ANY_DEFINER,"
    " XA_RECOVER_ADMIN",
}
"""No SUPER, no FILE, no SYSTEM_USER, no CONNECTION_ADMIN."""


@contextmanager
def rds_like(flavour: Flavour, folder: Path) -> Iterator[tuple[DatabaseServer, Path]]:
    """A server and the folder outside of its data folder into which it may write."""
    outside = folder / "outside"
    outside.mkdir()
    commands = {Flavour.MARIADB: _mariadb, Flavour.MYSQL: _mysql}
    command, programs = commands[flavour](folder, outside)
    with _running(command, folder, flavour, programs) as server:
        yield server, outside


def _mariadb(folder: Path, _outside: Path) -> tuple[list[str], Path]:
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
    dump = shutil.which("mariadb-dump")
    assert program, "mariadbd is not installed"
    assert dump, "mariadb-dump is not installed"
    return [program, "--no-defaults", *_FAST_MARIADB, "--event-scheduler=ON"], Path(dump).parent


def _mysql(folder: Path, outside: Path) -> tuple[list[str], Path]:
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
        "--event-scheduler=ON",
        f"--innodb-directories={outside}",
    ]
    done = subprocess.run(
        [
            *command,
            f"--datadir={folder / 'data'}",
            f"--user={getpass.getuser()}",
            "--initialize-insecure",
        ],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return command, unpacked / "bin"
