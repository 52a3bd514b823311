"""Runs and schedules: how it went, how it goes, and when it goes next."""

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query

from lcp_backup.cron import CronExpression
from lcp_backup.model import Run, RunKind, RunState
from lcp_backup_api.dependencies import TheBackend, TheNext, TheRunId, Viewer
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
    after: TheNext = None,
) -> RunList:
    page = backend.catalog.page(
        limit,
        after,
        kinds=[kind] if kind else list(RunKind),
        states=[state] if state else list(RunState),
    )
    return RunList(runs=[run for run in page.records if isinstance(run, Run)], next=page.last)


@router.get(
    "/backup/runs/{run_id}",
    summary="Look at one run; `progress` counts bytes while it works",
    responses=documented(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND),
    response_model=Run,
)
def show_run(_caller: Viewer, backend: TheBackend, run_id: TheRunId) -> Run:
    return backend.catalog.runs.get(run_id)


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
        verify=rule(verify) if (verify := settings.backup_verify_schedule) else None,
        restores_paused=backend.catalog.pause.get(),
    )
