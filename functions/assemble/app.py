"""Assemble: makes one archive of what a download asks for; the API starts it."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from lcp_backup.errors import InvalidRequest, NotFound
from lcp_backup.requests import DownloadRequest
from lcp_backup.service import deadline, service
from lcp_backup.steps import AssembleStepRequest


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Runs the job or a step of it; raises what it raises, so that Lambda counts a failure.

    But not for a path or table that is not there: the run's record tells who asked for it.
    """
    until = deadline(context.get_remaining_time_in_millis())
    if "step" in event:
        return service().assemble_step(AssembleStepRequest.read(event), until)
    request = DownloadRequest.read(event)
    try:
        return service().assemble(request, until)
    except (InvalidRequest, NotFound) as error:
        return {"refused": str(error)}
