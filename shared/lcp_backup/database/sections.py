"""Cuts a running dump into segments that say what they hold, so that a load can do them apart."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from lcp_backup.archive.segment import Section
from lcp_backup.archive.write import SEGMENT_SIZE
from lcp_backup.database.reader import StatementReader
from lcp_backup.database.statements import Statement, StatementSplitter
from lcp_backup.database.tokens import EVERY, NotTakenError, unquote

_ROWS = re.compile(rb"INSERT (?:IGNORE )?+INTO (`[^`]*+(?:``[^`]*+)*+`)[ \n(]")
"""How nearly all rows begin, found without taking the statement apart."""
_OTHER_DELIMITER = re.compile(rb"\s*+DELIMITER[ \t]++(?!;\s*+\Z)", re.IGNORECASE)
_DELIMITER = re.compile(rb"\s*+DELIMITER[ \t]", re.IGNORECASE)
_AROUND_ROWS: Final = frozenset({"OLD_AUTOCOMMIT", "OLD_SYSTEM_VERSIONING_INSERT_HISTORY"})
"""What MariaDB's programs keep and put back around the rows of each table (11.8; 10.11)."""
_SMALL: Final = 1000
"""Bytes of a statement that is joined to its neighbours: kept apart they take more memory."""
_MOST_OPENING: Final = 1000
"""Statements that may prepare another one; dump programs write a dozen."""
_WORDS_LOOKED_AT: Final = 40

_TABLES: Final = frozenset({"TABLE", "SEQUENCE", "VIEW"})
_SECTIONS: Final = {
    "EVENT": Section.EVENTS,
    "FUNCTION": Section.ROUTINES,
    "PROCEDURE": Section.ROUTINES,
    "PACKAGE": Section.ROUTINES,
    "LIBRARY": Section.ROUTINES,
    "DATABASE": Section.HEAD,
    "SCHEMA": Section.HEAD,
}


class Cut(NamedTuple):
    """A stretch of whole statements of one section: what becomes a segment of the archive."""

    chunks: list[bytes]
    """The bytes, with the blanks and comments before each statement."""
    section: Section
    table: str | None
    """The table, view or sequence it belongs to; None for the other sections."""


class SectionCutter:
    """Cuts what `mysqldump` or `mariadb-dump` writes for one schema, while it is written.

    The chunks of all cuts joined are the dump. A cut holds at most SEGMENT_SIZE bytes, unless one
    statement alone is larger. What a statement is, is told by the statement itself; the comments
    around it are not read. The statements that only prepare another one (saved variables, the
    delimiter, the collation for a trigger) go with what they prepare.

    Args:
        dump_program: as `StatementSplitter` takes it; False for what a user uploaded.
    """

    def __init__(self, *, dump_program: bool = True) -> None:
        self._splitter = StatementSplitter(dump_program=dump_program)
        self._place: tuple[Section, str | None] = (Section.HEAD, None)
        self._chunks: list[bytes] = []
        self._small = bytearray()
        """What comes behind the chunks."""
        self._size = 0
        self._opening: list[bytes] = []
        """Statements that prepare one that has not come yet."""
        self._collation_changed = False
        self._announced = False
        """The delimiter was changed, and no statement came since."""
        self._delimited = False
        """A statement came since the delimiter was changed, and it was not changed back."""
        self._defined: set[str] = set()
        self._last_table: str | None = None

    def feed(self, chunk: bytes) -> Iterator[Cut]:
        """The cuts that this chunk completes; to be iterated to its end before the next call."""
        for statement in self._splitter.feed(chunk):
            yield from self._take(statement)

    def close(self) -> Iterator[Cut]:
        """What is left at the end of the dump."""
        for statement in self._splitter.close():
            yield from self._take(statement)
        yield from self._add(*self._opening)
        self._opening.clear()
        if self._size:
            yield self._cut()

    def _take(self, statement: Statement) -> Iterator[Cut]:
        place = self._place_of(statement)
        if statement.begin == statement.end:
            if _DELIMITER.match(statement.raw, statement.end):
                self._delimited = False
                self._announced = bool(_OTHER_DELIMITER.match(statement.raw, statement.end))
        elif self._delimited:
            # Other programs write all stored code behind one DELIMITER line: it stays together.
            place = self._place
        if place is None and len(self._opening) < _MOST_OPENING:
            self._opening.append(statement.raw)
            return
        if place is not None and place != self._place:
            if self._size:
                yield self._cut()
            self._place = place
        yield from self._add(*self._opening, statement.raw)
        self._opening.clear()
        if statement.begin < statement.end and self._announced:
            self._announced, self._delimited = False, True

    def _add(self, *raws: bytes) -> Iterator[Cut]:
        """Adds what belongs together: a segment is read by itself."""
        size = sum(map(len, raws))
        if self._size and self._size + size > SEGMENT_SIZE and not self._delimited:
            yield self._cut()
        self._size += size
        for raw in raws:
            if len(raw) < _SMALL:
                self._small += raw
            else:
                self._join_small()
                self._chunks.append(raw)

    def _join_small(self) -> None:
        if self._small:
            self._chunks.append(bytes(self._small))
            self._small.clear()

    def _cut(self) -> Cut:
        self._join_small()
        section, table = self._place
        cut = Cut(self._chunks, section, table)
        self._chunks = []
        self._size = 0
        return cut

    def _place_of(self, statement: Statement) -> tuple[Section, str | None] | None:
        """Where a statement belongs; None when only a later one tells."""
        raw, begin, end = statement.raw, statement.begin, statement.end
        if begin == end:
            # A segment is read by itself, so it must hold the delimiter of its statements.
            return None if _OTHER_DELIMITER.match(raw, end) or self._opening else self._place
        if named := _ROWS.match(raw, begin, end):
            self._last_table = unquote(named[1])
            return Section.ROWS, self._last_table
        try:
            return self._told(StatementReader(raw[begin:end], EVERY))
        except NotTakenError:
            # (Whoever judges the statement says why.)
            return self._place

    def _told(self, it: StatementReader) -> tuple[Section, str | None] | None:
        """Where a statement belongs by its first words."""
        first, second = it.peek_word(), it.peek_word(1)
        if first in {"INSERT", "REPLACE", "LOCK"} or (first == "ALTER" and second not in _SECTIONS):
            it.expect("INSERT|REPLACE|LOCK|ALTER IGNORE? INTO|TABLE|TABLES")
            self._last_table = _table(it)
            return Section.ROWS, self._last_table
        if second == "SETVAL":
            it.expect("DO|SELECT SETVAL (")
            return self._place_of_table(_table(it))
        if first in {"CREATE", "DROP"}:
            return self._place_of_definition(it)
        if first == "SET" and (section := _section_of_set(it)):
            return section, None
        if first == "ALTER":
            # The dump sets the schema's collation before a trigger or routine, and back after it.
            self._collation_changed = not self._collation_changed
            return None if self._collation_changed else self._place
        # The second USE of a dump is the one before its views.
        second_use = first == "USE" and self._place[0] is not Section.HEAD
        opens = (first, second) == ("SET", "@")
        return None if self._opening or second_use or opens else self._place

    def _place_of_definition(self, it: StatementReader) -> tuple[Section, str | None] | None:
        it.expect("CREATE|DROP")
        it.take("OR REPLACE")
        while it.take("ALGORITHM = *") or it.take("SQL SECURITY *") or it.take("AGGREGATE"):
            pass
        if it.take("DEFINER ="):
            it.name()
            if not it.take("( )") and it.take("@"):
                it.name()
        it.take("SQL SECURITY *")
        it.take("AGGREGATE")
        what = it.word()
        if what == "TRIGGER":
            # A dump has a table's triggers right after its rows. The statement names the table
            # too, but MariaDB repeats it as the user once wrote it, which only a parser can read.
            dropped = it.tokens[0].word == "DROP"
            return None if dropped else (Section.TRIGGERS, self._last_table)
        if what in _TABLES:
            it.take("IF NOT? EXISTS")
            return self._place_of_table(_table(it))
        return (_SECTIONS[what], None) if what in _SECTIONS else self._place

    def _place_of_table(self, name: str) -> tuple[Section, str | None]:
        """A view is met twice: first a stand-in, so that other views can name it, then itself."""
        if self._place in {(Section.DEFINITION, name), (Section.VIEW, name)}:
            return self._place
        if name in self._defined:
            return Section.VIEW, name
        self._defined.add(name)
        self._last_table = name
        return Section.DEFINITION, name


def _table(it: StatementReader) -> str:
    """The name that follows, without the schema's."""
    name = it.name()
    return it.name() if it.take(".") else name


def _section_of_set(it: StatementReader) -> Section | None:
    """Where a SET statement belongs that keeps what was before the dump, or puts it back."""
    it.peek(_WORDS_LOOKED_AT)
    for at, token in enumerate(it.tokens[1:], 1):
        name = it.peek_text(at + 1).upper() if token.word == "@" else ""
        if name.startswith("OLD_") and name not in _AROUND_ROWS:
            return Section.HEAD if at == 1 else Section.TAIL
    return None
