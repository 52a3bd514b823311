"""Verifications and reports: started by hand, and what the last report says."""

from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from lcp_backup.errors import NotFound
from lcp_backup.jobs.queued_run import queued
from lcp_backup.model import BackupId, RunKind
from lcp_backup.requests import LATEST, check_workers
from lcp_backup.setting_values import MAX_WORKERS
from lcp_backup_api.audit import audited
from lcp_backup_api.backend import Backend
from lcp_backup_api.dependencies import Admin, TheBackend, TheBackupId, Viewer
from lcp_backup_api.downloads import URL_LIVES, Expires
from lcp_backup_api.problems import documented
from lcp_backup_api.schemas import Download, ReportDetail, Started
from lcp_backup_api.users import Caller

router = APIRouter(tags=["verifications"])

type TheIdOrLatest = Annotated[
    str, Path(description="An id, or `latest`.", examples=[LATEST], max_length=160)
]


class VerifyBody(BaseModel):
    """How a backup is verified."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})

    workers: Annotated[
        int | None,
        Field(ge=1, le=MAX_WORKERS, description="Functions at work on it, at most."),
    ] = None


@router.post(
    "/backup/verify/{backup_id}",
    summary="Prove that a backup can be restored",
    status_code=HTTPStatus.ACCEPTED,
    responses=documented(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND),
    response_model=Started,
)
def verify_backup(
    *,
    caller: Admin,
    backend: TheBackend,
    backup_id: TheIdOrLatest,
    request: Request,
    answer: Response,
    body: Annotated[VerifyBody | None, Body()] = None,
) -> Started:
    """Restores it into a schema of its own, which is dropped again; the site is not touched."""
    workers = body.workers if body else None
    check_workers(workers, backend.settings.backup_workers)
    more = {} if workers is None else {"workers": workers}
    return _start(
        RunKind.VERIFY, backup_id, backend, more, request=request, caller=caller, answer=answer
    )


@router.post(
    "/backup/{backup_id}/report",
    summary="Compare the rows of a backup with its files",
    status_code=HTTPStatus.ACCEPTED,
    responses=documented(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND),
    response_model=Started,
)
def report_on_backup(
    caller: Admin,
    backend: TheBackend,
    backup_id: TheIdOrLatest,
    request: Request,
    answer: Response,
) -> Started:
    """Finds documents whose file is missing and files that no row names; the site is not touched.

    Every verification does so, too.
    """
    more = {"report": True}
    return _start(
        RunKind.REPORT, backup_id, backend, more, request=request, caller=caller, answer=answer
    )


@router.get(
    "/backup/{backup_id}/report",
    summary="Look at the last report on a backup, and download it",
    responses=documented(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND),
    response_model=ReportDetail,
)
def show_report(
    caller: Viewer,
    backend: TheBackend,
    backup_id: TheBackupId,
    request: Request,
    expires: Expires = URL_LIVES,
) -> ReportDetail:
    catalog = backend.catalog
    with audited(backend.log, request, caller, "download report", backup_id=backup_id):
        found = catalog.reports.find(catalog.backups.get(backup_id))
        if found is None:
            raise NotFound(
                f"there is no report on backup {backup_id} yet: ask for one, or for a verification"
            )
        report, size = found
        lives = timedelta(seconds=expires)
        download = Download(
            url=catalog.reports.url(backup_id, lives),
            expires_at=catalog.now() + lives,
            size=size,
            sha256=None,
            file_name=f"{backup_id}-report.jsonl",
        )
    return ReportDetail.at(report, download)


def _start(
    kind: RunKind,
    backup_id: str,
    backend: Backend,
    more: Mapping[str, object],
    *,
    request: Request,
    caller: Caller,
    answer: Response,
) -> Started:
    catalog = backend.catalog
    with audited(backend.log, request, caller, str(kind), backup_id=backup_id) as subject:
        if backup_id == LATEST:
            known = catalog.backups.latest(uploaded=False)
        else:
            known = catalog.backups.get(str(BackupId.parse(backup_id)))
        run = catalog.runs.queue(
            catalog.runs.new_id(kind), kind, known.id, backup_run_id=known.run_id
        )
        subject["run_id"] = run.id
        with queued(catalog, run.id, backend.log):
            event = {"backup_id": known.id, "run_id": run.id, **more}
            backend.start(backend.function_for(kind), event)
    answer.headers["Location"] = f"/backup/runs/{run.id}"
    return Started(run_id=run.id, state=run.state, backup_id=known.id)
