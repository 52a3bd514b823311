"""Fixtures that build on each other: credentials, a mocked S3, a bucket, a catalog."""

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber

from lcp_backup.aws.bus import EventBus
from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.telemetry import Telemetry, new_logger
from tests.support.backups import BUCKET
from tests.support.clock import SettableClock

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Mocked AWS, and credentials that are good for nothing else."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    # Of two that write one object at once, moto closes the body of the other, and fails.
    answer, one_at_a_time = BotocoreStubber.process_request, threading.RLock()

    def answered(stubber: BotocoreStubber, request: Any) -> Any:
        with one_at_a_time:
            return answer(stubber, request)

    monkeypatch.setattr(BotocoreStubber, "process_request", answered)
    with mock_aws():
        yield


@pytest.fixture
def s3(aws: None) -> "S3Client":  # noqa: ARG001 -- the mock has to be there first
    client = boto3.client("s3")
    client.create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    return client


@pytest.fixture
def store(s3: "S3Client") -> ObjectStore:
    return ObjectStore(s3, BUCKET, pause=lambda _: None)


@pytest.fixture
def catalog(store: ObjectStore, clock: SettableClock) -> Catalog:
    return Catalog(store, "acme/prd", clock)


@pytest.fixture
def announced() -> list[tuple[str, dict[str, Any]]]:
    """The events that were put on the bus."""
    return []


@pytest.fixture
def telemetry(announced: list[tuple[str, dict[str, Any]]]) -> Telemetry:
    class Bus(EventBus):
        def __init__(self) -> None: ...

        def publish(self, detail_type: str, detail: dict[str, Any]) -> None:
            announced.append((detail_type, detail))

    return Telemetry(new_logger("INFO"), Bus(), project="acme", environment="prd")
