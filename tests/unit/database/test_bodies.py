"""What the bodies of an upload may not say, and that they may say all else."""

from dataclasses import dataclass

import pytest

from lcp_backup.database.policy import Policy
from lcp_backup.errors import ArchiveRefused

VERBS = (
    "ALTER USER x IDENTIFIED BY 'y'", "BACKUP STAGE START", "BINLOG 'x'", "CACHE INDEX t IN k",
    "CHANGE MASTER TO x", "CHECKSUM TABLE t", "CLONE LOCAL DATA DIRECTORY 'x'",
    "CREATE DATABASE x", "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
    "CREATE ROLE r", "CREATE TABLE x (a int)", "CREATE USER x", "DROP DATABASE x",
    "DROP ROLE r", "DROP TABLE x", "DROP USER x", "EXECUTE s", "EXECUTE IMMEDIATE 'x'",
    "FLUSH PRIVILEGES", "GRANT ALL ON *.* TO x", "HANDLER t OPEN", "HELP 'x'",
    "IMPORT TABLE FROM 'x'", "INSTALL PLUGIN x SONAME 'y'", "KILL 1",
    "LOAD DATA INFILE 'x' INTO TABLE t", "LOCK TABLES t WRITE", "OPTIMIZE TABLE mysql.user",
    "PREPARE s FROM 'x'", "PURGE BINARY LOGS TO 'x'", "RENAME TABLE a TO b", "RENAME USER a TO b",
    "RESET MASTER", "RESTART", "REVOKE ALL ON *.* FROM x", "SET DEFAULT ROLE r TO x",
    "SET GLOBAL x = 1", "SET @@GLOBAL.x = 1", "SET PERSIST x = 1", "SET PASSWORD = 'x'",
    "SET PASSWORD FOR x = 'y'", "SET @a = 1, PASSWORD = 'x'", "SET ROLE r",
    "SET RESOURCE GROUP g", "SET STATEMENT max_statement_time = 1 FOR SELECT 1",
    "SHUTDOWN", "START GROUP_REPLICATION", "START SLAVE", "STOP SLAVE",
    "UNINSTALL PLUGIN x", "UNLOCK TABLES", "USE mysql", "XA START 'x'",
    "SELECT 1 INTO OUTFILE '/tmp/x'", "SELECT 1 INTO DUMPFILE '/tmp/x'",
    "SET @x = LOAD_FILE('/etc/passwd')", "DO LOAD_FILE('/etc/passwd')",
    "DO `load_file` ('/etc/passwd')",
    "CREATE TEMPORARY TABLE x (a int) ENGINE=FEDERATED CONNECTION='x'",
    "CREATE TEMPORARY TABLE x (a int) ENGINE=MERGE UNION=(mysql.user)",
    "DELETE FROM canary.victim", "INSERT INTO canary.victim VALUES (1)", "CALL canary.p()",
    "UPDATE canary.victim SET a = 1", "SELECT * FROM a JOIN `canary` . victim",
    "SELECT * FROM a, canary.victim", "SELECT * FROM (a, (canary.victim))",
    "SELECT canary.f(1)", "SELECT canary.victim.a FROM b", "TRUNCATE TABLE canary.victim",
    "SELECT * FROM mysql.user", "SELECT * FROM a WHERE x IN (SELECT x FROM canary.victim)",
    "DROP TEMPORARY TABLE canary.victim", "TABLE canary.victim", "CALL sys.x()",
    "INSERT INTO a SELECT * FROM canary.victim", "DELETE a FROM a JOIN canary.victim",
    "REPLACE canary.victim VALUES (1)", "INSERT IGNORE canary.victim SET a = 1",
    "TRUNCATE canary.victim", "DELETE FROM a USING a, canary.victim",
    "REPLACE canary.victim.a VALUES (1)", "SELECT * FROM PERFORMANCE_SCHEMA.threads",
)  # fmt: skip
PLACES = (
    "CREATE PROCEDURE p() {}",
    "CREATE PROCEDURE p() SQL SECURITY INVOKER COMMENT 'x' {}",
    (
        "CREATE FUNCTION f(a decimal(5,2)) RETURNS varchar(10) CHARSET utf8 COLLATE utf8_bin"
        " READS SQL DATA BEGIN {}; RETURN 1; END"
    ),
    "CREATE TRIGGER r BEFORE INSERT ON a FOR EACH ROW {}",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO {}",
    "CREATE PROCEDURE p() BEGIN SELECT 'a'; {}; END",
    "CREATE PROCEDURE p() BEGIN IF a THEN {}; END IF; END",
    "CREATE PROCEDURE p() BEGIN IF a THEN SELECT 1; ELSE {}; END IF; END",
    "CREATE PROCEDURE p() BEGIN CASE WHEN a THEN SELECT 1; ELSE {}; END CASE; END",
    "CREATE PROCEDURE p() BEGIN CASE a WHEN 1 THEN {}; END CASE; END",
    "CREATE PROCEDURE p() BEGIN SET @x = CASE WHEN a THEN 1 END; {}; END",
    "CREATE PROCEDURE p() l: BEGIN m: LOOP {}; END LOOP m; END l",
    "CREATE PROCEDURE p() WHILE (a < CASE WHEN b THEN 1 ELSE 2 END) DO {}; END WHILE",
    "CREATE PROCEDURE p() REPEAT {}; UNTIL a END REPEAT",
    "CREATE PROCEDURE p() FOR i IN 1..3 DO {}; END FOR",
    "CREATE PROCEDURE p() BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION {}; END",
    (
        "CREATE PROCEDURE p() BEGIN DECLARE EXIT HANDLER FOR SQLSTATE VALUE '23000', NOT FOUND, c"
        " BEGIN {}; END; END"
    ),
    "CREATE PROCEDURE p() BEGIN NOT ATOMIC /*! {} */; END",
)


@dataclass(frozen=True)
class Said:
    text: bytes
    where: str = "line 7 of the dump"


def judge(text: str, *, uploaded: bool = True) -> bytes:
    policy = Policy("site", uploaded=uploaded, server=None)
    return policy.judge(Said(text.encode())).sql


@pytest.mark.parametrize("verb", VERBS)
def test_no_statement_of_a_body_reaches_out_of_the_site(verb: str) -> None:
    for place in PLACES:
        with pytest.raises(ArchiveRefused, match="line 7 of the dump is refused: its body"):
            judge(place.format(verb))
        # The account that owns a backup of our own has no rights outside of the site.
        judge(place.format(verb), uploaded=False)


@pytest.mark.parametrize(
    "text",
    [
        "CREATE VIEW v AS SELECT * FROM sys.session",
        "CREATE VIEW v AS SELECT * FROM mysql/*!99999 zz*/.user",
        "CREATE VIEW v AS TABLE canary.victim",
        "CREATE VIEW v AS SELECT * FROM a UNION SELECT * FROM canary.victim",
        "CREATE VIEW v AS WITH c AS (SELECT * FROM canary.victim) SELECT * FROM c",
        "CREATE VIEW v AS SELECT LOAD_FILE('/etc/passwd')",
        "CREATE VIEW v AS SELECT 1; SELECT 2",
        "CREATE VIEW v AS SELECT (1))",
        "CREATE VIEW v AS UPDATE a SET b = 1",
        "CREATE VIEW v AS",
        "CREATE PROCEDURE p()",
        "CREATE PROCEDURE p(a int DEFAULT (SELECT 1)) SELECT 1",
        "CREATE PROCEDURE p(a text DEFAULT LOAD_FILE('/etc/passwd')) SELECT 1",
        "CREATE PROCEDURE p() BEGIN SELECT 1;",
        "CREATE PROCEDURE p() BEGIN SELECT 1; END; END",
        "CREATE PROCEDURE p() SELECT 1; DROP TABLE a",
        "CREATE PROCEDURE p() BEGIN END; SELECT 1",
        "CREATE PROCEDURE p() BEGIN SELECT CASE WHEN 1 THEN 2; FLUSH TABLES; END; END",
        "CREATE PROCEDURE p() LANGUAGE JAVASCRIPT SELECT 1",
        "CREATE FUNCTION f() RETURNS int FLUSH PRIVILEGES",
        "CREATE FUNCTION f() RETURNS int SET @x = 1 FLUSH PRIVILEGES WITH x",
    ],
)
def test_a_body_is_one_statement_that_is_understood(text: str) -> None:
    if text.endswith("FLUSH PRIVILEGES WITH x"):
        # (No statement at its place: the server finds it wrong.)
        judge(text)
        return
    with pytest.raises(ArchiveRefused, match="line 7 of the dump is refused"):
        judge(text)


@pytest.mark.parametrize(
    "body",
    [
        "SELECT 'GRANT', `grant`, a.kill /* KILL */ FROM a",
        "SELECT CASE WHEN a THEN (SELECT 1) ELSE CASE b WHEN 1 THEN 2 END END AS c FROM t",
        "SELECT mysqlish.x, information_schema.tables.table_name FROM mysqlish",
        "SELECT a FROM t WHERE b > 0 FOR UPDATE",
        "SELECT a INTO @b FROM t LOCK IN SHARE MODE",
        "SELECT EXTRACT(DAY FROM t.made), TRIM(BOTH 'x' FROM t.a), SUBSTRING(t.a FROM 2) FROM t",
        "SELECT STRAIGHT_JOIN t.a, u.b FROM t, u WHERE t.a = u.b ORDER BY t.a",
        "SELECT t.a FROM t LEFT JOIN u ON t.a = u.a, site.v WHERE t.b IN (u.b, t.c)",
        "INSERT INTO t (a, b) VALUES (1, 2) ON DUPLICATE KEY UPDATE t.a = VALUES(a), b = t.b + 1",
        "INSERT INTO site.t SELECT u.a FROM site.u AS u",
        "UPDATE t JOIN u ON t.a = u.a SET t.b = u.b, t.password = 'x', t.role = 1",
        "UPDATE t SET password = 'x', role = 'y'",
        "SET @a = 1, @b := 2, c = IF(a, TRUNCATE(1.5, 0), REPEAT('x', 3)), role = 1",
        "CALL site.q(1, @a.b)",
        "SHOW COLUMNS FROM t",
        "BEGIN END",
        ("BEGIN DECLARE a int DEFAULT 1; DECLARE c CURSOR FOR SELECT x FROM t;"
        " DECLARE CONTINUE HANDLER FOR NOT FOUND, 1062 SET a = 0; OPEN c;"
        " l: LOOP FETCH c INTO a; IF a THEN LEAVE l; ELSEIF b THEN ITERATE l; ELSE BEGIN END;"
        " END IF; END LOOP l; CLOSE c; END"),
        ("BEGIN CASE a WHEN 1 THEN SET @x = CASE WHEN b THEN 2 ELSE 3 END; WHEN 2 THEN BEGIN END;"
        " ELSE SELECT 1; END CASE; END"),
        "BEGIN REPEAT SET a = a + 1; UNTIL a > CASE WHEN b THEN 1 END END REPEAT; SELECT 1; END",
        ("BEGIN WHILE a DO SET a = a - 1; END WHILE; FOR r IN (SELECT x FROM t) DO SET @s = r.x;"
        " END FOR; END"),
        "BEGIN START TRANSACTION; SAVEPOINT s; ROLLBACK TO s; RELEASE SAVEPOINT s; COMMIT; END",
        ("BEGIN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'x'; RESIGNAL;"
        " GET DIAGNOSTICS CONDITION 1 @e = MESSAGE_TEXT; END"),
        ("BEGIN CREATE TEMPORARY TABLE IF NOT EXISTS x (a int) ENGINE=MEMORY;"
        " INSERT INTO x SELECT t.a FROM t; TRUNCATE x; DROP TEMPORARY TABLE IF EXISTS x; END"),
        ("BEGIN SELECT t.end, t.begin INTO a, b FROM t; ANALYZE TABLE t; OPTIMIZE TABLE site.t;"
        " DO RELEASE_LOCK('x'); END"),
        "WITH c AS (SELECT a FROM t) SELECT c.a FROM c",
        "IF NEW.a > OLD.a THEN SET NEW.b = NEW.a; END IF",
        "DELETE t FROM t JOIN u USING (a) WHERE u.b = 1",
        "DELETE FROM t USING t JOIN u USING (a) WHERE t.b = u.b",
        "INSERT t (a) SELECT u.a FROM u WHERE u.b = REPLACE(u.c, 'x', u.d)",
        "SELECT j.x FROM t, JSON_TABLE(t.d, '$[*]' COLUMNS (x int PATH '$.x')) AS j",
    ],
)  # fmt: skip
def test_what_a_sites_own_code_says_is_taken_as_it_is(body: str) -> None:
    text = f"CREATE PROCEDURE p(IN a int(11), OUT b varchar(10) CHARSET utf8) {body}"
    assert judge(text).decode() == text
    # Dumps end it so when the site's author did.
    assert judge(text + ";").decode() == text


@pytest.mark.parametrize(
    "head",
    [
        "CREATE FUNCTION f() RETURNS int RETURN 1",
        (
            "CREATE FUNCTION f() RETURNS enum('a','b') CHARACTER SET utf8mb4 NOT DETERMINISTIC"
            " CONTAINS SQL SQL SECURITY DEFINER LANGUAGE SQL RETURN 'a'"
        ),
        "CREATE FUNCTION `f`(`a` double precision) RETURNS decimal(10,2) unsigned NO SQL RETURN a",
        (
            "CREATE AGGREGATE FUNCTION f(x int) RETURNS bigint(20) BEGIN"
            " DECLARE EXIT HANDLER FOR NOT FOUND RETURN 1; LOOP FETCH GROUP NEXT ROW; END LOOP; END"
        ),
        "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW FOLLOWS `u` SET NEW.a = 1",
        "CREATE TRIGGER t AFTER INSERT OR UPDATE OF a, b ON a FOR EACH ROW BEGIN END",
        (
            "CREATE EVENT e ON SCHEDULE AT CURRENT_TIMESTAMP() + INTERVAL (1 + 1) DAY"
            " ON COMPLETION PRESERVE DO BEGIN DELETE FROM a; END"
        ),
        (
            "CREATE OR REPLACE VIEW v (a, b) AS select `t`.`a` AS `a`,count(0) AS `b` from"
            " ((`t` join `u` on((`t`.`x` = `u`.`x`))) left join `w` on(`w`.`y` = `t`.`y`))"
        ),
        "CREATE VIEW v AS SELECT\n 1 AS `a`,\n 1 AS `b`",
        "CREATE VIEW v AS (select 1) union (select 2)",
    ],
)
def test_heads_are_understood_as_servers_write_them(head: str) -> None:
    assert judge(head).decode() == head
