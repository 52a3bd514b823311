"""Backups: listed, looked at, made, deleted."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from lcp_backup.catalog import Unreadable
from lcp_backup.errors import Conflict
from lcp_backup.jobs.queued_run import queued
from lcp_backup.jobs.retirement import delete_backup as delete
from lcp_backup.model import BackupId, Manifest, Run, RunKind, RunState
from lcp_backup.requests import check_workers
from lcp_backup.setting_values import MAX_WORKERS
from lcp_backup_api import outlook
from lcp_backup_api.audit import audited
from lcp_backup_api.backend import Backend
from lcp_backup_api.dependencies import (
    Admin,
    TheBackend,
    TheBackupId,
    TheNext,
    Viewer,
)
from lcp_backup_api.problems import documented
from lcp_backup_api.schemas import Backup, BackupDetail, BackupList, Started

router = APIRouter(tags=["backups"])

_LOOKED_BACK: Final = 8


class CreateBody(BaseModel):
    """How a backup is made."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})

    workers: Annotated[
        int | None,
        Field(ge=1, le=MAX_WORKERS, description="Functions that pack the volume, at most."),
    ] = None


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
    catalog = backend.catalog
    # One more than is asked for: what changed in the last one is told by the one before it.
    page = catalog.page(
        limit + 1,
        after,
        backups=status != "failed",
        kinds=() if status == "succeeded" else (RunKind.CREATE, RunKind.UPLOAD),
        states=(RunState.FAILED,),
        also_unreadable=True,
    )
    records, beyond = page.records[:limit], page.records[limit:]
    shown = outlook.beside(
        catalog,
        _manifests(records),
        _manifests(beyond),
        backend.settings.backup_retention_days,
    )
    found = [_shown(it, shown) for it in records]
    if status != "succeeded":
        # Backups alone are by slot, as `latest` means it: an upload or a late event may have begun
        # in another order. Among runs it is the order in which they began.
        found.sort(key=lambda it: it.started_at, reverse=True)
    return BackupList(backups=found, next=records[-1].id if beyond else page.last)


@router.get(
    "/backup/{backup_id}",
    summary="Look at one backup",
    responses=documented(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND),
    response_model=BackupDetail,
)
def show_backup(_caller: Viewer, backend: TheBackend, backup_id: TheBackupId) -> BackupDetail:
    catalog = backend.catalog
    manifest = catalog.backups.get(backup_id)
    # Uploads may lie between it and the backup of the site before it.
    # (One of them that cannot be read is no reason to say nothing of this one.)
    page = catalog.page(_LOOKED_BACK, backup_id, backups=True)
    older = _manifests(page.records)
    [shown] = outlook.beside(
        catalog, [manifest], older, backend.settings.backup_retention_days
    ).values()
    report = catalog.reports.find(manifest)
    return BackupDetail.in_full(
        manifest,
        shown,
        outlook.estimate(catalog, manifest, shown.verification),
        report[0] if report else None,
    )


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

    Refused while it is pinned, and while a run is at work on it.
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
    responses=documented(HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT),
    response_model=Started,
)
def create_backup(
    caller: Admin,
    backend: TheBackend,
    request: Request,
    answer: Response,
    body: Annotated[CreateBody | None, Body()] = None,
) -> Started:
    """When the minute has a backup already, the new one begins with the next minute."""
    catalog = backend.catalog
    with audited(backend.log, request, caller, "create") as subject:
        fields = (body or CreateBody()).model_dump(exclude_defaults=True)
        check_workers(body.workers if body else None, backend.settings.backup_workers)
        catalog.lease.check_is_free()
        now = catalog.now()
        begins, backup_id = _free_minute(backend, now)
        queue = partial(catalog.runs.queue, catalog.runs.new_id(RunKind.CREATE), RunKind.CREATE)
        if begins == now:
            run = queue(backup_id)
        else:
            minute = f"{begins:%H:%M} UTC: this minute has its backup already"
            run = queue(backup_id, waits_for=minute)
        subject["run_id"] = run.id
        with queued(catalog, run.id, backend.log):
            event: dict[str, object] = {"time": begins.isoformat(), "run_id": run.id, **fields}
            backend.start(backend.function_for(RunKind.CREATE), event)
    answer.headers["Location"] = f"/backup/runs/{run.id}"
    return Started(run_id=run.id, state=run.state, backup_id=backup_id)


def _free_minute(backend: Backend, now: datetime) -> tuple[datetime, str]:
    """When a backup that is asked for now may begin, and the id that it gets.

    A minute has one backup. When this one's was made before it was asked for another, that waits
    for the next minute: to answer what is there would be a success without the latest changes.
    """
    begins, settings = now, backend.settings
    while True:
        wanted = BackupId.of(settings.project_id, settings.environment_id, begins)
        backup_id = str(backend.catalog.backups.id_for(wanted))
        if backend.catalog.backups.find(backup_id) is None:
            return begins, backup_id
        begins = wanted.slot + timedelta(minutes=1)


def _shown(record: Manifest | Run | Unreadable, shown: dict[str, outlook.Beside]) -> Backup:
    if isinstance(record, Run):
        return Backup.failed(record)
    if isinstance(record, Unreadable):
        # Left out it would pass for deleted, and one older for the newest.
        return Backup.unreadable(record)
    return Backup.of(record, shown[record.id])


def _manifests(records: Iterable[object]) -> list[Manifest]:
    return [it for it in records if isinstance(it, Manifest)]
