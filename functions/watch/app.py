"""Watch: measures what is kept, and sees whether a backup or its proof is overdue."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from lcp_backup.service import service


def handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Runs the job; raises what it raises, so that Lambda counts a failure as one."""
    return service().watch()
