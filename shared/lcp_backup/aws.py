"""The AWS edge beside S3: clients, secrets, RDS endpoints, the event bus.

Clients are made here and nowhere else; boto3 itself reads region, credentials and AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr

from lcp_backup.errors import (
    AwsError,
    DatabaseUnreachable,
    LoginRefused,
    SettingsError,
    Throttled,
)

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_rds import RDSClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient

EVENT_SOURCE = "lcp.backup"
_DEFAULT_PORT = 3306
_CONNECTIONS = 32
"""More than the threads of two archives and their indexes, so that none waits for a connection."""
_KEYS_TIMEOUT = 5  # seconds
_THROTTLING = {"TooManyRequestsException", "LimitExceededException", "ThrottlingException"}
_REFUSING = {
    "NotAuthorizedException",
    "UserNotFoundException",
    "UserNotConfirmedException",
    "PasswordResetRequiredException",
    "InvalidParameterException",
    "UserLambdaValidationException",
}
"""Errors of InitiateAuth that depend on what the caller sent or who he is, never on AWS."""
_MISCONFIGURED = re.compile("flow not enabled|SECRET_HASH|secret hash")
"""In the same errors, what only the app client's owner can change. Were the words to change, a
login would be refused with its code in the log: closed, not open."""


def s3_client() -> S3Client:
    """A client that tries 500, 503 and dropped connections again, 8 times over about a minute."""
    config = Config(
        signature_version="s3v4",
        # Or presigned URLs name the global host, which redirects: and a signature holds for one.
        # (An endpoint that is an IP address, as an emulator's, gets paths all the same.)
        s3={"addressing_style": "virtual"},
        retries={"mode": "standard", "max_attempts": 8},
        max_pool_connections=_CONNECTIONS,
        connect_timeout=10,
        read_timeout=60,
    )
    return boto3.client("s3", config=config)


def events_client() -> EventBridgeClient:
    """A client for rules and for the bus."""
    return boto3.client("events", config=_small())


def lambda_client() -> LambdaClient:
    """A client to start functions with."""
    return boto3.client("lambda", config=_small())


def rds_client() -> RDSClient:
    """A client to look endpoints up with."""
    return boto3.client("rds", config=_small())


def secrets_client() -> SecretsManagerClient:
    """A client to read secrets with."""
    return boto3.client("secretsmanager", config=_small())


def cognito_client(user_pool_id: str) -> CognitoIdentityProviderClient:
    """A client for the pool's own region, which its id begins with."""
    # Few attempts: whoever logs in waits, and a throttled pool is not to be asked even more often.
    config = Config(
        retries={"mode": "standard", "max_attempts": 2}, connect_timeout=5, read_timeout=10
    )
    region = user_pool_id.partition("_")[0]
    return boto3.client("cognito-idp", region_name=region, config=config)


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

    A secret that is a JSON object with a `password`, as RDS makes them, means that field; of any
    other the line end at its end, which a file or `echo` put there, is not part. Raises
    AwsError, and SettingsError (which names `variable`) for a secret that holds no text.
    """
    if not _is_secret_arn(arn := value.get_secret_value()):
        return value
    with aws_errors(f"read the secret that {variable} names"):
        text = client().get_secret_value(SecretId=arn).get("SecretString", "").rstrip("\r\n")
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


def is_rds_id(service: str) -> bool:
    """Whether LCP_DATABASE_SERVICE names an RDS instance or cluster; raises SettingsError."""
    return _host_and_port(service) is None


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


class UserPool:
    """A Cognito user pool, as far as one of its app clients may ask it without any AWS right."""

    def __init__(
        self, client: CognitoIdentityProviderClient, user_pool_id: str, client_id: str
    ) -> None:
        region = user_pool_id.partition("_")[0]
        self.client_id = client_id
        self.issuer = f"https://cognito-idp.{region}.amazonaws.com/{user_pool_id}"
        """What the pool's tokens name as their issuer, also when an emulator stands in for AWS."""
        self._client = client
        # Not the issuer's address: the client's endpoint is the one that is reached from here, be
        # it AWS's own, an interface endpoint of a VPC or an emulator.
        self._keys_url = f"{client.meta.endpoint_url}/{user_pool_id}/.well-known/jwks.json"

    def log_in(self, name: str, password: str) -> str:
        """An access token for the user; not verified here.

        Raises LoginRefused for whatever lies in the name, the password or the user's state;
        Throttled; AwsError when the pool or its app client is not set up for this.
        """
        try:
            answer = self._client.initiate_auth(
                ClientId=self.client_id,
                AuthFlow="USER_PASSWORD_AUTH",
                AuthParameters={"USERNAME": name, "PASSWORD": password},
            )
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            said = error.response.get("Error", {}).get("Message", "")
            if code in _THROTTLING:
                raise Throttled(
                    "the user pool is asked too often now; try again in a minute"
                ) from error
            if code in _REFUSING and not _MISCONFIGURED.search(said):
                # Without what Cognito said: a refused parameter is quoted there, password and all.
                raise LoginRefused(code) from None
            if code in _REFUSING:
                raise AwsError(
                    f"the app client {self.client_id} of the user pool does not allow a login by"
                    " password: it must have no secret, and ALLOW_USER_PASSWORD_AUTH"
                ) from None
            raise AwsError(f"Cognito refused to check a login: {code}") from None
        except BotoCoreError as error:
            raise AwsError(
                f"Cognito could not be reached to check a login ({type(error).__name__}); in a VPC"
                " without NAT the service needs an interface endpoint"
            ) from None
        if challenge := answer.get("ChallengeName"):
            if "MFA" in challenge or "OTP" in challenge:
                raise LoginRefused(
                    f"{challenge}: this user needs a second factor, for which a basic credential"
                    " has no place; an access token has to be used"
                )
            raise LoginRefused(f"the user has to answer {challenge} first")
        return answer["AuthenticationResult"]["AccessToken"]

    def fetch_keys(self) -> list[dict[str, Any]]:
        """The public keys that the pool signs with now, as a JWK each; raises AwsError."""
        try:
            with urlopen(self._keys_url, timeout=_KEYS_TIMEOUT) as answer:  # noqa: S310 -- boto3's own endpoint, http only for an emulator
                keys = json.load(answer)["keys"]
        except HTTPError as error:
            error.close()
            problem = f"HTTP {error.code}"
        except (OSError, HTTPException) as error:
            problem = type(error).__name__
        except (ValueError, LookupError, TypeError):
            problem = "the answer is no key set"
        else:
            if isinstance(keys, list) and all(isinstance(key, dict) for key in keys):
                return keys
            problem = "the answer is no key set"
        raise AwsError(f"the user pool's keys could not be read from {self._keys_url} ({problem})")
