"""A dump into the database: beside the live schema and swapped in, or straight over it.

Statements travel by the wire protocol as the bytes they are in the dump: nothing here decodes or
encodes row data. The dump's own SET NAMES tells the server what they mean.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import pymysql
from pymysql.constants import ER

from lcp_backup.database.endpoint import Connection, DatabaseEndpoint
from lcp_backup.database.policy import OBJECTS, Kind, Policy, Ruling, head
from lcp_backup.database.statements import Statement, StatementSplitter
from lcp_backup.database.swap import (
    Between,
    SchemaObject,
    controlled,
    create_staging,
    describe,
    discard,
    execute,
    is_lost,
    journal_object,
    quote,
    recover,
    staging_name,
    swap,
    tables_of,
    text,
    try_objects,
    working,
)
from lcp_backup.errors import LoadFailed

__all__ = ["Loaded", "StagedDatabase", "overwrite", "recover", "stage"]

_COMMIT_BYTES: Final = 32 * 1024 * 1024
"""Row bytes in one transaction: few enough for the undo log, enough that commits cost nothing."""


@dataclass(frozen=True)
class Loaded:
    """What was loaded."""

    tables: tuple[str, ...]
    statements: int
    left_out: tuple[str, ...]
    """Heads of statements that need rights a managed server does not give, each once."""


class StagedDatabase:
    """A whole dump in the staging schema: to be swapped in, or thrown away."""

    def __init__(self, endpoint: DatabaseEndpoint, loaded: Loaded) -> None:
        self._endpoint = endpoint
        self._loaded = loaded
        self._open = True

    def swap(self, between: Between | None = None) -> Loaded:
        """Makes it the live schema, exactly as the dump says; what was there before is gone.

        The tables change at one moment. Before it, a failure leaves the live schema as it was;
        after it, the next `recover` finishes what a killed swap left.
        `between` is told each step's name before it is taken.
        Raises LoadFailed, Conflict, DatabaseUnreachable.
        """
        self._open = False
        swap(self._endpoint, between)
        return self._loaded

    def discard(self) -> None:
        """Throws it away; does nothing after a swap (then `recover` knows what is to do)."""
        if not self._open:
            return
        self._open = False
        with controlled(self._endpoint) as control:
            try:
                discard(control, self._endpoint)
            except pymysql.MySQLError as error:
                raise LoadFailed(
                    f"the staged database could not be dropped: {describe(error)}"
                ) from None


def stage(
    endpoint: DatabaseEndpoint,
    raw: Iterable[bytes],
    *,
    dumped_name: str,
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> StagedDatabase:
    """Loads a dump beside the live schema, which it does not touch.

    Views, triggers, routines and events are tried (events are not: they would run) and kept for
    the swap. Whatever an unfinished restore left is recovered first.

    Args:
        endpoint: the live database; its schema need not exist yet.
        raw: the dump's bytes, cut anywhere.
        dumped_name: the schema the dump was made of; its statements are for `endpoint.name`.
        progress: told the raw bytes of every chunk once they are loaded.
        check: called before every statement; raises to stop.

    Raises LoadFailed (a statement failed, a table is missing, the connection was lost),
    ArchiveRefused (the dump says what no dump says), Conflict, DatabaseUnreachable.
    """
    recover(endpoint)
    staging = staging_name(endpoint)
    with controlled(endpoint) as control:
        try:
            create_staging(control, endpoint)
            with working(endpoint, staging) as connection:
                target = _Staging(
                    connection, staging, lambda it: journal_object(control, endpoint, it)
                )
                loaded = _load(target, raw, dumped_name, progress, check)
            _verify(loaded.tables, tables_of(control, staging))
            try_objects(control, endpoint, dumped_name)
        except BaseException as error:
            # A connection that is gone leaves the rest to the next `recover`.
            with suppress(pymysql.MySQLError):
                discard(control, endpoint)
            if isinstance(error, pymysql.MySQLError):
                raise LoadFailed(f"the dump could not be staged: {describe(error)}") from None
            raise
    return StagedDatabase(endpoint, loaded)


def overwrite(
    endpoint: DatabaseEndpoint,
    raw: Iterable[bytes],
    *,
    dumped_name: str,
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> Loaded:
    """Executes a dump over the live schema: less space, and no way back from a failure.

    Arguments and errors are those of `stage`.
    """
    recover(endpoint)
    with controlled(endpoint) as control:
        try:
            execute(control, f"CREATE DATABASE IF NOT EXISTS {quote(endpoint.name)}")
            with working(endpoint, endpoint.name) as connection:
                loaded = _load(
                    _InPlace(connection, endpoint.name), raw, dumped_name, progress, check
                )
            _verify(loaded.tables, tables_of(control, endpoint.name))
        except pymysql.MySQLError as error:
            raise LoadFailed(f"the dump could not be loaded: {describe(error)}") from None
    return loaded


class _Target(Protocol):
    """Where a dump's statements go."""

    def take(self, statement: Statement, ruling: Ruling) -> None:
        """Does what the ruling says."""
        ...

    def end(self) -> None:
        """Makes all that was taken durable."""
        ...


def _load(
    target: _Target,
    raw: Iterable[bytes],
    dumped_name: str,
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> Loaded:
    policy = Policy(dumped_name)
    tables: dict[str, None] = {}
    left_out: dict[str, None] = {}
    count = 0

    def take(statements: Iterable[Statement]) -> None:
        nonlocal count
        for statement in statements:
            check()
            ruling = policy.judge(statement)
            count += 1
            if ruling.creates:
                tables[ruling.name] = None
            elif ruling.drops:
                tables.pop(ruling.name, None)
            if ruling.kind is Kind.LEFT_OUT:
                left_out[head(statement.text)] = None
            elif ruling.kind is not Kind.NOTHING:
                target.take(statement, ruling)

    splitter = StatementSplitter()
    for chunk in raw:
        take(splitter.feed(chunk))
        progress(len(chunk))
    take(splitter.close())
    target.end()
    if not tables:
        raise LoadFailed("the dump creates no table: it would leave an empty site")
    return Loaded(tuple(tables), count, tuple(left_out))


def _verify(expected: Iterable[str], found: Iterable[str]) -> None:
    # A server may keep names in lower case (lower_case_table_names).
    there = {name.lower() for name in found}
    missing = [name for name in expected if name.lower() not in there]
    if missing:
        raise LoadFailed(
            f"{len(missing)} tables of the dump are missing after the load: {missing[0]!r}"
        )


class _Session:
    """One connection that executes a dump's statements in one schema."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._uncommitted = 0
        execute(connection, "SET SESSION unique_checks = 0")
        # A dump's row statements are about 1 MB: one commit, with its flush to disk, for many.
        execute(connection, "SET SESSION autocommit = 0")
        ((packet,),) = execute(connection, "SELECT @@max_allowed_packet")
        assert isinstance(packet, int)
        self._packet = packet

    def run(self, statement: Statement, ruling: Ruling) -> None:
        """Sends a statement; raises LoadFailed, which names it by line and head."""
        rows = ruling.kind is Kind.ROWS
        size = len(ruling.sql)
        if size >= self._packet:
            raise LoadFailed(
                f"{statement.where} is a statement of {size} bytes and the server"
                f" takes {self._packet}: raise its max_allowed_packet: {head(statement.text)}"
            )
        try:
            self._connection.query(ruling.sql)
            if rows:
                self._uncommitted += size
                if self._uncommitted >= _COMMIT_BYTES:
                    self.commit()
        except pymysql.MySQLError as error:
            # A versioned comment that is for other servers.
            if error.args and error.args[0] == ER.EMPTY_QUERY:
                return
            lost = "the connection was lost at" if is_lost(error) else "the server refused"
            raise LoadFailed(
                f"{lost} {statement.where}: {describe(error, rows=rows)}: {head(statement.text)}"
            ) from None

    def commit(self) -> None:
        self._connection.commit()
        self._uncommitted = 0

    def object(self, ruling: Ruling) -> SchemaObject:
        """The object that a statement would create, with the session it was to be created in."""
        (session,) = execute(
            self._connection,
            "SELECT @@character_set_client, @@collation_connection, @@sql_mode, @@time_zone,"
            " @@collation_database",
        )
        return SchemaObject(ruling.kind, ruling.name, ruling.sql, *map(text, session))


class _Staging(_Session):
    """The staging schema: tables and rows now, objects for later."""

    def __init__(
        self, connection: Connection, schema: str, keep: Callable[[SchemaObject], None]
    ) -> None:
        super().__init__(connection)
        self._schema = schema
        self._keep = keep

    def take(self, statement: Statement, ruling: Ruling) -> None:
        if ruling.kind in OBJECTS:
            self._keep(self.object(ruling))
        elif ruling.kind in {Kind.CREATE_SCHEMA, Kind.ALTER_SCHEMA}:
            if ruling.sql.strip():
                self.run(statement, _about(self._schema, "ALTER DATABASE", ruling))
        elif ruling.kind not in {Kind.DROP_SCHEMA, Kind.DROP_OBJECT, Kind.LOCK}:
            self.run(statement, ruling)

    def end(self) -> None:
        self.commit()


class _InPlace(_Session):
    """The live schema: everything as the dump says."""

    def __init__(self, connection: Connection, schema: str) -> None:
        super().__init__(connection)
        self._schema = schema

    def take(self, statement: Statement, ruling: Ruling) -> None:
        match ruling.kind:
            case Kind.DROP_SCHEMA:
                self.run(statement, _about(self._schema, "DROP DATABASE IF EXISTS", ruling))
                # Nothing can be created in no schema; the dump's own CREATE finds it made.
                execute(self._connection, f"CREATE DATABASE {quote(self._schema)}")
                self._connection.select_db(self._schema)
            case Kind.CREATE_SCHEMA | Kind.ALTER_SCHEMA:
                if ruling.sql.strip():
                    self.run(statement, _about(self._schema, "ALTER DATABASE", ruling))
            case _:
                self.run(statement, ruling)

    def end(self) -> None:
        self.commit()


def _about(schema: str, what: str, ruling: Ruling) -> Ruling:
    """A statement about the dump's schema, said about the one that it is loaded into."""
    options = b"" if ruling.kind is Kind.DROP_SCHEMA else b" " + ruling.sql
    return Ruling(ruling.kind, f"{what} {quote(schema)}".encode() + options, schema)
