"""Scripts of a restore, on each database server: they change what is staged, or nothing at all."""

from pathlib import Path

import pytest

from lcp_backup.errors import InvalidRequest, LoadFailed
from lcp_backup.requests import RestoreRequest
from lcp_backup.service import deadline
from tests.support.job_site import JobSite

EXAMPLE = Path(__file__).parents[3] / "docs" / "sanitise_users.sql"
LIFERAY = """
ALTER TABLE User_ ADD companyId BIGINT, ADD emailAddress VARCHAR(254), ADD password_ VARCHAR(255),
  ADD passwordEncrypted TINYINT, ADD reminderQueryQuestion VARCHAR(75),
  ADD reminderQueryAnswer VARCHAR(75), ADD firstName VARCHAR(75), ADD middleName VARCHAR(75),
  ADD lastName VARCHAR(75), ADD comments LONGTEXT, ADD jobTitle VARCHAR(100),
  ADD loginIP VARCHAR(75), ADD lastLoginIP VARCHAR(75);
UPDATE User_ SET companyId = 1, emailAddress = CONCAT(screenName, '@example.com'),
  password_ = 'secret', passwordEncrypted = 0;
UPDATE User_ SET emailAddress = 'default@example.com' WHERE userId = 1;
CREATE UNIQUE INDEX IX_615E9F7A ON User_ (companyId, emailAddress);
CREATE TABLE Contact_ (contactId BIGINT PRIMARY KEY, classPK BIGINT, userName VARCHAR(75),
  emailAddress VARCHAR(254), firstName VARCHAR(75), middleName VARCHAR(75), lastName VARCHAR(75),
  birthday DATETIME(6));
INSERT INTO Contact_ VALUES (7, 2, 'Ann', 'ann@example.com', 'Ann', '', 'Lee', '1980-02-03');
CREATE TABLE EmailAddress (emailAddressId BIGINT PRIMARY KEY, address VARCHAR(254));
INSERT INTO EmailAddress VALUES (8, 'ann@example.com');
CREATE TABLE Phone (phoneId BIGINT PRIMARY KEY, number_ VARCHAR(75), extension VARCHAR(75));
CREATE TABLE Address (addressId BIGINT PRIMARY KEY, street1 VARCHAR(255), street2 VARCHAR(255),
  street3 VARCHAR(255), city VARCHAR(75), zip VARCHAR(75));
CREATE TABLE PasswordTracker (passwordTrackerId BIGINT PRIMARY KEY, password_ VARCHAR(255));
INSERT INTO PasswordTracker VALUES (9, 'secret');
CREATE TABLE Ticket (ticketId BIGINT PRIMARY KEY, key_ VARCHAR(255))
"""


def put(site: JobSite, name: str, sql: bytes) -> None:
    site.store.put(f"acme/prd/scripts/{name}", sql)


def test_the_example_leaves_no_user_as_they_were_and_triggers_do_not_fire(
    job_site: JobSite,
) -> None:
    with job_site.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"USE {job_site.name}")
        for statement in LIFERAY.split(";\n"):
            cursor.execute(statement)
    job_site.create()
    put(job_site, "10-users.sql", EXAMPLE.read_bytes())
    put(job_site, "20-groups.sql", b"DELETE FROM Group_ WHERE groupId NOT IN"
        b" (SELECT groupId FROM DLFileEntry); DELETE FROM Lock_")  # fmt: skip
    ran = job_site.restore(scripts=True)["scripts"]
    assert [line.partition(",")[0] for line in ran] == [
        "10-users.sql: 7 statements",
        "20-groups.sql: 2 statements",
    ]
    with job_site.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"USE {job_site.name}")
        cursor.execute(
            "SELECT count(*) FROM User_ WHERE userId > 1 AND (password_ = 'secret'"
            " OR emailAddress NOT LIKE 'user%@example.invalid' OR screenName NOT LIKE 'user%')"
        )
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT emailAddress FROM User_ WHERE userId = 1")
        assert cursor.fetchone() == ("default@example.com",)
        cursor.execute("SELECT emailAddress, lastName FROM Contact_")
        assert cursor.fetchone() == ("contact7@example.invalid", "2")
        cursor.execute("SELECT count(*) FROM PasswordTracker")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT count(*) FROM Audit_ WHERE what LIKE 'gone: %'")
        assert cursor.fetchone() == (0,)


def test_a_script_that_fails_leaves_the_live_site_and_names_file_and_statement(
    mariadb_site: JobSite,
) -> None:
    mariadb_site.create()
    before = mariadb_site.fingerprint()
    put(mariadb_site, "a.sql", b"DELETE FROM Lock_;\nUPDATE Nothing_ SET a = 1;")
    with pytest.raises(LoadFailed, match=r"statement 2 \(line 2\) of script 'a.sql': error 1146"):
        mariadb_site.restore(scripts=True)
    # Foreign keys are checked, and values are not cut.
    put(mariadb_site, "a.sql", b"DELETE FROM Group_")
    with pytest.raises(LoadFailed, match=r"statement 1 \(line 1\) of script 'a.sql': error 1451"):
        mariadb_site.restore(scripts=True)
    put(mariadb_site, "a.sql", b"UPDATE User_ SET screenName = REPEAT('x', 76)")
    with pytest.raises(LoadFailed, match="error 1406"):
        mariadb_site.restore(scripts=True)
    assert before.differences(mariadb_site.fingerprint()) == []
    with mariadb_site.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES LIKE %s", (f"{mariadb_site.name}_lcp_staging%",))
        assert cursor.fetchall() == ()


def test_scripts_that_are_asked_for_and_are_not_there_fail_the_restore(
    mariadb_site: JobSite,
) -> None:
    mariadb_site.create()
    with pytest.raises(InvalidRequest, match="nothing lies where LCP_BACKUP_RESTORE_SCRIPTS"):
        mariadb_site.restore(scripts=True)
    mariadb_site.env["LCP_BACKUP_RESTORE_SCRIPTS_ON_SCHEDULE"] = "true"
    scheduled = {"detail-type": "Scheduled Event", "time": "2026-11-20T00:35:00Z"}
    with pytest.raises(InvalidRequest, match="nothing lies where LCP_BACKUP_RESTORE_SCRIPTS"):
        mariadb_site.service().restore(RestoreRequest.read(scheduled), deadline(900_000))
