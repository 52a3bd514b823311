"""A dump as the pieces that a load works on, from an archive with an index or from a stream."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from lcp_backup.archive.segment import Section, Segment
from lcp_backup.database.sections import Cut, SectionCutter
from lcp_backup.database.statements import Statement
from lcp_backup.errors import ArchiveDamaged, NotFound

type ReadSegments = Callable[[Iterable[Segment]], Iterator[tuple[Segment, bytes]]]
"""The raw bytes of segments, checked, in the order asked for."""

type Numbered = tuple[int, Segment]
"""A segment, with its number in the dump, from 1."""

_BEFORE_ROWS: Final = frozenset({Section.HEAD, Section.DEFINITION})
_OF_TABLES: Final = frozenset({Section.DEFINITION, Section.ROWS, Section.TRIGGERS})


def check_tables(segments: Iterable[Segment], tables: Collection[str]) -> None:
    """Raises NotFound, which names the one that is no table in a dump with this index."""
    defined: set[str | None] = set()
    views: set[str | None] = set()
    for segment in segments:
        if segment.section is Section.DEFINITION:
            defined.add(segment.table)
        elif segment.section is Section.VIEW:
            views.add(segment.table)
    for table in sorted(tables):
        if table not in defined:
            raise NotFound(f"the backup holds no table {table[:100]!r}")
        if table in views:
            raise NotFound(f"{table[:100]!r} is a view in the backup, and no table")


def is_of(segment: Segment, tables: Collection[str]) -> bool:
    """Whether a segment holds the definition, rows or triggers of one of the tables."""
    return segment.section in _OF_TABLES and segment.table in tables


class Piece(NamedTuple):
    """A stretch of whole statements of one section."""

    section: Section
    table: str | None
    raw: bytes
    of: str
    """What its lines are counted in, for messages: the dump, or a segment of it."""
    first_line: int

    def where(self, at: int) -> str:
        """The place of a byte, for messages."""
        return f"line {self.first_line + self.raw.count(b'\n', 0, at)} of {self.of}"


class PlacedStatement(NamedTuple):
    """A statement of a piece, with its place in the dump, found out when somebody asks."""

    piece: Piece
    statement: Statement

    @property
    def text(self) -> bytes:
        """What a server is to be sent (a copy)."""
        return self.statement.text

    @property
    def where(self) -> str:
        """Its place, for a message."""
        return self.piece.where(self.statement.at)

    def tell(self) -> str:
        """Its place, as a function."""
        return self.where


class Dump(Protocol):
    """A dump that can be read more than once."""

    @property
    def by_dump_program(self) -> bool:
        """Whether a dump program of ours wrote it (see `StatementSplitter`)."""
        ...

    @property
    def selected(self) -> frozenset[str] | None:
        """The tables whose statements alone are to be executed; None: all."""
        ...

    def row_bytes(self, table: str) -> int | None:
        """Raw bytes of a table's row statements; None when nobody knows yet."""
        ...

    def pieces(self, *, as_written: bool) -> Iterator[Piece]:
        """All pieces: as they were written, or in an order that lets rows be loaded in parallel.

        In either, a table's definition comes before its rows, and those come one after the other.
        """
        ...


class IndexedDump:
    """A database archive with its index: tables apart, and only those that are wanted.

    Args:
        segments: the archive's index.
        read: gives segments' raw bytes.
        by_dump_program: False for what a user uploaded.
        tables: only these tables; None means the whole dump. Of what a user uploaded, all is read
            all the same: what it says among other tables' rows may be meant for these (`selected`).
        triggers: whether those of the tables come along. (Without, nothing else is read.)

    Raises NotFound, which names the table that is not in the dump; ArchiveDamaged for rows of none.
    """

    def __init__(
        self,
        segments: Iterable[Segment],
        read: ReadSegments,
        *,
        by_dump_program: bool,
        tables: Collection[str] | None = None,
        triggers: bool = True,
    ) -> None:
        self.by_dump_program = by_dump_program
        self._read = read
        self._segments = list(enumerate(segments, 1))
        self._row_bytes: dict[str, int] = {}
        for number, segment in self._segments:
            if segment.section is Section.ROWS:
                if segment.table is None:
                    raise ArchiveDamaged(f"the dump's segment {number} holds rows of no table")
                size = self._row_bytes.get(segment.table, 0) + segment.raw_size
                self._row_bytes[segment.table] = size
        self.selected: frozenset[str] | None = None
        """The tables that whoever executes the pieces has to choose; None: all that is in them."""
        if tables is not None and triggers and not by_dump_program:
            self.selected = frozenset(tables)
            check_tables((segment for _, segment in self._segments), self.selected)
        elif tables is not None:
            self._keep_only(frozenset(tables), triggers=triggers)

    def row_bytes(self, table: str) -> int | None:
        """Raw bytes of a table's row statements, from the index."""
        return self._row_bytes.get(table, 0)

    def pieces(self, *, as_written: bool) -> Iterator[Piece]:
        """Definitions, then rows (largest table first), then all else; or all as it was written."""
        in_parallel = self.is_apart and not as_written
        return self.these(self._in_parallel() if in_parallel else self._segments)

    @property
    def is_apart(self) -> bool:
        """Whether nothing but the beginning prepares the session, as dump programs write it.

        And nothing but the end puts it back: no table follows. Never where a part is `selected`.
        """
        if self.selected is not None:
            return False
        sections = [segment.section for _, segment in self._segments]
        heads = sections.count(Section.HEAD)
        tail = sections.index(Section.TAIL) if Section.TAIL in sections else len(sections)
        return all(section is Section.HEAD for section in sections[:heads]) and not any(
            section in {Section.DEFINITION, Section.ROWS} for section in sections[tail:]
        )

    def definitions(self, tables: Collection[str | None] | None = None) -> Iterator[Piece]:
        """The beginning, and what all tables are, or these."""
        return self.these(
            [
                (number, segment)
                for number, segment in self._segments
                if segment.section is Section.HEAD
                or (
                    segment.section is Section.DEFINITION
                    and (tables is None or segment.table in tables)
                )
            ]
        )

    def rows(self) -> list[Numbered]:
        """The segments that hold rows, the largest table's first."""
        rows = [pair for pair in self._segments if pair[1].section is Section.ROWS]
        rows.sort(key=lambda pair: (-self._row_bytes[pair[1].table or ""], pair[1].table))
        return rows

    def rest(self, loaded: Collection[str]) -> Iterator[Piece]:
        """What is left once all is loaded that `definitions` says, and these tables' rows."""
        return self.these(
            [
                (number, segment)
                for number, segment in self._in_parallel()
                if segment.section not in _BEFORE_ROWS
                and not (segment.section is Section.ROWS and segment.table in loaded)
            ]
        )

    def these(self, wanted: Sequence[Numbered]) -> Iterator[Piece]:
        """These segments, a piece each."""
        places = iter(wanted)
        for segment, raw in self._read(segment for _, segment in wanted):
            number, _ = next(places)
            of_what = f"{segment.section} of {segment.table}" if segment.table else segment.section
            yield Piece(
                segment.section or Section.HEAD,
                segment.table,
                raw,
                f"the dump's segment {number} ({of_what})",
                1,
            )

    def _keep_only(self, tables: frozenset[str], *, triggers: bool) -> None:
        check_tables((segment for _, segment in self._segments), tables)
        self._segments = [
            (number, segment)
            for number, segment in self._segments
            if segment.section is Section.HEAD
            or (is_of(segment, tables) and (triggers or segment.section is not Section.TRIGGERS))
        ]

    def _in_parallel(self) -> list[Numbered]:
        # The largest first: its indexes are built while the others' rows still come.
        later = {*_BEFORE_ROWS, Section.ROWS}
        return [
            *(pair for pair in self._segments if pair[1].section in _BEFORE_ROWS),
            *self.rows(),
            *(pair for pair in self._segments if pair[1].section not in later),
        ]


class StreamedDump:
    """A dump that has no index: it is cut while it streams.

    `open_dump` starts to read it from its beginning, in chunks of any size. Nothing of it is taken
    for what a dump program wrote.
    """

    by_dump_program = False
    selected = None

    def __init__(self, open_dump: Callable[[], Iterable[bytes]]) -> None:
        self._open = open_dump

    def row_bytes(self, table: str) -> int | None:  # noqa: ARG002 -- the protocol's
        """Unknown before it was read."""
        return None

    def pieces(self, *, as_written: bool) -> Iterator[Piece]:  # noqa: ARG002 -- one order for both
        """All pieces as they were written."""
        line = 1
        for cut in self._cuts():
            raw = b"".join(cut.chunks)
            yield Piece(cut.section, cut.table, raw, "the dump", line)
            line += raw.count(b"\n")

    def _cuts(self) -> Iterator[Cut]:
        cutter = SectionCutter(dump_program=False)
        for chunk in self._open():
            yield from cutter.feed(chunk)
        yield from cutter.close()
