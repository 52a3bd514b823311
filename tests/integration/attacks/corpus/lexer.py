# ruff: noqa: E501, RUF001 -- an input stands on one line, as it is sent
"""Inputs that a parser of ours and the server's own lexer cut into different tokens."""

from typing import Final

from lcp_backup.database.endpoint import Flavour
from tests.integration.attacks.corpus.attack import Attack, attacks

_MARIADB, _MYSQL = Flavour.MARIADB, Flavour.MYSQL
_EVIL = "CREATE USER evil@'%' IDENTIFIED BY 'x'"
_MOVE = "RENAME TO canary.moved"

_VERSIONED: list[Attack] = attacks(
    "versioned comment",
    {
        f"{opening[2:]} that {how}": sql
        for opening in (
            "/*!99999",
            "/*!999999",
            "/*!50700",
            "/*!80000",
            "/*!50699",
            "/*!100000",
            "/*!00000",
            "/*!",
            "/*!4",
            "/*!40101",
            "/*!0500001",
            "/*!1000000",
            "/*M!",
            "/*M!99999",
            "/*M!999999",
            "/*M!100100",
            "/*!090700",
            "/*!120000",
        )
        for how, sql in {
            "ends in a line comment": f"{opening} DROP TABLE IF EXISTS zz # */ {_EVIL} /*\n*/;",
            "holds a quote": f"ALTER TABLE t ADD y int {opening} ' */, {_MOVE} -- '*/\n;",
        }.items()
    },
) + attacks(
    "versioned comment",
    {
        "holds a double quote": f'ALTER TABLE t ADD y int /*!99999 " */, {_MOVE} -- "*/\n;',
        "holds a backquote": f"ALTER TABLE t ADD y int /*!99999 ` */, {_MOVE} -- `*/\n;",
        "is nested": f"ALTER TABLE t ADD y int /*!99999 /*!1 */ */, {_MOVE} /*!1 /* */ */;",
        "holds a plain comment": f"ALTER TABLE t ADD y int /*!99999 /* */ ' */, {_MOVE} -- '*/\n;",
        "ends inside a string of another": f"ALTER TABLE t ADD y int COMMENT /*!99999 '*/ ', {_MOVE} -- ' */ ''\n;",
        "before a dot": "CREATE TABLE t2 LIKE canary/*!99999 x */.victim;",
        "around a statement's delimiter": f"ALTER TABLE t ADD y int /*!99999 ; {_EVIL}; */;",
        "around two statements": f"/*!99999 ALTER TABLE t ADD y int */; /*!50001 {_EVIL} */;",
        "around the head's name": "DROP TABLE IF EXISTS /*!99999 t, */ canary.victim;",
        "in a list of names": "DROP TABLE IF EXISTS `t` /*!99999 # */ , canary.victim;",
        "in LOCK TABLES": "LOCK TABLES t WRITE /*!99999 '*/, canary.victim WRITE -- ' */;",
        "in a SET": "SET @a = 1 /*!99999 '*/, GLOBAL event_scheduler = OFF -- ' */;",
        "in a row": "INSERT INTO `t` VALUES (2,'a' /*!99999 '*/),(3,(SELECT x FROM canary.victim LIMIT 1)) -- ')*/\n;",
    },
)

_VIEWS: Final = attacks(
    "versioned comment in a view",
    {
        "before a dot": "CREATE VIEW `v` AS SELECT * FROM mysql/*!99999 zz*/.user;",
        "before a dot, six digits": "CREATE VIEW `v` AS SELECT * FROM mysql/*!999999 zz*/.user;",
        "of MariaDB": "CREATE VIEW `v` AS SELECT * FROM mysql/*M!999999 zz*/.user;",
        "that holds a quote": "CREATE VIEW `v` AS SELECT 1 /*!99999 ' */ FROM mysql.user -- '*/\n;",
        "of the canary": "CREATE VIEW `v` AS SELECT * FROM canary/*!99999 zz*/.victim;",
        "of the canary, plainly": "CREATE VIEW `v` AS SELECT * FROM canary.victim;",
        "with a blank": "CREATE VIEW `v` AS SELECT * FROM `mysql` . `user`;",
        "with a comment": "CREATE VIEW `v` AS SELECT * FROM mysql/* */./* */user;",
        "as an invoker": "CREATE SQL SECURITY INVOKER VIEW `v` AS SELECT * FROM mysql.user;",
        "in capitals": "CREATE VIEW `v` AS SELECT * FROM INFORMATION_SCHEMA.processlist;",
    },
)

_CHARSETS: Final = attacks(
    "character set",
    {
        "a blank of latin1 only": b"SET NAMES latin1;\nALTER TABLE t ADD y int,\xa0RENAME\xa0TO\xa0canary.moved;",
        "a blank of latin1, in the head": b"SET NAMES latin1;\nDROP\xa0TABLE\xa0canary.victim;",
        "a blank of latin2": b"SET NAMES latin2;\nALTER TABLE t ADD y int,\xa0RENAME\xa0TO\xa0canary.moved;",
        "a blank of cp1251": b"SET NAMES cp1251;\nALTER TABLE t ADD y int,\xa0RENAME\xa0TO\xa0canary.moved;",
        "an invalid byte under utf8": b"SET NAMES utf8;\nALTER TABLE t ADD y int COMMENT '\xe2\x80', RENAME TO canary.moved -- ';",
        "ucs2": b"SET NAMES ucs2;\nALTER TABLE t ADD y int;",
        "utf16 by a variable": b"SET character_set_client = utf16;\nALTER TABLE t ADD y int;",
        "binary": b"SET NAMES binary;\nALTER TABLE t ADD y int COMMENT '\xbf\\', RENAME TO canary.moved -- ';",
        "an introducer": b"ALTER TABLE t ADD y int COMMENT _gbk'\xbf\\', RENAME TO canary.moved -- ';",
        "an introducer in a row": b"INSERT INTO `t` VALUES (2,_gbk'\xbf\\',(SELECT x FROM canary.victim LIMIT 1))-- ');",
        "by a versioned comment": b"/*!99999 SET NAMES gbk */;\nALTER TABLE t ADD y int COMMENT '\xbf\\', RENAME TO canary.moved -- ';",
        "by a user variable": b"SET @c = 'gbk', character_set_client = @c;\nALTER TABLE t ADD y int COMMENT '\xbf\\', RENAME TO canary.moved -- ';",
        "by SET CHARACTER SET": b"SET CHARACTER SET gbk;\nALTER TABLE t ADD y int COMMENT '\xbf\\', RENAME TO canary.moved -- ';",
        "by SET CHARSET": b"SET CHARSET gbk;\nALTER TABLE t ADD y int COMMENT '\xbf\\', RENAME TO canary.moved -- ';",
        "by a collation": b"SET NAMES 'gbk' COLLATE 'gbk_bin';\nALTER TABLE t ADD y int COMMENT '\xbf\\', RENAME TO canary.moved -- ';",
        "a backslash eaten in a row": b"SET NAMES gbk;\nINSERT INTO `t` VALUES (2,'\xbf\\',(SELECT x FROM canary.victim LIMIT 1))-- ');",
        **{
            f"{charset} eats a backslash": b"SET NAMES %s;\nALTER TABLE t ADD y int COMMENT '%s\\', RENAME TO canary.moved -- ';" % (charset.encode(), lead)
            for charset, lead in {"gbk": b"\xbf", "sjis": b"\x95", "big5": b"\xa5", "cp932": b"\x95", "gb18030": b"\xbf"}.items()
        },
        **{
            f"{charset} eats a backquote": b"SET NAMES %s;\nDROP TABLE IF  EXISTS `\x81`/*x` , canary.victim -- */;" % charset.encode()
            for charset in ("gbk", "sjis", "cp932", "gb18030", "big5")
        },
    },
)  # fmt: skip

_BACKSLASH = f"ALTER TABLE t ADD y int COMMENT '\\', ADD z int COMMENT ', {_MOVE} -- ';"
_DOUBLE = f'ALTER TABLE t ADD y int COMMENT \'x\', ADD `a"b` int, ADD "c`, {_MOVE} -- " int -- `\n;'
_MODES: Final = attacks(
    "mode",
    {
        "NO_BACKSLASH_ESCAPES": f"SET sql_mode='NO_BACKSLASH_ESCAPES';\n{_BACKSLASH}",
        "NO_BACKSLASH_ESCAPES by a number": f"SET sql_mode=1048576;\n{_BACKSLASH}",
        "NO_BACKSLASH_ESCAPES by hex": f"SET sql_mode=0x4e4f5f4241434b534c4153485f45534341504553;\n{_BACKSLASH}",
        "NO_BACKSLASH_ESCAPES by a variable": f"SET @m='NO_BACKSLASH_ESCAPES';\nSET sql_mode=@m;\n{_BACKSLASH}",
        "NO_BACKSLASH_ESCAPES in a list": f"SET sql_mode='STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES';\n{_BACKSLASH}",
        "NO_BACKSLASH_ESCAPES by @@session": f"SET @@SESSION.sql_mode='no_backslash_escapes';\n{_BACKSLASH}",
        "NO_BACKSLASH_ESCAPES by LOCAL": f"SET LOCAL sql_mode='NO_BACKSLASH_ESCAPES';\n{_BACKSLASH}",
        "NO_BACKSLASH_ESCAPES in a row": "SET sql_mode='NO_BACKSLASH_ESCAPES';\nINSERT INTO `t` VALUES (2,'\\'),(3,(SELECT x FROM canary.victim LIMIT 1)) -- ');",
        "NO_BACKSLASH_ESCAPES and another delimiter": f"SET sql_mode='NO_BACKSLASH_ESCAPES';\nALTER TABLE t ADD y int COMMENT '\\';\n{_EVIL};\n-- '';",
        "ANSI_QUOTES": f"SET sql_mode='ANSI_QUOTES';\n{_DOUBLE}",
        "ANSI": f"SET sql_mode='ANSI';\n{_DOUBLE}",
        "ORACLE": f"SET sql_mode='ORACLE';\n{_DOUBLE}",
        "MSSQL": f"SET sql_mode='MSSQL';\n{_DOUBLE}",
        "ANSI_QUOTES and a backslash": f"SET sql_mode='ANSI_QUOTES';\nALTER TABLE t ADD \"y\\\" int, {_MOVE} -- \" int;",
        "ORACLE's blocks": "SET sql_mode='ORACLE';\nCREATE OR REPLACE PROCEDURE pp AS BEGIN EXECUTE IMMEDIATE 'CREATE USER evil@''%'''; END;",
        "IGNORE_SPACE": "SET sql_mode='IGNORE_SPACE';\nINSERT INTO `t` VALUES (2,concat ('a',(SELECT x FROM canary.victim LIMIT 1)));",
        "PIPES_AS_CONCAT": "SET sql_mode='PIPES_AS_CONCAT';\nINSERT INTO `t` VALUES (2,'a'||(SELECT x FROM canary.victim LIMIT 1));",
    },
)  # fmt: skip

_BLANKS: Final = attacks(
    "control byte",
    {
        f"{byte:#04x} after two dashes": b"ALTER TABLE t ADD y int --%c '\n, RENAME TO canary.moved -- '\n;" % byte
        for byte in (0x00, 0x01, 0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x1A, 0x1F, 0x7F, 0x80, 0xA0)
    }
    | {
        f"{byte:#04x} between words": b"DROP%cTABLE%ccanary.victim;" % (byte, byte)
        for byte in (0x00, 0x01, 0x0B, 0x0C, 0x1A, 0x7F, 0x85, 0xA0)
    }
    | {
        "a zero byte ends the text": b"ALTER TABLE t ADD y int\x00, RENAME TO canary.moved;",
        "a hash after a carriage return": b"ALTER TABLE t ADD y int # '\r, RENAME TO canary.moved # '\n;",
        "a line comment to the end": b"ALTER TABLE t ADD y int -- x\r, RENAME TO canary.moved\n;",
        "dashes at the end": b"ALTER TABLE t ADD y int --\n, RENAME TO canary.moved;",
    },
)  # fmt: skip

_DELIMITERS: Final = attacks(
    "delimiter",
    {
        "inside a comment": f"ALTER TABLE t ADD y int /* \nDELIMITER //\n */;\n{_EVIL};",
        "a quote as delimiter": f"DELIMITER '\nALTER TABLE t ADD y int COMMENT ';{_EVIL}'\nDELIMITER ;",
        "a letter as delimiter": f"DELIMITER A\nSELECT 1A {_EVIL} A\nDELIMITER ;",
        "two statements as one": f"DELIMITER //\nALTER TABLE t ADD y int; {_EVIL}//\nDELIMITER ;",
        "two statements as a routine": f"DELIMITER //\nCREATE PROCEDURE pp() SELECT 1; {_EVIL}//\nDELIMITER ;",
        "in a string": f"INSERT INTO `t` VALUES (2,'\nDELIMITER //\n');\n{_EVIL};",
        "in the middle of a line": f"SELECT 1; DELIMITER //\n{_EVIL}//",
        "after a comment": f"/* x */ DELIMITER //\nALTER TABLE t ADD y int; {_EVIL}//\n",
        "a backslash": f"DELIMITER \\\nALTER TABLE t ADD y int; {_EVIL}\\\nDELIMITER ;",
        "a comment's opening": f"DELIMITER /*\nALTER TABLE t ADD y int /* x */ , {_MOVE} /*\nDELIMITER ;",
    },
)  # fmt: skip

_COMMENTS: Final = attacks(
    "comment",
    {
        "never closed": f"ALTER TABLE t ADD y int, {_MOVE} /* ;",
        "nested": f"ALTER TABLE t ADD y int /* /* */, {_MOVE} /* */ */;",
        "a slash between stars": f"ALTER TABLE t ADD y int /*/ */, {_MOVE} /**/;",
        "an optimizer hint": "INSERT /*+ SET_VAR(sql_mode='NO_BACKSLASH_ESCAPES') */ INTO `t` VALUES (2,'\\'),(3,(SELECT x FROM canary.victim LIMIT 1)) -- ');",
        "the sandbox line as a carrier": f"/*!999999\\- enable the sandbox mode */ {_EVIL};",
        "the sandbox line with more in it": f"ALTER TABLE t ADD y int /*M!999999\\- ' */, {_MOVE} -- '*/\n;",
    },
)

_QUOTES: Final = attacks(
    "quoting",
    {
        "a name in double quotes": 'DROP TABLE IF EXISTS "canary"."victim";',
        "a backquote doubled": "DROP TABLE IF EXISTS `t```, canary.victim;",
        "an empty name": "DROP TABLE IF EXISTS ``, canary.victim;",
        "a name's dot inside quotes": "DROP TABLE IF EXISTS `canary.victim`;",
        "a dot before a name": "DROP TABLE IF EXISTS .victim;",
        "three names": "ALTER TABLE `def`.`canary`.`victim` ADD y int;",
        "a name of digits": "ALTER TABLE t ADD y int, RENAME 1canary.moved;",
        "RENAME AS": "ALTER TABLE t ADD y int, RENAME AS canary.moved;",
        "RENAME =": "ALTER TABLE t ADD y int, RENAME = canary.moved;",
        "a full-width letter": "ALTER TABLE t ADD y int, ＲENAME TO canary.moved;",
        "a national string": f"ALTER TABLE t ADD y int COMMENT N'\\', {_MOVE} -- ';",
        "a dollar string": f"CREATE FUNCTION ff() RETURNS int LANGUAGE JAVASCRIPT AS $$ ' $$; {_EVIL}; -- ';",
        "an unclosed string": f"ALTER TABLE t ADD y int COMMENT 'a;\n{_EVIL};\n",
        "a semicolon in a name": f"DROP TABLE IF EXISTS `a;{_EVIL};b`;",
    },
)

LEXER: Final = [
    *_VERSIONED, *_VIEWS, *_CHARSETS, *_MODES, *_BLANKS, *_DELIMITERS, *_COMMENTS, *_QUOTES,
]  # fmt: skip
