"""Create: one database and one volume captured together, and published only when both are whole."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final, TypedDict

from lcp_backup.catalog import Catalog
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.errors import Conflict, InvalidRequest, LeaseHeld
from lcp_backup.jobs.active_run import ActiveRun, RunTiming, announced
from lcp_backup.jobs.capture import Capture
from lcp_backup.jobs.fan_out import (
    check_dump_fits,
    hand_out,
    is_made_by_workers,
    workers_for,
)
from lcp_backup.jobs.handing_out import ALONE
from lcp_backup.jobs.new_backup import announce, publish
from lcp_backup.jobs.queued_run import end_queued, queued, succeeded_before
from lcp_backup.jobs.shared_run import SHARED_TERM
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.model import BackupId, Manifest, RunKind
from lcp_backup.requests import CreateRequest
from lcp_backup.settings import Settings
from lcp_backup.telemetry import EventName, Telemetry
from lcp_backup.volume.mounts import check_mounted

_POLL_SECONDS = 3.0
_MINUTE: Final = timedelta(minutes=1)
_AHEAD: Final = timedelta(days=1)
"""How far clocks may differ. A backup of a later time would be the newest until then."""


class _Failure(TypedDict):
    metric: str
    failed: EventName


_FAILURE: Final[_Failure] = {"metric": "CreateFailure", "failed": "Backup Failed"}
"""As what a create that fails is counted and told."""


def no_workers(run_id: str) -> None:
    """What starts the workers of a run where there are none."""
    raise InvalidRequest(f"run {run_id} needs workers, and there is no state machine to start them")


@dataclass(frozen=True)
class CreateResult:
    """What a create answers; `created` is False when the backup had been published before."""

    backup_id: str
    created: bool
    run_id: str
    bytes: int
    """Stored bytes of both archives."""
    warnings: int
    is_under_way: bool = False
    """Whether several functions are at work on it by now; what comes of it, the run tells."""


def create_backup(
    request: CreateRequest,
    *,
    settings: Settings,
    catalog: Catalog,
    telemetry: Telemetry,
    locate: Callable[[], DatabaseEndpoint],
    programs: Sequence[Path],
    timing: RunTiming,
    start_workers: Callable[[str], None] = no_workers,
    pause: Callable[[float], None] = time.sleep,
) -> CreateResult:
    """Makes the backup of the request's slot, or answers the one that exists.

    Two deliveries of one event have one slot: the second waits for the first while that lives, and
    makes the backup itself when the first has died. A run that somebody asked for answers no backup
    that had begun before, which would lack what was changed since, and waits for its minute.

    Nothing is published unless both archives are whole; whatever is raised, no multipart stays open
    and the live data is not touched. What was stored of a large volume when the time ended is kept,
    and the next create goes on from there.

    What is too much for one invocation is left to several, and the answer then says so.

    Arguments: `locate` finds the database, anew for every run; `programs` are the folders to look
    for dump programs in, the first one first; `start_workers` starts the state machine for a run;
    `pause` takes seconds. Raises LeaseHeld, Conflict, StoredInPart, OutOfTime, DatabaseError,
    VolumeError, StorageError, AwsError and their kinds; InvalidRequest for workers that there are
    not, and for a time that has not come.
    """
    with queued(catalog, request.run_id, telemetry.log):
        if request.time > catalog.now() + _AHEAD:
            raise InvalidRequest(
                f"time: {request.time:%Y-%m-%dT%H:%MZ} has not come yet, and its backup would be"
                " the newest until then: leave time out for now"
            )
        succeeded_before(catalog, request.run_id)  # then the backup is found, unless it was deleted
        create = _Create(
            request=request,
            slot_id=BackupId.of(settings.project_id, settings.environment_id, request.time),
            settings=settings,
            catalog=catalog,
            telemetry=telemetry,
            locate=locate,
            programs=programs,
            timing=timing,
            start_workers=start_workers,
            pause=pause,
        )
        create.wait_for_the_minute()
        return create.find_or_make()


def _result(manifest: Manifest, *, created: bool) -> CreateResult:
    return CreateResult(
        backup_id=manifest.id,
        created=created,
        run_id=manifest.run_id,
        bytes=manifest.size,
        warnings=manifest.warning_count,
    )


def _under_way(backup_id: str, run_id: str) -> CreateResult:
    return CreateResult(
        backup_id=backup_id, created=False, run_id=run_id, bytes=0, warnings=0, is_under_way=True
    )


@dataclass(frozen=True, kw_only=True)
class _Create:
    """One create: what it was asked for, and what it works with."""

    request: CreateRequest
    slot_id: BackupId
    """The id that the slot alone would give: another backup may have it."""
    settings: Settings
    catalog: Catalog
    telemetry: Telemetry
    locate: Callable[[], DatabaseEndpoint]
    programs: Sequence[Path]
    timing: RunTiming
    start_workers: Callable[[str], None]
    pause: Callable[[float], None]

    def wait_for_the_minute(self) -> None:
        """A run that was asked for in a minute that has its backup is queued for the next one."""
        asked, now = self.request, self.catalog.now
        latest = now() + _MINUTE
        while asked.run_id is not None and now() < asked.time <= latest:
            self.pause(min(_POLL_SECONDS, (asked.time - now()).total_seconds()))

    def find_or_make(self) -> CreateResult:
        """Answers the slot's backup, or makes it when nobody else does."""
        workers = workers_for(self.request, self.settings, self.catalog, self.timing)
        backup_id = self.catalog.backups.id_for(self.slot_id)
        while (known := self._wait_for_other_delivery(str(backup_id))) is None:
            # Anew: what was waited for may have left something to go on from, under that id.
            backup_id = self.catalog.backups.id_for(self.slot_id)
            try:
                if workers == ALONE:
                    return self._make(backup_id)
                return self._leave_to(workers, str(backup_id))
            except LeaseHeld as held:
                if held.backup_id != str(backup_id):
                    raise
                # The other delivery was faster by a moment: it is waited for like any other.
        if not known.is_under_way:
            self.telemetry.log.info("published already", backup_id=known.backup_id)
            end_queued(self.catalog, self.request.run_id, created=False)
        return known

    def _wait_for_other_delivery(self, backup_id: str) -> CreateResult | None:
        """The backup once it is published, or None when nobody who lives is making it.

        One that several functions are at work on is not waited for: that may take hours.
        """
        asked, catalog, deadline = self.request, self.catalog, self.timing.deadline
        while True:
            if (manifest := catalog.backups.find(backup_id)) is not None:
                if asked.run_id not in {None, manifest.run_id} and manifest.started_at < asked.time:
                    raise Conflict(
                        f"backup {backup_id} of the same minute had begun before this one was asked"
                        " for, so it may lack what has changed since; ask again in a minute"
                    )
                return _result(manifest, created=False)
            if catalog.lease.backup_in_use() != backup_id:
                return None
            held = f"backup {backup_id} is still being made by another run"
            if (run_id := is_made_by_workers(catalog, backup_id)) is not None:
                if asked.run_id not in {None, run_id}:
                    raise LeaseHeld(held)
                return _under_way(backup_id, run_id)
            if deadline is not None and catalog.now() >= deadline:
                raise LeaseHeld(held)
            self.pause(_POLL_SECONDS)

    def _make(self, backup_id: BackupId) -> CreateResult:
        """Makes the backup in this invocation: one run from lease to event."""
        active = ActiveRun(self._new_run(str(backup_id)), self.telemetry, self.timing)
        with announced(active, self.telemetry, **_FAILURE) as run:
            run.add_notices(self.settings.notices)
            check_dump_fits(self.settings, self.catalog, self.timing)
            check_mounted(self.settings.backup_folder, self.settings.file_system_mount_path)
            captured = Capture(
                run=run,
                settings=self.settings,
                catalog=self.catalog,
                backup_id=backup_id,
                slot=self.slot_id.slot,
                backup_type=self.request.type,
                locate=self.locate,
                programs=self.programs,
            ).capture()
            manifest = publish(run, captured, self.catalog, self.telemetry)
        announce(manifest, self.telemetry)
        return _result(manifest, created=True)

    def _leave_to(self, workers: int, backup_id: str) -> CreateResult:
        """Begins the run, and has several functions go on with it."""
        timing = replace(self.timing, lease_term=SHARED_TERM)
        active = ActiveRun(self._new_run(backup_id), self.telemetry, timing)
        with announced(active, self.telemetry, **_FAILURE) as run:
            check_dump_fits(self.settings, self.catalog, self.timing)
            hand_out(
                run,
                self.request,
                slot=self.slot_id.slot,
                workers=workers,
                catalog=self.catalog,
                start=self.start_workers,
            )
        return _under_way(backup_id, active.id)

    def _new_run(self, backup_id: str) -> NewRun:
        return NewRun(self.catalog, RunKind.CREATE, backup_id, run_id=self.request.run_id)
