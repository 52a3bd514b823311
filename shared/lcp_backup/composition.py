"""The one composition root: what every function of an environment works with, from its settings."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from aws_lambda_powertools import Logger
from pydantic import SecretStr

from lcp_backup.aws import clients
from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.aws.secrets import resolve_secret
from lcp_backup.catalog import Catalog
from lcp_backup.catalog.backups import BackupLock
from lcp_backup.settings import Settings
from lcp_backup.telemetry import new_logger


@dataclass(frozen=True)
class Environment:
    """One Liferay environment; nothing in AWS is asked before it is needed."""

    settings: Settings
    log: Logger
    catalog: Catalog
    """The environment's own backups, runs, uploads and lease."""
    source: Catalog
    """Where restores read from: in disaster recovery another environment's."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What the settings describe; raises SettingsError."""
        # First, because it silences the libraries: botocore's debug lines hold secrets.
        log = new_logger(settings.log_level)
        s3 = clients.s3()
        bucket = settings.required_bucket()
        mode = settings.backup_object_lock
        retention = timedelta(days=settings.backup_retention_days)
        return cls(
            settings,
            log,
            Catalog(
                ObjectStore(s3, bucket, owner=settings.backup_bucket_account),
                settings.backup_prefix,
                lock=BackupLock(mode, retention) if mode else None,
            ),
            Catalog(
                ObjectStore(s3, settings.source_bucket or bucket, owner=settings.source_account),
                settings.source_prefix,
            ),
        )


def secret(value: SecretStr, variable: str) -> SecretStr:
    """A setting's secret itself, read now if it is an ARN; raises AwsError, SettingsError.

    Read anew every time: a rotated secret must not wait for a cold start.
    """
    return resolve_secret(value, variable, clients.secrets)
