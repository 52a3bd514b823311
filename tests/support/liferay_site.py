"""A small site whose rows and files are Liferay's: what its two stores make of documents."""

import base64
import hashlib
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.support.job_site import JobSite

COMPANY, GROUP, FOLDER, OTHER_FOLDER = 20097, 20120, 30001, 30002
CONTENT: Final = b"eleven byte"
SHA256: Final = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
WRONG_SHA256: Final = base64.b64encode(bytes(32)).decode()
SHA1: Final = base64.b64encode(bytes(20)).decode()

_ENTRIES: Final = """CREATE TABLE DLFileEntry (
  {publication} fileEntryId BIGINT NOT NULL, groupId BIGINT, companyId BIGINT, folderId BIGINT,
  name VARCHAR(255), title VARCHAR(255), version VARCHAR(75), size_ BIGINT,
  PRIMARY KEY (fileEntryId{and_publication}), KEY by_group (groupId),
  CONSTRAINT FK_g FOREIGN KEY (groupId) REFERENCES Group_ (groupId)) ENGINE=InnoDB"""
_VERSIONS: Final = """CREATE TABLE DLFileVersion (
  {publication} fileVersionId BIGINT NOT NULL, fileEntryId BIGINT, version VARCHAR(75),
  size_ BIGINT, checksum VARCHAR(75) {uuid},
  PRIMARY KEY (fileVersionId{and_publication}), KEY IX_E2815081 (fileEntryId, version))
  ENGINE=InnoDB"""
_OTHERS: Final = (
    "CREATE TABLE Group_ (groupId BIGINT NOT NULL PRIMARY KEY) ENGINE=InnoDB",
    f"INSERT INTO Group_ VALUES ({GROUP})",
    (
        "CREATE TABLE Image (imageId BIGINT NOT NULL PRIMARY KEY, companyId BIGINT,"
        " type_ VARCHAR(75), size_ INT) ENGINE=InnoDB"
    ),
    "CREATE TABLE DLContent (contentId BIGINT NOT NULL PRIMARY KEY, data_ LONGBLOB) ENGINE=InnoDB",
)


class LiferaySite(JobSite):
    """A site without documents; tests add rows and files, and nothing says that they agree."""

    def make(self, *, newest: bool = True) -> None:
        """Makes the tables: as the newest versions have them, or as 7.0 has."""
        columns = {"publication": "", "and_publication": "", "uuid": ""}
        if newest:
            columns = {
                "publication": "ctCollectionId BIGINT NOT NULL DEFAULT 0,",
                "and_publication": ", ctCollectionId",
                "uuid": ", storeUUID VARCHAR(255)",
            }
        self.execute(
            f"CREATE DATABASE {self.name}",
            f"USE {self.name}",
            *_OTHERS,
            _ENTRIES.format(**columns),
            _VERSIONS.format(**columns),
            "CREATE USER IF NOT EXISTS 'lcp'@'%' IDENTIFIED BY 'site'",
            "GRANT ALL PRIVILEGES ON *.* TO 'lcp'@'%' WITH GRANT OPTION",
        )
        self.env["LCP_MASTER_USER_NAME"] = "lcp"
        (self.folder / "document_library").mkdir(parents=True)

    def execute(self, *statements: str) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION foreign_key_checks = 0")
            for statement in statements:
                cursor.execute(statement)

    def insert(self, table: str, rows: Iterable[dict[str, Any]]) -> None:
        """Adds rows, which need not have all columns."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"USE {self.name}")
            cursor.execute("SET SESSION foreign_key_checks = 0")
            for row in rows:
                marks = ", ".join(["%s"] * len(row))
                cursor.execute(
                    f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values())
                )

    def document(
        self, number: int, *versions: dict[str, Any], folder: int = 0, **more: Any
    ) -> None:
        """A row for a document, and one for each of its versions: 1.0 of CONTENT by default."""
        entry = {
            "fileEntryId": number,
            "groupId": GROUP,
            "companyId": COMPANY,
            "folderId": folder,
            "name": str(number),
            "title": f"Document {number}",
            "version": "1.0",
            "size_": len(CONTENT),
        }
        self.insert("DLFileEntry", [entry | more])
        self.insert(
            "DLFileVersion",
            (
                {
                    "fileVersionId": number * 10 + at,
                    "fileEntryId": number,
                    "version": "1.0",
                    "size_": len(CONTENT),
                }
                | version
                for at, version in enumerate(versions)
            ),
        )

    def file(self, path: str, content: bytes = CONTENT, *, newer: bool = False) -> None:
        """A file of the store; a newer one was changed after any backup of this moment."""
        file = self.folder / "document_library" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        if newer:
            tomorrow = (datetime.now(UTC) + timedelta(days=1)).timestamp()
            os.utime(file, (tomorrow, tomorrow))
