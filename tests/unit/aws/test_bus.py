"""What the bus takes."""

import boto3
import pytest

from lcp_backup.aws.bus import EventBus


@pytest.mark.usefixtures("aws")
def test_an_event_goes_on_the_bus() -> None:
    EventBus(boto3.client("events")).publish("Backup Created", {"backupId": "a-b-202611230015"})
