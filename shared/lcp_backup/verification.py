"""What a verification and a report found out about a backup, as it lies beside its manifest."""

from enum import StrEnum
from typing import Literal, Self

from pydantic import AwareDatetime

from lcp_backup.document import Document, read_document
from lcp_backup.model import Manifest, RunError


class Verdict(StrEnum):
    """What is known of a backup after it was tried."""

    VERIFIED = "verified"
    """It was restored from its first byte to its last."""
    BAD = "bad"
    """It cannot be restored as it is."""
    COULD_NOT_VERIFY = "could-not-verify"
    """Something else was in the way, such as a server that is down: nothing is known."""


class Documents(StrEnum):
    """Where the files of Liferay's documents are, as rows and files of a backup tell."""

    VOLUME = "volume"
    """In the volume, where they were compared with their rows."""
    DATABASE = "database"
    """In the database, in Liferay's DBStore: the dump holds them."""
    ELSEWHERE = "elsewhere"
    """Neither: in a bucket, or in a folder that is not in the volume."""
    LEFT_OUT = "left-out"
    """Their rows are not in the dump, because the settings left them out."""
    NOT_LIFERAY = "not-liferay"
    """The database has no tables of Liferay's document library."""


class DifferenceKind(StrEnum):
    """In what a row and a file do not agree."""

    MISSING = "missing"
    """The file that a row names is not in the volume."""
    SIZE = "size"
    """It has another size than its row says."""
    CHECKSUM = "checksum"
    """It has another content than its row's checksum says."""
    UNNAMED = "unnamed"
    """No row names the file."""


class Difference(Document):
    """One line of a report."""

    kind: DifferenceKind
    path: str
    """Of the file, relative to the data folder."""
    table: str | None = None
    """Of the row, as Liferay calls it; None of a file that no row names."""
    id: int | None = None
    """The row's primary key."""
    title: str | None = None
    """Of the document."""
    row_size: int | None = None
    """Bytes, as the row says."""
    file_size: int | None = None


class Report(Document):
    """Whether the rows and the files of a backup agree; a later one takes its place."""

    format: Literal[1] = 1
    backup_id: str
    backup_run_id: str
    """The run that made the backup, as in Verification."""
    run_id: str
    made_at: AwareDatetime
    documents: Documents
    store: str | None = None
    """Liferay's class that laid the files out."""
    rows: int = 0
    """Rows of documents and images, each of which names a file."""
    files: int = 0
    """Files of the document library."""
    missing: int = 0
    wrong_size: int = 0
    wrong_checksum: int = 0
    unnamed: int = 0
    """Files that no row names."""
    checksums: int = 0
    """Rows whose checksum was compared: those that have a SHA-256."""
    newer: int = 0
    """Files that were changed while the backup was made, after its rows: no difference."""
    generated: int = 0
    """Previews, thumbnails and renditions, which Liferay makes again."""
    other: int = 0
    """Files of other applications in the store."""
    left_out: int = 0
    """Rows whose files the settings left out."""
    listed: int = 0
    """How many of the differences are listed behind it."""

    @property
    def differences(self) -> int:
        """How many there are, listed or not."""
        return self.missing + self.wrong_size + self.wrong_checksum + self.unnamed

    @property
    def sentence(self) -> str:
        """What it says, in words."""
        match self.documents:
            case Documents.VOLUME:
                return (
                    f"{self.rows} rows name files and {self.files} files are there: {self.missing}"
                    f" are missing, {self.wrong_size} have another size, {self.wrong_checksum}"
                    f" another checksum, {self.unnamed} are named by no row"
                )
            case Documents.DATABASE:
                return "the documents lie in the database (DBStore), and not in the volume"
            case Documents.ELSEWHERE:
                return (
                    "the volume is not where the documents are: it holds (nearly) none of the files"
                    f" that {self.rows} rows name. They lie in a bucket (S3Store, GCSStore), in a"
                    " folder that is not in the volume, or are lost"
                )
            case Documents.LEFT_OUT:
                return "the rows of documents are not in the backup: the settings left them out"
            case Documents.NOT_LIFERAY:
                return "the database is not Liferay's: it has no tables of a document library"

    def is_about(self, manifest: Manifest) -> bool:
        """Whether it is of this backup, and not of another that had its id before."""
        return (self.backup_id, self.backup_run_id) == (manifest.id, manifest.run_id)

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Reads a stored report; raises UnknownFormat when this version cannot."""
        return read_document(cls, body, "report")


class Verification(Document):
    """One verification of one backup; a later one takes its place."""

    format: Literal[1] = 1
    backup_id: str
    backup_run_id: str
    """The run that made the backup: once that is deleted, another may get its id."""
    run_id: str
    verdict: Verdict
    started_at: AwareDatetime
    finished_at: AwareDatetime
    server: str | None = None
    """What the database was loaded into, such as `mariadb 10.11.19`."""
    tables: int = 0
    """Tables that were loaded and are there."""
    rows: int = 0
    """Rows that were loaded, in all tables."""
    tables_counted: int = 0
    """In how many of the tables the rows that are there are as many as were sent."""
    files: int = 0
    """Files of the volume whose content was read."""
    files_compared: int = 0
    """How many of them have a SHA-256 in the index, which was theirs."""
    read_bytes: int = 0
    """Stored bytes of both archives and of all sources that were read and had the right SHA-256."""
    statements: int = 0
    """Statements of LCP_BACKUP_VERIFY_SQL that were true."""
    load_seconds: float = 0
    """How long the server took to load the dump, with all that a restore does until the swap."""
    read_seconds: float = 0
    """How long it took to read the volume, side by side with the load."""
    report: Report | None = None
    """Whether rows and files agree; what it lists lies in an object of its own."""
    error: RunError | None = None
    """What is wrong, or was in the way."""

    def is_about(self, manifest: Manifest) -> bool:
        """Whether it is of this backup, and not of another that had its id before."""
        return (self.backup_id, self.backup_run_id) == (manifest.id, manifest.run_id)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def restore_seconds(self) -> float:
        """How long a restore takes at least: it also writes the files while it reads them."""
        return max(self.load_seconds, self.read_seconds)

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Reads a stored verification; raises UnknownFormat when this version cannot."""
        return read_document(cls, body, "verification")
