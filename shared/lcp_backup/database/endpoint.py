"""Where the database is, how to reach it, and what kind of server answers there."""

import socket
import ssl
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import pymysql
import pymysql.cursors
from pydantic import SecretStr
from pymysql.constants import CR, ER

from lcp_backup.database import tls
from lcp_backup.database.local_infile import LoadingConnection
from lcp_backup.errors import DatabaseUnreachable
from lcp_backup.setting_values import DatabaseTls

type Connection = pymysql.Connection[pymysql.cursors.Cursor]

_CONNECT_TIMEOUT_SECONDS: Final = 10
_LOGIN_TIMEOUT_SECONDS: Final = 30
"""For each answer until the login is done; what a statement takes afterwards is not limited."""
_WRONG_LOGIN: Final = {
    ER.ACCESS_DENIED_ERROR,
    # MySQL 9: ER_ACCESS_DENIED_NO_PASSWORD_ERROR
    1698,
}
_TLS_DEMANDED: Final = 3159
"""ER_SECURE_TRANSPORT_REQUIRED, of both makers."""
_CLEAR_TEXT_PLUGINS: Final = ("mysql_clear_password", "dialog")
_BROKEN_PLUGIN: Final = "mysql_old_password"


@dataclass(frozen=True)
class DatabaseEndpoint:
    """One schema on one server, and the login for it. Its representation shows no password."""

    host: str
    port: int
    user: str
    password: SecretStr
    name: str
    """The schema, `LCP_DBNAME`."""
    tls: DatabaseTls = DatabaseTls.PREFERRED
    ca: str | None = field(default=None, repr=False)
    """The certificates to believe, in PEM form; VERIFY_IDENTITY needs them, nothing else does."""


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
    encrypted: bool = False
    """Whether the connection that asked is; a dump program is told to do likewise."""


def connect(
    endpoint: DatabaseEndpoint, *, database: str | None, local_infile: bool = False
) -> LoadingConnection:
    """An open connection that commits every statement, speaks utf8mb4 and trusts no server much.

    The server cannot ask for local files, and one query is one statement. TLS is as the endpoint
    says. A server that asks for the password in clear text is answered over TLS only, and one that
    wants it as before MySQL 4.1 (`mysql_old_password`) never.

    Args:
        endpoint: where to connect. Its `name` is used only in error messages.
        database: the schema to use, or None for no schema.
        local_infile: whether the connection's `load_rows` is to be used.

    Raises DatabaseUnreachable, which says what is wrong and which variable to look at.
    """
    try:
        connection = LoadingConnection(
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
            read_timeout=_LOGIN_TIMEOUT_SECONDS,
            # Without a context PyMySQL encrypts when the server offers it, and checks nothing.
            ssl=tls.context(endpoint.tls, endpoint.ca),
            ssl_disabled=endpoint.tls is DatabaseTls.DISABLED,
            auth_plugin_map={
                **dict.fromkeys(_CLEAR_TEXT_PLUGINS, _refuse_without_tls),
                _BROKEN_PLUGIN: _refuse_broken_plugin,
            },
        )
    except pymysql.MySQLError as error:
        raise DatabaseUnreachable(_reason(endpoint, database, error)) from None
    except RuntimeError as error:
        # (PyMySQL's, for a plugin that needs a library which is not in the layer: ed25519.)
        raise DatabaseUnreachable(
            f"{endpoint.user!r} logs in at {endpoint.host}:{endpoint.port} by a plugin that this"
            f" service does not have ({error}): give the account another, such as"
            " caching_sha2_password or mysql_native_password"
        ) from None
    connection.wait_without_limit()
    return connection


def ask_server(connection: Connection) -> Server:
    """What kind of server the connection leads to."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT VERSION(), @@version_comment")
        row = cursor.fetchone()
    assert row is not None
    version, comment = (str(value) for value in row)
    return Server(Flavour.of(f"{version} {comment}"), version, _is_encrypted(connection))


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


def _is_encrypted(connection: Connection) -> bool:
    # PyMySQL does not say it in public; by this it decides itself what it may send.
    return bool(getattr(connection, "_secure", False))


def _refuse_without_tls(connection: Connection) -> None:
    """Stands where PyMySQL wants a plugin's class; none made means that PyMySQL's own is used."""
    if not _is_encrypted(connection):
        raise pymysql.OperationalError(
            CR.CR_AUTH_PLUGIN_ERR,
            "the server asks for the password in clear text, and the connection is not encrypted;"
            " switch TLS on at the server, and do not set LCP_DATABASE_TLS to DISABLED",
        )


def _refuse_broken_plugin(_: Connection) -> None:
    raise pymysql.OperationalError(
        CR.CR_AUTH_PLUGIN_ERR,
        "the server asks for the password as before MySQL 4.1, which gives it away; set it anew"
        " there, with another authentication plugin",
    )


def _reason(endpoint: DatabaseEndpoint, database: str | None, error: pymysql.MySQLError) -> str:
    code = error.args[0] if error.args else 0
    place = f"{endpoint.host}:{endpoint.port}"
    if code in _WRONG_LOGIN:
        # The server does not tell an account that demands TLS from one whose password is wrong.
        also = " (and LCP_DATABASE_TLS)" if endpoint.tls is DatabaseTls.DISABLED else ""
        return (
            f"the server at {place} refused the login of {endpoint.user!r}:"
            f" check LCP_MASTER_USER_NAME and LCP_MASTER_USER_PASSWORD{also}"
        )
    if code == ER.BAD_DB_ERROR:
        return f"the server at {place} has no database {database!r}: check LCP_DBNAME"
    if code == ER.DBACCESS_DENIED_ERROR:
        return (
            f"{endpoint.user!r} may not use the database {database!r} at {place}:"
            " check LCP_DBNAME and LCP_MASTER_USER_NAME"
        )
    cause = getattr(error, "original_exception", None)
    # The server's own text names no password, and is all there is to go by.
    said = error.args[1] if len(error.args) > 1 else error
    if refused := _insecure(endpoint.tls, place, code, cause) or (
        f"no login at {place}: {said}" if code == CR.CR_AUTH_PLUGIN_ERR else None
    ):
        return refused
    if code == CR.CR_CONN_HOST_ERROR and isinstance(cause, OSError):
        return f"{_silence(endpoint, place, cause)}: check LCP_DATABASE_SERVICE"
    return f"the database server at {place} does not answer as expected ({code}: {said})"


def _insecure(mode: DatabaseTls, place: str, code: int, cause: object) -> str | None:
    """What is wrong when there is no connection as LCP_DATABASE_TLS wants it."""
    if code == CR.CR_SSL_CONNECTION_ERROR:
        return (
            f"the server at {place} offers no TLS and LCP_DATABASE_TLS is {mode}: switch TLS on"
            " there, or set the variable to PREFERRED"
        )
    if code == _TLS_DEMANDED:
        return (
            f"the server at {place} demands TLS and LCP_DATABASE_TLS is {mode}: set the variable to"
            " VERIFY_IDENTITY or REQUIRED"
        )
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"the certificate of the server at {place} is refused ({cause.verify_message}): name"
            " the authority that it comes from by LCP_DATABASE_CA, and the server by a host name"
            " that is in the certificate"
        )
    if isinstance(cause, ssl.SSLError):
        return (
            f"no TLS connection to the server at {place} came about ({cause.reason}): it must offer"
            " TLS 1.2 or newer, or LCP_DATABASE_TLS be DISABLED"
        )
    return None


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
