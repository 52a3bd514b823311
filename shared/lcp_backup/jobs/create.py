"""Create: one database and one volume captured together, and published only when both are whole."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypedDict

from lcp_backup.catalog import Catalog
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.errors import (
    Conflict,
    InvalidRequest,
    LeaseHeld,
    LeaseLost,
    OutOfTime,
    StorageError,
    TableChangedDuringDump,
)
from lcp_backup.exclusion import PathPatterns
from lcp_backup.jobs.active_run import ActiveRun, RunTiming, announced
from lcp_backup.jobs.fan_out import (
    ALONE,
    check_dump_fits,
    hand_out,
    is_made_by_workers,
    workers_for,
)
from lcp_backup.jobs.new_backup import announce, new_manifest, publish
from lcp_backup.jobs.new_database import DumpedDatabase, store_database
from lcp_backup.jobs.new_volume import NewVolume, store_volume
from lcp_backup.jobs.queued_run import end_queued, queued, succeeded_before
from lcp_backup.jobs.shared_run import SHARED_TERM
from lcp_backup.jobs.side_by_side import Check, side_by_side
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.jobs.unfinished import LEAST_READ, keep_unfinished, packing_is_over
from lcp_backup.model import (
    BackupId,
    BackupType,
    Manifest,
    RunKind,
)
from lcp_backup.requests import CreateRequest
from lcp_backup.setting_values import VolumeMode
from lcp_backup.settings import Settings
from lcp_backup.telemetry import EventName, Telemetry
from lcp_backup.volume.measure import Measured, measure
from lcp_backup.volume.mounts import check_mounted

_POLL_SECONDS = 3.0
_MINUTE: Final = timedelta(minutes=1)


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
    not.
    """
    with queued(catalog, request.run_id, telemetry.log):
        succeeded_before(catalog, request.run_id)  # then the backup is found, unless it was deleted
        wanted = BackupId.of(settings.project_id, settings.environment_id, request.time)
        _wait_for_the_minute(request, catalog, pause)

        def capture(run: ActiveRun) -> Manifest:
            run.add_notices(settings.notices)
            check_dump_fits(settings, catalog, timing)
            check_mounted(settings.backup_folder, settings.file_system_mount_path)
            return _Capture(
                run=run,
                backup_id=backup_id,
                slot=wanted.slot,
                backup_type=request.type,
                folder=Path(settings.backup_folder),
                shrink_limit=settings.backup_volume_shrink_limit,
                volume_threads=settings.backup_volume_threads,
                catalog=catalog,
                locate=locate,
                programs=programs,
                whole=settings.backup_volume_mode is VolumeMode.FULL,
                leave_out=settings.left_out_paths,
                table_patterns=settings.backup_exclude_tables,
            ).capture()

        workers = workers_for(request, settings, catalog, timing)
        backup_id = catalog.backups.id_for(wanted)
        while (
            known := _wait_for_other_delivery(request, catalog, str(backup_id), timing, pause)
        ) is None:
            # Anew: what was waited for may have left something to go on from, under that id.
            backup_id = catalog.backups.id_for(wanted)
            stored = NewRun(catalog, RunKind.CREATE, str(backup_id), run_id=request.run_id)
            try:
                if workers == ALONE:
                    active = ActiveRun(stored, telemetry, timing)
                    return _result(_publish(active, capture, catalog, telemetry), created=True)
                active = ActiveRun(stored, telemetry, replace(timing, lease_term=SHARED_TERM))
                with announced(active, telemetry, **_FAILURE) as run:
                    check_dump_fits(settings, catalog, timing)
                    hand_out(
                        run,
                        request,
                        slot=wanted.slot,
                        workers=workers,
                        catalog=catalog,
                        start=start_workers,
                    )
                return _under_way(str(backup_id), active.id)
            except LeaseHeld as held:
                if held.backup_id != str(backup_id):
                    raise
                # The other delivery was faster by a moment: it is waited for like any other.
        if not known.is_under_way:
            telemetry.log.info("published already", backup_id=known.backup_id)
            end_queued(catalog, request.run_id, created=False)
        return known


def _publish(
    active: ActiveRun,
    capture: Callable[[ActiveRun], Manifest],
    catalog: Catalog,
    telemetry: Telemetry,
) -> Manifest:
    """One run from lease to event."""
    with announced(active, telemetry, **_FAILURE) as run:
        manifest = publish(run, capture(run), catalog, telemetry)
    announce(manifest, telemetry)
    return manifest


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


def _wait_for_the_minute(
    request: CreateRequest, catalog: Catalog, pause: Callable[[float], None]
) -> None:
    """A run that was asked for in a minute that has its backup is queued for the next one."""
    latest = catalog.now() + _MINUTE
    while request.run_id is not None and catalog.now() < request.time <= latest:
        pause(min(_POLL_SECONDS, (request.time - catalog.now()).total_seconds()))


def _wait_for_other_delivery(
    request: CreateRequest,
    catalog: Catalog,
    backup_id: str,
    timing: RunTiming,
    pause: Callable[[float], None],
) -> CreateResult | None:
    """The backup once it is published, or None when nobody who lives is making it.

    One that several functions are at work on is not waited for: that may take hours.
    """
    while True:
        if (manifest := catalog.backups.find(backup_id)) is not None:
            if request.run_id not in {None, manifest.run_id} and manifest.started_at < request.time:
                raise Conflict(
                    f"backup {backup_id} of the same minute had begun before this one was asked"
                    " for, so it may lack what has changed since; ask again in a minute"
                )
            return _result(manifest, created=False)
        if catalog.lease.backup_in_use() != backup_id:
            return None
        held = f"backup {backup_id} is still being made by another run"
        if (run_id := is_made_by_workers(catalog, backup_id)) is not None:
            if request.run_id not in {None, run_id}:
                raise LeaseHeld(held)
            return _under_way(backup_id, run_id)
        if timing.deadline is not None and catalog.now() >= timing.deadline:
            raise LeaseHeld(held)
        pause(_POLL_SECONDS)


@dataclass(frozen=True, kw_only=True)
class _Capture:
    """Both archives of one backup, written below its id; nothing is published."""

    run: ActiveRun
    backup_id: BackupId
    slot: datetime
    backup_type: BackupType
    folder: Path
    shrink_limit: int
    volume_threads: int
    catalog: Catalog
    locate: Callable[[], DatabaseEndpoint]
    programs: Sequence[Path]
    whole: bool
    leave_out: PathPatterns
    table_patterns: tuple[str, ...]
    stored: list[NewVolume] = field(default_factory=list[NewVolume])
    """The volume, once all of it is stored."""

    def capture(self) -> Manifest:
        """Captures; when a table was altered meanwhile, captures once more from the start.

        The volume is captured again too: its files must not be older than the rows that name them.
        """
        try:
            try:
                database, volume = self._capture_both()
            except TableChangedDuringDump as error:
                self.run.step(f"capturing once more: {error.public}", reason=str(error))
                database, volume = self._capture_both()
            self.run.check()
        except LeaseLost:
            # What lies below the id may by now be another run's.
            raise
        except OutOfTime as error:
            # Of a volume that is whole: it was the database that took too long.
            if self.stored and self.stored[0].packed.read_size >= LEAST_READ:
                raise self._kept(self.stored[0]) from error
            self._clear()
            raise
        except BaseException:
            # An archive that was whole is of no use alone; cleanup would take it away tomorrow.
            self._clear()
            raise
        return new_manifest(
            self.run,
            self.catalog,
            self.backup_id,
            slot=self.slot,
            backup_type=self.backup_type,
            database=database,
            volume=volume,
            table_patterns=self.table_patterns,
        )

    def _clear(self) -> None:
        # (Conflict: what is there is kept for the next run.)
        with suppress(StorageError, Conflict):
            self.catalog.backups.clear_unpublished(str(self.backup_id))

    def _kept(self, volume: NewVolume) -> OutOfTime:
        def measured(is_over: Callable[[], bool]) -> Measured:
            return measure(
                self.folder, leave_out=self.leave_out, threads=self.volume_threads, is_over=is_over
            )

        return keep_unfinished(self.catalog, self.run, str(self.backup_id), volume, measured)

    def _capture_both(self) -> tuple[DumpedDatabase, NewVolume]:
        self.run.confirm()
        self.catalog.backups.clear_unpublished(str(self.backup_id))
        self.stored.clear()
        snapshot = threading.Event()
        self.run.step("dumping the database, and packing the volume once its snapshot stands")
        return side_by_side(
            lambda check: self._dump(snapshot, check),
            lambda check: self._pack(snapshot, check),
            self.run.check,
        )

    def _dump(self, snapshot: threading.Event, check: Check) -> DumpedDatabase:
        return store_database(
            self.run,
            str(self.backup_id),
            catalog=self.catalog,
            locate=self.locate,
            programs=self.programs,
            table_patterns=self.table_patterns,
            snapshot=snapshot,
            check=check,
        )

    def _pack(self, snapshot: threading.Event, check: Check) -> NewVolume:
        while not snapshot.wait(0.05):
            check()
        volume = store_volume(
            self.catalog,
            str(self.backup_id),
            self.folder,
            whole=self.whole,
            leave_out=self.leave_out,
            began=self.run.started_at,
            shrink_limit=self.shrink_limit,
            threads=self.volume_threads,
            progress=self.run.progress_of("volume"),
            check=check,
            is_over=packing_is_over(self.run),
        )
        if volume.packed.reached_size is not None:
            raise self._kept(volume)
        self.stored.append(volume)
        return volume
