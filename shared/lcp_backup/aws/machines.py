"""Step Functions: executions are started, and not waited for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lcp_backup.aws.clients import aws_errors

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


class MachineStarter:
    """Starts executions of state machines and does not wait for them."""

    def __init__(self, client: SFNClient) -> None:
        self._client = client

    def start(self, machine_arn: str, name: str, event: dict[str, Any]) -> None:
        """Starts the execution of this name; that there is one already is fine. Raises AwsError."""
        with aws_errors(f"start an execution of {machine_arn}"):
            try:
                self._client.start_execution(
                    stateMachineArn=machine_arn, name=name, input=json.dumps(event)
                )
            except self._client.exceptions.ExecutionAlreadyExists:
                return
