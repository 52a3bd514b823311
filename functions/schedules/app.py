"""Schedules: a CloudFormation custom resource that turns the cron variables into rules."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from lcp_backup.aws import clients
from lcp_backup.aws.cloudformation import Resource, ResourceRequest, answer
from lcp_backup.aws.rules import ScheduleRules
from lcp_backup.jobs.schedules import SchedulesRequest, remove_schedules, sync_schedules
from lcp_backup.setting_values import NO_SCHEDULE
from lcp_backup.telemetry import new_logger


@cache
def _log() -> Logger:
    # Whatever the settings say: they may be what is wrong, and CloudFormation must be answered.
    return new_logger("INFO")


@cache
def _rules() -> ScheduleRules:
    return ScheduleRules(clients.events())


def handler(event: dict[str, Any], _context: LambdaContext) -> None:
    """Does what CloudFormation asks and answers it; raises only when the answer cannot be sent."""
    answer(ResourceRequest.read(event), _work, _log())


def _work(request: ResourceRequest) -> Resource:
    if request.request_type == "Delete":
        remove_schedules(_rules(), request.resource_properties)
        return Resource(request.physical_resource_id or request.logical_resource_id)
    wanted = SchedulesRequest.read(request.resource_properties)
    schedules = sync_schedules(_rules(), wanted, request.stack_id)
    return Resource(
        wanted.rule_name_prefix,
        {
            "CreateSchedule": schedules.create.text if schedules.create else NO_SCHEDULE,
            "RestoreSchedule": schedules.restore.text if schedules.restore else NO_SCHEDULE,
            "CleanupSchedule": schedules.cleanup.text,
            "VerifySchedule": schedules.verify.text if schedules.verify else NO_SCHEDULE,
            # What should have happened before is not asked for by these schedules.
            "Since": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
