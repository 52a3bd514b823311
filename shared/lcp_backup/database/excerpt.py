"""Some tables of a dump as a dump of their own, which loads into whatever schema is chosen."""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from lcp_backup.archive.segment import Section, Segment
from lcp_backup.database.pieces import ReadSegments, check_tables, is_of
from lcp_backup.database.reader import StatementReader
from lcp_backup.database.statements import Statement, StatementSplitter
from lcp_backup.database.tokens import EVERY, NotTakenError


class Stretch(NamedTuple):
    """A segment of the excerpt, and its text."""

    segment: Segment
    raw: bytes


def excerpt(
    segments: Callable[[], Iterable[Segment]],
    read: ReadSegments,
    tables: Collection[str],
    *,
    by_dump_program: bool,
) -> Iterator[Stretch]:
    """The tables' definitions, rows and triggers, between the settings that the dump needs.

    The dump drops its schema and makes it anew. Loaded by hand that would cost all other tables, so
    the excerpt takes of the dump's head what sets something, and nothing else.

    Args:
        segments: begins anew, each time it is called, with the archive's index.
        read: gives segments' raw bytes.
        by_dump_program: False for what a user uploaded.

    Raises NotFound, which names the table that is not in the dump; what `read` raises.
    """
    check_tables(segments(), tables)
    around = {Section.HEAD, Section.TAIL}
    wanted = (it for it in segments() if it.section in around or is_of(it, tables))
    for segment, raw in read(wanted):
        if segment.section is Section.HEAD:
            yield Stretch(segment, _settings(raw, by_dump_program=by_dump_program))
        else:
            yield Stretch(segment, raw)


def _settings(head: bytes, *, by_dump_program: bool) -> bytes:
    splitter = StatementSplitter(dump_program=by_dump_program)
    statements = [*splitter.feed(head), *splitter.close()]
    return b"".join(it.raw for it in statements if _sets_something(it)) + b"\n"


def _sets_something(statement: Statement) -> bool:
    reader = StatementReader(statement.raw[statement.begin : statement.end], EVERY)
    try:
        return reader.peek_word() == "SET"
    except NotTakenError:
        return False
