"""What an environment is set to, as far as its callers need it."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from lcp_backup.setting_values import Period
from lcp_backup_api.dependencies import TheBackend, Viewer

router = APIRouter(tags=["environment"])


class Environment(BaseModel):
    """The environment that this API is of."""

    project: str = Field(examples=["acme"])
    environment: str = Field(examples=["prd"])
    type: str = Field(examples=["production"])
    retention_days: int
    keep: dict[Period, int] | None = Field(
        description="Of how many periods the newest backup is kept; null keeps all."
    )
    time_limit_seconds: int = Field(description="How long a run may take.")
    restores_from: str | None = Field(
        description="The prefix of the environment that scheduled restores follow; null where there"
        " are none."
    )


@router.get(
    "/backup/environment", summary="What the environment is set to", response_model=Environment
)
def environment(_caller: Viewer, backend: TheBackend) -> Environment:
    settings = backend.settings
    return Environment(
        project=settings.project_id,
        environment=settings.environment_id,
        type=settings.environment_type,
        retention_days=settings.backup_retention_days,
        keep=settings.backup_keep,
        time_limit_seconds=settings.function_timeout,
        restores_from=settings.source_prefix if settings.backup_restore_schedule else None,
    )
