"""EventBridge's default bus, on which the service says what happened."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lcp_backup.aws.clients import aws_errors
from lcp_backup.errors import AwsError

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

EVENT_SOURCE = "lcp.backup"


class EventBus:
    """The account's default event bus, on which the service tells what happened."""

    def __init__(self, client: EventBridgeClient) -> None:
        self._client = client

    def publish(self, detail_type: str, detail: dict[str, Any]) -> None:
        """Puts one event from `lcp.backup` on the bus; raises AwsError."""
        with aws_errors(f"publish the event {detail_type!r}"):
            answer = self._client.put_events(
                Entries=[
                    {
                        "Source": EVENT_SOURCE,
                        "DetailType": detail_type,
                        "Detail": json.dumps(detail),
                    }
                ]
            )
        for entry in answer["Entries"]:
            if entry.get("ErrorCode"):
                raise AwsError(
                    f"AWS refused the event {detail_type!r}: {entry['ErrorCode']}:"
                    f" {entry.get('ErrorMessage')}"
                )
