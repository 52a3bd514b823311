"""Database servers as RDS gives them: the master has RDS's rights, and the event scheduler runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lcp_backup.database.endpoint import Flavour
from local import mariadb
from tests.support.servers import DatabaseServer, running_server

MASTER = mariadb.MASTER_USER
MASTER_PASSWORD = "master-secret"
SITE_USER = "liferay"
SITE_PASSWORD = "site-secret"
MASTER_RIGHTS = {
    Flavour.MARIADB: mariadb.RDS_RIGHTS,
    Flavour.MYSQL: mariadb.RDS_RIGHTS
    + ", CREATE ROLE, DROP ROLE, APPLICATION_PASSWORD_ADMIN, ROLE_ADMIN, SET_ANY_DEFINER,"
    " XA_RECOVER_ADMIN",
}
"""No SUPER, no FILE, no SYSTEM_USER, no CONNECTION_ADMIN."""


@contextmanager
def rds_like(flavour: Flavour, folder: Path) -> Iterator[tuple[DatabaseServer, Path]]:
    """A server and the folder outside of its data folder into which it may write."""
    outside = folder / "outside"
    outside.mkdir()
    writable = [f"--innodb-directories={outside}"] if flavour is Flavour.MYSQL else []
    with running_server(flavour, folder, "--event-scheduler=ON", *writable) as server:
        yield server, outside
