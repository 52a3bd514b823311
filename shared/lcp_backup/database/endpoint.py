"""Where the database is, how to reach it, and what kind of server answers there."""

import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import pymysql
import pymysql.cursors
from pydantic import SecretStr
from pymysql.constants import CR, ER

from lcp_backup.database.local_infile import LoadingConnection
from lcp_backup.errors import DatabaseUnreachable

type Connection = pymysql.Connection[pymysql.cursors.Cursor]

_CONNECT_TIMEOUT_SECONDS: Final = 10
_WRONG_LOGIN: Final = {
    ER.ACCESS_DENIED_ERROR,
    # MySQL 9: ER_ACCESS_DENIED_NO_PASSWORD_ERROR
    1698,
}


@dataclass(frozen=True)
class DatabaseEndpoint:
    """One schema on one server, and the login for it. Its representation shows no password."""

    host: str
    port: int
    user: str
    password: SecretStr
    name: str
    """The schema, `LCP_DBNAME`."""


class Flavour(StrEnum):
    """Whose server or client program it is: their dumps are alike, but not the same."""

    MYSQL = "mysql"
    MARIADB = "mariadb"

    @classmethod
    def of(cls, version: str) -> "Flavour":
        """The flavour that a version text tells; only MariaDB's names its maker every time."""
        return cls.MARIADB if "mariadb" in version.lower() else cls.MYSQL


@dataclass(frozen=True)
class Server:
    """What answers at an endpoint."""

    flavour: Flavour
    version: str
    """As the server says it, such as `10.11.19-MariaDB-0+deb12u1` or `9.7.1`."""


def connect(
    endpoint: DatabaseEndpoint, *, database: str | None, local_infile: bool = False
) -> LoadingConnection:
    """An open connection that commits every statement, speaks utf8mb4 and trusts no server much.

    The server cannot ask for local files, and one query is one statement. TLS is used when the
    server offers it; its certificate is not checked.

    Args:
        endpoint: where to connect. Its `name` is used only in error messages.
        database: the schema to use, or None for no schema.
        local_infile: whether the connection's `load_rows` is to be used.

    Raises DatabaseUnreachable, which says what is wrong and which variable to look at.
    """
    try:
        return LoadingConnection(
            host=endpoint.host,
            port=endpoint.port,
            user=endpoint.user,
            # Given as text, PyMySQL would encode it as Latin-1.
            password=endpoint.password.get_secret_value().encode(),
            database=database,
            charset="utf8mb4",
            autocommit=True,
            local_infile=local_infile,
            connect_timeout=_CONNECT_TIMEOUT_SECONDS,
        )
    except pymysql.MySQLError as error:
        raise DatabaseUnreachable(_reason(endpoint, database, error)) from None


def ask_server(connection: Connection) -> Server:
    """What kind of server the connection leads to."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT VERSION(), @@version_comment")
        row = cursor.fetchone()
    assert row is not None
    version, comment = (str(value) for value in row)
    return Server(Flavour.of(f"{version} {comment}"), version)


def generated_columns(connection: Connection, schema: str) -> tuple[str, ...]:
    """The schema's generated columns as `table.column`, in order.

    `EXTRA LIKE '%GENERATED%'` would also find DEFAULT_GENERATED, which is no generated column.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = %s AND generation_expression <> ''"
            " ORDER BY table_name, ordinal_position",
            (schema,),
        )
        return tuple(f"{table}.{column}" for table, column in cursor.fetchall())


def _reason(endpoint: DatabaseEndpoint, database: str | None, error: pymysql.MySQLError) -> str:
    code = error.args[0] if error.args else 0
    place = f"{endpoint.host}:{endpoint.port}"
    if code in _WRONG_LOGIN:
        return (
            f"the server at {place} refused the login of {endpoint.user!r}:"
            " check LCP_MASTER_USER_NAME and LCP_MASTER_USER_PASSWORD"
        )
    if code == ER.BAD_DB_ERROR:
        return f"the server at {place} has no database {database!r}: check LCP_DBNAME"
    if code == ER.DBACCESS_DENIED_ERROR:
        return (
            f"{endpoint.user!r} may not use the database {database!r} at {place}:"
            " check LCP_DBNAME and LCP_MASTER_USER_NAME"
        )
    cause = getattr(error, "original_exception", None)
    if code == CR.CR_CONN_HOST_ERROR and isinstance(cause, OSError):
        return f"{_silence(endpoint, place, cause)}: check LCP_DATABASE_SERVICE"
    # The server's own text names no password, and is all there is to go by.
    said = error.args[1] if len(error.args) > 1 else error
    return f"the database server at {place} does not answer as expected ({code}: {said})"


def _silence(endpoint: DatabaseEndpoint, place: str, cause: OSError) -> str:
    if isinstance(cause, socket.gaierror):
        return f"there is no host {endpoint.host!r}"
    if isinstance(cause, ConnectionRefusedError):
        return f"no database server listens at {place}"
    if isinstance(cause, TimeoutError):
        return (
            f"{place} did not answer within {_CONNECT_TIMEOUT_SECONDS} seconds (a security group"
            " that does not let the function in looks like this)"
        )
    return f"{place} cannot be reached ({cause})"
