"""A dump as a staged schema: loaded beside the live one, and swapped in.

Definitions come first, on one connection; rows follow over several, a segment at a time; a table's
secondary indexes are built when its rows are there; then foreign keys, and all else the dump holds.

Everything that comes out of the dump is sent by the loader, an account with rights on the staging
schema only (`accounts`). The master user makes accounts and schemas, moves tables and drops what is
old, by statements of this service's own.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import KW_ONLY, dataclass, replace

import pymysql

from lcp_backup.database import accounts
from lcp_backup.database.accounts import Accounts
from lcp_backup.database.control import controlled
from lcp_backup.database.definition import references
from lcp_backup.database.dump_order import attempt_load
from lcp_backup.database.endpoint import Connection, DatabaseEndpoint, Server, ask_server
from lcp_backup.database.foreign_keys import (
    check_ties_from_elsewhere,
    check_ties_of_live,
    dangling_key,
)
from lcp_backup.database.loaded import Loaded
from lcp_backup.database.pieces import Dump, IndexedDump, PlacedStatement, StreamedDump
from lcp_backup.database.policy import Policy
from lcp_backup.database.rulings import StatementKind
from lcp_backup.database.scripts import Script, judge_scripts
from lcp_backup.database.selecting_policy import SelectingPolicy
from lcp_backup.database.shared_load import SharedLoad
from lcp_backup.database.sql import (
    check_free,
    database_errors,
    describe,
    execute,
    folds_case,
    make_writable,
    quote,
    tables_of,
    usable,
    working,
)
from lcp_backup.database.staged_load import StagedLoad, check_engine, differ_in_case
from lcp_backup.database.statements import StatementSplitter
from lcp_backup.database.stored_code import drop_all, is_empty
from lcp_backup.database.swap import (
    Between,
    Scope,
    discard,
    recover,
    swap,
)
from lcp_backup.errors import Conflict, DatabaseUnreachable, InvalidRequest, LoadFailed

__all__ = [
    "Accounts",
    "IndexedDump",
    "Loaded",
    "SchemaLoad",
    "Scope",
    "StagedDatabase",
    "StreamedDump",
    "check_empty",
    "overwrite",
    "recover",
]

_OF_THE_SERVER = frozenset({"mysql", "sys", "information_schema", "performance_schema"})
_OWN_SUFFIXES = ("_lcp_staging", "_lcp_previous", "_lcp_journal")


class StagedDatabase:
    """A whole dump in the staging schema: to be swapped in, or thrown away."""

    def __init__(
        self, endpoint: DatabaseEndpoint, loaded: Loaded, scope: Scope, given: Accounts
    ) -> None:
        self.loaded = loaded
        self._endpoint = endpoint
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
        try:
            left = swap(self._endpoint, self.loaded.seal, self._scope, self._given, between)
        except (Conflict, DatabaseUnreachable) as error:
            error.undone = True  # the server let nobody begin
            raise
        return replace(self.loaded, left_behind=tuple(left))

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


@dataclass(frozen=True)
class SchemaLoad[D: Dump]:
    """One load of a dump beside the live schema, which it does not touch.

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

    Methods raise LoadFailed (a statement failed, a table or a row is missing, the connection was
    lost), ArchiveRefused (the dump says what no dump says), AccountRefused (the accounts cannot be
    had), InvalidRequest (tables that others are tied to by foreign keys are not restored without
    those), Conflict, DatabaseUnreachable. A failure leaves nothing of it.
    """

    endpoint: DatabaseEndpoint
    dump: D
    _: KW_ONLY
    dumped_name: str
    connections: int
    progress: Callable[[int], None]
    check: Callable[[], None]
    scope: Scope = Scope()  # noqa: RUF009 -- frozen
    scripts: tuple[Script, ...] = ()
    given: Accounts = Accounts()  # noqa: RUF009 -- frozen

    def stage(self, *, as_written: bool = False) -> StagedDatabase:
        """Loads it; `as_written` where it is known that its order matters.

        Views, triggers, routines and events are tried (events disabled) and kept for the swap.
        Whatever an unfinished restore left is recovered first.
        """
        recover(self.endpoint, self.given)
        with self._working() as work:
            self._check_possible(work.control)
            connections = None if as_written else self.connections
            return self._staged(attempt_load(work.attempt, self.dump, connections))

    def share_out(self: "SchemaLoad[IndexedDump]", run_id: str) -> SharedLoad:
        """Begins to load it, for several processes of this run to go on with (`SharedLoader`).

        Whatever an unfinished restore left is recovered first. Raises also OrderMattersError, when
        only one process may load this dump.
        """
        recover(self.endpoint, self.given)
        with self._working() as work:
            self._check_possible(work.control)
            return work.define(run_id)

    def complete(self: "SchemaLoad[IndexedDump]", shared: SharedLoad) -> StagedDatabase:
        """Loads all that is left of it once its rows are loaded, by none but this process."""
        with self._working() as work:
            return self._staged(work.complete(shared, self.connections))

    def _staged(self, loaded: Loaded) -> StagedDatabase:
        return StagedDatabase(self.endpoint, loaded, self.scope, self.given)

    @contextmanager
    def _working(self) -> Iterator[StagedLoad[D]]:
        endpoint, check = self.endpoint, self.check
        with controlled(endpoint) as control, database_errors("staged"):
            server = ask_server(control)
            judge_scripts(self.scripts, server, check)
            with ExitStack() as whole_or_discarded:
                # A connection that is gone leaves the rest to the next `recover`.
                whole_or_discarded.callback(discard_if_possible, control, endpoint)
                yield StagedLoad(
                    control=control,
                    endpoint=endpoint,
                    dump=self.dump,
                    policy=self._policy(control, server),
                    only=self.scope.tables,
                    scripts=self.scripts,
                    server=server,
                    given=self.given,
                    progress=self.progress,
                    check=check,
                )
                whole_or_discarded.pop_all()

    def _policy(self, control: Connection, server: Server) -> Policy:
        uploaded, tables = not self.dump.by_dump_program, self.dump.selected
        if tables is None:
            return Policy(self.dumped_name, uploaded=uploaded, server=server)
        folds = folds_case(control)
        return SelectingPolicy(
            self.dumped_name, uploaded=uploaded, server=server, tables=tables, folds=folds
        )

    def _check_possible(self, control: Connection) -> None:
        if self.scope.tables is not None:
            check_ties_of_live(control, self.endpoint, self.scope.tables)
        else:
            check_ties_from_elsewhere(control, self.endpoint)
        name = accounts.idle_owner(control, self.endpoint.name)
        with accounts.owner(control, self.endpoint, self.given.site, name):
            # Nothing is done as the owner yet: that it can be had is found out before anything is.
            pass


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

    Before anything is dropped every statement of the dump is judged, the accounts are made, and
    no transaction holds a table.
    From then on a failure leaves the live schema empty. Arguments and errors: `SchemaLoad`.
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
        check_engine(control)
        policy = Policy(dumped_name, uploaded=not dump.by_dump_program, server=ask_server(control))
        _judge_all(dump, policy, check, folds=folds_case(control))
        check_free(control, endpoint.name)
        make_writable(control, endpoint.name)
        with suppress(pymysql.MySQLError):
            # What may not be dropped now goes when the swap is finished.
            drop_all(control, endpoint.name)
        for table in tables_of(control, endpoint.name):
            check()
            execute(control, f"DROP TABLE IF EXISTS {quote(endpoint.name)}.{quote(table)}")
    load = SchemaLoad(
        endpoint=endpoint,
        dump=dump,
        dumped_name=dumped_name,
        connections=connections,
        progress=progress,
        check=check,
        given=given,
    )
    return load.stage().swap()


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


def _judge_all(dump: Dump, policy: Policy, check: Callable[[], None], *, folds: bool) -> None:
    """Raises ArchiveRefused for a statement that a load would refuse, LoadFailed as `check_ties`.

    And where the server `folds` the case of names, LoadFailed for tables that are one to it.
    (Ties are compared without case, as some servers do: the load itself knows better.)
    """
    created: dict[str, str] = {}
    tied: dict[str, str] = {}
    for piece in dump.pieces(as_written=True):
        splitter = StatementSplitter(dump_program=dump.by_dump_program)
        for statement in splitter.split(piece.raw, check):
            check()
            ruling = policy.judge(PlacedStatement(piece, statement))
            if ruling.kind is StatementKind.TABLE:
                folded = ruling.name.lower()
                if ruling.creates and created.setdefault(folded, ruling.name) != ruling.name:
                    if folds:
                        raise differ_in_case((created[folded], ruling.name))
                elif ruling.drops and created.get(folded) == ruling.name:
                    del created[folded]
                tied.update(dict.fromkeys(references(ruling.sql), ruling.name))
    for other, table in tied.items():
        if other.lower() not in created:
            raise dangling_key(table, other)


def discard_if_possible(control: Connection, endpoint: DatabaseEndpoint) -> None:
    with suppress(pymysql.MySQLError):
        discard(control, endpoint)
