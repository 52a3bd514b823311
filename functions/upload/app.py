"""Upload: makes a backup of two files that were uploaded; the API starts it."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from lcp_backup.errors import ArchiveError, NotFound
from lcp_backup.requests import UploadRequest
from lcp_backup.service import deadline, service


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Runs the job; raises what it raises, so that Lambda counts a failure.

    But not for what the sender did wrong: the run's record tells them, and to wake an operator
    would help nobody.
    """
    request = UploadRequest.read(event)
    try:
        return service().upload(request, deadline(context.get_remaining_time_in_millis()))
    except (ArchiveError, NotFound) as error:
        return {"refused": str(error)}
