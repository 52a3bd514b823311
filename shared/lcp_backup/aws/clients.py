"""boto3's clients, and how their errors leave.

Clients are made here and nowhere else; boto3 itself reads region, credentials and AWS_ENDPOINT_URL.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lcp_backup.errors import AwsError

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_rds import RDSClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_stepfunctions import SFNClient

_CONNECTIONS = 32
"""More than the threads of two archives and their indexes, so that none waits for a connection."""


def s3() -> S3Client:
    """A client that tries 500, 503 and dropped connections again, 8 times over about a minute."""
    config = Config(
        signature_version="s3v4",
        # Or presigned URLs name the global host, which redirects: and a signature holds for one.
        # (An endpoint that is an IP address, as an emulator's, gets paths all the same.)
        s3={"addressing_style": "virtual"},
        # What is sent has the checksum that its writer gives it. One of the client's own would keep
        # several processes from writing parts of one object (`SharedMultipart`).
        request_checksum_calculation="when_required",
        retries={"mode": "standard", "max_attempts": 8},
        max_pool_connections=_CONNECTIONS,
        connect_timeout=10,
        read_timeout=60,
    )
    return boto3.client("s3", config=config)


def events() -> EventBridgeClient:
    """A client for rules and for the bus."""
    return boto3.client("events", config=_small())


def functions() -> LambdaClient:
    """A client to start functions with."""
    return boto3.client("lambda", config=_small())


def machines() -> SFNClient:
    """A client to start executions of state machines with."""
    return boto3.client("stepfunctions", config=_small())


def rds() -> RDSClient:
    """A client to look endpoints up with."""
    return boto3.client("rds", config=_small())


def secrets() -> SecretsManagerClient:
    """A client to read secrets with."""
    return boto3.client("secretsmanager", config=_small())


def _small() -> Config:
    # A function in a VPC without the endpoint it needs would otherwise hang until it is killed.
    return Config(
        retries={"mode": "standard", "max_attempts": 4}, connect_timeout=5, read_timeout=15
    )


@contextmanager
def aws_errors(action: str) -> Iterator[None]:
    """Maps the client's errors to AwsError; `action` completes "AWS refused to ..."."""
    try:
        yield
    except ClientError as error:
        details = error.response.get("Error", {})
        raise AwsError(
            f"AWS refused to {action}: {details.get('Code')}: {details.get('Message')}"
        ) from error
    except BotoCoreError as error:
        raise AwsError(
            f"AWS could not be reached to {action} ({type(error).__name__}); in a VPC without NAT"
            " the service needs an interface endpoint"
        ) from error
