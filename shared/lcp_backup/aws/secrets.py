"""Secrets Manager: a setting is a secret itself, or the ARN of one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from lcp_backup.aws.clients import aws_errors
from lcp_backup.errors import SettingsError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


def resolve_secret(
    value: SecretStr, variable: str, client: Callable[[], SecretsManagerClient]
) -> SecretStr:
    """The secret itself: `value`, or what lies in Secrets Manager when it is an ARN.

    A secret that is a JSON object with a `password`, as RDS makes them, means that field; of any
    other the line end at its end, which a file or `echo` put there, does not belong to it. Raises
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


def _is_secret_arn(value: str) -> bool:
    return re.match(r"arn:aws[a-z-]*:secretsmanager:", value) is not None
