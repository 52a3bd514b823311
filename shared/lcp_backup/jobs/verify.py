"""Verify: a backup is restored for real, into a schema of its own, and everything is dropped again.

The first half of a restore: the same reading, policy and load. The volume is read to its last byte
and written nowhere. It takes no lease, so no backup waits for it, and it gives way to a restore.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial

from lcp_backup.catalog import Catalog
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.jobs.active_run import ActiveRun, RunTiming, announced
from lcp_backup.jobs.consistency import ConsistencyReport, notices_of
from lcp_backup.jobs.database_proof import DatabaseProof
from lcp_backup.jobs.failure import describe
from lcp_backup.jobs.giving_way import GivesWay
from lcp_backup.jobs.handing_out import ALONE, StartWorkers, claim, taken_back_on_failure
from lcp_backup.jobs.queued_run import check_is_meant, queued, succeeded_before
from lcp_backup.jobs.side_by_side import Check, side_by_side
from lcp_backup.jobs.stored_backup import StoredBackup, StoredVolume
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.jobs.timed import Timed
from lcp_backup.jobs.verified import (
    VerifyResult,
    keep_verification,
    left_behind,
    set_result,
    tell_verified,
    verdict_of,
    verification_of,
)
from lcp_backup.jobs.verify_fan_out import hand_out, workers_for
from lcp_backup.model import Manifest, RunError, RunKind
from lcp_backup.requests import LATEST, VerifyRequest
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry
from lcp_backup.verification import Report, Verdict, Verification
from lcp_backup.volume import proof
from lcp_backup.volume.wanted import WantedMembers


def verify_backup(
    request: VerifyRequest,
    *,
    settings: Settings,
    catalog: Catalog,
    telemetry: Telemetry,
    locate: Callable[[], DatabaseEndpoint],
    timing: RunTiming,
    start_workers: StartWorkers,
) -> VerifyResult:
    """Proves that a backup can be restored, and keeps what was found out beside its manifest.

    The latest is the newest backup that was made of a site. Whatever comes of it, nothing stays on
    the server; what a kill leaves, the next verification drops. A run that has ended is never done
    again. That something was in the way takes no earlier verdict's place.

    Arguments: `locate` finds the server to load into, and the account that makes schemas there; its
    schema's name is not used. `start_workers` has the run gone on with by workers, where one
    invocation would not come to an end.

    Raises what is wrong with the backup: ArchiveDamaged, ArchiveRefused, LoadFailed; what was in
    the way: LeaseHeld (a restore), ServerGaveUp, DatabaseError, OutOfTime,
    StorageError, AwsError, SettingsError and their kinds; NotFound, also when the backup was
    deleted meanwhile.
    """
    with queued(catalog, request.run_id, telemetry.log):
        manifest = chosen(request.backup_id, request.run_id, catalog)
        if succeeded_before(catalog, request.run_id):
            telemetry.log.info("verified already, by this run", run_id=request.run_id)
            return VerifyResult(manifest.id, str(request.run_id), Verdict.VERIFIED)
        seconds = timing.seconds_left(catalog.now())
        workers = workers_for(request, settings, manifest, seconds=seconds)
        if workers > ALONE and not claim(catalog, request.run_id):
            telemetry.log.info("workers verify it already, by this run", run_id=request.run_id)
            return VerifyResult(manifest.id, str(request.run_id), None)
        stored = NewRun(
            catalog,
            RunKind.VERIFY,
            manifest.id,
            run_id=request.run_id,
            backup_run_id=manifest.run_id,
        )
        active = ActiveRun(stored, telemetry, timing)
        with ExitStack() as stack:
            if workers > ALONE:
                # (Also when the run cannot begin: the next delivery of its event then plans it.)
                stack.enter_context(taken_back_on_failure(catalog.work.of(stored.record.id)))
            run = stack.enter_context(
                announced(active, telemetry, metric="VerifyFailure", failed="Verification Failed")
            )
            run.add_notices(settings.notices)
            verifying = _Verifying(run, manifest, settings, catalog, locate)
            if workers > ALONE:
                with verifying.kept_if_it_fails():
                    hand_out(
                        run,
                        request,
                        verifying.backup,
                        settings,
                        workers=workers,
                        catalog=catalog,
                        start=start_workers,
                    )
                return VerifyResult(manifest.id, run.id, None)
            verification = verifying.verify()
            set_result(run, verification)
    tell_verified(telemetry, verification)
    return VerifyResult(
        manifest.id,
        run.id,
        verification.verdict,
        tables=verification.tables,
        rows=verification.rows,
        files=verification.files,
        read_bytes=verification.read_bytes,
    )


def chosen(backup_id: str, run_id: str | None, catalog: Catalog) -> Manifest:
    """The backup that a run is asked for; raises NotFound, also when another has its id now."""
    if backup_id == LATEST:
        return catalog.backups.latest(uploaded=False)
    manifest = catalog.backups.get(backup_id)
    check_is_meant(manifest, catalog, run_id)
    return manifest


@dataclass
class _Verifying:
    """One verification under way."""

    run: ActiveRun
    manifest: Manifest
    settings: Settings
    catalog: Catalog
    locate: Callable[[], DatabaseEndpoint]
    backup: StoredBackup = field(init=False)
    consistency: ConsistencyReport = field(init=False)
    database: DatabaseProof = field(init=False)
    reading: Timed = field(init=False)

    def __post_init__(self) -> None:
        self.backup = StoredBackup(self.catalog, self.manifest)
        self.reading = Timed(self.catalog.now)
        self.consistency = ConsistencyReport(self.backup, self.catalog, self.run.id)
        self.database = DatabaseProof(
            self.run, self.backup, self.consistency, self.settings, self.catalog, self.locate
        )

    def verify(self) -> Verification:
        """Answers the proof, which is kept; raises what was in its way, and keeps that too."""
        self.run.step("loading the database into a schema of its own, and reading the volume")
        with self.kept_if_it_fails():
            with self.backup.volume() as volume:
                proved, read = side_by_side(
                    partial(self.database.prove, volume),
                    partial(self._read_volume, volume),
                    GivesWay(self.run, self.catalog),
                )
            report = self.consistency.keep() if self.consistency.report else None
        self.run.add_notices(left_behind(proved))
        if report is not None:
            self.run.add_notices(notices_of(report))
        verification = self._verification(
            Verdict.VERIFIED,
            report=report,
            tables=proved.tables,
            rows=proved.rows,
            tables_counted=proved.tables_counted,
            statements=proved.statements,
            files=read.files,
            files_compared=read.files_compared,
        )
        keep_verification(self.catalog, self.manifest, verification)
        return verification

    @contextmanager
    def kept_if_it_fails(self) -> Iterator[None]:
        """What was wrong, or in the way, is kept."""
        try:
            yield
        except BaseException as error:
            verdict = verdict_of(error, self.manifest, self.database.flavour)
            found = self._verification(verdict, error=describe(error, self.run.id))
            keep_verification(self.catalog, self.manifest, found)
            raise

    def _read_volume(self, volume: StoredVolume, check: Check) -> proof.Read:
        progress = self.run.progress_of("volume")
        self.reading.begin()
        volume.check_gaps(check)
        wanted = WantedMembers(volume.members())
        with closing(volume.read(wanted)) as read:
            found = proof.read_all(volume.members, wanted, read, progress=progress, check=check)
        with closing(volume.read_rest(wanted)) as rest:
            for _, raw in rest:
                check()
                progress(len(raw))
        self.reading.end()
        return found

    # --- what was found out -----------------------------------------------------

    def _verification(
        self,
        verdict: Verdict,
        *,
        error: RunError | None = None,
        report: Report | None = None,
        **figures: int,
    ) -> Verification:
        return verification_of(
            self.manifest,
            self.run,
            verdict,
            server=self.database.server_text,
            read_bytes=self.backup.read_bytes,
            load_seconds=self.database.load.seconds,
            read_seconds=self.reading.seconds,
            report=report,
            error=error,
            **figures,
        )
