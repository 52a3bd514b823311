"""Scratch: a dump is loaded for real into a schema of its own, looked at, and dropped again.

No statement names the live schema, and the account that sends them needs rights on schemas whose
names begin with `lcp_verify_` only. Each load has a schema of its own name, so that two at once do
not meet; and a lock of that name, by which the next load knows what a killed one left.
"""

import hashlib
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Final

import pymysql

from lcp_backup.database import accounts
from lcp_backup.database.accounts import Accounts
from lcp_backup.database.connection_pool import ConnectionPool
from lcp_backup.database.control import controlled, if_abandoned
from lcp_backup.database.endpoint import Connection, DatabaseEndpoint, Server, ask_server, connect
from lcp_backup.database.loaded import Loaded
from lcp_backup.database.pieces import Dump
from lcp_backup.database.policy import Policy
from lcp_backup.database.sql import (
    database_errors,
    describe,
    execute,
    is_denied,
    load_failed,
    numbered,
    prepare,
    quote,
    text,
)
from lcp_backup.database.staged_load import StagedLoad, attempt_load
from lcp_backup.database.swap import discard
from lcp_backup.errors import LoadFailed, ServerGaveUp

PREFIX: Final = "lcp_verify_"
"""How the names of all scratch schemas begin."""
_TOKEN_BYTES: Final = 4

type Look = Callable[[Connection, str], None]


@dataclass(frozen=True)
class Proved:
    """What was loaded and is dropped again."""

    tables: int
    rows: int
    tables_counted: int
    """In so many tables the rows that are there were counted, and are as many as were sent."""
    statements: int
    """How many of the statements were true."""
    left_behind: tuple[str, ...]
    """Schemas of it that could not be dropped."""


def prove(
    server: DatabaseEndpoint,
    dump: Dump,
    *,
    whose: str,
    dumped_name: str,
    connections: int,
    statements: tuple[str, ...] = (),
    foreign_keys: bool = True,
    look: Look | None = None,
    begins: Callable[[Server], None] = lambda _: None,
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> Proved:
    """Loads a dump, counts what arrived, and drops it, also when it fails.

    The first half of a restore, with the same policy and a loader of its own. What an earlier load
    of the same owner left that was killed is dropped first.

    Args:
        server: where, and as whom; its `name` is not used.
        whose: tells this environment's scratch schemas from those of others on the server.
        dumped_name: the schema the dump was made of.
        statements: asked as the loader, each has to answer one row of one true value. They see
            tables, but no views or routines.
        foreign_keys: False for some of a dump's tables, which may point to others.
        look: told a connection and the scratch schema, as soon as everything is loaded.
        begins: told what the server is, right before the load begins.
        connections, progress, check: as of `SchemaLoad`.

    Raises LoadFailed (names the statement or the table that is wrong), ServerGaveUp,
    ArchiveRefused, AccountRefused, Conflict, DatabaseUnreachable, and what the dump raises.
    """
    name = f"{_prefix(whose)}{secrets.token_hex(_TOKEN_BYTES)}"
    endpoint = replace(server, name=name)
    with controlled(endpoint) as control, database_errors("loaded"), _denials():
        _drop_what_killed_ones_left(control, server, whose)
        kind = ask_server(control)
        begins(kind)
        asked = 0

        def inspect(loader: DatabaseEndpoint, staging: str, loaded: Loaded) -> None:
            nonlocal asked
            if look is not None:
                look(control, staging)
            _count_rows(loader, staging, loaded, check)
            asked = _ask(loader, staging, statements, check)

        work = StagedLoad(
            control=control,
            endpoint=endpoint,
            dump=dump,
            policy=Policy(dumped_name, uploaded=not dump.by_dump_program, server=kind),
            only=None,
            given=Accounts(),
            progress=progress,
            check=check,
            scripts=(),
            server=kind,
            inspect=inspect,
            foreign_keys=foreign_keys,
        )
        try:
            loaded = attempt_load(work.attempt, dump, connections)
        finally:
            _drop(control, endpoint)
        left = tuple(it for it in _schemas(control, whose) if it.startswith(f"{name}_"))
    return Proved(
        tables=len(loaded.tables),
        rows=loaded.rows,
        tables_counted=len(loaded.rows_of),
        statements=asked,
        left_behind=left,
    )


def drop_abandoned(server: DatabaseEndpoint, *, whose: str) -> None:
    """Drops what loads of this owner left that were killed; nothing of one that is under way.

    Arguments, and what it raises: as `prove`.
    """
    endpoint = replace(server, name=f"{_prefix(whose)}{secrets.token_hex(_TOKEN_BYTES)}")
    with controlled(endpoint) as control, database_errors("cleared up"), _denials():
        _drop_what_killed_ones_left(control, server, whose)


@contextmanager
def _denials() -> Iterator[None]:
    """Maps what the service's own account may not do to ServerGaveUp: no dump is bad for that."""
    try:
        yield
    except pymysql.MySQLError as error:
        if not is_denied(error):
            raise
        why = (
            "the account that verifies (LCP_BACKUP_VERIFY_USER_NAME, or the master user) may not do"
            " what that needs"
        )
        raise ServerGaveUp(
            f"{why}: {describe(error)}", public=f"{why}: {numbered(error)}"
        ) from None


def _prefix(whose: str) -> str:
    return f"{PREFIX}{hashlib.sha256(whose.encode()).hexdigest()[:8]}_"


def _drop_what_killed_ones_left(control: Connection, server: DatabaseEndpoint, whose: str) -> None:
    # (Each has up to three schemas, whose names go on behind its own.)
    own = len(_prefix(whose)) + 2 * _TOKEN_BYTES
    for name in sorted({schema[:own] for schema in _schemas(control, whose)}):
        endpoint = replace(server, name=name)
        with if_abandoned(control, endpoint) as abandoned:
            if abandoned:
                _drop(control, endpoint)


def _schemas(control: Connection, whose: str) -> list[str]:
    """All scratch schemas of this environment that are there."""
    named = re.compile(rf"{_prefix(whose)}[0-9a-f]{{{2 * _TOKEN_BYTES}}}_lcp_\w+")
    rows = execute(
        control,
        "SELECT schema_name FROM information_schema.schemata WHERE LEFT(schema_name, %s) = %s",
        len(PREFIX),
        PREFIX,
    )
    return [name for (schema,) in rows if named.fullmatch(name := text(schema))]


def _drop(control: Connection, endpoint: DatabaseEndpoint) -> None:
    """Drops schemas and loader; over a connection that is gone nothing, and the next load does."""
    try:
        accounts.put_away(control, endpoint, None)
        discard(control, endpoint)
    except pymysql.MySQLError:
        return


@dataclass(frozen=True)
class _Asking:
    """The loader's connection, over which statements are asked."""

    connection: Connection

    @property
    def thread_id(self) -> int:
        """The server's number for the connection."""
        return int(self.connection.thread_id())  # type: ignore[no-untyped-call]  # stub

    def count(self, *, table: str, sent: int) -> None:
        """Raises LoadFailed when not as many rows are there as were sent."""
        ((there,),) = execute(self.connection, f"SELECT COUNT(*) FROM {quote(table)}")  # noqa: S608 -- a quoted name
        if there != sent:
            reason = f"{sent} rows were loaded into {table!r} and {there} are there"
            raise LoadFailed(reason, public=reason)

    def ask(self, *, what: str, statement: str) -> None:
        """Raises LoadFailed when the answer is not one true value."""
        try:
            rows = execute(self.connection, statement)
        except pymysql.MySQLError as error:
            raise load_failed(
                error,
                f"the server refused {what}: {describe(error)}: {statement}",
                public=f"the server refused {what}: {numbered(error)}",
            ) from None
        values = [value for row in rows for value in row]
        if not (len(values) == 1 and isinstance(values[0], int | Decimal) and values[0]):
            reason = f"{what} did not answer one true value"
            raise LoadFailed(f"{reason}: {statement}", public=reason)


def _count_rows(
    loader: DatabaseEndpoint, staging: str, loaded: Loaded, check: Callable[[], None]
) -> None:
    """Raises LoadFailed, which names the first table that has not as many rows as were sent."""
    with _asking(loader, staging, check) as pool:
        for table, sent in loaded.rows_of.items():
            pool.put(partial(_Asking.count, table=table, sent=sent))
        pool.drain()


def _ask(
    loader: DatabaseEndpoint,
    staging: str,
    statements: tuple[str, ...],
    check: Callable[[], None],
) -> int:
    """How many statements were asked, all true; raises LoadFailed for the first that is not."""
    with _asking(loader, staging, check) as pool:
        for number, statement in enumerate(statements, 1):
            what = f"statement {number} of LCP_BACKUP_VERIFY_SQL"
            pool.put(partial(_Asking.ask, what=what, statement=statement))
        pool.drain()
    return len(statements)


@contextmanager
def _asking(
    loader: DatabaseEndpoint, staging: str, check: Callable[[], None]
) -> Iterator[ConnectionPool[_Asking]]:
    """A pool of one: a statement that takes too long is ended inside the server."""

    @contextmanager
    def connected() -> Iterator[_Asking]:
        with closing(connect(loader, database=staging)) as connection:
            prepare(connection)
            yield _Asking(connection)

    with ConnectionPool(1, connected, partial(accounts.kill, loader), check) as pool:
        yield pool
