"""Who is calling, and a token for a caller who has only a name and password."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Literal

import jwt
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from lcp_backup.errors import InvalidRequest
from lcp_backup_api.audit import audited
from lcp_backup_api.dependencies import TheBackend, Viewer
from lcp_backup_api.problems import documented
from lcp_backup_api.refusals import LoginRefused, Unauthenticated

router = APIRouter(tags=["callers"])


class Who(BaseModel):
    """Whom a credential belongs to."""

    name: str
    role: Literal["viewer", "admin"]
    by: Literal["basic", "access token", "master token"] = Field(
        description="The kind of the credential."
    )


class Token(BaseModel):
    """An access token of the user pool."""

    token: str = Field(description="Send it as `Authorization: Bearer`.")
    expires_at: datetime


@router.get("/backup/whoami", summary="Whom the credential belongs to", response_model=Who)
def whoami(caller: Viewer) -> Who:
    return Who(name=caller.name, role=caller.role.name.lower(), by=caller.how)  # type: ignore[arg-type] # pydantic checks it


@router.post(
    "/backup/token",
    summary="An access token for a name and password, so that a program need not keep these",
    responses=documented(HTTPStatus.BAD_REQUEST),
    response_model=Token,
)
def token(caller: Viewer, backend: TheBackend, request: Request) -> Token:
    with audited(backend.log, request, caller, "token"):
        if caller.how != "basic":
            raise InvalidRequest("a token is given for a name and password only")
        try:
            issued = backend.users.token_for(request.headers["authorization"])
        except LoginRefused:
            # The password was changed since `identify` took it, a moment ago.
            raise Unauthenticated from None
        # The pool has just made it: nobody else's is read here.
        claims = jwt.decode(issued, options={"verify_signature": False})
        return Token(token=issued, expires_at=datetime.fromtimestamp(claims["exp"], UTC))
