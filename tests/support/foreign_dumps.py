"""Dumps of others' own making, as uploads of a site, and what the stock client makes of them."""

import subprocess
from pathlib import Path
from typing import Any, Final

from tests.support.job_site import JobSite
from tests.support.large_table import backed_up
from tests.support.sender import Sender

_HEAD = "CREATE DATABASE IF NOT EXISTS `lportal`;\nUSE `lportal`;\n"
_A = "CREATE TABLE `a` (id INT PRIMARY KEY, w INT) ENGINE=InnoDB;\n"
_B = "CREATE TABLE `b` (id INT PRIMARY KEY, w INT) ENGINE=InnoDB;\n"
_ROWS = "INSERT INTO `a` VALUES (1,1),(2,2);\n"
_AGAIN = "INSERT INTO `a` VALUES (3,3);\n"
_DROP = "DROP TABLE IF EXISTS `a`;\n"

FOREIGN: Final = {
    "a table that is defined twice": _DROP + _A + _ROWS + _DROP + _A + _AGAIN,
    "a table that gets a column": _DROP
    + _A
    + _ROWS
    + _DROP
    + _A.replace("w INT", "w INT, more INT")
    + _AGAIN.replace("3)", "3,3)"),
    "another one between": _DROP + _A + _ROWS + _B + _DROP + _A + _AGAIN,
    "defined anew in the place of stored code": _A
    + _ROWS
    + "DELIMITER ;;\nCREATE PROCEDURE p() SELECT 1;;\nDROP TABLE a;;\n"
    + _A.replace(";\n", ";;\n")
    + "DELIMITER ;\n"
    + _AGAIN,
    "there already": _A + _ROWS + _A.replace("TABLE", "TABLE IF NOT EXISTS") + _AGAIN,
    "dropped in the end": _A + _ROWS + _B + "DROP TABLE b;\n" + _AGAIN,
    "rows that replace others": _A + _ROWS + "REPLACE INTO `a` VALUES (2,9),(4,4);\n",
    "in the place of a key that comes later": _A.replace("id INT PRIMARY KEY", "id INT")
    + _ROWS
    + "ALTER TABLE `a` ADD PRIMARY KEY (id);\nALTER TABLE a ADD KEY (w);\n"
    + "REPLACE INTO `a` VALUES (2,9),(4,4);\n",
    "rows that are there": _A + _ROWS + "INSERT IGNORE INTO `a` VALUES (2,9),(4,4);\n",
    "names that differ by case": _A + _A.replace("`a`", "`A`") + _ROWS + _AGAIN.upper(),
    "a mode that changes between": _A
    + _ROWS
    + "SET SQL_MODE='NO_AUTO_VALUE_ON_ZERO';\n"
    + _B.replace("KEY,", "KEY AUTO_INCREMENT,")
    + "INSERT INTO `b` VALUES (0,1);\n",
    "literals that the server converts": "SET NAMES latin1;\nSET character_set_connection=binary;\n"
    + _A.replace("w INT", "w VARCHAR(9) CHARACTER SET utf8mb4")
    + "INSERT INTO `a` VALUES (1,'\u00e4');\n",
    "an engine without transactions": _A.replace("InnoDB", "MyISAM") + _ROWS + _B + _AGAIN,
}
_REPEATED = "{0} INTO a VALUES (1,1),(2,2);\n{0} INTO a VALUES (2,9),(4,4);\n"
_ANY = "CREATE TABLE `a` (id INT AUTO_INCREMENT PRIMARY KEY, w INT) ENGINE=InnoDB;\n"
_CODE = "DELIMITER ;;\nCREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET @x = 1;;\nDELIMITER ;\n"
_OLD = "SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO';\n"
_BACK = "SET SQL_MODE=@OLD_SQL_MODE;\n"

IN_ORDER: Final = {
    "the last row of a key": _A + _REPEATED.format("REPLACE"),
    "the first row of a key": _A + _REPEATED.format("INSERT IGNORE"),
    "ids that the server gives": _ANY + "INSERT INTO a (w) VALUES (5),(6);\n" * 2,
    "ids in the place of none": _ANY
    + "INSERT INTO a VALUES (NULL,5);\nINSERT INTO a VALUES (0,6);\n",
    "a sequence": "CREATE SEQUENCE s ENGINE=InnoDB;\n"
    + _A.replace("id INT", "id INT DEFAULT NEXTVAL(s)")
    + "INSERT INTO a (w) VALUES (5);\nINSERT INTO a (w) VALUES (6);\n",
    "tables behind the end": _OLD
    + _A
    + _ROWS
    + _BACK
    + _ANY.replace("`a`", "b")
    + "INSERT INTO b VALUES (0,1);\n"
    + _BACK,
    "an engine set between": _A
    + _ROWS
    + "SET default_storage_engine=MyISAM;\n"
    + "CREATE TABLE b (id INT);\n",
    "another table where one is defined": _A
    + _ROWS
    + "DELIMITER ;;\n"
    + (_B + _DROP + _A).replace(";\n", ";;\n")
    + "DELIMITER ;\n"
    + "INSERT INTO b VALUES (7,7);\n",
    "a trigger that goes with its table": _DROP + _A + _ROWS + _CODE + _DROP + _A + _ROWS + _CODE,
    "a trigger that is gone with its table": _A + _ROWS + _CODE + _DROP + _A + _ROWS,
    "a trigger of a table that is replaced": _A
    + _ROWS
    + _CODE
    + _A.replace("CREATE", "CREATE OR REPLACE")
    + _ROWS,
    "a view that is there": _A
    + _ROWS
    + "CREATE VIEW v AS SELECT 1 AS id;\nCREATE VIEW IF NOT EXISTS v AS SELECT 2 AS id;\n",
    "a routine twice": _A
    + _ROWS
    + "DROP PROCEDURE IF EXISTS p;\nCREATE PROCEDURE p() SELECT 1;\n" * 2,
    "code that is dropped": _A
    + _ROWS
    + "CREATE VIEW v AS SELECT 1 AS id;\nDROP VIEW v;\n"
    + _CODE
    + "DROP TRIGGER t;\n"
    + _B,
}


ENDS_WITH_ROWS: Final = _A + _B + _ROWS + "INSERT INTO `b` VALUES (1,1);\n"

_STAMPS = "CREATE TABLE `{}` (id INT AUTO_INCREMENT PRIMARY KEY, s TIMESTAMP NULL) ENGINE=InnoDB;\n"
_STAMP = "INSERT INTO `{}` VALUES ({},'2020-01-01 00:00:00');\n"
_TRIGGER = "CREATE TRIGGER {0} BEFORE INSERT ON {0} FOR EACH ROW SET @x = 1;\n"

AMONG_OTHERS: Final = {
    "the time zone": "SET TIME_ZONE='+05:00';\n",
    "the SQL mode": "SET SQL_MODE='NO_AUTO_VALUE_ON_ZERO';\n",
    "behind a routine": "DROP PROCEDURE IF EXISTS p;\nCREATE PROCEDURE p() SELECT 1;\n"
    "SET TIME_ZONE='+05:00';\n",
    "a column, behind a DELIMITER line": "DELIMITER ;;\nCREATE PROCEDURE p() SELECT 1;;\n"
    "ALTER TABLE b ADD z INT DEFAULT 4;;\nDELIMITER ;\n",
}
"""What is said among the rows of the table a, and counts for b."""


def said_among_others(said: str) -> str:
    """A dump of a and b in which one of these is said among the rows of a."""
    tables = _STAMPS.format("a") + _STAMPS.format("b")
    end = "SET SQL_MODE='';\n" + _TRIGGER.format("b") + _TRIGGER.format("a")
    one = _STAMP.format("a", 1) + said
    if "ALTER" in said:
        return tables + one + end
    return tables + one + _STAMP.format("a", 2) + _STAMP.format("b", 0) + end


def loaded_by_hand(site: JobSite, dump: str) -> dict[str, Any]:
    site.server.execute("CREATE DATABASE by_hand")
    command = site.server.client("by_hand")
    subprocess.run(command, input=dump.encode(), check=True, capture_output=True)
    return rows(site, "by_hand")


def rows(site: JobSite, schema: str) -> dict[str, Any]:
    """Of each table, with its engine."""
    names = site.server.execute(
        f"SELECT table_name, engine FROM information_schema.tables WHERE table_schema = '{schema}'"
    )
    read = "SELECT * FROM {}.`{}` ORDER BY 1"
    return {
        str(name): (engine, site.server.execute(read.format(schema, name)))
        for name, engine in names
    }


def sent(site: JobSite, folder: Path, dump: str) -> str:
    sender = Sender(site, folder)
    volume = sender.packed("document_library/empty", "document_library/Übersicht.txt")
    whole = f"{_HEAD}{dump}-- Dump completed\n".encode()
    return sender.take_in(sender.send(whole, volume))


def made(site: JobSite, schema: str) -> list[tuple[object, ...]]:
    """The engines of tables, and what stored code there is."""
    return [
        *site.server.execute(
            "SELECT table_name, engine FROM information_schema.tables"
            f" WHERE table_schema = '{schema}' ORDER BY table_name"
        ),
        *site.server.execute(
            "SELECT trigger_name FROM information_schema.triggers"
            f" WHERE trigger_schema = '{schema}'"
        ),
        *site.server.execute(
            "SELECT routine_name FROM information_schema.routines"
            f" WHERE routine_schema = '{schema}'"
        ),
    ]


def stock(site: JobSite, folder: Path) -> str:
    """What a user packs of the site, taken in."""
    backed_up(site)
    sender = Sender(site, folder)
    return sender.take_in(sender.send(sender.dumped(), sender.packed("document_library")))
