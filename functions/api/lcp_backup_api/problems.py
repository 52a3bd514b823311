"""Every error as `application/problem+json` (RFC 9457), from one table."""

from http import HTTPStatus
from typing import Any, Final, NamedTuple
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from lcp_backup import errors
from lcp_backup.invalid import Invalid
from lcp_backup_api import calls, refusals
from lcp_backup_api.backend import Backend
from lcp_backup_api.identity import CHALLENGE

MEDIA_TYPE: Final = "application/problem+json"
_NO_CALL: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
_URN: Final = "urn:lcp-backup:problem:"
_LONGEST_DETAIL: Final = 1200
"""Characters; names that somebody made up come back cut."""


class Problem(BaseModel):
    """What went wrong, and what to do."""

    type: str = Field(examples=[f"{_URN}not-found"], description="Stable; tell errors apart by it.")
    title: str
    status: int
    detail: str
    action: str = Field(description="What to do about it.")
    backup_id: str | None = None
    run_id: str | None = None


class Row(NamedTuple):
    """How one family of errors is told over HTTP."""

    status: HTTPStatus
    title: str
    action: str
    headers: dict[str, str] = {}  # noqa: RUF012 -- nobody changes it


_LATER: Final = {"Retry-After": "30"}

TABLE: Final[dict[type[Exception], Row]] = {
    refusals.Unauthenticated: Row(
        HTTPStatus.UNAUTHORIZED,
        "Who are you?",
        "Send a name and password of the user pool, an access token, or the project master token.",
        {"WWW-Authenticate": CHALLENGE},
    ),
    refusals.WrongAnswer: Row(
        HTTPStatus.UNAUTHORIZED,
        "Not the right code",
        "Answer the same challenge again, with the code that is shown or was sent last.",
        {"WWW-Authenticate": CHALLENGE},
    ),
    refusals.SignInExpired: Row(
        HTTPStatus.UNAUTHORIZED,
        "Sign in again",
        "Begin again with name and password: POST /backup/login.",
        {"WWW-Authenticate": CHALLENGE},
    ),
    refusals.PasswordRefused: Row(
        HTTPStatus.BAD_REQUEST,
        "Not a password for this user pool",
        "Answer the same challenge again, with a password as the detail asks for it.",
    ),
    refusals.ChallengeUnsupported: Row(
        HTTPStatus.FORBIDDEN,
        "This cannot be asked here",
        "Sign in once on the user pool's own page, or ask an operator to set the user up.",
    ),
    refusals.Forbidden: Row(
        HTTPStatus.FORBIDDEN,
        "This needs an admin",
        "Ask an operator to put the user into the user pool's group of admins.",
    ),
    refusals.NotAMember: Row(
        HTTPStatus.FORBIDDEN,
        "This needs a viewer or an admin",
        "Ask an operator to put the user into one of the groups that the detail names.",
    ),
    refusals.FromAnotherSite: Row(
        HTTPStatus.FORBIDDEN,
        "Another site's page sent this",
        "Call by a program such as curl, or with an access token.",
    ),
    errors.Throttled: Row(
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many logins",
        "Wait a minute, and use an access token for many calls.",
        {"Retry-After": "60"},
    ),
    errors.InvalidRequest: Row(
        HTTPStatus.BAD_REQUEST,
        "The request is not understood",
        "Correct what the detail names; /backup/openapi.json says what is allowed.",
    ),
    errors.NotFound: Row(
        HTTPStatus.NOT_FOUND,
        "There is no such thing",
        "GET /backup/list and GET /backup/runs say what there is.",
    ),
    errors.LeaseHeld: Row(
        HTTPStatus.CONFLICT,
        "Another run is writing",
        "Wait for the run that the detail names, then call again.",
        _LATER,
    ),
    errors.Pinned: Row(
        HTTPStatus.CONFLICT,
        "The backup is pinned",
        "Unpin it first: DELETE /backup/{id}/pin. Then call again.",
    ),
    errors.Conflict: Row(
        HTTPStatus.CONFLICT,
        "Something else is under way",
        "Look at it again, then call again.",
        _LATER,
    ),
    errors.DownloadNotReady: Row(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The archive is being assembled",
        "Call again in a few seconds, as curl --retry 10 does.",
        {"Retry-After": "10"},
    ),
    errors.DownloadFailed: Row(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The archive could not be assembled",
        "Do what the detail says; the same call tries anew once two minutes have passed.",
    ),
    errors.BackupDamaged: Row(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The backup is damaged",
        "Use another backup; docs/operations.md says what can be done about this one.",
    ),
    errors.ArchiveError: Row(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The file cannot be used",
        "Correct the file as the detail says, and upload it anew.",
    ),
    errors.StorageError: Row(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "S3 does not answer as expected",
        "Call again in a while; the function's log has the details.",
        _LATER,
    ),
    errors.AwsError: Row(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "An AWS service does not answer as expected",
        "Call again in a while; the function's log has the details.",
        _LATER,
    ),
    errors.UnknownFormat: Row(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "A stored document cannot be read",
        "If a newer version of the service wrote it, deploy that one. If not, it is damaged: see"
        " unknown-format in docs/errors.md.",
    ),
    errors.SettingsError: Row(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The service is not set up",
        "An operator has to correct the variable that the detail or the function's log names.",
    ),
    errors.BackupError: Row(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "It failed",
        "The function's log has the details.",
    ),
}
"""The first class of an error's family that is in here decides."""

_UNEXPECTED: Final = Row(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "Something unexpected happened",
    "The function's log has the details, under the request id that the detail names.",
)
_MALFORMED_CODE: Final = "malformed-body"
_MALFORMED: Final = Row(
    HTTPStatus.BAD_REQUEST,
    "The body cannot be read",
    "Send the body whole, in the form that its Content-Type names (a form with its boundary).",
)
OTHER: Final[dict[HTTPStatus, tuple[str, Row]]] = {
    HTTPStatus.BAD_REQUEST: (_MALFORMED_CODE, _MALFORMED),
    HTTPStatus.NOT_FOUND: (
        "no-such-path",
        Row(
            HTTPStatus.NOT_FOUND,
            "There is nothing at this path",
            "/backup/openapi.json lists all calls.",
        ),
    ),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        "method-not-allowed",
        Row(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "Not by this method",
            "/backup/openapi.json lists all calls.",
        ),
    ),
    HTTPStatus.CONTENT_TOO_LARGE: (
        "too-large",
        Row(
            HTTPStatus.CONTENT_TOO_LARGE,
            "Too large for one call",
            "Upload by presigned URLs: POST /backup/upload with the sizes as JSON.",
        ),
    ),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: (
        "unsupported-media-type",
        Row(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "Not in this form",
            "Send multipart/form-data with both files, or application/json with both sizes.",
        ),
    ),
}
"""What the framework refuses, by status: the code, and how it is told."""


class MalformedBody(HTTPException):
    """A body that is not what its Content-Type says."""

    def __init__(self, detail: str) -> None:
        super().__init__(HTTPStatus.BAD_REQUEST, detail)


class TooLarge(HTTPException):
    """A body that does not fit one call."""

    def __init__(self, detail: str) -> None:
        super().__init__(HTTPStatus.CONTENT_TOO_LARGE, detail)


class UnsupportedMediaType(HTTPException):
    """A body in a form that the call does not take."""

    def __init__(self, detail: str) -> None:
        super().__init__(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail)


def request_id(request: Request) -> str:
    """What a call is known by: API Gateway's id of it, which is in its log and in its answer's
    `apigw-requestid`; otherwise a new one."""
    event = request.scope.get("aws.event") or {}
    return str(event.get("requestContext", {}).get("requestId") or uuid4())


def answer(request: Request, error: Exception) -> JSONResponse:
    """The problem that an error is, as a response.

    Where the response tells less than is known, the log tells all, under the request's id.
    """
    if isinstance(error, HTTPException) and error.status_code in _NO_CALL:
        return _no_call(request, error)
    if isinstance(error, HTTPException):
        code, row = OTHER.get(HTTPStatus(error.status_code), (errors.UNEXPECTED, _UNEXPECTED))
        headers = {**(error.headers or {}), **row.headers}
        return _response(request, code, row._replace(status=HTTPStatus(error.status_code)),
                         str(error.detail), headers=headers)  # fmt: skip
    if isinstance(error, RequestValidationError):
        # (FastAPI's error is none of pydantic's, but made of theirs.)
        first = error.errors()[0]
        where, message, is_malformed = Invalid.of(first)
        if isinstance(first.get("input"), bytes):
            # FastAPI takes for JSON only what says that it is; curl's -d says that it is a form.
            message = "it is taken for JSON only with the header 'Content-Type: application/json'"
        part, _, field = where.partition(".")
        # (Behind `body`, of what is no JSON, stands the character where it ends to be some.)
        named = f"the {part}" if is_malformed or not field else field
        detail = f"{named}: {message}"
        if is_malformed:
            return _response(request, _MALFORMED_CODE, _MALFORMED, detail)
        kind = errors.InvalidRequest
        return _response(request, kind.code, TABLE[kind], detail)
    row = next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), _UNEXPECTED)
    if not isinstance(error, errors.BackupError) or error.is_explained_by_log:
        backend: Backend = request.app.state.backend
        said = "a call failed" if row is not _UNEXPECTED else "an error that nobody foresaw"
        backend.log.error(said, error=errors.code_of(error), reason=str(error), exc_info=error)
    detail = errors.told(error, f"request id {request.state.id}")
    return _response(
        request,
        errors.code_of(error),
        row,
        detail,
        backup_id=getattr(error, "backup_id", None),
        run_id=getattr(error, "run_id", None),
    )


def _no_call(request: Request, error: HTTPException) -> JSONResponse:
    called = f"{request.method[:20]} {request.scope['path'][:200]} is no call"
    below = calls.below(request)
    # (Starlette takes /backup/restore for the path of a backup, by another method.)
    if error.status_code == HTTPStatus.NOT_FOUND or below:
        code, row = OTHER[HTTPStatus.NOT_FOUND]
        return _response(
            request, code, row, f"{called}: there is {'; '.join(below)}" if below else called
        )
    code, row = OTHER[HTTPStatus.METHOD_NOT_ALLOWED]
    # Of the files of the console only Starlette knows.
    allowed = calls.allowed(request) or (error.headers or {}).get("Allow", "")
    told = f"{called}: this path takes {allowed}"
    return _response(request, code, row, told, headers={"Allow": allowed})


def install(app: FastAPI) -> None:
    """Makes the app answer every error by the table."""

    async def handle(request: Request, error: Exception) -> JSONResponse:
        return answer(request, error)

    for kind in (errors.BackupError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: that it may answer with these problems."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {int(status): {"description": status.phrase, "content": content} for status in statuses}


def _response(
    request: Request,
    code: str,
    row: Row,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    backup_id: str | None = None,
    run_id: str | None = None,
) -> JSONResponse:
    ids = {
        name: value[:200]
        for name in ("backup_id", "run_id")
        if (value := request.path_params.get(name)) is not None
    }
    for name, value in (("backup_id", backup_id), ("run_id", run_id)):
        if value is not None:
            ids.setdefault(name, value)
    # JSON can spell half a character, which an answer cannot hold.
    whole = detail[:_LONGEST_DETAIL].encode(errors="replace").decode()
    problem = Problem(
        type=f"{_URN}{code}",
        title=row.title,
        status=row.status,
        detail=whole,
        action=row.action,
        **ids,
    )
    return JSONResponse(
        problem.model_dump(exclude_none=True),
        status_code=row.status,
        headers=headers or row.headers,
        media_type=MEDIA_TYPE,
    )
