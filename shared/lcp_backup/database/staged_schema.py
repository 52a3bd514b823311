"""A dump as a staged schema: loaded beside the live one, and swapped in.

Definitions come first, on one connection; rows follow over several, a segment at a time; a table's
secondary indexes are built when its rows are there; then foreign keys, and all else the dump holds.

Everything that comes out of the dump is sent by the loader, an account with rights on the staging
schema only (`accounts`). The master user makes accounts and schemas, moves tables and drops what is
old, by statements of this service's own.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from threading import Lock

import pymysql

from lcp_backup.database import accounts
from lcp_backup.database.accounts import Accounts
from lcp_backup.database.control import controlled
from lcp_backup.database.definition import references
from lcp_backup.database.dump_load import DumpLoad, OrderMattersError, PlanRows
from lcp_backup.database.endpoint import Connection, DatabaseEndpoint, Server, ask_server, connect
from lcp_backup.database.foreign_keys import (
    check_ties,
    check_ties_from_elsewhere,
    check_ties_of_live,
    dangling_key,
)
from lcp_backup.database.journal import Journal
from lcp_backup.database.loaded import Loaded
from lcp_backup.database.local_infile import LoadingConnection, allows_local_infile
from lcp_backup.database.pieces import Dump, IndexedDump, PlacedStatement, StreamedDump
from lcp_backup.database.policy import Policy
from lcp_backup.database.rows import RowPlan, columns_of
from lcp_backup.database.rulings import StatementKind
from lcp_backup.database.scripts import Script, judge_scripts, run_scripts
from lcp_backup.database.session import Session, Staging
from lcp_backup.database.sql import (
    describe,
    execute,
    is_lost,
    load_failed,
    make_writable,
    numbered,
    prepare,
    quote,
    tables_of,
    usable,
    working,
)
from lcp_backup.database.statements import StatementSplitter
from lcp_backup.database.stored_code import drop_all, is_empty, set_defaults_aside, try_all
from lcp_backup.database.swap import (
    Between,
    Scope,
    create_staging,
    discard,
    recover,
    swap,
)
from lcp_backup.errors import InvalidRequest, LoadFailed

__all__ = [
    "Accounts",
    "IndexedDump",
    "Loaded",
    "Scope",
    "StagedDatabase",
    "StreamedDump",
    "check_empty",
    "overwrite",
    "recover",
    "stage",
]

type Inspect = Callable[[DatabaseEndpoint, str, Loaded], None]
"""Told the loader's endpoint, the staging schema and what was loaded into it."""

_OF_THE_SERVER = frozenset({"mysql", "sys", "information_schema", "performance_schema"})
_OWN_SUFFIXES = ("_lcp_staging", "_lcp_previous", "_lcp_journal")


class StagedDatabase:
    """A whole dump in the staging schema: to be swapped in, or thrown away."""

    def __init__(
        self, endpoint: DatabaseEndpoint, loaded: Loaded, scope: Scope, given: Accounts
    ) -> None:
        self._endpoint = endpoint
        self._loaded = loaded
        self._scope = scope
        self._given = given
        self._open = True

    def swap(self, between: Between | None = None) -> Loaded:
        """Makes it the live schema, exactly as the dump says; what was there before is gone.

        (Or is kept, or only some tables change: see `Scope`.) The tables change at one moment.
        Before it, a failure leaves the live schema as it was, but that triggers which were dropped
        for it and put back belong to the owner; after it, the next `recover` finishes what a killed
        swap left. `between` is told each step's name before it is taken.
        Raises LoadFailed, AccountRefused, Conflict, DatabaseUnreachable.
        """
        self._open = False
        left = swap(self._endpoint, self._scope, self._given, between)
        return replace(self._loaded, left_behind=tuple(left))

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
    dump: Dump,
    *,
    dumped_name: str,
    connections: int,
    progress: Callable[[int], None],
    check: Callable[[], None],
    scope: Scope = Scope(),  # noqa: B008 -- frozen
    scripts: tuple[Script, ...] = (),
    given: Accounts = Accounts(),  # noqa: B008 -- frozen
) -> StagedDatabase:
    """Loads a dump beside the live schema, which it does not touch.

    Views, triggers, routines and events are tried (events disabled) and kept for the swap. Whatever
    an unfinished restore left is recovered first.

    Args:
        endpoint: the live database; its schema need not exist yet.
        dump: what to load.
        dumped_name: the schema the dump was made of; its statements are for `endpoint.name`.
        connections: over how many connections rows are loaded, at least 1.
        progress: told the raw bytes of every piece once it is loaded.
        check: called before every statement, from several threads; raises to stop.
        scope: what of the live schema the swap is to replace.
        scripts: run once all rows are there; judged before anything is loaded.
        given: the accounts that an operator made for restores.

    Raises LoadFailed (a statement failed, a table or a row is missing, the connection was lost),
    ArchiveRefused (the dump says what no dump says), AccountRefused (the accounts cannot be had),
    InvalidRequest (tables that others are tied to by foreign keys are not restored without those),
    Conflict, DatabaseUnreachable.
    """
    recover(endpoint, given)
    with controlled(endpoint) as control, database_errors("staged"):
        if scope.tables is not None:
            check_ties_of_live(control, endpoint, scope.tables)
        else:
            check_ties_from_elsewhere(control, endpoint)
        name = accounts.idle_owner(control, endpoint.name)
        with accounts.owner(control, endpoint, given.site, name):
            # Nothing is done as the owner yet: that it can be had is found out before anything is.
            pass
        server = ask_server(control)
        judge_scripts(scripts, server, check)
        policy = Policy(dumped_name, uploaded=not dump.by_dump_program, server=server)
        with ExitStack() as whole_or_discarded:
            # A connection that is gone leaves the rest to the next `recover`.
            whole_or_discarded.callback(discard_if_possible, control, endpoint)
            work = StagedLoad(
                control=control,
                endpoint=endpoint,
                dump=dump,
                policy=policy,
                only=scope.tables,
                scripts=scripts,
                server=server,
                given=given,
                progress=progress,
                check=check,
            )
            loaded = attempt_load(work.attempt, dump, connections)
            whole_or_discarded.pop_all()
    return StagedDatabase(endpoint, loaded, scope, given)


def overwrite(
    endpoint: DatabaseEndpoint,
    dump: Dump,
    *,
    dumped_name: str,
    connections: int,
    progress: Callable[[int], None],
    check: Callable[[], None],
    given: Accounts = Accounts(),  # noqa: B008 -- frozen
) -> Loaded:
    """Empties the live schema and loads a dump into its place: less room, and no way back.

    Every statement of the dump is judged, and the accounts are made, before anything is dropped.
    From then on a failure leaves the live schema empty. Arguments and errors are those of `stage`.
    """
    recover(endpoint, given)
    with controlled(endpoint) as control, database_errors("loaded"):
        for account in (
            accounts.owner(
                control, endpoint, given.site, accounts.idle_owner(control, endpoint.name)
            ),
            accounts.loader(control, endpoint, f"{endpoint.name}_lcp_staging", given.loader),
        ):
            with account:
                pass
        check_ties_from_elsewhere(control, endpoint)
        policy = Policy(dumped_name, uploaded=not dump.by_dump_program, server=ask_server(control))
        _judge_all(dump, policy, check)
        make_writable(control, endpoint.name)
        with suppress(pymysql.MySQLError):
            # What may not be dropped now goes when the swap is finished.
            drop_all(control, endpoint.name)
        for table in tables_of(control, endpoint.name):
            check()
            execute(control, f"DROP TABLE IF EXISTS {quote(endpoint.name)}.{quote(table)}")
    return stage(
        endpoint,
        dump,
        dumped_name=dumped_name,
        connections=connections,
        progress=progress,
        check=check,
        given=given,
    ).swap()


@dataclass(frozen=True, kw_only=True)
class StagedLoad:
    """One dump on its way into a staging schema, under its lock."""

    control: Connection
    endpoint: DatabaseEndpoint
    dump: Dump
    policy: Policy
    only: Collection[str] | None
    scripts: tuple[Script, ...]
    server: Server
    given: Accounts
    progress: Callable[[int], None]
    check: Callable[[], None]
    inspect: Inspect | None = None
    """Looks at what was loaded before anything is done with it; raises what it finds wrong."""
    foreign_keys: bool = True
    """As of `DumpLoad`."""

    def attempt(self, connections: int | None) -> Loaded:
        """Loads all of it and tries its stored code; as `DumpLoad.load`."""
        discard(self.control, self.endpoint)
        staging = create_staging(self.control, self.endpoint)
        journal = Journal(self.control, self.endpoint.name)
        with accounts.loader(self.control, self.endpoint, staging, self.given.loader) as endpoint:
            with (
                self._connection(endpoint, staging) as connection,
                self._connection(endpoint, staging) as asking,
            ):
                work = DumpLoad(
                    self.dump,
                    self.policy,
                    progress=self.progress,
                    check=self.check,
                    only=self.only,
                    foreign_keys=self.foreign_keys,
                    plan_rows=self._plan_rows(asking, staging),
                )
                loaded = work.load(
                    Staging(
                        Session(connection),
                        staging,
                        journal,
                        enable_events=self.dump.by_dump_program,
                    ),
                    lambda: self._connection(endpoint, staging),
                    lambda thread_id: accounts.kill(endpoint, thread_id),
                    connections,
                )
            # Before there are triggers, which would fire.
            ran = run_scripts(endpoint, staging, self.scripts, self.server, self.check)
            _check_all_there(loaded.tables, tables_of(self.control, staging))
            check_ties(self.control, staging)
            try_all(endpoint, self.control, staging, journal.kept(), self.check)
            if self.inspect is not None:
                self.inspect(endpoint, staging, loaded)
            set_defaults_aside(self.control, staging, self.endpoint.name, journal)
        return replace(loaded, scripts=ran)

    @contextmanager
    def _connection(self, endpoint: DatabaseEndpoint, staging: str) -> Iterator[LoadingConnection]:
        with closing(connect(endpoint, database=staging, local_infile=True)) as connection:
            prepare(connection)
            yield connection

    def _plan_rows(self, asking: LoadingConnection, staging: str) -> PlanRows | None:
        if not allows_local_infile(self.control):
            return None
        lock = Lock()

        def plan(session: Session, table: str, listed: tuple[str, ...] | None) -> RowPlan | None:
            # Not over the session, whose character set is the dump's: names would arrive garbled.
            with lock:
                columns = columns_of(asking, staging, table)
            return RowPlan.of(table, columns, listed, session.character_set)

        return plan


def check_empty(endpoint: DatabaseEndpoint) -> None:
    """Makes sure that a restore into this database, which need not exist, replaces nothing.

    Raises InvalidRequest, DatabaseUnreachable.
    """
    name = endpoint.name.lower()
    if name in _OF_THE_SERVER or any(suffix in name for suffix in _OWN_SUFFIXES):
        raise InvalidRequest(
            f"the database {endpoint.name!r} is the server's or this service's own: name another"
        )
    with working(endpoint, None) as connection:
        with usable(endpoint):
            empty = is_empty(connection, endpoint.name)
        if not empty:
            raise InvalidRequest(
                f"the database {endpoint.name!r} is not empty: restore into one that is, or that"
                " does not exist"
            )


def _check_all_there(expected: Iterable[str], found: Iterable[str]) -> None:
    # A server may keep names in lower case (lower_case_table_names).
    there = {name.lower() for name in found}
    missing = [name for name in expected if name.lower() not in there]
    if missing:
        raise LoadFailed(
            f"{len(missing)} tables of the dump are missing after the load: {missing[0]!r}"
        )


def attempt_load(attempt: Callable[[int | None], Loaded], dump: Dump, connections: int) -> Loaded:
    """Loads over several connections; a dump that cannot be, over one and as it was written.

    Dump programs put the session back after each table. A dump that was written otherwise loses
    speed, not data; and as rows may meet the wrong session before that is noticed, what fails in
    such a dump counts only when it fails in its place.
    """
    try:
        return attempt(connections)
    except OrderMattersError:
        pass
    except LoadFailed:
        if dump.by_dump_program:
            raise
    return attempt(None)


def _judge_all(dump: Dump, policy: Policy, check: Callable[[], None]) -> None:
    """Raises ArchiveRefused for a statement that a load would refuse, LoadFailed as `check_ties`.

    (Names are compared without case, as some servers do: the load itself knows better.)
    """
    created: set[str] = set()
    tied: dict[str, str] = {}
    for piece in dump.pieces(as_written=True):
        splitter = StatementSplitter(dump_program=dump.by_dump_program)
        for statement in splitter.split(piece.raw, check):
            check()
            ruling = policy.judge(PlacedStatement(piece, statement))
            if ruling.kind is StatementKind.TABLE:
                if ruling.creates:
                    created.add(ruling.name.lower())
                tied.update(dict.fromkeys(references(ruling.sql), ruling.name))
    for other, table in tied.items():
        if other.lower() not in created:
            raise dangling_key(table, other)


def discard_if_possible(control: Connection, endpoint: DatabaseEndpoint) -> None:
    with suppress(pymysql.MySQLError):
        discard(control, endpoint)


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
