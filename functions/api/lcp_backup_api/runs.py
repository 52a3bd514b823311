"""Runs and schedules: how it went, how it goes, and when it goes next."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from lcp_backup.cron import CronExpression
from lcp_backup.jobs.schedules import rule_names
from lcp_backup.model import Pause, Run, RunKind, RunState
from lcp_backup_api.dependencies import TheBackend, TheNext, TheRunId, Viewer
from lcp_backup_api.problems import documented
from lcp_backup_api.schemas import RunList

router = APIRouter(tags=["runs"])

_FIRE_TIMES: Final = 10


class Rule(BaseModel):
    """One schedule."""

    cron: str = Field(description="Unix cron, UTC.", examples=["15 0 * * *"])
    words: str = Field(description="The same in words; UTC.", examples=["At 00:15"])
    eventbridge: list[str] = Field(examples=[["cron(15 0 * * ? *)"]])
    rules: list[str] = Field(
        description="The names of its EventBridge rules; empty where no stack has made any.",
        examples=[["lcp-backup-create-1"]],
    )
    next: list[datetime] = Field(description="The next ten times it fires; UTC.")


class Schedules(BaseModel):
    """What runs by itself, and when."""

    create: Rule | None
    restore: Rule | None
    cleanup: Rule
    verify: Rule | None
    restores_paused: Pause | None


@router.get(
    "/backup/runs",
    summary="List runs, newest first",
    responses=documented(HTTPStatus.BAD_REQUEST),
    response_model=RunList,
)
def list_runs(
    *,
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
    verify = settings.backup_verify_schedule

    def rule(kind: RunKind, cron: CronExpression) -> Rule:
        stack = settings.stack_name
        return Rule(
            cron=cron.text,
            words=_in_words(cron),
            eventbridge=list(cron.eventbridge()),
            rules=rule_names(stack, kind, cron) if stack else [],
            next=cron.next_fire_times(backend.catalog.now(), _FIRE_TIMES),
        )

    return Schedules(
        create=rule(RunKind.CREATE, create) if create else None,
        restore=rule(RunKind.RESTORE, restore) if restore else None,
        cleanup=rule(RunKind.CLEANUP, settings.backup_cleanup_schedule),
        verify=rule(RunKind.VERIFY, verify) if verify else None,
        restores_paused=backend.catalog.pause.get(),
    )


def _in_words(cron: CronExpression) -> str:
    # Here, because no other call needs it.
    import cron_descriptor  # type: ignore[import-untyped] # noqa: PLC0415 -- it ships no types

    # Both would else follow the process's locale.
    options = cron_descriptor.Options(locale_code="en_US", use_24hour_time_format=True)
    words: str = cron_descriptor.get_description(cron.spelled_out, options)
    return words
