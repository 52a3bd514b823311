"""Create: makes a backup, on its schedule or by hand."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from lcp_backup.requests import CreateRequest
from lcp_backup.service import deadline, service


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Runs the job; raises what it raises, so that Lambda counts a failure as one."""
    request = CreateRequest.read(event)
    return service().create(request, deadline(context.get_remaining_time_in_millis()))
