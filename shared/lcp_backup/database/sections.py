"""Cuts a running dump into segments that say what they hold, so that a load can do them apart."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from lcp_backup.archive.write import SEGMENT_SIZE
from lcp_backup.database.statements import Statement, StatementSplitter
from lcp_backup.model import Section

_HEAD_SIZE: Final = 2000
"""Bytes of a statement that tell what it is: the longest names and a DEFINER fit."""

_VERSIONED = re.compile(rb"/\*M?!\d*|\*/")
_NAME = rb"`((?:[^`]|``)++)`"
_CREATE = (
    rb"CREATE\s+(?:OR\s+REPLACE\s+)?(?:ALGORITHM=\w+\s+)?"
    rb"(?:DEFINER\s*=\s*(?:`(?:[^`]|``)*+`|'[^']*+'|[^\s`'])++\s+)?"
    rb"(?:SQL\s+SECURITY\s+\w+\s+)?(?:AGGREGATE\s+)?"
)


def _starting_with(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"\s*(?:" + pattern + rb")", re.IGNORECASE | re.DOTALL)


_ROWS = _starting_with(rb"(?:LOCK TABLES|INSERT (?:IGNORE )?INTO|ALTER TABLE) " + _NAME)
_TABLE = _starting_with(
    rb"(?:DROP (?:TABLE|SEQUENCE|VIEW) IF EXISTS |CREATE (?:TABLE|SEQUENCE) "
    rb"(?:IF NOT EXISTS )?|DO SETVAL\(|" + _CREATE + rb"VIEW )" + _NAME
)
_TRIGGER = _starting_with(_CREATE + rb"TRIGGER\s")
_EVENT = _starting_with(rb"(?:DROP\s+|" + _CREATE + rb")EVENT\s")
_ROUTINE = _starting_with(rb"(?:DROP\s+|" + _CREATE + rb")(?:FUNCTION|PROCEDURE|PACKAGE|LIBRARY)\s")
_HEAD = _starting_with(rb"(?:DROP|CREATE)\s+DATABASE\s|SET\s+@OLD_")
_USE = _starting_with(rb"USE\s")
_TAIL = _starting_with(rb"SET\s[^;]*=\s*@OLD_")
_OPENING = _starting_with(rb"SET\s+@|DROP\s+TRIGGER\s")
_COLLATION = _starting_with(rb"ALTER\s+DATABASE\s")
_OTHER_DELIMITER = _starting_with(rb"DELIMITER[ \t]+(?!;\s*\Z)")


class Cut(NamedTuple):
    """A run of whole statements of one section: what becomes a segment of the archive."""

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
        self._size = 0
        self._opening: list[bytes] = []
        """Statements that prepare one that has not come yet."""
        self._collation_changed = False
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
        for raw in self._opening:
            yield from self._add(raw)
        self._opening.clear()
        if self._chunks:
            yield self._cut()

    def _take(self, statement: Statement) -> Iterator[Cut]:
        begin, end = statement.begin, min(statement.end, statement.begin + _HEAD_SIZE)
        place = self._place_of(statement.raw[begin:end])
        if begin == end and _OTHER_DELIMITER.match(statement.raw[end : end + _HEAD_SIZE]):
            # A segment is read by itself, so it must hold the delimiter of its statements.
            place = None
        if place is None:
            self._opening.append(statement.raw)
            return
        if place != self._place:
            if self._chunks:
                yield self._cut()
            self._place = place
        for raw in (*self._opening, statement.raw):
            yield from self._add(raw)
        self._opening.clear()

    def _add(self, raw: bytes) -> Iterator[Cut]:
        if self._chunks and self._size + len(raw) > SEGMENT_SIZE:
            yield self._cut()
        self._chunks.append(raw)
        self._size += len(raw)

    def _cut(self) -> Cut:
        section, table = self._place
        cut = Cut(self._chunks, section, table)
        self._chunks = []
        self._size = 0
        return cut

    def _place_of(self, head: bytes) -> tuple[Section, str | None] | None:
        """Where a statement belongs; None when only a later one tells."""
        bare = _VERSIONED.sub(b" ", head)
        if named := _ROWS.match(bare):
            self._last_table = _unquoted(named[1])
            return Section.ROWS, self._last_table
        if named := _TABLE.match(bare):
            return self._place_of_table(_unquoted(named[1]))
        if _TRIGGER.match(bare):
            # A dump has a table's triggers right after its rows. The statement names the table
            # too, but MariaDB repeats it as the user once wrote it, which only a parser can read.
            return Section.TRIGGERS, self._last_table
        for pattern, section in (
            (_EVENT, Section.EVENTS),
            (_ROUTINE, Section.ROUTINES),
            (_HEAD, Section.HEAD),
            (_TAIL, Section.TAIL),
        ):
            if pattern.match(bare):
                return section, None
        if _COLLATION.match(bare):
            # The dump sets the schema's collation before a trigger or routine, and back after it.
            self._collation_changed = not self._collation_changed
            return None if self._collation_changed else self._place
        # The second USE of a dump is the one before its views.
        second_use = _USE.match(bare) and self._place[0] is not Section.HEAD
        return None if self._opening or second_use or _OPENING.match(bare) else self._place

    def _place_of_table(self, name: str) -> tuple[Section, str | None]:
        """A view is met twice: first a stand-in, so that other views can name it, then itself."""
        if self._place in {(Section.DEFINITION, name), (Section.VIEW, name)}:
            return self._place
        if name in self._defined:
            return Section.VIEW, name
        self._defined.add(name)
        self._last_table = name
        return Section.DEFINITION, name


def _unquoted(name: bytes) -> str:
    return name.replace(b"``", b"`").decode()
