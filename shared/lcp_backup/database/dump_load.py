"""One load of a dump, from its first piece to its last.

Definitions and all that is no row go over one connection, in their order. Rows go over several, a
piece at a time, as data where that can be; the connection that loads the last of a table's rows
builds its secondary indexes. All connections are the loader's.
"""

import re
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Final

from lcp_backup.archive.segment import Section
from lcp_backup.database.connection_pool import ConnectionPool
from lcp_backup.database.definition import Definition, taken_apart
from lcp_backup.database.loaded import Loaded
from lcp_backup.database.local_infile import LoadingConnection
from lcp_backup.database.pieces import Dump, Piece, PlacedStatement
from lcp_backup.database.policy import Policy, head
from lcp_backup.database.rows import RowPlan
from lcp_backup.database.rulings import STORED_CODE, Ruling, StatementKind
from lcp_backup.database.session import Session, Staging
from lcp_backup.database.statements import Statement, StatementSplitter
from lcp_backup.errors import InvalidRequest, LoadFailed

_WORTH_SETTING_ASIDE: Final = 1 << 20
"""Raw bytes of rows from which a table's indexes are built later: for fewer, the second statement
costs more than it saves."""
_KEYS = re.compile(rb"\b(?:DISABLE|ENABLE)\s+KEYS[\s*/]*\Z", re.IGNORECASE)
"""What a dump program says to a table around its rows."""

_BETWEEN_TABLES: Final = frozenset({Section.HEAD, Section.DEFINITION, Section.ROWS})
_AMONG_ROWS: Final = frozenset(
    {StatementKind.ROWS, StatementKind.TABLE, StatementKind.SESSION, StatementKind.LOCK,
    StatementKind.NOTHING, StatementKind.LEFT_OUT}
)  # fmt: skip
_IDLE: Final = frozenset({StatementKind.LOCK, StatementKind.NOTHING, StatementKind.LEFT_OUT})


type PlanRows = Callable[[Session, str, tuple[str, ...] | None], RowPlan | None]


class OrderMattersError(Exception):
    """Something between the rows of a dump has to happen in its place: no rows out of order."""


@dataclass
class _Table:
    """A table on its way."""

    definition: Definition
    under_way: int = 0
    """Pieces of its rows that were handed out and are not loaded."""
    closed: bool = False
    """No more of its rows will come."""
    inserted: int = 0
    counted: bool = True
    """Whether the server's word on its rows can be compared with what is there."""
    finished: bool = False
    as_statements: bool = False
    """Its rows did not arrive as data once, so the others are not tried either."""


class _NotAsDataError(Exception):
    """Rows have to travel as a statement."""


class DumpLoad:
    """One load of a dump, from its first piece to its last; used once.

    Args:
        dump: what to load.
        policy: judges its statements.
        progress: told the raw bytes of every piece once it is loaded.
        check: called before every statement, from several threads; raises to stop.
        only: the tables of a selection, which must have no foreign keys to others.
        foreign_keys: False leaves those out that can be set aside; then `only` asks nothing of
            them.
        plan_rows: how the rows of a table, with the columns that a statement lists, travel as data;
            called with a session of the loader. None: they travel as statements.
    """

    def __init__(
        self,
        dump: Dump,
        policy: Policy,
        *,
        progress: Callable[[int], None],
        check: Callable[[], None],
        only: Collection[str] | None,
        foreign_keys: bool,
        plan_rows: PlanRows | None,
    ) -> None:
        self._plan_rows = plan_rows
        self._foreign_keys = foreign_keys
        self._plans: dict[tuple[str, tuple[str, ...] | None], RowPlan | None] = {}
        self._dump = dump
        self._policy = policy
        self._progress = progress
        self._check = check
        self._only = only
        self._tables: dict[str, _Table] = {}
        self._left_out: dict[str, None] = {}
        self._definers: dict[str, str] = {}
        self._disabled: list[str] = []
        self._as_statements = 0
        self._head: list[Ruling] = []
        """What the dump's beginning does to a session."""
        self._base: tuple[str, ...] | None = None
        """The session as the beginning left it."""
        self._statements = 0
        self._lock = threading.Lock()

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

        Raises OrderMattersError when only that order is right; else as `staged_schema.stage`.
        """

        @contextmanager
        def pooled() -> Iterator[Session]:
            with connect() as connection:
                session = Session(connection)
                for ruling in self._head:
                    session.run(lambda: "the dump's beginning", ruling)
                if session.state() != self._base:
                    raise OrderMattersError
                session.expect_rows()
                yield session

        in_parallel = connections is not None
        with ConnectionPool(connections or 1, pooled, kill, self._check) as pool:
            current: str | None = None
            for piece in self._dump.pieces(as_written=not in_parallel):
                rows_of = piece.table if in_parallel and piece.section is Section.ROWS else None
                if current is not None and rows_of != current:
                    self._close(current, pool)
                current = rows_of
                if piece.section not in _BETWEEN_TABLES:
                    self._finish_rows(pool)
                if piece.section is Section.TAIL:
                    self._add_foreign_keys(target.session)
                if rows_of is not None:
                    self._hand_out(piece, rows_of, target.session, pool)
                else:
                    self._execute(piece, target, apart=in_parallel)
            self._finish_rows(pool)
            self._add_foreign_keys(target.session)
        target.session.commit()
        if not self._tables:
            reason = "the dump creates no table: it would leave an empty site"
            raise LoadFailed(reason, public=reason)
        return Loaded(
            tuple(self._tables),
            self._statements,
            sum(table.inserted for table in self._tables.values()),
            tuple(self._left_out),
            definers=tuple(f"{subject}: {was}" for subject, was in self._definers.items()),
            disabled=tuple(self._disabled),
            rows_as_data=self._plan_rows is not None,
            rows_as_statements=self._as_statements,
            rows_of={name: it.inserted for name, it in self._tables.items() if it.counted},
        )

    # --- on the one connection ------------------------------------------------

    def _execute(self, piece: Piece, target: Staging, *, apart: bool) -> None:
        in_head = piece.section is Section.HEAD and self._base is None
        if self._base is None and not in_head:
            self._base = target.session.state()
        touched = False
        for statement, ruling in self._judged(piece):
            touched = touched or ruling.kind is StatementKind.SESSION
            where = PlacedStatement(piece, statement).tell
            if ruling.creates:
                definition = self._define(ruling, apart=apart)
                target.take(where, replace(ruling, sql=definition.create))
                continue
            if ruling.kind in STORED_CODE:
                self._tell_of(ruling)
            if ruling.drops:
                self._tables.pop(ruling.name, None)
            if in_head and ruling.kind is StatementKind.SESSION:
                self._head.append(ruling)
            if ruling.kind is StatementKind.ROWS:
                inserted = target.session.run(where, ruling)
                self._as_statements += inserted
                if ruling.name in self._tables:
                    self._tables[ruling.name].inserted += inserted
            else:
                target.take(where, ruling)
        if piece.section is Section.ROWS:
            target.session.commit()
        self._progress(len(piece.raw))
        # With rows on other connections, each table must leave the session as it found it.
        settled = not touched or in_head or piece.section is Section.TAIL
        if apart and not settled and target.session.state() != self._base:
            raise OrderMattersError

    def _define(self, ruling: Ruling, *, apart: bool) -> Definition:
        if not apart:
            definition = Definition(ruling.sql)
        else:
            rows = self._dump.row_bytes(ruling.name)
            worth = rows is None or rows >= _WORTH_SETTING_ASIDE
            definition = taken_apart(ruling.sql, set_indexes_aside=worth)
        if not self._foreign_keys:
            definition = replace(definition, foreign_keys=(), references=())
        if self._only is not None:
            for other in definition.references:
                if other not in self._only:
                    raise InvalidRequest(
                        f"a foreign key of {ruling.name} points to {other}: name that table as"
                        " well, or restore into another database"
                    )
        self._tables[ruling.name] = _Table(definition, counted=definition.counted)
        return definition

    def _add_foreign_keys(self, session: Session) -> None:
        for name, table in self._tables.items():
            keys, table.definition = table.definition.foreign_keys, Definition.executed()
            if keys:
                self._check()
                session.alter(name, keys)

    # --- on the pool's connections --------------------------------------------

    def _hand_out(
        self, piece: Piece, name: str, main: Session, pool: ConnectionPool[Session]
    ) -> None:
        if self._base is None:
            self._base = main.state()
        table = self._tables.get(name)
        if table is not None:
            with self._lock:
                table.under_way += 1

        def load(session: Session) -> None:
            self._load_rows(piece, session)
            if table is not None:
                with self._lock:
                    table.under_way -= 1
                self._finish(name, table, session)

        pool.put(load)

    def _load_rows(self, piece: Piece, session: Session) -> None:
        try:
            inserted = self._loaded(piece, session, as_data=True)
        except _NotAsDataError:
            session.rollback()
            inserted = self._loaded(piece, session, as_data=False)
        session.commit()
        with self._lock:
            for name, rows in inserted.items():
                if name in self._tables:
                    self._tables[name].inserted += rows
        self._progress(len(piece.raw))

    def _loaded(self, piece: Piece, session: Session, *, as_data: bool) -> dict[str, int]:
        """Loads a piece's rows; answers how many by table. Commits nothing."""
        touched = False
        as_statements = 0
        inserted: dict[str, int] = {}
        for statement, ruling in self._judged(piece):
            table = self._tables.get(ruling.name)
            if ruling.kind not in _AMONG_ROWS or ruling.creates or ruling.drops:
                # Stored code among rows is kept for the swap where the dump's order is followed.
                raise OrderMattersError
            if ruling.kind in _IDLE:
                continue
            if ruling.kind is StatementKind.TABLE:
                if not _KEYS.search(ruling.sql):
                    raise OrderMattersError
                if table is not None and table.definition.counted:
                    continue  # InnoDB keeps its keys whatever one says
            touched = touched or ruling.kind is StatementKind.SESSION
            where = PlacedStatement(piece, statement).tell
            if ruling.kind is not StatementKind.ROWS:
                session.run(where, ruling)
                continue
            plan = self._plan_for(session, table, ruling) if as_data and not touched else None
            if plan is not None:
                assert table is not None
                done = session.load(where, plan, ruling)
                if done is None:
                    table.as_statements = True
                    raise _NotAsDataError
            else:
                done = session.run(where, ruling)
                as_statements += done
            inserted[ruling.name] = inserted.get(ruling.name, 0) + done
            if table is not None and (
                ruling.name != piece.table or ruling.sql[:6].upper() != b"INSERT"
            ):
                table.counted = False
        if touched and session.state() != self._base:
            raise OrderMattersError
        with self._lock:
            self._as_statements += as_statements
        return inserted

    def _plan_for(self, session: Session, table: _Table | None, ruling: Ruling) -> RowPlan | None:
        """How a statement's rows travel as data; None when they travel as a statement.

        Only into InnoDB, which can take back what it took otherwise than it should.
        """
        if self._plan_rows is None or table is None or table.as_statements:
            return None
        if not table.definition.counted or ruling.sql[:6].upper() != b"INSERT":
            return None
        key = (ruling.name, ruling.columns)
        with self._lock:
            known = key in self._plans
        if not known:
            plan = self._plan_rows(session, *key)
            with self._lock:
                self._plans[key] = plan
        return self._plans[key]

    def _close(self, name: str, pool: ConnectionPool[Session]) -> None:
        """No more rows of this table: whoever loads the last of them finishes it."""
        table = self._tables.get(name)
        if table is None:
            return
        with self._lock:
            table.closed = True
            idle = not table.under_way
        if idle and not table.finished:
            pool.put(lambda session: self._finish(name, table, session))

    def _finish(self, name: str, table: _Table, session: Session) -> None:
        with self._lock:
            if not table.closed or table.under_way or table.finished:
                return
            table.finished = True
        self._check()
        if table.definition.indexes:
            session.alter(name, table.definition.indexes)
        if table.counted:
            there = session.count(name)
            if there != table.inserted:
                reason = f"{table.inserted} rows were loaded into {name!r} and {there} are there"
                raise LoadFailed(reason, public=reason)

    def _finish_rows(self, pool: ConnectionPool[Session]) -> None:
        for name, table in self._tables.items():
            if not table.closed and table.definition.indexes:
                self._close(name, pool)
        pool.drain()

    # --- statements -----------------------------------------------------------

    def _tell_of(self, ruling: Ruling) -> None:
        subject = f"{ruling.kind} {ruling.name}"
        if ruling.definer:
            self._definers[subject] = ruling.definer
        if ruling.kind is StatementKind.EVENT and not self._dump.by_dump_program:
            self._disabled.append(ruling.name)

    def _judged(self, piece: Piece) -> Iterator[tuple[Statement, Ruling]]:
        splitter = StatementSplitter(dump_program=self._dump.by_dump_program)
        count = 0
        for statement in splitter.split(piece.raw, self._check):
            self._check()
            ruling = self._policy.judge(PlacedStatement(piece, statement))
            count += 1
            if ruling.kind is StatementKind.LEFT_OUT:
                self._left_out[head(statement.text)] = None
            yield statement, ruling
        with self._lock:
            self._statements += count
