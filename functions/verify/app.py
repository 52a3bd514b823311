"""Verify: proves that a backup can be restored; or only compares its rows with its files."""

from datetime import datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from lcp_backup.errors import BackupError, LeaseHeld, NotFound
from lcp_backup.requests import ReportRequest, VerifyRequest
from lcp_backup.service import deadline, service
from lcp_backup.steps import VerifyStepRequest


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Runs the job or a step of it; raises what it raises, so that Lambda counts a failure.

    But not for a backup that is gone, nor when it gave way to a restore: the run's record tells,
    and to wake an operator would help nobody.
    """
    until = deadline(context.get_remaining_time_in_millis())
    if "step" in event:
        return service().verify_step(VerifyStepRequest.read(event), until)
    report = ReportRequest.find(event)
    if report is not None:
        return _report(report, until)
    request = VerifyRequest.read(event)
    try:
        return service().verify(request, until)
    except (LeaseHeld, NotFound) as error:
        return {"refused": str(error)}


def _report(request: ReportRequest, until: datetime) -> dict[str, Any]:
    # Somebody asked, and looks at the run. It says nothing of the backup when there is none.
    try:
        return service().report(request, until)
    except BackupError as error:
        return {"refused": str(error)}
