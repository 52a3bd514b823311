"""Every variable the service knows, its default and its check; nothing else reads the environment.

A plain pydantic model with `from_env`: importing pydantic-settings cost 240 ms more per cold start.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)

from lcp_backup import setting_values as values
from lcp_backup.cron import CronExpression
from lcp_backup.errors import SettingsError
from lcp_backup.exclusion import GENERATED, PathPatterns
from lcp_backup.invalid import first_problem
from lcp_backup.model import Notice
from lcp_backup.setting_values import DatabaseTls, Period, RestoreStrategy, VolumeMode

MASTER_TOKEN_VARIABLE = "LCP_PROJECT_MASTER_TOKEN"  # noqa: S105 -- the variable's name, no secret

_Required = StringConstraints(min_length=1, strip_whitespace=True)


class Settings(BaseModel):
    """The service's configuration, checked; each field's alias is its variable's name."""

    model_config = ConfigDict(
        frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True, extra="ignore"
    )

    backup_create_schedule: Annotated[
        CronExpression | None, BeforeValidator(values.create_schedule)
    ] = Field(None, alias="LCP_BACKUP_CREATE_SCHEDULE")
    """When a backup is made; None means that a time is drawn once per stack."""
    backup_cleanup_schedule: Annotated[CronExpression, BeforeValidator(values.schedule)] = Field(
        default_factory=lambda: values.schedule("0 1 * * *"), alias="LCP_BACKUP_CLEANUP_SCHEDULE"
    )
    """When expired backups go."""
    backup_restore_schedule: Annotated[CronExpression | None, BeforeValidator(values.schedule)] = (
        Field(None, alias="LCP_BACKUP_RESTORE_SCHEDULE")
    )
    """When a DR environment restores; set, it takes the place of the create schedule."""
    backup_verify_schedule_given: Annotated[
        CronExpression | Literal["none"] | None, BeforeValidator(values.verify_schedule)
    ] = Field(None, alias="LCP_BACKUP_VERIFY_SCHEDULE")
    """When the newest backup is verified; None means that a time is drawn once per stack."""
    backup_verify_database_service: Annotated[str, _Required] | None = Field(
        None, alias="LCP_BACKUP_VERIFY_DATABASE_SERVICE"
    )
    """The server that verifications load into, as `database_service`; None means the site's own."""
    backup_verify_user_name: Annotated[str, _Required] | None = Field(
        None, alias="LCP_BACKUP_VERIFY_USER_NAME"
    )
    """Makes schemas and accounts for verifications; None means the master user."""
    backup_verify_user_password: SecretStr | None = Field(
        None, alias="LCP_BACKUP_VERIFY_USER_PASSWORD"
    )
    """The password or a Secrets Manager ARN."""
    backup_verify_sql: Annotated[tuple[str, ...], BeforeValidator(values.statements)] = Field(
        (), alias="LCP_BACKUP_VERIFY_SQL"
    )
    """Statements of which each must answer one true value in a database that was restored."""
    backup_retention_days: Annotated[int, BeforeValidator(values.retention)] = Field(
        30, alias="LCP_BACKUP_RETENTION_PERIOD"
    )
    """Days a backup is kept, 1 to 30."""
    backup_keep: Annotated[dict[Period, int] | None, BeforeValidator(values.keep)] = Field(
        None, alias="LCP_BACKUP_KEEP"
    )
    """Of how many periods the newest backup is kept during the retention; None keeps them all."""
    backup_folder: Annotated[str, BeforeValidator(values.folder)] = Field(
        "/opt/liferay/data", alias="LCP_BACKUP_FOLDER"
    )
    """The folder whose content is the volume; a Lambda function sees EFS only below /mnt."""
    backup_volume_shrink_limit: Annotated[int, BeforeValidator(values.percent)] = Field(
        50, alias="LCP_BACKUP_VOLUME_SHRINK_LIMIT"
    )
    """By how many percent a volume may be smaller than in the last backup; 100 means by any."""
    backup_volume_mode: Annotated[VolumeMode, BeforeValidator(values.volume_mode)] = Field(
        VolumeMode.INCREMENTAL, alias="LCP_BACKUP_VOLUME_MODE"
    )
    backup_volume_threads: Annotated[int, BeforeValidator(values.threads)] = Field(
        16, alias="LCP_BACKUP_VOLUME_THREADS"
    )
    """How many calls to a slow file system are made side by side, 1 to 64."""
    backup_exclude_tables: Annotated[tuple[str, ...], BeforeValidator(values.table_patterns)] = (
        Field((), alias="LCP_BACKUP_EXCLUDE_TABLES")
    )
    """Patterns of tables whose rows are not backed up; their definitions are."""
    backup_exclude_paths: Annotated[tuple[str, ...], BeforeValidator(values.path_patterns)] = Field(
        (), alias="LCP_BACKUP_EXCLUDE_PATHS"
    )
    """Patterns of what in the folder is not backed up."""
    backup_exclude_generated: Annotated[bool, BeforeValidator(values.flag)] = Field(
        False, alias="LCP_BACKUP_EXCLUDE_GENERATED_DL_FILES_ON_BACKUP_CREATE"
    )
    """Whether previews, thumbnails and renditions, which Liferay makes again, are not backed up."""
    restore_exclude_generated: Annotated[bool, BeforeValidator(values.flag)] = Field(
        False, alias="LCP_BACKUP_EXCLUDE_GENERATED_DL_FILES_ON_BACKUP_RESTORE"
    )
    """Whether a restore of a whole volume passes them over."""
    restore_scripts_given: Annotated[str | None, BeforeValidator(values.prefix)] = Field(
        None, alias="LCP_BACKUP_RESTORE_SCRIPTS"
    )
    """Where in the bucket scripts lie that restores run; None means `scripts` below the prefix."""
    scripts_on_schedule: Annotated[bool, BeforeValidator(values.flag)] = Field(
        False, alias="LCP_BACKUP_RESTORE_SCRIPTS_ON_SCHEDULE"
    )
    """Whether scheduled restores run them."""
    file_system_mount_path: Annotated[str | None, BeforeValidator(values.folder)] = Field(
        None, alias="LCP_FILE_SYSTEM_MOUNT_PATH"
    )
    """Where the file system that holds the folder is mounted; None means that it needs none."""
    backup_restore_strategy: Annotated[RestoreStrategy, BeforeValidator(values.strategy)] = Field(
        RestoreStrategy.PREPARE_AND_SWAP, alias="LCP_BACKUP_RESTORE_STRATEGY"
    )
    backup_restore_connections: Annotated[int, BeforeValidator(values.connections)] | None = Field(
        None, alias="LCP_BACKUP_RESTORE_CONNECTIONS"
    )
    """Over how many connections rows are loaded, 1 to 16; None means by the function's CPUs."""
    backup_restore_source_bucket: str | None = Field(None, alias="LCP_BACKUP_RESTORE_SOURCE_BUCKET")
    """The bucket restores read from; None means this environment's own."""
    backup_restore_source_prefix: Annotated[str | None, BeforeValidator(values.prefix)] = Field(
        None, alias="LCP_BACKUP_RESTORE_SOURCE_PREFIX"
    )
    backup_restore_source_account: Annotated[str | None, BeforeValidator(values.account)] = Field(
        None, alias="LCP_BACKUP_RESTORE_SOURCE_ACCOUNT"
    )
    """The account that must own the bucket restores read from; None means this bucket's."""
    backup_restore_uploaded: Annotated[bool, BeforeValidator(values.flag)] = Field(
        False, alias="LCP_BACKUP_RESTORE_UPLOADED"
    )
    """Whether the latest backup, for a scheduled restore, may be one that somebody uploaded."""
    backup_object_lock: Annotated[
        Literal["GOVERNANCE", "COMPLIANCE"] | None, BeforeValidator(values.lock_mode)
    ] = Field(None, alias="LCP_BACKUP_OBJECT_LOCK")
    """How S3 keeps a backup's objects from being deleted before their retention ends; or not."""
    backup_bucket: Annotated[str, _Required] | None = Field(None, alias="LCP_BACKUP_BUCKET")
    """The bucket backups lie in; only the schedules function does without."""
    backup_bucket_account: Annotated[str | None, BeforeValidator(values.account)] = Field(
        None, alias="LCP_BACKUP_BUCKET_ACCOUNT"
    )
    """The account that must own that bucket: S3 refuses every request otherwise. None: any."""
    backup_prefix_given: Annotated[str | None, BeforeValidator(values.prefix)] = Field(
        None, alias="LCP_BACKUP_PREFIX"
    )
    database_service: Annotated[str, _Required] = Field("database", alias="LCP_DATABASE_SERVICE")
    """Id of an RDS instance or cluster, or `host[:port]`."""
    database_tls: Annotated[DatabaseTls | None, BeforeValidator(values.database_tls)] = Field(
        None, alias="LCP_DATABASE_TLS"
    )
    """None means by the database: RDS's is verified, and so is one that a CA is given for."""
    database_ca: Annotated[SecretStr | None, BeforeValidator(values.database_ca)] = Field(
        None, alias="LCP_DATABASE_CA"
    )
    """Whose certificates are believed: PEM, a Secrets Manager ARN or a path; None means Amazon's.
    No secret, but whoever puts a key here by mistake shall not find it in a log."""
    dbname: Annotated[str, BeforeValidator(values.database_name)] = Field(
        "lportal", alias="LCP_DBNAME"
    )
    master_user_name: Annotated[str, _Required] = Field("dxpcloud", alias="LCP_MASTER_USER_NAME")
    master_user_password: SecretStr = Field(
        SecretStr(MASTER_TOKEN_VARIABLE), alias="LCP_MASTER_USER_PASSWORD"
    )
    """The password or a Secrets Manager ARN; the default means the project master token's value."""
    loader_user_name: Annotated[str, _Required] | None = Field(None, alias="LCP_LOADER_USER_NAME")
    """Loads dumps where the master user may not make accounts: rights on staging schemas only."""
    loader_user_password: SecretStr | None = Field(None, alias="LCP_LOADER_USER_PASSWORD")
    """The password or a Secrets Manager ARN."""
    site_user_name: Annotated[str, _Required] | None = Field(None, alias="LCP_SITE_USER_NAME")
    """Owns restored views, triggers, routines and events; None means an account made for that."""
    site_user_password: SecretStr | None = Field(None, alias="LCP_SITE_USER_PASSWORD")
    """The password or a Secrets Manager ARN."""
    project_master_token: Annotated[SecretStr | None, BeforeValidator(values.master_token)] = Field(
        None, alias="LCP_PROJECT_MASTER_TOKEN"
    )
    """The token or a Secrets Manager ARN."""
    project_id: Annotated[str, BeforeValidator(values.name)] = Field(
        "dxpcloud", alias="LCP_PROJECT_ID"
    )
    environment_id: Annotated[str, BeforeValidator(values.name)] = Field(
        "dev", alias="LCP_ENVIRONMENT_ID"
    )
    environment_type: Annotated[str, BeforeValidator(lambda v: str(v).strip().lower())] = Field(
        "development", alias="LCP_ENVIRONMENT_TYPE"
    )
    """Only an environment of type `production` may restore on a schedule."""
    schedules_since: AwareDatetime | None = Field(None, alias="LCP_SCHEDULES_SINCE")
    """Since when the schedules have been as they are; only the watch function is told."""
    create_function: str | None = Field(None, alias="LCP_CREATE_FUNCTION")
    """Names of the functions that the API starts; only the api function has them."""
    restore_function: str | None = Field(None, alias="LCP_RESTORE_FUNCTION")
    upload_function: str | None = Field(None, alias="LCP_UPLOAD_FUNCTION")
    assemble_function: str | None = Field(None, alias="LCP_ASSEMBLE_FUNCTION")
    verify_function: str | None = Field(None, alias="LCP_VERIFY_FUNCTION")
    user_pool_id: Annotated[str | None, BeforeValidator(values.user_pool_id)] = Field(
        None, alias="LCP_USER_POOL_ID"
    )
    """The Cognito user pool of those who may call the API; only the api function has it."""
    user_pool_client_id: Annotated[str, _Required] | None = Field(
        None, alias="LCP_USER_POOL_CLIENT_ID"
    )
    """The pool's app client: without a secret, and with USER_PASSWORD_AUTH allowed."""
    viewer_group: Annotated[str, BeforeValidator(values.group)] = Field(
        "viewers", alias="LCP_VIEWER_GROUP"
    )
    """The pool's group whose members may list and download."""
    admin_group: Annotated[str, BeforeValidator(values.group)] = Field(
        "admins", alias="LCP_ADMIN_GROUP"
    )
    """The pool's group whose members may do all."""
    browser_origin: Annotated[str | None, BeforeValidator(values.origin)] = Field(
        None, alias="LCP_BROWSER_ORIGIN"
    )
    """The origin of the web page that may call the API; None means no page may."""
    service_log_level: Annotated[str, BeforeValidator(values.level)] = Field(
        "INFO", alias="LCP_SERVICE_LOG_LEVEL"
    )
    debug_log: Annotated[bool, BeforeValidator(values.flag)] = Field(False, alias="LCP_DEBUG_LOG")

    notices: tuple[Notice, ...] = ()
    """Values that were accepted but mean something else than they say."""

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
