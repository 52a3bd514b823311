"""Restores: started, and those of the schedule paused."""

from contextlib import suppress
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lcp_backup.errors import BackupDamaged, InvalidRequest
from lcp_backup.invalid import first_problem
from lcp_backup.jobs.contents import require_tables
from lcp_backup.jobs.queued_run import queued
from lcp_backup.model import ArchiveKind, BackupId, Manifest, Pause, RunKind
from lcp_backup.requests import LATEST, MOST_SELECTED, RestoreRequest, check_workers
from lcp_backup.setting_values import MAX_WORKERS
from lcp_backup.volume.paths import checked_paths
from lcp_backup_api import calls
from lcp_backup_api.audit import audited
from lcp_backup_api.dependencies import Admin, TheBackend
from lcp_backup_api.problems import documented
from lcp_backup_api.schemas import Reason, Started

router = APIRouter(tags=["restores"])

_Names = Annotated[list[Annotated[str, Field(min_length=1, max_length=4096)]],
                        Field(min_length=1, max_length=MOST_SELECTED)]  # fmt: skip


class RestoreBody(BaseModel):
    """What of the backup is restored, and where to; everything left out means the whole site."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{}, {"tables": ["User_"]}]}
    )

    only: ArchiveKind | None = None
    tables: _Names = []
    """Tables of the database."""
    paths: _Names = []
    """Files or folders of the volume, relative to the data folder."""
    into_database: Annotated[
        str | None, Field(description="Another schema, empty or not there.")
    ] = None
    into_folder: Annotated[str | None, Field(description="Another folder, empty or not there.")] = (
        None
    )
    keep_previous: Annotated[bool, Field(description="Keep beside what was live before.")] = False
    scripts: Annotated[
        bool, Field(description="Run the environment's scripts before the swap.")
    ] = False
    workers: Annotated[
        int | None,
        Field(ge=1, le=MAX_WORKERS, description="Functions that unpack the volume, at most."),
    ] = None


@router.post(
    "/backup/restore/{backup_id}",
    summary="Restore a backup, or a selection of it",
    status_code=HTTPStatus.ACCEPTED,
    responses=documented(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    response_model=Started,
)
def restore_backup(
    *,
    caller: Admin,
    backend: TheBackend,
    backup_id: Annotated[
        str, Path(description="An id, or `latest`.", examples=[LATEST], max_length=160)
    ],
    request: Request,
    answer: Response,
    body: Annotated[RestoreBody | None, Body()] = None,
) -> Started:
    calls.refuse_by_word(request)
    catalog = backend.catalog
    with audited(backend.log, request, caller, "restore", backup_id=backup_id) as subject:
        fields = (body or RestoreBody()).model_dump(mode="json", exclude_defaults=True)
        check_workers(body.workers if body else None, backend.settings.backup_workers)
        event = _event(backup_id, fields, restores_overwrite=backend.settings.restores_overwrite)
        made_by = None
        if backend.restores_own_backups:
            # What is not there is told now, and not by a run that fails in a minute.
            known = (
                catalog.backups.latest() if backup_id == LATEST else catalog.backups.get(backup_id)
            )
            backup_id, made_by = known.id, known.run_id
            _check_workers_can(RestoreRequest.model_validate(event), known)
            if body and body.tables:
                # A damaged index is the run's to tell: it says which archive it is of.
                with suppress(BackupDamaged):
                    require_tables(catalog, known, body.tables)
        catalog.lease.check_is_free()
        run = catalog.runs.queue(
            catalog.runs.new_id(RunKind.RESTORE), RunKind.RESTORE, backup_id, backup_run_id=made_by
        )
        subject.update(run_id=run.id, **fields)
        with queued(catalog, run.id, backend.log):
            event |= {"backup_id": backup_id, "run_id": run.id}
            backend.start(backend.function_for(RunKind.RESTORE), event)
    answer.headers["Location"] = f"/backup/runs/{run.id}"
    return Started(run_id=run.id, state=run.state, backup_id=backup_id)


def _check_workers_can(wanted: RestoreRequest, manifest: Manifest | None) -> None:
    """Raises InvalidRequest where workers are asked for, and one function has to restore it.

    The run would end with that, a moment after it was promised.
    """
    if (wanted.workers or 1) > 1 and (reason := wanted.why_by_one(manifest)) is not None:
        raise InvalidRequest(f"workers: {wanted.workers} are asked for, and {reason}")


def _event(
    backup_id: str, fields: dict[str, object], *, restores_overwrite: bool
) -> dict[str, object]:
    """The function's event, checked here so that a wrong one is told to who sent it."""
    if backup_id != LATEST:
        BackupId.parse(backup_id)
    event = {"backup_id": backup_id, **fields}
    try:
        request = RestoreRequest.model_validate(event)
    except ValidationError as error:
        where, message, _ = first_problem(error)
        raise InvalidRequest(f"{where}: {message}" if where else message) from None
    checked_paths(request.paths)
    _check_workers_can(request, None)
    request.check_can_keep(restores_overwrite=restores_overwrite)
    request.check_can_run_scripts(restores_overwrite=restores_overwrite)
    return event


@router.put(
    "/backup/restore/pause",
    summary="Keep scheduled restores from starting",
    responses=documented(HTTPStatus.BAD_REQUEST),
    response_model=Pause,
)
def pause_restores(
    caller: Admin,
    backend: TheBackend,
    request: Request,
    reason: Annotated[Reason | None, Body()] = None,
) -> Pause:
    """For an incident: the DR site is live then, and must not be overwritten."""
    with audited(backend.log, request, caller, "pause restores"):
        return backend.catalog.pause.set(caller.name, reason.reason if reason else "")


@router.delete(
    "/backup/restore/pause",
    summary="Let scheduled restores start again",
    status_code=HTTPStatus.NO_CONTENT,
)
def resume_restores(caller: Admin, backend: TheBackend, request: Request) -> None:
    with audited(backend.log, request, caller, "resume restores"):
        backend.catalog.pause.clear()
