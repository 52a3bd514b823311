"""Statements of this service's own: how they name things, run, and fail."""

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final

import pymysql
from pymysql.constants import ER

from lcp_backup.database.endpoint import Connection, DatabaseEndpoint, connect
from lcp_backup.errors import DatabaseError, DatabaseUnreachable, LoadFailed, ServerGaveUp

_TABLE_WAIT_SECONDS: Final = 60
"""How long a statement waits for a table that the site's own transactions hold."""

_SESSION: Final = (
    # A server, or its init_connect, may have given the session other ones. (PyMySQL takes MySQL's
    # greeting for the session's own autocommit.)
    "autocommit = 1",
    "completion_type = 0",
    "sql_select_limit = 18446744073709551615",
    "sql_big_selects = 1",
    "sql_safe_updates = 0",
    # Whatever the server's own mode is, names and strings are quoted as this service writes them.
    "sql_mode = ''",
    "foreign_key_checks = 0",
    # A site may set these low for its own sessions; one table's rows may take an hour.
    "wait_timeout = 28800",
    "net_read_timeout = 600",
    "net_write_timeout = 600",
)
_SESSION_OF_SOME: Final = (
    "max_execution_time = 0",  # MySQL
    "max_statement_time = 0",  # MariaDB, and those that follow
    "idle_transaction_timeout = 0",
    "idle_write_transaction_timeout = 0",
    "system_versioning_asof = DEFAULT",
)

_SYMBOLS: Final = {
    value: name for name, value in vars(ER).items() if isinstance(value, int) and name.isupper()
}
_DENIED: Final = frozenset(
    {
        ER.DBACCESS_DENIED_ERROR,
        ER.ACCESS_DENIED_ERROR,
        ER.TABLEACCESS_DENIED_ERROR,
        ER.COLUMNACCESS_DENIED_ERROR,
        ER.PROCACCESS_DENIED_ERROR,
        ER.SPECIFIC_ACCESS_DENIED_ERROR,
        1698,  # ER_ACCESS_DENIED_NO_PASSWORD_ERROR
    }
)
"""Errors by which a server says that an account may not do something."""
_GIVES_UP: Final = frozenset(
    {
        ER.DISK_FULL,
        ER.ERROR_ON_WRITE,
        ER.LOCK_DEADLOCK,
        ER.LOCK_WAIT_TIMEOUT,
        ER.OUTOFMEMORY,
        ER.OUT_OF_RESOURCES,
        ER.OUT_OF_SORTMEMORY,
        ER.RECORD_FILE_FULL,
        ER.SERVER_SHUTDOWN,
        ER.OPTION_PREVENTS_STATEMENT,
        ER.QUERY_INTERRUPTED,
        1792,  # ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
        # Its own setting, log_bin_trust_function_creators, does not allow it.
        1418,  # ER_BINLOG_UNSAFE_ROUTINE
        1419,  # ER_BINLOG_CREATE_ROUTINE_NEED_SUPER
        # Its pages or row format take less than those of the server that had the table.
        ER.TOO_LONG_KEY,
        ER.TOO_BIG_ROWSIZE,
        1836,  # ER_READ_ONLY_MODE
        3185,  # ER_CANNOT_FIND_KEY_IN_KEYRING: it encrypts new tables, and has no key
        1878,  # ER_TEMP_FILE_WRITE_FAILURE: an index is sorted in the server's temporary files
        1927,  # ER_CONNECTION_KILLED of MariaDB
    }
)
"""Errors by which a server says that it cannot go on, whatever it was asked."""


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return "`" + name.replace("`", "``") + "`"


def as_hex(value: str | bytes) -> str:
    """A string literal that holds nothing but digits, whatever the value is.

    By it a value that comes out of an archive can stand in a statement of this service's own.
    """
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    return f"CONVERT(x'{value.encode(errors='surrogateescape').hex()}' USING utf8mb4)"


def describe(error: pymysql.MySQLError, *, rows: bool = False) -> str:
    """A server's error by number, name and text; without the text, which quotes values, of rows."""
    said = "" if rows or len(error.args) < 2 else f": {error.args[1]}"  # noqa: PLR2004 (code, text)
    return numbered(error) + said


def numbered(error: pymysql.MySQLError) -> str:
    """A server's error by number and name: its text may name users, hosts and values."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    return f"error {code} ({_SYMBOLS.get(code, type(error).__name__)})"


def said_by(error: pymysql.MySQLError | DatabaseError) -> tuple[str, str]:
    """What a server, or an account that cannot be had, is told by: in the log, and in public."""
    if isinstance(error, DatabaseError):
        return str(error), error.public
    return describe(error), numbered(error)


def is_denied(error: pymysql.MySQLError) -> bool:
    """Whether the server says that the account may not do this."""
    return bool(error.args) and error.args[0] in _DENIED


def is_lost(error: pymysql.MySQLError) -> bool:
    """Whether the connection is gone: the client's own errors are numbered from 2000 to 2999."""
    code = error.args[0] if error.args else 0
    return isinstance(error, pymysql.InterfaceError) or (
        isinstance(code, int) and code // 1000 == 2  # noqa: PLR2004 -- the sentence above
    )


def load_failed(
    error: pymysql.MySQLError, message: str, *, public: str | None = None
) -> LoadFailed:
    """A failed load: ServerGaveUp where it is the server that cannot go on."""
    gave_up = is_lost(error) or (bool(error.args) and error.args[0] in _GIVES_UP)
    return (ServerGaveUp if gave_up else LoadFailed)(message, public=public)


@contextmanager
def database_errors(done: str) -> Iterator[None]:
    """Maps what the server says to this service's own statements to LoadFailed."""
    try:
        yield
    except pymysql.MySQLError as error:
        why = "the connection was lost" if is_lost(error) else "the server refused"
        raise load_failed(
            error,
            f"the dump could not be {done}: {why}: {describe(error)}",
            public=f"the dump could not be {done}: {why}: {numbered(error)}",
        ) from None


@contextmanager
def denials(account: str) -> Iterator[None]:
    """Maps what the service's own account may not do to ServerGaveUp: no dump is bad for that.

    Arguments: `account` is how it is called in the error.
    """
    try:
        yield
    except pymysql.MySQLError as error:
        if not is_denied(error):
            raise
        why = f"{account} may not do what that needs"
        raise ServerGaveUp(
            f"{why}: {describe(error)}", public=f"{why}: {numbered(error)}"
        ) from None


@contextmanager
def working(endpoint: DatabaseEndpoint, schema: str | None) -> Iterator[Connection]:
    """A connection that checks no foreign keys and gives up on a table that others hold.

    By itself a server would wait a day (MariaDB) or a year (MySQL) for it. Raises
    DatabaseUnreachable.
    """
    with closing(connect(endpoint, database=schema)) as connection:
        with usable(endpoint):
            prepare(connection)
        yield connection


@contextmanager
def usable(endpoint: DatabaseEndpoint) -> Iterator[None]:
    """Maps what fails before a connection is ready for its work to DatabaseUnreachable."""
    try:
        yield
    except pymysql.MySQLError as error:
        head = "the database server does not answer as expected"
        raise DatabaseUnreachable(
            f"{head} at {endpoint.host}:{endpoint.port}: {describe(error)}",
            public=f"{head}: {numbered(error)}",
        ) from None


def prepare(connection: Connection) -> None:
    """Gives a new connection the session in which this service works."""
    execute(connection, f"SET SESSION lock_wait_timeout = {_TABLE_WAIT_SECONDS}")
    execute(connection, "SET SESSION " + ", ".join(_SESSION))
    # A server may be set to show what is not committed: none of that counts as loaded.
    execute(connection, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE")
    for setting in _SESSION_OF_SOME:
        with suppress(pymysql.MySQLError):
            execute(connection, f"SET SESSION {setting}")


def execute(connection: Connection, sql: str, *values: object) -> tuple[tuple[object, ...], ...]:
    """Runs one statement of this service's own and answers its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return tuple(cursor.fetchall())


def execute_if_known(
    connection: Connection, sql: str, *values: object
) -> tuple[tuple[object, ...], ...]:
    """As `execute`, of a table of information_schema that not every server has; none there."""
    try:
        return execute(connection, sql, *values)
    except pymysql.MySQLError as error:
        if error.args[0] not in {ER.UNKNOWN_TABLE, ER.NO_SUCH_TABLE}:
            raise
        return ()


def max_packet(connection: Connection) -> int:
    """Bytes of the largest statement that the server takes."""
    ((packet,),) = execute(connection, "SELECT @@max_allowed_packet")
    assert isinstance(packet, int)
    return packet


def session_variable(connection: Connection, name: str) -> str | None:
    """What a setting is for this session; None where the server does not know it."""
    rows = execute(connection, "SHOW SESSION VARIABLES LIKE %s", name)
    return text(rows[0][1]) if rows else None


def text(value: object) -> str:
    """A value as text also where the session made the server answer in bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


# --- schemas ------------------------------------------------------------------


def has_schema(connection: Connection, schema: str) -> bool:
    """Whether there is such a schema."""
    return bool(
        execute(
            connection, "SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", schema
        )
    )


def has_table(connection: Connection, schema: str, table: str) -> bool:
    """Whether the schema has such a table."""
    return bool(
        execute(
            connection,
            "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
            schema,
            table,
        )
    )


def folds_case(connection: Connection) -> bool:
    """Whether two names of tables that differ only in case are one to the server."""
    ((folds,),) = execute(connection, "SELECT @@lower_case_table_names")
    return folds != 0


def tables_of(connection: Connection, schema: str) -> list[str]:
    """The schema's tables and sequences, no views, in the order of their names."""
    rows = execute(
        connection,
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
        " AND table_type NOT LIKE '%%VIEW' ORDER BY table_name",
        schema,
    )
    return [str(name) for (name,) in rows]


def check_free(connection: Connection, schema: str) -> None:
    """Makes sure that no transaction holds a table of the schema, before any of them is dropped.

    Raises LoadFailed. What may not be locked for another reason is not told.
    """
    tables = ", ".join(f"{quote(schema)}.{quote(it)} WRITE" for it in tables_of(connection, schema))
    # MariaDB asks InnoDB only so, which alone knows of a transaction that has no connection.
    waits = f"innodb_lock_wait_timeout = {_TABLE_WAIT_SECONDS}, innodb_table_locks = 1"
    execute(connection, f"SET SESSION autocommit = 0, {waits}")
    try:
        if tables:
            execute(connection, f"LOCK TABLES {tables}")
    except pymysql.MySQLError as error:
        if way_out := held(error):
            reason = f"nothing was changed{way_out}"
            raise LoadFailed(reason, public=reason) from None
        if is_lost(error):
            raise
    execute(connection, "UNLOCK TABLES")
    execute(connection, "SET SESSION autocommit = 1")


def held(error: pymysql.MySQLError) -> str:
    """What is to be done where a table was not to be had in time; nothing for other errors."""
    if error.args[0] != ER.LOCK_WAIT_TIMEOUT:
        return ""
    return (
        ": a transaction holds a live table and does not let it go. End it (XA RECOVER lists those"
        " that are prepared and belong to no connection), and restore once more"
    )


def collation_of(connection: Connection, schema: str) -> str | None:
    """The schema's default collation; None when there is no such schema."""
    rows = execute(
        connection,
        "SELECT default_collation_name FROM information_schema.schemata WHERE schema_name = %s",
        schema,
    )
    return str(rows[0][0]) if rows else None


def make_writable(connection: Connection, schema: str) -> None:
    """Takes READ ONLY off a schema, where it has that (MySQL 8.0.22).

    Only there: ALTER DATABASE waits for every transaction of the site.
    """
    options = execute_if_known(
        connection,
        "SELECT options FROM information_schema.schemata_extensions WHERE schema_name = %s",
        schema,
    )
    if any("READ ONLY=1" in text(said) for (said,) in options if said):
        execute(connection, f"ALTER DATABASE {quote(schema)} READ ONLY = 0")


def drop_if_possible(connection: Connection, schema: str) -> bool:
    """Whether there is no such schema any more."""
    with suppress(pymysql.MySQLError):
        drop_schema(connection, schema)
    return not has_schema(connection, schema)


def drop_schema(connection: Connection, schema: str) -> None:
    """Drops a schema with all it holds; does nothing when there is none.

    Raises pymysql.MySQLError where the server cannot, as for a stray file in the schema's folder.
    """
    if has_schema(connection, schema):
        make_writable(connection, schema)
        execute(connection, f"DROP DATABASE IF EXISTS {quote(schema)}")
