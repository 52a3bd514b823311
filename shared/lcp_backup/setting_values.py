"""What each kind of setting may say: values as text, read and checked one by one.

Each raises ValueError with a sentence that says what is allowed.
"""

import re
from enum import StrEnum
from typing import Final, Literal, get_args

from pydantic import SecretStr

from lcp_backup.cron import CronExpression, is_original_default
from lcp_backup.errors import InvalidCron
from lcp_backup.exclusion import PathPatterns

MASTER_TOKEN_LENGTH = 32
"""Characters that a master token has at least: it is one secret that makes an admin, for good."""
MAX_CONNECTIONS = 16
MAX_THREADS = 64
"""Each may hold a folder and a file open, and a Lambda function may open 1,024."""
MAX_WORKERS = 64
"""An upload to S3 has 10,000 parts: each worker is given an equal share of their numbers."""
MAX_RETENTION_DAYS = 30
"""The original service: "The maximum retention period is 30 days, even if you set this to a longer
period"."""


NO_SCHEDULE: Final = "none"
"""What a schedule is called that is not there: an output of a template cannot be empty."""
WEEKLY: Final = "weekly"
"""The default of the verify schedule: a time drawn once."""


class RestoreStrategy(StrEnum):
    """How a database restore treats the live data."""

    PREPARE_AND_SWAP = "PREPARE_AND_SWAP"
    """Load beside the live data, switch when complete."""
    OVERWRITE = "OVERWRITE"
    """Do as the dump says, in place: less space, no way back."""


class VolumeMode(StrEnum):
    """What the archive of a volume holds."""

    INCREMENTAL = "INCREMENTAL"
    """What changed since the last backup; the rest is read from older archives."""
    FULL = "FULL"
    """All of it; what did not change is copied from older archives by S3."""


class Period(StrEnum):
    """Of which stretches of time the newest backup is kept."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"


class DatabaseTls(StrEnum):
    """How a connection to the database is protected."""

    VERIFY_IDENTITY = "VERIFY_IDENTITY"
    """Encrypted, to a server whose certificate is of a known authority and names the host."""
    REQUIRED = "REQUIRED"
    """Encrypted, to whoever answers."""
    PREFERRED = "PREFERRED"
    """Encrypted when the server offers it, to whoever answers."""
    DISABLED = "DISABLED"
    """Never encrypted."""


def schedule(value: object) -> CronExpression:
    try:
        return CronExpression.parse(str(value))
    except InvalidCron as error:
        raise ValueError(str(error)) from error


def create_schedule(value: object) -> CronExpression | None:
    # The original's spelling of its default is no cron; it reads "a time drawn once".
    return None if is_original_default(str(value)) else schedule(value)


def verify_schedule(value: object) -> CronExpression | Literal["none"] | None:
    text = str(value).strip().lower()
    if text == WEEKLY:
        return None
    return NO_SCHEDULE if text == NO_SCHEDULE else schedule(value)


def statements(value: object) -> tuple[str, ...]:
    found = (it.strip() for it in re.split(r";\s*(?:\n|\Z)|;\s+", str(value)))
    return tuple(it for it in found if it)


def retention(value: object) -> int:
    text = str(value).strip()
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) < 1:
        raise ValueError(f"a whole number of days from 1 to {MAX_RETENTION_DAYS} is allowed")
    return int(text)


def keep(value: object) -> dict[Period, int]:
    found: dict[Period, int] = {}
    for rule in str(value).split(","):
        name, _, number = rule.strip().partition(":")
        try:
            period = Period(name.lower())
        except ValueError:
            raise ValueError(f"{rule.strip()!r} names no period: {_KEEP_ALLOWED}") from None
        if period in found:
            raise ValueError(f"{period} stands there twice: {_KEEP_ALLOWED}")
        if not re.fullmatch(r"[0-9]{1,4}", number) or int(number) < 1:
            raise ValueError(f"{rule.strip()!r} has no number from 1 to 9999: {_KEEP_ALLOWED}")
        found[period] = int(number)
    return found


_KEEP_ALLOWED = (
    f"{', '.join(Period)} are allowed, each once and with a number, such as"
    " hourly:24,daily:7,weekly:4; or nothing, and every backup stays for the whole retention"
)


def folder(value: object) -> str:
    text = str(value).rstrip("/")
    if not text.startswith("/") or ".." in text.split("/") or "\0" in text:
        raise ValueError("an absolute path below / without '..' is allowed")
    return text


def flag(value: object) -> bool:
    text = str(value).strip().lower()
    if text not in {"true", "false"}:
        raise ValueError("true or false is allowed")
    return text == "true"


def connections(value: object) -> int:
    return _one_to(MAX_CONNECTIONS, value)


def threads(value: object) -> int:
    return _one_to(MAX_THREADS, value)


def workers(value: object) -> int:
    return _one_to(MAX_WORKERS, value)


def _one_to(most: int, value: object) -> int:
    text = str(value).strip()
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise ValueError(f"a whole number from 1 to {most} is allowed")
    return int(text)


def percent(value: object) -> int:
    text = str(value).strip()
    if not re.fullmatch(r"\d{1,2}|100", text, re.ASCII):
        raise ValueError("a whole number of percent from 0 to 100 is allowed")
    return int(text)


def strategy(value: object) -> RestoreStrategy:
    try:
        return RestoreStrategy(str(value).strip().upper())
    except ValueError:
        allowed = " or ".join(RestoreStrategy)
        raise ValueError(f"{allowed} is allowed") from None


def volume_mode(value: object) -> VolumeMode:
    try:
        return VolumeMode(str(value).strip().upper())
    except ValueError:
        allowed = " or ".join(VolumeMode)
        raise ValueError(f"{allowed} is allowed") from None


def database_tls(value: object) -> DatabaseTls:
    try:
        return DatabaseTls(str(value).strip().upper())
    except ValueError:
        raise ValueError(f"{', '.join(DatabaseTls)} is allowed, or nothing") from None


def database_ca(value: object) -> SecretStr:
    text = str(value).strip()
    if "PRIVATE KEY" in text:
        raise ValueError("certificates only are allowed, and this holds a private key")
    if not re.match(r"/|arn:aws[a-z-]*:secretsmanager:|-----BEGIN CERTIFICATE-----", text):
        raise ValueError(
            "certificates in PEM form are allowed, the ARN of a Secrets Manager secret that holds"
            " them, or the absolute path of a file"
        )
    return SecretStr(text)


def table_patterns(value: object) -> tuple[str, ...]:
    return _patterns(value, "such as Audit_*,SessionClicks_Data, is allowed")


def path_patterns(value: object) -> tuple[str, ...]:
    allowed = "as in a .gitignore, such as /document_library/*/0/adaptive/,*.tmp, is allowed"
    found = _patterns(value, allowed)
    for pattern in found:
        try:
            PathPatterns([pattern])
        except re.error:
            raise ValueError(f"{pattern!r} cannot be read: {_LIST} {allowed}") from None
        if not pattern.strip("!/"):
            raise ValueError(f"{pattern!r} names nothing: {_LIST} {allowed}")
    return found


_LIST = "a list of patterns with commas between them,"


def _patterns(value: object, allowed: str) -> tuple[str, ...]:
    found = tuple(pattern.strip() for pattern in str(value).split(","))
    if not all(found):
        raise ValueError(f"{_LIST} {allowed}")
    return found


def lock_mode(value: object) -> object:
    text = str(value).strip().upper()
    if text not in {"GOVERNANCE", "COMPLIANCE"}:
        raise ValueError("GOVERNANCE or COMPLIANCE is allowed, or nothing")
    return text


def level(value: object) -> str:
    text = str(value).strip().upper()
    if text not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
        raise ValueError("DEBUG, INFO, WARNING, ERROR or CRITICAL is allowed")
    return text


def name(value: object) -> str:
    # Two dashes divide a backup id into its three strings, so a name can hold none.
    text = str(value).strip()
    if not re.fullmatch(r"[A-Za-z0-9_]{1,64}", text):
        raise ValueError("1 to 64 letters, digits and underscores are allowed (no dash)")
    return text


def database_name(value: object) -> str:
    text = str(value)
    # MySQL's limit is 64 characters; the staging schema's suffix needs some of them.
    if not re.fullmatch(r"[A-Za-z0-9_$-]{1,48}", text):
        raise ValueError("1 to 48 letters, digits, '_', '$' and '-' are allowed")
    return text


def user_pool_id(value: object) -> str:
    # The pool's region is read from what is before the underscore.
    text = str(value).strip()
    if not re.fullmatch(r"[a-z0-9-]{1,30}_[0-9A-Za-z]{1,40}", text):
        raise ValueError("the id of a Cognito user pool is allowed, like eu-central-1_AbCdEfGhI")
    return text


def account(value: object) -> str:
    text = str(value).strip()
    if not re.fullmatch(r"\d{12}", text, re.ASCII):
        raise ValueError("the 12 digits of an AWS account are allowed")
    return text


def master_token(value: object) -> str:
    # (The ARN of a secret is longer than that; what lies in the secret is judged where it is used.)
    text = str(value)
    if len(text.strip()) < MASTER_TOKEN_LENGTH:
        raise ValueError(
            f"{MASTER_TOKEN_LENGTH} characters or more are allowed, or the ARN of a secret; such as"
            " `openssl rand -hex 32` prints"
        )
    return text


def group(value: object) -> str:
    text = str(value).strip()
    if not re.fullmatch(r"[A-Za-z0-9_.@+-]{1,128}", text):
        raise ValueError("1 to 128 letters, digits and _.@+- are allowed")
    return text


def origin(value: object) -> str:
    text = str(value).strip().lower()
    if not re.fullmatch(r"https?://[a-z0-9.:-]+", text):
        raise ValueError("an origin is allowed, like https://console.example.com")
    return text


def host(value: object) -> str:
    text = str(value).strip().lower()
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", text):
        raise ValueError("a host is allowed, like acme.auth.eu-central-1.amazoncognito.com")
    return text


def prefix(value: object) -> str:
    text = str(value).strip("/")
    # (S3 would take a `*` too, but in a role's policy it means every other prefix.)
    if not re.fullmatch(r"[A-Za-z0-9!_.'()/-]{0,512}", text):
        raise ValueError("an S3 key prefix of letters, digits and !_.'()/- is allowed")
    return text


def holds_secret(annotation: object) -> bool:
    """Whether values of this type are or hold a SecretStr: then none may be shown."""
    return annotation is SecretStr or any(map(holds_secret, get_args(annotation)))
