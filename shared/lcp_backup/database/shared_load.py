"""A dump whose rows several processes load into one staging schema, side by side.

    define --> rows (by many) --> indexes (by many) --> complete

`StagedLoad` defines and completes, as the master of the database; what is between is done here, as
the loader alone. Which rows are loaded is kept by the server (`LoadProgress`).
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from lcp_backup.database import accounts
from lcp_backup.database.connection_pool import ConnectionPool
from lcp_backup.database.definition import index_name
from lcp_backup.database.dump_load import sets_indexes_aside
from lcp_backup.database.dump_order import OrderMattersError, counting_in_place
from lcp_backup.database.endpoint import DatabaseEndpoint, ask_server
from lcp_backup.database.load_progress import LoadedBeforeError, LoadProgress
from lcp_backup.database.loading import loading_connection, plan_rows
from lcp_backup.database.local_infile import LoadingConnection
from lcp_backup.database.piece_load import PieceLoad
from lcp_backup.database.pieces import IndexedDump, Numbered, Piece
from lcp_backup.database.policy import Policy
from lcp_backup.database.session import Session
from lcp_backup.database.sql import database_errors, execute, quote, text
from lcp_backup.errors import LoadFailed, ServerGaveUp

_LARGEST_BUILT_LATER: Final = 8 << 30
"""Raw bytes of rows up to which a table's indexes are built once they are there: one statement does
that, for which an invocation has time. Those of a larger one grow with its rows."""
_SILENCE_SECONDS: Final = 120
"""After which the server ends the connection of a process that died, with its open transaction."""
_PATIENCE_SECONDS: Final = 150
"""For how long another one that loads the same rows waits for that."""
_INDEX_SECONDS: Final = 900
"""For how long one waits for a table whose indexes a statement still builds that lost its asker;
its own time ends before that."""


@dataclass(frozen=True)
class SharedLoad:
    """What one process has defined, and others fill."""

    progress: LoadProgress
    base: tuple[str, ...]
    """As of `PieceLoad`."""
    tables: tuple[str, ...]
    """Those whose rows may be loaded in any order, and are counted."""

    def rows(self, dump: IndexedDump) -> list[Numbered]:
        """The pieces of rows that are to be loaded, in their order."""
        mine = frozenset(self.tables)
        return [it for it in dump.rows() if it[1].table in mine]


def sets_indexes_aside_for_many(dump: IndexedDump, name: str) -> bool:
    """Whether a table's indexes are built after its rows, where that takes processes of their own.

    All of these have to say the same.
    """
    size = dump.row_bytes(name) or 0
    return size <= _LARGEST_BUILT_LATER and sets_indexes_aside(dump, name)


@dataclass(frozen=True, kw_only=True)
class SharedLoader:
    """One process of those that fill a staging schema.

    Args:
        endpoint: the loader's.
        load: what was defined.
        dump: what is loaded.
        dumped_name: the schema the dump was made of.
        connections: over how many connections at most, at least 1.
        progress: told the raw bytes of every piece once it is loaded.
        check: called before every statement, from several threads; raises to stop.

    Methods raise LoadFailed (and ServerGaveUp, after which another attempt may do), ArchiveRefused,
    OrderMattersError when only one process may load this dump, AccountRefused (before anything is
    sent), DatabaseUnreachable.
    """

    endpoint: DatabaseEndpoint
    load: SharedLoad
    dump: IndexedDump
    dumped_name: str
    connections: int
    progress: Callable[[int], None]
    check: Callable[[], None]

    def load_rows(self, wanted: Sequence[Numbered], is_over: Callable[[], bool]) -> bool:
        """Loads the pieces of these that are not loaded yet, each exactly once whoever else does.

        Of a table whose rows are all there then it builds the indexes, unless another process does.
        Answers whether all are there; once `is_over`, no further one is begun.
        """
        with self._working() as asking:
            there = self.load.progress.read(asking)
            missing = [it for it in wanted if it[0] not in there]
            pieces = self._pieces(asking, {segment.table for _, segment in wanted})
            with self._pool(pieces) as pool:
                for (number, _), piece in zip(missing, self.dump.these(missing), strict=True):
                    pool.put(partial(self._load, pieces, number, piece))
                    if is_over() and number != missing[-1][0]:
                        pool.drain()
                        return False
                pool.drain()
                there = self.load.progress.read(asking)
                for name in self._all_there(there, wanted):
                    pool.put(partial(self._build_if_nobody_does, pieces, name))
                pool.drain()
        return True

    def build_indexes(self, tables: Collection[str]) -> None:
        """Builds the indexes that are missing, and counts what is there; may be done again."""
        with self._working() as asking:
            there = self.load.progress.read(asking)
            pieces = self._pieces(asking, tables)
            sent = dict.fromkeys(tables, 0)
            for number, segment in self.load.rows(self.dump):
                if segment.table in sent:
                    if number not in there:
                        raise rows_missing(segment.table)
                    sent[segment.table] += there[number][0]
            with self._pool(pieces) as pool:
                for name in tables:
                    pool.put(partial(self._finish, pieces, name, sent[name]))
                pool.drain()

    def _load(self, pieces: PieceLoad, number: int, piece: Piece, session: Session) -> None:
        progress = self.load.progress
        try:
            inserted = pieces.insert_rows(piece, session, lambda: progress.begin(session, number))
        except LoadedBeforeError:
            session.rollback()
            return
        table = pieces.tables.get(piece.table or "")
        if table is None or not table.counted or set(inserted.rows) - {piece.table}:
            raise OrderMattersError
        progress.end(session, number, inserted)
        session.commit()
        pieces.count_rows(piece, inserted)

    def _all_there(self, there: Collection[int], wanted: Sequence[Numbered]) -> Collection[str]:
        """The tables of these pieces of which all pieces are loaded."""
        missing = {it.table for number, it in self.load.rows(self.dump) if number not in there}
        tables = dict.fromkeys(it.table for _, it in wanted if it.table is not None)
        return [name for name in tables if name not in missing]

    def _build_if_nobody_does(self, pieces: PieceLoad, name: str, session: Session) -> None:
        with session.alone_at(self.load.progress.lock(name)) as is_alone:
            if is_alone:
                self._build(pieces, name, session)

    def _build(self, pieces: PieceLoad, name: str, session: Session) -> None:
        indexes = pieces.tables[name].definition.indexes
        self.check()
        if not indexes or _has_indexes(session, name, indexes):
            return
        try:
            session.alter(name, indexes)
        except LoadFailed:
            # The statement of an attempt that died may have been at work on them until now.
            if not _has_indexes(session, name, indexes):
                raise

    def _finish(self, pieces: PieceLoad, name: str, sent: int, session: Session) -> None:
        self._build(pieces, name, session)
        table = pieces.tables[name]
        table.inserted = sent
        table.check_count(name, session.count(name))

    @contextmanager
    def _working(self) -> Iterator[LoadingConnection]:
        schema = self.load.progress.schema
        with counting_in_place(self.dump), database_errors("loaded"):
            accounts.check_lasting_loader(self.endpoint, schema)
            with loading_connection(self.endpoint, schema) as connection:
                yield connection

    @contextmanager
    def _pool(self, pieces: PieceLoad) -> Iterator[ConnectionPool[Session]]:
        @contextmanager
        def connected() -> Iterator[Session]:
            with loading_connection(self.endpoint, self.load.progress.schema) as connection:
                execute(
                    connection,
                    f"SET SESSION wait_timeout = {_SILENCE_SECONDS},"
                    f" net_read_timeout = {_SILENCE_SECONDS},"
                    f" innodb_lock_wait_timeout = {_PATIENCE_SECONDS},"
                    f" lock_wait_timeout = {_INDEX_SECONDS}",
                )
                session = Session(connection)
                pieces.begin_rows(session)
                yield session

        def kill(thread_id: int) -> None:
            accounts.kill(self.endpoint, thread_id)

        with ConnectionPool(self.connections, connected, kill, self.check) as pool:
            yield pool

    def _pieces(self, asking: LoadingConnection, tables: Collection[str | None]) -> PieceLoad:
        pieces = PieceLoad(
            Policy(
                self.dumped_name,
                uploaded=not self.dump.by_dump_program,
                server=ask_server(asking),
            ),
            by_dump_program=self.dump.by_dump_program,
            sets_aside=partial(sets_indexes_aside_for_many, self.dump),
            progress=self.progress,
            check=self.check,
            only=None,
            foreign_keys=True,
            plan_rows=plan_rows(asking, self.load.progress.schema),
        )
        pieces.base = self.load.base
        for piece in self.dump.definitions(tables):
            pieces.learn(piece)
        return pieces


def rows_missing(table: str | None) -> ServerGaveUp:
    """That nobody has loaded a piece, or the server has lost it: no fault of the dump's."""
    return ServerGaveUp(
        f"rows of table {table!r} were not loaded, or are not on the server any more",
        public=f"rows of table {table!r} were not loaded, or are not on the server any more",
    )


def _has_indexes(session: Session, table: str, indexes: Collection[bytes]) -> bool:
    """Whether the table has all of these; others may have been there from the beginning."""
    there = {text(row[2]) for row in session.note(f"SHOW INDEX FROM {quote(table)}")}
    return all(index_name(index) in there for index in indexes)
