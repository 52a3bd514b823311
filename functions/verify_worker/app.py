"""Verify worker: does a share of a verification that several functions work on."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from lcp_backup.service import deadline, service
from lcp_backup.steps import VerifyStepRequest


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Does the step; raises what it raises, by whose name the state machine knows what to do."""
    request = VerifyStepRequest.read(event)
    return service().verify_step(request, deadline(context.get_remaining_time_in_millis()))
