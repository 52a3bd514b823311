"""Who may make a call: a check before every call but health, and what routes ask of a caller."""

from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.openapi.models import APIKey, APIKeyIn, HTTPBase, HTTPBearer, SecurityBase
from fastapi.security.base import SecurityBase as SecurityScheme

from lcp_backup_api.refusals import Forbidden, FromAnotherSite
from lcp_backup_api.users import Caller, Role, Users

DXPCLOUD_AUTHORIZATION: Final = "dxpcloud-authorization"
CHALLENGE: Final = 'Basic realm="lcp-backup", charset="UTF-8", Bearer realm="lcp-backup"'
"""The `WWW-Authenticate` of every 401; one line, as API Gateway passes one value for a header."""
_CHANGES_NOTHING: Final = {"GET", "HEAD", "OPTIONS"}


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


def admitted(request: Request, users: Users, browser_origin: str | None) -> Caller:
    """The caller, when their credential holds and no other site's page sent it.

    A browser sends a name and password that it was once given with every call to this address, also
    with a form on somebody else's page. Tokens it never sends by itself. `browser_origin` is that
    of the page that may send such calls. Calls that change nothing are not looked at: a page of
    another site cannot read what they answer. (A download by POST is, as nobody needs it.)

    Raises Unauthenticated, Forbidden, Throttled, AwsError.
    """
    caller = users.identify(
        _value(request, "authorization"),
        _value(request, DXPCLOUD_AUTHORIZATION),
        request.client.host if request.client else None,
    )
    if caller.how == "basic":
        check_is_from_here(request, browser_origin)
    return caller


def check_is_from_here(request: Request, browser_origin: str | None) -> None:
    """Raises FromAnotherSite for a call that may change something, of a page of another site."""
    if request.method not in _CHANGES_NOTHING and _is_from_another_site(request, browser_origin):
        raise FromAnotherSite(
            "a page of another site sent this call, with a name and password that it guesses or"
            " that the browser remembers; call from the page whose origin is set as"
            " LCP_BROWSER_ORIGIN, by a program, or with an access token"
        )


def _is_from_another_site(request: Request, browser_origin: str | None) -> bool:
    """What the browser says; it lets no page change these headers, and programs send neither."""
    origin, site = _value(request, "origin"), _value(request, "sec-fetch-site")
    if origin is not None and origin.lower() == browser_origin:
        return False
    # Another name below the same domain ("same-site") may be anybody's, too.
    if site not in {None, "same-origin", "none"}:
        return True
    host = request.headers.get("host", "").lower()
    if origin is not None and site == "same-origin":
        # The browser knows the scheme of the page; behind a gateway this function guesses it.
        return origin.partition("://")[2].lower() != host
    return origin is not None and origin.lower() != f"{request.scope['scheme']}://{host}"


def viewer(
    request: Request,
    _basic: Annotated[None, Depends(_BASIC)],
    _bearer: Annotated[None, Depends(_BEARER)],
    _dxpcloud: Annotated[None, Depends(_DXPCLOUD)],
) -> Caller:
    """The caller, who may look and download; `admitted` was asked before."""
    caller: Caller = request.state.caller
    return caller


def admin(caller: Annotated[Caller, Depends(viewer)]) -> Caller:
    """The caller, who may do all; raises Forbidden as well for one who may only look."""
    if caller.role < Role.ADMIN:
        raise Forbidden(
            f"{caller.name} may look and download only; this needs a member of the user pool's"
            " group of admins, or the project master token"
        )
    return caller


def _value(request: Request, name: str) -> str | None:
    # A header sent twice becomes malformed, instead of one of the two being chosen silently.
    values = request.headers.getlist(name)
    return ", ".join(values) if values else None
