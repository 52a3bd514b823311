"""What a dump holds, out of its index: tables and views, and how large they are."""

from collections.abc import Iterable
from typing import NamedTuple

from lcp_backup.archive.segment import Section, Segment


class Extent(NamedTuple):
    """How much of an archive something takes."""

    size: int
    """Bytes in the archive."""
    sql_size: int
    """Bytes of its statements."""

    def and_of(self, segment: Segment) -> "Extent":
        """With a segment more."""
        return Extent(self.size + segment.size, self.sql_size + segment.raw_size)


class ListedTable(NamedTuple):
    """A table with its definition, rows and triggers; or a view."""

    name: str
    is_view: bool
    has_triggers: bool
    extent: Extent


class DumpContent(NamedTuple):
    """What a dump holds beside its settings."""

    tables: list[ListedTable]
    """By name."""
    routines: Extent | None
    """None where the dump has none."""
    events: Extent | None


def list_dump(segments: Iterable[Segment]) -> DumpContent:
    """What the segments of a dump hold; memory grows with the number of tables only."""
    nothing = Extent(0, 0)
    of_tables: dict[str, Extent] = {}
    sections: dict[Section, set[str]] = {Section.VIEW: set(), Section.TRIGGERS: set()}
    without_table: dict[Section, Extent] = {}
    for segment in segments:
        if segment.section in {None, Section.HEAD, Section.TAIL}:
            continue
        if segment.table is not None:
            before = of_tables.get(segment.table, nothing)
            of_tables[segment.table] = before.and_of(segment)
            if segment.section in sections:
                sections[segment.section].add(segment.table)
        elif segment.section is not None:
            before = without_table.get(segment.section, nothing)
            without_table[segment.section] = before.and_of(segment)
    return DumpContent(
        [
            ListedTable(
                name, name in sections[Section.VIEW], name in sections[Section.TRIGGERS], extent
            )
            for name, extent in sorted(of_tables.items())
        ],
        without_table.get(Section.ROUTINES),
        without_table.get(Section.EVENTS),
    )
