"""A verification that several functions work on, each step of it an invocation of its own.

    tables --> rows (by many) --> indexes (by many) --> database --> conclude
    read (by many) --------------------------------------------------/

(The first line in jobs/verify_database.py.) The verify function has cut the volume into portions
(jobs/verify_fan_out.py). The state machine (functions/verify_worker/verify.asl.json) says what
comes next, and when a step is tried again. All that one step leaves to another lies below the run's
id, or in a scratch schema. It has no lease: a verification takes none. Who finds the backup bad
says so in a document of its own, and no success comes after that. `abort` ends what failed, with
what was found bad, or else the reason of the worker that failed last.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from lcp_backup.catalog import Catalog
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.errors import (
    ArchiveDamaged,
    Conflict,
    LeaseHeld,
    NotFound,
    ObjectNotFound,
    RunIsOver,
    StorageError,
    UnknownFormat,
)
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.at_work import WORKERS, AtWork, close_to_workers
from lcp_backup.jobs.consistency import ConsistencyReport, notices_of
from lcp_backup.jobs.failure import describe
from lcp_backup.jobs.giving_way import GivesWay
from lcp_backup.jobs.handing_out import check_portion, forget
from lcp_backup.jobs.load_task import LOAD_ERROR, check_loaded, leave_run
from lcp_backup.jobs.portion_slices import reading, slice_left
from lcp_backup.jobs.shared_run import SharedRun, why_it_failed
from lcp_backup.jobs.stored_backup import StoredBackup
from lcp_backup.jobs.task_end import telling_why
from lcp_backup.jobs.verified import (
    keep_verification,
    set_result,
    tell_verified,
    verification_of,
)
from lcp_backup.jobs.verify_database import STAGES, DatabaseHalf, drop_what_is_left
from lcp_backup.jobs.verify_work import ReadPortion, VerifyWork
from lcp_backup.model import RunError
from lcp_backup.settings import Settings
from lcp_backup.steps import VerifyStepRequest
from lcp_backup.telemetry import Telemetry
from lcp_backup.verification import Report, Verdict, Verification
from lcp_backup.volume.proof import mark_of, read_portion
from lcp_backup.volume.slices import Slice


def work_on_verification(
    request: VerifyStepRequest,
    *,
    settings: Settings,
    catalog: Catalog,
    telemetry: Telemetry,
    locate: Callable[[], DatabaseEndpoint],
    timing: RunTiming,
    is_task: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Does one step, and answers what the state machine needs to know for the next.

    A portion may be asked for twice, also while the first is still at work on it.

    Arguments are as of `verify_backup`; `is_task` as of `DatabaseSteps`. Raises what a verification
    raises, which the run's record will tell if the state machine gives up; RunIsOver for a step
    that comes late.
    """
    work = VerifyWork(catalog.work.of(request.run_id))
    if request.step == "abort":
        ending = _Ending(request, work, catalog, telemetry, locate, timing, pause)
        return {"gave_way": ending.abort()}
    if request.step == "loaded":
        is_loaded = work.proved() is not None
        check_loaded(work.run_work, request.error, telemetry.log, is_loaded=is_loaded)
        return {}
    stored = SharedRun(catalog, request.run_id)
    with (
        telling_why(work.run_work, LOAD_ERROR) if is_task else nullcontext(),
        ActiveRun(stored, telemetry, timing) as run,
    ):
        step = _Step(run, work, settings, catalog, is_task=is_task)
        if request.step == "conclude":
            verification = step.conclude(pause)
            set_result(run, verification)
            stored.settle()
        else:
            answer = step.do(request, locate, pause)
            leave_run(run, to_task=answer.get("left_to_task", False))
            return answer
    if not stored.has_ended_it:
        # Tried again it proves the same; and else cleanup would tell that the run had died.
        raise StorageError(f"the end of run {request.run_id} could not be written into its record")
    tell_verified(telemetry, verification)
    forget(work.run_work)
    return {}


class _Step:
    """What a step works with."""

    def __init__(
        self,
        run: ActiveRun,
        work: VerifyWork,
        settings: Settings,
        catalog: Catalog,
        *,
        is_task: bool,
    ) -> None:
        self._run = run
        self._work = work
        self._settings = settings
        self._catalog = catalog
        self._is_task = is_task
        self._shared = work.shared
        self._manifest = work.manifest(catalog)
        self._backup = StoredBackup(catalog, self._manifest)

    def do(
        self,
        request: VerifyStepRequest,
        locate: Callable[[], DatabaseEndpoint],
        pause: Callable[[float], None],
    ) -> dict[str, Any]:
        """Does a step of those that are done side by side."""
        if request.step == "read":
            self.read(request.portion)
            return {}
        database = DatabaseHalf(
            self._run,
            self._work,
            self._settings,
            self._catalog,
            self._backup,
            locate,
            pause,
            is_task=self._is_task,
        )
        match request.step:
            case "tables":
                database.define()
            case "rows":
                return {"done": database.load_rows(request.portion)}
            case "indexes":
                database.build_indexes(request.portion)
            case _:
                return {"left_to_task": not database.prove()}
        return {}

    def read(self, number: int) -> None:
        """Reads a portion of the volume, or a part of the rest, and compares its members."""
        shared, now = self._shared, self._catalog.now
        check_portion(number, len(shared.slices))
        if self._work.read(number) is not None:
            return
        began_at = now()
        with AtWork(self._work.run_work, now, GivesWay(self._run, self._catalog)) as at_work:
            own = self._slice(number)
            with self._work.judged(f"portion-{number:08d}", self._manifest):
                members = read_portion(
                    own,
                    reading(self._backup, own),
                    also_without_sha256=shared.nameless > 0,
                    name_of=self._name_of,
                    progress=self._run.progress_of("volume"),
                    check=at_work.check,
                )
            found = ReadPortion(
                sha256=shared.slices[number].sha256,
                members=members,
                read_bytes=self._read_bytes(number, own),
                began_at=began_at,
                ended_at=now(),
            )
            self._work.put_read(number, found)

    def _slice(self, number: int) -> Slice:
        try:
            return slice_left(self._work.run_work, self._shared.slices[number])
        except (ArchiveDamaged, UnknownFormat) as error:
            # Which says nothing of the backup.
            raise Conflict(
                f"what run {self._run.id} keeps of the index is not what it left there: nothing is"
                " known of the backup; verify it once more"
            ) from error

    def _name_of(self, mark: int) -> str:
        with self._backup.volume() as volume:
            named = (it.name for it in volume.members() if mark_of(it) == mark)
            return next(named, "?")

    def _read_bytes(self, number: int, own: Slice) -> int:
        """Of all segments but one that the next portion begins with, which counts that."""
        portions = self._shared.portions
        last: float = float("inf")
        if number < len(portions):
            mine = portions[number]
            firsts = (it.first for it in portions if it.source == mine.source)
            last = min((it for it in firsts if it > mine.first), default=last)
        return sum(it.size for it in own.segments if it.number < last)

    # --- the end ----------------------------------------------------------------

    def conclude(self, pause: Callable[[float], None]) -> Verification:
        """Answers the proof, which is kept, where every part of the backup was proved.

        Raises what keeps that from being known; the run then is the abort's to end.
        """
        run, work, shared = self._run, self._work, self._shared
        for stage in (WORKERS, *STAGES):
            close_to_workers(work.run_work, self._catalog.now, run.check, pause, stage=stage)
        bad = work.found_bad()
        if bad is not None:
            raise ArchiveDamaged(bad.message)
        read = [work.read(number) for number in range(len(shared.slices))]
        missing = [number for number, it in enumerate(read) if it is None]
        proved = work.proved()
        if missing or proved is None:
            what = f"portion {missing[0]} of the volume" if missing else "the database"
            raise self._unproved(f"nobody has said that {what} was proved")
        parts = [it for it in read if it is not None]
        members = sum(it.members for it in parts)
        if members != shared.members:
            raise self._unproved(
                f"workers have read {members} members where the index lists {shared.members}"
            )
        report = self._keep_report()
        verification = verification_of(
            self._manifest,
            run,
            Verdict.VERIFIED,
            server=work.server,
            report=report,
            read_bytes=proved.read_bytes + sum(it.read_bytes for it in parts),
            load_seconds=proved.load_seconds,
            read_seconds=_seconds(parts),
            tables=proved.tables,
            rows=proved.rows,
            tables_counted=proved.tables_counted,
            statements=proved.statements,
            files=shared.files,
            files_compared=shared.files_compared,
        )
        keep_verification(self._catalog, self._manifest, verification)
        return verification

    def _unproved(self, why: str) -> Conflict:
        return Conflict(
            f"{why}, in run {self._run.id}: nothing is known of the backup; verify it once more"
        )

    def _keep_report(self) -> Report | None:
        reported = self._work.reported()
        if reported is None:
            return None
        consistency = ConsistencyReport(
            self._backup, self._catalog, self._run.id, reported.report, list(reported.listed)
        )
        report = consistency.keep()
        self._run.add_notices(notices_of(report))
        return report


@dataclass
class _Ending:
    """How a verification ends that its workers did not bring to an end."""

    request: VerifyStepRequest
    work: VerifyWork
    catalog: Catalog
    telemetry: Telemetry
    locate: Callable[[], DatabaseEndpoint]
    timing: RunTiming
    pause: Callable[[float], None]

    def abort(self) -> bool:
        """Ends the run as failed, with nothing left on the server; nothing for one that has ended.

        Answers whether that is nobody's fault: it gave way to a restore, or the backup is gone.
        """
        stored = SharedRun(self.catalog, self.work.run_work.run_id)
        reason = why_it_failed(self.work.run_work, self.request.error)
        try:
            with ActiveRun(stored, self.telemetry, self.timing) as run:
                stored.settle()
                for stage in (WORKERS, *STAGES):
                    now, check = self.catalog.now, run.check
                    close_to_workers(self.work.run_work, now, check, self.pause, stage=stage)
                drop_what_is_left(run, self.catalog, self.locate)
                bad = self.work.found_bad()
                reason = self._keep(run, bad or reason, Verdict.BAD if bad else None)
                stored.end_as(reason)
        except RunIsOver:
            forget(self.work.run_work)
            ended = self.catalog.runs.get(self.work.run_work.run_id)
            return ended.error is not None and _is_nobodys_fault(ended.error)
        forget(self.work.run_work)
        self.telemetry.count(VerifyFailure=1)
        self.telemetry.announce(
            "Verification Failed",
            {
                "backupId": stored.record.backup_id,
                "error": reason.code,
                "reason": reason.message,
            },
        )
        return _is_nobodys_fault(reason)

    def _keep(self, run: ActiveRun, reason: RunError, verdict: Verdict | None) -> RunError:
        """Keeps what was found out, and answers why the run failed."""
        try:
            work = self.work
            manifest = work.manifest(self.catalog)
            found = (work.read(it) for it in range(len(work.shared.slices)))
            proved = work.proved()
            read_bytes = sum(it.read_bytes for it in (proved, *found) if it is not None)
            verification = verification_of(
                manifest,
                run,
                verdict or Verdict.COULD_NOT_VERIFY,
                server=work.server,
                error=reason,
                read_bytes=read_bytes,
                load_seconds=proved.load_seconds if proved else 0,
            )
            keep_verification(self.catalog, manifest, verification)
        except NotFound as error:  # the backup is gone
            return describe(error, run.id)
        except (ObjectNotFound, UnknownFormat) as error:
            run.detail("what was found out was not kept", reason=str(error))
        return reason


def _seconds(parts: list[ReadPortion]) -> float:
    """From the beginning of the first to the end of the last."""
    if not parts:
        return 0
    began, ended = min(it.began_at for it in parts), max(it.ended_at for it in parts)
    return (ended - began).total_seconds()


def _is_nobodys_fault(reason: RunError) -> bool:
    return reason.code in {LeaseHeld.code, NotFound.code}
