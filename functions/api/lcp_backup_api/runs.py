"""Runs and schedules: how it went, how it goes, and when it goes next."""

from http import HTTPStatus
from itertools import islice
from typing import Annotated, Final

from fastapi import APIRouter, Query

from lcp_backup.cron import CronExpression
from lcp_backup.model import Run, RunKind, RunState
from lcp_backup_api.doors import TheBackend, TheRunId, Viewer
from lcp_backup_api.problems import documented
from lcp_backup_api.schemas import Rule, RunList, Schedules

router = APIRouter(tags=["runs"])

_FIRE_TIMES: Final = 5


@router.get(
    "/backup/runs",
    summary="List runs, newest first",
    responses=documented(HTTPStatus.BAD_REQUEST),
    response_model=RunList,
)
def list_runs(
    _caller: Viewer,
    backend: TheBackend,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    kind: RunKind | None = None,
    state: RunState | None = None,
) -> RunList:
    wanted = (
        run
        for run in backend.catalog.runs()
        if (kind is None or run.kind is kind) and (state is None or run.state is state)
    )
    return RunList(runs=list(islice(wanted, limit)))


@router.get(
    "/backup/runs/{run_id}",
    summary="Look at one run; `progress` counts bytes while it works",
    responses=documented(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND),
    response_model=Run,
)
def show_run(_caller: Viewer, backend: TheBackend, run_id: TheRunId) -> Run:
    return backend.catalog.get_run(run_id)


@router.get(
    "/backup/schedules", summary="What runs by itself, and when next", response_model=Schedules
)
def schedules(_caller: Viewer, backend: TheBackend) -> Schedules:
    settings = backend.settings
    restore = settings.backup_restore_schedule
    create = settings.backup_create_schedule if restore is None else None

    def rule(cron: CronExpression) -> Rule:
        return Rule(
            cron=cron.source,
            eventbridge=list(cron.eventbridge()),
            next=cron.next_fire_times(backend.catalog.now(), _FIRE_TIMES),
        )

    return Schedules(
        create=rule(create) if create else None,
        restore=rule(restore) if restore else None,
        cleanup=rule(settings.backup_cleanup_schedule),
        restores_paused=backend.catalog.restores_paused(),
    )
