"""One load of a dump, from its first piece to its last.

Definitions and all that is no row go over one connection, in their order. Rows go over several, a
piece at a time; the connection that loads the last of a table's rows builds its secondary indexes.
All connections are the loader's.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from lcp_backup.archive.segment import Section
from lcp_backup.database.connection_pool import ConnectionPool
from lcp_backup.database.loaded import Loaded
from lcp_backup.database.local_infile import LoadingConnection
from lcp_backup.database.piece_load import PieceLoad, Table
from lcp_backup.database.pieces import Dump, Piece
from lcp_backup.database.session import Session, Staging

_WORTH_SETTING_ASIDE: Final = 1 << 20
"""Raw bytes of rows from which a table's indexes are built later: for fewer, the second statement
costs more than it saves."""
_TABLES: Final = frozenset({Section.DEFINITION, Section.ROWS})
_BETWEEN_TABLES: Final = _TABLES | {Section.HEAD}


class DumpLoad:
    """One load of a dump, from its first piece to its last; used once.

    Args:
        dump: what to load.
        pieces: loads its pieces.
        check: called while waiting; raises to stop.
    """

    def __init__(self, dump: Dump, pieces: PieceLoad, check: Callable[[], None]) -> None:
        self._dump = dump
        self._pieces = pieces
        self._check = check

    def load(
        self,
        target: Staging,
        connect: Callable[[], AbstractContextManager[LoadingConnection]],
        kill: Callable[[int], None],
        connections: int | None,
    ) -> Loaded:
        """Loads everything.

        Args:
            target: where all goes that is no row; its session is one connection more.
            connect: opens a connection for rows.
            kill: ends one of those inside the server by its number, when the load has to stop.
            connections: how many; None: all is loaded in the order in which it was written.

        Raises OrderMattersError when only that order is right; else as `SchemaLoad.stage`.
        """

        @contextmanager
        def pooled() -> Iterator[Session]:
            with connect() as connection:
                session = Session(connection)
                self._pieces.begin_rows(session)
                yield session

        in_parallel = connections is not None
        with ConnectionPool(connections or 1, pooled, kill, self._check) as pool:
            current: str | None = None
            ended = False
            for piece in self._dump.pieces(as_written=not in_parallel):
                rows_of = piece.table if in_parallel and piece.section is Section.ROWS else None
                if current is not None and rows_of != current:
                    self._close(current, pool)
                current = rows_of
                if piece.section not in _BETWEEN_TABLES:
                    self._finish_rows(pool)
                if in_parallel and ended and piece.section in _TABLES:
                    # Rows of other connections do not meet the session that an end has put back.
                    self._pieces.check_base(target.session)
                    ended = False
                if piece.section is Section.TAIL:
                    ended = True
                    self._pieces.add_foreign_keys(target.session)
                if rows_of is not None:
                    self._hand_out(piece, rows_of, target.session, pool)
                else:
                    self._pieces.execute(piece, target, apart=in_parallel)
            if current is not None:
                # A dump that sets nothing has nothing to put back: its rows are the end of it.
                self._close(current, pool)
            self._finish_rows(pool)
            self._pieces.add_foreign_keys(target.session)
        target.session.commit()
        if not in_parallel:
            self._pieces.check_counts(target.session, self._check)
        return self._pieces.loaded()

    def _hand_out(
        self, piece: Piece, name: str, main: Session, pool: ConnectionPool[Session]
    ) -> None:
        self._pieces.settle_base(main)
        table = self._pieces.tables.get(name)
        if table is not None:
            with self._pieces.lock:
                table.under_way += 1

        def load(session: Session) -> None:
            inserted = self._pieces.insert_rows(piece, session)
            session.commit()
            self._pieces.count_rows(piece, inserted)
            if table is not None:
                with self._pieces.lock:
                    table.under_way -= 1
                self._finish(name, table, session)

        pool.put(load)

    def _close(self, name: str, pool: ConnectionPool[Session]) -> None:
        """No more rows of this table: whoever loads the last of them finishes it."""
        table = self._pieces.tables.get(name)
        if table is None:
            return
        with self._pieces.lock:
            table.closed = True
            idle = not table.under_way
        if idle and not table.finished:
            pool.put(lambda session: self._finish(name, table, session))

    def _finish(self, name: str, table: Table, session: Session) -> None:
        with self._pieces.lock:
            if not table.closed or table.under_way or table.finished:
                return
            table.finished = True
        self._check()
        if table.definition.indexes:
            session.alter(name, table.definition.indexes)
        if table.counted:
            table.check_count(name, session.count(name))

    def _finish_rows(self, pool: ConnectionPool[Session]) -> None:
        for name, table in self._pieces.tables.items():
            if not table.closed and table.definition.indexes:
                self._close(name, pool)
        pool.drain()


def sets_indexes_aside(dump: Dump, name: str) -> bool:
    """Whether so many rows of a table are to come that its indexes are built after them."""
    rows = dump.row_bytes(name)
    return rows is None or rows >= _WORTH_SETTING_ASIDE
