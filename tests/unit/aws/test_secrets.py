"""What a secret holds."""

from typing import Any

import boto3
import pytest
from pydantic import SecretStr

from lcp_backup.aws.secrets import resolve_secret
from lcp_backup.errors import AwsError


def never() -> Any:
    raise AssertionError("AWS was asked")


def test_a_plain_secret_is_itself() -> None:
    assert resolve_secret(SecretStr("p"), "V", never).get_secret_value() == "p"


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("stored", "secret"),
    [
        ("plain", "plain"),
        ('{"username": "u", "password": "made by RDS"}', "made by RDS"),
        ('{"not": "it"}', '{"not": "it"}'),
        ("12345", "12345"),
        ("read from a file\n", "read from a file"),
    ],
)
def test_an_arn_means_what_lies_in_secrets_manager(stored: str, secret: str) -> None:
    client = boto3.client("secretsmanager")
    arn = client.create_secret(Name="password", SecretString=stored)["ARN"]
    assert resolve_secret(SecretStr(arn), "V", lambda: client).get_secret_value() == secret


@pytest.mark.usefixtures("aws")
def test_a_secret_that_is_not_there_is_an_error_that_names_the_variable() -> None:
    client = boto3.client("secretsmanager")
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:gone-AbCdEf"
    with pytest.raises(AwsError, match="LCP_MASTER_USER_PASSWORD names: ResourceNotFound"):
        resolve_secret(SecretStr(arn), "LCP_MASTER_USER_PASSWORD", lambda: client)
