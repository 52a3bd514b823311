"""The AWS edge beside S3: clients, secrets, RDS endpoints, the event bus.

Clients are made here and nowhere else; boto3 itself reads region, credentials and AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr

from lcp_backup.errors import AwsError, DatabaseUnreachable, SettingsError

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_rds import RDSClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient

EVENT_SOURCE = "lcp.backup"
_DEFAULT_PORT = 3306
_CONNECTIONS = 32
"""More than the threads of two archives and their indexes, so that none waits for a connection."""


def s3_client() -> S3Client:
    """A client that tries 500, 503 and dropped connections again, 8 times over about a minute."""
    config = Config(
        signature_version="s3v4",
        retries={"mode": "standard", "max_attempts": 8},
        max_pool_connections=_CONNECTIONS,
        connect_timeout=10,
        read_timeout=60,
    )
    return boto3.client("s3", config=config)


def events_client() -> EventBridgeClient:
    """A client for rules and for the bus."""
    return boto3.client("events", config=_small())


def rds_client() -> RDSClient:
    """A client to look endpoints up with."""
    return boto3.client("rds", config=_small())


def secrets_client() -> SecretsManagerClient:
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


def _is_secret_arn(value: str) -> bool:
    return re.match(r"arn:aws[a-z-]*:secretsmanager:", value) is not None


def resolve_secret(
    value: SecretStr, variable: str, client: Callable[[], SecretsManagerClient]
) -> SecretStr:
    """The secret itself: `value`, or what lies in Secrets Manager when it is an ARN.

    A secret that is a JSON object with a `password`, as RDS makes them, means that field. Raises
    AwsError, and SettingsError (which names `variable`) for a secret that holds no text.
    """
    if not _is_secret_arn(arn := value.get_secret_value()):
        return value
    with aws_errors(f"read the secret that {variable} names"):
        text = client().get_secret_value(SecretId=arn).get("SecretString", "")
    if not text:
        raise SettingsError(variable, arn, "the secret holds no text (a binary secret?)")
    try:
        fields: Any = json.loads(text)
    except ValueError:
        return SecretStr(text)
    if isinstance(fields, dict) and isinstance(password := fields.get("password"), str):
        return SecretStr(password)
    return SecretStr(text)


def _host_and_port(service: str) -> tuple[str, int] | None:
    """What `host[:port]` says, or None for the id of an RDS service (ids hold no dot)."""
    host, colon, port = service.rpartition(":")
    if not colon:
        host, port = service, str(_DEFAULT_PORT)
    if not colon and "." not in host and host != "localhost":
        return None
    if not port.isdecimal() or not 1 <= int(port) <= 65535 or not host:  # noqa: PLR2004 -- TCP's
        raise SettingsError(
            "LCP_DATABASE_SERVICE",
            service,
            "the id of an RDS instance or cluster, or host[:port] with a port from 1 to 65535",
        )
    return host.strip("[]"), int(port)


def locate_database(
    service: str, *, for_reading: bool, client: Callable[[], RDSClient]
) -> tuple[str, int]:
    """Host and port of the database service that LCP_DATABASE_SERVICE names.

    `host[:port]` is used as it is. Otherwise it is the id of an RDS cluster (its reader endpoint is
    taken `for_reading`, so that a dump does not burden the writer) or of an RDS instance. Raises
    DatabaseUnreachable when there is none, or it has no endpoint yet; AwsError, SettingsError.
    """
    if (literal := _host_and_port(service)) is not None:
        return literal
    rds = client()
    with aws_errors(f"look up the database service {service!r}"):
        try:
            cluster = rds.describe_db_clusters(DBClusterIdentifier=service)["DBClusters"][0]
        except (rds.exceptions.DBClusterNotFoundFault, IndexError):
            pass
        else:
            # A cluster with a single instance has a reader endpoint too: it leads to the writer.
            host = cluster.get("ReaderEndpoint") if for_reading else None
            host = host or cluster.get("Endpoint")
            if host:
                return host, cluster.get("Port", _DEFAULT_PORT)
        try:
            instance = rds.describe_db_instances(DBInstanceIdentifier=service)["DBInstances"][0]
        except (rds.exceptions.DBInstanceNotFoundFault, IndexError):
            raise DatabaseUnreachable(
                f"LCP_DATABASE_SERVICE is {service!r}, and there is no RDS cluster or instance of"
                " that id in this region and account; use its id, or host[:port]"
            ) from None
    endpoint = instance.get("Endpoint", {})
    if not endpoint.get("Address"):
        raise DatabaseUnreachable(
            f"the RDS instance {service} has no endpoint yet: it is"
            f" {instance.get('DBInstanceStatus', 'not ready')}"
        )
    return endpoint["Address"], endpoint.get("Port", _DEFAULT_PORT)


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
