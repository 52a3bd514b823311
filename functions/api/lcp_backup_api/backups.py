"""Backups: listed, looked at, downloaded, made, deleted."""

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse

from lcp_backup.catalog import Catalog
from lcp_backup.errors import Conflict
from lcp_backup.jobs.queued_run import queued
from lcp_backup.jobs.retirement import delete_backup as delete
from lcp_backup.model import ArchiveKind, BackupId, Manifest, Run, RunKind, RunState
from lcp_backup_api.audit import audited
from lcp_backup_api.dependencies import Admin, TheBackend, TheBackupId, TheNext, Viewer
from lcp_backup_api.problems import documented
from lcp_backup_api.schemas import Backup, BackupDetail, BackupList, Download, Started

router = APIRouter(tags=["backups"])

LARGEST_ANSWER: Final = 4 * 1024 * 1024
"""Bytes of an archive that a function can answer with itself: Lambda's 6 MB hold an answer in
base64, with its headers.

Source: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""
_URL_LIVES: Final = 15 * 60
_URL_LIVES_AT_MOST: Final = 60 * 60
"""Seconds; a URL dies with the role session that signed it, so longer would be a promise broken."""

_HOW_TO_FOLLOW = (
    "{kind} of {backup_id} is too large for one answer: {size} bytes. Follow the redirect, with"
    " curl: curl -L (and no -X POST, which would be sent on), or ask with Accept: application/json"
    " for the URL.\n"
)

type Expires = Annotated[
    int, Query(ge=1, le=_URL_LIVES_AT_MOST, description="Seconds that the URL is good for.")
]


@router.get(
    "/backup/list",
    summary="List backups, newest first",
    responses=documented(HTTPStatus.BAD_REQUEST),
    response_model=BackupList,
)
def list_backups(
    _caller: Viewer,
    backend: TheBackend,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    status: Annotated[
        Literal["succeeded", "failed", "all"],
        Query(description="Backups that exist, runs that made none, or both."),
    ] = "succeeded",
    after: TheNext = None,
) -> BackupList:
    page = backend.catalog.page(
        limit,
        after,
        backups=status != "failed",
        kinds=() if status == "succeeded" else (RunKind.CREATE, RunKind.UPLOAD),
        states=(RunState.FAILED,),
    )
    found = [Backup.failed(it) if isinstance(it, Run) else Backup.of(it) for it in page.records]
    if status != "succeeded":
        # Backups alone are by slot, as `latest` means it: an upload or a late event may have begun
        # in another order. Among runs it is the order in which they began.
        found.sort(key=lambda it: it.started_at, reverse=True)
    return BackupList(backups=found, next=page.last)


@router.get(
    "/backup/{backup_id}",
    summary="Look at one backup",
    responses=documented(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND),
    response_model=BackupDetail,
)
def show_backup(_caller: Viewer, backend: TheBackend, backup_id: TheBackupId) -> BackupDetail:
    return BackupDetail.of(backend.catalog.backups.get(backup_id))


@router.delete(
    "/backup/{backup_id}",
    summary="Delete one backup",
    status_code=HTTPStatus.NO_CONTENT,
    responses=documented(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
def delete_backup(
    caller: Admin, backend: TheBackend, backup_id: TheBackupId, request: Request
) -> None:
    """Makes the backup not exist, also the newest: who asks for it by its id means it.

    Refused while a run is at work on it.
    """
    with audited(backend.log, request, caller, "delete", backup_id=backup_id):
        manifest = backend.catalog.backups.get(backup_id)
        if backend.catalog.lease.backup_in_use() == backup_id:
            raise Conflict(f"a run is at work on backup {backup_id}")
        delete(backend.catalog, manifest)


@router.post(
    "/backup/create",
    summary="Make a backup now",
    status_code=HTTPStatus.ACCEPTED,
    responses=documented(HTTPStatus.CONFLICT),
    response_model=Started,
)
def create_backup(
    caller: Admin, backend: TheBackend, request: Request, answer: Response
) -> Started:
    catalog = backend.catalog
    with audited(backend.log, request, caller, "create") as subject:
        catalog.lease.check_is_free()
        now = catalog.now()
        settings = backend.settings
        wanted = BackupId.of(settings.project_id, settings.environment_id, now)
        backup_id = str(catalog.backups.id_for(wanted))
        run = catalog.runs.queue(catalog.runs.new_id(RunKind.CREATE), RunKind.CREATE, backup_id)
        subject["run_id"] = run.id
        with queued(catalog, run.id, backend.log):
            event: dict[str, object] = {"time": now.isoformat(), "run_id": run.id}
            backend.start(backend.function_for(RunKind.CREATE), event)
    answer.headers["Location"] = f"/backup/runs/{run.id}"
    return Started(run_id=run.id, state=run.state, backup_id=backup_id)


_DOWNLOADED = {
    200: {
        "description": "The archive, when it is small; or where it can be had, as JSON",
        "content": {
            "application/gzip": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {"schema": {"$ref": "#/components/schemas/Download"}},
        },
    },
    303: {
        "description": "Where a larger archive can be had; the body says how to follow",
        "content": {"text/plain": {"schema": {"type": "string"}}},
        "headers": {"Location": {"schema": {"type": "string"}}},
    },
    **documented(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND),
}


@router.get(
    "/backup/download/{kind}/{backup_id}",
    summary="Download an archive",
    response_class=Response,
    responses=_DOWNLOADED,
    operation_id="download",
)
@router.post(
    "/backup/download/{kind}/{backup_id}",
    summary="Download an archive, as the original service's scripts do",
    response_class=Response,
    responses=_DOWNLOADED,
    operation_id="download_by_post",
)
def download(
    *,
    caller: Viewer,
    backend: TheBackend,
    kind: ArchiveKind,
    backup_id: TheBackupId,
    request: Request,
    accept: Annotated[str, Header()] = "*/*",
    expires: Expires = _URL_LIVES,
) -> Response:
    with audited(backend.log, request, caller, f"download {kind}", backup_id=backup_id):
        manifest = backend.catalog.backups.get(backup_id)
        if "application/json" in accept:
            url = _presigned(backend.catalog, manifest, kind, expires)
            return JSONResponse(url.model_dump(mode="json"))
        archive = manifest.database if kind is ArchiveKind.DATABASE else manifest.volume
        if archive.size <= LARGEST_ANSWER:
            body = backend.catalog.backups.open(backup_id, archive.name).read(0, archive.size)
            name = _file_name(backup_id, kind)
            headers = {"Content-Disposition": f'attachment; filename="{name}"'}
            return Response(body, media_type="application/gzip", headers=headers)
        url = _presigned(backend.catalog, manifest, kind, expires)
        return Response(
            _HOW_TO_FOLLOW.format(kind=kind, backup_id=backup_id, size=archive.size),
            status_code=HTTPStatus.SEE_OTHER,
            media_type="text/plain",
            headers={"Location": url.url},
        )


def _presigned(catalog: Catalog, manifest: Manifest, kind: ArchiveKind, expires: int) -> Download:
    archive = manifest.database if kind is ArchiveKind.DATABASE else manifest.volume
    lives = timedelta(seconds=expires)
    return Download(
        url=catalog.backups.download_url(manifest.id, kind, lives),
        expires_at=catalog.now() + lives,
        size=archive.size,
        sha256=archive.sha256,
        file_name=_file_name(manifest.id, kind),
    )


def _file_name(backup_id: str, kind: ArchiveKind) -> str:
    return f"{backup_id}-{kind}.tgz"
