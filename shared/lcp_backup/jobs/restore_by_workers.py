"""A restore that several functions work on, each step of it an invocation of its own.

    tables --> rows (by many) --> indexes (by many) --> load --> swap
    unpack (by many) --> attributes ------------------------/

(The first line in jobs/load_by_workers.py.) The restore function has staged an empty volume
(jobs/restore_fan_out.py). The state machine (functions/restore_worker/restore.asl.json) says what
comes next, and when a step is tried again. All that one step leaves to another lies below the run's
id, in the staged volume, or in the staging schema; the run has one lease and one record. Whatever
fails before the swap, `abort` ends the run, with the reason of the worker that failed last, and
discards what was staged.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.work import REQUEST, RunWork
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.database.staged_schema import Accounts, recover
from lcp_backup.document import Document, read_document
from lcp_backup.errors import (
    BackupError,
    Conflict,
    LeaseLost,
    ObjectNotFound,
    RunIsOver,
    UnknownFormat,
)
from lcp_backup.jobs.active_run import ActiveRun, RunTiming, announced
from lcp_backup.jobs.at_work import WORKERS, AtWork, close_to_workers
from lcp_backup.jobs.failure import describe
from lcp_backup.jobs.handing_out import check_portion, forget
from lcp_backup.jobs.load_by_workers import STAGES, DatabaseSteps, find_loaded
from lcp_backup.jobs.load_fan_out import connections_of_worker
from lcp_backup.jobs.load_task import (
    LOAD_ERROR,
    check_loaded,
    leave_run,
    needs_task,
)
from lcp_backup.jobs.portion_slices import reading, slice_left
from lcp_backup.jobs.restore_fan_out import SharedRestore, wanted_members
from lcp_backup.jobs.restored import swapped, tell_completed
from lcp_backup.jobs.shared_run import SharedRun, end_of_stretch, end_without_lease, why_it_failed
from lcp_backup.jobs.staged_site import (
    SiteStaging,
    loads_beside,
    replaced_database,
)
from lcp_backup.jobs.staged_volume import volume_folder
from lcp_backup.jobs.stored_backup import StoredBackup, published
from lcp_backup.jobs.task_end import telling_why
from lcp_backup.settings import Settings
from lcp_backup.steps import RestoreStepRequest
from lcp_backup.telemetry import Telemetry
from lcp_backup.volume import staging, swap
from lcp_backup.volume.shared_tree import SharedTree
from lcp_backup.volume.swap import StagedVolume
from lcp_backup.volume.unpack import unwritable

_SWAP: Final = "swap"
"""Is there once an invocation has begun to swap."""
_ATTRIBUTES: Final = "attributes"
"""The stage of who makes the staged volume whole."""
_SILENCE: Final = timedelta(seconds=60)
"""After which the function that swaps is dead, which writes the record every 15 seconds."""


class _Unpacked(Document):
    """How far a portion is."""

    format: Literal[1] = 1
    next: int | None
    """The segment to go on with; None: it is done."""
    read_bytes: int


def work_on_restore(
    request: RestoreStepRequest,
    *,
    settings: Settings,
    catalog: Catalog,
    source: Catalog,
    telemetry: Telemetry,
    locate: Callable[[], DatabaseEndpoint],
    accounts: Callable[[], Accounts],
    timing: RunTiming,
    is_task: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Does one step, and answers what the state machine needs to know for the next.

    To unpack may be asked for twice, also while the first is still at work on it.

    Arguments are as of `restore_backup`; `is_task` as of `DatabaseSteps`. Raises what a restore
    raises, which the run's record will tell if the state machine gives up; RunIsOver for a step
    that comes late.
    """
    work = catalog.work.of(request.run_id)
    if request.step == "abort":
        _Ending(
            request, work, settings, catalog, telemetry, locate, accounts, timing, pause
        ).abort()
        return {}
    if request.step == "loaded":
        is_loaded = find_loaded(work) is not None
        check_loaded(work, request.error, telemetry.log, is_loaded=is_loaded)
        return {}
    stored = SharedRun(catalog, request.run_id)
    active = ActiveRun(stored, telemetry, timing)
    if request.step == "swap":
        # Before this one may end the run, which is the first one's to end.
        if not (stored.record.state.ended or work.claim(_SWAP)):
            raise Conflict(f"run {request.run_id} is swapped by another invocation already")
        with announced(active, telemetry, metric="RestoreFailure", failed="Restore Failed") as run:
            stored.settle()
            step = _Step(run, work, settings, catalog=catalog, source=source)
            shared = step.swap(locate, accounts, pause)
        tell_completed(run, telemetry, whole=shared.request.is_whole)
        forget(work)
        return {}
    with telling_why(work, LOAD_ERROR) if is_task else nullcontext(), active as run:
        step = _Step(run, work, settings, catalog=catalog, source=source)
        answer: dict[str, Any] = {}
        match request.step:
            case "unpack":
                answer = {"done": step.unpack(request.portion)}
            case "attributes":
                step.settle(pause)
            case "load":
                is_loaded = step.load(locate, accounts, pause, is_task=is_task)
                answer = {"left_to_task": not is_loaded}
            case _:
                answer = step.share(request, locate, accounts, pause)
        leave_run(run, to_task=answer.get("left_to_task", False))
    return answer


class _Step:
    """What a step works with."""

    def __init__(
        self,
        run: ActiveRun,
        work: RunWork,
        settings: Settings,
        *,
        catalog: Catalog,
        source: Catalog,
    ) -> None:
        self._run = run
        self._work = work
        self._settings = settings
        self._catalog = catalog
        self._shared = _asked_for(work)
        manifest = published(source, self._shared.backup_id, self._shared.backup_run_id)
        self._backup = StoredBackup(source, manifest)

    @cached_property
    def _folder(self) -> Path:
        # (Not asked for by a task, where no file system is mounted.)
        return volume_folder(self._shared.request, self._settings)

    def unpack(self, number: int) -> bool:
        """Goes on with a portion; whether it is done."""
        if not self._shared.request.wants_volume:
            return True
        name = f"unpack-{number}"
        found = self._work.find(name)
        check_portion(number, len(self._shared.slices))
        so_far = None if found is None else read_document(_Unpacked, found, name)
        if so_far is not None and so_far.next is None:
            return True
        with AtWork(self._work, self._catalog.now, self._run.check) as at_work:
            with self._tree(at_work.check) as (_, tree):
                own = slice_left(self._work, self._shared.slices[number])
                first = own.first if so_far is None or so_far.next is None else so_far.next
                read = reading(self._backup, own)
                following = tree.unpack(own, first, read, end_of_stretch(self._run))
            read_bytes = self._backup.read_bytes + (so_far.read_bytes if so_far else 0)
            unpacked = _Unpacked(next=following, read_bytes=read_bytes)
            self._work.put(name, unpacked.model_dump_json().encode())
        return following is None

    def share(
        self,
        request: RestoreStepRequest,
        locate: Callable[[], DatabaseEndpoint],
        accounts: Callable[[], Accounts],
        pause: Callable[[float], None],
    ) -> dict[str, Any]:
        """Does a step of those by which many load the database beside the live one."""
        site, steps = self._site(locate(), accounts()), self._database(pause)
        match request.step:
            case "tables":
                steps.define(site)
            case "rows":
                connections = connections_of_worker(self._settings)
                return {"done": steps.load_rows(site, request.portion, connections)}
            case _:
                steps.build_indexes(site, request.portion)
        return {}

    def load(
        self,
        locate: Callable[[], DatabaseEndpoint],
        accounts: Callable[[], Accounts],
        pause: Callable[[float], None],
        *,
        is_task: bool,
    ) -> bool:
        """Loads the rest of the database, or all of it; whether it is not left to a task."""
        site, steps = self._site(locate(), accounts()), self._database(pause, is_task=is_task)
        return steps.load(site, shares=self._shared.loads == "by-workers")

    def _database(self, pause: Callable[[float], None], *, is_task: bool = False) -> DatabaseSteps:
        run, manifest = self._run, self._backup.manifest
        return DatabaseSteps(
            run,
            self._work,
            self._catalog.now,
            pause,
            run.check,
            workers=self._shared.workers,
            least=self._shared.least_rows,
            is_task=is_task,
            needs_task=not is_task and needs_task(manifest, self._settings, run.seconds_left()),
        )

    def settle(self, pause: Callable[[float], None]) -> None:
        """Makes the staged volume whole, once nobody writes into it any more."""
        if not self._shared.request.wants_volume:
            return
        run = self._run
        run.step("giving folders their times and modes")
        close_to_workers(self._work, self._catalog.now, run.check, pause)
        # Nobody may swap or discard what this one still writes into.
        with AtWork(self._work, self._catalog.now, run.check, stage=_ATTRIBUTES) as at_work:
            with self._backup.volume() as volume, self._tree(at_work.check) as (staged, tree):
                tree.settle(lambda: wanted_members(volume, self._settings), self._shared.most)
            staged.carry_over_links(check=at_work.check)
            staged.check_replaceable()
        run.add_notices(staged.notices)

    def swap(
        self,
        locate: Callable[[], DatabaseEndpoint],
        accounts: Callable[[], Accounts],
        pause: Callable[[float], None],
    ) -> SharedRestore:
        """Makes both the live site; a failure leaves nothing staged.

        A database that goes into the live one's place is loaded now.
        """
        check = self._run.check
        for stage in (_ATTRIBUTES, *STAGES):
            close_to_workers(self._work, self._catalog.now, check, pause, stage=stage)
        backup, shared = self._backup, self._shared
        with ExitStack() as staged:
            site = self._site(locate(), accounts())
            if shared.request.wants_volume:
                site.unpacked = staged.enter_context(self._staged())
                backup.read_bytes += sum(self._read_by_workers())
            told = find_loaded(self._work)
            if told is not None:
                backup.read_bytes += told.read_bytes
                site.loaded = told.loaded
            swapped(self._run, shared.request, backup, site.stage())
        return shared

    def _site(self, live: DatabaseEndpoint, accounts: Accounts) -> SiteStaging:
        return SiteStaging(
            self._run,
            self._shared.request,
            self._backup,
            self._settings,
            self._catalog,
            live,
            accounts,
        )

    def _read_by_workers(self) -> Iterator[int]:
        for number in range(len(self._shared.slices)):
            found = self._work.get(f"unpack-{number}")
            yield read_document(_Unpacked, found, "a portion").read_bytes

    def _staged(self) -> StagedVolume:
        return staging.taken_up(self._folder, self._run.id)

    @contextmanager
    def _tree(self, check: Callable[[], None]) -> Iterator[tuple[StagedVolume, SharedTree]]:
        staged = self._staged()
        tree = SharedTree(
            staged.new,
            staged.aside,
            threads=self._settings.backup_volume_threads,
            progress=self._run.progress_of("volume"),
            check=check,
        )
        try:
            yield staged, tree
        except OSError as error:
            raise unwritable(self._folder, error) from error


@dataclass
class _Ending:
    """How a restore ends that its workers did not bring to an end."""

    request: RestoreStepRequest
    work: RunWork
    settings: Settings
    catalog: Catalog
    telemetry: Telemetry
    locate: Callable[[], DatabaseEndpoint]
    accounts: Callable[[], Accounts]
    timing: RunTiming
    pause: Callable[[float], None]

    def abort(self) -> None:
        """Ends the run as failed, with nothing staged; does nothing for one that has ended."""
        stored = SharedRun(self.catalog, self.work.run_id)
        reason = why_it_failed(self.work, self.request.error)
        try:
            self._wait_for_silence()
            with ActiveRun(stored, self.telemetry, self.timing) as run:
                stored.settle()
                for stage in (WORKERS, _ATTRIBUTES, *STAGES):
                    now, check = self.catalog.now, run.check
                    close_to_workers(self.work, now, check, self.pause, stage=stage)
                run.add_notices(swap.recover(self._folder()))
                self._recover_database(run)
                stored.end_as(reason)
        except RunIsOver:
            forget(self.work)
            return
        except LeaseLost:
            # The run that has written since has cleared what was staged before it staged its own.
            end_without_lease(self.catalog, self.work.run_id, reason)
        forget(self.work)
        self.telemetry.count(RestoreFailure=1)
        self.telemetry.announce(
            "Restore Failed",
            {
                "backupId": stored.record.backup_id,
                "error": reason.code,
                "reason": reason.message,
            },
        )

    def _recover_database(self, run: ActiveRun) -> None:
        """As far as it can be reached now: the next restore does it otherwise."""
        try:
            request = _asked_for(self.work).request
            if loads_beside(request, self.settings):
                recover(replaced_database(request, self.locate()), self.accounts())
        except BackupError as error:
            left = "what is staged of the database is left to the next restore"
            run.detail(left, reason=describe(error, run.id).message)

    def _folder(self) -> Path:
        try:
            return volume_folder(_asked_for(self.work).request, self.settings)
        except (ObjectNotFound, UnknownFormat):  # it says no more where it was staged
            return Path(self.settings.backup_folder)

    def _wait_for_silence(self) -> None:
        """While the function that swaps is alive, nobody else ends its run; raises RunIsOver."""
        while self.work.find(_SWAP) is not None:
            run = self.catalog.runs.get(self.work.run_id)
            if run.state.ended or self.catalog.now() >= run.updated_at + _SILENCE:
                return
            self.pause(5.0)


def _asked_for(work: RunWork) -> SharedRestore:
    return read_document(SharedRestore, work.get(REQUEST), f"request of run {work.run_id}")
