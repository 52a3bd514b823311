"""Restore: brings a backup back, on its schedule (DR) or by hand."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from lcp_backup.requests import PauseRequest, RestoreRequest
from lcp_backup.service import deadline, service


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Runs the job, or pauses the scheduled ones; raises what it raises, for Lambda to count."""
    if pause := PauseRequest.find(event):
        return service().pause_restores(pause)
    request = RestoreRequest.read(event)
    return service().restore(request, deadline(context.get_remaining_time_in_millis()))
