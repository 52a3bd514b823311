"""What the server answers a dump program: settings and rights make that less than there is.

No dump program notices. It gets a part, ends well, and what it wrote is whole to all who read it.
"""

from contextlib import closing
from typing import Final

from lcp_backup.database.endpoint import Connection, DatabaseEndpoint, Server, connect
from lcp_backup.database.grants import unseen
from lcp_backup.database.preflight import can_keep_history, some, versioned_tables
from lcp_backup.database.sql import execute, quote, session_variable, text, usable
from lcp_backup.errors import DumpFailed

_LEAST_LIMIT: Final = 2**32 - 1
"""Rows; what no table of a site has. The default is that of 64 bits."""
_AS_OF: Final = "system_versioning_asof"
_SHOW_KEYS: Final = "show_gipk_in_create_table_and_information_schema"


def check_answers(endpoint: DatabaseEndpoint, server: Server, program_version: str) -> None:
    """Raises DumpFailed where the dump program would get less than what the schema holds.

    Asked over a session as the server gives it to anybody. Raises DatabaseUnreachable.

    Arguments: `program_version` is the dump program's, such as `10.11.6`.
    """
    with closing(connect(endpoint, database=endpoint.name)) as connection, usable(endpoint):
        _check_limit(connection)
        # (With their history, a dump asks for all rows that there ever were.)
        if not can_keep_history(server, program_version):
            _check_moment(connection, endpoint.name)
        _check_keys_shown(connection, endpoint.name)
        # In a mode of its own (ANSI_QUOTES), a server would quote names otherwise.
        execute(connection, "SET SESSION sql_mode = ''")
        _check_rights(connection, endpoint.name)


def _check_limit(connection: Connection) -> None:
    ((limit,),) = execute(connection, "SELECT @@SESSION.sql_select_limit")
    if int(text(limit)) < _LEAST_LIMIT:
        raise _failed(
            f"the server answers no query with more than {limit} rows (sql_select_limit), so a dump"
            " would hold no more of any table",
            way_out="set sql_select_limit to its default",
        )


def _check_moment(connection: Connection, schema: str) -> None:
    moment = session_variable(connection, _AS_OF)
    if moment not in {None, "DEFAULT"} and (tables := versioned_tables(connection, schema)):
        raise _failed(
            f"of system-versioned tables the server answers with the rows of {moment} ({_AS_OF}),"
            f" so a dump would hold these and not today's: {some(tables)}",
            way_out=f"set {_AS_OF} to DEFAULT",
        )


def _check_keys_shown(connection: Connection, schema: str) -> None:
    """MySQL 8.0.30 can give a table without a primary key one that nobody sees."""
    if session_variable(connection, _SHOW_KEYS) != "OFF":
        return
    execute(connection, f"SET SESSION {_SHOW_KEYS} = ON")
    rows = execute(
        connection,
        "SELECT table_name FROM information_schema.columns WHERE table_schema = %s"
        " AND column_name = 'my_row_id' AND column_key = 'PRI' AND extra LIKE '%%INVISIBLE%%'"
        " ORDER BY table_name",
        schema,
    )
    if rows:
        raise _failed(
            f"the server does not show the primary keys that it made itself ({_SHOW_KEYS}), so a"
            f" dump would be without those of {some([text(name) for (name,) in rows])}",
            way_out=f"set {_SHOW_KEYS} to ON",
        )


def _check_rights(connection: Connection, schema: str) -> None:
    if lacking := unseen(connection, schema):
        told = (
            f"the account may not see all {', '.join(lacking)} of the database, and a dump leaves"
            f" out what it does not see: GRANT {', '.join(lacking.values())} ON {quote(schema)}.*"
            " TO it (LCP_MASTER_USER_NAME)"
        )
        raise DumpFailed(told, public=told)


def _failed(reason: str, *, way_out: str) -> DumpFailed:
    told = f"{reason}: {way_out} in the server's parameters, and in init_connect"
    return DumpFailed(told, public=told)
