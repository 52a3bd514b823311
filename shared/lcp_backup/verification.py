"""What a verification found out about a backup, as it lies beside its manifest."""

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
    error: RunError | None = None
    """What is wrong, or was in the way."""

    def is_about(self, manifest: Manifest) -> bool:
        """Whether it is of this backup, and not of another that had its id before."""
        return (self.backup_id, self.backup_run_id) == (manifest.id, manifest.run_id)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.finished_at - self.started_at).total_seconds()

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Reads a stored verification; raises UnknownFormat when this version cannot."""
        return read_document(cls, body, "verification")
