"""Uploads: small files in one form, files of any size straight to S3."""

import re
import time
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile

from lcp_backup.errors import ArchiveRefused, InvalidRequest
from lcp_backup.invalid import first_problem
from lcp_backup.jobs.queued_run import queued
from lcp_backup.model import ArchiveKind, Run, RunKind, RunState, Upload
from lcp_backup.uploads import SignedFile, were_refused
from lcp_backup_api.audit import audited
from lcp_backup_api.backend import Backend
from lcp_backup_api.dependencies import Admin, TheBackend, TheUploadId
from lcp_backup_api.problems import MalformedBody, TooLarge, UnsupportedMediaType, documented
from lcp_backup_api.schemas import Started

router = APIRouter(tags=["uploads"])

LARGEST_FORM: Final = 4_500_000
"""Bytes of a form: Lambda takes 6 MB, and the form comes to it in base64.

Source: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""
_SHA256: Final = re.compile("[0-9a-fA-F]{64}")
_POLL_SECONDS: Final = 0.3
_URL_LIVES: Final = 15 * 60
_URL_LIVES_AT_MOST: Final = 60 * 60


def _checked_sha256(value: str) -> str:
    if _SHA256.fullmatch(value) is None:
        raise ValueError("it has to be 64 hexadecimal digits")
    return value


_Sha256 = Annotated[
    str,
    AfterValidator(_checked_sha256),
    Field(json_schema_extra={"pattern": f"^{_SHA256.pattern}$"}),
]


class Announced(BaseModel):
    """A file that is going to be sent."""

    model_config = ConfigDict(extra="forbid")

    size: int = Field(gt=0, description="Bytes.")
    sha256: _Sha256 | None = Field(None, description="Checked when the upload is taken in.")


class Announcement(BaseModel):
    """The two files of a backup."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"database": {"size": 1024}, "volume": {"size": 4096}}]},
    )

    database: Announced
    volume: Announced


class Part(BaseModel):
    """Where some of a file's bytes are to be PUT."""

    number: int
    offset: int
    size: int
    arrived: bool = Field(description="These bytes lie there already; they may be sent again.")
    url: str


class Destination(BaseModel):
    """Where a file is to be PUT: whole to `url`, or else in `parts`."""

    size: int
    arrived: bool = Field(description="All of its bytes lie there already.")
    url: str | None
    parts: list[Part]

    @classmethod
    def of(cls, file: SignedFile) -> "Destination":
        """As it was signed."""
        parts = [Part(**vars(part)) for part in file.parts]
        return cls(size=file.size, arrived=file.arrived, url=file.url, parts=parts)


class OpenUpload(BaseModel):
    """An upload, with URLs that are good until `expires_at`; ask for it again for fresh ones."""

    upload_id: str = Field(examples=["20261123T001500-upload-0a1b2c3d"])
    expires_at: str
    database: Destination
    volume: Destination


class TakenIn(BaseModel):
    """A backup that was made of two files."""

    backup_id: str = Field(serialization_alias="backupId")
    run_id: str


type Expires = Annotated[
    int, Query(ge=1, le=_URL_LIVES_AT_MOST, description="Seconds that the URLs are good for.")
]

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["database", "volume"],
                    "properties": {
                        "database": {"type": "string", "format": "binary"},
                        "volume": {"type": "string", "format": "binary"},
                    },
                }
            },
            "application/json": {"schema": {"$ref": "#/components/schemas/Announcement"}},
        },
    }
}


@router.post(
    "/backup/upload",
    summary="Upload a backup: both files as a form, or their sizes to get presigned URLs",
    status_code=HTTPStatus.CREATED,
    response_model=None,
    responses={
        201: {
            "description": "A form was taken in; or, for JSON, where to send the files",
            "content": {
                "application/json": {
                    "schema": {
                        "anyOf": [
                            {"$ref": "#/components/schemas/TakenIn"},
                            {"$ref": "#/components/schemas/OpenUpload"},
                        ]
                    }
                }
            },
        },
        202: {
            "description": "A form that is still being taken in, or will be tried again: its run"
            " tells. Only a form whose files are refused is answered 422",
            "model": Started,
        },
        **documented(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.CONFLICT,
            HTTPStatus.CONTENT_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            HTTPStatus.UNPROCESSABLE_ENTITY,
        ),
    },
    openapi_extra=_FORM,
)
async def upload(
    caller: Admin, backend: TheBackend, request: Request, expires: Expires = _URL_LIVES
) -> Response:
    form = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if form == "multipart/form-data":
        files = await _files(request)
        with audited(backend.log, request, caller, "upload form") as subject:
            return await run_in_threadpool(_take_in, backend, caller.name, files, subject)
    if form != "application/json":
        raise UnsupportedMediaType(f"the content type is {form[:100] or 'not given'}")
    announced = _announcement(await request.body())
    with audited(backend.log, request, caller, "upload open") as subject:
        answer = await run_in_threadpool(_open, backend, caller.name, announced, expires)
        subject["upload_id"] = answer.upload_id
    headers = {"Location": f"/backup/upload/{answer.upload_id}"}
    return JSONResponse(answer.model_dump(), HTTPStatus.CREATED, headers)


@router.get(
    "/backup/upload/{upload_id}",
    summary="Fresh URLs for an upload that is open, and what has arrived",
    response_model=OpenUpload,
    responses=documented(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
def sign_again(
    caller: Admin,
    backend: TheBackend,
    upload_id: TheUploadId,
    request: Request,
    expires: Expires = _URL_LIVES,
) -> OpenUpload:
    with audited(backend.log, request, caller, "upload sign", upload_id=upload_id):
        return _signed(backend, backend.uploads.get(upload_id), expires)


@router.delete(
    "/backup/upload/{upload_id}",
    summary="Give an upload up",
    status_code=HTTPStatus.NO_CONTENT,
    responses=documented(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
def abandon(caller: Admin, backend: TheBackend, upload_id: TheUploadId, request: Request) -> None:
    with audited(backend.log, request, caller, "upload abandon", upload_id=upload_id):
        backend.uploads.abandon(upload_id)


@router.post(
    "/backup/upload/{upload_id}/complete",
    summary="All was sent: check it, and make it a backup",
    status_code=HTTPStatus.ACCEPTED,
    response_model=Started,
    responses=documented(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
def complete(
    caller: Admin, backend: TheBackend, upload_id: TheUploadId, request: Request, answer: Response
) -> Started:
    with audited(backend.log, request, caller, "upload complete", upload_id=upload_id):
        run = _start_intake(backend, upload_id)
    answer.headers["Location"] = f"/backup/runs/{run.id}"
    return Started(run_id=run.id, state=run.state)


def _announcement(body: bytes) -> Announcement:
    try:
        return Announcement.model_validate_json(body)
    except ValidationError as error:
        where, message, is_malformed = first_problem(error)
        if is_malformed:
            raise MalformedBody(f"the body: {message}") from None
        raise InvalidRequest(f"{where or 'the body'}: {message}") from None


async def _files(request: Request) -> dict[ArchiveKind, bytes]:
    size = request.headers.get("content-length", "")
    # By its digits first: Python reads no number of thousands of them.
    if size.isascii() and size.isdigit() and (len(size) > 20 or int(size) > LARGEST_FORM):  # noqa: PLR2004
        raise TooLarge(f"the form has {size[:20]} bytes, and {LARGEST_FORM} fit")
    # (What is not told its size was held back by API Gateway at 10 MB.)
    found: dict[ArchiveKind, bytes] = {}
    try:
        async with request.form(max_files=4, max_fields=4) as form:
            for kind in ArchiveKind:
                file = form.get(kind)
                if not isinstance(file, UploadFile):
                    why = "it is text: put an @ before the file's name" if file else "it has none"
                    raise InvalidRequest(
                        f"the form needs a file database and a file volume; {kind}: {why}"
                    )
                found[kind] = await file.read()
    except ValueError as error:  # of a charset that decodes nothing, for one
        raise MalformedBody("the form cannot be read") from error
    if sum(map(len, found.values())) > LARGEST_FORM:
        raise TooLarge(f"the files have more than the {LARGEST_FORM} bytes that fit")
    return found


def _open(backend: Backend, by: str, announced: Announcement, expires: int) -> OpenUpload:
    files = {ArchiveKind.DATABASE: announced.database, ArchiveKind.VOLUME: announced.volume}
    upload = backend.uploads.open(
        {kind: file.size for kind, file in files.items()},
        {kind: file.sha256 for kind, file in files.items() if file.sha256 is not None},
        by,
    )
    return _signed(backend, upload, expires)


def _signed(backend: Backend, upload: Upload, expires: int) -> OpenUpload:
    files = backend.uploads.signed(upload, timedelta(seconds=expires))
    return OpenUpload(
        upload_id=upload.id,
        expires_at=files[ArchiveKind.DATABASE].expires_at.isoformat(),
        database=Destination.of(files[ArchiveKind.DATABASE]),
        volume=Destination.of(files[ArchiveKind.VOLUME]),
    )


def _start_intake(backend: Backend, upload_id: str) -> Run:
    """The queued run that takes the upload in; its function was started."""
    backend.catalog.lease.check_is_free()
    run = backend.uploads.seal(upload_id)
    with queued(backend.catalog, run.id, backend.log):
        backend.start(backend.function_for(RunKind.UPLOAD), {"upload_id": upload_id})
    return run


def _take_in(
    backend: Backend, by: str, files: dict[ArchiveKind, bytes], subject: dict[str, Any]
) -> Response:
    """Small files: sent on, taken in, and waited for, as the original's scripts expect."""
    upload = backend.uploads.open({kind: len(body) for kind, body in files.items()}, {}, by)
    subject["upload_id"] = upload.id
    for kind, body in files.items():
        backend.uploads.put(upload.id, kind, body)
    run = _start_intake(backend, upload.id)
    until = backend.catalog.now() + backend.longest_wait
    while not run.state.ended and backend.catalog.now() < until:
        time.sleep(_POLL_SECONDS)
        run = backend.catalog.runs.get(run.id)
    if were_refused(run):
        reason = run.error.message if run.error else "see the run"
        raise ArchiveRefused(f"run {run.id} did not take the files in: {reason}")
    if run.state is RunState.SUCCEEDED and run.backup_id is not None:
        taken = TakenIn(backup_id=run.backup_id, run_id=run.id)
        headers = {"Location": f"/backup/{run.backup_id}"}
        return JSONResponse(taken.model_dump(by_alias=True), HTTPStatus.CREATED, headers)
    # It may have failed, too, for another reason than its files: they are kept, and the upload may
    # be completed again. While another run writes it is queued, and Lambda tries again.
    started = Started(run_id=run.id, state=run.state)
    headers = {"Location": f"/backup/runs/{run.id}"}
    return JSONResponse(started.model_dump(mode="json"), HTTPStatus.ACCEPTED, headers)
