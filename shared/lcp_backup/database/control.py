"""The lock by which one restore at a time works on a database."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from hmac import digest
from typing import Final

from lcp_backup.database.endpoint import Connection, DatabaseEndpoint
from lcp_backup.database.sql import execute, usable, working
from lcp_backup.errors import Conflict

_LOCK_WAIT_SECONDS: Final = 90
"""Longer than a statement of a killed restore can still wait inside the server (`sql.working`)."""


@contextmanager
def controlled(endpoint: DatabaseEndpoint) -> Iterator[Connection]:
    """A connection, in no schema, that alone may stage, swap or recover this database.

    The server keeps the lock until the connection is gone on its side too: a statement that a
    killed restore left running there is never overtaken. The lock's name comes of the master's
    password, so that the site's own account cannot take it. Raises Conflict when it is held,
    DatabaseUnreachable.
    """
    with working(endpoint, None) as connection:
        lock = _lock(endpoint)
        with usable(endpoint):
            ((got,),) = execute(connection, "SELECT GET_LOCK(%s, %s)", lock, _LOCK_WAIT_SECONDS)
        if got != 1:
            raise Conflict(
                f"another restore still works on the database {endpoint.name!r}: try again later"
            )
        yield connection


@contextmanager
def if_abandoned(control: Connection, endpoint: DatabaseEndpoint) -> Iterator[bool]:
    """Whether nobody works on this database, and nobody else will while the block lasts.

    Asked without waiting, over a connection that keeps the locks it has. Raises
    pymysql.MySQLError.
    """
    lock = _lock(endpoint)
    ((got,),) = execute(control, "SELECT GET_LOCK(%s, 0)", lock)
    yield got == 1
    if got == 1:
        execute(control, "SELECT RELEASE_LOCK(%s)", lock)


def _lock(endpoint: DatabaseEndpoint) -> str:
    secret = endpoint.password.get_secret_value().encode()
    return "lcp:" + digest(secret, endpoint.name.lower().encode(), sha256).hex()[:48]
