"""Some tables of a dump load into any schema, and touch nothing there but those tables."""

from collections.abc import Iterable, Iterator

import pytest

from lcp_backup.archive.segment import Section, Segment
from lcp_backup.database.excerpt import excerpt

SETTINGS = b"""/*M!999999\\- enable the sandbox mode */
-- MariaDB dump 10.19
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */;
SET @@SESSION.SQL_LOG_BIN= 0;
"""
OF_SCHEMAS = (
    b"/*!40000 DROP DATABASE IF EXISTS `lportal`*/;",
    b"DROP DATABASE lportal;",
    b"drop /*!schema*/ database lportal;",
    b"/*!40000 DROP*/ DATABASE lportal;",
    b"/*!999999 DROP DATABASE lportal*/;",
    b"/*M! DROP DATABASE lportal */;",
    b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `lportal`;",
    b"ALTER DATABASE lportal CHARACTER SET utf8mb4;",
    b"USE `lportal`;",
    b"CALL drop_all();",
    b"DELETE FROM User_;",
)  # fmt: skip


@pytest.mark.parametrize("by_dump_program", [True, False])
@pytest.mark.parametrize("statement", OF_SCHEMAS)
def test_of_a_dumps_head_only_settings_come(statement: bytes, *, by_dump_program: bool) -> None:
    raws = {
        Section.HEAD: SETTINGS + b"\n-- a comment\n" + statement + b"\n",
        Section.DEFINITION: b"CREATE TABLE t (a int);\n",
        Section.TAIL: b"/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;\n",
    }
    segments = [
        Segment(
            offset=0, size=1, raw_size=1, sha256="", section=section,
            table="t" if section is Section.DEFINITION else None,
        )
        for section in raws
    ]  # fmt: skip

    def read(wanted: Iterable[Segment]) -> Iterator[tuple[Segment, bytes]]:
        for segment in wanted:
            yield segment, raws[segment.section or Section.HEAD]

    stretches = excerpt(lambda: segments, read, ["t"], by_dump_program=by_dump_program)
    sql = b"".join(it.raw for it in stretches)
    assert sql == SETTINGS + raws[Section.DEFINITION] + raws[Section.TAIL]
