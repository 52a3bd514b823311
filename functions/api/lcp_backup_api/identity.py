"""Who may make a call: the two dependencies that every route but the health call has one of."""

from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.openapi.models import APIKey, APIKeyIn, HTTPBase, HTTPBearer, SecurityBase
from fastapi.security.base import SecurityBase as SecurityScheme

from lcp_backup.errors import Forbidden
from lcp_backup.users import ADMIN_GROUP, Caller, Role, Users

DXPCLOUD_AUTHORIZATION: Final = "dxpcloud-authorization"
CHALLENGE: Final = 'Basic realm="lcp-backup", charset="UTF-8", Bearer realm="lcp-backup"'
"""The `WWW-Authenticate` of every 401; one line, as API Gateway passes one value for a header."""


class _Declared(SecurityScheme):
    """A way to identify oneself as OpenAPI tells it; what a request holds, `Users` judges.

    FastAPI's own schemes read the header as well, and answer a malformed one in their own form.
    """

    def __init__(self, name: str, model: SecurityBase) -> None:
        self.scheme_name = name
        self.model = model

    def __call__(self) -> None:
        """Reads nothing."""


_BASIC = _Declared(
    "basic", HTTPBase(scheme="basic", description="Name and password of a user of the user pool.")
)
_BEARER = _Declared(
    "bearer",
    HTTPBearer(
        scheme="bearer",
        description="An access token of a user of the user pool, or the project master token.",
    ),
)
_DXPCLOUD = _Declared(
    "dxpcloud",
    APIKey.model_validate(
        {
            "in": APIKeyIn.header,
            "name": DXPCLOUD_AUTHORIZATION,
            "description": "`Bearer` and an access token of a user of the user pool. Where it is"
            " there, `Authorization` is not looked at.",
        }
    ),
)


def viewer(
    request: Request,
    _basic: Annotated[None, Depends(_BASIC)],
    _bearer: Annotated[None, Depends(_BEARER)],
    _dxpcloud: Annotated[None, Depends(_DXPCLOUD)],
) -> Caller:
    """The caller, who may look and download; `app.state.users` identifies him.

    Raises Unauthenticated, Throttled, AwsError.
    """
    users: Users = request.app.state.users
    return users.identify(_value(request, "authorization"), _value(request, DXPCLOUD_AUTHORIZATION))


def admin(caller: Annotated[Caller, Depends(viewer)]) -> Caller:
    """The caller, who may do all; raises Forbidden as well for one who may only look."""
    if caller.role < Role.ADMIN:
        raise Forbidden(
            f"{caller.name} may look and download only; this needs a member of the group"
            f" {ADMIN_GROUP!r} of the user pool, or the project master token"
        )
    return caller


def _value(request: Request, name: str) -> str | None:
    # A header sent twice becomes malformed, instead of one of the two being chosen silently.
    values = request.headers.getlist(name)
    return ", ".join(values) if values else None
