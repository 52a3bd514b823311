"""Who is calling."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from lcp_backup_api.dependencies import Viewer

router = APIRouter(tags=["callers"])


class Who(BaseModel):
    """Whom a credential belongs to."""

    name: str
    role: Literal["viewer", "admin"]
    by: Literal["basic", "access token", "master token"] = Field(
        description="The kind of the credential."
    )


@router.get("/backup/whoami", summary="Whom the credential belongs to", response_model=Who)
def whoami(caller: Viewer) -> Who:
    return Who(name=caller.name, role=caller.role.name.lower(), by=caller.how)  # type: ignore[arg-type] # pydantic checks it
