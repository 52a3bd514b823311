"""A connection over which LOAD DATA LOCAL INFILE reads rows out of memory, and never a file.

In the protocol it is the server that asks for a file, by name, as its answer to any statement
(https://dev.mysql.com/doc/refman/en/load-data-local-security.html). So that name means nothing
here: what goes out are the rows that `load_rows` was given, once, or nothing at all.

It builds on what is inside PyMySQL, which offers no other way to send what is not a file.
"""

import ssl
from collections.abc import Callable
from typing import Final, NamedTuple

import pymysql.connections
from pymysql.constants import CR
from pymysql.err import OperationalError

from lcp_backup.database import tls
from lcp_backup.setting_values import DatabaseTls

_PACKET_BYTES: Final = 512 * 1024
"""Half of the least `max_allowed_packet` that a server has by default."""

ROWS_TRAVEL_AS_STATEMENTS: Final = (
    "the database server does not allow LOAD DATA LOCAL INFILE, so rows travel as INSERT"
    " statements, which is slower: set local_infile = 1 in the server's parameter group"
)
"""The notice for when `allows_local_infile` says no."""


class LoadedRows(NamedTuple):
    """What a server says of the rows that it was sent."""

    rows: int
    """How many it stored."""
    warnings: int
    """LOCAL turns errors into warnings: a duplicate key, a value that does not fit. (A server
    counts up to 65,535.)"""


class LoadingConnection(pymysql.connections.Connection):
    """A PyMySQL connection that can load rows, and gives a server nothing else that it asks for.

    A request for a file while no rows are to be sent is answered with an empty one; then the
    connection is closed and OperationalError raised. That is so whether `local_infile` is on or
    not: a server may ask uninvited.
    """

    _announced: memoryview | None = None
    """What the statement under way may read."""

    # PyMySQL's own; its stubs leave them out.
    _next_seq_id: int
    _write_bytes: Callable[[bytes | memoryview], None]
    _force_close: Callable[[], None]
    _read_timeout: float | None

    def wait_without_limit(self) -> None:
        """From now on an answer may take as long as it takes."""
        self._read_timeout = None

    def load_rows(self, statement: bytes, text: memoryview) -> LoadedRows:
        """Executes a LOAD DATA LOCAL INFILE statement that reads `text`, which is not copied.

        Needs `local_infile` on this connection and on the server. Raises pymysql.MySQLError; also
        when the server did not read the rows.
        """
        self._announced = text.cast("B")
        try:
            rows = self.query(statement)
            if self._announced is not None:
                raise self._abandoned("the server did not ask for the rows that it was to load")
        finally:
            self._announced = None
        return LoadedRows(rows, self._result.warning_count)

    def send_rows(self) -> None:
        """Answers a server that asks for a file (for `_Result`, whatever name it asks for)."""
        rows, self._announced = self._announced, None
        if rows is None:
            self.write_packet(b"")
            raise self._abandoned("the server asked for a local file that no statement was to load")
        for at in range(0, len(rows), _PACKET_BYTES):
            packet = rows[at : at + _PACKET_BYTES]
            # As `write_packet` does, but without a copy of the rows.
            self._write_bytes(len(packet).to_bytes(3, "little") + bytes([self._next_seq_id]))
            self._write_bytes(packet)
            self._next_seq_id = (self._next_seq_id + 1) % 256
        self.write_packet(b"")

    def _abandoned(self, reason: str) -> OperationalError:
        self._force_close()
        return OperationalError(CR.CR_MALFORMED_PACKET, reason)

    def _create_ssl_ctx(self, asked: object) -> ssl.SSLContext | None:
        # Without a context, PyMySQL reads all of the system's authorities (17 ms a connection) and
        # believes any server all the same.
        if isinstance(asked, ssl.SSLContext):
            return asked
        return tls.context(DatabaseTls.REQUIRED, None)

    def _read_query_result(self, unbuffered: bool = False) -> int | None:
        # PyMySQL's own, but for the class of the result.
        self._result = None
        result = _Result(self)
        if unbuffered:
            result.init_unbuffered_query()
        else:
            result.read()
        self._result = result
        if result.server_status is not None:
            self.server_status = result.server_status
        return result.affected_rows


class _Result(pymysql.connections.MySQLResult):
    _read_ok_packet: Callable[[object], None]

    def _read_load_local_packet(self, _request: object) -> None:
        connection = self.connection
        assert isinstance(connection, LoadingConnection)
        connection.send_rows()
        answer = connection._read_packet()  # type: ignore[no-untyped-call]  # stub
        if not answer.is_ok_packet():
            raise connection._abandoned("the server did not say what became of the rows")
        self._read_ok_packet(answer)


def allows_local_infile(connection: pymysql.connections.Connection) -> bool:
    """Whether the server takes LOAD DATA LOCAL INFILE at all."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@GLOBAL.local_infile")
        row = cursor.fetchone()
    assert row is not None
    return bool(row[0])
