"""One dump on its way into a staging schema, until all of it is there and was tried.

What comes out of the dump is sent by the loader; the rest are statements of this service's own.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock

import pymysql

from lcp_backup.database import accounts
from lcp_backup.database.accounts import Accounts
from lcp_backup.database.dump_load import DumpLoad, sets_indexes_aside
from lcp_backup.database.endpoint import Connection, DatabaseEndpoint, Server, connect
from lcp_backup.database.foreign_keys import check_ties
from lcp_backup.database.journal import Journal
from lcp_backup.database.loaded import Loaded
from lcp_backup.database.local_infile import LoadingConnection, allows_local_infile
from lcp_backup.database.piece_load import OrderMattersError, PieceLoad, PlanRows
from lcp_backup.database.pieces import Dump
from lcp_backup.database.policy import Policy
from lcp_backup.database.rows import RowPlan, columns_of
from lcp_backup.database.scripts import Script, run_scripts
from lcp_backup.database.session import Session, Staging
from lcp_backup.database.sql import (
    describe,
    is_lost,
    load_failed,
    numbered,
    prepare,
    tables_of,
)
from lcp_backup.database.stored_code import set_defaults_aside, try_all
from lcp_backup.database.swap import create_staging, discard
from lcp_backup.errors import LoadFailed

type Inspect = Callable[[DatabaseEndpoint, str, Loaded], None]
"""Told the loader's endpoint, the staging schema and what was loaded into it."""


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
    """As of `PieceLoad`."""

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
                pieces = PieceLoad(
                    self.policy,
                    by_dump_program=self.dump.by_dump_program,
                    sets_aside=partial(sets_indexes_aside, self.dump),
                    progress=self.progress,
                    check=self.check,
                    only=self.only,
                    foreign_keys=self.foreign_keys,
                    plan_rows=self._plan_rows(asking, staging),
                )
                loaded = DumpLoad(self.dump, pieces, self.check).load(
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
