"""What the backups take: bytes over time, what lies there now, and what a month of that costs."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Final, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from lcp_backup.catalog.usage import Usage as StoredUsage
from lcp_backup.model import BackupType, Manifest
from lcp_backup_api.dependencies import TheBackend, TheNext, Viewer
from lcp_backup_api.outlook import whole_size
from lcp_backup_api.problems import documented
from lcp_backup_api.schemas import Paged

router = APIRouter(tags=["usage"])

USD_PER_GB_MONTH: Final = 0.023
"""S3 Standard's list price for the first 50 TB, without discounts and taxes."""
PRICE_REGION: Final = "us-east-1"
PRICE_SOURCE: Final = "https://gist.github.com/EverettBerry/a37438006529a55f42da6fdbc44a505c"
"""As docs/cost.md has it."""
_GB: Final = 2**30
"""S3's prices are for binary gigabytes.

Source: https://aws.amazon.com/s3/faqs/ (how will I be charged)
"""


class BackupUsage(BaseModel):
    """What one backup takes by itself."""

    backup_id: str
    type: BackupType
    created_at: datetime
    seconds: float = Field(description="How long it took to make.")
    stored_bytes: int = Field(description="Bytes of its own archives.")
    whole_bytes: int = Field(description="Bytes that a restore brings back: SQL and files.")
    pinned: bool

    @classmethod
    def of(cls, manifest: Manifest, *, pinned: bool) -> Self:
        """From its manifest."""
        return cls(
            backup_id=manifest.id,
            type=manifest.type,
            created_at=manifest.published_at,
            seconds=(manifest.published_at - manifest.started_at).total_seconds(),
            stored_bytes=manifest.size,
            whole_bytes=whole_size(manifest),
            pinned=pinned,
        )


class Live(BaseModel):
    """What lies in the bucket now. Versions of what was deleted, which S3 keeps for a week, and
    parts of uploads that nobody completed are not counted: they cannot be listed."""

    total_bytes: int
    backups_bytes: int
    retired_bytes: int = Field(description="Archives of deleted backups that others still read.")
    unfinished_bytes: int = Field(
        description="Volumes stored in part, and what runs under way or dead ones have written."
    )
    downloads_bytes: int
    uploads_bytes: int
    complete: bool = Field(description="False where there is too much to count: all is more then.")

    @classmethod
    def of(cls, usage: StoredUsage) -> Self:
        """As it was counted."""
        return cls(
            total_bytes=usage.total,
            backups_bytes=usage.backups,
            retired_bytes=usage.retired,
            unfinished_bytes=usage.unfinished,
            downloads_bytes=usage.downloads,
            uploads_bytes=usage.uploads,
            complete=usage.is_complete,
        )


class Month(BaseModel):
    """What storing it costs for a month, at a list price; requests and functions come on top."""

    usd: float
    usd_per_gb: float = USD_PER_GB_MONTH
    storage_class: str = "STANDARD"
    region: str = PRICE_REGION
    source: str = PRICE_SOURCE


class Usage(Paged):
    """Backups with what they take, newest first, and what there is in all."""

    backups: list[BackupUsage]
    live: Live | None = Field(description="Null on every page but the first.")
    month: Month | None = Field(description="What `live.total_bytes` cost; null as that is.")


@router.get(
    "/backup/usage",
    summary="What the backups take, and what that costs",
    responses=documented(HTTPStatus.BAD_REQUEST),
    response_model=Usage,
)
def usage(
    _caller: Viewer,
    backend: TheBackend,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: TheNext = None,
) -> Usage:
    catalog = backend.catalog
    # (Bytes that lie there are counted all the same.)
    page = catalog.page(limit, after, backups=True)
    manifests = [it for it in page.records if isinstance(it, Manifest)]
    pins = catalog.pins.of_all(manifests)
    stored = catalog.bytes.count() if after is None else None
    return Usage(
        backups=[BackupUsage.of(it, pinned=it.id in pins) for it in manifests],
        next=page.last,
        live=Live.of(stored) if stored else None,
        month=Month(usd=round(stored.total / _GB * USD_PER_GB_MONTH, 4)) if stored else None,
    )
