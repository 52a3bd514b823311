"""The service's configuration; nothing else reads the environment.

A plain pydantic model with `from_env`: importing pydantic-settings cost 240 ms more per cold start.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import (
    SecretStr,
    ValidationError,
    model_validator,
)

from lcp_backup import setting_values as values
from lcp_backup.cron import CronExpression
from lcp_backup.errors import SettingsError
from lcp_backup.exclusion import GENERATED, PathPatterns
from lcp_backup.invalid import first_problem
from lcp_backup.model import Notice
from lcp_backup.setting_fields import MASTER_TOKEN_VARIABLE, SettingFields
from lcp_backup.setting_values import RestoreStrategy


class Settings(SettingFields):
    """The service's configuration, checked, also one value against another."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Reads the variables; one that is empty counts as not set.

        Raises SettingsError, which names the first wrong variable, its value (never a secret's) and
        what is allowed.
        """
        given = {name: value for name, value in env.items() if value.strip()}
        fields = {field.alias: field for field in cls.model_fields.values() if field.alias}
        known: dict[str, Any] = {name: given[name] for name in fields if name in given}
        try:
            settings = cls.model_validate(known)
        except ValidationError as error:
            where, message, _ = first_problem(error)
            variable = where.partition(".")[0]
            field = fields.get(variable)
            secret = field is not None and values.holds_secret(field.annotation)
            raise SettingsError(
                variable,
                "(a secret)" if secret else given.get(variable),
                message,
            ) from None
        if settings.backup_retention_days <= values.MAX_RETENTION_DAYS:
            return settings
        asked = settings.backup_retention_days
        notice = Notice(
            code="retention-cut",
            subject="LCP_BACKUP_RETENTION_PERIOD",
            detail=f"{asked} days is more than the maximum; backups are kept for 30 days",
        )
        return settings.model_copy(
            update={"backup_retention_days": values.MAX_RETENTION_DAYS, "notices": (notice,)}
        )

    @model_validator(mode="after")
    def _check_accounts(self) -> Self:
        for name, password, variable in (
            (self.loader_user_name, self.loader_user_password, "LCP_LOADER_USER"),
            (self.site_user_name, self.site_user_password, "LCP_SITE_USER"),
            (
                self.backup_verify_user_name,
                self.backup_verify_user_password,
                "LCP_BACKUP_VERIFY_USER",
            ),
        ):
            if (name is None) != (password is None):
                missing = "_NAME" if name is None else "_PASSWORD"
                raise SettingsError(
                    f"{variable}{missing}", None, "name and password are given together, or neither"
                )
        return self

    @model_validator(mode="after")
    def _check_folder(self) -> Self:
        mount = self.file_system_mount_path
        if mount is not None and not f"{self.backup_folder}/".startswith(f"{mount}/"):
            raise SettingsError(
                "LCP_BACKUP_FOLDER",
                self.backup_folder,
                f"a folder at or below {mount} is needed: the file system is mounted there, and"
                " a function sees nothing of it elsewhere",
            )
        return self

    @model_validator(mode="after")
    def _check_groups(self) -> Self:
        if self.viewer_group == self.admin_group:
            raise SettingsError(
                "LCP_VIEWER_GROUP",
                self.viewer_group,
                "another group than LCP_ADMIN_GROUP is needed, or every viewer would be an admin",
            )
        return self

    @model_validator(mode="after")
    def _check_disaster_recovery(self) -> Self:
        if self.backup_restore_schedule is None:
            return self
        if self.environment_type != "production":
            raise SettingsError(
                "LCP_ENVIRONMENT_TYPE",
                self.environment_type,
                "LCP_BACKUP_RESTORE_SCHEDULE is set, and only an environment of type production"
                " may restore on a schedule: a restore replaces the live data",
            )
        if self.scripts_on_schedule and self.restores_overwrite:
            raise SettingsError(
                "LCP_BACKUP_RESTORE_SCRIPTS_ON_SCHEDULE",
                "true",
                "LCP_BACKUP_RESTORE_STRATEGY is OVERWRITE, so a script that fails would leave"
                " nothing: false, or the strategy PREPARE_AND_SWAP is needed",
            )
        if (self.source_bucket, self.source_prefix) == (self.backup_bucket, self.backup_prefix):
            raise SettingsError(
                "LCP_BACKUP_RESTORE_SOURCE_BUCKET",
                self.backup_restore_source_bucket,
                "LCP_BACKUP_RESTORE_SCHEDULE is set, so the bucket and prefix of the environment"
                " to follow are needed, and they must not be this environment's own",
            )
        return self

    @property
    def backup_verify_schedule(self) -> CronExpression | None:
        """When the newest backup is verified; None while it is not, or a time is to be drawn."""
        given = self.backup_verify_schedule_given
        return given if isinstance(given, CronExpression) else None

    @property
    def backup_prefix(self) -> str:
        """Where this environment's objects lie, without a slash at either end."""
        if self.backup_prefix_given is not None:
            return self.backup_prefix_given
        return f"{self.project_id}/{self.environment_id}"

    @property
    def source_bucket(self) -> str | None:
        """The bucket that restores read from."""
        return self.backup_restore_source_bucket or self.backup_bucket

    @property
    def source_account(self) -> str | None:
        """The account that must own the bucket that restores read from."""
        return self.backup_restore_source_account or self.backup_bucket_account

    @property
    def source_prefix(self) -> str:
        """The prefix that restores read from."""
        if self.backup_restore_source_prefix is not None:
            return self.backup_restore_source_prefix
        return self.backup_prefix

    @property
    def left_out_paths(self) -> PathPatterns:
        """What in the folder is not backed up."""
        generated = GENERATED if self.backup_exclude_generated else ()
        return PathPatterns((*self.backup_exclude_paths, *generated))

    @property
    def restore_scripts(self) -> str:
        """Where scripts lie, without a slash at the end."""
        below = f"{self.backup_prefix}/" if self.backup_prefix else ""
        return self.restore_scripts_given or f"{below}scripts"

    @property
    def restores_overwrite(self) -> bool:
        """Whether a restore of a whole site drops the live database before it loads the other."""
        return self.backup_restore_strategy is RestoreStrategy.OVERWRITE

    @property
    def log_level(self) -> str:
        """The level the loggers use."""
        return "DEBUG" if self.debug_log else self.service_log_level

    def required_bucket(self) -> str:
        """The bucket backups lie in; raises SettingsError when the variable is not set."""
        if self.backup_bucket is None:
            raise SettingsError("LCP_BACKUP_BUCKET", None, "name the bucket that backups lie in")
        return self.backup_bucket

    def required_user_pool(self) -> tuple[str, str]:
        """The ids of the user pool and of its app client; raises SettingsError without either."""
        if self.user_pool_id is None:
            raise SettingsError("LCP_USER_POOL_ID", None, "name the user pool of the API's callers")
        if self.user_pool_client_id is None:
            raise SettingsError(
                "LCP_USER_POOL_CLIENT_ID", None, "name the user pool's app client for the API"
            )
        return self.user_pool_id, self.user_pool_client_id

    def database_password(self) -> SecretStr:
        """The password, or the ARN of its secret, after the original's default is followed.

        Source: the original service's table, whose default `LCP_PROJECT_MASTER_TOKEN` names a
        variable.
        """
        if self.master_user_password.get_secret_value() != MASTER_TOKEN_VARIABLE:
            return self.master_user_password
        if self.project_master_token is None:
            raise SettingsError(
                "LCP_MASTER_USER_PASSWORD",
                None,
                "set it, or set LCP_PROJECT_MASTER_TOKEN, whose value is its default",
            )
        return self.project_master_token


def load() -> Settings:
    """The settings of this process; raises SettingsError."""
    return Settings.from_env(os.environ)


def program_folders() -> list[Path]:
    """Where dump programs are looked for: the client layer's folder, then those of PATH."""
    return [Path("/opt/bin"), *map(Path, os.get_exec_path())]
