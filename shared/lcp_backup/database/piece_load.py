"""How each piece of a dump is loaded, whoever says in what order.

Definitions and all that is no row go over one connection, in their order. Rows go over any, a piece
in one transaction, as data where that can be.
"""

import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from lcp_backup.archive.segment import Section
from lcp_backup.database.definition import Definition, taken_apart
from lcp_backup.database.dump_order import OrderMattersError, has_its_place, yields
from lcp_backup.database.loaded import Loaded
from lcp_backup.database.pieces import Piece, PlacedStatement
from lcp_backup.database.policy import Policy, head
from lcp_backup.database.rows import RowPlan
from lcp_backup.database.rulings import STORED_CODE, Ruling, StatementKind
from lcp_backup.database.session import Session, Staging, Where
from lcp_backup.database.statements import Statement, StatementSplitter
from lcp_backup.errors import InvalidRequest, LoadFailed

_KEYS = re.compile(rb"\b(?:DISABLE|ENABLE)\s+KEYS[\s*/]*\Z", re.IGNORECASE)
"""What a dump program says to a table around its rows."""
_AMONG_ROWS: Final = frozenset(
    {StatementKind.ROWS, StatementKind.TABLE, StatementKind.SESSION, StatementKind.LOCK,
    StatementKind.NOTHING, StatementKind.LEFT_OUT}
)  # fmt: skip
_DROPS_ROWS = re.compile(rb"ALTER\s+IGNORE\b", re.IGNORECASE)
"""Of rows that a new key finds twice, one stays (MariaDB)."""
_IDLE: Final = frozenset({StatementKind.LOCK, StatementKind.NOTHING, StatementKind.LEFT_OUT})

type PlanRows = Callable[[Session, str, tuple[str, ...] | None], RowPlan | None]
type SetAside = Callable[[str], bool]
"""Whether the indexes of a table, of this name, are built once its rows are there."""


class _NotAsDataError(Exception):
    """Rows have to travel as a statement."""


@dataclass
class Table:
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

    def check_count(self, name: str, there: int) -> None:
        """Raises LoadFailed when not as many rows are there as were inserted."""
        if self.counted and there != self.inserted:
            reason = f"{self.inserted} rows were loaded into {name!r} and {there} are there"
            raise LoadFailed(reason, public=reason)


@dataclass
class Told:
    """What a load says of a dump in the end, or of a piece of its rows."""

    statements: int = 0
    left_out: dict[str, None] = field(default_factory=dict)
    definers: dict[str, str] = field(default_factory=dict)
    disabled: list[str] = field(default_factory=list)
    rows_as_statements: int = 0


@dataclass(frozen=True)
class Inserted:
    """What became of a piece of rows."""

    rows: Mapping[str, int]
    """By table, as the server said."""
    told: Told


class PieceLoad:
    """The pieces of one load of a dump, those of rows from several threads.

    Args:
        policy: judges every statement.
        by_dump_program: whether a dump program of ours wrote the dump.
        sets_aside: told a table's name.
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
        policy: Policy,
        *,
        by_dump_program: bool,
        sets_aside: SetAside,
        progress: Callable[[int], None],
        check: Callable[[], None],
        only: Collection[str] | None,
        foreign_keys: bool,
        plan_rows: PlanRows | None,
    ) -> None:
        self._policy = policy
        self._by_dump_program = by_dump_program
        self._sets_aside = sets_aside
        self._progress = progress
        self._check = check
        self._only = only
        self._foreign_keys = foreign_keys
        self._plan_rows = plan_rows
        self._plans: dict[tuple[str, tuple[str, ...] | None], RowPlan | None] = {}
        self._head: list[Ruling] = []
        """What the dump's beginning does to a session."""
        self.tables: dict[str, Table] = {}
        self.told = Told()
        self.base: tuple[str, ...] | None = None
        """The session as the beginning left it."""
        self.lock = threading.Lock()
        """Held for as long as a table's state is changed, or what is told."""

    def loaded(self) -> Loaded:
        """What all came to; raises LoadFailed when there was no table."""
        if not self.tables:
            reason = "the dump creates no table: it would leave an empty site"
            raise LoadFailed(reason, public=reason)
        told = self.told
        return Loaded(
            tuple(self.tables),
            told.statements,
            sum(table.inserted for table in self.tables.values()),
            tuple(told.left_out),
            definers=tuple(f"{subject}: {was}" for subject, was in told.definers.items()),
            disabled=tuple(told.disabled),
            rows_as_data=self._plan_rows is not None,
            rows_as_statements=told.rows_as_statements,
            rows_of={name: it.inserted for name, it in self.tables.items() if it.counted},
        )

    # --- on the one connection ------------------------------------------------

    def execute(self, piece: Piece, target: Staging, *, apart: bool) -> None:
        """Loads a piece of any section in its place.

        Arguments: `apart` is whether rows are loaded over other connections; then a definition
        is taken apart, and OrderMattersError is raised where the piece leaves the session changed.
        Raises also LoadFailed, ArchiveRefused, InvalidRequest.
        """
        in_head = piece.section is Section.HEAD and self.base is None
        if not in_head:
            self.settle_base(target.session)
        touched = False
        told = Told()
        for statement, ruling in self._judged(piece, told):
            touched = touched or ruling.kind is StatementKind.SESSION
            where = PlacedStatement(piece, statement).tell
            if apart and has_its_place(piece, ruling, self.tables):
                raise OrderMattersError
            if ruling.creates:
                definition = self._define(ruling, apart=apart)
                target.take(where, replace(ruling, sql=definition.create))
                continue
            if ruling.kind in STORED_CODE:
                self._tell_of(ruling)
            if ruling.drops:
                self.tables.pop(ruling.name, None)
            if in_head and ruling.kind is StatementKind.SESSION:
                self._head.append(ruling)
            if ruling.kind is StatementKind.ROWS:
                inserted = target.session.run(where, ruling)
                told.rows_as_statements += inserted
                self._count_in_place(ruling, inserted)
            else:
                if ruling.name in self.tables and _DROPS_ROWS.match(ruling.sql):
                    self.tables[ruling.name].counted = False
                target.take(where, ruling)
        if piece.section is Section.ROWS:
            target.session.commit()
        self.count_rows(piece, Inserted({}, told))
        # With rows on other connections, each table must leave the session as it found it.
        settled = not touched or in_head or piece.section is Section.TAIL
        if apart and not settled:
            self.check_base(target.session)

    def learn(self, piece: Piece) -> None:
        """Takes account of a beginning or a definition that was executed apart by another process.

        Who learns all of them knows what that one knew, but `base`, which it is told.
        """
        told = Told()
        for _, ruling in self._judged(piece, told):
            if ruling.creates:
                self._define(ruling, apart=True)
                continue
            if ruling.kind in STORED_CODE:
                self._tell_of(ruling)
            if ruling.drops:
                self.tables.pop(ruling.name, None)
            if piece.section is Section.HEAD and ruling.kind is StatementKind.SESSION:
                self._head.append(ruling)
        self.add(Inserted({}, told))

    def settle_base(self, session: Session) -> None:
        """From here on the dump's beginning is over."""
        if self.base is None:
            self.base = session.state()

    def check_base(self, session: Session) -> None:
        """Raises OrderMattersError where the session is another one than the beginning left."""
        if session.state() != self.base:
            raise OrderMattersError

    def add_foreign_keys(self, session: Session) -> None:
        """Adds those that were set aside, once all indexes stand."""
        for name, table in self.tables.items():
            keys, table.definition = table.definition.foreign_keys, Definition.executed()
            if keys:
                self._check()
                session.alter(name, keys)

    def check_counts(self, session: Session, check: Callable[[], None]) -> None:
        """Raises LoadFailed when not as many rows are there as were inserted, where that is sure.

        For a load in the dump's order, in which nobody else counts them.
        """
        for name, table in self.tables.items():
            check()
            if table.counted or table.inserted:
                there = session.count(name)
                table.check_count(name, there)
                table.inserted = there  # of rows that replace others the server counts both

    def _define(self, ruling: Ruling, *, apart: bool) -> Definition:
        aside = apart and self._sets_aside(ruling.name)
        definition = taken_apart(ruling.sql, set_indexes_aside=aside)
        if not apart:
            definition = Definition(ruling.sql, counted=definition.counted)
        if not self._foreign_keys:
            definition = replace(definition, foreign_keys=(), references=())
        if self._only is not None:
            for other in definition.references:
                if other not in self._only:
                    raise InvalidRequest(
                        f"a foreign key of {ruling.name} points to {other}: name that table as"
                        " well, or restore into another database"
                    )
        # (One that is there already stays, with its rows: CREATE TABLE IF NOT EXISTS.)
        counted = definition.counted and ruling.name not in self.tables
        self.tables[ruling.name] = Table(definition, counted=counted)
        return definition

    def _count_in_place(self, ruling: Ruling, inserted: int) -> None:
        """Takes account of rows that were inserted in their place."""
        table = self.tables.get(ruling.name)
        if table is None:
            # A server that takes no account of case knows which table that is.
            for name, it in self.tables.items():
                it.counted = it.counted and name.lower() != ruling.name.lower()
            return
        table.inserted += inserted
        if ruling.sql[:6].upper() != b"INSERT":
            table.counted = False

    # --- rows, over any connection --------------------------------------------

    def begin_rows(self, session: Session) -> None:
        """Prepares a session as the dump's beginning, which was executed, left the first one."""
        for ruling in self._head:
            session.run(lambda: "the dump's beginning", ruling)
        self.check_base(session)
        session.expect_rows()

    def insert_rows(
        self, piece: Piece, session: Session, begin: Callable[[], None] = lambda: None
    ) -> Inserted:
        """Loads a piece's rows in one transaction, which the caller commits.

        Arguments: `begin` is called first in the transaction, and again where it is begun anew.
        Raises OrderMattersError where the piece holds something else; LoadFailed, ArchiveRefused.
        """
        try:
            begin()
            inserted = self._inserted(piece, session, as_data=True)
        except _NotAsDataError:
            session.rollback()
            begin()
            inserted = self._inserted(piece, session, as_data=False)
        if not self._by_dump_program and session.has_drawn_ids():
            raise OrderMattersError
        return inserted

    def count_rows(self, piece: Piece, inserted: Inserted) -> None:
        """Takes account of a piece, whose rows were committed."""
        self.add(inserted)
        self._progress(len(piece.raw))

    def add(self, inserted: Inserted) -> None:
        """Takes account of rows that were committed, perhaps by another process."""
        with self.lock:
            self.told.statements += inserted.told.statements
            self.told.left_out |= inserted.told.left_out
            self.told.rows_as_statements += inserted.told.rows_as_statements
            for name, rows in inserted.rows.items():
                if name in self.tables:
                    self.tables[name].inserted += rows

    def _inserted(self, piece: Piece, session: Session, *, as_data: bool) -> Inserted:
        touched = False
        told = Told()
        inserted: dict[str, int] = {}
        for statement, ruling in self._judged(piece, told):
            table = self.tables.get(ruling.name)
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
                done = self._run(session, where, ruling)
                told.rows_as_statements += done
            inserted[ruling.name] = inserted.get(ruling.name, 0) + done
            if table is not None and (
                ruling.name != piece.table or ruling.sql[:6].upper() != b"INSERT"
            ):
                table.counted = False
        if touched:
            self.check_base(session)
        return Inserted(inserted, told)

    def _run(self, session: Session, where: Where, ruling: Ruling) -> int:
        """Sends rows out of their order as a statement; as `Session.run`."""
        if not self._by_dump_program and yields(ruling.sql):
            raise OrderMattersError
        return session.run(where, ruling)

    def _plan_for(self, session: Session, table: Table | None, ruling: Ruling) -> RowPlan | None:
        """How a statement's rows travel as data; None when they travel as a statement.

        Only into InnoDB, which can take back what it took otherwise than it should.
        """
        if self._plan_rows is None or table is None or table.as_statements:
            return None
        if not table.definition.counted or ruling.sql[:6].upper() != b"INSERT":
            return None
        key = (ruling.name, ruling.columns)
        with self.lock:
            known = key in self._plans
        if not known:
            plan = self._plan_rows(session, *key)
            with self.lock:
                self._plans[key] = plan
        return self._plans[key]

    # --- statements -----------------------------------------------------------

    def _tell_of(self, ruling: Ruling) -> None:
        subject = f"{ruling.kind} {ruling.name}"
        if ruling.definer:
            self.told.definers[subject] = ruling.definer
        if ruling.kind is StatementKind.EVENT and not self._by_dump_program:
            self.told.disabled.append(ruling.name)

    def _judged(self, piece: Piece, told: Told) -> Iterator[tuple[Statement, Ruling]]:
        splitter = StatementSplitter(dump_program=self._by_dump_program)
        for statement in splitter.split(piece.raw, self._check):
            self._check()
            ruling = self._policy.judge(PlacedStatement(piece, statement))
            told.statements += 1
            if ruling.kind is StatementKind.LEFT_OUT:
                told.left_out[head(statement.text)] = None
            yield statement, ruling
