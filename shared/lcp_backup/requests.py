"""What the functions are asked: EventBridge events and the small JSON of a manual invocation."""

import hashlib
import re
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from lcp_backup.errors import InvalidRequest
from lcp_backup.invalid import first_problem
from lcp_backup.model import ArchiveKind, BackupId, BackupType, Manifest, RunId, RunKind
from lcp_backup.setting_values import MAX_WORKERS
from lcp_backup.volume.paths import checked_paths, path_text

LATEST = "latest"
MOST_SELECTED: Final = 1000
"""Tables or paths of one selection; who wants more wants all."""


def _checked_run_id(value: str) -> str:
    try:
        return str(RunId.parse(value))
    except InvalidRequest as error:
        raise ValueError(str(error)) from None


def _checked_backup_id(value: str) -> str:
    try:
        return str(BackupId.parse(value))
    except InvalidRequest as error:
        raise ValueError(str(error)) from None


RunIdText = Annotated[str, AfterValidator(_checked_run_id)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
_SCHEMA: Final = re.compile(r"[A-Za-z0-9_$-]{1,48}")
_Path = Annotated[str, StringConstraints(min_length=1, max_length=6000)]
"""Of 4,095 bytes, which may be written as base64."""


def _run_of(event: dict[str, Any], kind: RunKind) -> str | None:
    """A run id that is the same whenever this scheduled event is delivered; None without its id."""
    try:
        fired_at = datetime.fromisoformat(str(event["time"])).astimezone(UTC)
        digest = hashlib.sha256(str(event["id"]).encode()).hexdigest()
    except (KeyError, ValueError):
        return None
    return str(RunId(started_at=fired_at, kind=kind, token=digest[:8]))


def _is_scheduled(event: object) -> bool:
    """Whether an EventBridge rule fired; source: AWS's documented shape of a scheduled event.

    Raises InvalidRequest for what somebody sent that is no JSON object.
    """
    if not isinstance(event, dict):
        raise InvalidRequest(
            'the event: it has to be a JSON object, such as {"backup_id": "latest"}'
        )
    return event.get("detail-type") == "Scheduled Event"


class Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @classmethod
    def _read(cls, fields: object) -> Self:
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            where, message, _ = first_problem(error)
            if not where:
                # Of the whole: fields that do not go together, or no object at all.
                raise InvalidRequest(f"the event: {message}") from None
            known = ", ".join(cls.model_fields)
            raise InvalidRequest(
                f"{where}: {message}; the event is a JSON object that may hold {known}"
            ) from None


class CreateRequest(Request):
    """Make a backup. Its slot is the minute of `time`, so that one event delivered twice is one."""

    time: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    type: BackupType = BackupType.MANUAL
    run_id: RunIdText | None = None
    """The queued run that this is; None makes one."""
    workers: Annotated[int, Field(ge=1, le=MAX_WORKERS)] | None = None
    """How many functions are to pack the volume, as far as the stack allows; None: as it needs."""

    @field_validator("type")
    @classmethod
    def _not_uploaded(cls, value: BackupType) -> BackupType:
        if value is BackupType.UPLOADED:
            raise ValueError("an uploaded backup is not made by the create function")
        return value

    @classmethod
    def read(cls, event: dict[str, Any]) -> Self:
        """From a scheduled event (Auto) or `{}`, `{"time": ...}` (Manual); or InvalidRequest."""
        if _is_scheduled(event):
            return cls._read({"time": event.get("time"), "type": BackupType.AUTO})
        return cls._read(event)


def check_workers(wanted: int | None, most: int) -> None:
    """Raises InvalidRequest when several functions are asked for, and there is but one."""
    if wanted is not None and wanted > 1 and most == 1:
        raise InvalidRequest(
            f"workers: {wanted} are asked for, and this environment is deployed with Workers=1:"
            " leave workers out, or deploy with more"
        )


class RestoreRequest(Request):
    """Restore a backup (an id, or `latest`): whole, or the selection that is named.

    `tables` alone leaves the volume as it is, `paths` alone leaves the database as it is.
    """

    backup_id: str = LATEST
    only: ArchiveKind | None = None
    """Only the database, or only the volume."""
    tables: Annotated[tuple[_Name, ...], Field(max_length=MOST_SELECTED)] = ()
    """Only these tables of the database, with their triggers."""
    paths: Annotated[tuple[_Path, ...], Field(max_length=MOST_SELECTED)] = ()
    """Only these files or folders of the volume, relative to the data folder."""
    into_database: str | None = None
    """Another schema of the same server, which must not exist or be empty; the live one stays."""
    into_folder: str | None = None
    """Another folder, absolute, which must not exist or be empty; the live one stays."""
    keep_previous: bool = False
    """Whether what was live before is kept beside, to be dropped by hand."""
    scripts: bool = False
    """Whether the scripts of LCP_BACKUP_RESTORE_SCRIPTS are run before the swap."""
    run_id: RunIdText | None = None
    """The queued run that this is; None makes one."""
    workers: Annotated[int, Field(ge=1, le=MAX_WORKERS)] | None = None
    """How many functions are to restore it, as far as the stack allows; None: as needed."""
    only_if_new: bool = False
    """Whether a backup that was the last one restored is left alone; so it is when a rule fires."""

    @field_validator("backup_id")
    @classmethod
    def _is_an_id(cls, value: str) -> str:
        return value if value == LATEST else _checked_backup_id(value)

    @field_validator("into_database")
    @classmethod
    def _is_a_schemas_name(cls, value: str | None) -> str | None:
        if value is not None and _SCHEMA.fullmatch(value) is None:
            raise ValueError(
                "a schema's name is allowed: 1 to 48 letters of English, digits, _, $ and -"
            )
        return value

    @field_validator("into_folder")
    @classmethod
    def _is_absolute(cls, value: str | None) -> str | None:
        if value is not None:
            path = PurePosixPath(value)
            if not path.is_absolute() or ".." in path.parts or len(path.parts) == 1:
                raise ValueError("an absolute path without '..' is allowed")
        return value

    @model_validator(mode="after")
    def _selection_fits(self) -> Self:
        if self.only is ArchiveKind.VOLUME and (self.tables or self.into_database):
            raise ValueError("only the volume is asked for, and tables or into_database as well")
        if self.only is ArchiveKind.DATABASE and (self.paths or self.into_folder):
            raise ValueError("only the database is asked for, and paths or into_folder as well")
        if self.into_database and not self.wants_database:
            raise ValueError("into_database is given, but only paths of the volume are asked for")
        if self.into_folder and not self.wants_volume:
            raise ValueError("into_folder is given, but only tables of the database are asked for")
        return self

    @model_validator(mode="after")
    def _scripts_meet_all_tables(self) -> Self:
        if self.scripts and (not self.wants_database or self.tables):
            raise ValueError("scripts are asked for, and need the whole database to be restored")
        return self

    @property
    def wants_database(self) -> bool:
        """Whether the database, or some of its tables, is restored."""
        if self.only is not None:
            return self.only is ArchiveKind.DATABASE
        return bool(self.tables) or not self.paths

    @property
    def changes_live(self) -> bool:
        """Whether anything of the live site is replaced."""
        database = self.wants_database and self.into_database is None
        return database or (self.wants_volume and self.into_folder is None)

    @property
    def wants_volume(self) -> bool:
        """Whether the volume, or some of its files, is restored."""
        if self.only is not None:
            return self.only is ArchiveKind.VOLUME
        return bool(self.paths) or not self.tables

    def why_by_one(self, manifest: Manifest | None) -> str | None:
        """What keeps several functions from restoring this of a backup; None when nothing does.

        As far as is known without the backup, where that is None.
        """
        if self.paths:
            return "they unpack a whole volume, not some paths of it: leave workers out"
        if (
            self.wants_volume
            and manifest is not None
            and manifest.type is BackupType.UPLOADED
            and not manifest.volume_facts.in_any_order
        ):
            return (
                f"the volume of {manifest.id} was uploaded with hard links, with several members of"
                " one name, or with folders that are no members, and so has to be unpacked in its"
                " order, by one function: leave workers out, or restore the database alone by them"
            )
        return None

    def check_can_keep(self, *, restores_overwrite: bool) -> None:
        """Raises InvalidRequest when previous data is to be kept of which nothing will be left."""
        if restores_overwrite and self.is_whole and self.keep_previous:
            raise InvalidRequest(
                "keep_previous is not possible while LCP_BACKUP_RESTORE_STRATEGY is OVERWRITE,"
                " which leaves nothing of the live database: leave it out, or deploy the strategy"
                " PREPARE_AND_SWAP"
            )

    def check_can_run_scripts(self, *, restores_overwrite: bool) -> None:
        """Raises InvalidRequest when a script that fails would leave nothing of the live site."""
        if restores_overwrite and self.is_whole and self.scripts:
            raise InvalidRequest(
                "scripts are not possible while LCP_BACKUP_RESTORE_STRATEGY is OVERWRITE: one that"
                " fails would leave nothing; leave them out, or deploy the strategy"
                " PREPARE_AND_SWAP"
            )

    @property
    def is_whole(self) -> bool:
        """Whether afterwards the live site is the backup."""
        return not (
            self.only or self.tables or self.paths or self.into_database or self.into_folder
        )

    @classmethod
    def read(cls, event: dict[str, Any]) -> Self:
        """From a scheduled event, or `{"backup_id": ...}`; raises InvalidRequest."""
        if _is_scheduled(event):
            # EventBridge may deliver an event twice, and no restore that failed is repeated.
            return cls(only_if_new=True, run_id=_run_of(event, RunKind.RESTORE))
        if "backup_id" not in event:
            # A restore replaces the live data: it must never start by an empty event's default.
            raise InvalidRequest('a restore needs {"backup_id": "<id>"} or {"backup_id": "latest"}')
        for name in ("tables", "paths"):
            # A script that found nothing to name must not replace the whole site.
            if event.get(name) == []:
                raise InvalidRequest(f"{name}: it names nothing: leave it out, which means all")
        return cls._read(event)


class PauseRequest(Request):
    """Keep scheduled restores from starting (with a reason), or let them start again."""

    action: Literal["pause", "resume"]
    reason: Annotated[str, Field(max_length=500)] = ""

    @classmethod
    def find(cls, event: dict[str, Any]) -> Self | None:
        """From `{"action": "pause", "reason": ...}`; None for another event, or InvalidRequest."""
        return cls._read(event) if "action" in event else None


class UploadRequest(Request):
    """Take in an upload that was sealed; its id is that of its run."""

    upload_id: RunIdText

    @classmethod
    def read(cls, event: dict[str, Any]) -> Self:
        """From `{"upload_id": ...}`; raises InvalidRequest."""
        return cls._read(event)


class DownloadRequest(Request):
    """Assemble what is wanted of a backup into one archive, for a download."""

    backup_id: str
    kind: ArchiveKind
    paths: Annotated[tuple[_Path, ...], Field(max_length=MOST_SELECTED)] = ()
    """Only these files or folders of the volume, relative to the data folder; normalised, so that
    one selection has one spelling."""
    tables: Annotated[tuple[_Name, ...], Field(max_length=MOST_SELECTED)] = ()
    """Only these tables of the database, with their triggers."""
    workers: Annotated[int, Field(ge=1, le=MAX_WORKERS)] | None = None
    """How many functions assemble a volume; None: as many as it takes."""
    run_id: RunIdText | None = None
    """The queued run that this is; None makes one."""

    @field_validator("backup_id")
    @classmethod
    def _is_an_id(cls, value: str) -> str:
        return _checked_backup_id(value)

    @field_validator("paths")
    @classmethod
    def _spelled_in_one_way(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(path_text, checked_paths(value)))

    @model_validator(mode="after")
    def _selection_fits(self) -> Self:
        if self.kind is ArchiveKind.VOLUME and self.tables:
            raise ValueError("the volume is asked for, and tables as well: ask for the database")
        if self.kind is ArchiveKind.DATABASE and self.paths:
            raise ValueError("the database is asked for, and paths as well: ask for the volume")
        if self.kind is ArchiveKind.DATABASE and (self.workers or 1) > 1:
            raise ValueError("workers: one function takes tables out of a database; leave it out")
        return self

    @property
    def selection(self) -> tuple[str, ...]:
        """The paths, or the tables; none means all."""
        return self.paths or self.tables

    @classmethod
    def read(cls, event: dict[str, Any]) -> Self:
        """From `{"backup_id": ..., "kind": ...}`; raises InvalidRequest."""
        return cls._read(event)


class VerifyRequest(Request):
    """Verify a backup (an id, or `latest`)."""

    backup_id: str = LATEST
    run_id: RunIdText | None = None
    """The queued run that this is; None makes one."""
    workers: Annotated[int, Field(ge=1, le=MAX_WORKERS)] | None = None
    """How many functions are to work on it, as far as the stack allows; None: as it needs."""

    @field_validator("backup_id")
    @classmethod
    def _is_an_id(cls, value: str) -> str:
        return value if value == LATEST else _checked_backup_id(value)

    @classmethod
    def read(cls, event: dict[str, Any]) -> Self:
        """From a scheduled event or `{"backup_id": ...}`; raises InvalidRequest."""
        if _is_scheduled(event):
            return cls(run_id=_run_of(event, RunKind.VERIFY))
        return cls._read(event)


class ReportRequest(Request):
    """Report whether rows and files of a backup (an id, or `latest`) agree."""

    backup_id: str
    report: Literal[True]
    run_id: RunIdText | None = None
    """The queued run that this is; None makes one."""

    @field_validator("backup_id")
    @classmethod
    def _is_an_id(cls, value: str) -> str:
        return value if value == LATEST else _checked_backup_id(value)

    @classmethod
    def find(cls, event: dict[str, Any]) -> Self | None:
        """From `{"report": true, "backup_id": ...}`; None for another event, or InvalidRequest."""
        return cls._read(event) if "report" in event else None


class CleanupRequest(Request):
    """Delete what is past its time; `dry_run` only tells what would go."""

    dry_run: bool = False

    @classmethod
    def read(cls, event: dict[str, Any]) -> Self:
        """From a scheduled event or `{"dry_run": true}`; raises InvalidRequest."""
        return cls() if _is_scheduled(event) else cls._read(event)
