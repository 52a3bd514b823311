"""Every variable the service knows, its default and its check; read by `settings` alone."""

from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
)

from lcp_backup import setting_values as values
from lcp_backup.cron import CronExpression
from lcp_backup.model import Notice
from lcp_backup.setting_values import DatabaseTls, Period, RestoreStrategy, VolumeMode

MASTER_TOKEN_VARIABLE = "LCP_PROJECT_MASTER_TOKEN"  # noqa: S105 -- the variable's name, no secret

_Required = StringConstraints(min_length=1, strip_whitespace=True)


class SettingFields(BaseModel):
    """The values of all variables; each field's alias is its variable's name."""

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
    backup_workers: Annotated[int, BeforeValidator(values.workers)] = Field(
        8, alias="LCP_BACKUP_WORKERS"
    )
    """How many functions may work on one run side by side, 1 to 64; 1 means only its own."""
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
    stack_name: Annotated[str, _Required] | None = Field(None, alias="LCP_STACK_NAME")
    """What the rules of the schedules are named after; only the api function is told."""
    function_timeout: Annotated[int, Field(ge=1, le=900)] = Field(900, alias="LCP_FUNCTION_TIMEOUT")
    """Seconds that a run may take, to be shown; only the api function is told."""
    schedules_since: AwareDatetime | None = Field(None, alias="LCP_SCHEDULES_SINCE")
    """Since when the schedules have been as they are; only the watch function is told."""
    create_function: str | None = Field(None, alias="LCP_CREATE_FUNCTION")
    """Names of the functions that the API starts; only the api function has them."""
    restore_function: str | None = Field(None, alias="LCP_RESTORE_FUNCTION")
    upload_function: str | None = Field(None, alias="LCP_UPLOAD_FUNCTION")
    assemble_function: str | None = Field(None, alias="LCP_ASSEMBLE_FUNCTION")
    verify_function: str | None = Field(None, alias="LCP_VERIFY_FUNCTION")
    restore_machine: str | None = Field(None, alias="LCP_RESTORE_MACHINE")
    """ARN of the state machine that a restore by several workers runs on; None: there is none."""
    create_machine: str | None = Field(None, alias="LCP_CREATE_MACHINE")
    """ARN of the state machine that a create by several workers runs on; None: there is none."""
    verify_machine: str | None = Field(None, alias="LCP_VERIFY_MACHINE")
    """ARN of the state machine that a verification by several workers runs on; None: none."""
    assemble_machine: str | None = Field(None, alias="LCP_ASSEMBLE_MACHINE")
    """ARN of the state machine that an assembly by several workers runs on; None: none."""
    upload_machine: str | None = Field(None, alias="LCP_UPLOAD_MACHINE")
    """ARN of the state machine on which a task takes a large upload in; None: there is none."""
    dump_task_subnet_ids: str | None = Field(None, alias="LCP_DUMP_TASK_SUBNET_IDS")
    """Where a task runs that dumps for a create by several workers, or loads for a restore or a
    verification by several; None: there is no such task."""
    user_pool_id: Annotated[str | None, BeforeValidator(values.user_pool_id)] = Field(
        None, alias="LCP_USER_POOL_ID"
    )
    """The Cognito user pool of those who may call the API; only the api function has it."""
    user_pool_client_id: Annotated[str, _Required] | None = Field(
        None, alias="LCP_USER_POOL_CLIENT_ID"
    )
    """The pool's app client: without a secret, and with USER_PASSWORD_AUTH allowed."""
    user_pool_domain: Annotated[str | None, BeforeValidator(values.host)] = Field(
        None, alias="LCP_USER_POOL_DOMAIN"
    )
    """The host of the pool's hosted login, for pages that sign in by it; None means none do."""
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
