"""Verify: proves that a backup can be restored, on its schedule or by hand."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from lcp_backup.errors import LeaseHeld, NotFound
from lcp_backup.requests import VerifyRequest
from lcp_backup.service import deadline, service


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Runs the job; raises what it raises, so that Lambda counts a failure.

    But not for a backup that is gone, nor when it gave way to a restore: the run's record tells,
    and to wake an operator would help nobody.
    """
    request = VerifyRequest.read(event)
    try:
        return service().verify(request, deadline(context.get_remaining_time_in_millis()))
    except (LeaseHeld, NotFound) as error:
        return {"refused": str(error)}
