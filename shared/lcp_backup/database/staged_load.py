"""One dump on its way into a staging schema, until all of it is there and was tried.

What comes out of the dump is sent by the loader; the rest are statements of this service's own.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from lcp_backup.database import accounts
from lcp_backup.database.accounts import Accounts
from lcp_backup.database.dump_load import DumpLoad, sets_indexes_aside
from lcp_backup.database.dump_order import OrderMattersError, counting_in_place
from lcp_backup.database.endpoint import Connection, DatabaseEndpoint, Server
from lcp_backup.database.foreign_keys import check_ties
from lcp_backup.database.journal import Fact, Journal
from lcp_backup.database.load_progress import LoadProgress
from lcp_backup.database.loaded import Loaded
from lcp_backup.database.loading import loading_connection, plan_rows
from lcp_backup.database.piece_load import Inserted, PieceLoad, SetAside
from lcp_backup.database.pieces import Dump, IndexedDump, Piece
from lcp_backup.database.policy import Policy
from lcp_backup.database.scripts import Script, run_scripts
from lcp_backup.database.session import Session, Staging
from lcp_backup.database.shared_load import (
    SharedLoad,
    rows_missing,
    sets_indexes_aside_for_many,
)
from lcp_backup.database.sql import session_variable, tables_of
from lcp_backup.database.stored_code import set_defaults_aside, try_all
from lcp_backup.database.swap import create_staging, discard
from lcp_backup.errors import LoadFailed, ServerGaveUp

type Inspect = Callable[[DatabaseEndpoint, str, Loaded], None]
"""Told the loader's endpoint, the staging schema and what was loaded into it."""


def check_engine(control: Connection) -> None:
    """Raises ServerGaveUp where the server makes every table of another engine than a dump's.

    It says so in a note, which a dump's head turns off, and leaves foreign keys out. InnoDB is the
    one that no table is the worse for.
    """
    engine = session_variable(control, "enforce_storage_engine")
    if engine and engine.upper() != "INNODB":
        told = (
            f"the server makes every table with engine {engine} (enforce_storage_engine), whatever"
            " the dump says, and without foreign keys: set enforce_storage_engine to InnoDB or to"
            " nothing in the server's parameters, and in init_connect"
        )
        raise ServerGaveUp(told, public=told)


@dataclass(frozen=True, kw_only=True)
class StagedLoad[D: Dump]:
    """One dump on its way into a staging schema, under its lock."""

    control: Connection
    endpoint: DatabaseEndpoint
    dump: D
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
        check_engine(self.control)
        discard(self.control, self.endpoint)
        staging = create_staging(self.control, self.endpoint)
        with accounts.loader(self.control, self.endpoint, staging, self.given.loader) as endpoint:
            with self._loading(endpoint, staging, partial(sets_indexes_aside, self.dump)) as load:
                loaded = load.of(self.dump, connections)
            return self._tried(endpoint, staging, loaded)

    def define(self: "StagedLoad[IndexedDump]", run_id: str) -> SharedLoad:
        """Creates its tables, to be filled by several processes of this run.

        Raises OrderMattersError when only one may.
        """
        if not self.dump.is_apart:
            raise OrderMattersError
        check_engine(self.control)
        discard(self.control, self.endpoint)
        staging = create_staging(self.control, self.endpoint)
        endpoint = accounts.make_lasting_loader(
            self.control, self.endpoint, staging, self.given.loader, run_id
        )
        aside = partial(sets_indexes_aside_for_many, self.dump)
        with counting_in_place(self.dump), self._loading(endpoint, staging, aside) as load:
            for piece in self.dump.definitions():
                load.pieces.execute(piece, load.target, apart=True)
            load.pieces.settle_base(load.target.session)
            load.target.session.commit()
            counted = [name for name, it in load.pieces.tables.items() if it.counted]
        return SharedLoad(
            LoadProgress.create(self.control, staging),
            load.pieces.base or (),
            tuple(name for name in counted if self.dump.row_bytes(name)),
        )

    def complete(self: "StagedLoad[IndexedDump]", shared: SharedLoad, connections: int) -> Loaded:
        """Loads all that others left, and tries its stored code; they are shut out first.

        Raises LoadFailed also when not all is there that they were to load.
        """
        staging = shared.progress.schema
        with (
            counting_in_place(self.dump),
            accounts.loader(self.control, self.endpoint, staging, self.given.loader) as endpoint,
        ):
            there = shared.progress.read(self.control)
            with self._loading(endpoint, staging, lambda _: False) as load:
                load.pieces.base = shared.base
                for piece in self.dump.definitions():
                    load.pieces.learn(piece)
                load.pieces.begin_rows(load.target.session)
                for number, segment in shared.rows(self.dump):
                    if number not in there or segment.table is None:
                        raise rows_missing(segment.table)
                    rows, told = there[number]
                    load.pieces.add(Inserted({segment.table: rows}, told))
                shared.progress.drop(self.control)
                loaded = load.of(_Rest(self.dump, shared.tables), connections)
            return self._tried(endpoint, staging, loaded)

    def _tried(self, endpoint: DatabaseEndpoint, staging: str, loaded: Loaded) -> Loaded:
        """What was loaded, once all of it turned out to be there and to work."""
        journal = Journal(self.control, self.endpoint.name)
        # Before there are triggers, which would fire.
        ran = run_scripts(endpoint, staging, self.scripts, self.server, self.check)
        _check_all_there(loaded.tables, tables_of(self.control, staging))
        check_ties(self.control, staging)
        try_all(endpoint, self.control, staging, journal.kept(), self.check)
        if self.inspect is not None:
            self.inspect(endpoint, staging, loaded)
        set_defaults_aside(self.control, staging, self.endpoint.name, journal)
        # The last: a swap takes no other word for it that all is there.
        seal = secrets.token_hex(16)
        journal.note(Fact.WHOLE, seal)
        return replace(loaded, scripts=ran, seal=seal)

    @contextmanager
    def _loading(
        self, endpoint: DatabaseEndpoint, staging: str, sets_aside: SetAside
    ) -> Iterator["_Loading"]:
        with (
            loading_connection(endpoint, staging) as connection,
            loading_connection(endpoint, staging) as asking,
        ):
            pieces = PieceLoad(
                self.policy,
                by_dump_program=self.dump.by_dump_program,
                sets_aside=sets_aside,
                progress=self.progress,
                check=self.check,
                only=self.only,
                foreign_keys=self.foreign_keys,
                plan_rows=plan_rows(asking, staging),
            )
            target = Staging(
                Session(connection),
                staging,
                Journal(self.control, self.endpoint.name),
                enable_events=self.dump.by_dump_program,
            )
            yield _Loading(endpoint, staging, pieces, target, self.check)


@dataclass(frozen=True)
class _Loading:
    """A load that has its connections, but those for rows."""

    endpoint: DatabaseEndpoint
    """The loader's."""
    staging: str
    pieces: PieceLoad
    target: Staging
    check: Callable[[], None]

    def of(self, dump: Dump, connections: int | None) -> Loaded:
        """Loads a dump, as `DumpLoad.load`."""
        return DumpLoad(dump, self.pieces, self.check).load(
            self.target,
            lambda: loading_connection(self.endpoint, self.staging),
            lambda thread_id: accounts.kill(self.endpoint, thread_id),
            connections,
        )


@dataclass(frozen=True)
class _Rest:
    """What is left of a dump once others have loaded the rows of some tables."""

    dump: IndexedDump
    loaded: Collection[str]

    @property
    def by_dump_program(self) -> bool:
        """As the dump's."""
        return self.dump.by_dump_program

    @property
    def selected(self) -> frozenset[str] | None:
        """As the dump's."""
        return self.dump.selected

    def row_bytes(self, table: str) -> int | None:
        """As the dump's."""
        return self.dump.row_bytes(table)

    def pieces(self, *, as_written: bool) -> Iterator[Piece]:  # noqa: ARG002 -- begun in this order
        """All that is left."""
        return self.dump.rest(self.loaded)


def _check_all_there(expected: Iterable[str], found: Iterable[str]) -> None:
    # A server may keep names in lower case (lower_case_table_names). Then two that differ in
    # nothing else are one table: it would have the rows of both, or of the one defined last.
    there = Counter(name.lower() for name in found)
    alike: dict[str, list[str]] = {}
    for name in expected:
        alike.setdefault(name.lower(), []).append(name)
    missing = [name for folded, (name, *_) in alike.items() if not there[folded]]
    if missing:
        raise LoadFailed(
            f"{len(missing)} tables of the dump are missing after the load: {missing[0]!r}"
        )
    for folded, names in alike.items():
        if len(names) > there[folded]:
            raise differ_in_case(names)


def differ_in_case(names: Iterable[str]) -> LoadFailed:
    """That these tables of a dump cannot all be there on a server that takes no account of case."""
    told = (
        f"the dump's tables {', '.join(map(repr, names))} differ only in case, and are one table"
        " to this server (lower_case_table_names): restore them on a server that takes account of"
        " case, or rename one of them before the dump"
    )
    return LoadFailed(told, public=told)
