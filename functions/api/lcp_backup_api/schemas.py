"""What the API answers, as its clients see it.

Backups are spelled as the original service's scripts expect them (`backupId`); what this service
added is spelled as its stored documents are.
"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, StringConstraints

from lcp_backup.archive.segment import MemberType
from lcp_backup.catalog import Unreadable
from lcp_backup.catalog.pins import Pin as StoredPin
from lcp_backup.database.listing import DumpContent, Extent
from lcp_backup.model import Archive, BackupType, Manifest, Notice, Run, RunKind, RunState
from lcp_backup.verification import Report
from lcp_backup.volume.listing import Listed
from lcp_backup.volume.names import printable
from lcp_backup.volume.paths import path_text
from lcp_backup_api.findings import Camel, ShownReport, ShownVerification
from lcp_backup_api.outlook import Beside, Change, Estimate, whole_size

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ID = "acme-prd-202611230015"
_SHA256 = "Of the .tgz; null when segments of older backups were copied into it."


class StoredArchive(Camel):
    """One archive of a backup."""

    size: int = Field(description="Bytes of the .tgz.")
    raw_size: int = Field(description="Bytes once inflated.")
    sha256: str | None = Field(description=_SHA256)

    @classmethod
    def of(cls, archive: Archive) -> Self:
        """As the manifest lists it."""
        return cls(size=archive.size, raw_size=archive.raw_size, sha256=archive.sha256)


class Pin(BaseModel):
    """Why a backup neither expires nor can be deleted."""

    by: str
    reason: str
    since: datetime

    @classmethod
    def of(cls, pin: StoredPin) -> Self:
        """As it is stored."""
        return cls(by=pin.by or "", reason=pin.reason or "", since=pin.since)


class ShownChange(Camel):
    """How much more a backup has than the one before; negative where it has less."""

    since: str = Field(description="The backup before, of the same site.", examples=[_ID])
    files: int
    file_bytes: int
    tables: int
    sql_bytes: int

    @classmethod
    def of(cls, change: Change) -> Self:
        """As it was computed."""
        return cls.model_validate(change, from_attributes=True)


class Backup(Camel):
    """A backup, or one that failed."""

    backup_id: str | None = Field(examples=[_ID])
    type: BackupType | None = Field(
        description="Null for one that failed before it was known, or that is unreadable."
    )
    status: Literal["succeeded", "failed", "unreadable"] = Field(
        description="`unreadable`: its manifest is damaged, or of a later version of the service:"
        " nobody knows whether it can be restored. `error` says what is wrong."
    )
    started_at: datetime = Field(description="Of an unreadable one, the minute in its id.")
    created_at: Annotated[datetime | None, Field(description="When it was published; UTC.")] = None
    size: Annotated[int | None, Field(description="Bytes of both archives.")] = None
    whole_size: Annotated[
        int | None, Field(description="Bytes that a restore brings back: SQL and files.")
    ] = None
    stored_whole: Annotated[
        bool | None,
        Field(description="Whether its own archives hold all of it; else it reads older ones too."),
    ] = None
    change: Annotated[
        ShownChange | None,
        Field(description="Against the backup before; null for the first and for uploaded ones."),
    ] = None
    kept_until: Annotated[
        datetime | None,
        Field(
            description="When its retention ends: the next cleanup deletes it. LCP_BACKUP_KEEP may"
            " let it go earlier. Null for one that is pinned, and for the newest: these stay."
        ),
    ] = None
    database: StoredArchive | None = None
    volume: StoredArchive | None = None
    warnings: int = 0
    verification: Annotated[
        ShownVerification | None, Field(description="Null for one that was never verified.")
    ] = None
    run_id: str | None = Field(description="Null for one that is unreadable.")
    error: str | None = None
    pinned: Annotated[
        Pin | None, Field(description="It does not expire while this is not null.")
    ] = None

    @classmethod
    def of(cls, manifest: Manifest, beside: Beside) -> Self:
        """One that exists."""
        return cls(
            backup_id=manifest.id,
            type=manifest.type,
            status="succeeded",
            started_at=manifest.started_at,
            created_at=manifest.published_at,
            size=manifest.size,
            whole_size=whole_size(manifest),
            stored_whole=not manifest.sources,
            change=ShownChange.of(beside.change) if beside.change else None,
            kept_until=beside.kept_until,
            database=StoredArchive.of(manifest.database),
            volume=StoredArchive.of(manifest.volume),
            warnings=manifest.warning_count,
            verification=(
                ShownVerification.of(beside.verification) if beside.verification else None
            ),
            run_id=manifest.run_id,
            pinned=Pin.of(beside.pin) if beside.pin else None,
        )

    @classmethod
    def unreadable(cls, found: Unreadable) -> Self:
        """One that lies there, and of which nothing else is known."""
        return cls(
            backup_id=found.id,
            type=None,
            status="unreadable",
            started_at=found.slot,
            run_id=None,
            error=found.reason,
        )

    @classmethod
    def failed(cls, run: Run) -> Self:
        """One that was not made."""
        return cls(
            backup_id=run.backup_id,
            type=BackupType.UPLOADED if run.kind is RunKind.UPLOAD else None,
            status="failed",
            started_at=run.started_at,
            warnings=len(run.warnings),
            run_id=run.id,
            error=run.error.message if run.error else None,
        )


class Paged(BaseModel):
    """A page of a list."""

    next: str | None = Field(
        None,
        description="Ask again with it as `next` for what is older; null when that is all. A page"
        " of what is rare may have fewer than `limit` entries, even none, and still a `next`.",
        examples=[_ID],
    )


class BackupList(Paged):
    """Backups, newest first."""

    backups: list[Backup]


class RestoreEstimate(Camel):
    """How long a restore of the whole backup will take."""

    seconds: float
    basis: Literal["verification", "restores", "verifications"] = Field(
        description="What tells: the verification of this very backup, or the rates of the last"
        " restores or verifications."
    )
    run_id: str = Field(description="The last run that was measured.")

    @classmethod
    def of(cls, estimate: Estimate) -> Self:
        """As it was computed."""
        return cls.model_validate(estimate, from_attributes=True)


class BackupDetail(Backup):
    """A backup, and all that its manifest says."""

    database_name: str
    server: str
    tables: int
    files: int
    report: Annotated[
        ShownReport | None, Field(description="The last one; null while there is none.")
    ] = None
    notices: list[Notice]
    notices_left_out: int
    restore_estimate: Annotated[
        RestoreEstimate | None, Field(description="Null where nothing was restored yet.")
    ] = None

    @classmethod
    def in_full(
        cls,
        manifest: Manifest,
        beside: Beside,
        estimate: Estimate | None,
        report: Report | None = None,
    ) -> Self:
        """All of one that exists."""
        facts = manifest.database_facts
        return cls(
            **Backup.of(manifest, beside).model_dump(),
            database_name=facts.name,
            server=f"{facts.flavour} {facts.server_version}",
            tables=facts.tables,
            files=manifest.volume_facts.files,
            report=ShownReport.of(report) if report else None,
            notices=list(manifest.warnings),
            notices_left_out=manifest.warnings_left_out,
            restore_estimate=RestoreEstimate.of(estimate) if estimate else None,
        )


_PAGED = "Ask again with it as `next` for what follows; null when that is all."


class ListedFile(BaseModel):
    """One thing that lies in a folder of a backup."""

    name: str = Field(description="To be shown: bytes that are no text are written `\\xNN`.")
    path: str = Field(
        description="What `?path=` of a download or of this list takes for it: its place below the"
        " data folder, or `base64:` and the bytes of that when they are no text.",
        examples=["document_library/20097/0/1.0"],
    )
    kind: MemberType = Field(
        description="`second-name` is a hard link to a file before it; only uploads have such."
    )
    size: int = Field(description="Bytes of a file's content; 0 for all else.")
    mtime: datetime | None = Field(
        description="UTC; null where it is not known, or beyond the year 9999."
    )

    @classmethod
    def of(cls, listed: Listed) -> Self:
        """As the index has it."""
        ns = listed.mtime_ns
        return cls(
            name=printable(listed.name.rpartition("/")[2]),
            path=path_text(listed.name),
            kind=listed.type,
            size=listed.size,
            mtime=None if ns is None else _moment(ns),
        )


def _moment(ns: int) -> datetime | None:
    """Nanoseconds since 1970 as a date; None for what is none: file systems take any number."""
    with suppress(OverflowError):
        return _EPOCH + timedelta(microseconds=ns // 1000)
    return None


class FileList(BaseModel):
    """What lies in a folder of a backup, by name."""

    path: str = Field(description="The folder; empty for the data folder itself.")
    files: list[ListedFile]
    next: str | None = Field(description=_PAGED)


class ListedExtent(BaseModel):
    """How large something of a database is."""

    size: int = Field(description="Bytes in the archive.")
    sql_size: int = Field(description="Bytes of its SQL.")

    @classmethod
    def of(cls, extent: Extent) -> Self:
        """As the index has it."""
        return cls(**extent._asdict())


class ListedTable(ListedExtent):
    """A table with its definition, rows and triggers; or a view."""

    name: str = Field(examples=["User_"])
    kind: Literal["table", "view"]
    has_triggers: bool


class TableList(BaseModel):
    """What the database of a backup holds, by name."""

    tables: list[ListedTable]
    routines: ListedExtent | None = Field(description="All of them; null when there are none.")
    events: ListedExtent | None = Field(description="All of them; null when there are none.")
    next: str | None = Field(description=_PAGED)

    @classmethod
    def of(cls, content: DumpContent, *, more: bool) -> Self:
        """As the index has it; with `more`, another page follows."""
        tables = [
            ListedTable(
                name=it.name,
                kind="view" if it.is_view else "table",
                has_triggers=it.has_triggers,
                **it.extent._asdict(),
            )
            for it in content.tables
        ]
        return cls(
            tables=tables,
            routines=ListedExtent.of(content.routines) if content.routines else None,
            events=ListedExtent.of(content.events) if content.events else None,
            next=tables[-1].name if more else None,
        )


class Download(BaseModel):
    """Where an archive can be had."""

    url: str = Field(description="Presigned: good for GET, for everybody who has it.")
    expires_at: datetime
    size: int
    sha256: str | None = Field(description=_SHA256)
    file_name: str = Field(examples=[f"{_ID}-database.tgz"])


class ReportDetail(ShownReport):
    """A report, and where the list of its differences can be had."""

    listed: int = Field(description="How many of the differences are listed.")
    download: Download = Field(
        description="JSON lines: the report itself, then the differences. At most 10,000 of a kind"
        " are listed."
    )

    @classmethod
    def at(cls, report: Report, download: Download) -> Self:
        """As it lies beside the manifest, and where."""
        return cls(**ShownReport.of(report).model_dump(), listed=report.listed, download=download)


class Started(BaseModel):
    """A run that was asked for; GET /backup/runs/{run_id} says how it goes."""

    run_id: str = Field(examples=["20261123T001500-create-0a1b2c3d"])
    state: RunState = RunState.QUEUED
    backup_id: Annotated[str | None, Field(examples=[_ID])] = None


class RunList(Paged):
    """Runs, newest first."""

    runs: list[Run]


class Health(BaseModel):
    """That the API answers."""

    status: Literal["ok"] = "ok"
    version: str


class Reason(BaseModel):
    """Why scheduled restores are paused."""

    reason: Annotated[str, Field(max_length=500)] = ""


class PinReason(BaseModel):
    """Why a backup is pinned."""

    reason: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
        Field(examples=["state before the migration to 2026.Q4; keep until the audit is over"]),
    ]
