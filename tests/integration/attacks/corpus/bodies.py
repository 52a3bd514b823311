# ruff: noqa: E501 -- an input stands on one line, as it is sent
"""Stored code that reaches out of the site, and definers that are somebody else."""

from typing import Final

from lcp_backup.database.endpoint import Flavour
from tests.integration.attacks.corpus.attack import Attack, attacks

_MARIADB, _MYSQL = Flavour.MARIADB, Flavour.MYSQL

DEEDS: Final = {
    "ALTER USER": "ALTER USER dxpcloud@'%' IDENTIFIED BY 'pwned'",
    "CREATE USER": "CREATE USER evil@'%' IDENTIFIED BY 'x'",
    "DROP USER": "DROP USER bystander@'%'",
    "RENAME USER": "RENAME USER bystander@'%' TO evil@'%'",
    "SET PASSWORD": "SET PASSWORD FOR bystander@'%' = 'pwned'",
    "CREATE ROLE": "CREATE ROLE evil",
    "GRANT": "GRANT SELECT, CREATE USER ON *.* TO liferay@'%'",
    "GRANT in a comment": "/*!50001 GRANT SELECT ON *.* TO liferay@'%' */",
    "DROP DATABASE": "DROP DATABASE canary",
    "CREATE DATABASE": "CREATE DATABASE evil",
    "DELETE elsewhere": "DELETE FROM canary.victim",
    "DELETE elsewhere, quoted": "DELETE FROM `canary` . `victim`",
    "INSERT into mysql": "INSERT INTO mysql.db (Host, Db, User, Select_priv) VALUES ('%','%','liferay','Y')",
    "UPDATE elsewhere": "UPDATE canary.victim SET x = 'evil'",
    "steal": "INSERT IGNORE INTO t SELECT id + 100, x FROM canary.victim",
    "steal hashes": "REPLACE INTO t SELECT 99, GROUP_CONCAT(authentication_string) FROM mysql/*!99999 x*/.user",
    "CALL elsewhere": "CALL canary.p()",
    "CREATE elsewhere": "CREATE TABLE canary.evil (id int)",
    "SET GLOBAL": "SET @a = 1, @@GLOBAL.max_connections = 77",
}  # fmt: skip
"""What bodies do: one statement each."""


def _block(statement: str) -> str:
    return f"BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION SET @e = 1; {statement}; END"


def _carried(carrier: str, deed: str) -> str:
    return f"DELIMITER ;;\n{carrier.format(body=_block(deed))};;\nDELIMITER ;"


_CARRIERS: Final = {
    "event": "CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO {body}",
    "procedure": "CREATE PROCEDURE pp() {body}",
    "trigger": "CREATE TRIGGER trg BEFORE INSERT ON t FOR EACH ROW {body}",
}
_BODIES: list[Attack] = [
    *attacks("event", {name: _carried(_CARRIERS["event"], it) for name, it in DEEDS.items()}),
    *attacks(
        "procedure", {name: _carried(_CARRIERS["procedure"], it) for name, it in DEEDS.items()}
    ),
    *attacks(
        "trigger",
        {
            name: _carried(_CARRIERS["trigger"], it)
            for name, it in DEEDS.items()
            if name in {"DELETE elsewhere", "UPDATE elsewhere", "CALL elsewhere", "INSERT into mysql"}
        },
    ),
    *attacks(
        "function",
        {
            "reads a secret": "CREATE FUNCTION ff() RETURNS text READS SQL DATA RETURN (SELECT GROUP_CONCAT(x) FROM canary.victim);\nCREATE VIEW vv AS SELECT ff() AS x;",
            "reads hashes": "CREATE FUNCTION ff() RETURNS text READS SQL DATA RETURN (SELECT GROUP_CONCAT(authentication_string) FROM mysql/*!99999 x*/.user);\nCREATE VIEW vv AS SELECT ff() AS x;",
            "reads hashes as an invoker": "CREATE FUNCTION ff() RETURNS text READS SQL DATA SQL SECURITY INVOKER RETURN (SELECT GROUP_CONCAT(authentication_string) FROM mysql.user);\nCREATE VIEW vv AS SELECT ff() AS x;",
            "deletes": "CREATE FUNCTION ff() RETURNS int BEGIN DELETE FROM canary.victim; RETURN 1; END;",
        },
    ),
]  # fmt: skip

_PLAIN: Final = attacks(
    "event without a block",
    {
        "once, now": "CREATE EVENT e ON SCHEDULE AT NOW() DO DELETE FROM canary.victim;",
        "once, with a comment": "CREATE /* x */ EVENT e ON SCHEDULE AT NOW() DO DELETE FROM canary.victim;",
        "in the past": "CREATE EVENT e ON SCHEDULE AT '2020-01-01' ON COMPLETION PRESERVE DO DELETE FROM canary.victim;",
        "as in a dump": "/*!50106 CREATE*/ /*!50117 DEFINER=`root`@`localhost`*/ /*!50106 EVENT `e` ON SCHEDULE EVERY 1 SECOND DO ALTER USER dxpcloud@'%' IDENTIFIED BY 'pwned' */;",
        "enabled later": "CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DISABLE DO DELETE FROM canary.victim;\nALTER EVENT e ENABLE;",
        "among rows, and then a failure": "CREATE /* x */ EVENT e ON SCHEDULE AT NOW() DO DELETE FROM canary.victim;\nINSERT INTO `t` VALUES (2,'b');\nINSERT INTO `not_there` VALUES (1);",
        "among rows, every second": "CREATE/**/EVENT e ON SCHEDULE EVERY 1 SECOND DO DELETE FROM canary.victim;\nINSERT INTO `t` VALUES (2,'b');",
        "that makes an event": "CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO CREATE EVENT canary.e2 ON SCHEDULE EVERY 1 SECOND DO DELETE FROM canary.victim;",
    },
)  # fmt: skip

_DEFINERS: Final = attacks(
    "definer",
    {
        f"{what} of {who}": f"DELIMITER ;;\nCREATE DEFINER={definer} {sql};;\nDELIMITER ;"
        for who, definer in {
            "root": "`root`@`localhost`",
            "the master": "`dxpcloud`@`%`",
            "the master, unquoted": "dxpcloud@'%'",
            "CURRENT_USER": "CURRENT_USER",
            "CURRENT_USER()": "CURRENT_USER()",
            "mysql.sys": "`mysql.sys`@`localhost`",
            "nobody that exists": "`ghost`@`nowhere`",
            "a role": "watchers",
            "a versioned comment": "/*!99999 x*/ `root`@`localhost`",
        }.items()
        for what, sql in {
            "view": "SQL SECURITY DEFINER VIEW vv AS SELECT * FROM canary.victim",
            "procedure": "PROCEDURE pp() SQL SECURITY DEFINER DELETE FROM canary.victim",
        }.items()
    },
)
_LATER: Final = attacks(
    "later",
    {
        "ALTER PROCEDURE": "CREATE PROCEDURE pp() SQL SECURITY INVOKER DELETE FROM canary.victim;\nALTER PROCEDURE pp SQL SECURITY DEFINER;",
        "ALTER VIEW": "CREATE VIEW vv AS SELECT 1 AS a;\nALTER DEFINER=root@localhost VIEW vv AS SELECT * FROM canary.victim;",
        "CREATE OR REPLACE": "CREATE VIEW vv AS SELECT 1 AS a;\nCREATE OR REPLACE VIEW vv AS SELECT * FROM canary.victim;",
        "a view with a check": "CREATE VIEW vv AS SELECT * FROM canary.victim WITH CHECK OPTION;",
        "a package": "SET sql_mode='ORACLE';\nDELIMITER ;;\nCREATE PACKAGE pk AS PROCEDURE p1(); END;;\nCREATE PACKAGE BODY pk AS PROCEDURE p1() AS BEGIN DELETE FROM canary.victim; END; END;;\nDELIMITER ;",
        "a library": "CREATE LIBRARY lib LANGUAGE JAVASCRIPT AS 'export function f() {}';",
    },
)  # fmt: skip

BODIES: Final = [*_BODIES, *_PLAIN, *_DEFINERS, *_LATER]
