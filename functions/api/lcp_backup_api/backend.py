"""What the routes work with, built once per process and in this one place."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from aws_lambda_powertools import Logger
from pydantic import SecretStr

from lcp_backup.aws import clients
from lcp_backup.aws.functions import FunctionStarter
from lcp_backup.catalog import Catalog, utc_now
from lcp_backup.composition import Environment, secret
from lcp_backup.errors import SettingsError
from lcp_backup.jobs.task_end import LONGEST
from lcp_backup.model import RunKind
from lcp_backup.setting_fields import MASTER_TOKEN_VARIABLE
from lcp_backup.settings import Settings
from lcp_backup.uploads import Uploads
from lcp_backup_api.user_pool import UserPool, cognito_client
from lcp_backup_api.users import Groups, Users

LONGEST_WAIT: Final = timedelta(seconds=20)
"""How long a call waits for a run, such as that of an upload by form: API Gateway gives it 30
seconds."""


@dataclass(frozen=True)
class Backend:
    """The collaborators of the routes."""

    settings: Settings
    catalog: Catalog
    uploads: Uploads
    users: Users
    start: Callable[[str, dict[str, object]], None]
    """Starts a function by name with an event, without waiting for its end; raises AwsError."""
    log: Logger
    longest_wait: timedelta = LONGEST_WAIT

    def function_for(self, kind: RunKind) -> str:
        """The name of the function that does such a run; raises SettingsError."""
        variable, name = {
            RunKind.CREATE: ("LCP_CREATE_FUNCTION", self.settings.create_function),
            RunKind.RESTORE: ("LCP_RESTORE_FUNCTION", self.settings.restore_function),
            RunKind.UPLOAD: ("LCP_UPLOAD_FUNCTION", self.settings.upload_function),
            RunKind.DOWNLOAD: ("LCP_ASSEMBLE_FUNCTION", self.settings.assemble_function),
            RunKind.VERIFY: ("LCP_VERIFY_FUNCTION", self.settings.verify_function),
            RunKind.REPORT: ("LCP_VERIFY_FUNCTION", self.settings.verify_function),
        }[kind]
        if name is None:
            raise SettingsError(variable, None, "name the function to start")
        return name

    @property
    def restores_own_backups(self) -> bool:
        """Whether restores read from this environment, so that a backup can be looked up here."""
        settings = self.settings
        source = (settings.source_bucket, settings.source_prefix)
        return source == (settings.backup_bucket, settings.backup_prefix)


def build(settings: Settings) -> Backend:
    """The backend of a real function; raises SettingsError."""
    environment = Environment.of(settings)
    pool_id, client_id = settings.required_user_pool()
    token = settings.project_master_token

    def master_token() -> SecretStr | None:
        return None if token is None else secret(token, MASTER_TOKEN_VARIABLE)

    return Backend(
        settings=settings,
        catalog=environment.catalog,
        uploads=Uploads(
            environment.catalog,
            longest=LONGEST
            if settings.upload_machine
            else timedelta(seconds=settings.function_timeout),
        ),
        users=Users(
            UserPool(cognito_client(pool_id), pool_id, client_id),
            master_token,
            environment.log,
            utc_now,
            Groups(viewers=settings.viewer_group, admins=settings.admin_group),
        ),
        start=FunctionStarter(clients.functions()).start,
        log=environment.log,
    )
