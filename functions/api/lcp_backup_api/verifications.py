"""Verifications: started by hand."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from lcp_backup.jobs.queued_run import queued
from lcp_backup.model import BackupId, RunKind
from lcp_backup.requests import LATEST
from lcp_backup_api.audit import audited
from lcp_backup_api.dependencies import Admin, TheBackend
from lcp_backup_api.problems import documented
from lcp_backup_api.schemas import Started

router = APIRouter(tags=["verifications"])


@router.post(
    "/backup/verify/{backup_id}",
    summary="Prove that a backup can be restored",
    status_code=HTTPStatus.ACCEPTED,
    responses=documented(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND),
    response_model=Started,
)
def verify_backup(
    caller: Admin,
    backend: TheBackend,
    backup_id: Annotated[
        str, Path(description="An id, or `latest`.", examples=[LATEST], max_length=160)
    ],
    request: Request,
    answer: Response,
) -> Started:
    """Restores it into a schema of its own, which is dropped again; the site is not touched."""
    catalog = backend.catalog
    with audited(backend.log, request, caller, "verify", backup_id=backup_id) as subject:
        if backup_id == LATEST:
            known = catalog.backups.latest(uploaded=False)
        else:
            known = catalog.backups.get(str(BackupId.parse(backup_id)))
        run = catalog.runs.queue(
            catalog.runs.new_id(RunKind.VERIFY),
            RunKind.VERIFY,
            known.id,
            backup_run_id=known.run_id,
        )
        subject["run_id"] = run.id
        with queued(catalog, run.id, backend.log):
            event: dict[str, object] = {"backup_id": known.id, "run_id": run.id}
            backend.start(backend.function_for(RunKind.VERIFY), event)
    answer.headers["Location"] = f"/backup/runs/{run.id}"
    return Started(run_id=run.id, state=run.state, backup_id=known.id)
