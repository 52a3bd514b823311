"""Scratch: a dump is loaded for real into a schema of its own, looked at, and dropped again.

No statement names the live schema, and the account that sends them needs rights on schemas whose
names begin with `lcp_verify_` only. Each load has a schema of its own name, so that two at once do
not meet; and a lock of that name, by which the next load knows what a killed one left. Where the
functions of a run fill it, nobody holds the lock between two of them: then the run's id is in its
journal, and whoever looks asks whether that run is under way.
"""

import hashlib
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
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
from lcp_backup.database.journal import Fact, Journal
from lcp_backup.database.loaded import Loaded
from lcp_backup.database.pieces import Dump, IndexedDump
from lcp_backup.database.policy import Policy
from lcp_backup.database.shared_load import SharedLoad
from lcp_backup.database.sql import (
    database_errors,
    describe,
    execute,
    has_table,
    is_denied,
    load_failed,
    numbered,
    prepare,
    quote,
    text,
    usable,
    working,
)
from lcp_backup.database.staged_load import StagedLoad, attempt_load
from lcp_backup.database.swap import discard
from lcp_backup.errors import Conflict, LoadFailed, ServerGaveUp

PREFIX: Final = "lcp_verify_"
"""How the names of all scratch schemas begin."""
_TOKEN_BYTES: Final = 4

_NAME_LENGTH: Final = len(PREFIX) + 2 * 4 + 1 + 2 * _TOKEN_BYTES
"""Of a load's name, in full."""

type Look = Callable[[Connection, str], None]
type UnderWay = Callable[[str], bool]


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


@dataclass(frozen=True, kw_only=True)
class ScratchLoad[D: Dump]:
    """One dump that is loaded, counted and dropped: the first half of a restore.

    The policy is a restore's, and the loader one of its own. What an earlier load of the same owner
    left that was killed is dropped first.

    Args:
        server: where, and as whom; its `name` is not used.
        whose: tells this environment's scratch schemas from those of others on the server.
        dumped_name: the schema the dump was made of.
        under_way: told the id of a run, by whose functions a schema that nobody holds may be
            filled: whether they may still go on with it.
        statements: asked as the loader, each has to answer one row of one true value. They see
            tables, but no views or routines.
        foreign_keys: False for some of a dump's tables, which may point to others.
        look: told a connection and the scratch schema, as soon as everything is loaded.
        begins: told what the server is, right before the load begins, or goes on.
        connections, progress, check: as of `SchemaLoad`.

    Methods raise LoadFailed (names the statement or the table that is wrong), ServerGaveUp,
    ArchiveRefused, AccountRefused, Conflict, DatabaseUnreachable, and what the dump and `under_way`
    raise.
    """

    server: DatabaseEndpoint
    dump: D
    whose: str
    dumped_name: str
    connections: int
    under_way: UnderWay
    progress: Callable[[int], None]
    check: Callable[[], None]
    statements: tuple[str, ...] = ()
    foreign_keys: bool = True
    look: Look | None = None
    begins: Callable[[Server], None] = lambda _: None

    def prove(self) -> Proved:
        """Loads it, counts what arrived, and drops it, also when it fails."""
        with self._working(_new_name(self.whose)) as work:
            self._clear_up(work.control)
            self.begins(work.server)
            return self._proved(
                work, partial(attempt_load, work.attempt, self.dump, self.connections)
            )

    def share_out(self: "ScratchLoad[IndexedDump]", run_id: str) -> SharedLoad:
        """Begins to load it, for several processes of this run to go on with (`SharedLoader`).

        A failure leaves nothing of it. Raises also OrderMattersError, when only one may load it.
        """
        with self._working(_new_name(self.whose)) as work, ExitStack() as undo:
            self._clear_up(work.control)
            self.begins(work.server)
            undo.callback(_drop, work.control, work.endpoint)
            shared = work.define(run_id)
            # From here on the run holds it; until now, and in each step, the server's lock does.
            Journal(work.control, work.endpoint.name).note(Fact.RUN, run_id)
            undo.pop_all()
            return shared

    def complete(self: "ScratchLoad[IndexedDump]", shared: SharedLoad, run_id: str) -> Proved:
        """Loads all that is left of it once its rows are loaded; then as `prove`.

        Raises also OrderMattersError, and Conflict where it is not there any more.
        """
        with self._working(_name_of(shared)) as work:
            if not _is_there(work.control, shared, run_id):
                raise _not_there(run_id)
            self.begins(work.server)
            return self._proved(work, partial(work.complete, shared, self.connections))

    def _proved(self, work: StagedLoad[D], load: Callable[[], Loaded]) -> Proved:
        name = work.endpoint.name
        try:
            loaded = load()
        finally:
            _drop(work.control, work.endpoint)
        schemas = _schemas(work.control, self.whose)
        return Proved(
            tables=len(loaded.tables),
            rows=loaded.rows,
            tables_counted=len(loaded.rows_of),
            statements=len(self.statements),
            left_behind=tuple(it for it in schemas if it.startswith(f"{name}_")),
        )

    @contextmanager
    def _working(self, name: str) -> Iterator[StagedLoad[D]]:
        endpoint = replace(self.server, name=name)
        with controlled(endpoint) as control, database_errors("loaded"), _denials():
            kind = ask_server(control)

            def inspect(loader: DatabaseEndpoint, staging: str, loaded: Loaded) -> None:
                if self.look is not None:
                    self.look(control, staging)
                _count_rows(loader, staging, loaded, self.check, self.connections)
                _ask(loader, staging, self.statements, self.check)

            yield StagedLoad(
                control=control,
                endpoint=endpoint,
                dump=self.dump,
                policy=Policy(
                    self.dumped_name, uploaded=not self.dump.by_dump_program, server=kind
                ),
                only=None,
                given=Accounts(),
                progress=self.progress,
                check=self.check,
                scripts=(),
                server=kind,
                inspect=inspect,
                foreign_keys=self.foreign_keys,
            )

    def _clear_up(self, control: Connection) -> None:
        _drop_what_killed_ones_left(control, self.server, self.whose, self.under_way)


def loader_of(server: DatabaseEndpoint, shared: SharedLoad, run_id: str) -> DatabaseEndpoint:
    """Where a process of the run connects that fills what `share_out` has begun."""
    return accounts.lasting_loader(replace(server, name=_name_of(shared)), None, run_id)


def check_is_there(server: DatabaseEndpoint, shared: SharedLoad, run_id: str) -> None:
    """Makes sure that what a server says of a shared load is not for want of that load.

    Raises Conflict where it was dropped or completed, DatabaseUnreachable.
    """
    with working(server, None) as control, usable(server):
        is_there = _is_there(control, shared, run_id)
    if not is_there:
        raise _not_there(run_id)


def drop_abandoned(server: DatabaseEndpoint, *, whose: str, under_way: UnderWay) -> None:
    """Drops what loads of this owner left that were killed; nothing of one that is under way.

    Arguments, and what it raises: as of `ScratchLoad`.
    """
    endpoint = replace(server, name=_new_name(whose))
    with controlled(endpoint) as control, database_errors("cleared up"), _denials():
        _drop_what_killed_ones_left(control, server, whose, under_way)


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


def _new_name(whose: str) -> str:
    return f"{_prefix(whose)}{secrets.token_hex(_TOKEN_BYTES)}"


def _name_of(shared: SharedLoad) -> str:
    """The name of a load, behind which those of its up to three schemas go on."""
    return shared.progress.schema[:_NAME_LENGTH]


def _drop_what_killed_ones_left(
    control: Connection, server: DatabaseEndpoint, whose: str, under_way: UnderWay
) -> None:
    for name in sorted({schema[:_NAME_LENGTH] for schema in _schemas(control, whose)}):
        endpoint = replace(server, name=name)
        with if_abandoned(control, endpoint) as nobody_holds_it:
            if nobody_holds_it and not any(map(under_way, _runs_of(control, name))):
                _drop(control, endpoint)


def _runs_of(control: Connection, name: str) -> tuple[str, ...]:
    """The run whose functions fill it one after the other, if there is one."""
    journal = Journal(control, name)
    return journal.noted(Fact.RUN) if journal.exists else ()


def _is_there(control: Connection, shared: SharedLoad, run_id: str) -> bool:
    progress = shared.progress
    return run_id in _runs_of(control, _name_of(shared)) and has_table(
        control, progress.schema, progress.table
    )


def _not_there(run_id: str) -> Conflict:
    return Conflict(
        f"what run {run_id} has loaded is not on the server any more: nothing is known of the"
        " backup; verify it once more"
    )


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
    loader: DatabaseEndpoint,
    staging: str,
    loaded: Loaded,
    check: Callable[[], None],
    connections: int = 1,
) -> None:
    """Raises LoadFailed, which names a table that has not as many rows as were sent."""
    with _asking(loader, staging, check, connections) as pool:
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
    loader: DatabaseEndpoint, staging: str, check: Callable[[], None], connections: int = 1
) -> Iterator[ConnectionPool[_Asking]]:
    """A pool, by which a statement that takes too long is ended inside the server."""

    @contextmanager
    def connected() -> Iterator[_Asking]:
        with closing(connect(loader, database=staging)) as connection:
            prepare(connection)
            yield _Asking(connection)

    kill = partial(accounts.kill, loader)
    with ConnectionPool(connections, connected, kill, check) as pool:
        yield pool
