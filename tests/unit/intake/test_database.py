"""A foreign dump is read by its content, cut like our own, and refused now or never."""

import io
import random
import tarfile

import pytest

from lcp_backup.archive.segment import Section
from lcp_backup.errors import ArchiveDamaged, ArchiveError, ArchiveRefused, OutOfTime
from lcp_backup.intake import database
from lcp_backup.intake.database import take_database
from tests.support.taken_database import HEAD, SQL, TABLES, TRAILER, Store, gzipped, take, tar


@pytest.mark.parametrize(
    "data",
    [
        SQL,
        gzipped(SQL),
        tar(("lportal.sql", SQL)),
        gzipped(tar(("./dump/", b""), ("./dump/lportal.sql", SQL))),
        gzipped(tar(("database.gz", gzipped(SQL)))),
        gzipped(tar(("._lportal.sql", b"Mac"), ("lportal.sql", SQL))),
        gzipped(SQL[:100]) + gzipped(SQL[100:]),
    ],
    ids=["sql", "gzip", "tar", "tar.gz", "tar.gz of gz", "macOS tar.gz", "gzip of two members"],
)
def test_every_form_of_a_dump_becomes_the_same_archive(data: bytes) -> None:
    store = Store()
    facts = take(data, store).facts
    assert b"".join(raw for _, raw in store.segments()) == SQL
    assert [(segment.section, segment.table) for segment, _ in store.segments()] == [
        (Section.HEAD, None),
        (Section.DEFINITION, "Company"),
        (Section.ROWS, "Company"),
    ]
    with tarfile.open(fileobj=io.BytesIO(store.archive.data)) as archive:
        assert archive.getnames() == ["lportal.sql"]
    assert (facts.name, facts.flavour, facts.tables) == ("lportal", "mysql", 1)
    assert (facts.server_version, facts.client_version) == ("8.0.36", "8.0.36")


def test_mariadbs_first_line_is_left_out_and_lines_are_counted_as_in_the_file() -> None:
    sandbox = b"/*M!999999\\- enable the sandbox mode */ \n"
    store = Store()
    mariadb = SQL.replace(b"MySQL dump 10.13  Distrib 8.0.36", b"MariaDB dump 10.19  Distrib 11.4")
    assert take(sandbox + mariadb, store).facts.flavour == "mariadb"
    assert b"".join(raw for _, raw in store.segments()) == b"\n" + mariadb
    with pytest.raises(ArchiveRefused, match="^line 2 of the dump"):
        take(sandbox + b"GRANT ALL ON *.* TO me;\n")


@pytest.mark.parametrize(
    ("head", "name"),
    [(b"", "lportal"), (b"USE site2;\n", "site2"), (b"create schema if not exists `a.b`;", "a.b")],
)
def test_the_schema_is_what_the_dump_names(head: bytes, name: str) -> None:
    store = Store()
    assert take(head + TABLES + TRAILER, store).facts.name == name
    assert store.schema == name


WIDE = ("utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the database is empty, and no SQL dump"),
        (gzipped(b""), "the database is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(900), "a PNG image"),
        (b"PK\x03\x04" + bytes(900), "a zip archive"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b'<?xml version="1.0"?><Error>', "an XML document"),
        (b'{"message": "Forbidden"}', "a JSON document"),
        (b"\x00\x01\x02", r"no known kind \(it begins with the bytes 00 01 02\)"),
        ("-- MySQL dump".encode("utf-16"), "UTF-16 text"),
        *((SQL.decode().encode(it), f"{it[:6].upper()} text .*utf8mb4") for it in WIDE),
        (gzipped(SQL.decode().encode("utf-16-le")), "UTF-16 text"),
        (gzipped(SQL) + b"garbage", "other bytes behind its gzip data, at byte"),
        (gzipped(SQL) + bytes(9) + b"x", "other bytes behind its gzip data, at byte"),
        (gzipped(SQL) + b"\x1f", "ends in the middle of its gzip data"),
        (tar(("a label", b""), kind=b"V"), r"'a label', which is a label \(tar --label\)"),
        (gzipped(gzipped(SQL)), "the database is a gzip file"),
        (b"I forgot the dump", "line 1 of the dump is refused"),
        (HEAD, "no CREATE TABLE"),
        (b"-- nothing but a comment\n", "no CREATE TABLE"),
        (HEAD + TABLES, "-- Dump completed"),
        (SQL[:-10] + b"x" * 900, "-- Dump completed"),
        (b"CREATE TABLE t (a int);\nINSERT INTO `t` VALUES (1),\n(2", "inside the .* line 2"),
        (b"CREATE TABLE t (a int);\nINSERT INTO `t` VALUES ('a", "inside the .* line 2"),
        (gzipped(SQL)[:-9], "ends in the middle of its gzip data"),
        (gzipped(SQL)[:-8] + bytes(8), "not a valid gzip file"),
        (gzipped(tar(("a.sql", SQL)) + bytes(900_000), 0)[:-9], "the middle of its gzip"),
        (tar(("a.sql", SQL), ("b.sql", SQL)), "holds 'a.sql' and 'b.sql'; one SQL file"),
        (tar(("a.sql", b""), kind=tarfile.SYMTYPE), "'a.sql', which is a link"),
        (tar(("a.sql", b""), kind=tarfile.LNKTYPE), "'a.sql', which is a link"),
        (tar(("a.sql", b""), kind=tarfile.CHRTYPE), "'a.sql', which is a device"),
        (tar(), "holds no file"),
        (tar(("folder/", b"")), "holds no file"),
        (tar(("a.png", b"\x89PNG" + bytes(600))), "'a.png' in the .* is a PNG image"),
        (tar(("a.sql", SQL))[:700], "cut short"),
        (tar(("a.sql", SQL))[: 512 + 512], "cut short"),
        (SQL.replace(b"`lportal`", b"`../../x`"), "of a schema '../../x'"),
        (b"USE mysql;\n" + TABLES + b"DROP TABLE `lportal`.`User_`;\n", "another schema"),
        (SQL + b"\n\\! touch /tmp/owned\n;", "refused"),
        (
            SQL + b"LOAD DATA INFILE '/etc/passwd' INTO TABLE `Company`;",
            f"line {SQL.count(b'\n') + 1} of the dump",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "sent",
)
def test_what_is_no_dump_is_refused_by_what_was_found(data: bytes, said: str) -> None:
    store = Store()
    with pytest.raises(ArchiveError, match=said):
        take(data, store)
    assert not store.archive.visible


@pytest.mark.parametrize(
    "bomb",
    [
        gzipped(b"-- " + b" " * 5_000_000),
        gzipped(tar(("a.sql", SQL + b" " * 5_000_000))),
        gzipped(tar(("a.gz", gzipped(SQL + b" " * 5_000_000)))),
    ],
    ids=["gzip", "tar.gz", "gz in a tar.gz"],
)
def test_a_bomb_is_refused(bomb: bytes) -> None:
    with pytest.raises(ArchiveRefused, match="inflates to more than 1048576 bytes"):
        take(bomb)


PLAIN = b"""SET NAMES utf8mb4;
CREATE DATABASE IF NOT EXISTS `lportal`;
USE `lportal`;
DROP TABLE IF EXISTS `t`;
CREATE TABLE `t` (`id` int NOT NULL, `x` longtext, PRIMARY KEY (`id`)) ENGINE=InnoDB;
INSERT INTO `t` VALUES (1,'a');
"""


@pytest.mark.parametrize(
    "hostile",
    [
        # The lexers of the judge and of a server differ.
        b"/*!99999 DROP TABLE IF EXISTS zz # */ CREATE USER evil@'%' IDENTIFIED BY 'x' /*\n*/;",
        b"ALTER TABLE t ADD y int /*!99999 ' */, RENAME TO canary.moved -- '*/\n;",
        b"SET NAMES latin1;\nALTER TABLE t ADD y int,\xa0RENAME\xa0TO\xa0canary.moved;",
        b"SET NAMES gbk;\nALTER TABLE t ADD y int COMMENT '\xbf\\', RENAME TO canary.moved -- ';",
        b"DROP TABLE IF  EXISTS `\x81`/*x` , canary.victim -- */;",
        b"SET sql_mode='NO_BACKSLASH_ESCAPES';\nALTER TABLE t ADD y int COMMENT '\\', RENAME z;",
        b"SET sql_mode='STRICT_ALL_TABLES,ANSI_QUOTES';",
        b"SET @m = @@sql_mode, sql_mode = 'ORACLE';",
        b"ALTER TABLE t ADD y int --\x7f '\n, RENAME TO canary.moved -- '\n;",
        b"CREATE VIEW `v` AS SELECT * FROM mysql/*!99999 zz*/.user;",
        # Bodies
        b"CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO ALTER USER a@'%' IDENTIFIED BY 'pwned';",
        b"CREATE PROCEDURE p() GRANT SELECT, CREATE USER ON *.* TO app@'%';",
        b"CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO DROP DATABASE canary;",
        b"CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO DELETE FROM canary.victim;",
        # Rows and definitions
        b"INSERT INTO t VALUES (2,(SELECT GROUP_CONCAT(User) FROM mysql.user));",
        b"INSERT INTO t VALUES (2,BENCHMARK(2000000000,SHA2('x',512)));",
        b"CREATE TABLE t2 AS TABLE mysql.user;",
        b"CREATE TABLE t2 (id int, FOREIGN KEY (id) REFERENCES canary.parent(id)) ENGINE=InnoDB;",
        b"CREATE TABLE t2 (id int) TABLESPACE innodb_system;",
        b"CREATE TABLE t2 (id int) ENGINE=MyISAM DATA DIRECTORY='/tmp';",
        b"CREATE TABLE t2 (id int) PARTITION BY HASH (id) (PARTITION p DATA DIRECTORY='/tmp');",
        b"CREATE TABLE t2 (id int) ENGINE=FEDERATED CONNECTION='mysql://u@h/d/t';",
        b"CREATE TABLE t2 (id int) ENGINE=CONNECT;",
        b"CREATE TABLE t2 (id int) ENGINE=MERGE UNION=(canary.a);",
        # Stored code among rows
        b"CREATE /* x */ EVENT e ON SCHEDULE AT NOW() DO DELETE FROM canary.victim;",
        # What would block the next restore
        b"ALTER DATABASE `lportal` READ ONLY = 1;",
        # What would hang
        b"INSERT INTO User_ (userId, companyId, createDate, modifiedDate, emailAddress) VALUE (1);",
        b"ALTER TABLE t " + b"/*! " * 160_000 + b";",
        b"ALTER TABLE t " + b"/**/" * 300_000 + b";",
        b"INSERT INTO `t` VALUES (1)" + b"," * (8 << 20) + b";",
        b"INSERT INTO `t` (" + b"," * (8 << 20) + b";",
        b"INSERT " + b"," * (8 << 20) + b";",
        b"CREATE TABLE u " + b"(" * (1 << 20) + b";",
        b"CREATE TABLE u (" + b"a int," * 200_000 + b");",
        b"CREATE " + b"ALGORITHM=MERGE " * 30_000 + b";",
    ],
    ids=lambda text: repr(text[:60]),
)
def test_a_hostile_dump_is_refused_by_its_line(hostile: bytes) -> None:
    with pytest.raises(ArchiveRefused, match=r"^line [78] of the dump is refused"):
        take(PLAIN + hostile + b"\n" + TRAILER, limit=1 << 30)
    take(PLAIN + TRAILER)


def test_statements_that_say_nothing_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_MOST_EMPTY", 1000)
    take(PLAIN + b"DELIMITER ;;\nDELIMITER ;\n" * 499 + TRAILER)
    for nothing in (b"DELIMITER ;;\nDELIMITER ;\n" * 501, b";" * 1001):
        with pytest.raises(ArchiveRefused, match="1000 statements .* say nothing"):
            take(PLAIN + nothing)


def test_a_comment_that_is_never_closed_is_refused_at_once() -> None:
    with pytest.raises(ArchiveDamaged, match="inside the statement at line 7"):
        take(PLAIN + b"ALTER TABLE t " + b"/* " * 160_000 + b";")


@pytest.mark.parametrize(
    ("statement", "section"),
    [
        (b"CREATE VIEW v AS SELECT id FROM t;", Section.VIEW),
        (b"CREATE /* x */ EVENT e ON SCHEDULE AT NOW() DO DELETE FROM t;", Section.EVENTS),
        (b"CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET NEW.x = 1;", Section.TRIGGERS),
    ],
)
def test_stored_code_among_rows_is_no_row(statement: bytes, section: Section) -> None:
    store = Store()
    if section is Section.VIEW:
        statement = b"CREATE VIEW v AS SELECT 1 AS id;\nINSERT INTO t VALUES (3,'');\n" + statement
    take(PLAIN + statement + b"\nINSERT INTO `t` VALUES (2,'b');\n" + TRAILER, store)
    found = [segment.section for segment, _ in store.segments()]
    assert found[-2:] == [section, Section.ROWS]


@pytest.mark.parametrize(
    "dump",
    [
        b"""-- phpMyAdmin SQL Dump
SET SQL_MODE = "NO_AUTO_VALUE_ON_ZERO";
START TRANSACTION;
SET time_zone = "+00:00";
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!40101 SET NAMES utf8mb4 */;
CREATE TABLE `User_` (
  `userId` bigint NOT NULL,
  `screenName` varchar(75) DEFAULT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO `User_` (`userId`, `screenName`) VALUES
(1, 'anna'),
(-2, 'bert');
ALTER TABLE `User_`
  ADD PRIMARY KEY (`userId`),
  ADD KEY `IX` (`screenName`);
ALTER TABLE `User_`
  MODIFY `userId` bigint NOT NULL AUTO_INCREMENT, AUTO_INCREMENT=3;
COMMIT;
/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;
""",
        b"""-- Dump created by MySQL pump utility, version: 8.0.36, Linux (x86_64)
SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0;
SET SQL_MODE="NO_AUTO_VALUE_ON_ZERO";
SET @@SESSION.SQL_LOG_BIN= 0;
CREATE DATABASE /*!32312 IF NOT EXISTS*/ `lportal` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;
CREATE TABLE `lportal`.`User_` (
`userId` bigint NOT NULL,
PRIMARY KEY (`userId`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
;
INSERT INTO `lportal`.`User_` VALUES (1,"one"),(2,"two");
SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS;
-- Dump end time: Thu Jan  1 00:00:00 2026
""",
        b"""/*!40101 SET NAMES latin1 */;
CREATE TABLE `t` (
  `id` bigint NOT NULL,
  `gr\xf6\xdfe` varchar(75) DEFAULT NULL COMMENT '\xfc',
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=latin1;
INSERT INTO `t` VALUES (1,'\xfcber');
-- Dump completed
""",
        b"""-- Adminer 4.8.1 MySQL 8.0.36 dump

SET NAMES utf8;
SET foreign_key_checks = 0;
DROP TABLE IF EXISTS `t`;
CREATE TABLE `t` (
  `id` int NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO `t` (`id`) VALUES
(1);

-- 2026-11-26 08:15:30
""",
    ],
    ids=["phpMyAdmin", "mysqlpump", "latin1", "Adminer"],
)
def test_what_other_dump_programs_write_is_taken(dump: bytes) -> None:
    store = Store()
    assert take(dump, store).facts.tables == 1
    assert b"".join(raw for _, raw in store.segments()) == dump


def test_an_endless_statement_is_refused_before_it_fills_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "MOST_STATEMENT", 1000)
    monkeypatch.setattr(database, "SEGMENT_SIZE", 1000)
    with pytest.raises(ArchiveRefused, match="a statement of more than 1000 bytes"):
        take(SQL + b"INSERT INTO `Company` VALUES ('" + b"a" * 5000 + b"');\n")


def test_all_stored_code_may_stand_behind_one_delimiter_line() -> None:
    """A restore reads each segment by itself, so it stays in one."""
    code = (
        b"-- it's all here\nDELIMITER ;;\n"
        b"CREATE PROCEDURE p() BEGIN SELECT 1; END ;;\n"
        b"CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO BEGIN SET @a = 1; END ;;\n"
        b"CREATE TRIGGER r BEFORE INSERT ON `Company` FOR EACH ROW BEGIN SET @a = 1; END ;;\n"
        b"DELIMITER ;\n"
    )
    store = Store()
    take(TABLES + code + b"CREATE TABLE `u` (`id` int);\n" + TRAILER, store)
    found = {segment.section: raw for segment, raw in store.segments()}
    assert found[Section.ROUTINES].strip() == code.strip()
    assert segment_tables(store) == ["Company", "u"]


def segment_tables(store: Store) -> list[str | None]:
    return [it.table for it, _ in store.segments() if it.section is Section.DEFINITION]


_MORE = b"INSERT INTO `Company` VALUES (3,'');\n"
_SECOND = b"CREATE TABLE `u` (`id` int);\nINSERT INTO `u` VALUES (1);\n"
_OF_OTHER_PROGRAMS = {
    "HeidiSQL": (
        b"/*!40103 SET @OLD_TIME_ZONE=@@TIME_ZONE */;\n"
        b"/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;\n"
        + TABLES
        + _SECOND
        + b"/*!40103 SET TIME_ZONE=IFNULL(@OLD_TIME_ZONE, 'system') */;\n"
        b"/*!40101 SET SQL_MODE=IFNULL(@OLD_SQL_MODE, '') */;\n"
    ),
    "Sequel Ace": (
        b"/*!40101 SET @OLD_SQL_MODE='NO_AUTO_VALUE_ON_ZERO', SQL_MODE='' */;\n"
        + TABLES
        + _SECOND
        + b"/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;\n"
    ),
    "Navicat": (
        b"SET NAMES utf8mb4;\nSET FOREIGN_KEY_CHECKS = 0;\nBEGIN;\n"
        + TABLES
        + b"COMMIT;\nBEGIN;\n"
        + _SECOND
        + b"COMMIT;\nSET FOREIGN_KEY_CHECKS = 1;\n"
    ),
}


@pytest.mark.parametrize("dump", _OF_OTHER_PROGRAMS.values(), ids=_OF_OTHER_PROGRAMS)
def test_a_dump_of_another_program_is_taken_whole_and_not_cut(dump: bytes) -> None:
    assert take(dump).facts.tables == 2
    for end in (dump.index(b"CREATE TABLE `u`"), dump.index(b"INSERT INTO `u`")):
        with pytest.raises((ArchiveDamaged, ArchiveRefused), match="cut short"):
            take(dump[:end])


def test_a_transaction_that_is_one_of_many_proves_nothing() -> None:
    many = b"set autocommit=0;\n" + TABLES + b"commit;\n"
    with pytest.raises(ArchiveRefused, match="nothing in the database says that it is whole"):
        take(TABLES + b"BEGIN;\nINSERT INTO `Company` VALUES (3,'');\nCOMMIT;\n")
    with pytest.raises(ArchiveRefused, match="nothing in the database says that it is whole"):
        take(many + b"set autocommit=0;\n" + _SECOND + b"commit;\nDROP TABLE IF EXISTS `w`;\n")


@pytest.mark.parametrize(
    ("dump", "said"),
    [
        (
            b"/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='' */;\n" + TABLES,
            "does not put them back",
        ),
        (b"START TRANSACTION;\n" + TABLES, "never commits it"),
        (TABLES.removesuffix(b"UNLOCK TABLES;\n"), "never unlocks it"),
        (b"SET AUTOCOMMIT=0;\n" + TABLES + b"COMMIT;\n" + _MORE, "never commits its last rows"),
        (b"SET autocommit='OFF';\nCOMMIT;\n" + TABLES + _MORE, "never commits its last rows"),
    ],
)
def test_a_dump_that_does_not_end_what_it_began_was_cut_short(dump: bytes, said: str) -> None:
    with pytest.raises(ArchiveDamaged, match=f"cut short: .*{said}"):
        take(dump + TRAILER)


def test_rows_are_committed_also_by_what_does_not_say_so() -> None:
    off = b"SET AUTOCOMMIT=0;\n" + TABLES + b"COMMIT;\n" + _MORE
    for commits in (b"COMMIT;\n", b"SET AUTOCOMMIT=1;\n", b"DROP TABLE IF EXISTS `w`;\n"):
        take(off + commits + TRAILER)


def test_a_schema_is_not_dropped_once_it_has_tables() -> None:
    drop = b"DROP DATABASE IF EXISTS `lportal`;\n"
    take(HEAD + drop + TABLES + TRAILER)
    with pytest.raises(ArchiveRefused, match="drops the schema in which tables were created"):
        take(HEAD + TABLES + drop + TABLES + TRAILER)


def test_a_dump_that_says_nowhere_that_it_is_whole_is_refused_with_a_way_out() -> None:
    with pytest.raises(ArchiveRefused, match="append the line '-- Dump completed'"):
        take(TABLES)
    take(TABLES + b"-- Dump completed\n")


def test_a_schema_that_only_the_first_lines_name_is_the_dumps_own() -> None:
    """mysqldump without --databases: ALTER DATABASE stands around a trigger all the same."""
    head = HEAD.replace(b"Database: lportal", b"Database: shop").partition(b"CREATE DATABASE")[0]
    alter = b"ALTER DATABASE `shop` CHARACTER SET latin1 COLLATE latin1_swedish_ci ;\n"
    head = head.replace(b"/*!40000 DROP DATABASE IF EXISTS `lportal`*/;\n", b"")
    assert take(head + TABLES + alter + TRAILER).facts.name == "shop"
    with pytest.raises(ArchiveRefused, match="another schema"):
        take(head + TABLES + alter.replace(b"shop", b"other") + TRAILER)


def test_large_tables_are_cut_at_statements_and_nothing_is_lost() -> None:
    rows = random.Random(7)
    inserts = [
        b"INSERT INTO `Company` VALUES (%d,'%s');\n"
        % (number, rows.randbytes(40_000).hex().encode())
        for number in range(300)
    ]
    sql = HEAD + TABLES + b"".join(inserts) + TRAILER
    store = Store()
    take(gzipped(sql, 1), store, limit=1 << 30)
    found = list(store.segments())
    assert b"".join(raw for _, raw in found) == sql
    assert [segment.section for segment, _ in found].count(Section.ROWS) == 3


def test_what_check_raises_ends_the_work() -> None:
    def check() -> None:
        raise OutOfTime("enough")

    with pytest.raises(OutOfTime):
        take_database(
            iter([SQL]),
            Store().writer,
            default_name="lportal",
            limit=1 << 20,
            progress=lambda _: None,
            check=check,
        )


def test_a_damaged_dump_is_told_from_a_refused_one() -> None:
    with pytest.raises(ArchiveDamaged):
        take(gzipped(SQL)[:-9])
