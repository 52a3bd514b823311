"""Upload: makes a backup of two files that were uploaded; the API starts it."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from lcp_backup.errors import ArchiveError, NotFound
from lcp_backup.requests import UploadRequest
from lcp_backup.service import deadline, service
from lcp_backup.steps import UploadStepRequest


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Runs the job, or sees how its task ended; raises, so that Lambda counts a failure.

    But not for what the sender did wrong: the run's record tells them, and to wake an operator
    would help nobody.
    """
    until = deadline(context.get_remaining_time_in_millis())
    try:
        if "step" in event:
            return service().upload_step(UploadStepRequest.read(event), until)
        return service().upload(UploadRequest.read(event), until)
    except (ArchiveError, NotFound) as error:
        return {"refused": str(error)}
