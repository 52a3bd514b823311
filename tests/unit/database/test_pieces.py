"""A dump with an index: no more of it is read than is asked for."""

import pytest

from lcp_backup.archive.segment import Section, Segment
from lcp_backup.database.pieces import IndexedDump
from lcp_backup.errors import ArchiveDamaged
from tests.support.own_dumps import Stored

_TABLES = ("a", "b", "c")


def test_who_fills_some_tables_reads_the_definitions_of_these_alone() -> None:
    """A site has hundreds of tables, and each of its workers a few."""
    raw = b"-- MariaDB dump\n/*!40101 SET NAMES utf8mb4 */;\n" + b"".join(
        b"--\n-- Table structure for table `%(name)s`\n--\n\n"
        b"CREATE TABLE `%(name)s` (\n  `id` int\n);\n\n"
        b"--\n-- Dumping data for table `%(name)s`\n--\n\n"
        b"INSERT INTO `%(name)s` VALUES (1);\n\n" % {b"name": name.encode()}
        for name in _TABLES
    )
    dump = Stored(raw).dump()
    everything = [(it.section, it.table) for it in dump.definitions()]
    assert [table for section, table in everything if section is Section.DEFINITION] == [*_TABLES]
    found = [(it.section, it.table) for it in dump.definitions({"b"})]
    assert found == [(Section.HEAD, None), (Section.DEFINITION, "b")]


def test_an_index_of_rows_that_are_of_no_table_is_damaged() -> None:
    rows = Segment(offset=0, size=1, raw_size=1, sha256="0" * 64, section=Section.ROWS)
    with pytest.raises(ArchiveDamaged, match="segment 1 holds rows of no table"):
        IndexedDump([rows], lambda _: iter(()), by_dump_program=True)
