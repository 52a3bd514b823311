"""A connection that executes a dump's statements, and where those go that are no rows."""

from collections.abc import Callable, Iterable
from typing import Protocol

import pymysql
from pymysql.constants import ER

from lcp_backup.database.endpoint import Connection
from lcp_backup.database.policy import OBJECTS, Kind, Ruling, head
from lcp_backup.database.swap import SchemaObject, describe, execute, is_lost, quote, text
from lcp_backup.errors import LoadFailed

type Where = Callable[[], str]
"""The place of a statement in the dump, found out when somebody asks."""


class Session:
    """One connection that executes a dump's statements, in transactions that its user ends."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        execute(connection, "SET SESSION unique_checks = 0")
        # A dump's row statements are about 1 MB: one commit, with its flush to disk, for many.
        execute(connection, "SET SESSION autocommit = 0")
        ((packet,),) = execute(connection, "SELECT @@max_allowed_packet")
        assert isinstance(packet, int)
        self._packet = packet

    @property
    def thread_id(self) -> int:
        """The server's number for the connection."""
        return int(self._connection.thread_id())  # type: ignore[no-untyped-call]  # stub

    def run(self, where: Where, ruling: Ruling) -> int:
        """Sends a statement and answers how many rows it changed.

        Raises LoadFailed, which names the statement by place and head, never by row data.
        """
        size = len(ruling.sql)
        if size >= self._packet:
            large = (
                f"{where()} is a statement of {size} bytes and the server takes {self._packet}:"
                " raise its max_allowed_packet"
            )
            raise LoadFailed(f"{large}: {head(ruling.sql)}", public=large)
        try:
            return self._connection.query(ruling.sql)
        except pymysql.MySQLError as error:
            # A versioned comment that is for other servers.
            if error.args and error.args[0] == ER.EMPTY_QUERY:
                return 0
            lost = "the connection was lost at" if is_lost(error) else "the server refused"
            said = describe(error, rows=ruling.kind is Kind.ROWS)
            place = f"{lost} {where()}"
            raise LoadFailed(
                f"{place}: {said}: {head(ruling.sql)}",
                public=f"{place}: {describe(error, rows=True)}",
            ) from None

    def alter(self, table: str, additions: Iterable[bytes]) -> None:
        """Adds indexes or foreign keys to a table; raises LoadFailed, which names it."""
        statement = f"ALTER TABLE {quote(table)} ".encode()
        try:
            self._connection.query(statement + b", ".join(b"ADD " + it for it in additions))
        except pymysql.MySQLError as error:
            # (Its text would quote the values of rows that are there twice.)
            raise LoadFailed(
                f"the keys of table {table!r} could not be added: {describe(error, rows=True)}"
            ) from None

    def count(self, table: str) -> int:
        """How many rows the table has."""
        try:
            ((rows,),) = execute(self._connection, f"SELECT COUNT(*) FROM {quote(table)}")  # noqa: S608 -- a quoted name
        except pymysql.MySQLError as error:
            raise LoadFailed(
                f"the rows of table {table!r} could not be counted: {describe(error)}"
            ) from None
        # The transaction would hold the table's definition, and a foreign key wait for it.
        self.commit()
        assert isinstance(rows, int)
        return rows

    def commit(self) -> None:
        """Makes what was executed durable; raises LoadFailed."""
        try:
            self._connection.commit()
        except pymysql.MySQLError as error:
            raise LoadFailed(f"rows could not be committed: {describe(error)}") from None

    def state(self) -> tuple[str, ...]:
        """All by which the session changes what a row statement or a definition means."""
        (session,) = execute(
            self._connection,
            "SELECT @@character_set_client, @@collation_connection, @@sql_mode, @@time_zone,"
            " @@foreign_key_checks, @@unique_checks",
        )
        return tuple(map(text, session))

    def object(self, ruling: Ruling) -> SchemaObject:
        """The object that a statement would create, with the session it was to be created in."""
        (session,) = execute(
            self._connection,
            "SELECT @@character_set_client, @@collation_connection, @@sql_mode, @@time_zone,"
            " @@collation_database",
        )
        return SchemaObject(ruling.kind, ruling.name, ruling.sql, *map(text, session))

    def recreate(self, schema: str) -> None:
        """Creates a schema that was dropped, and stands in it again."""
        execute(self._connection, f"CREATE DATABASE {quote(schema)}")
        self._connection.select_db(schema)


class Target(Protocol):
    """Where a dump's statements go, but for its rows."""

    @property
    def session(self) -> Session:
        """The connection it uses."""
        ...

    def take(self, where: Where, ruling: Ruling) -> None:
        """Does what the ruling says."""
        ...


class Staging:
    """The staging schema: tables now, objects for later (`keep` is told each)."""

    def __init__(self, session: Session, schema: str, keep: Callable[[SchemaObject], None]) -> None:
        self.session = session
        self._schema = schema
        self._keep = keep

    def take(self, where: Where, ruling: Ruling) -> None:
        """Does what the ruling says, in the staging schema."""
        if ruling.kind in OBJECTS:
            self._keep(self.session.object(ruling))
        elif ruling.kind in {Kind.CREATE_SCHEMA, Kind.ALTER_SCHEMA}:
            if ruling.sql.strip():
                self.session.run(where, _about(self._schema, "ALTER DATABASE", ruling))
        elif ruling.kind not in {Kind.DROP_SCHEMA, Kind.DROP_OBJECT, Kind.LOCK, *_IDLE}:
            self.session.run(where, ruling)


class InPlace:
    """The live schema: everything as the dump says."""

    def __init__(self, session: Session, schema: str) -> None:
        self.session = session
        self._schema = schema

    def take(self, where: Where, ruling: Ruling) -> None:
        """Does what the ruling says, in the live schema."""
        match ruling.kind:
            case Kind.DROP_SCHEMA:
                self.session.run(where, _about(self._schema, "DROP DATABASE IF EXISTS", ruling))
                # Nothing can be created in no schema; the dump's own CREATE finds it made.
                self.session.recreate(self._schema)
            case Kind.CREATE_SCHEMA | Kind.ALTER_SCHEMA:
                if ruling.sql.strip():
                    self.session.run(where, _about(self._schema, "ALTER DATABASE", ruling))
            case Kind.NOTHING | Kind.LEFT_OUT | Kind.LOCK:
                # Tables that one connection locks, the others could not fill.
                return
            case _:
                self.session.run(where, ruling)


_IDLE = frozenset({Kind.NOTHING, Kind.LEFT_OUT})


def _about(schema: str, what: str, ruling: Ruling) -> Ruling:
    """A statement about the dump's schema, said about the one that it is loaded into."""
    options = b"" if ruling.kind is Kind.DROP_SCHEMA else b" " + ruling.sql
    return Ruling(ruling.kind, f"{what} {quote(schema)}".encode() + options, schema)
