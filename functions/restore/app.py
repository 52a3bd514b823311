"""Restore: brings a backup back, on its schedule (DR) or by hand."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from lcp_backup.requests import PauseRequest, RestoreRequest
from lcp_backup.service import deadline, service
from lcp_backup.steps import RestoreStepRequest


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Runs the job or a step of it, or pauses the scheduled ones; raises what it raises.

    So Lambda counts a failure, and the state machine knows by its name what to do.
    """
    until = deadline(context.get_remaining_time_in_millis())
    if "step" in event:
        return service().restore_step(RestoreStepRequest.read(event), until)
    if pause := PauseRequest.find(event):
        return service().pause_restores(pause)
    return service().restore(RestoreRequest.read(event), until)
