"""Lambda: functions are started, and not waited for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lcp_backup.aws.clients import aws_errors

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


class FunctionStarter:
    """Starts Lambda functions and does not wait for them."""

    def __init__(self, client: LambdaClient) -> None:
        self._client = client

    def start(self, function_name: str, event: dict[str, Any]) -> None:
        """Hands the event over; Lambda runs it, maybe more than once. Raises AwsError."""
        with aws_errors(f"start the function {function_name}"):
            self._client.invoke(
                FunctionName=function_name,
                InvocationType="Event",
                Payload=json.dumps(event).encode(),
            )
