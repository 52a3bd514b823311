"""A sample Liferay-like site, and what a whole site looks like: every row, file and stored code.

Its rows and files are of several segments, and so alike that both archives together fit one HTTP
request: the plain `curl` commands of the API's description work on it as they stand.
"""

import base64
import hashlib
import os
import random
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pymysql

_MIB = 1024 * 1024
_OTHERS = "exports"
"""Files that are no documents."""
_SCHEMA = """
CREATE TABLE Group_ (
  groupId BIGINT NOT NULL PRIMARY KEY, uuid_ VARCHAR(75), groupKey VARCHAR(150),
  active_ TINYINT, typeSettings LONGTEXT, UNIQUE KEY IX_754FBB1C (groupKey)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE User_ (
  userId BIGINT NOT NULL PRIMARY KEY, screenName VARCHAR(75), greeting VARCHAR(255),
  createDate DATETIME(6), lockout TINYINT, KEY IX_740C4D0C (screenName)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE DLFileEntry (
  fileEntryId BIGINT NOT NULL PRIMARY KEY, groupId BIGINT NOT NULL, companyId BIGINT,
  folderId BIGINT, name VARCHAR(255), title VARCHAR(255), version VARCHAR(75),
  size_ BIGINT, extraSettings LONGTEXT, modifiedDate DATETIME(6),
  titleLength INT AS (char_length(title)) STORED,
  KEY IX_4CB1B2B4 (groupId),
  CONSTRAINT FK_group FOREIGN KEY (groupId) REFERENCES Group_ (groupId)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE DLFileVersion (
  fileVersionId BIGINT NOT NULL PRIMARY KEY, fileEntryId BIGINT, version VARCHAR(75),
  size_ BIGINT, checksum VARCHAR(75), storeUUID VARCHAR(255),
  UNIQUE KEY IX_E2815081 (fileEntryId, version)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE JournalArticle (
  id_ BIGINT NOT NULL PRIMARY KEY, articleId VARCHAR(75), content LONGTEXT,
  createDate DATETIME(6), indexable TINYINT, KEY IX_17806804 (articleId)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE Image_ (
  imageId BIGINT NOT NULL PRIMARY KEY, data_ LONGBLOB, flags BIT(4)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE Audit_ (auditId BIGINT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(100)) ENGINE=InnoDB;
CREATE TABLE Lock_ (lockId BIGINT PRIMARY KEY) ENGINE=InnoDB;
CREATE VIEW ActiveGroup AS SELECT groupId, groupKey FROM Group_ WHERE active_ = 1;
CREATE TRIGGER GroupAudit AFTER DELETE ON Group_
  FOR EACH ROW INSERT INTO Audit_ (what) VALUES (CONCAT('gone: ', OLD.groupKey));
CREATE PROCEDURE CountFiles(OUT total BIGINT) SELECT COUNT(*) INTO total FROM DLFileEntry;
CREATE FUNCTION Shout(word VARCHAR(50)) RETURNS VARCHAR(60) DETERMINISTIC
  RETURN CONCAT(UPPER(word), '; -- no end of a statement');
CREATE EVENT ForgetAudit ON SCHEDULE EVERY 1 YEAR STARTS '2030-01-01 00:00:00' DO DELETE FROM Audit_
"""


COMPANY, FOLDER = 20097, 20123
"""In whose store, and in which of Liferay's folders, all documents lie."""


@dataclass(frozen=True)
class Document:
    """A document of the site, of one version: rows in two tables, and a file."""

    number: int
    content: bytes

    @property
    def path(self) -> str:
        """Of its file, relative to the data folder, as Liferay's FileSystemStore has it."""
        return f"document_library/{COMPANY}/{FOLDER}/{self.number}/1.0"


def documents() -> Iterator[Document]:
    """The documents of the sample site: small ones, and two of several segments."""
    chance = random.Random(20261123)
    for number in range(1001, 1061):
        yield Document(number, chance.randbytes(chance.randrange(1, 40_000)))
    line = chance.randbytes(1024)
    yield Document(1061, chance.randbytes(_MIB // 2) + line * 20_000)
    yield Document(1062, "<root>Grüße 🎉</root>\n".encode() * 20_000)


def fill_documents(folder: Path) -> None:
    """Makes the files that rows of the sample database name."""
    for document in documents():
        file = folder / document.path
        file.parent.mkdir(parents=True)
        file.write_bytes(document.content)


def fill_database(connection: "pymysql.Connection[Any]", name: str) -> None:
    """Makes the sample database: Liferay's ways with names, types, texts and stored code."""
    chance = random.Random(20261123)
    when = datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        cursor.execute(f"USE `{name}`")
        for statement in re.split(r";\n(?=CREATE)", _SCHEMA.strip()):
            cursor.execute(statement)
        rows: dict[str, list[tuple[Any, ...]]] = {
            "Group_": [
                (n, f"uuid-{n}", f"Guest's group {n} 🎉", n % 2, "a=1\nb=\\n\t'\"`;--")
                for n in range(1, 200)
            ],
            "User_": [
                (n, f"üser.{n}", "Grüße, 世界 🚀", when + timedelta(microseconds=n * 7919), 0)
                for n in range(1, 3000)
            ],
            "JournalArticle": [
                (
                    n,
                    f"ARTICLE-{n}",
                    "<?xml version='1.0'?><root>"
                    + "".join(
                        f"<p>{chance.getrandbits(12):x} lorem it''s; \\' </p>" for _ in range(90)
                    )
                    + "</root>",
                    when,
                    n % 2,
                )
                for n in range(1, 2500)
            ],
            "Image_": [
                (n, chance.randbytes(1000) * chance.randrange(1, 60), n % 16) for n in range(1, 120)
            ],
        }
        for table, values in rows.items():
            marks = ", ".join(["%s"] * len(values[0]))
            cursor.executemany(f"INSERT INTO {table} VALUES ({marks})", values)
        for document in documents():
            n, size = document.number, len(document.content)
            cursor.execute(
                "INSERT INTO DLFileEntry (fileEntryId, groupId, companyId, folderId, name, title,"
                " version, size_, extraSettings, modifiedDate)"
                " VALUES (%s, %s, %s, %s, %s, %s, '1.0', %s, NULL, %s)",
                (n, n % 199 + 1, COMPANY, FOLDER, str(n), f"Bericht {n}.pdf", size, when),
            )
            digest = hashlib.sha256(document.content).digest()
            cursor.execute(
                "INSERT INTO DLFileVersion VALUES (%s, %s, '1.0', %s, %s, NULL)",
                (n + 5000, n, size, base64.b64encode(digest).decode()),
            )


def fill_folder(folder: Path) -> None:
    """Makes the sample data folder: the documents, and beside them what else a folder may hold.

    Odd names, modes, times, links and an empty folder.
    """
    fill_documents(folder)
    (folder / "document_library" / str(COMPANY) / str(FOLDER) / "empty-folder").mkdir()
    others = folder / _OTHERS
    others.mkdir()
    (others / "Übersicht – 世界 🚀.txt").write_text("non-ASCII")
    (others / ("long-" * 45 + "name.txt")).write_text("a name of 233 bytes")
    (others / "empty-file").touch()
    (others / "readable-by-all.sh").write_text("#!/bin/sh\n")
    (others / "readable-by-all.sh").chmod(0o755)
    (others / "private").write_text("mode 600")
    (others / "private").chmod(0o600)
    (others / "latest").symlink_to("empty-file")
    for age, path in enumerate(sorted(folder.rglob("*"), reverse=True)):
        moment = 1_700_000_000_123_456_789 + age * 1_000_000_007
        os.utime(path, ns=(moment, moment), follow_symlinks=False)


@dataclass(frozen=True)
class Fingerprint:
    """Everything a restore has to bring back, by name, in a form that can be compared."""

    database: dict[str, str]
    """Tables with their rows, views, triggers, routines and events."""
    files: dict[str, str]
    """Files, folders and links: kind, mode, time, size, content."""

    def as_uploaded(self) -> "Fingerprint":
        """The same, as it comes back out of an upload: events wait for someone to enable them."""
        database = dict(self.database)
        for name, text in self.database.items():
            if name.startswith("event "):
                database[name] = text.replace(" ENABLE DO ", " DISABLE DO ")
        return replace(self, database=database)

    def differences(self, other: "Fingerprint") -> list[str]:
        """The names that are missing, new or not the same."""
        found: list[str] = []
        for mine, theirs in ((self.database, other.database), (self.files, other.files)):
            names = mine.keys() | theirs.keys()
            found += sorted(name for name in names if mine.get(name) != theirs.get(name))
        return found


def fingerprint(connection: "pymysql.Connection[Any]", name: str, folder: Path) -> Fingerprint:
    """What the site holds now."""
    return Fingerprint(_fingerprint_database(connection, name), _fingerprint_folder(folder))


def _fingerprint_database(connection: "pymysql.Connection[Any]", name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    with connection.cursor() as cursor:
        cursor.execute(f"USE `{name}`")

        def column(query: str, at: int = 0) -> list[str]:
            cursor.execute(query)
            return [row[at] for row in cursor.fetchall()]

        for table in column("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'"):
            (definition,) = column(f"SHOW CREATE TABLE `{table}`", 1)
            cursor.execute(f"SELECT * FROM `{table}`")
            rows = sorted(repr(row) for row in cursor.fetchall())
            digest = hashlib.sha256("\n".join([definition, *rows]).encode()).hexdigest()
            found[f"table {table}"] = f"{len(rows)} rows {digest}"
        stored_code = {
            "view": (column("SHOW FULL TABLES WHERE Table_type = 'VIEW'"), 1),
            "trigger": (column("SHOW TRIGGERS"), 2),
            "procedure": (column(f"SHOW PROCEDURE STATUS WHERE Db = '{name}'", 1), 2),
            "function": (column(f"SHOW FUNCTION STATUS WHERE Db = '{name}'", 1), 2),
            "event": (column("SHOW EVENTS", 1), 3),
        }
        for kind, (names, at) in stored_code.items():
            for item in names:
                (text,) = column(f"SHOW CREATE {kind.upper()} `{item}`", at)
                # Who defined it is not restored on purpose, and an upload is built anew of tokens,
                # with one blank between any two.
                found[f"{kind} {item}"] = " ".join(re.sub(r"DEFINER=\S+", "", text).split())
    return found


def _fingerprint_folder(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        common = f"{stat.filemode(status.st_mode)} {status.st_mtime_ns}"
        if path.is_symlink():
            found[f"link {path.relative_to(folder)}"] = f"{common} -> {path.readlink()}"
        elif path.is_dir():
            found[f"folder {path.relative_to(folder)}"] = common
        else:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[f"file {path.relative_to(folder)}"] = f"{common} {status.st_size} {digest}"
    return found


def destroy(connection: "pymysql.Connection[Any]", name: str, folder: Path) -> None:
    """What a bad night does: half the tables gone, the others changed, the library deleted."""
    with connection.cursor() as cursor:
        cursor.execute(f"USE `{name}`")
        cursor.execute("SET foreign_key_checks = 0")
        cursor.execute("DROP TABLE JournalArticle, Group_")
        cursor.execute("DROP VIEW ActiveGroup")
        cursor.execute("DROP PROCEDURE CountFiles")
        cursor.execute("UPDATE User_ SET greeting = 'pwned'")
        cursor.execute("CREATE TABLE Ransom_ (note TEXT)")
    for top in ("document_library", _OTHERS):
        shutil.rmtree(folder / top)
    (folder / "README-ransom.txt").write_text("pay")
