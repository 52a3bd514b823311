"""What the cutter promises, on text as `mysqldump` 9 and `mariadb-dump` 10.11 write it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lcp_backup.archive.segment import Section
from lcp_backup.archive.write import SEGMENT_SIZE
from lcp_backup.database.sections import Cut, SectionCutter
from lcp_backup.database.statements import StatementSplitter

HEAD = b"""-- MySQL dump 10.13  Distrib 9.7.4, for Linux (x86_64)

/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!50503 SET NAMES utf8mb4 */;
/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;
/*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */;

/*!40000 DROP DATABASE IF EXISTS `s`*/;

CREATE DATABASE /*!32312 IF NOT EXISTS*/ `s` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;

USE `s`;
"""
SEQUENCE = b"""
DROP SEQUENCE IF EXISTS `sq`;
CREATE SEQUENCE `sq` start with 1 ENGINE=InnoDB;
DO SETVAL(`sq`, 1, 0);
"""
DEFINITION = b"""
--
-- Table structure for table `a``b;`
--

DROP TABLE IF EXISTS `a``b;`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!50503 SET character_set_client = utf8mb4 */;
CREATE TABLE `a``b;` (
  `id` int NOT NULL COMMENT 'CREATE TABLE `x`;\nDROP TABLE `x`;\n'
) ENGINE=InnoDB;
/*!40101 SET character_set_client = @saved_cs_client */;
"""
ROWS = rb"""
LOCK TABLES `a``b;` WRITE;
/*!40000 ALTER TABLE `a``b;` DISABLE KEYS */;
INSERT INTO `a``b;` (`id`) VALUES
(1,'x;\n-- Dump completed\nCREATE TABLE `y` (a int);\n'),
(2,'DELIMITER ;;');
INSERT INTO `a``b;` VALUES (3,0xFF),(4,'it\'s');
/*!40000 ALTER TABLE `a``b;` ENABLE KEYS */;
UNLOCK TABLES;
"""
TRIGGER = b"""ALTER DATABASE `s` CHARACTER SET latin1 COLLATE latin1_swedish_ci ;
/*!50003 SET @saved_cs_client      = @@character_set_client */ ;
/*!50003 SET character_set_client  = utf8mb4 */ ;
/*!50003 SET @saved_sql_mode       = @@sql_mode */ ;
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`it's; a``user`@`%`*/ /*!50003 trigger t before insert
on other for each row begin
INSERT INTO `a` VALUES (1);
CREATE TABLE `z` (a int);
end */;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
/*!50003 SET character_set_client  = @saved_cs_client */ ;
ALTER DATABASE `s` CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci ;
"""
STAND_IN = b"""
DROP TABLE IF EXISTS `v`;
/*!50001 DROP VIEW IF EXISTS `v`*/;
SET @saved_cs_client     = @@character_set_client;
/*!50503 SET character_set_client = utf8mb4 */;
/*!50001 CREATE VIEW `v` AS SELECT
 1 AS `id`*/;
SET character_set_client = @saved_cs_client;
"""
EVENTS = b"""
/*!50106 SET @save_time_zone= @@TIME_ZONE */ ;
/*!50106 DROP EVENT IF EXISTS `e` */;
DELIMITER ;;
/*!50003 SET @saved_cs_client      = @@character_set_client */ ;;
/*!50106 CREATE*/ /*!50117 DEFINER=`root`@`%`*/ /*!50106 EVENT `e` ON SCHEDULE EVERY 1 DAY DO
begin select 1; end */ ;;
/*!50003 SET character_set_client  = @saved_cs_client */ ;;
DELIMITER ;
/*!50106 SET TIME_ZONE= @save_time_zone */ ;
"""
ROUTINES = b"""
/*!50003 SET @saved_sql_mode       = @@sql_mode */ ;
/*!50003 SET sql_mode              = 'STRICT_TRANS_TABLES' */ ;
/*!50003 DROP FUNCTION IF EXISTS `f` */;
DELIMITER ;;
CREATE DEFINER=`root`@`%` FUNCTION `f`() RETURNS int(11)
return 1
;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
/*!50003 DROP PROCEDURE IF EXISTS `p` */;
/*!50003 SET @saved_sql_mode       = @@sql_mode */ ;
DELIMITER ;;
CREATE DEFINER=`root`@`%` PROCEDURE `p`()
begin drop table if exists `q`; end ;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
"""
VIEW = b"""
USE `s`;

/*!50001 DROP VIEW IF EXISTS `v`*/;
/*!50001 SET @saved_cs_client          = @@character_set_client */;
/*!50001 SET character_set_client      = utf8mb4 */;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */
/*!50001 VIEW `v` AS select 1 AS `id` */;
/*!50001 SET character_set_client      = @saved_cs_client */;
"""
TAIL = b"""/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;
/*!40014 SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS */;

-- Dump completed on 2026-11-23  7:20:32
"""

CUTS = [
    Cut([HEAD], Section.HEAD, None),
    Cut([SEQUENCE], Section.DEFINITION, "sq"),
    Cut([DEFINITION], Section.DEFINITION, "a`b;"),
    Cut([ROWS], Section.ROWS, "a`b;"),
    Cut([TRIGGER], Section.TRIGGERS, "a`b;"),
    Cut([STAND_IN], Section.DEFINITION, "v"),
    Cut([EVENTS], Section.EVENTS, None),
    Cut([ROUTINES], Section.ROUTINES, None),
    Cut([VIEW], Section.VIEW, "v"),
    Cut([TAIL], Section.TAIL, None),
]


def cut(text: bytes, places: list[int] | None = None) -> list[Cut]:
    """The cuts, each with its bytes joined."""
    cutter = SectionCutter()
    edges = [0, *sorted(min(place, len(text)) for place in places or []), len(text)]
    found = [one for start, end in pairwise(edges) for one in cutter.feed(text[start:end])]
    found += cutter.close()
    return [one._replace(chunks=[b"".join(one.chunks)]) for one in found]


def trimmed(cuts: list[Cut]) -> list[Cut]:
    """Without the blanks between two statements, which belong to the later one."""
    return [one._replace(chunks=[one.chunks[0].strip()]) for one in cuts]


def test_every_section_holds_its_statements_and_no_other() -> None:
    text = b"".join(it.chunks[0] for it in CUTS)
    assert trimmed(cut(text)) == trimmed(CUTS)


@given(st.lists(st.integers(0, sum(len(it.chunks[0]) for it in CUTS)), max_size=30))
def test_how_the_dump_arrives_makes_no_difference(places: list[int]) -> None:
    text = b"".join(it.chunks[0] for it in CUTS)
    found = cut(text, places)
    assert found == cut(text)
    assert b"".join(one.chunks[0] for one in found) == text


@pytest.mark.parametrize("left_out", range(1, len(CUTS)))
def test_what_a_schema_does_not_have_changes_nothing_else(left_out: int) -> None:
    cuts = [it for place, it in enumerate(CUTS) if place != left_out]
    if CUTS[left_out] == CUTS[5]:
        cuts = [it for it in cuts if it.table != "v"]
    if CUTS[left_out] == CUTS[3]:
        cuts = [it for it in cuts if it.section is not Section.TRIGGERS]
    assert trimmed(cut(b"".join(it.chunks[0] for it in cuts))) == trimmed(cuts)


def test_many_rows_become_segments_that_start_at_a_statement() -> None:
    insert = b"INSERT INTO `t` VALUES (1,'%s');\n" % (b"x;" * 500_000)
    found = cut(HEAD + insert * 20 + TAIL)
    rows = [one for one in found if one.section is Section.ROWS]
    assert len(rows) == 3
    for one in rows:
        assert one.table == "t"
        assert one.chunks[0].lstrip().startswith(b"INSERT INTO `t`")
        assert len(one.chunks[0]) <= SEGMENT_SIZE


def test_a_statement_larger_than_a_segment_stays_whole() -> None:
    small = b"INSERT INTO `t` VALUES (1);\n"
    large = b"INSERT INTO `t` VALUES (1,'%s');\n" % (b"x" * SEGMENT_SIZE)
    found = cut(small + large + small)
    assert [one.chunks[0].strip() for one in found[:3]] == [
        statement.strip() for statement in (small, large, small)
    ]


def test_a_dump_that_breaks_off_loses_no_byte() -> None:
    text = HEAD + DEFINITION + ROWS + TRIGGER
    for end in range(len(text)):
        assert b"".join(one.chunks[0] for one in cut(text[:end])) == text[:end]


@pytest.mark.parametrize(
    ("statement", "section", "table"),
    [
        (b"INSERT INTO t VALUES (1)", Section.ROWS, "t"),
        (b"insert into `s`.`t` values (1)", Section.ROWS, "t"),
        (b"REPLACE /* x */ INTO\nt VALUES (1)", Section.ROWS, "t"),
        (b"INSERT  IGNORE INTO `a``b` VALUES (1)", Section.ROWS, "a`b"),
        (b"ALTER TABLE t ADD PRIMARY KEY (id)", Section.ROWS, "t"),
        (b"CREATE TABLE s.n (id int)", Section.DEFINITION, "n"),
        (b"create table if not exists n (id int)", Section.DEFINITION, "n"),
        (b"DROP TABLE n", Section.DEFINITION, "n"),
        (b"CREATE /* x */ SEQUENCE n", Section.DEFINITION, "n"),
        (b"SELECT SETVAL(n, 1)", Section.DEFINITION, "n"),
        (b"CREATE VIEW t AS SELECT 1", Section.VIEW, "t"),
        (b"CREATE OR REPLACE SQL SECURITY INVOKER VIEW t AS SELECT 1", Section.VIEW, "t"),
        (b"CREATE ALGORITHM = MERGE DEFINER = a@b.c VIEW `s` . t AS SELECT 1", Section.VIEW, "t"),
        (b"CREATE VIEW n AS SELECT 1", Section.DEFINITION, "n"),
        (b"CREATE/**/EVENT e ON SCHEDULE AT NOW() DO SELECT 1", Section.EVENTS, None),
        (b"CREATE /*" + b"x" * 9000 + b"*/ EVENT e ON SCHEDULE AT NOW() DO SELECT 1",
         Section.EVENTS, None),
        (b"CREATE DEFINER=CURRENT_USER() EVENT e DO SELECT 1", Section.EVENTS, None),
        (b"/*!50106 CREATE*/ # x\n/*M!100000 EVENT */ e DO SELECT 1", Section.EVENTS, None),
        (b"DROP EVENT e", Section.EVENTS, None),
        (b"CREATE -- x\nFUNCTION f() RETURNS int RETURN 1", Section.ROUTINES, None),
        (b"CREATE AGGREGATE FUNCTION f() RETURNS int RETURN 1", Section.ROUTINES, None),
        (b"CREATE PACKAGE BODY b AS x", Section.ROUTINES, None),
        (b"CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET @a=1", Section.TRIGGERS, "t"),
        (b"set character_set_client = @old_character_set_client", Section.TAIL, None),
    ],
)  # fmt: skip
def test_a_statement_among_rows_is_told_by_its_first_words(
    statement: bytes, section: Section, table: str | None
) -> None:
    rows = b"CREATE TABLE `t` (id int);\nINSERT INTO `t` VALUES (1);\n"
    [*_, last] = cut(rows + statement + b";\n")
    assert (last.section, last.table) == (section, table)
    assert last.chunks[0].endswith(statement + b";\n")


def test_statements_that_prepare_another_are_not_kept_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lcp_backup.database.sections.SEGMENT_SIZE", 40_000)
    cutter = SectionCutter(dump_program=False)
    text = b"SET @a = @@sql_mode;\n" * 5000
    assert [one.section for one in cutter.feed(text)] == [Section.HEAD] * 3


def test_small_statements_take_no_more_memory_than_their_bytes() -> None:
    cutter = SectionCutter(dump_program=False)
    text = b";" * 50_000 + b"INSERT INTO `t` VALUES (1);" + b";" * 5000
    cuts = [*cutter.feed(text), *cutter.close()]
    assert sum(len(one.chunks) for one in cuts) == 2
    assert b"".join(chunk for one in cuts for chunk in one.chunks) == text


def test_a_segment_never_ends_between_a_statement_and_what_prepares_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A segment is read by itself: the delimiter and the mode have to be in it."""
    monkeypatch.setattr("lcp_backup.database.sections.SEGMENT_SIZE", 3000)
    routine = (
        b"/*!50003 SET @saved_sql_mode = @@sql_mode */ ;\n"
        b"/*!50003 SET sql_mode = 'NO_BACKSLASH_ESCAPES' */ ;\n"
        b"DELIMITER ;;\n"
        b"CREATE PROCEDURE `p%d`() SELECT '%s\\';;\n"
        b"DELIMITER ;\n"
        b"/*!50003 SET sql_mode = @saved_sql_mode */ ;\n"
    )
    text = b"CREATE TABLE `t` (`id` int);\n" + b"".join(
        routine % (number, b"x" * (400 + 37 * number)) for number in range(40)
    )
    cutter = SectionCutter()
    cuts = [*cutter.feed(text), *cutter.close()]
    assert b"".join(chunk for cut in cuts for chunk in cut.chunks) == text
    assert len(cuts) > 5
    for cut in cuts:
        splitter = StatementSplitter(dump_program=True)
        for statement in splitter.split(b"".join(cut.chunks), lambda: None):
            assert statement.text.count(b"CREATE") < 2
            assert not statement.text.endswith(b";;")


def test_what_is_kept_and_put_back_around_rows_ends_no_dump() -> None:
    """As mariadb-dump 11.8 writes it: a restore would wait for all rows, and tie tables, there."""
    table = (
        b"DROP TABLE IF EXISTS `t%d`;\nCREATE TABLE `t%d` (`id` int);\n"
        b"/*M!101100 SET @old_system_versioning_insert_history="
        b"@@session.system_versioning_insert_history,"
        b" @@session.system_versioning_insert_history=1 */;\n"
        b"SET @OLD_AUTOCOMMIT=@@AUTOCOMMIT, @@AUTOCOMMIT=0;\n"
        b"LOCK TABLES `t%d` WRITE;\nINSERT INTO `t%d` VALUES\n(1);\nUNLOCK TABLES;\nCOMMIT;\n"
        b"SET AUTOCOMMIT=@OLD_AUTOCOMMIT;\n"
        b"/*M!101100 SET system_versioning_insert_history="
        b"@old_system_versioning_insert_history */;\n"
    )
    cutter = SectionCutter()
    text = b"".join(table % ((number,) * 4) for number in (1, 2))
    text += b"/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;\n"
    cuts = [*cutter.feed(text), *cutter.close()]
    assert [(cut.section, cut.table) for cut in cuts] == [
        (Section.DEFINITION, "t1"),
        (Section.ROWS, "t1"),
        (Section.DEFINITION, "t2"),
        (Section.ROWS, "t2"),
        (Section.TAIL, None),
    ]
