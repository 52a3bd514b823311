# ruff: noqa: E501 -- an input stands on one line, as it is sent
"""Values that are evaluated, definitions that reach out, and what is in a later restore's way."""

from typing import Final

from lcp_backup.database.endpoint import Flavour
from tests.integration.attacks.corpus.attack import HEAD, attacks

_MARIADB, _MYSQL = Flavour.MARIADB, Flavour.MYSQL
_HASHES = "SELECT GROUP_CONCAT(User,'=',authentication_string) FROM mysql.user"
_SECRET = "SELECT GROUP_CONCAT(x) FROM canary.victim"

_VALUES: Final = attacks(
    "value",
    {
        "a subquery": f"INSERT INTO t VALUES (2,({_HASHES}));",
        "a subquery in another table's name": f"INSERT INTO `t` VALUES (2,({_SECRET}));",
        "a subquery after literals": f"INSERT INTO `t` VALUES (2,'b'),(3,'c'),(4,({_SECRET}));",
        "a subquery with comments": "INSERT INTO `t` VALUES (2,(SELECT/**/x/**/FROM/**/canary.victim/**/LIMIT/**/1));",
        "a subquery in a versioned comment": "INSERT INTO `t` VALUES (2,/*!50001 (SELECT x FROM canary.victim LIMIT 1) */);",
        "ON DUPLICATE KEY": f"INSERT INTO `t` VALUES (1,'a') ON DUPLICATE KEY UPDATE x = ({_SECRET});",
        "INSERT SELECT behind columns": f"INSERT INTO `t` (`id`,`x`) VALUES (2,'b');\nINSERT INTO `t` (`id`,`x`) SELECT 3,({_SECRET});",
        "RETURNING": "INSERT INTO `t` VALUES (2,'b') RETURNING (SELECT x FROM canary.victim LIMIT 1);",
        "an alias of the row": f"INSERT INTO `t` VALUES (1,'b') AS n ON DUPLICATE KEY UPDATE x = ({_SECRET});",
        "a user variable": f"SET @v = ({_SECRET});\nINSERT INTO `t` VALUES (2,@v);",
        "a function": "INSERT INTO `t` VALUES (2,CURRENT_USER());",
        "a stored function": "INSERT INTO `t` VALUES (2,canary.f(1));",
        "an error that shows it": "INSERT INTO `t` VALUES (2,extractvalue(1,concat(0x7e,(SELECT x FROM canary.victim LIMIT 1))));",
        "an error in a definition": "CREATE TABLE t2 (id int DEFAULT (extractvalue(1,concat(0x7e,(SELECT x FROM canary.victim LIMIT 1)))));",
        "an error of a duplicate": "INSERT INTO `t` VALUES (2,'b');\nALTER TABLE t ADD UNIQUE u ((SELECT x FROM canary.victim LIMIT 1));",
        "a lock": "INSERT INTO `t` VALUES (2,GET_LOCK('lcp:lportal',0));",
        "work for minutes": "INSERT INTO `t` VALUES (2,BENCHMARK(2000000000,SHA2('x',512)));",
        "sleep": "INSERT INTO `t` VALUES (2,SLEEP(600));",
        "REPLACE": f"REPLACE INTO `t` VALUES (1,({_SECRET}));",
        "VALUE": f"INSERT INTO `t` VALUE (2,({_SECRET}));",
        "SET": f"INSERT INTO `t` SET id = 2, x = ({_SECRET});",
        "VALUES ROW": f"INSERT INTO `t` VALUES ROW(2,({_SECRET}));",
        "another table behind a partition": f"INSERT INTO `t` PARTITION (p0) VALUES (2,({_SECRET}));",
        "text as a statement": "INSERT INTO `t` VALUES (2,''); DROP TABLE canary.victim; -- ');",
        "a load that ends the stream": "INSERT INTO `t` VALUES (2,'\\0\\Z\\\\'),(3,'),\\n('),(4,'\\'),(5,''');",
    },
)  # fmt: skip

_DEFINITIONS: Final = attacks(
    "definition",
    {
        "AS TABLE": "CREATE TABLE t2 AS TABLE mysql.user;",
        "TABLE without AS": "CREATE TABLE t2 TABLE mysql.user;",
        "AS VALUES": "CREATE TABLE t2 AS VALUES ROW(1);",
        "AS WITH": "CREATE TABLE t2 WITH a AS (SELECT * FROM canary.victim) SELECT * FROM a;",
        "SELECT in a versioned comment": "CREATE TABLE t2 (id int) /*!50001 SELECT */ /*!50001 x FROM canary.victim */;",
        "LIKE": "CREATE TABLE t2 (LIKE canary.victim);",
        "REFERENCES": "CREATE TABLE c (p int, FOREIGN KEY (p) REFERENCES canary.parent(id)) ENGINE=InnoDB;",
        "REFERENCES with blanks": "CREATE TABLE c (p int, FOREIGN KEY (p) REFERENCES canary/**/./**/parent(id) ON DELETE CASCADE) ENGINE=InnoDB;",
        "REFERENCES added": "ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES `canary`.`parent` (id);",
        "REFERENCES at a column": "CREATE TABLE c (p int REFERENCES canary.parent(id)) ENGINE=InnoDB;",
        "TABLESPACE": "CREATE TABLE ts (id int) TABLESPACE innodb_system;",
        "TABLESPACE by ALTER": "ALTER TABLE t ADD y int, TABLESPACE innodb_system;",
        "DATA DIRECTORY": "CREATE TABLE d (id int) ENGINE=InnoDB DATA DIRECTORY='@OUTSIDE@';",
        "DATA DIRECTORY of MyISAM": "CREATE TABLE d (id int) ENGINE=MyISAM DATA DIRECTORY='@OUTSIDE@' INDEX DIRECTORY='@OUTSIDE@';",
        "DATA DIRECTORY of Aria": "CREATE TABLE d (id int) ENGINE=Aria DATA DIRECTORY='@OUTSIDE@';",
        "DATA DIRECTORY of a partition": "CREATE TABLE d (id int) ENGINE=InnoDB PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (9) DATA DIRECTORY='@OUTSIDE@');",
        "DATA DIRECTORY in a versioned comment": "CREATE TABLE d (id int) ENGINE=InnoDB /*!50100 DATA DIRECTORY='@OUTSIDE@' */;",
        "DATA DIRECTORY by ALTER": "ALTER TABLE t ADD y int, DATA DIRECTORY='@OUTSIDE@';",
        "FEDERATED": "CREATE TABLE f (id int) ENGINE=FEDERATED CONNECTION='mysql://root@127.0.0.1:1/canary/victim';",
        "CONNECT": "CREATE TABLE f (id int) ENGINE=CONNECT TABLE_TYPE=DOS FILE_NAME='/etc/passwd';",
        "SPIDER": "CREATE TABLE f (id int) ENGINE=SPIDER COMMENT='host \"127.0.0.1\", user \"root\"';",
        "S3": "CREATE TABLE f (id int) ENGINE=S3;",
        "CSV": "CREATE TABLE f (id int NOT NULL) ENGINE=CSV;",
        "BLACKHOLE": "CREATE TABLE f (id int) ENGINE=BLACKHOLE;",
        "MEMORY": "CREATE TABLE f (id int) ENGINE=MEMORY;",
        "MERGE of the canary": "CREATE TABLE m (id int NOT NULL, x varchar(90)) ENGINE=MERGE UNION=(canary.victim);",
        "MRG_MyISAM by its other name": "CREATE TABLE m (id int) ENGINE=MRG_MyISAM UNION=(`canary`.`victim`);",
        "engine by a variable": "SET default_storage_engine = MEMORY;\nCREATE TABLE f (id int);",
        "a sequence as a default": "CREATE TABLE s (id int DEFAULT (NEXT VALUE FOR canary.s));",
        "a default that reads": "CREATE TABLE s (id int, x longtext DEFAULT (load_file('/etc/passwd')));",
        "a default that is the user": "CREATE TABLE s (id int NOT NULL, x varchar(200) DEFAULT (current_user()));\nINSERT INTO `s` (`id`) VALUES (1);",
        "a column that is generated": "CREATE TABLE s (id int, x longtext GENERATED ALWAYS AS (load_file('/etc/passwd')));",
        "a check": "CREATE TABLE s (id int, CHECK (id > (SELECT COUNT(*) FROM canary.victim)));",
        "a compressed schema option": "ALTER DATABASE `lportal` ENCRYPTION='Y';",
        "START TRANSACTION": "CREATE TABLE s (id int) START TRANSACTION;",
        "a secondary engine": "CREATE TABLE s (id int) SECONDARY_ENGINE=rapid;",
        "AUTOEXTEND": "CREATE TABLE s (id int) AUTOEXTEND_SIZE=4194304;",
        "a temporary table": "CREATE TEMPORARY TABLE User_ (id int);",
    },
)  # fmt: skip

_BLOCKING: Final = attacks(
    "in the way",
    {
        "READ ONLY": "ALTER DATABASE `lportal` READ ONLY = 1;",
        "READ ONLY when made": "CREATE DATABASE IF NOT EXISTS `lportal` READ ONLY = 1;",
        "READ ONLY in a comment": "/*!80022 ALTER DATABASE `lportal` READ ONLY = 1 */;",
        "READ ONLY of all it can name": "ALTER DATABASE READ ONLY = 1;",
        "a journal's table": "CREATE TABLE stored_code (seq int);",
        "a journal's table in capitals": "CREATE TABLE STORED_CODE (seq int);",
        "the marker after the swap": "CREATE TABLE after_swap (nothing int);\nINSERT INTO not_there VALUES (1);",
        "the marker in capitals": "CREATE TABLE AFTER_SWAP (nothing int);\nINSERT INTO not_there VALUES (1);",
        "the marker as a view": "CREATE VIEW after_swap AS SELECT 1;",
        "rows of the journal": "INSERT INTO stored_code (live, kind, name, statement, character_set, collation, sql_mode, time_zone, schema_collation) VALUES (0,'event','e','CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO DELETE FROM canary.victim','utf8mb4','utf8mb4_bin','','SYSTEM','utf8mb4_bin');",
        "rows of the journal, as the live site's": "INSERT INTO stored_code (live, kind, name, statement, character_set, collation, sql_mode, time_zone, schema_collation) VALUES (1,'trigger','e','CREATE USER evil','utf8mb4','utf8mb4_bin','','SYSTEM','utf8mb4_bin');\nCREATE TABLE before_swap (nothing int);\nINSERT INTO not_there VALUES (1);",
        "rows of the journal, to keep tables": "INSERT INTO stored_code (live, kind, name) VALUES (1,'keep','canary');\nCREATE TABLE after_swap (nothing int);\nINSERT INTO not_there VALUES (1);",
        "the journal dropped": "DROP TABLE stored_code;",
        "a name of 64 letters": "CREATE TABLE `" + "n" * 64 + "` (id int);",
        "a name with a slash": "CREATE TABLE `../../canary/victim` (id int);",
        "a name with a newline": "CREATE TABLE `a\nCREATE USER evil@'%';\n-- ` (id int);",
        "a name with a quote": "CREATE TABLE `a'; DROP TABLE canary.victim; -- ` (id int);",
        "a name with a backquote": "CREATE TABLE `a``; DROP TABLE canary.victim; -- ` (id int);",
        "a name with a percent sign": "CREATE TABLE `%s%(x)s%` (id int);",
        "a name that ends in a blank": "CREATE TABLE `t ` (id int);",
        "a name with a control byte": b"CREATE TABLE `a\x01b` (id int);",
        "an event's name with a quote": "CREATE EVENT `e``'x` ON SCHEDULE EVERY 1 YEAR DO SET @a = 1;",
        "a trigger's name with a newline": "CREATE TRIGGER `a\n;CREATE USER evil@'%';` BEFORE INSERT ON t FOR EACH ROW SET @a = 1;",
        "many triggers": "\n".join(f"CREATE TRIGGER tr{n} BEFORE INSERT ON t FOR EACH ROW SET @a = {n};" for n in range(30)),
        "a view on itself": "CREATE VIEW va AS SELECT 1 AS a;\nCREATE VIEW vb AS SELECT * FROM va;\nCREATE OR REPLACE VIEW va AS SELECT * FROM vb;",
        "names that differ in case only": "CREATE TABLE T (id int);\nCREATE TABLE LPORTAL (id int);",
    },
)  # fmt: skip

_SCHEMA_NAMES: Final = attacks(
    "the dump's own schema",
    {
        name: HEAD.replace(b"`lportal`", schema)
        for name, schema in {
            "canary": b"`canary`",
            "mysql": b"`mysql`",
            "the staging schema": b"`lportal_lcp_staging`",
            "the staging schema in capitals": b"`LPORTAL_LCP_STAGING`",
            "a path": b"`../canary`",
            "a newline": b"`a\nb`",
            "a backquote": b"`a``; DROP DATABASE canary; -- `",
            "two of them": b"`lportal`; USE `canary`",
        }.items()
    },
    bare=True,
)

_TOOLS: Final = attacks(
    "a dump program's comments",
    {
        # CVE-2016-5483: names were written into comments with their newlines.
        "newline in a table's name": "--\n-- Table structure for table `x\nCREATE USER evil@'%';\n-- `\n--\n",
        "newline and the client's shell": "--\n-- Table structure for table `x\n\\! touch @OUTSIDE@/owned\n-- `\n--\n",
        "newline in the schema's name": "-- Current Database: `x\nDROP DATABASE canary;\n-- `\n",
        "newline in the host": "-- Host: x\nDROP DATABASE canary;\n--    Database: lportal\n",
        # CVE-2024-21096: the version the server tells is written into a comment.
        "newline in the server's version": "-- Server version\t8.0.36\n\\! touch @OUTSIDE@/owned\nCREATE USER evil@'%';\n",
        "carriage return in a comment": "-- Server version\t8.0.36\rCREATE USER evil@'%';\r\n",
        "the client's commands": "system touch @OUTSIDE@/owned\n\\! touch @OUTSIDE@/owned\nsource /etc/passwd\n\\. /etc/passwd\ntee @OUTSIDE@/owned\nconnect canary\n\\u canary\n",
        "the client's commands in a comment": "/*!999999\\! touch @OUTSIDE@/owned */\n;\n/*!\\! touch @OUTSIDE@/owned */;",
        "sandbox mode, twice": "/*M!999999\\- enable the sandbox mode */\n\\! touch @OUTSIDE@/owned\n;",
        "GTID and logs": "SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa:1-7';\nSET @@SESSION.SQL_LOG_BIN= 0;\nCHANGE MASTER TO MASTER_LOG_FILE='x', MASTER_LOG_POS=4;",
        "phpMyAdmin's head": "SET SQL_MODE = \"NO_AUTO_VALUE_ON_ZERO\";\nSTART TRANSACTION;\nSET time_zone = \"+00:00\";\nUSE `canary`;\nTRUNCATE TABLE `victim`;\nCOMMIT;",
        "a stand-in for a view": "/*!50001 CREATE VIEW `vv` AS SELECT 1 AS `a`*/;\n/*!50001 DROP VIEW IF EXISTS `vv`*/;\n/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */\n/*!50001 VIEW `vv` AS select `x` from `canary`.`victim` */;",
        "--system": "CREATE USER IF NOT EXISTS `evil`@`%` IDENTIFIED BY 'x';\nGRANT ALL PRIVILEGES ON *.* TO `evil`@`%`;\nINSTALL PLUGIN x SONAME 'x.so';",
    },
)  # fmt: skip

ROWS: Final = [*_VALUES, *_DEFINITIONS, *_BLOCKING, *_SCHEMA_NAMES, *_TOOLS]
