"""A schema with one of everything: dumped, restored and dumped again, it is the same."""

from collections.abc import Iterator

import pytest

from lcp_backup.database import staged_schema
from lcp_backup.database.endpoint import Flavour, connect
from lcp_backup.database.pieces import Dump
from lcp_backup.database.sql import execute
from tests.support.own_dumps import OwnDump, Stored, dump
from tests.support.servers import DatabaseServer

_COLUMNS = ", ".join(f"`column {number}` tinyint" for number in range(999))
_BOTH = rf"""
SET NAMES utf8mb4;
SET sql_mode = '';
SET foreign_key_checks = 0;
CREATE DATABASE `every` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
USE `every`;

CREATE TABLE `kinds` (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  b1 bit(1), b64 bit(64), e enum('a', 'it''s', 'ü', 'c,d') DEFAULT 'it''s', s set('x', 'y', 'z'),
  d decimal(65, 30), f float, g double, y year, t time(6), dt datetime(6), ts timestamp(3) NULL,
  zero date DEFAULT '0000-00-00', zero_time datetime DEFAULT '0000-00-00 00:00:00',
  bin binary(4), vb varbinary(300), tb tinyblob, lb longblob, tt tinytext, lt longtext, j json,
  KEY by_e (e), KEY by_dt (dt DESC), KEY prefixed (lt(20)), UNIQUE KEY by_y_t (y, t))
  COMMENT 'a; comment: it''s "quoted", `so` -- yes\n/* and */ DELIMITER ;;';
INSERT INTO kinds (b1, b64, e, s, d, f, g, y, t, dt, ts, bin, vb, tb, lb, tt, lt, j) VALUES
 (b'1', ~0, 'c,d', 'x,z', 99999999999999999999999999999999999.5, 1.5e-30, 2.2250738585072014e-308,
  2026, '-838:59:59', '9999-12-31 23:59:59.999999', '2026-11-23 01:02:03.456', 0x00ff00ff,
  0x27225c0a1a00, '', 0x1f8b08, 'INSERT INTO `x` VALUES (1);\nDELIMITER ;;', '\\'' "; -- \\0 \Z \t',
  '{{"a": [1, null, "ü😀", {{"b": "it''s"}}]}}'),
 (b'0', 0, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL);
UPDATE kinds SET zero = '0000-00-00', zero_time = '2026-00-00 00:00:00';

CREATE TABLE `latin` (t varchar(20)) CHARACTER SET latin1;
CREATE TABLE `cyrillic` (t varchar(20)) CHARACTER SET cp1251;
CREATE TABLE `chinese` (t varchar(20)) CHARACTER SET gbk;
CREATE TABLE `japanese` (t varchar(20)) CHARACTER SET sjis;
CREATE TABLE `wide` (a varchar(20) CHARACTER SET utf16, b varchar(20) CHARACTER SET ucs2,
  c varchar(20) CHARACTER SET utf32, d varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  e varchar(20) CHARACTER SET ascii, f varchar(20) CHARACTER SET binary);
INSERT INTO `latin` VALUES ('Käse €'), (''), (NULL);
INSERT INTO `cyrillic` VALUES ('Привет');
INSERT INTO `chinese` VALUES ('你好'), ('乗\\');
INSERT INTO `japanese` VALUES ('表示'), ('ソ');
INSERT INTO `wide` VALUES ('😀', 'ü', '😀', '😀', 'a', 0xff00);

CREATE TABLE `first` (id int PRIMARY KEY, second int, KEY k (second),
  CONSTRAINT `to second` FOREIGN KEY (second) REFERENCES `second` (code) ON DELETE SET NULL);
CREATE TABLE `second` (id int PRIMARY KEY, code int, third int, UNIQUE KEY by_code (code),
  CONSTRAINT to_third FOREIGN KEY (third) REFERENCES third (id) ON UPDATE CASCADE);
CREATE TABLE `third` (id int PRIMARY KEY, first int, parent int,
  CONSTRAINT to_first FOREIGN KEY (first) REFERENCES first (id),
  CONSTRAINT to_itself FOREIGN KEY (parent) REFERENCES third (id));
INSERT INTO `first` VALUES (1, 10); INSERT INTO `second` VALUES (1, 10, 1);
INSERT INTO `third` VALUES (1, 1, 1), (2, 1, 1);

CREATE TABLE `empty` (id int PRIMARY KEY, x int, KEY by_x (x));
CREATE TABLE `no key` (a int, b int, KEY (b), UNIQUE KEY (a, b));
CREATE TABLE `counted` (a int NOT NULL AUTO_INCREMENT, b int NOT NULL, PRIMARY KEY (b), KEY (a));
CREATE TABLE `words` (id int PRIMARY KEY, t text, x int, FULLTEXT KEY ft (t), KEY by_x (x));
CREATE TABLE `places` (id int PRIMARY KEY, p point NOT NULL, x int, SPATIAL KEY sp (p), KEY (x));
CREATE TABLE `generated` (id int PRIMARY KEY, n varchar(20),
  v int AS (id * 2) VIRTUAL, s varchar(40) AS (concat(n, ';', `id`)) STORED,
  KEY by_v (v), KEY by_s (s));
CREATE TABLE `checked` (id int PRIMARY KEY, x int DEFAULT (1 + 2),
  CONSTRAINT `is ok` CHECK (x > 0 AND x < 100 OR x IS NULL));
CREATE TABLE `partitioned` (id int, made date, PRIMARY KEY (id, made), KEY by_made (made))
  PARTITION BY RANGE (year(made)) (PARTITION p0 VALUES LESS THAN (2020),
   PARTITION p1 VALUES LESS THAN MAXVALUE);
CREATE TABLE `mine` (id int PRIMARY KEY, t varchar(10), KEY (t)) ENGINE=MyISAM;
CREATE TABLE `wide table` ({_COLUMNS}, id int PRIMARY KEY);
CREATE TABLE `odd ``name; -- x.y /* z */ ☂` (`c ``o.l` int PRIMARY KEY, `ключ` int,
  KEY `k; (` (`ключ`));
CREATE TABLE `line
break` (id int PRIMARY KEY);
INSERT INTO `no key` VALUES (1, 1), (NULL, 2), (NULL, 2);
INSERT INTO `counted` VALUES (7, 1), (9, 2);
INSERT INTO `words` VALUES (1, 'a text of words', 1);
INSERT INTO `places` VALUES (1, ST_GeomFromText('POINT(1 2)'), 3);
INSERT INTO `generated` (id, n) VALUES (1, 'one'), (2, NULL);
INSERT INTO `checked` (id) VALUES (1); INSERT INTO `checked` VALUES (2, NULL);
INSERT INTO `partitioned` VALUES (1, '2019-01-01'), (2, '2026-01-01');
INSERT INTO `mine` VALUES (1, 'x'); INSERT INTO `wide table` (id) VALUES (1);
INSERT INTO `odd ``name; -- x.y /* z */ ☂` VALUES (1, 2); INSERT INTO `line
break` VALUES (1);

DELIMITER ;;
CREATE FUNCTION twice(x int) RETURNS int DETERMINISTIC
BEGIN
  -- a comment; with DELIMITER ;
  DECLARE label varchar(20) DEFAULT 'it''s; /* no comment */';
  RETURN x * 2;
END;;
CREATE PROCEDURE `odd ``routine`(IN a int, OUT b varchar(10) CHARACTER SET latin1)
BEGIN SELECT 'ü' INTO b; SELECT count(*) FROM every.kinds; END;;
CREATE TRIGGER before_one BEFORE INSERT ON `empty` FOR EACH ROW SET NEW.x = twice(NEW.id);;
CREATE TRIGGER before_two BEFORE INSERT ON `empty` FOR EACH ROW
BEGIN IF NEW.x > 1 THEN SET NEW.x = NEW.x + 1; END IF; END;;
CREATE EVENT `an event` ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' ON COMPLETION PRESERVE
 DISABLE COMMENT 'it''s' DO BEGIN DELETE FROM `empty`; INSERT INTO `empty` VALUES (1, 1); END;;
DELIMITER ;
CREATE VIEW z_base AS SELECT id, e FROM kinds WHERE e <> 'it''s';
CREATE VIEW a_on_base AS SELECT b.id, twice(b.id) AS t FROM z_base b;
CREATE VIEW `odd view; ``x` AS SELECT `c ``o.l` AS `c;ol` FROM `odd ``name; -- x.y /* z */ ☂`;
"""
_MARIADB = """
CREATE SEQUENCE numbers START WITH 7 INCREMENT BY 3;
SELECT NEXTVAL(numbers);
CREATE TABLE `versioned` (id int PRIMARY KEY, x int, KEY by_x (x)) WITH SYSTEM VERSIONING;
INSERT INTO versioned VALUES (1, 1); UPDATE versioned SET x = 2;
CREATE TABLE `hidden` (id int PRIMARY KEY, secret int INVISIBLE DEFAULT 5, ip inet6, u uuid);
INSERT INTO hidden (id, secret, ip, u) VALUES (1, 6, '::1', '123e4567-e89b-12d3-a456-426614174000');
CREATE TABLE `aria` (id int PRIMARY KEY, x int, KEY (x)) ENGINE=Aria;
INSERT INTO aria VALUES (1, 1);
"""
_MYSQL = """
CREATE TABLE `hidden` (id int PRIMARY KEY, secret int INVISIBLE DEFAULT 5, x int,
  KEY unseen (x) INVISIBLE, KEY functional ((x + 1)), KEY falling (x DESC, id));
INSERT INTO hidden (id, secret, x) VALUES (1, 6, 7);
CREATE TABLE `earth` (id int PRIMARY KEY, p point NOT NULL SRID 4326, SPATIAL KEY (p));
INSERT INTO earth VALUES (1, ST_GeomFromText('POINT(50 8)', 4326));
CREATE TABLE `many` (id int PRIMARY KEY, j json, KEY members ((cast(j->'$.a' AS unsigned array))));
INSERT INTO many VALUES (1, '{"a": [1, 2]}');
"""


@pytest.fixture
def everything(server: DatabaseServer) -> Iterator[bytes]:
    """The dump of the schema; the server is clean again.

    It went through the stock client once: MySQL then spells out a column's character set that it
    left unsaid before, whoever loads the dump.
    """

    def drop() -> None:
        for schema in ("every", "every_lcp_staging", "every_lcp_previous"):
            server.execute(f"DROP DATABASE IF EXISTS `{schema}`")

    drop()
    server.load((_BOTH + (_MYSQL if server.flavour is Flavour.MYSQL else _MARIADB)).encode())
    made = dump(server, "every")
    drop()
    server.load(made)
    made = dump(server, "every")
    drop()
    yield made
    drop()


@pytest.mark.parametrize("form", ["streamed", "indexed", "all indexes aside"])
def test_a_schema_with_one_of_everything_is_the_same_after_a_restore(
    server: DatabaseServer, everything: bytes, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if form == "all indexes aside":
        monkeypatch.setattr("lcp_backup.database.dump_load._WORTH_SETTING_ASIDE", 0)
    found: Dump = OwnDump(lambda: [everything]) if form == "streamed" else Stored(everything).dump()
    staged = staged_schema.SchemaLoad(
        server.endpoint("every"),
        found,
        dumped_name="every",
        connections=3,
        progress=lambda _: None,
        check=lambda: None,
    ).stage()
    staged.swap()
    again = dump(server, "every")
    differing = [
        (was, now)
        for was, now in zip(everything.splitlines(), again.splitlines(), strict=False)
        if was != now
    ]
    assert differing[:3] == []
    assert again == everything
    server.execute("SET foreign_key_checks = 1; ", database="every")
    with pytest.raises(Exception, match="foreign key constraint fails"):
        server.execute("INSERT INTO `third` VALUES (9, 99, 9)", database="every")


@pytest.mark.parametrize("form", ["streamed", "indexed"])
def test_a_date_that_no_calendar_has_comes_back_as_it_is(
    server: DatabaseServer, everything: bytes, form: str
) -> None:
    """A server takes it in the mode ALLOW_INVALID_DATES only, and a dump does not say so."""
    del everything  # which leaves the server clean
    server.execute("CREATE DATABASE `every` CHARACTER SET utf8mb4")
    for statement in (
        "CREATE TABLE `days` (id int PRIMARY KEY, d date DEFAULT '2026-02-31', t datetime(3))",
        (
            "INSERT INTO `days` VALUES (1, '2026-02-31', '2025-02-29 01:02:03.004'),"
            " (2, '0000-00-00', '2026-00-00'), (3, '2026-11-27', NULL)"
        ),
        "CREATE TRIGGER `a day` BEFORE INSERT ON `days` FOR EACH ROW SET NEW.d = '2026-01-01'",
    ):
        with connect(server.endpoint("every"), database="every") as connection:
            execute(connection, "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
            if "TRIGGER" in statement:
                execute(connection, "SET SESSION sql_mode = 'ANSI_QUOTES'")
            execute(connection, statement)
    made = dump(server, "every")
    found: Dump = OwnDump(lambda: [made]) if form == "streamed" else Stored(made).dump()
    staged_schema.SchemaLoad(
        server.endpoint("every"),
        found,
        dumped_name="every",
        connections=3,
        progress=lambda _: None,
        check=lambda: None,
    ).stage().swap()
    rows = server.execute("SELECT id, CAST(d AS char), CAST(t AS char) FROM `every`.`days`")
    assert rows == (
        (1, "2026-02-31", "2025-02-29 01:02:03.004"),
        (2, "0000-00-00", "2026-00-00 00:00:00.000"),
        (3, "2026-11-27", None),
    )
    ((mode,),) = server.execute(
        "SELECT sql_mode FROM information_schema.triggers WHERE trigger_schema = 'every'"
    )
    assert mode == "ANSI_QUOTES"
