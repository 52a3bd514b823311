"""What a dump holds is told by its index, with sizes."""

from lcp_backup.archive.segment import Section, Segment
from lcp_backup.database.listing import Extent, ListedTable, list_dump


def segment(section: Section, table: str | None = None, size: int = 1) -> Segment:
    return Segment(offset=0, size=size, raw_size=10 * size, sha256="", section=section, table=table)


def test_tables_views_and_stored_code_are_told_with_their_sizes() -> None:
    content = list_dump(
        [
            segment(Section.HEAD),
            segment(Section.DEFINITION, "User_"),
            segment(Section.ROWS, "User_", 5),
            segment(Section.ROWS, "User_", 3),
            segment(Section.TRIGGERS, "User_", 2),
            segment(Section.DEFINITION, "Active"),
            segment(Section.DEFINITION, "Group_"),
            segment(Section.EVENTS, None, 4),
            segment(Section.ROUTINES, None, 5),
            segment(Section.ROUTINES, None, 6),
            segment(Section.VIEW, "Active", 7),
            segment(Section.TAIL),
        ]
    )
    assert content.tables == [
        ListedTable("Active", is_view=True, has_triggers=False, extent=Extent(8, 80)),
        ListedTable("Group_", is_view=False, has_triggers=False, extent=Extent(1, 10)),
        ListedTable("User_", is_view=False, has_triggers=True, extent=Extent(11, 110)),
    ]
    assert (content.routines, content.events) == (Extent(11, 110), Extent(4, 40))


def test_a_dump_without_stored_code_has_none() -> None:
    content = list_dump([segment(Section.HEAD), segment(Section.TAIL)])
    assert content == ([], None, None)
