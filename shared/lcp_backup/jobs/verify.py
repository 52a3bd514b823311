"""Verify: a backup is restored for real, into a schema of its own, and everything is dropped again.

The first half of a restore: the same reading, policy and load. The volume is read to its last byte
and written nowhere. It takes no lease, so no backup waits for it, and it gives way to a restore.
"""

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from lcp_backup.catalog import Catalog
from lcp_backup.database import scratch
from lcp_backup.database.endpoint import Connection, DatabaseEndpoint, Server
from lcp_backup.database.pieces import IndexedDump
from lcp_backup.errors import (
    ArchiveError,
    LoadFailed,
    NotFound,
    ServerGaveUp,
    UnknownFormat,
    VolumeError,
)
from lcp_backup.jobs.active_run import ActiveRun, RunTiming, announced
from lcp_backup.jobs.consistency import ConsistencyReport, check_is_there, notices_of
from lcp_backup.jobs.failure import describe
from lcp_backup.jobs.giving_way import GivesWay
from lcp_backup.jobs.queued_run import check_is_meant, queued, succeeded_before
from lcp_backup.jobs.side_by_side import Check, side_by_side
from lcp_backup.jobs.stored_backup import StoredBackup, StoredVolume
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.model import BackupType, Manifest, Notice, RunError, RunKind
from lcp_backup.requests import LATEST, VerifyRequest
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry
from lcp_backup.verification import Report, Verdict, Verification
from lcp_backup.volume import proof
from lcp_backup.volume.wanted import WantedMembers

CONNECTIONS: Final = (os.process_cpu_count() or 1) + 1
"""As of a restore."""


@dataclass(frozen=True)
class VerifyResult:
    """What a verification answers that found nothing wrong."""

    backup_id: str
    run_id: str
    verdict: Verdict
    tables: int = 0
    rows: int = 0
    files: int = 0
    read_bytes: int = 0


def verify_backup(
    request: VerifyRequest,
    *,
    settings: Settings,
    catalog: Catalog,
    telemetry: Telemetry,
    locate: Callable[[], DatabaseEndpoint],
    timing: RunTiming,
) -> VerifyResult:
    """Proves that a backup can be restored, and keeps what was found out beside its manifest.

    The latest is the newest backup that was made of a site. Whatever comes of it, nothing stays on
    the server; what a kill leaves, the next verification drops. A run that has ended is never done
    again. That something was in the way takes no earlier verdict's place.

    Arguments: `locate` finds the server to load into, and the account that makes schemas there; its
    schema's name is not used. Raises what is wrong with the backup: ArchiveDamaged, ArchiveRefused,
    LoadFailed; what was in the way: LeaseHeld (a restore), ServerGaveUp, DatabaseError, OutOfTime,
    StorageError, AwsError, SettingsError and their kinds; NotFound, also when the backup was
    deleted meanwhile.
    """
    with queued(catalog, request.run_id, telemetry.log):
        manifest = chosen(request.backup_id, request.run_id, catalog)
        if succeeded_before(catalog, request.run_id):
            telemetry.log.info("verified already, by this run", run_id=request.run_id)
            return VerifyResult(manifest.id, str(request.run_id), Verdict.VERIFIED)
        stored = NewRun(
            catalog,
            RunKind.VERIFY,
            manifest.id,
            run_id=request.run_id,
            backup_run_id=manifest.run_id,
        )
        active = ActiveRun(stored, telemetry, timing)
        with announced(
            active, telemetry, metric="VerifyFailure", failed="Verification Failed"
        ) as run:
            run.add_notices(settings.notices)
            verification = _Verifying(run, manifest, settings, catalog, locate).verify()
            run.set_result(
                verdict=verification.verdict,
                tables=verification.tables,
                rows=verification.rows,
                files=verification.files,
                read_bytes=verification.read_bytes,
            )
    telemetry.count(
        VerifySuccess=1,
        VerifySeconds=verification.seconds,
        VerifyReadBytes=verification.read_bytes,
    )
    telemetry.announce("Backup Verified", {"backupId": manifest.id, "runId": run.id})
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


def left_behind(proved: scratch.Proved) -> tuple[Notice, ...]:
    """What an operator has to drop by hand."""
    return tuple(
        Notice(
            code="left-behind",
            subject=schema,
            detail="this schema of the run could not be dropped: drop it by hand",
        )
        for schema in proved.left_behind
    )


class _Timed:
    """How long a part of a run takes, by its clock; of one that did not end nothing is known."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._began = now()
        self.seconds = 0.0

    def begin(self) -> None:
        """Begins, or begins anew."""
        self._began = self._now()

    def end(self) -> None:
        """Keeps how long it was."""
        self.seconds = (self._now() - self._began).total_seconds()


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
    server: Server | None = None
    load: _Timed = field(init=False)
    reading: _Timed = field(init=False)

    def __post_init__(self) -> None:
        self.backup = StoredBackup(self.catalog, self.manifest)
        self.load, self.reading = _Timed(self.catalog.now), _Timed(self.catalog.now)
        self.consistency = ConsistencyReport(self.backup, self.catalog, self.run.id)

    def verify(self) -> Verification:
        """Answers the proof, which is kept; raises what was in its way, and keeps that too."""
        self.run.step("loading the database into a schema of its own, and reading the volume")
        try:
            with self.backup.volume() as volume:
                proved, read = side_by_side(
                    partial(self._prove_database, volume),
                    partial(self._read_volume, volume),
                    GivesWay(self.run, self.catalog),
                )
            report = self.consistency.keep() if self.consistency.report else None
        except BaseException as error:
            reason = describe(error, self.run.id)
            self._keep(self._verification(self._verdict_of(error), error=reason))
            raise
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
        self._keep(verification)
        return verification

    def _prove_database(self, volume: StoredVolume, check: Check) -> scratch.Proved:
        manifest = self.manifest
        dump = IndexedDump(
            self.backup.database_segments(),
            self.backup.read_database,
            by_dump_program=manifest.type is not BackupType.UPLOADED,
        )

        def begins(server: Server) -> None:
            self.server = server
            self.load.begin()

        def look(connection: Connection, schema: str) -> None:
            self.load.end()
            try:
                self.consistency.look(check, volume, connection, schema)
            except VolumeError as error:
                # Without room to sort there is no report. It is no reason not to prove the rest.
                notice = Notice(code="report-left-out", subject=manifest.id, detail=error.public)
                self.run.add_notices((notice,))

        return scratch.prove(
            self.locate(),
            dump,
            whose=self.catalog.location,
            dumped_name=manifest.database_facts.name,
            connections=self.settings.backup_restore_connections or CONNECTIONS,
            statements=self.settings.backup_verify_sql,
            look=look,
            begins=begins,
            progress=self.run.progress_of("database"),
            check=check,
        )

    def _read_volume(self, volume: StoredVolume, check: Check) -> proof.Read:
        progress = self.run.progress_of("volume")
        self.reading.begin()
        wanted = WantedMembers(volume.members())
        with closing(volume.read(wanted)) as read:
            found = proof.read_all(volume.members, wanted, read, progress=progress, check=check)
        with closing(volume.read_rest(wanted)) as rest:
            for _, raw in rest:
                check()
                progress(len(raw))
        self.reading.end()
        return found

    def _verdict_of(self, error: BaseException) -> Verdict:
        """Whether an error tells that the backup is bad, or only that it could not be tried."""
        if isinstance(error, ServerGaveUp):
            return Verdict.COULD_NOT_VERIFY
        if isinstance(error, LoadFailed):
            # A dump of MySQL may be whole, and nothing for MariaDB.
            flavour = self.manifest.database_facts.flavour
            same = self.server is None or self.server.flavour == flavour
            return Verdict.BAD if same else Verdict.COULD_NOT_VERIFY
        is_bad = isinstance(error, ArchiveError | UnknownFormat)
        return Verdict.BAD if is_bad else Verdict.COULD_NOT_VERIFY

    # --- what was found out -----------------------------------------------------

    def _verification(
        self,
        verdict: Verdict,
        *,
        error: RunError | None = None,
        report: Report | None = None,
        **figures: int,
    ) -> Verification:
        return Verification.model_validate(
            {
                "backup_id": self.manifest.id,
                "backup_run_id": self.manifest.run_id,
                "run_id": self.run.id,
                "verdict": verdict,
                "started_at": self.run.started_at,
                "finished_at": self.catalog.now(),
                "server": self.server and f"{self.server.flavour} {self.server.version}",
                "read_bytes": self.backup.read_bytes,
                "load_seconds": self.load.seconds,
                "read_seconds": self.reading.seconds,
                "report": report,
                "error": error,
                **figures,
            }
        )

    def _keep(self, verification: Verification) -> None:
        """Raises NotFound when the backup is gone: nothing may be kept below its id then."""
        check_is_there(self.catalog, self.manifest)
        backups = self.catalog.backups
        if verification.verdict is Verdict.COULD_NOT_VERIFY:
            before = backups.verification(self.manifest)
            if before is not None and before.verdict is not Verdict.COULD_NOT_VERIFY:
                return
        backups.keep_verification(verification)
        try:
            check_is_there(self.catalog, self.manifest)
        except NotFound:
            backups.forget_verification(self.manifest.id)
            raise
