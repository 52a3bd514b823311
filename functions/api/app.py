"""API: answers HTTP calls, as API Gateway hands them over."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from mangum import Mangum

from lcp_backup import settings
from lcp_backup_api.application import create_app
from lcp_backup_api.backend import build


@cache
def _adapter() -> Mangum:
    # Loading the application's start and end hooks with every call would buy nothing.
    return Mangum(create_app(build(settings.load())), lifespan="off")


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers one call."""
    return _adapter()(event, context)  # type: ignore[arg-type]  # Mangum's own type
