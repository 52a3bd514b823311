"""The AWS edge for schedules: EventBridge rules on the default bus, each with one Lambda target."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from lcp_backup.aws.clients import aws_errors
from lcp_backup.errors import AwsError

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

RETRY_FOR = timedelta(minutes=30)
"""How long EventBridge goes on handing one event to Lambda.

Long enough for a throttled function; the default of 24 hours is not wanted: a restore that was
asked for last night must not replace live data this afternoon, after the schedule was switched off.
A failure of the function itself is not retried here, but by the function's own retry settings.
"""
_MAX_ATTEMPTS = 185  # EventBridge's own maximum: the age is what ends it
_TARGET_ID = "function"


@dataclass(frozen=True)
class ScheduleRule:
    """A rule that invokes one function on a schedule."""

    name: str
    """At most 64 characters: letters, digits, `.`, `-` and `_`."""
    expression: str
    """`cron(...)`, in UTC."""
    function_arn: str
    description: str


class ScheduleRules:
    """Makes, changes and removes rules; needs no permission to list any."""

    def __init__(self, client: EventBridgeClient) -> None:
        self._client = client

    def put(self, rule: ScheduleRule) -> None:
        """Makes the rule, or changes the one of its name; may be called again. Raises AwsError.

        The function receives EventBridge's scheduled event as it is: its `time` is the slot.
        """
        with aws_errors(f"put the rule {rule.name}"):
            self._client.put_rule(
                Name=rule.name,
                ScheduleExpression=rule.expression,
                State="ENABLED",
                Description=rule.description,
            )
            answer = self._client.put_targets(
                Rule=rule.name,
                Targets=[
                    {
                        "Id": _TARGET_ID,
                        "Arn": rule.function_arn,
                        "RetryPolicy": {
                            "MaximumEventAgeInSeconds": int(RETRY_FOR.total_seconds()),
                            "MaximumRetryAttempts": _MAX_ATTEMPTS,
                        },
                    }
                ],
            )
        # put_targets answers 200 for a target it refused.
        for entry in answer["FailedEntries"]:
            raise AwsError(
                f"AWS refused the target of the rule {rule.name}: {entry.get('ErrorCode')}:"
                f" {entry.get('ErrorMessage')}"
            )

    def remove(self, name: str) -> None:
        """Removes the rule and its target; one that does not exist is fine. Raises AwsError."""
        with aws_errors(f"remove the rule {name}"):
            try:
                # A rule that still has targets cannot be deleted.
                self._client.remove_targets(Rule=name, Ids=[_TARGET_ID])
                self._client.delete_rule(Name=name)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ResourceNotFoundException":
                    raise
