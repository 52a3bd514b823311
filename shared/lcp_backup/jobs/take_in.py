"""Take in: the two files of an upload become a backup of their own, judged to their ends."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from lcp_backup import VERSION
from lcp_backup.archive.read import read_whole
from lcp_backup.archive.write import ArchiveWriter, OnlyFile
from lcp_backup.catalog import Catalog
from lcp_backup.errors import (
    ArchiveDamaged,
    ArchiveError,
    LeaseLost,
    NotFound,
    StorageError,
    TaskFailed,
)
from lcp_backup.intake.database import take_database
from lcp_backup.intake.volume import TakenVolume, take_volume
from lcp_backup.jobs.active_run import ActiveRun, RunTiming, announced
from lcp_backup.jobs.archives import THREADS, open_archive, read_back_or_describe
from lcp_backup.jobs.intake_task import StartTask, hand_to_task, needs_task, published_by
from lcp_backup.jobs.queued_run import queued
from lcp_backup.jobs.side_by_side import Check, side_by_side
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.model import (
    Archive,
    ArchiveKind,
    BackupId,
    BackupType,
    DatabaseFacts,
    Manifest,
    RunKind,
    RunState,
    Upload,
)
from lcp_backup.requests import UploadRequest
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry

_MOST_INFLATED: Final = 200
"""How many times its size a file may inflate to: dumps come to 10 or 20, a bomb to 1,000."""
_SMALL: Final = 64 << 20
"""What any file may inflate to."""


@dataclass(frozen=True)
class UploadResult:
    """What taking an upload in answers."""

    backup_id: str
    """Empty when a task was asked to make the backup."""
    run_id: str
    bytes: int
    """Stored bytes of both archives."""


def take_in(
    request: UploadRequest,
    *,
    settings: Settings,
    catalog: Catalog,
    telemetry: Telemetry,
    timing: RunTiming,
    start_task: StartTask | None = None,
) -> UploadResult:
    """Makes a backup of an upload's two files: checked to their end, in the service's own form.

    Nothing is published unless both are whole. Files that are refused are deleted, and the run's
    record says why; after any other failure they are kept, and the upload may be sealed again.
    Two deliveries of one event make one backup, also when the first was killed after publishing;
    when it failed, the second raises RunIsOver. While another run writes, LeaseHeld is raised and
    the run stays queued.

    Where the time is not sure to be enough, and `start_task` is given, that is called instead, and
    a task calls this function anew.

    The backup's id is the newest minute not later than now that has no backup. Raises NotFound,
    ArchiveRefused, ArchiveDamaged, AwsError, LeaseHeld, OutOfTime, StorageError and their kinds.
    """
    upload_id = request.upload_id
    if not _has_succeeded(catalog, upload_id):
        # While somebody writes, also another delivery of this event, the run is as queued as it
        # was: nobody is told that it failed, and Lambda tries again. A task waits for longer.
        if start_task is None:
            catalog.lease.check_is_free()
        catalog.lease.check_is_not_of(upload_id)
    with queued(catalog, upload_id, telemetry.log):
        manifest = published_by(catalog, upload_id)
        if manifest is not None and _has_succeeded(catalog, upload_id):
            return _result(manifest)
        # Looked at before there is a run: what was refused is gone, and its record says why.
        upload = None if manifest is not None else catalog.uploads.get(upload_id)
        seconds = timing.seconds_left(catalog.now())
        if upload is not None and start_task is not None and needs_task(upload, seconds):
            hand_to_task(catalog, upload_id, start_task)
            return UploadResult("", upload_id, 0)
        catalog.lease.check_is_free()
        stored = NewRun(catalog, RunKind.UPLOAD, None, run_id=upload_id)
        active = ActiveRun(stored, telemetry, timing)
        with announced(active, telemetry, metric="UploadFailure", failed="Upload Failed") as run:
            run.add_notices(settings.notices)
            if upload is not None:
                manifest = _Intake(run, upload, settings, catalog).make_backup()
            assert manifest is not None
            run.set_backup(manifest.id)
            run.set_result(bytes=manifest.size)
            try:
                catalog.uploads.delete(upload_id)
            except (StorageError, TaskFailed) as error:
                # There is a backup now, so this is no failure, nor is it that the task is stopped;
                # cleanup takes the files away.
                telemetry.log.warning("the sent files stay for a day", reason=str(error))
    telemetry.count(
        UploadSuccess=1,
        UploadStoredBytes=manifest.size,
        UploadSeconds=(manifest.published_at - manifest.started_at).total_seconds(),
    )
    telemetry.announce(
        "Backup Uploaded",
        {"backupId": manifest.id, "bytes": manifest.size, "runId": upload_id},
    )
    return _result(manifest)


def _result(manifest: Manifest) -> UploadResult:
    return UploadResult(manifest.id, manifest.run_id, manifest.size)


def _has_succeeded(catalog: Catalog, run_id: str) -> bool:
    try:
        return catalog.runs.get(run_id).state is RunState.SUCCEEDED
    except NotFound:
        return False


class _Intake:
    """One upload on its way to being a backup, under the lease."""

    def __init__(
        self, run: ActiveRun, upload: Upload, settings: Settings, catalog: Catalog
    ) -> None:
        self._run = run
        self._upload = upload
        self._settings = settings
        self._catalog = catalog
        self._refused = False
        self._backup_id = BackupId.of(settings.project_id, settings.environment_id, catalog.now())

    def make_backup(self) -> Manifest:
        """Takes both files in and publishes them, or publishes nothing.

        The function may delete nothing where backups lie, because it reads what strangers wrote: so
        it goes to an id below which nothing lies, and what a failure leaves there is cleanup's.
        """
        while not self._catalog.backups.is_free(str(self._backup_id)):
            self._backup_id = self._backup_id.before()
        self._run.confirm()
        try:
            self._run.step("checking the database and the volume, and storing them with an index")
            manifest = self._take_both()
            self._run.step("publishing")
            self._run.confirm()
            self._catalog.backups.publish(manifest)
        except LeaseLost:
            # The upload may by now be another run's.
            raise
        except BaseException:
            if self._refused:
                with suppress(StorageError):
                    self._catalog.uploads.delete(self._upload.id)
            raise
        return manifest

    def _take_both(self) -> Manifest:
        """Both files as archives in the bucket, not published; what is refused leaves none there.

        Neither becomes an object before both were judged to their ends.
        """
        with ExitStack() as whole_or_aborted:
            (database, database_facts), (volume, taken) = side_by_side(
                lambda check: self._take_database(whole_or_aborted, check),
                lambda check: self._take_volume(whole_or_aborted, check),
                self._run.check,
            )
            archives = side_by_side(
                lambda _: self._finish(database),
                lambda _: self._finish(volume),
                self._run.check,
            )
        self._run.add_notices(taken.notices)
        self._run.detail(
            "both files were judged to their ends",
            dumped_by=database_facts.client_version,
            tables=database_facts.tables,
            files=taken.facts.files,
            bytes=taken.facts.bytes,
        )
        return self._manifest(*archives, database_facts, taken)

    def _finish(self, writer: ArchiveWriter) -> Archive:
        return read_back_or_describe(self._catalog, str(self._backup_id), writer.finish())

    def _manifest(
        self,
        database: Archive,
        volume: Archive,
        database_facts: DatabaseFacts,
        taken: TakenVolume,
    ) -> Manifest:
        return Manifest(
            id=str(self._backup_id),
            type=BackupType.UPLOADED,
            project=self._backup_id.project,
            environment=self._backup_id.environment,
            slot=self._backup_id.slot,
            run_id=self._run.id,
            started_at=self._run.started_at,
            published_at=self._catalog.now(),
            service_version=VERSION,
            database=database,
            volume=volume,
            database_facts=database_facts,
            volume_facts=taken.facts,
            warnings=taken.notices,
        )

    def _take_database(
        self, whole_or_aborted: ExitStack, check: Check
    ) -> tuple[ArchiveWriter, DatabaseFacts]:
        now = self._catalog.now()

        def writer_for(schema: str) -> ArchiveWriter:
            only_file = OnlyFile(f"{schema}.sql", now)
            return whole_or_aborted.enter_context(
                self._open_archive(ArchiveKind.DATABASE, only_file)
            )

        with self._judging():
            taken = take_database(
                self._read_sent(ArchiveKind.DATABASE),
                writer_for,
                default_name=self._settings.dbname,
                limit=self._most_inflated(ArchiveKind.DATABASE),
                progress=self._run.progress_of(ArchiveKind.DATABASE),
                check=check,
            )
        check()
        return taken

    def _take_volume(
        self, whole_or_aborted: ExitStack, check: Check
    ) -> tuple[ArchiveWriter, TakenVolume]:
        writer = whole_or_aborted.enter_context(self._open_archive(ArchiveKind.VOLUME, None))
        with self._judging():
            taken = take_volume(
                self._read_sent(ArchiveKind.VOLUME),
                writer,
                limit=self._most_inflated(ArchiveKind.VOLUME),
                progress=self._run.progress_of(ArchiveKind.VOLUME),
                check=check,
            )
        check()
        return writer, taken

    def _open_archive(self, kind: ArchiveKind, only_file: OnlyFile | None) -> ArchiveWriter:
        return open_archive(self._catalog, str(self._backup_id), kind, only_file)

    @contextmanager
    def _judging(self) -> Iterator[None]:
        """Around what reads the user's files: an error of an archive is theirs, and for good."""
        try:
            yield
        except ArchiveError:
            self._refused = True
            raise

    def _most_inflated(self, kind: ArchiveKind) -> int:
        return max(_SMALL, _MOST_INFLATED * self._upload.files[kind].size)

    def _read_sent(self, kind: ArchiveKind) -> Iterator[bytes]:
        """A file as it was sealed; its end comes only when it is what was announced."""
        file = self._upload.files[kind]
        source = self._catalog.uploads.open_file(self._upload.id, kind)
        # No URL that was ever handed out can do this; whoever may write to the bucket could.
        if source.etag != file.etag or source.size != file.size:
            raise ArchiveDamaged(
                f"the {kind} of upload {self._upload.id} is not the file that was sealed; send both"
                " files again"
            )
        digest = hashlib.sha256()
        for chunk in read_whole(source, threads=THREADS):
            if file.sha256 is not None:
                digest.update(chunk)
            yield chunk
        if file.sha256 not in (None, digest.hexdigest()):
            raise ArchiveDamaged(
                f"the {kind} is not what was announced: its SHA-256 is {digest.hexdigest()}, and"
                f" {file.sha256} was expected"
            )
