"""What the API answers of what was found out about a backup: by a verification, by a report."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from lcp_backup.verification import Documents, Report, Verdict, Verification


class Camel(BaseModel):
    """Spelled as the original service's scripts expect it."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class ShownVerification(Camel):
    """What the last verification of a backup found out."""

    verdict: Verdict
    verified_at: Annotated[datetime, Field(description="When it ended; UTC.")]
    seconds: float
    tables: int
    rows: int
    files: int
    read_bytes: Annotated[int, Field(description="Stored bytes that were read, of all archives.")]
    load_seconds: Annotated[float, Field(description="How long it took to load the database.")]
    read_seconds: Annotated[float, Field(description="How long it took to read the volume.")]
    run_id: str
    error: Annotated[str | None, Field(description="What is wrong, or was in the way.")]

    @classmethod
    def of(cls, verification: Verification) -> Self:
        """As it lies beside the manifest."""
        return cls(
            verdict=verification.verdict,
            verified_at=verification.finished_at,
            seconds=verification.seconds,
            tables=verification.tables,
            rows=verification.rows,
            files=verification.files,
            read_bytes=verification.read_bytes,
            load_seconds=verification.load_seconds,
            read_seconds=verification.read_seconds,
            run_id=verification.run_id,
            error=verification.error.message if verification.error else None,
        )


class ShownReport(Camel):
    """Whether the rows and the files of a backup agree."""

    documents: Documents = Field(
        description="Where the documents' files are: only those in the volume are compared with"
        " their rows."
    )
    text: str = Field(description="What it says, in words.")
    made_at: Annotated[datetime, Field(description="UTC.")]
    run_id: str
    store: Annotated[str | None, Field(description="Liferay's class that laid the files out.")]
    rows: int = Field(description="Rows that name a file: of documents' versions and of images.")
    files: int = Field(description="Files of the document library.")
    missing: int = Field(description="Files that a row names and that are not there.")
    wrong_size: int = Field(description="Files of another size than their row says.")
    wrong_checksum: int = Field(description="Files with another SHA-256 than their row says.")
    unnamed: int = Field(description="Files that no row names.")
    differences: int = Field(description="All four.")
    checksums: int = Field(description="Rows whose checksum was compared.")
    newer: int = Field(description="Files that changed while the backup was made: no difference.")
    generated: int = Field(description="Previews and renditions, which Liferay makes again.")
    other: int = Field(description="Files that other applications keep in the store.")
    left_out: int = Field(description="Rows whose files the settings left out.")

    @classmethod
    def of(cls, report: Report) -> Self:
        """As it lies beside the manifest."""
        return cls(
            text=report.sentence,
            differences=report.differences,
            **report.model_dump(exclude={"format", "backup_id", "backup_run_id", "listed"}),
        )
