"""A loader's connection that executes a dump's statements, and where those go that are no rows."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

import pymysql
from pymysql.constants import ER

from lcp_backup.database.journal import Journal, StoredCode
from lcp_backup.database.local_infile import LoadingConnection
from lcp_backup.database.policy import head
from lcp_backup.database.rows import RowPlan, only_literals
from lcp_backup.database.rulings import STORED_CODE, Ruling, StatementKind
from lcp_backup.database.sql import (
    describe,
    execute,
    is_denied,
    is_lost,
    load_failed,
    max_packet,
    numbered,
    quote,
    text,
)
from lcp_backup.errors import ArchiveRefused, LoadFailed

_INVALID_DATES: Final = "ALLOW_INVALID_DATES"
_OR_REPLACE: Final = re.compile(rb"CREATE\s+OR\s+REPLACE\b", re.IGNORECASE)
_OF_TABLES: Final = frozenset({StatementKind.ROWS, StatementKind.TABLE})

type Where = Callable[[], str]
"""The place of a statement in the dump, found out when somebody asks."""


class Session:
    """One connection that executes a dump's statements, in transactions that its user ends.

    It is the loader's: what the server lets that account do is all that a statement can do.
    """

    def __init__(self, connection: LoadingConnection) -> None:
        self._connection = connection
        # A dump's row statements are about 1 MB: one commit, with its flush to disk, for many.
        execute(connection, "SET SESSION autocommit = 0")
        with suppress(pymysql.MySQLError):
            # MariaDB 10.11: of a versioned table, a dump may give when a row was valid.
            execute(connection, "SET SESSION system_versioning_insert_history = 1")
        self._packet = max_packet(connection)
        self._mode: str | None = None
        """The SQL mode that a dump gave the session, while another one is in its place."""

    @property
    def thread_id(self) -> int:
        """The server's number for the connection."""
        return int(self._connection.thread_id())  # type: ignore[no-untyped-call]  # stub

    @property
    def character_set(self) -> str:
        """The character set of what the client sends; empty where the server converts literals.

        (A character that the set between has not is then lost in a statement, and not in data.)
        """
        asked = "SELECT @@character_set_client, @@character_set_connection"
        ((name, between),) = execute(self._connection, asked)
        return text(name) if between == name else ""

    def run(self, where: Where, ruling: Ruling) -> int:
        """Sends a statement and answers how many rows it changed.

        Raises LoadFailed, which names the statement by place and head, never by row data;
        ArchiveRefused for a row statement that holds more than literals.
        """
        if ruling.kind is StatementKind.ROWS:
            _check_literals(where, ruling)
        size = len(ruling.sql)
        if size >= self._packet:
            large = (
                f"{where()} is a statement of {size} bytes and the server takes {self._packet}:"
                " raise its max_allowed_packet"
            )
            raise LoadFailed(f"{large}: {head(ruling.sql)}", public=large)
        try:
            self._allow_invalid_dates(ruling.kind in _OF_TABLES)
            return self._connection.query(ruling.sql)
        except pymysql.MySQLError as error:
            # A versioned comment that is for other servers.
            if error.args and error.args[0] == ER.EMPTY_QUERY:
                return 0
            lost = "the connection was lost at" if is_lost(error) else "the server refused"
            if is_denied(error):
                lost = "the loader, which has rights on the staging schema only, was refused"
            said = describe(error, rows=ruling.kind is StatementKind.ROWS)
            place = f"{lost} {where()}"
            raise load_failed(
                error,
                f"{place}: {said}: {head(ruling.sql)}",
                public=f"{place}: {describe(error, rows=True)}",
            ) from None

    def load(self, where: Where, plan: RowPlan, ruling: Ruling) -> int | None:
        """Sends a statement's rows as data; answers how many there are, all of them in the table.

        None when they have to travel as a statement instead: they do not fit the table's columns
        as data, or the server took them otherwise than they were counted. What it took then has to
        be rolled back. Raises LoadFailed when the connection is lost.
        """
        rows = plan.read(ruling.sql, ruling.values_at)
        if rows is None:
            return None
        try:
            self._allow_invalid_dates(True)
            done = self._connection.load_rows(rows.statement, rows.text)
        except pymysql.MySQLError as error:
            if not is_lost(error):
                return None
            reason = f"the connection was lost at {where()}: {numbered(error)}"
            raise load_failed(error, reason, public=reason) from None
        return rows.count if done == (rows.count, 0) else None

    def alter(self, table: str, additions: Iterable[bytes]) -> None:
        """Adds indexes or foreign keys to a table; raises LoadFailed, which names it."""
        statement = f"ALTER TABLE {quote(table)} ".encode()
        try:
            self._allow_invalid_dates(True)
            self._connection.query(statement + b", ".join(b"ADD " + it for it in additions))
        except pymysql.MySQLError as error:
            # (Its text would quote the values of rows that are there twice.)
            reason = f"the keys of table {table!r} could not be added: {numbered(error)}"
            raise load_failed(error, reason, public=reason) from None

    def count(self, table: str) -> int:
        """How many rows the table has."""
        try:
            ((rows,),) = execute(self._connection, f"SELECT COUNT(*) FROM {quote(table)}")  # noqa: S608 -- a quoted name
        except pymysql.MySQLError as error:
            raise load_failed(
                error, f"the rows of table {table!r} could not be counted: {describe(error)}"
            ) from None
        # The transaction would hold the table's definition, and a foreign key wait for it.
        self.commit()
        assert isinstance(rows, int)
        return rows

    def note(self, sql: str) -> tuple[tuple[object, ...], ...]:
        """Executes a statement of this service's own, in the transaction of the rows.

        Raises pymysql.MySQLError.
        """
        return execute(self._connection, sql)

    @contextmanager
    def alone_at(self, lock: str) -> Iterator[bool]:
        """Whether nobody else has this lock of the server's, nor gets it during the block.

        Raises LoadFailed.
        """
        got = self._asked_of_lock(f"SELECT GET_LOCK('{lock}', 0)")
        yield got == 1
        if got == 1:
            self._asked_of_lock(f"SELECT RELEASE_LOCK('{lock}')")

    def _asked_of_lock(self, sql: str) -> object:
        try:
            ((answer,),) = self.note(sql)
        except pymysql.MySQLError as error:
            raise load_failed(error, f"a lock could not be had: {describe(error)}") from None
        return answer

    def commit(self) -> None:
        """Makes what was executed durable; raises LoadFailed."""
        try:
            self._connection.commit()
        except pymysql.MySQLError as error:
            raise load_failed(error, f"rows could not be committed: {describe(error)}") from None

    def rollback(self) -> None:
        """Takes back what was executed since the last commit; raises LoadFailed."""
        try:
            self._connection.rollback()
        except pymysql.MySQLError as error:
            raise load_failed(error, f"rows could not be taken back: {describe(error)}") from None

    def state(self) -> tuple[str, ...]:
        """All by which the session changes what a row statement or a definition means.

        (`unique_checks` changes when a duplicate is noticed, and no meaning.)
        """
        self._allow_invalid_dates(False)
        (session,) = execute(
            self._connection,
            "SELECT @@character_set_client, @@collation_connection, @@sql_mode, @@time_zone,"
            " @@foreign_key_checks, @@default_storage_engine, @@innodb_strict_mode"
            # (Of MariaDB; MySQL reads no such comment.)
            " /*M!100201 , @@check_constraint_checks */",
        )
        return tuple(map(text, session))

    def has_drawn_ids(self) -> bool:
        """Whether the server has ever chosen a value of AUTO_INCREMENT for a row of this session.

        Which one, depends on what was executed before it. Raises LoadFailed.
        """
        try:
            ((drawn,),) = execute(self._connection, "SELECT LAST_INSERT_ID()")
        except pymysql.MySQLError as error:
            raise load_failed(error, f"nothing is known of ids: {describe(error)}") from None
        return drawn != 0

    def expect_rows(self) -> None:
        """Prepares the session for rows, after the dump's beginning, which may say otherwise."""
        # With these checks and those of foreign keys off, MariaDB (10.6) sorts what is loaded into
        # an empty table in temporary files, and locks the table meanwhile: up to twice as slow.
        execute(self._connection, "SET SESSION unique_checks = 1")

    def stored_code(self, ruling: Ruling) -> StoredCode:
        """What a statement would create, with the session it was to be created in."""
        self._allow_invalid_dates(False)
        ((character_set, collation, sql_mode, time_zone, schema_collation),) = execute(
            self._connection,
            "SELECT @@character_set_client, @@collation_connection, @@sql_mode, @@time_zone,"
            " @@collation_database",
        )
        return StoredCode(
            kind=ruling.kind,
            name=ruling.name,
            statement=ruling.sql,
            character_set=text(character_set),
            collation=text(collation),
            sql_mode=text(sql_mode),
            time_zone=text(time_zone),
            schema_collation=text(schema_collation),
            disabled=ruling.disabled,
        )

    def _allow_invalid_dates(self, allow: bool) -> None:
        """Puts the mode that a dump gave the session aside, or back.

        A site may hold a 31 February. No dump says so, and in its mode a server makes 0000-00-00 of
        it, and says no more than a warning. Raises pymysql.MySQLError.
        """
        if allow and self._mode is None:
            ((mode,),) = execute(self._connection, "SELECT @@sql_mode")
            modes = [*filter(None, text(mode).split(",")), _INVALID_DATES]
            execute(self._connection, "SET SESSION sql_mode = %s", ",".join(modes))
            self._mode = text(mode)
        elif not allow and self._mode is not None:
            execute(self._connection, "SET SESSION sql_mode = %s", self._mode)
            self._mode = None


class Staging:
    """The staging schema: tables now, stored code for later (`journal` keeps it).

    Args:
        enable_events: False has events come back disabled, whatever the dump says.
    """

    def __init__(
        self, session: Session, schema: str, journal: Journal, *, enable_events: bool
    ) -> None:
        self._enable_events = enable_events
        self.session = session
        self._schema = schema
        self._journal = journal
        self._triggers: dict[str, str] = {}
        """The table of each trigger that the journal keeps."""

    def take(self, where: Where, ruling: Ruling) -> None:
        """Does what the ruling says, in the staging schema."""
        if ruling.kind in STORED_CODE:
            code = self.session.stored_code(ruling)
            if ruling.kind is StatementKind.EVENT and not self._enable_events:
                code = replace(code, statement=code.disabled)
            self._journal.keep(code)
            if ruling.kind is StatementKind.TRIGGER:
                self._triggers[ruling.name] = ruling.table
        elif ruling.kind is StatementKind.DROP_CODE:
            _, what, following, *_ = map(text, ruling.sql.split(maxsplit=3))
            if following.upper() != "BODY":  # of a package, which stays
                self._journal.forget_code(what, ruling.name)
        elif ruling.kind in {StatementKind.CREATE_SCHEMA, StatementKind.ALTER_SCHEMA}:
            if ruling.sql.strip():
                sql = f"ALTER DATABASE {quote(self._schema)} ".encode() + ruling.sql
                self.session.run(where, Ruling(ruling.kind, sql, self._schema))
        elif ruling.kind not in _NOT_FOR_STAGING:
            self.session.run(where, ruling)
            if ruling.drops or (ruling.creates and _OR_REPLACE.match(ruling.sql)):
                self._forget_triggers_of(ruling.name)

    def _forget_triggers_of(self, table: str) -> None:
        """They go with their table."""
        for name in [name for name, its in self._triggers.items() if its == table]:
            self._journal.forget_code("TRIGGER", name)
            del self._triggers[name]


_NOT_FOR_STAGING: Final = frozenset(
    {
        StatementKind.DROP_SCHEMA,
        StatementKind.LOCK,
        StatementKind.NOTHING,
        StatementKind.LEFT_OUT,
    }
)


def _check_literals(where: Where, ruling: Ruling) -> None:
    if only_literals(ruling.sql, ruling.values_at) != len(ruling.sql.rstrip()):
        raise ArchiveRefused(
            f"{where()} is refused: a row holds something else than values: {head(ruling.sql)}"
        )
