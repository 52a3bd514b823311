"""Scratch: a dump is loaded for real into a schema of its own, looked at, and dropped again.

No statement names the live schema, and the account that sends them needs rights on schemas whose
names begin with `lcp_verify_` only. Each load has a schema of its own name, so that two at once do
not meet; and a lock of that name, by which the next load knows what a killed one left. Where the
functions of a run fill it, nobody holds the lock between two of them: then the run's id is in its
journal, and whoever looks asks whether that run is under way.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from lcp_backup.database import accounts
from lcp_backup.database.accounts import Accounts
from lcp_backup.database.control import controlled
from lcp_backup.database.dump_order import attempt_load
from lcp_backup.database.endpoint import Connection, DatabaseEndpoint, Server, ask_server
from lcp_backup.database.journal import Fact, Journal
from lcp_backup.database.loaded import Loaded
from lcp_backup.database.pieces import Dump, IndexedDump
from lcp_backup.database.policy import Policy
from lcp_backup.database.scratch_checks import ask_all, count_rows
from lcp_backup.database.scratch_schemas import (
    VERIFIER,
    UnderWay,
    drop,
    drop_what_killed_ones_left,
    is_there,
    name_of,
    new_name,
    schemas_of,
)
from lcp_backup.database.shared_load import SharedLoad
from lcp_backup.database.sql import database_errors, denials, usable, working
from lcp_backup.database.staged_load import StagedLoad
from lcp_backup.errors import Conflict

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

    def prove(self, *, as_written: bool = False) -> Proved:
        """Loads it, counts what arrived, and drops it, also when it fails.

        Arguments: `as_written` where it is known that its order matters.
        """
        with self._working(new_name(self.whose)) as work:
            self._clear_up(work.control)
            self.begins(work.server)
            connections = None if as_written else self.connections
            return self._proved(work, partial(attempt_load, work.attempt, self.dump, connections))

    def share_out(self: "ScratchLoad[IndexedDump]", run_id: str) -> SharedLoad:
        """Begins to load it, for several processes of this run to go on with (`SharedLoader`).

        A failure leaves nothing of it. Raises also OrderMattersError, when only one may load it.
        """
        with self._working(new_name(self.whose)) as work, ExitStack() as undo:
            self._clear_up(work.control)
            self.begins(work.server)
            undo.callback(drop, work.control, work.endpoint)
            shared = work.define(run_id)
            # From here on the run holds it; until now, and in each step, the server's lock does.
            Journal(work.control, work.endpoint.name).note(Fact.RUN, run_id)
            undo.pop_all()
            return shared

    def complete(self: "ScratchLoad[IndexedDump]", shared: SharedLoad, run_id: str) -> Proved:
        """Loads all that is left of it once its rows are loaded; then as `prove`.

        Raises also OrderMattersError, and Conflict where it is not there any more.
        """
        with self._working(name_of(shared)) as work:
            if not is_there(work.control, shared, run_id):
                raise _not_there(run_id)
            self.begins(work.server)
            return self._proved(work, partial(work.complete, shared, self.connections))

    def _proved(self, work: StagedLoad[D], load: Callable[[], Loaded]) -> Proved:
        name = work.endpoint.name
        try:
            loaded = load()
        finally:
            drop(work.control, work.endpoint)
        schemas = schemas_of(work.control, self.whose)
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
        with controlled(endpoint) as control, database_errors("loaded"), denials(VERIFIER):
            kind = ask_server(control)

            def inspect(loader: DatabaseEndpoint, staging: str, loaded: Loaded) -> None:
                if self.look is not None:
                    self.look(control, staging)
                count_rows(loader, staging, loaded, self.check, self.connections)
                ask_all(loader, staging, self.statements, self.check)

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
        drop_what_killed_ones_left(control, self.server, self.whose, self.under_way)


def loader_of(server: DatabaseEndpoint, shared: SharedLoad, run_id: str) -> DatabaseEndpoint:
    """Where a process of the run connects that fills what `share_out` has begun."""
    return accounts.lasting_loader(replace(server, name=name_of(shared)), None, run_id)


def check_is_there(server: DatabaseEndpoint, shared: SharedLoad, run_id: str) -> None:
    """Makes sure that what a server says of a shared load is not for want of that load.

    Raises Conflict where it was dropped or completed, DatabaseUnreachable.
    """
    with working(server, None) as control, usable(server):
        there = is_there(control, shared, run_id)
    if not there:
        raise _not_there(run_id)


def _not_there(run_id: str) -> Conflict:
    return Conflict(
        f"what run {run_id} has loaded is not on the server any more: nothing is known of the"
        " backup; verify it once more"
    )
