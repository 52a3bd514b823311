"""What the servers hold before an attack: the live site, and the schemas that are none of its."""

from typing import Final

SECRET: Final = "canary-secret-7f3a9c"
"""A value that no user of the site may see."""

OTHERS: Final = ("lportalXlcpXstaging", "lportal2")
"""Neighbours: the first is what an underscore that is not escaped in a grant means, too."""

CANARY: Final = f"""
CREATE TABLE parent (id int NOT NULL PRIMARY KEY, t varchar(40)) ENGINE=InnoDB

CREATE TABLE victim (id int NOT NULL PRIMARY KEY, x varchar(90)) ENGINE=InnoDB

INSERT INTO parent VALUES (1, 'one'), (2, 'two')

INSERT INTO victim VALUES (1, '{SECRET}'), (2, 'b')

CREATE VIEW v AS SELECT id FROM victim

CREATE PROCEDURE p() SELECT COUNT(*) FROM victim

CREATE FUNCTION f(a int) RETURNS int DETERMINISTIC RETURN a + 1

CREATE TRIGGER tr BEFORE DELETE ON parent FOR EACH ROW SET @deleted = OLD.id

CREATE EVENT ev ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01 00:00:00' DO SET @a = 1
"""

SITE: Final = """
CREATE TABLE t (id int NOT NULL, x longtext, PRIMARY KEY (id)) ENGINE=InnoDB

CREATE TABLE User_ (userId bigint NOT NULL PRIMARY KEY, companyId bigint, createDate datetime,
 modifiedDate datetime, emailAddress varchar(75), KEY by_mail (emailAddress)) ENGINE=InnoDB

CREATE TABLE audit (id int AUTO_INCREMENT PRIMARY KEY, what varchar(80)) ENGINE=InnoDB

INSERT INTO t VALUES (1, 'honest'), (2, 'row')

INSERT INTO User_ VALUES (1, 2, '2026-01-01', '2026-01-02', 'a@example.com')

CREATE VIEW honest_view AS SELECT id, x FROM t

CREATE PROCEDURE honest_procedure() SELECT COUNT(*) FROM t

CREATE FUNCTION honest_function(a int) RETURNS int DETERMINISTIC RETURN a + 1

CREATE TRIGGER honest_trigger AFTER DELETE ON User_ FOR EACH ROW
 INSERT INTO audit (what) VALUES (OLD.emailAddress)

CREATE EVENT honest_event ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01 00:00:00'
 DO DELETE FROM audit
"""
