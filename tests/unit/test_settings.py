"""Settings: every variable of the original service, its default, and what a wrong value says."""

from typing import Annotated, Literal

import pytest
from pydantic import BeforeValidator, SecretStr

from lcp_backup.errors import SettingsError
from lcp_backup.setting_values import RestoreStrategy, holds_secret
from lcp_backup.settings import Settings

TOKEN = "0123456789abcdef0123456789abcdef"
DR = {
    "LCP_BACKUP_RESTORE_SCHEDULE": "35 * * * *",
    "LCP_ENVIRONMENT_TYPE": "production",
    "LCP_BACKUP_BUCKET": "here",
    "LCP_BACKUP_RESTORE_SOURCE_BUCKET": "there",
}


def test_the_defaults_are_those_of_the_original() -> None:
    settings = Settings.from_env({})
    assert settings.backup_create_schedule is None  # a time is drawn once per stack
    assert settings.backup_cleanup_schedule.text == "0 1 * * *"
    assert settings.backup_restore_schedule is None
    assert settings.backup_folder == "/opt/liferay/data"
    assert settings.backup_retention_days == 30
    assert settings.backup_volume_shrink_limit == 50
    assert settings.database_service == "database"
    assert settings.dbname == "lportal"
    assert settings.master_user_name == "dxpcloud"
    assert settings.backup_restore_strategy is RestoreStrategy.PREPARE_AND_SWAP
    assert settings.log_level == "INFO"
    assert settings.backup_prefix == "dxpcloud/dev"


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Settings.from_env({"LCP_DBNAME": " ", "LCP_BACKUP_RESTORE_SCHEDULE": ""}) == (
        Settings.from_env({})
    )


def test_the_passwords_default_is_the_project_master_tokens_value() -> None:
    settings = Settings.from_env({"LCP_PROJECT_MASTER_TOKEN": TOKEN})
    assert settings.database_password().get_secret_value() == TOKEN
    own = Settings.from_env({"LCP_MASTER_USER_PASSWORD": "own", "LCP_PROJECT_MASTER_TOKEN": TOKEN})
    assert own.database_password().get_secret_value() == "own"
    with pytest.raises(SettingsError, match="LCP_MASTER_USER_PASSWORD is not set"):
        Settings.from_env({}).database_password()


def test_the_originals_spelling_of_the_default_schedule_means_the_default() -> None:
    settings = Settings.from_env({"LCP_BACKUP_CREATE_SCHEDULE": "[5-55][0-1] * * *"})
    assert settings.backup_create_schedule is None


def test_a_verify_schedule_is_drawn_unless_it_is_given_or_none() -> None:
    def given(**env: str) -> tuple[object, object]:
        settings = Settings.from_env(env)
        schedule = settings.backup_verify_schedule
        return settings.backup_verify_schedule_given, schedule and schedule.text

    assert given() == given(LCP_BACKUP_VERIFY_SCHEDULE="Weekly") == (None, None)
    assert given(LCP_BACKUP_VERIFY_SCHEDULE="none") == ("none", None)
    assert given(LCP_BACKUP_VERIFY_SCHEDULE="0 4 * * SUN")[1] == "0 4 * * SUN"
    with pytest.raises(SettingsError, match="LCP_BACKUP_VERIFY_SCHEDULE is 'never'"):
        given(LCP_BACKUP_VERIFY_SCHEDULE="never")


def test_statements_to_verify_by_are_parted_by_semicolons() -> None:
    sql = "SELECT 'a;b' LIKE 'a%';\nSELECT COUNT(*) > 0\n FROM User_; SELECT 1;"
    assert Settings.from_env({"LCP_BACKUP_VERIFY_SQL": sql}).backup_verify_sql == (
        "SELECT 'a;b' LIKE 'a%'",
        "SELECT COUNT(*) > 0\n FROM User_",
        "SELECT 1",
    )


def test_more_than_thirty_days_are_thirty_and_a_warning() -> None:
    settings = Settings.from_env({"LCP_BACKUP_RETENTION_PERIOD": "90"})
    assert settings.backup_retention_days == 30
    assert [notice.code for notice in settings.notices] == ["retention-cut"]
    assert Settings.from_env({"LCP_BACKUP_RETENTION_PERIOD": "7"}).notices == ()


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("LCP_BACKUP_RETENTION_PERIOD", "0", "1 to 30"),
        ("LCP_BACKUP_RETENTION_PERIOD", "-3", "1 to 30"),
        ("LCP_BACKUP_KEEP", "yearly:1", "names no period: hourly, daily, weekly are allowed"),
        ("LCP_BACKUP_EXCLUDE_TABLES", "Audit_*,,User_", "a list of patterns with commas between"),
        ("LCP_BACKUP_EXCLUDE_PATHS", "*.tmp,", "as in a .gitignore"),
        ("LCP_BACKUP_EXCLUDE_PATHS", "/", "'/' names nothing"),
        ("LCP_BACKUP_EXCLUDE_PATHS", "[z-a]", "'[z-a]' cannot be read"),
        ("LCP_BACKUP_EXCLUDE_PATHS", "a[]", "'a[]' cannot be read"),
        ("LCP_BACKUP_EXCLUDE_PATHS", "a[!]", "'a[!]' cannot be read"),
        ("LCP_BACKUP_KEEP", "daily", "'daily' has no number from 1 to 9999"),
        ("LCP_BACKUP_KEEP", "daily:0", "'daily:0' has no number"),
        ("LCP_BACKUP_KEEP", "daily:7,daily:8", "daily stands there twice"),
        ("LCP_BACKUP_KEEP", "daily:7,", "or nothing, and every backup stays"),
        ("LCP_BACKUP_RETENTION_PERIOD", "a month", "1 to 30"),
        ("LCP_BACKUP_RETENTION_PERIOD", "7.5", "1 to 30"),
        ("LCP_BACKUP_FOLDER", "data", "absolute path"),
        ("LCP_BACKUP_FOLDER", "/", "absolute path"),
        ("LCP_BACKUP_FOLDER", "/mnt/../etc", "absolute path"),
        ("LCP_BACKUP_VOLUME_THREADS", "0", "1 to 64"),
        ("LCP_BACKUP_WORKERS", "0", "1 to 64"),
        ("LCP_BACKUP_WORKERS", "65", "1 to 64"),
        ("LCP_BACKUP_VOLUME_THREADS", "65", "1 to 64"),
        ("LCP_BACKUP_VOLUME_THREADS", "many", "1 to 64"),
        ("LCP_BACKUP_VOLUME_SHRINK_LIMIT", "101", "0 to 100"),
        ("LCP_BACKUP_VOLUME_SHRINK_LIMIT", "-1", "0 to 100"),
        ("LCP_BACKUP_VOLUME_SHRINK_LIMIT", "50 %", "0 to 100"),
        ("LCP_FILE_SYSTEM_MOUNT_PATH", "liferay", "absolute path"),
        ("LCP_BACKUP_RESTORE_STRATEGY", "MERGE", "PREPARE_AND_SWAP or OVERWRITE"),
        ("LCP_BACKUP_CREATE_SCHEDULE", "0 0 * *", "field"),
        ("LCP_BACKUP_CREATE_SCHEDULE", "99 0 * * *", "99"),
        ("LCP_BACKUP_CLEANUP_SCHEDULE", "@reboot", "@reboot"),
        ("LCP_BACKUP_RESTORE_SCHEDULE", "[5-55][0-1] * * *", ""),
        ("LCP_ENVIRONMENT_ID", "a-b", "no dash"),
        ("LCP_PROJECT_ID", "a/b", "no dash"),
        ("LCP_DBNAME", "l`portal", "1 to 48"),
        ("LCP_DBNAME", "x" * 49, "1 to 48"),
        ("LCP_SERVICE_LOG_LEVEL", "LOUD", "DEBUG, INFO"),
        ("LCP_DEBUG_LOG", "yes", "true or false"),
        ("LCP_BACKUP_PREFIX", "a b", "S3 key prefix"),
        ("LCP_SCHEDULES_SINCE", "2026-11-23T00:15:00", "timezone"),
        ("LCP_BACKUP_RESTORE_UPLOADED", "yes", "true or false"),
        ("LCP_BACKUP_RESTORE_SOURCE_ACCOUNT", "1234", "12 digits"),
        ("LCP_BACKUP_BUCKET_ACCOUNT", "arn:aws:iam::123456789012", "12 digits"),
        ("LCP_ADMIN_GROUP", "a b", "1 to 128"),
        ("LCP_BROWSER_ORIGIN", "https://a.example/path", "an origin"),
        ("LCP_BROWSER_ORIGIN", "null", "an origin"),
        ("LCP_BROWSER_ORIGIN", "*", "an origin"),
    ],
)
def test_a_wrong_value_names_its_variable_the_value_and_what_is_allowed(
    variable: str, value: str, allowed: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({variable: value})
    assert str(raised.value).startswith(f"{variable} is {value!r}: ")
    assert allowed in raised.value.allowed


def test_a_restore_schedule_is_for_production_environments_only() -> None:
    assert Settings.from_env(DR).backup_restore_schedule is not None
    with pytest.raises(SettingsError, match="LCP_ENVIRONMENT_TYPE is 'development'"):
        Settings.from_env({**DR, "LCP_ENVIRONMENT_TYPE": "development"})


def test_an_environment_never_follows_itself() -> None:
    with pytest.raises(SettingsError, match="must not be this environment's own"):
        Settings.from_env({**DR, "LCP_BACKUP_RESTORE_SOURCE_BUCKET": "here"})
    same_bucket = {
        **DR,
        "LCP_BACKUP_RESTORE_SOURCE_BUCKET": "here",
        "LCP_BACKUP_RESTORE_SOURCE_PREFIX": "acme/prd",
    }
    assert Settings.from_env(same_bucket).source_prefix == "acme/prd"


def test_the_source_belongs_to_this_account_unless_another_is_named() -> None:
    own = {"LCP_BACKUP_BUCKET_ACCOUNT": "123456789012"}
    assert Settings.from_env(own).source_account == "123456789012"
    other = {**own, "LCP_BACKUP_RESTORE_SOURCE_ACCOUNT": "210987654321"}
    assert Settings.from_env(other).source_account == "210987654321"
    assert Settings.from_env({}).source_account is None


def test_a_scheduled_restore_takes_no_upload_unless_it_is_told_to() -> None:
    assert Settings.from_env({}).backup_restore_uploaded is False
    assert Settings.from_env({"LCP_BACKUP_RESTORE_UPLOADED": "TRUE"}).backup_restore_uploaded


class SecretStrategy:
    """No secret, whatever its name says."""


@pytest.mark.parametrize(
    ("annotation", "holds"),
    [
        (SecretStr, True),
        (SecretStr | None, True),
        (Annotated[SecretStr, BeforeValidator(str)] | None, True),
        (Annotated[SecretStr | None, BeforeValidator(str)], True),
        (dict[str, tuple[SecretStr, ...]], True),
        (str | None, False),
        (SecretStrategy, False),
        (Literal["SecretStr"], False),
    ],
)
def test_a_secret_is_known_by_its_type(annotation: object, holds: bool) -> None:
    assert holds_secret(annotation) is holds


def test_no_secret_is_shown_by_settings_or_their_errors() -> None:
    settings = Settings.from_env(
        {"LCP_MASTER_USER_PASSWORD": "hunter2", "LCP_PROJECT_MASTER_TOKEN": TOKEN}
    )
    assert "hunter2" not in repr(settings)
    assert TOKEN not in str(settings.model_dump())


@pytest.mark.parametrize("token", ["t0ken", "x" * 31, "x" * 31 + "\n"])
def test_a_master_token_under_32_characters_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(SettingsError, match="32 characters or more") as raised:
        Settings.from_env({"LCP_PROJECT_MASTER_TOKEN": token})
    assert token.strip() not in str(raised.value)
    Settings.from_env({"LCP_PROJECT_MASTER_TOKEN": TOKEN})
    Settings.from_env(
        {"LCP_PROJECT_MASTER_TOKEN": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:t"}
    )


def test_viewers_and_admins_are_never_one_group() -> None:
    with pytest.raises(SettingsError, match="every viewer would be an admin"):
        Settings.from_env({"LCP_VIEWER_GROUP": "admins"})


def test_debug_log_turns_the_level_down() -> None:
    assert Settings.from_env({"LCP_DEBUG_LOG": "TRUE"}).log_level == "DEBUG"


def test_a_bucket_is_asked_for_by_name() -> None:
    with pytest.raises(SettingsError, match="LCP_BACKUP_BUCKET is not set"):
        Settings.from_env({}).required_bucket()


def test_the_api_needs_a_user_pool_and_its_client() -> None:
    pool = {"LCP_USER_POOL_ID": "eu-central-1_AbC123"}
    client = {"LCP_USER_POOL_CLIENT_ID": "6fnt5mkq1"}
    assert Settings.from_env({**pool, **client}).required_user_pool() == (
        "eu-central-1_AbC123",
        "6fnt5mkq1",
    )
    with pytest.raises(SettingsError, match="LCP_USER_POOL_ID is not set"):
        Settings.from_env(client).required_user_pool()
    with pytest.raises(SettingsError, match="LCP_USER_POOL_CLIENT_ID is not set"):
        Settings.from_env(pool).required_user_pool()


@pytest.mark.parametrize("value", ["pool", "eu-central-1", "_x", "eu-1_a/../b", "evil.example_x"])
def test_a_user_pools_id_leads_nowhere_but_to_a_pool(value: str) -> None:
    """Its strings become an address's."""
    with pytest.raises(SettingsError, match="LCP_USER_POOL_ID is"):
        Settings.from_env({"LCP_USER_POOL_ID": value})


@pytest.mark.parametrize("folder", ["/mnt/liferay", "/mnt/liferay/", "/mnt/liferay/data"])
def test_a_folder_on_the_file_system_is_taken(folder: str) -> None:
    mounted = {"LCP_FILE_SYSTEM_MOUNT_PATH": "/mnt/liferay", "LCP_BACKUP_FOLDER": folder}
    assert Settings.from_env(mounted).backup_folder == folder.rstrip("/")


@pytest.mark.parametrize("folder", ["", "/mnt", "/mnt/liferay2", "/mnt/lif", "/opt/liferay/data"])
def test_a_folder_beside_the_file_system_names_where_it_must_lie(folder: str) -> None:
    mounted = {"LCP_FILE_SYSTEM_MOUNT_PATH": "/mnt/liferay", "LCP_BACKUP_FOLDER": folder}
    with pytest.raises(SettingsError, match="LCP_BACKUP_FOLDER is .* at or below /mnt/liferay"):
        Settings.from_env(mounted)
    Settings.from_env({"LCP_BACKUP_FOLDER": folder})  # no file system, so nothing to hold it to


def test_scripts_on_a_schedule_need_a_strategy_that_leaves_the_live_site() -> None:
    env = {
        "LCP_ENVIRONMENT_TYPE": "production",
        "LCP_BACKUP_RESTORE_SCHEDULE": "@hourly",
        "LCP_BACKUP_RESTORE_SOURCE_BUCKET": "other",
        "LCP_BACKUP_RESTORE_SCRIPTS_ON_SCHEDULE": "true",
    }
    assert Settings.from_env(env).restore_scripts == "dxpcloud/dev/scripts"
    with pytest.raises(SettingsError, match="SCRIPTS_ON_SCHEDULE is 'true'.*PREPARE_AND_SWAP"):
        Settings.from_env({**env, "LCP_BACKUP_RESTORE_STRATEGY": "OVERWRITE"})
