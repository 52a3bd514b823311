"""A create that several functions work on, each step of it an invocation of its own.

    plan --> dump                          --> publish
         --> snapshot --> pack (by many)  -/

The state machine (functions/create_worker/create.asl.json) says what comes next, and when a step is
tried again. All that one step leaves to another lies below the run's id; the run has one lease and
one record. Whatever fails, `abort` ends the run, with the reason of the worker that failed last.

The folder is looked through for the plan before the dump's snapshot stands, and once more by each
worker after that: the plan says only at which names the folder is cut. So files are never older
than the rows that name them.
"""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.work import ITEMS, REQUEST, RunWork
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.document import read_document
from lcp_backup.errors import (
    Conflict,
    DumpFailed,
    InvalidRequest,
    LeaseLost,
    ObjectNotFound,
    RunIsOver,
    StorageError,
    TableChangedDuringDump,
    UnknownFormat,
)
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.dump_end import (
    DATABASE,
    DUMP_ERROR,
    DUMPING,
    SNAPSHOT,
    check_dumped,
    dump_has_to_begin,
)
from lcp_backup.jobs.fan_out import SharedCreate, asked_for
from lcp_backup.jobs.handing_out import forget
from lcp_backup.jobs.joined_volume import join_volume
from lcp_backup.jobs.new_backup import announce, new_manifest, publish
from lcp_backup.jobs.new_database import DumpedDatabase, store_database
from lcp_backup.jobs.shared_run import (
    SharedRun,
    end_of_stretch,
    end_without_lease,
    why_it_failed,
)
from lcp_backup.jobs.shared_volume import SharedVolume
from lcp_backup.jobs.task_end import telling_why
from lcp_backup.model import ArchiveKind, BackupId, Manifest
from lcp_backup.setting_values import VolumeMode
from lcp_backup.settings import Settings
from lcp_backup.steps import CreateStepRequest
from lcp_backup.telemetry import Telemetry
from lcp_backup.volume.mounts import check_mounted
from lcp_backup.volume.shares import Survey

_AGAIN: Final = "again"
"""The plan that was given up when all was begun anew."""
_POLL_SECONDS: Final = 1.0


def work_on_create(
    request: CreateStepRequest,
    *,
    settings: Settings,
    catalog: Catalog,
    telemetry: Telemetry,
    locate: Callable[[], DatabaseEndpoint],
    programs: Sequence[Path],
    timing: RunTiming,
    pause: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Does one step, and answers what the state machine needs to know for the next.

    Any step may be asked for twice, also while the first is still at work on it.

    Arguments are as of `create_backup`. Raises what a create raises, which the run's record will
    tell if the state machine gives up; RunIsOver for a step that comes late.
    """
    work = catalog.work.of(request.run_id)
    if request.step == "abort":
        _Ending(request, work, catalog, telemetry, timing).abort()
        return {}
    if request.step == "dumped":
        check_dumped(work, request.error, telemetry.log)
        return {}
    stored = SharedRun(catalog, request.run_id)
    if stored.record.state.ended and request.step == "publish" and stored.record.error is None:
        return {}
    with ActiveRun(stored, telemetry, timing) as run:
        shared = asked_for(work)
        step = _Step(run, shared, work, settings, catalog=catalog, pause=pause)
        if request.step == "publish":
            manifest = step.publish(telemetry)
            stored.settle()
        else:
            answer = step.take(request, locate, programs)
            run.hand_over()
            return answer
    if not stored.has_ended_it:
        # Tried again it finds the backup; and else cleanup would tell that the run had died.
        raise StorageError(f"the end of run {request.run_id} could not be written into its record")
    announce(manifest, telemetry)
    forget(work)
    return {}


def _write_snapshot_mark(work: RunWork) -> None:
    """Tells the other functions that the dump's snapshot stands.

    Raises DumpFailed when another dump of this run said so before: there may be files by then that
    are older than this one's rows.
    """
    if not work.claim(SNAPSHOT):
        raise DumpFailed("the database is dumped by another invocation already")


class _Step:
    """What a step works with."""

    def __init__(
        self,
        run: ActiveRun,
        shared: SharedCreate,
        work: RunWork,
        settings: Settings,
        *,
        catalog: Catalog,
        pause: Callable[[float], None],
    ) -> None:
        self._run = run
        self._shared = shared
        self._work = work
        self._settings = settings
        self._catalog = catalog
        self._pause = pause
        self._folder = Path(settings.backup_folder)
        self._volume = SharedVolume(catalog, work, shared.backup_id)

    def take(
        self,
        request: CreateStepRequest,
        locate: Callable[[], DatabaseEndpoint],
        programs: Sequence[Path],
    ) -> dict[str, Any]:
        match request.step:
            case "plan":
                return self._plan()
            case "snapshot":
                return {"done": self._wait_for_snapshot()}
            case "dump":
                with telling_why(self._work, DUMP_ERROR):
                    return self._dump(locate, programs)
            case "pack":
                return {"done": self._pack(request)}
            case "again":
                return self._begin_again()
            case _:
                raise InvalidRequest(f"step: {request.step} is no step of a worker")

    def _plan(self) -> dict[str, Any]:
        settings, run = self._settings, self._run
        before = self._volume.surveyed()
        so_far = f": {before.names} names looked at so far" if before else ""
        run.step(f"sharing out the volume{so_far}")
        run.add_notices(settings.notices)
        check_mounted(settings.backup_folder, settings.file_system_mount_path)
        self._volume.abort()
        self._catalog.backups.clear_unpublished(self._shared.backup_id)
        plan = self._volume.share_out(
            self._folder,
            before,
            whole=settings.backup_volume_mode is VolumeMode.FULL,
            workers=self._shared.workers,
            least_size=self._shared.least_size,
            leave_out=settings.left_out_paths,
            began=run.started_at,
            threads=settings.backup_volume_threads,
            check=run.check,
            is_over=end_of_stretch(run),
        )
        place = dict(self._work.place(ITEMS))
        if isinstance(plan, Survey):
            return {"done": False, **place}
        items = [{"plan": plan.token, "share": share} for share in range(plan.shares)]
        self._work.put(ITEMS, json.dumps(items).encode())
        run.step(
            f"dumping the database, and packing the volume by {plan.shares} workers once its"
            " snapshot stands"
        )
        return {"done": True, **place}

    def _wait_for_snapshot(self) -> bool:
        over = end_of_stretch(self._run)
        has_to_begin = dump_has_to_begin(self._work, self._run.now)
        while self._work.find(SNAPSHOT) is None:
            self._run.check()
            has_to_begin()
            if over():
                return False
            self._pause(_POLL_SECONDS)
        self._volume.look_again(self._folder)
        return True

    def _dump(
        self, locate: Callable[[], DatabaseEndpoint], programs: Sequence[Path]
    ) -> dict[str, Any]:
        if self._work.find(DATABASE) is not None:
            return {}
        if self._work.find(SNAPSHOT) is not None:
            # Workers have begun to pack: a new snapshot would be younger than their files.
            raise DumpFailed("the worker that made the dump died, or its answer was lost")
        self._work.put(DUMPING, b"")
        # (Deletes nothing: another dump of this run may have come to its end since we looked.)
        self._catalog.backups.abort_archive(self._shared.backup_id, ArchiveKind.DATABASE)
        database = store_database(
            self._run,
            self._shared.backup_id,
            catalog=self._catalog,
            locate=locate,
            programs=programs,
            table_patterns=self._settings.backup_exclude_tables,
            on_snapshot=partial(_write_snapshot_mark, self._work),
            check=self._run.check,
        )
        self._work.put(DATABASE, database.model_dump_json().encode())
        return {}

    def _pack(self, request: CreateStepRequest) -> bool:
        plan = self._volume.plan()
        if plan.token != request.plan:
            raise LeaseLost(
                "the volume was shared out anew, and this worker belongs to the old plan"
            )
        if request.share >= plan.shares:
            raise InvalidRequest(
                f"share: {request.share} is asked for, and there are {plan.shares}"
            )
        return self._volume.pack(
            plan,
            request.share,
            self._folder,
            leave_out=self._settings.left_out_paths,
            threads=self._settings.backup_volume_threads,
            progress=self._run.progress_of("volume"),
            check=self._run.check,
            is_over=end_of_stretch(self._run),
        )

    def _begin_again(self) -> dict[str, Any]:
        """Once only, as a create in one invocation does it."""
        # (What is asked for twice finds the plan gone that it ended.)
        with suppress(ObjectNotFound):
            ended = self._volume.plan().token.encode()
            if self._work.find(_AGAIN) not in {None, ended}:
                raise TableChangedDuringDump(
                    "a table was altered while it was dumped, and again when all was captured anew"
                )
            self._work.put(_AGAIN, ended)
        self._run.step("capturing once more: a table was altered while it was dumped")
        self._volume.abort()
        self._catalog.backups.clear_unpublished(self._shared.backup_id)
        self._work.delete(but=(REQUEST, _AGAIN))
        return {}

    def publish(self, telemetry: Telemetry) -> Manifest:
        """Joins the shares and makes the backup exist; or finds that it did so before."""
        run, settings, catalog = self._run, self._settings, self._catalog
        found = catalog.backups.find(self._shared.backup_id)
        if found is not None and found.run_id == run.id:
            run.set_result(**_result_of(found))
            return found
        run.step("joining what the workers packed")
        database = read_document(
            DumpedDatabase, self._work.get(DATABASE), f"database of run {run.id}"
        )
        volume = join_volume(
            self._volume,
            leave_out=settings.left_out_paths,
            shrink_limit=settings.backup_volume_shrink_limit,
            check=run.check,
        )
        manifest = new_manifest(
            run,
            catalog,
            BackupId.parse(self._shared.backup_id),
            slot=self._shared.slot,
            backup_type=self._shared.type,
            database=database,
            volume=volume,
            table_patterns=settings.backup_exclude_tables,
        )
        return publish(run, manifest, catalog, telemetry)


class _Ending:
    """How a create ends that its workers did not bring to an end."""

    def __init__(
        self,
        request: CreateStepRequest,
        work: RunWork,
        catalog: Catalog,
        telemetry: Telemetry,
        timing: RunTiming,
    ) -> None:
        self._error = request.error
        self._work = work
        self._catalog = catalog
        self._telemetry = telemetry
        self._timing = timing

    def abort(self) -> None:
        """Ends the run as failed, and leaves nothing open; does nothing for one that has ended."""
        reason = why_it_failed(self._work, self._error)
        try:
            stored = SharedRun(self._catalog, self._work.run_id)
            with ActiveRun(stored, self._telemetry, self._timing) as run:
                stored.settle()
                if self._is_published(run):
                    return
                clear_failed_create(self._catalog, self._work, is_alone=True)
                stored.end_as(reason)
        except RunIsOver:
            return
        except LeaseLost:
            if (found := self._published(stored.record.backup_id)) is not None:
                end_without_lease(self._catalog, self._work.run_id, None, _result_of(found))
                self._tell_published(found)
                return
            # What lies below the backup's id may be another run's by now, but not the multipart.
            clear_failed_create(self._catalog, self._work, is_alone=False)
            end_without_lease(self._catalog, self._work.run_id, reason)
        self._telemetry.count(CreateFailure=1)
        self._telemetry.announce(
            "Backup Failed",
            {
                "backupId": stored.record.backup_id,
                "error": reason.code,
                "reason": reason.message,
            },
        )

    def _is_published(self, run: ActiveRun) -> bool:
        """Whether the last step got that far; then the run has succeeded."""
        found = self._published(run.backup_id)
        if found is None:
            return False
        run.set_result(**_result_of(found))
        self._tell_published(found)
        return True

    def _published(self, backup_id: str | None) -> Manifest | None:
        found = self._catalog.backups.find(backup_id or "")
        return found if found is not None and found.run_id == self._work.run_id else None

    def _tell_published(self, found: Manifest) -> None:
        announce(found, self._telemetry)
        forget(self._work)


def clear_failed_create(catalog: Catalog, work: RunWork, *, is_alone: bool) -> None:
    """Ends what workers of a run have open, and deletes what they left.

    Arguments: `is_alone` says that nobody else can be at work on the backup's id. What cannot be
    deleted now stays for cleanup.
    """
    backup_id = catalog.runs.get(work.run_id).backup_id
    with suppress(StorageError, Conflict):
        if backup_id is not None and work.find(REQUEST) is not None:
            with suppress(UnknownFormat):  # damaged: then all multiparts below the id are ended
                SharedVolume(catalog, work, backup_id).abort()
            if is_alone:
                catalog.backups.clear_unpublished(backup_id)
        work.delete()


def _result_of(found: Manifest) -> dict[str, int]:
    return {"bytes": found.size, "warnings": found.warning_count, "losses": found.losses}
