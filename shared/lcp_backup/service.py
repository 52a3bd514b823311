"""The jobs of an environment, as its functions call them: built once per process, not at import."""

from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from lcp_backup import settings
from lcp_backup.aws import clients
from lcp_backup.aws.bus import EventBus
from lcp_backup.aws.machines import MachineStarter
from lcp_backup.aws.rds import is_rds_id, locate_database
from lcp_backup.catalog import utc_now
from lcp_backup.composition import Environment, secret
from lcp_backup.database import tls
from lcp_backup.database.accounts import Accounts, Login
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.errors import SettingsError, TaskFailed
from lcp_backup.jobs import load_task
from lcp_backup.jobs.active_run import RunTiming
from lcp_backup.jobs.assemble import assemble
from lcp_backup.jobs.assemble_by_workers import work_on_assembly
from lcp_backup.jobs.cleanup import clean_up
from lcp_backup.jobs.create import create_backup
from lcp_backup.jobs.create_by_workers import work_on_create
from lcp_backup.jobs.intake_task import TASKS_TIME, StartTask, end_of_task
from lcp_backup.jobs.queued_run import queued
from lcp_backup.jobs.report import report_on_backup
from lcp_backup.jobs.restore import restore_backup
from lcp_backup.jobs.restore_by_workers import work_on_restore
from lcp_backup.jobs.shared_run import SHARED_TERM
from lcp_backup.jobs.take_in import take_in
from lcp_backup.jobs.verify import verify_backup
from lcp_backup.jobs.verify_by_workers import work_on_verification
from lcp_backup.jobs.watch import watch
from lcp_backup.requests import (
    CleanupRequest,
    CreateRequest,
    DownloadRequest,
    PauseRequest,
    ReportRequest,
    RestoreRequest,
    UploadRequest,
    VerifyRequest,
)
from lcp_backup.setting_values import DatabaseTls
from lcp_backup.steps import (
    AssembleStepRequest,
    CreateStepRequest,
    RestoreStepRequest,
    UploadStepRequest,
    VerifyStepRequest,
)
from lcp_backup.telemetry import Telemetry

STOPPING_TIME = timedelta(seconds=20)
"""What a run that has to stop needs: kill the dump, abort the multiparts, write its record."""


def deadline(remaining_milliseconds: int) -> datetime:
    """When a run must stop so that it ends cleanly before Lambda kills it (UTC)."""
    return utc_now() + timedelta(milliseconds=remaining_milliseconds) - STOPPING_TIME


class Service:
    """The jobs of one environment, with their collaborators."""

    def __init__(self, environment: Environment) -> None:
        self._settings = config = environment.settings
        self._catalog = environment.catalog
        self._source = environment.source
        self._telemetry = Telemetry(
            environment.log,
            EventBus(clients.events()),
            project=config.project_id,
            environment=config.environment_id,
        )

    def create(self, request: CreateRequest, until: datetime) -> dict[str, Any]:
        """Makes a backup; `until` (UTC) is when the run must have stopped."""
        return asdict(
            create_backup(
                request,
                settings=self._settings,
                catalog=self._catalog,
                telemetry=self._telemetry,
                locate=lambda: self._endpoint(for_reading=True),
                programs=settings.program_folders(),
                timing=RunTiming(until),
                start_workers=partial(self._start, self._settings.create_machine),
            )
        )

    def create_step(self, request: CreateStepRequest, until: datetime) -> dict[str, Any]:
        """Does a step of a create that several functions work on, as `create`."""
        return work_on_create(
            request,
            settings=self._settings,
            catalog=self._catalog,
            telemetry=self._telemetry,
            locate=lambda: self._endpoint(for_reading=True),
            programs=settings.program_folders(),
            timing=RunTiming(until, lease_term=SHARED_TERM),
        )

    def restore(self, request: RestoreRequest, until: datetime) -> dict[str, Any]:
        """Brings a backup back; `until` (UTC) is when the run must have stopped."""
        return asdict(
            restore_backup(
                request,
                settings=self._settings,
                catalog=self._catalog,
                source=self._source,
                telemetry=self._telemetry,
                locate=lambda: self._endpoint(for_reading=False),
                accounts=self._accounts,
                timing=RunTiming(until),
                start_workers=partial(self._start, self._settings.restore_machine),
            )
        )

    def restore_step(
        self, request: RestoreStepRequest, until: datetime, *, is_task: bool = False
    ) -> dict[str, Any]:
        """Does a step of a restore that several functions work on, or a task, as `restore`."""
        return work_on_restore(
            request,
            settings=self._settings,
            catalog=self._catalog,
            source=self._source,
            telemetry=self._telemetry,
            locate=lambda: self._endpoint(for_reading=False),
            accounts=self._accounts,
            timing=_step_timing(until, is_task=is_task),
            is_task=is_task,
        )

    def _start(self, machine: str | None, name: str, event: dict[str, Any] | None = None) -> None:
        """An execution has a name, as a rule the run's id: there can be only one."""
        if machine is None:
            raise ValueError("no state machine is set")
        MachineStarter(clients.machines()).start(machine, name, event or {"run_id": name})

    def upload(self, request: UploadRequest, until: datetime) -> dict[str, Any]:
        """Takes an upload in; `until` (UTC) is when the run must have stopped."""
        machine = self._settings.upload_machine

        def start(name: str, run_id: str) -> None:
            self._start(machine, name, {"run_id": run_id, "execution": name})

        return self._take_in(request, RunTiming(until), start if machine else None)

    def upload_by_task(self, request: UploadRequest, until: datetime) -> dict[str, Any]:
        """Takes an upload in that was left to this task, as `upload`."""
        return self._take_in(request, RunTiming(until, whose_time=TASKS_TIME), None)

    def _take_in(
        self, request: UploadRequest, timing: RunTiming, start_task: StartTask | None
    ) -> dict[str, Any]:
        return asdict(
            take_in(
                request,
                settings=self._settings,
                catalog=self._catalog,
                telemetry=self._telemetry,
                timing=timing,
                start_task=start_task,
            )
        )

    def end_stopped_upload(self, upload_id: str, error: TaskFailed) -> None:
        """Fails the run of an upload whose task was stopped while it waited; others stay."""
        with suppress(TaskFailed), queued(self._catalog, upload_id, self._telemetry.log):
            raise error

    def upload_step(self, request: UploadStepRequest, until: datetime) -> dict[str, Any]:
        """Sees how the task of an upload ended; raises when it failed."""
        upload = UploadRequest(upload_id=request.run_id)
        finish = partial(self.upload_by_task, upload, until)
        end_of_task(request, self._catalog, self._telemetry, finish)
        return {}

    def assemble(self, request: DownloadRequest, until: datetime) -> dict[str, Any]:
        """Assembles a download; `until` (UTC) is when the run must have stopped."""
        return asdict(
            assemble(
                request,
                settings=self._settings,
                catalog=self._catalog,
                telemetry=self._telemetry,
                timing=RunTiming(until),
                start_workers=partial(self._start, self._settings.assemble_machine),
            )
        )

    def assemble_step(self, request: AssembleStepRequest, until: datetime) -> dict[str, Any]:
        """Does a step of an assembly that several functions work on, as `assemble`."""
        return work_on_assembly(
            request,
            catalog=self._catalog,
            telemetry=self._telemetry,
            timing=RunTiming(until, lease_term=SHARED_TERM),
        )

    def verify(self, request: VerifyRequest, until: datetime) -> dict[str, Any]:
        """Proves that a backup can be restored; `until` (UTC) is when it must have stopped."""
        return asdict(
            verify_backup(
                request,
                settings=self._settings,
                catalog=self._catalog,
                telemetry=self._telemetry,
                locate=self._scratch_server,
                timing=RunTiming(until),
                start_workers=partial(self._start, self._settings.verify_machine),
            )
        )

    def verify_step(
        self, request: VerifyStepRequest, until: datetime, *, is_task: bool = False
    ) -> dict[str, Any]:
        """Does a step of a verification that several functions work on, or a task, as `verify`."""
        return work_on_verification(
            request,
            settings=self._settings,
            catalog=self._catalog,
            telemetry=self._telemetry,
            locate=self._scratch_server,
            timing=_step_timing(until, is_task=is_task),
            is_task=is_task,
        )

    def report(self, request: ReportRequest, until: datetime) -> dict[str, Any]:
        """Compares rows and files of a backup; `until` (UTC) is when it must have stopped."""
        return asdict(
            report_on_backup(
                request,
                settings=self._settings,
                catalog=self._catalog,
                telemetry=self._telemetry,
                locate=self._scratch_server,
                timing=RunTiming(until),
            )
        )

    def pause_restores(self, request: PauseRequest) -> dict[str, Any]:
        """Keeps scheduled restores from starting, or lets them start again."""
        if request.action == "pause":
            self._catalog.pause.set("the restore function", request.reason)
        else:
            self._catalog.pause.clear()
        return {"restores_paused": self._catalog.pause.get() is not None}

    def cleanup(self, request: CleanupRequest, until: datetime) -> dict[str, Any]:
        """Deletes what is past its time; `until` (UTC) is when the run must have stopped."""
        return asdict(
            clean_up(
                self._settings,
                self._catalog,
                self._telemetry,
                RunTiming(until),
                dry_run=request.dry_run,
            )
        )

    def watch(self) -> dict[str, Any]:
        """Sees whether what the schedule asks for happened."""
        return asdict(watch(self._settings, self._catalog, self._source, self._telemetry))

    def _accounts(self) -> Accounts:
        config = self._settings
        return Accounts(
            loader=_login(
                config.loader_user_name, config.loader_user_password, "LCP_LOADER_USER_PASSWORD"
            ),
            site=_login(config.site_user_name, config.site_user_password, "LCP_SITE_USER_PASSWORD"),
        )

    def _endpoint(self, *, for_reading: bool) -> DatabaseEndpoint:
        config = self._settings
        return self._located(
            config.database_service,
            for_reading=for_reading,
            user=config.master_user_name,
            password=secret(config.database_password(), "LCP_MASTER_USER_PASSWORD"),
        )

    def _scratch_server(self) -> DatabaseEndpoint:
        """Where verifications load, and as whom: by default the site's own server and master."""
        config = self._settings
        user = config.backup_verify_user_name or config.master_user_name
        given = config.backup_verify_user_password
        password = (
            secret(config.database_password(), "LCP_MASTER_USER_PASSWORD")
            if given is None
            else secret(given, "LCP_BACKUP_VERIFY_USER_PASSWORD")
        )
        service = config.backup_verify_database_service or config.database_service
        return self._located(service, for_reading=False, user=user, password=password)

    def _located(
        self, service: str, *, for_reading: bool, user: str, password: SecretStr
    ) -> DatabaseEndpoint:
        # Looked up by every run: a failover or a rotated secret must not wait for a cold start.
        host, port = locate_database(service, for_reading=for_reading, client=clients.rds)
        is_rds = is_rds_id(service) or tls.is_rds_host(host)
        mode = tls.mode(
            self._settings.database_tls,
            is_rds=is_rds,
            has_ca=self._settings.database_ca is not None,
        )
        return DatabaseEndpoint(
            host=host,
            port=port,
            user=user,
            password=password,
            name=self._settings.dbname,
            tls=mode,
            ca=self._authorities(is_rds=is_rds) if mode is DatabaseTls.VERIFY_IDENTITY else None,
        )

    def _authorities(self, *, is_rds: bool) -> str:
        """The certificates that the database's must come from, in PEM form."""
        variable, given = "LCP_DATABASE_CA", self._settings.database_ca
        if given is None and not is_rds:
            raise SettingsError(
                variable,
                None,
                "LCP_DATABASE_TLS is VERIFY_IDENTITY and the database is not RDS's, so name the"
                " authority of its certificate: in PEM form, by the ARN of a secret that holds it"
                " so, or by a path (of the public ones: /etc/pki/tls/certs/ca-bundle.crt)",
            )
        named = given or SecretStr(str(tls.RDS_CA))
        text = secret(named, variable).get_secret_value()
        shown = name if (name := named.get_secret_value()).startswith(("/", "arn:")) else "given"
        try:
            if text.startswith("/"):
                text = Path(text).read_text(encoding="utf-8", errors="replace")
            return tls.certificates(text)
        except OSError as error:
            raise SettingsError(
                variable, shown, f"the file cannot be read ({error.strerror})"
            ) from None
        except ValueError as error:
            raise SettingsError(variable, shown, str(error)) from None


def _step_timing(until: datetime, *, is_task: bool) -> RunTiming:
    if is_task:
        return RunTiming(until, lease_term=SHARED_TERM, whose_time=load_task.TASKS_TIME)
    return RunTiming(until, lease_term=SHARED_TERM)


def _login(user: str | None, password: SecretStr | None, variable: str) -> Login | None:
    if user is None or password is None:
        return None
    return Login(user, secret(password, variable))


@cache
def service() -> Service:
    """This process's service; raises SettingsError."""
    return Service(Environment.of(settings.load()))
