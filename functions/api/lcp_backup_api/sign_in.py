"""Signing in by name and password, for callers who have nothing else yet.

These calls carry no credential in a header, so the guard lets them through, and looks at where they
come from and how large they are (`is_for_anybody`).
"""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Final, Literal

import jwt
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from lcp_backup_api.audit import audited
from lcp_backup_api.challenges import Challenge
from lcp_backup_api.credentials import MAX_NAME, MAX_PASSWORD
from lcp_backup_api.dependencies import TheBackend
from lcp_backup_api.identity import check_is_from_here
from lcp_backup_api.problems import TooLarge, documented
from lcp_backup_api.users import SignedIn

router = APIRouter(tags=["sign-in"])

_LOGIN: Final = "/backup/login"
_CHALLENGE: Final = f"{_LOGIN}/challenge"
_FOR_ANYBODY: Final = {("GET", _LOGIN), ("POST", _LOGIN), ("POST", _CHALLENGE)}
_LARGEST: Final = 8192
"""Bytes of a body that a stranger may have parsed."""
_REFUSALS: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.CONTENT_TOO_LARGE,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)

_ChallengeName = Literal[
    "NEW_PASSWORD_REQUIRED",
    "SOFTWARE_TOKEN_MFA",
    "SMS_MFA",
    "EMAIL_OTP",
    "SELECT_MFA_TYPE",
    "MFA_SETUP",
]
_Session = Annotated[str, Field(min_length=20, max_length=2048)]
_User = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]


class NameAndPassword(BaseModel):
    """Of a user of the pool."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    user: Annotated[_User, Field(examples=["user@domain.com"])]
    password: Annotated[SecretStr, Field(min_length=1, max_length=MAX_PASSWORD)]


class Answer(BaseModel):
    """The answer to a challenge; all but the answer as they came with it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: _ChallengeName
    session: _Session
    user: _User
    answer: Annotated[
        SecretStr,
        Field(
            min_length=1,
            max_length=MAX_PASSWORD,
            description="The code, the new password, or one of the choices.",
        ),
    ]


class Entry(BaseModel):
    """Somebody who is signed in."""

    token: str = Field(description="Send it as `Authorization: Bearer`.")
    expires_at: datetime
    name: str
    role: Literal["viewer", "admin"]


class Asked(BaseModel):
    """What the user pool asks beside name and password: answer it within three minutes."""

    name: _ChallengeName
    session: str = Field(description="Goes back with the answer.")
    user: str = Field(description="Goes back with the answer.")
    sent_to: str | None = Field(description="Where a code was sent.", examples=["+*******1234"])
    choices: list[str] = Field(description="With SELECT_MFA_TYPE: one of these is the answer.")
    secret: str | None = Field(
        description="With MFA_SETUP: for an app that makes codes; its code is the answer."
    )


class SignIn(BaseModel):
    """Either somebody is signed in, or more is asked."""

    signed_in: Entry | None = None
    challenge: Asked | None = None

    @classmethod
    def of(cls, outcome: SignedIn | Challenge) -> "SignIn":
        """As the user pool decided."""
        if isinstance(outcome, Challenge):
            return cls(challenge=Asked.model_validate(outcome, from_attributes=True))
        # It was verified a moment ago.
        claims = jwt.decode(outcome.token, options={"verify_signature": False})
        return cls(
            signed_in=Entry(
                token=outcome.token,
                expires_at=datetime.fromtimestamp(claims["exp"], UTC),
                name=outcome.caller.name,
                role=outcome.caller.role.name.lower(),  # type: ignore[arg-type] # pydantic checks it
            )
        )


class SingleSignOn(BaseModel):
    """What a page needs for the pool's hosted login: authorization code with PKCE."""

    domain: str = Field(examples=["acme.auth.eu-central-1.amazoncognito.com"])
    client_id: str


class Ways(BaseModel):
    """How one may sign in beside by name and password."""

    sso: SingleSignOn | None = Field(description="Null where no hosted login is set up.")


def is_for_anybody(method: str, path: str) -> bool:
    """Whether a call needs no credential, because it is there to get one."""
    return (method, path) in _FOR_ANYBODY


async def check(request: Request, browser_origin: str | None) -> None:
    """Raises what keeps such a call from being looked at: FromAnotherSite, TooLarge."""
    check_is_from_here(request, browser_origin)
    if len(await request.body()) > _LARGEST:
        raise TooLarge(f"a sign-in has at most {_LARGEST} bytes")


@router.get(_LOGIN, summary="How one may sign in beside by name and password", response_model=Ways)
def ways(backend: TheBackend) -> Ways:
    """For anybody."""
    domain, client_id = backend.settings.user_pool_domain, backend.settings.user_pool_client_id
    if domain is None or client_id is None:
        return Ways(sso=None)
    return Ways(sso=SingleSignOn(domain=domain, client_id=client_id))


@router.post(
    _LOGIN,
    summary="Sign in by name and password: an access token, or what the user pool asks beside it",
    responses=documented(*_REFUSALS),
    response_model=SignIn,
)
def sign_in(backend: TheBackend, request: Request, body: NameAndPassword) -> SignIn:
    """For anybody. Wrong ones are counted, together with those of basic credentials."""
    outcome = backend.users.sign_in(body.user, body.password.get_secret_value(), _source(request))
    return _told(backend, request, outcome)


@router.post(
    _CHALLENGE,
    summary="Answer what the user pool asks beside name and password",
    responses=documented(*_REFUSALS),
    response_model=SignIn,
)
def answer_challenge(backend: TheBackend, request: Request, body: Answer) -> SignIn:
    """For anybody who has begun to sign in."""
    asked = Challenge(body.name, body.session, body.user)
    outcome = backend.users.answer_challenge(
        asked, body.answer.get_secret_value(), _source(request)
    )
    return _told(backend, request, outcome)


def _told(backend: TheBackend, request: Request, outcome: SignedIn | Challenge) -> SignIn:
    if isinstance(outcome, Challenge):
        backend.log.info("a sign-in needs more", challenge=outcome.name)
        return SignIn.of(outcome)
    with audited(backend.log, request, outcome.caller, "sign in"):
        return SignIn.of(outcome)


def _source(request: Request) -> str | None:
    return request.client.host if request.client else None
