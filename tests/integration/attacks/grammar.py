# ruff: noqa: E501 -- an input stands on one line, as it is sent
"""A grammar of hostile dumps: dangerous statements, dressed so that a parser may misread them.

A statement is made in two steps: what it does (a deed, or a carrier with a deed hidden in it), and
how it is written (case, blanks, comments, quotes, versioned comments). Hypothesis draws one seed for
each dump: drawing each word by it would take longer than sending the statements.
"""

import re
from dataclasses import dataclass
from random import Random
from typing import Final

from hypothesis import strategies as st

from tests.integration.attacks.corpus.bodies import DEEDS

VERSIONS: Final = (
    "", "0", "40000", "40101", "50001", "50013", "50106", "50117", "50503", "50606", "50699",
    "50700", "50701", "80000", "80016", "80023", "99999", "100000", "100100", "101100", "101113",
    "110400", "999999", "1000000", "0500001",
)  # fmt: skip
_OPENINGS: Final = (
    *(f"/*!{version}" for version in VERSIONS), "/*M!", "/*M!100100", "/*M!999999", "/*M!50701",
)  # fmt: skip
_TARGETS: Final = (
    "canary.victim", "`canary`.`victim`", "canary . victim", "canary/**/.victim", "`canary`.victim",
    "canary.`victim`", "lportalXlcpXstaging.victim", "lportal2.victim", "mysql.user", "mysql.db",
    "canary/*!99999 x*/.victim", "canary.parent", "`canary` /* */ . `parent`",
)  # fmt: skip
_EFFECTS: Final = (
    *DEEDS.values(),
    "DROP TABLE {target}", "TRUNCATE {target}", "RENAME TABLE {target} TO lportal.stolen",
    "INSERT INTO {target} VALUES (9,'evil')", "DELETE FROM {target}", "CREATE TABLE t2 LIKE {target}",
    "CREATE TABLE t2 AS SELECT * FROM {target}", "CREATE TABLE t2 AS TABLE {target}",
    "INSERT INTO t SELECT 100 + id, x FROM {target}", "ALTER TABLE {target} ADD evil int",
    "CREATE VIEW v AS SELECT * FROM {target}", "LOCK TABLES {target} WRITE",
    "HANDLER {target} OPEN", "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE {target}",
    "LOAD DATA INFILE '/etc/passwd' INTO TABLE t (x)", "SELECT * FROM {target} INTO OUTFILE '/tmp/evil'",
    "XA START 'evil'", "CREATE EVENT canary.e2 ON SCHEDULE EVERY 1 SECOND DO DELETE FROM canary.victim",
    "CREATE TRIGGER canary.t2 BEFORE INSERT ON canary.victim FOR EACH ROW SET NEW.id = 5",
    "CREATE FUNCTION evil RETURNS int SONAME 'evil.so'", "CREATE INDEX evil ON {target} (id)",
    "SET GLOBAL event_scheduler = OFF", "SET PERSIST max_connections = 99", "USE canary",
    "SET PASSWORD = 'pwned'", "CREATE SERVER evil FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'x')",
    "PREPARE s FROM 'DROP TABLE canary.victim'", "EXECUTE IMMEDIATE 'DROP TABLE canary.victim'",
    "CREATE TABLE c (p int, FOREIGN KEY (p) REFERENCES canary.parent (id)) ENGINE=InnoDB",
    "CREATE TABLE ts (id int) TABLESPACE innodb_system", "GRANT watchers TO liferay@'%'",
)  # fmt: skip
"""Whole statements that reach out of the site."""

_TAILS: Final = (
    ", RENAME TO canary.moved{number}", ", RENAME AS canary.moved{number}", ", ADD FOREIGN KEY (id) REFERENCES canary.parent (id)",
    ", TABLESPACE innodb_system", ", RENAME canary.moved{number}",
)  # fmt: skip
"""What an ALTER TABLE may be made to do besides."""

_VALUES: Final = (
    "1", "-1.5e3", "NULL", "'a'", "'it''s'", "'\\'x'", "0x4142", "_binary 'x'", "''", "b'101'",
    "(SELECT x FROM canary.victim LIMIT 1)", "(SELECT GROUP_CONCAT(authentication_string) FROM mysql.user)",
    "canary.f(1)", "LOAD_FILE('/etc/passwd')", "CURRENT_USER()", "(SELECT/**/MAX(x)/**/FROM/**/canary.victim)",
    "@a", "@@version", "DEFAULT", "CAST('{{}}' AS JSON)", "'a' 'b'", "N'x'", "_latin1'\xe4'",
    "(/*!50001 SELECT x FROM canary.victim LIMIT 1*/)", "ST_GeomFromText('POINT(1 1)')", "/*!99999 '*/ 1 -- '\n",
)  # fmt: skip
_OPTIONS: Final = (
    "ENGINE=InnoDB", "ENGINE=MyISAM", "ENGINE=MERGE UNION=(canary.victim)", "ENGINE=MEMORY",
    "ENGINE=FEDERATED CONNECTION='mysql://x@y/canary/victim'", "ENGINE=CSV", "ENGINE=BLACKHOLE",
    "DATA DIRECTORY='@OUTSIDE@'", "TABLESPACE innodb_system", "COMMENT='it''s'", "CHARSET=gbk",
    "ROW_FORMAT=COMPRESSED", "CONNECTION='x'", "/*!50100 DATA DIRECTORY='@OUTSIDE@' */",
    "SECONDARY_ENGINE=rapid", "ENCRYPTION='Y'", "AUTO_INCREMENT=7", "SELECT 1", "AS TABLE canary.victim",
    "PARTITION BY HASH (id)", "/*M!100301 WITH SYSTEM VERSIONING */", "UNION=(canary.victim)",
)  # fmt: skip
_MODES: Final = (
    "sql_mode='NO_BACKSLASH_ESCAPES'", "sql_mode='ANSI_QUOTES'", "sql_mode='ANSI'", "sql_mode='ORACLE'",
    "sql_mode=0x4e4f5f4241434b534c4153485f45534341504553", "sql_mode=1048576", "NAMES gbk", "NAMES sjis",
    "NAMES latin1", "NAMES big5", "character_set_client=gbk", "CHARACTER SET gbk", "NAMES cp932",
    "sql_mode=''", "NAMES utf8mb4", "NAMES binary", "SESSION sql_mode='PIPES_AS_CONCAT'", "NAMES gb18030",
    "@m='NO_BACKSLASH_ESCAPES',sql_mode=@m", "@@SESSION.sql_mode='ANSI_QUOTES'", "NAMES koi8r",
)  # fmt: skip
_BLANKS: Final = (
    " ", "\n", "\t", "  ", "/**/", "/* x */", " -- x\n", " # x\n", "\x0b", "\x0c", "\r\n", "\xa0",
    "/*!*/", "/*!99999 x*/", "/*!50001*/", "/*M!999999 x*/", " --\x7f ", "/* ' */", "/*!99999 ' */",
    "--\t\n", "/*/ */", "/*!99999 /* x */ */", "\x1a", "\x00",
)  # fmt: skip
_HEADS: Final = (
    "CREATE EVENT e{number} ON SCHEDULE EVERY 1 SECOND DO {body}",
    "CREATE EVENT e{number} ON SCHEDULE AT NOW() ON COMPLETION PRESERVE DO {body}",
    "CREATE PROCEDURE pp{number}() {body}",
    "CREATE PROCEDURE pp{number}() SQL SECURITY INVOKER {body}",
    "CREATE TRIGGER trg{number} BEFORE INSERT ON t FOR EACH ROW {body}",
    "CREATE DEFINER=`root`@`localhost` PROCEDURE pp{number}() {body}",
    "CREATE DEFINER=dxpcloud@'%' EVENT e{number} ON SCHEDULE EVERY 1 SECOND DO {body}",
    "/*!50106 CREATE*/ /*!50117 DEFINER=`root`@`localhost`*/ /*!50106 EVENT e{number} ON SCHEDULE EVERY 1 SECOND DO {body} */",
    "CREATE FUNCTION ff{number}() RETURNS int {returning}",
)  # fmt: skip


@dataclass(frozen=True)
class Hostile:
    """One statement that was made, and how."""

    kind: str
    sql: bytes

    def __str__(self) -> str:
        return f"{self.kind}: {self.sql!r}"


def _deed(chance: Random) -> str:
    return (chance.choice(_EFFECTS)).format(target=(chance.choice(_TARGETS)))


def _bare(chance: Random, number: int) -> Hostile:
    del number
    return Hostile("bare", _encoded(_dressed(chance, _deed(chance))))


def _carried(chance: Random, number: int) -> Hostile:
    """An ALTER TABLE with more behind something that only some lexers skip."""
    tail = (chance.choice(_TAILS)).format(number=number)
    opening = chance.choice(_OPENINGS)
    quote = chance.choice("'\"`")
    lead = chance.choice(("", "\xbf", "\x95", "\x81", "\xe2\x80", "\xa5"))
    form = chance.choice(
        (
            "{opening} {quote} */{tail} -- {quote}*/\n",
            "{opening} x # */{tail} /*\n*/",
            "{opening} */{tail} /* */",
            "COMMENT {quote}{lead}\\{quote}{tail} -- {quote}",
            "COMMENT {quote}{lead}\\{quote}{tail} # {quote}",
            "--{control}{quote}\n{tail} -- {quote}\n",
            "/*{opening} */ {tail} /* */ ",
            "{opening} /* */ {quote} */{tail} -- {quote}*/\n",
            "{tail}",
            "COMMENT {quote}a{quote} {opening}{tail} */",
        )
    )
    control = chance.choice(("\x7f ", "\x01 ", " ", "\x1f", "\x80", "\x0b", "", "\x00"))
    text = form.format(opening=opening, quote=quote, lead=lead, control=control, tail=tail)
    return Hostile("carried", _encoded(f"ALTER TABLE t ADD y{number} int {text}"))


def _wrapped(chance: Random, number: int) -> Hostile:
    """A whole statement behind one that is honest or is not run."""
    deed = _deed(chance)
    opening = chance.choice(_OPENINGS)
    form = chance.choice(
        (
            "{opening} DROP TABLE IF EXISTS zz # */ {deed} /*\n*/",
            "{opening} {deed} */",
            "{opening} x */ {deed}",
            "{opening} SET @a = 1 -- */\n{deed}",
            "DROP TABLE IF EXISTS zz{number} {opening} ' */; {deed} -- '*/\n",
            "ALTER TABLE t ADD y{number} int {opening} ; {deed}; */",
            "/*{opening} */ */ {deed}",
        )
    )
    return Hostile("wrapped", _encoded(form.format(opening=opening, deed=deed, number=number)))


def _row(chance: Random, number: int) -> Hostile:
    values = ",".join(
        f"({number * 10 + at},{(chance.choice(_VALUES))})" for at in range(chance.randint(1, 3))
    )
    head = chance.choice(

            (
                "INSERT INTO `t` VALUES ", "INSERT INTO t VALUES ", "INSERT INTO `t` (`id`, `x`) VALUES ",
                "REPLACE INTO `t` VALUES ", "INSERT IGNORE INTO `t` VALUES ", "INSERT  INTO `t` VALUES\n",
                "INSERT INTO `lportal`.`t` VALUES ", "INSERT INTO t VALUE ", "INSERT INTO canary.victim VALUES ",
            )

    )  # fmt: skip
    tail = chance.choice(
        ("", "", " ON DUPLICATE KEY UPDATE x = (SELECT MAX(x) FROM canary.victim)")
    )
    return Hostile("row", _encoded(head + values + tail))


def _table(chance: Random, number: int) -> Hostile:
    options = " ".join(chance.sample(_OPTIONS, chance.randrange(4)))
    sql = _dressed(chance, f"CREATE TABLE tt{number} (id int NOT NULL PRIMARY KEY) {options}")
    return Hostile("table", _encoded(sql))


def _session(chance: Random, number: int) -> Hostile:
    del number
    assignments = chance.sample(_MODES, chance.randint(1, 2))
    return Hostile("session", _encoded(_dressed(chance, "SET " + ",".join(assignments))))


def _stored(chance: Random, number: int) -> Hostile:
    deed = _deed(chance)
    block = f"BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION SET @e = 1; {deed}; END"
    body = chance.choice((deed, block, f"BEGIN {deed}; END", f"/*!50001 {deed} */"))
    head = chance.choice(_HEADS)
    returning = f"BEGIN {deed}; RETURN 1; END"
    sql = head.format(number=number, body=body, returning=returning)
    return Hostile("stored", _encoded(_dressed(chance, sql, most=1)))


def _dressed(chance: Random, sql: str, *, most: int = 3) -> str:
    """The statement with some of its blanks, words and names written otherwise."""
    for _ in range(chance.randint(0, most)):
        blanks = [found.start() for found in re.finditer(" ", sql)]
        if not blanks:
            break
        at = chance.choice(blanks)
        sql = sql[:at] + (chance.choice(_BLANKS)) + sql[at + 1 :]
    case = chance.choice((None, None, str.lower, str.swapcase))
    first, blank, rest = sql.partition(" ")
    return (case(first) if case else first) + blank + rest


def _encoded(sql: str) -> bytes:
    # Every character is one byte: what they mean is for the connection's character set to say.
    return sql.encode("latin1", "replace")


_KINDS: Final = (_bare, _carried, _wrapped, _row, _table, _session, _stored)


def dump(seed: int, size: int = 20) -> list[Hostile]:
    """The statements of one hostile dump; no two make a thing of the same name."""
    chance = Random(seed)
    return [chance.choice(_KINDS)(chance, number) for number in range(1, size + 1)]


DUMPS: Final = st.integers(0, 2**64 - 1)
"""Seeds of dumps."""
