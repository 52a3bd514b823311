"""What the functions are asked: EventBridge events and the small JSON of a manual invocation."""

from datetime import UTC, datetime
from typing import Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from lcp_backup.errors import InvalidRequest
from lcp_backup.model import BackupId, BackupType

LATEST = "latest"


def _is_scheduled(event: dict[str, Any]) -> bool:
    """Whether an EventBridge rule fired; source: AWS's documented shape of a scheduled event."""
    return event.get("detail-type") == "Scheduled Event"


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @classmethod
    def _read(cls, fields: object) -> Self:
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the event"
            known = ", ".join(cls.model_fields)
            raise InvalidRequest(
                f"{where}: {first['msg'].removeprefix('Value error, ')};"
                f" the event is a JSON object that may hold {known}"
            ) from None


class CreateRequest(_Request):
    """Make a backup. Its slot is the minute of `time`, so that one event delivered twice is one."""

    time: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    type: BackupType = BackupType.MANUAL

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


class RestoreRequest(_Request):
    """Restore a backup: an id, or `latest`."""

    backup_id: str = LATEST
    only_if_new: bool = False
    """Whether a backup that was the last one restored is left alone; so it is when a rule fires."""

    @field_validator("backup_id")
    @classmethod
    def _is_an_id(cls, value: str) -> str:
        if value != LATEST:
            try:
                BackupId.parse(value)
            except InvalidRequest as error:
                raise ValueError(str(error)) from error
        return value

    @classmethod
    def read(cls, event: dict[str, Any]) -> Self:
        """From a scheduled event, or `{"backup_id": ...}`; raises InvalidRequest."""
        if _is_scheduled(event):
            return cls(only_if_new=True)
        if "backup_id" not in event:
            # A restore replaces the live data: it must never start by an empty event's default.
            raise InvalidRequest('a restore needs {"backup_id": "<id>"} or {"backup_id": "latest"}')
        return cls._read(event)


class CleanupRequest(_Request):
    """Delete what is past its time; `dry_run` only tells what would go."""

    dry_run: bool = False

    @classmethod
    def read(cls, event: dict[str, Any]) -> Self:
        """From a scheduled event or `{"dry_run": true}`; raises InvalidRequest."""
        return cls() if _is_scheduled(event) else cls._read(event)
