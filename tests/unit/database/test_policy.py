"""What a dump may say, judged by the heads of its statements."""

import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lcp_backup.database.endpoint import Flavour, Server
from lcp_backup.database.policy import Policy, head
from lcp_backup.database.rulings import Ruling, StatementKind
from lcp_backup.errors import ArchiveRefused


@dataclass(frozen=True)
class Said:
    text: bytes
    where: str = "line 7 of the dump"


def judge(text: str | bytes, *, uploaded: bool = False, server: Server | None = None) -> Ruling:
    policy = Policy("site", uploaded=uploaded, server=server)
    return policy.judge(Said(text.encode() if isinstance(text, str) else text))


def bare(text: str) -> str:
    """A statement without the marks of its versioned comments, its comments and double blanks."""
    text = re.sub(r"/\*M!999999.*?\*/|--.*\n", "", text)
    return " ".join(re.sub(r"/\*M?!\d*|\*/", " ", text).split())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */", StatementKind.SESSION),
        ("/*!50503 SET NAMES utf8mb4 */", StatementKind.SESSION),
        ("SET NAMES 'utf8mb4' COLLATE 'utf8mb4_bin'", StatementKind.SESSION),
        (
            "/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */",
            StatementKind.SESSION,
        ),
        (
            "/*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */",
            StatementKind.SESSION,
        ),
        ("/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */", "session"),
        ("/*!40103 SET TIME_ZONE='+00:00' */", StatementKind.SESSION),
        ("SET @MYSQLDUMP_TEMP_LOG_BIN = @@SESSION.SQL_LOG_BIN", StatementKind.SESSION),
        ("/*!50003 SET character_set_client  = utf8mb4 */", StatementKind.SESSION),
        ("/*!40000 DROP DATABASE IF EXISTS `site`*/", StatementKind.DROP_SCHEMA),
        ("USE `site`", StatementKind.NOTHING),
        ("USE site", StatementKind.NOTHING),
        (
            (
                "/*M!999999\\- enable the sandbox mode */\n-- MariaDB dump 10.19\n\n"
                "/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE */"
            ),
            StatementKind.SESSION,
        ),
        ("set autocommit=0", StatementKind.NOTHING),
        ("commit", StatementKind.NOTHING),
        ("START TRANSACTION", StatementKind.NOTHING),
        ("LOCK TABLES `a` WRITE, `site`.`b` READ /*!32311 LOCAL */", StatementKind.LOCK),
        ("UNLOCK TABLES", StatementKind.LOCK),
        ("/*!40000 ALTER TABLE `a` DISABLE KEYS */", StatementKind.TABLE),
        (
            "ALTER TABLE `a` ADD PRIMARY KEY (`id`), MODIFY `id` int AUTO_INCREMENT",
            StatementKind.TABLE,
        ),
        ("/*!50001 DROP VIEW IF EXISTS `v`*/", StatementKind.DROP_CODE),
        ("/*!50106 DROP EVENT IF EXISTS `ev` */", StatementKind.DROP_CODE),
        ("/*!50003 DROP FUNCTION IF EXISTS `fn` */", StatementKind.DROP_CODE),
        (
            "/*!80002 ANALYZE TABLE `a` UPDATE HISTOGRAM ON `n` WITH 9 BUCKETS */",
            StatementKind.TABLE,
        ),
        ("CREATE SEQUENCE `s` start with 1 minvalue 1 increment by 1", StatementKind.TABLE),
        ("DO SETVAL(`s`, 7, 0)", StatementKind.TABLE),
        ("SELECT SETVAL(`s`, 7, 0)", StatementKind.TABLE),
        ("INSERT INTO `a` VALUES (1,'SHUTDOWN')", StatementKind.ROWS),
        ("INSERT  IGNORE INTO `a` (`id`, `odd ``name`) VALUES\n(1)", StatementKind.ROWS),
        ("REPLACE INTO `a` VALUES (1)", StatementKind.ROWS),
    ],
)
def test_what_dump_programs_write_is_let_through(text: str, kind: StatementKind) -> None:
    for uploaded in (False, True):
        ruling = judge(text, uploaded=uploaded)
        assert ruling.kind == kind
        if kind not in {StatementKind.NOTHING, StatementKind.LOCK, StatementKind.ROWS}:
            assert ruling.sql.decode() == bare(text)


@pytest.mark.parametrize(
    "text",
    [
        "SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ '6b99fa0a-e70d-11f1:1-17'",
        "SET GLOBAL INNODB_STATS_AUTO_RECALC=OFF",
        "/*!80000 SET GLOBAL INNODB_STATS_AUTO_RECALC=OFF */",
        "/*!50606 SET GLOBAL INNODB_STATS_AUTO_RECALC=@OLD_INNODB_STATS_AUTO_RECALC */",
        "SET @@SESSION.SQL_LOG_BIN= 0",
        "SET @@SESSION.SQL_LOG_BIN = @MYSQLDUMP_TEMP_LOG_BIN",
        "SET PERSIST max_connections = 1",
    ],
)
def test_settings_that_a_managed_server_denies_are_left_out(text: str) -> None:
    assert judge(text).kind is StatementKind.LEFT_OUT


@pytest.mark.parametrize(
    ("text", "kind", "sql"),
    [
        (
            (
                "/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER tr"
                " BEFORE INSERT ON a FOR EACH ROW SET NEW.n = 'DEFINER=`x`@`y`' */"
            ),
            StatementKind.TRIGGER,
            ("CREATE TRIGGER tr BEFORE INSERT ON a FOR EACH ROW SET NEW.n = 'DEFINER=`x`@`y`'"),
        ),
        (
            (
                "/*!50001 CREATE ALGORITHM=UNDEFINED */\n"
                "/*!50013 DEFINER=`a``b`@`%` SQL SECURITY DEFINER */\n"
                "/*!50001 VIEW `v` AS select `a`.`id` AS `id` from `a` */"
            ),
            StatementKind.VIEW,
            (
                "CREATE ALGORITHM=UNDEFINED SQL SECURITY DEFINER\n"
                "VIEW `v` AS select `a`.`id` AS `id` from `a`"
            ),
        ),
        (
            "CREATE DEFINER=`root`@`localhost` FUNCTION `fn`(x int) RETURNS int RETURN x",
            StatementKind.ROUTINE,
            "CREATE FUNCTION `fn`(x int) RETURNS int RETURN x",
        ),
        (
            "CREATE DEFINER = CURRENT_USER() PROCEDURE site.p() SELECT 1",
            StatementKind.ROUTINE,
            "CREATE PROCEDURE p() SELECT 1",
        ),
        (
            "CREATE OR REPLACE DEFINER=app@localhost VIEW v AS SELECT 1",
            StatementKind.VIEW,
            "CREATE OR REPLACE VIEW v AS SELECT 1",
        ),
        (
            (
                "/*!50106 CREATE*/ /*!50117 DEFINER='u'@'h'*/ /*!50106 EVENT `ev` ON SCHEDULE"
                " EVERY 1 YEAR DO SELECT 1 */"
            ),
            StatementKind.EVENT,
            "CREATE EVENT `ev` ON SCHEDULE EVERY 1 YEAR DO SELECT 1",
        ),
    ],
)
def test_definers_leave_the_head_and_nothing_else(text: str, kind: StatementKind, sql: str) -> None:
    ruling = judge(text)
    assert (ruling.kind, ruling.sql.decode()) == (kind, sql)


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("INSERT INTO `site`.`a` VALUES (1)", "INSERT INTO `a` VALUES (1)"),
        ("DROP TABLE IF EXISTS site.a", "DROP TABLE IF EXISTS a"),
        ("CREATE TABLE `site`.`a` (`x` int)", "CREATE TABLE `a` (`x` int)"),
        (
            "CREATE TRIGGER site.t BEFORE INSERT ON site.a FOR EACH ROW SET @x=1",
            "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET @x=1",
        ),
    ],
)
def test_the_dumps_own_schema_is_taken_out_of_heads(text: str, sql: str) -> None:
    assert judge(text).sql.decode() == sql


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (
            (
                "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `site` /*!40100 DEFAULT CHARACTER SET"
                " utf8mb4 */ /*!80016 DEFAULT ENCRYPTION='N' */"
            ),
            "DEFAULT CHARACTER SET utf8mb4 DEFAULT ENCRYPTION='N'",
        ),
        ("CREATE SCHEMA site", ""),
    ],
)
def test_creating_the_dumps_schema_keeps_its_options_only(text: str, options: str) -> None:
    ruling = judge(text)
    assert (ruling.kind, ruling.sql.decode().strip()) == (StatementKind.CREATE_SCHEMA, options)


@pytest.mark.parametrize(
    "text",
    [
        "USE mysql",
        "CREATE DATABASE other",
        "DROP DATABASE IF EXISTS `other`",
        "/*!40000 DROP DATABASE IF EXISTS `other`*/",
        "ALTER DATABASE other CHARACTER SET latin1",
        "GRANT ALL ON *.* TO x",
        "/*!50001 GRANT ALL ON *.* TO x */",
        "REVOKE ALL ON *.* FROM x",
        "CREATE USER x",
        "CREATE OR REPLACE USER x",
        "DROP USER x",
        "ALTER USER x IDENTIFIED BY 'y'",
        "RENAME USER a TO b",
        "RENAME TABLE a TO mysql.user",
        "LOAD DATA INFILE '/etc/passwd' INTO TABLE a",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "SELECT SETVAL(`s`, (SELECT 1))",
        "DO SLEEP(1)",
        "INSTALL PLUGIN x SONAME 'x.so'",
        "UNINSTALL PLUGIN x",
        "CREATE FUNCTION f RETURNS STRING SONAME 'x.so'",
        "CREATE AGGREGATE FUNCTION f RETURNS STRING SONAME 'x.so'",
        "SET PASSWORD = 'x'",
        "SET ROLE admin",
        "SET DEFAULT ROLE admin TO x",
        "SET STATEMENT max_statement_time=1 FOR DROP DATABASE other",
        "SET @x = (SELECT 1 FROM mysql.user)",
        "SET @x = 1 + (SELECT 1)",
        "SET sql_mode = (SELECT 1)",
        "SET @x = LOAD_FILE('/etc/passwd')",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SHUTDOWN",
        "KILL 1",
        "RESET MASTER",
        "PURGE BINARY LOGS TO 'x'",
        "CHANGE MASTER TO MASTER_HOST='x'",
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST='x'",
        "HANDLER a OPEN",
        "CALL p()",
        "PREPARE s FROM 'DROP DATABASE other'",
        "EXECUTE IMMEDIATE 'DROP DATABASE other'",
        "FLUSH PRIVILEGES",
        "DELETE FROM a",
        "UPDATE a SET x=1",
        "TRUNCATE TABLE a",
        "INSERT INTO other.t VALUES (1)",
        "INSERT INTO `other` . `t` VALUES (1)",
        "INSERT INTO a SELECT * FROM mysql.user",
        "INSERT INTO a (x) SELECT 1",
        "INSERT INTO a SET x=1",
        "CREATE TABLE other.t (x int)",
        "CREATE TABLE t AS SELECT * FROM mysql.user",
        "CREATE TABLE t (x int) ENGINE=MERGE UNION=(mysql.user)",
        "ALTER TABLE t RENAME TO mysql.t",
        "ALTER TABLE t ADD x int, RENAME TO mysql.t",
        "ALTER TABLE t EXCHANGE PARTITION p WITH TABLE other.t",
        "DROP TABLE a, other.b",
        "DROP VIEW v, other.w",
        "CREATE TRIGGER t BEFORE INSERT ON other.a FOR EACH ROW SET @x=1",
        "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'x')",
        "CREATE TABLESPACE t ADD DATAFILE 'x'",
        r"\! sh",
        "system sh",
        "source /etc/passwd",
        # Judged as a row statement or a table by one server and as something else by another.
        "/*!99999 INSERT INTO a VALUES (1) -- */ GRANT ALL ON *.* TO x",
        "CREATE /*!99999 TABLE a (x int) -- */ USER x",
        "CREATE /*M!100000 TABLE a (x int) -- */ USER x",
        "DROP TABLE /*!80000 a -- */ other.t",
        "/*!50001 DROP */ /*!80000 TABLE a */ USER x",
        "/*!50001 SET @x=1 */ */",
        "GRANT `ALL`",
        "`CREATE` TABLE a (x int)",
    ],
)
def test_all_else_is_refused_by_line_and_head(text: str) -> None:
    with pytest.raises(ArchiveRefused, match="line 7") as refused:
        judge(text)
    assert "passwd'" not in str(refused.value)


@given(st.binary(max_size=60))
def test_no_bytes_are_let_through_that_do_not_start_as_a_dump_writes(text: bytes) -> None:
    try:
        kind = judge(text).kind
    except ArchiveRefused:
        return
    assert kind is not None


def test_a_shown_head_holds_no_value() -> None:
    assert head(b"INSERT INTO `a` VALUES (1,'secret')") == "INSERT INTO `a`"
    assert head(b"SET PASSWORD = 'secret'") == "SET PASSWORD ="


MYSQL = Server(Flavour.MYSQL, "9.7.1")
MARIADB = Server(Flavour.MARIADB, "10.11.19-MariaDB")


@pytest.mark.parametrize(
    ("text", "server", "sql"),
    [
        (
            "/*!40100 CREATE TABLE `t` (`a` int /*!80023 INVISIBLE */, /* why */ KEY (`a`))*/",
            MYSQL,
            "CREATE TABLE `t` (`a` int INVISIBLE , KEY (`a`))",
        ),
        (
            "CREATE TABLE `t` (`a` int /*!80023 INVISIBLE */,\n  KEY (`a`)) /*!100000 CHECKSUM=1*/",
            MARIADB,
            "CREATE TABLE `t` (`a` int ,\nKEY (`a`)) CHECKSUM=1",
        ),
        ("SET /*!80013 sql_require_primary_key=0 */ /*M!100616 note_verbosity=0 */", MYSQL,
         "SET sql_require_primary_key=0"),
        ("/*M!100616 SET note_verbosity=0 */", MYSQL, ""),
        ("/*!80013 SET sql_require_primary_key=0 */", MARIADB, ""),
        ("/*!99999 DROP TABLE a # */ DROP TABLE b /*\n*/", MYSQL, "DROP TABLE b"),
    ],
)  # fmt: skip
def test_what_is_sent_is_what_the_server_would_have_made_of_it(
    text: str, server: Server, sql: str
) -> None:
    assert judge(text, uploaded=True, server=server).sql.decode() == sql


@pytest.mark.parametrize(
    "text",
    [
        # Each is right for one flavour alone.
        "/*!99999 DROP TABLE a # */ CREATE USER evil /*\n*/",
        "DROP TABLE /*!80000 a, */ other.b",
        "/*!50001 DROP */ /*M!100000 TABLE */ /*!80000 VIEW */ USER x",
        "ALTER TABLE t ADD y int /*!99999 ' */, RENAME TO canary.moved -- '*/\n",
        "CREATE /*!90000 TABLE a (x int) */ /*M!100000 USER x */",
    ],
)
def test_where_no_server_is_known_a_statement_has_to_be_right_for_both_flavours(text: str) -> None:
    with pytest.raises(ArchiveRefused, match="line 7"):
        judge(text)


@pytest.mark.parametrize("uploaded", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE t (id int) SELECT 1",
        "CREATE TABLE t (id int) AS TABLE mysql.user",
        "CREATE TABLE t AS TABLE mysql.user",
        "CREATE TABLE t (id int) TABLE u",
        "CREATE TABLE t (id int) WITH x AS (VALUES ROW(1)) TABLE x",
        "CREATE TABLE t LIKE mysql.user",
        "CREATE TABLE t (LIKE mysql.user)",
        "CREATE TABLE t (LIKE u)",
        "CREATE TABLE t (id int) PARTITION BY HASH (id) AS VALUES ROW(1)",
        "CREATE TABLE t (id int, FOREIGN KEY (id) REFERENCES canary.parent (id))",
        "CREATE TABLE t (id int, FOREIGN KEY (id) REFERENCES `canary` /* x */ . `parent` (id))",
        "CREATE TABLE t (id int DEFAULT (nextval(canary.s)))",
        "CREATE TABLE t (id int DEFAULT (canary.f()))",
        "CREATE TABLE t (id int DEFAULT (mysql.t.id))",
        "CREATE TABLE t (id int DEFAULT (SLEEP(9)))",
        "CREATE TABLE t (id int CHECK (BENCHMARK(9, id) = 0))",
        "CREATE TABLE t (id text AS (LOAD_FILE ('/etc/passwd')))",
        "CREATE TABLE t (id int) CONNECTION='mysql://x/y/z'",
        "CREATE TABLE t (id int) SECONDARY_ENGINE=x",
        "CREATE TABLE t (id int) UNION=(a, b)",
        "CREATE TABLE t (id int); DROP TABLE u",
        "CREATE TABLE t",
        "CREATE TEMPORARY TABLE t (id int)",
        "ALTER TABLE t ADD KEY (id), ENGINE=FEDERATED",
        "ALTER TABLE t AUTO_INCREMENT=5 ENGINE=FEDERATED",
        "ALTER TABLE t AUTO_INCREMENT=f()",
        "ALTER TABLE t DISABLE KEYS, RENAME u",
        "ALTER TABLE t DROP COLUMN x",
        "ALTER TABLE t ADD PARTITION (PARTITION p DATA DIRECTORY '/tmp')",
        "ALTER TABLE t ADD x int PARTITION BY HASH (x)",
        "ALTER TABLE t IMPORT TABLESPACE",
        "ALTER TABLE t ADD FOREIGN KEY (x) REFERENCES canary.p (id)",
        "ALTER TABLE t ADD x int,\xa0RENAME\xa0TO\xa0canary",
        "ALTER DATABASE site READ ONLY = 1",
        "ALTER DATABASE site CHARACTER SET utf8mb4 READ ONLY DEFAULT",
        "ALTER DATABASE site UPGRADE DATA DIRECTORY NAME",
        "CREATE DATABASE site; DROP DATABASE other",
        "LOCK TABLES canary.t READ",
        "LOCK TABLES t AS u READ",
        "LOCK INSTANCE FOR BACKUP",
        "ANALYZE TABLE t, canary.u",
        "ANALYZE TABLE t UPDATE HISTOGRAM ON a; DROP TABLE b",
        "CREATE SEQUENCE s ENGINE=FEDERATED",
        "CREATE SEQUENCE s START WITH (SELECT 1)",
        "CREATE SEQUENCE canary.s",
        "DO SETVAL(canary.s, 1)",
        "DO SETVAL(s, SLEEP(1))",
        "SET @x = 'ANSI_QUOTES'",
        "SET @x = @y",
        "SET @x = @@sql_mode + 1",
        "SET @x = @@sql_mode, PASSWORD = 'x'",
        "SET sql_mode = CONCAT('ANSI', '_QUOTES')",
        "SET sql_mode = 4",
        "SET sql_mode = 'UNHEARD_OF'",
        "SET default_storage_engine = FEDERATED",
        "SET time_zone = _latin1'+00:00'",
        "SET init_connect = 'x'",
        "PREPARE s FROM @x",
        "PREPARE other FROM @rocksdb_x",
        "SELECT COUNT(*) FROM mysql.user",
        "CREATE VIEW other.v AS SELECT 1",
        "DROP TABLE a /*! , other.b */",
        f"DROP TABLE `{'a' * 65}`",
        f"CREATE TABLE t (`{'a' * 65}` int)",
    ],
)
def test_nothing_reads_or_changes_what_lies_outside(text: str, uploaded: bool) -> None:
    if text == "PREPARE s FROM @x":
        # Percona's mysqldump writes it, and it is not sent.
        assert judge(text, uploaded=uploaded).kind is StatementKind.LEFT_OUT
        return
    with pytest.raises(ArchiveRefused, match="line 7"):
        judge(text, uploaded=uploaded)


@pytest.mark.parametrize(
    "engine", ["InnoDB", "MyISAM", "Aria", "MEMORY", "CSV", "ARCHIVE", "ROCKSDB"]
)
def test_engines_whose_tables_hold_their_own_rows_are_taken(engine: str) -> None:
    text = f"CREATE TABLE `t` (`id` int) ENGINE={engine}"
    assert judge(text, uploaded=True).sql.decode() == text
    judge(f"SET default_storage_engine={engine}", uploaded=True)


@pytest.mark.parametrize(
    "engine", ["FEDERATED", "CONNECT", "SPIDER", "MERGE", "MRG_MyISAM", "S3", "SEQUENCE", "unknown"]
)
@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE t (id int) ENGINE={}",
        "CREATE TABLE t (id int) ENGINE = `{}`",
        "CREATE TABLE t (id int) /*!40000 TYPE='{}' */",
        "CREATE TABLE t (id int) ENGINE=InnoDB PARTITION BY HASH (id) (PARTITION p ENGINE = {})",
        "CREATE SEQUENCE s ENGINE={}",
        "SET default_storage_engine={}",
    ],
)
def test_other_engines_are_refused_by_name(engine: str, text: str) -> None:
    with pytest.raises(ArchiveRefused, match=f"tables of the engine {engine}; change them"):
        judge(text.format(engine))


@pytest.mark.parametrize(
    "option",
    [
        "AUTO_INCREMENT=7", "AVG_ROW_LENGTH=1", "DEFAULT CHARSET=utf8mb4", "CHARACTER SET latin1",
        "DEFAULT CHARACTER SET = utf8", "CHECKSUM=1", "COLLATE=utf8mb4_bin", "COMMENT='a, b) AS'",
        "COMPRESSION='zlib'", "DELAY_KEY_WRITE=1", "ENCRYPTION='Y'", "`ENCRYPTED`=YES",
        "KEY_BLOCK_SIZE=8", "MAX_ROWS=1", "MIN_ROWS=1", "PACK_KEYS=0", "PAGE_CHECKSUM=1",
        "`PAGE_COMPRESSED`='ON'", "ROW_FORMAT=DYNAMIC", "STATS_PERSISTENT=0", "TRANSACTIONAL=1",
        "STATS_AUTO_RECALC=DEFAULT", "WITH SYSTEM VERSIONING", "AUTOEXTEND_SIZE=4M",
        "ENGINE=InnoDB, CHARSET=utf8mb4",
        ("PARTITION BY RANGE (`id`) SUBPARTITION BY HASH (`id`) SUBPARTITIONS 2\n"
        "(PARTITION p0 VALUES LESS THAN (2020) COMMENT = 'x' ENGINE = InnoDB,\n"
        "PARTITION p1 VALUES IN (1,NULL) MAX_ROWS = 1 ENGINE = InnoDB)"),
        "PARTITION BY SYSTEM_TIME LIMIT 100\n(PARTITION `p0` HISTORY ENGINE = InnoDB)",
    ],
)  # fmt: skip
def test_options_that_dump_programs_write_are_taken(option: str) -> None:
    text = f"CREATE TABLE `t` (`id` int) {option}"
    assert judge(text, uploaded=True).sql.decode() == text


def test_an_option_that_is_not_known_is_kept_in_our_own_dumps_alone() -> None:
    text = "CREATE TABLE `t` (`id` int) FUTURE_OPTION=1"
    assert judge(text).sql.decode() == text
    with pytest.raises(ArchiveRefused, match="FUTURE_OPTION is no table option"):
        judge(text, uploaded=True)


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("CREATE TABLE t (id int) TABLESPACE `innodb_system`", "CREATE TABLE t (id int)"),
        (
            "CREATE TABLE t (id int) /*!50100 TABLESPACE x STORAGE DISK */ ENGINE=InnoDB",
            "CREATE TABLE t (id int) ENGINE=InnoDB",
        ),
        (
            "CREATE TABLE t (id int) DATA DIRECTORY='/a' INDEX DIRECTORY='/b' CHECKSUM=1",
            "CREATE TABLE t (id int) CHECKSUM=1",
        ),
        (
            (
                "CREATE TABLE t (id int) PARTITION BY HASH (id) (PARTITION p DATA DIRECTORY = '/a'"
                " TABLESPACE = x ENGINE = InnoDB)"
            ),
            "CREATE TABLE t (id int) PARTITION BY HASH (id) (PARTITION p ENGINE = InnoDB)",
        ),
    ],
)
def test_where_files_lie_is_refused_and_our_own_dumps_lose_it(text: str, sql: str) -> None:
    with pytest.raises(ArchiveRefused, match="where the server keeps the table's files"):
        judge(text, uploaded=True)
    assert judge(text, server=MYSQL).sql.decode() == sql


def test_a_table_in_its_own_file_as_mysql_writes_it_is_taken() -> None:
    text = "CREATE TABLE t (id int) /*!50100 TABLESPACE `innodb_file_per_table` */ ENGINE=InnoDB"
    assert judge(text, uploaded=True).sql == b"CREATE TABLE t (id int) ENGINE=InnoDB"


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        (
            ("CREATE TABLE t (id int DEFAULT nextval(`site`.`s`),"
            " FOREIGN KEY (id) REFERENCES `site`.`p` (id))"),
            "CREATE TABLE t (id int DEFAULT nextval(`s`), FOREIGN KEY (id) REFERENCES `p` (id))",
        ),
        ("CREATE TABLE t (id int CHECK (`t`.`id` > 1.5))", None),
        ("CREATE SEQUENCE `s` start with -5 minvalue -10 cache 9 nocycle ENGINE=InnoDB", None),
        ("ALTER TABLE t ADD x int DEFAULT 1, MODIFY y int AUTO_INCREMENT, AUTO_INCREMENT=3", None),
        ("ALTER TABLE t ADD UNIQUE KEY `a` (`b`,`c`), ADD CONSTRAINT x CHECK (`b` in (1,2))", None),
        ("ALTER DATABASE site COMMENT 'x' CHARACTER SET latin1 COLLATE latin1_bin",
         "COMMENT 'x' CHARACTER SET latin1 COLLATE latin1_bin"),
        ("SET @@SESSION.sql_mode := 'ANSI_QUOTES'", "") ,
        (
            "CREATE VIEW `v` AS select `site`.`f`(`site`.`a`.`id`) AS `i`, `a`.`x` from `site`.`a`",
            "CREATE VIEW `v` AS select `f`(`a`.`id`) AS `i`, `a`.`x` from `a`",
        ),
        (
            "CREATE VIEW `v` AS select `site`.`f`(`site`.`id`), 'site.x' from `site`.`a` `site`",
            "CREATE VIEW `v` AS select `f`(`site`.`id`), 'site.x' from `a` `site`",
        ),
    ],
)  # fmt: skip
def test_names_of_the_dumps_own_schema_are_cut_where_others_are_refused(
    text: str, sql: str | None
) -> None:
    if sql == "":
        assert judge(text).sql.decode() == text
        return
    assert judge(text, uploaded=True).sql.decode() == (text if sql is None else sql)


@pytest.mark.parametrize(
    "mode",
    [
        "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES", "ANSI", "ORACLE", "MSSQL", "DB2", "POSTGRESQL",
        "MAXDB", "STRICT_TRANS_TABLES,ansi_quotes",
    ],
)  # fmt: skip
def test_modes_that_change_what_quotes_mean_are_for_our_own_dumps_alone(mode: str) -> None:
    judge(f"SET sql_mode = '{mode}'")
    with pytest.raises(ArchiveRefused, match="dump the database without this mode"):
        judge(f"SET sql_mode = '{mode}'", uploaded=True)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        *((f"SET NAMES {name}", True) for name in
          ("utf8", "utf8mb3", "'utf8mb4'", "latin1", "binary", "ascii")),
        *((f"SET NAMES {name}", False) for name in
          ("gbk", "sjis", "big5", "cp932", "gb18030", "gb2312", "euckr", "ucs2", "utf16", "utf32",
           "swe7", "cp850", "unheard_of")),
        *((f"SET character_set_client = {name}", True) for name in
          ("utf8mb4", "cp850", "cp1250", "cp1251", "latin2", "koi8r", "@saved_cs_client")),
        *((f"SET {variable} = {name}", False)
          for variable in ("character_set_client", "character_set_results",
                           "@@session.character_set_connection")
          for name in ("gbk", "swe7", "'sjis'")),
        ("SET collation_connection = utf8mb4_0900_ai_ci", True),
        ("SET collation_connection = gbk_chinese_ci", False),
        ("SET NAMES utf8mb4 COLLATE gbk_bin", False),
        ("SET character_set_results = NULL", True),
    ],
)  # fmt: skip
def test_uploads_are_in_character_sets_whose_bytes_mean_the_same_to_everybody(
    text: str, taken: bool
) -> None:
    judge(text)
    if taken:
        assert judge(text, uploaded=True).sql.decode() == text
        return
    with pytest.raises(ArchiveRefused, match="--default-character-set=utf8mb4"):
        judge(text, uploaded=True)


def test_a_table_whose_name_is_not_utf_8_is_refused_in_a_sentence() -> None:
    for text in (b"DROP TABLE `Auftr\xe4ge`", b"INSERT INTO `Auftr\xe4ge` VALUES (1)"):
        with pytest.raises(ArchiveRefused, match="--default-character-set=utf8mb4"):
            judge(text, uploaded=True)
    assert judge("DROP TABLE Aufträge", uploaded=True).sql.decode() == "DROP TABLE `Aufträge`"


@pytest.mark.parametrize(
    "text",
    [
        (
            "SELECT COUNT(*) INTO @rocksdb_has_p_s_session_variables FROM INFORMATION_SCHEMA.TABLES"
            " WHERE TABLE_SCHEMA = 'performance_schema'"
        ),
        (
            "SELECT COUNT(*) INTO @is_rocksdb_supported FROM INFORMATION_SCHEMA.SESSION_VARIABLES"
            " WHERE VARIABLE_NAME='rocksdb_bulk_load'"
        ),
        "SET @rocksdb_get_is_supported = IF (@rocksdb_has_p_s_session_variables, 'x', 'SELECT 0')",
        "SET @disable_bulk_load = IF (@is_rocksdb_supported, 'x', 'y')",
        "PREPARE s FROM @rocksdb_get_is_supported",
        "EXECUTE s",
        "DEALLOCATE PREPARE s",
    ],
)
def test_what_perconas_dump_program_asks_the_server_is_left_out(text: str) -> None:
    assert judge(f"/*!50717 {text} */", uploaded=True).kind is StatementKind.LEFT_OUT


@pytest.mark.parametrize(
    ("text", "table", "columns", "rows"),
    [
        ("INSERT INTO `a` VALUES (1,'(')", "a", None, "(1,'(')"),
        (
            "INSERT INTO `a``b` (`c,(`, d) VALUES\n(1, 2),\n(3,4)",
            "a`b",
            ("c,(", "d"),
            "(1, 2),\n(3,4)",
        ),
        ("INSERT IGNORE INTO `site`.`a`(`x`)VALUES(1)", "a", ("x",), "(1)"),
        ("REPLACE INTO site.a () VALUES (1)", "a", (), "(1)"),
    ],
)
def test_rows_are_told_apart_from_their_head(
    text: str, table: str, columns: tuple[str, ...] | None, rows: str
) -> None:
    ruling = judge(text, uploaded=True)
    assert (ruling.name, ruling.columns) == (table, columns)
    assert ruling.sql[ruling.values_at :].decode() == rows
    assert b"site" not in ruling.sql


@pytest.mark.parametrize(
    "rows",
    [
        "(1,(SELECT 1))",
        "(2,BENCHMARK(2000000000,SHA2('x',512)))",
        "(LOAD_FILE('/etc/passwd'))",
        "(1) ON DUPLICATE KEY UPDATE id = SLEEP(9)",
        "(1),(@@version)",
        "(1); DROP TABLE a",
        "(1) /*! , (SLEEP(9)) */",
        "(1) AS n",
        "(DEFAULT)",
        "(1",
        "(1),",
    ],
)
def test_rows_of_uploads_are_of_literals(rows: str) -> None:
    with pytest.raises(ArchiveRefused, match="holds more than literals"):
        judge(f"INSERT INTO `a` VALUES {rows}", uploaded=True)


EVENT = (
    "/*!50106 CREATE*/ /*!50117 DEFINER=`root`@`localhost`*/ /*!50106 EVENT `ev` ON SCHEDULE"
    " EVERY 1 DAY STARTS '2030-01-01 00:00:00'{} DO DELETE FROM a */"
)


@pytest.mark.parametrize("uploaded", [False, True])
@pytest.mark.parametrize(
    ("clauses", "disabled"),
    [
        ("", " DISABLE"),
        (" ENABLE", " DISABLE"),
        (" DISABLE ON SLAVE COMMENT 'it''s DO'", " DISABLE COMMENT 'it''s DO'"),
        (" ON COMPLETION NOT PRESERVE ENABLE", " ON COMPLETION NOT PRESERVE DISABLE"),
        (" ON COMPLETION PRESERVE COMMENT 'x'", " ON COMPLETION PRESERVE DISABLE COMMENT 'x'"),
    ],
)
def test_an_event_can_be_had_disabled(clauses: str, disabled: str, uploaded: bool) -> None:
    ruling = judge(EVENT.format(clauses), uploaded=uploaded)
    said = (
        "CREATE EVENT `ev` ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00'{} DO DELETE FROM a"
    )
    assert ruling.sql.decode() == said.format(clauses)
    assert ruling.disabled.decode() == said.format(disabled)
    assert ruling.definer == "root@localhost"


@pytest.mark.parametrize(
    "schedule",
    ["AT (SELECT 1)", "EVERY SLEEP(9) DAY", "AT canary.f()", "AT NOW() ENDS mysql.f()"],
)
def test_a_schedule_reads_nothing(schedule: str) -> None:
    with pytest.raises(ArchiveRefused, match="line 7"):
        judge(f"CREATE EVENT e ON SCHEDULE {schedule} DO DELETE FROM a", uploaded=True)


@pytest.mark.parametrize(
    ("clause", "definer"),
    [
        ("DEFINER=`a``b`@`%`", "a`b@%"),
        ("DEFINER = 'u' @ 'h'", "u@h"),
        ("DEFINER=root@db-host.example.com", None),
        ("DEFINER=root@db.example.com", "root@db.example.com"),
        ("DEFINER=CURRENT_USER", "CURRENT_USER"),
        ("DEFINER=CURRENT_USER()", ""),
        ("DEFINER=`role`", "role"),
        ("", ""),
    ],
)
def test_a_definer_is_told_and_cut(clause: str, definer: str | None) -> None:
    text = f"CREATE {clause} PROCEDURE p() SELECT 1"
    if definer is None:
        with pytest.raises(ArchiveRefused):
            judge(text)
        return
    ruling = judge(text)
    assert (ruling.definer, ruling.sql) == (definer, b"CREATE PROCEDURE p() SELECT 1")


def test_a_body_of_our_own_dumps_is_not_read() -> None:
    """It may be written for another SQL mode and in another character set."""
    body = rb"""FOR EACH ROW SET NEW."t" = '\', NEW.u = '""" + b"\x81`' /*!99999 x */ -- \xbf '"
    trigger = b'TRIGGER "T one" BEFORE INSERT ON "q" '
    text = b"/*!50003 CREATE*/ /*!50017 DEFINER=`r`@`%`*/ /*!50003 " + trigger
    ruling = judge(text + body + b" */")
    assert (ruling.name, ruling.definer) == ("T one", "r@%")
    assert ruling.sql == b"CREATE " + trigger + body
    with pytest.raises(ArchiveRefused):
        judge(text + body + b" */", uploaded=True)
    event = (
        b"/*!50106 CREATE*/ /*!50106 EVENT \"e\" ON SCHEDULE EVERY 1 DAY ENABLE DO SET @x = '\\' */"
    )
    assert judge(event).disabled.endswith(b"DAY DISABLE DO SET @x = '\\'")
    package = b"CREATE OR REPLACE DEFINER=`r`@`%` PACKAGE BODY \"b\" AS x '\\';\nEND"
    assert judge(package).sql == b"CREATE OR REPLACE PACKAGE BODY \"b\" AS x '\\';\nEND"


def test_a_body_of_an_upload_keeps_its_text_and_its_plain_comments() -> None:
    body = "BEGIN\n  -- why; 'x\n  /* it's */ # and\n  SELECT größe,  1 FROM `t`;\nEND"
    text = f"CREATE PROCEDURE p(a int) COMMENT 'x'  {body}"
    expected = f"CREATE PROCEDURE p(a int) COMMENT 'x'  {body.replace('größe', '`größe`')}"
    assert judge(text, uploaded=True).sql.decode() == expected
    hinted = judge("CREATE VIEW v AS SELECT /*+ NO_MERGE(a) */ 1 /*!80000 + 1 */", server=MYSQL)
    assert hinted.sql.split() == b"CREATE VIEW v AS SELECT 1 + 1".split()


@pytest.mark.parametrize(
    "text",
    [
        "CREATE PACKAGE b AS FUNCTION f() RETURN int; END",
        "CREATE LIBRARY b LANGUAGE JAVASCRIPT AS $$ export function f() {} $$",
    ],
)
def test_packages_and_libraries_are_taken_from_our_own_dumps_alone(text: str) -> None:
    assert judge(text).kind is StatementKind.ROUTINE
    with pytest.raises(ArchiveRefused, match="backups of this service only"):
        judge(text, uploaded=True)
