"""Upload: two foreign files are sent straight to S3, and taken in as a backup of their own."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from lcp_backup import VERSION
from lcp_backup.archive.read import read_whole
from lcp_backup.archive.write import ArchiveWriter, OnlyFile
from lcp_backup.aws.s3 import StoredPart
from lcp_backup.catalog import Catalog, started_at
from lcp_backup.errors import (
    ArchiveDamaged,
    ArchiveError,
    Conflict,
    InvalidRequest,
    LeaseLost,
    NotFound,
    ObjectNotFound,
    StorageError,
)
from lcp_backup.intake.database import take_database
from lcp_backup.intake.volume import TakenVolume, take_volume
from lcp_backup.jobs.active_run import ActiveRun, Pace, announce_failure, queued
from lcp_backup.jobs.archives import THREADS, described, new_archive
from lcp_backup.jobs.side_by_side import Check, side_by_side
from lcp_backup.model import (
    Archive,
    ArchiveKind,
    BackupId,
    BackupType,
    DatabaseFacts,
    Manifest,
    Run,
    RunKind,
    RunState,
    Upload,
    UploadedFile,
)
from lcp_backup.requests import UploadRequest
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry

PART_SIZE: Final = 16 << 20
"""What travels in one piece, and the size of a part of anything larger."""
_MOST_PARTS: Final = 1000
"""Of one file: two thousand signed URLs of up to 2 KB each fit a Lambda's answer of 6 MB."""
_LARGEST_PART: Final = 5 << 30
"""S3's limit (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)."""
_MOST_INFLATED: Final = 200
"""How many times its size a file may inflate to: dumps come to 10 or 20, a bomb to 1,000."""
_GIVEN_UP: Final = timedelta(hours=1)
"""How long Lambda keeps an event (the template's MaximumEventAgeInSeconds)."""
_SMALL: Final = 64 << 20
"""What any file may inflate to."""
_REFUSALS: Final = {ArchiveError.__name__, *(it.__name__ for it in ArchiveError.__subclasses__())}
"""What a record calls the errors by which files are refused."""
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class SignedPart:
    """Where one part of a file is to be PUT: the file's bytes from `offset` on, `size` of them."""

    number: int
    offset: int
    size: int
    arrived: bool
    """Whether so many bytes lie there already: they need not be sent again."""
    url: str


@dataclass(frozen=True)
class SignedFile:
    """Where one file is to be PUT: whole to `url`, or in `parts` when `url` is None."""

    size: int
    expires_at: datetime
    """UTC; until then a PUT may begin."""
    arrived: bool
    """Whether all of its bytes lie there already."""
    url: str | None
    parts: tuple[SignedPart, ...] = ()


class Uploads:
    """Uploads while they are open: from the announcement of two files until their run is queued."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def open(
        self, sizes: Mapping[ArchiveKind, int], sha256: Mapping[ArchiveKind, str], by: str
    ) -> Upload:
        """Makes room for two files of these sizes (bytes).

        Args:
            sizes: of both kinds.
            sha256: hexadecimal, of the files whose sender knows it; checked when they are taken in.
            by: the name of who asks.

        Raises InvalidRequest, StorageError.
        """
        upload_id = self._catalog.new_run_id(RunKind.UPLOAD)
        checked = {kind: _checked(kind, sizes.get(kind), sha256.get(kind)) for kind in ArchiveKind}
        files = {
            kind: UploadedFile(
                size=size,
                sha256=digest,
                part_size=_part_size(size),
                # For a small file too: completing the multipart upload is what ends every URL that
                # was signed for it. A URL for the object itself could be used after the seal.
                multipart_id=self._catalog.store.start_multipart(
                    self._catalog.upload_key(upload_id, kind)
                ),
            )
            for kind, (size, digest) in checked.items()
        }
        upload = Upload(id=upload_id, by=by, opened_at=self._catalog.now(), files=files)
        self._catalog.write_upload(upload)
        return upload

    def get(self, upload_id: str) -> Upload:
        """An upload that was neither taken in nor given up; raises NotFound, StorageError."""
        return self._catalog.get_upload(upload_id)

    def signed(self, upload: Upload, expires: timedelta) -> dict[ArchiveKind, SignedFile]:
        """Where the files are to be sent; may be asked for again at any time, for fresh URLs.

        Sending a part again replaces it. Raises Conflict once the upload is being taken in.
        """
        self._refuse_if_sealed(upload.id)
        until = self._catalog.now() + expires
        return {kind: self._sign(upload, kind, expires, until) for kind in upload.files}

    def put(self, upload_id: str, kind: ArchiveKind, body: bytes) -> None:
        """Stores a small file that came with the request itself.

        Raises NotFound, Conflict, InvalidRequest when it is not of the announced size.
        """
        upload = self.get(upload_id)
        self._refuse_if_sealed(upload_id)
        file = upload.files[kind]
        if len(body) != file.size or file.size > file.part_size:
            raise InvalidRequest(_mismatch(upload, kind, len(body)))
        key = self._catalog.upload_key(upload_id, kind)
        self._catalog.store.put_part(key, file.multipart_id, 1, body)

    def abandon(self, upload_id: str) -> None:
        """Gives the upload up and deletes what was sent; raises NotFound, Conflict when sealed."""
        self.get(upload_id)
        self._refuse_if_sealed(upload_id)
        self._catalog.delete_upload(upload_id)

    def seal(self, upload_id: str) -> Run:
        """Checks that every announced byte has arrived, and queues the run that takes it in.

        From then on no URL that was signed for the files can change them, and the run reads what
        was checked and nothing else. Files that are not whole stay as they are, to be sent on.

        The caller starts the function. After a run that failed without refusing the files, an
        upload may be sealed again. Raises NotFound; Conflict when its run is queued, is under way
        or has taken it in; InvalidRequest, naming what was expected and found; StorageError.
        """
        self._refuse_if_sealed(upload_id)
        upload = self.get(upload_id)
        parts = {kind: self._whole_parts(upload, kind) for kind in upload.files}
        sealed = {
            kind: file.model_copy(update={"etag": self._complete(upload, kind, parts[kind])})
            for kind, file in upload.files.items()
        }
        self._catalog.write_upload(upload.model_copy(update={"files": sealed}))
        return self._catalog.queue_run(upload_id, RunKind.UPLOAD, None)

    def _refuse_if_sealed(self, upload_id: str) -> None:
        try:
            run = self._catalog.get_run(upload_id)
        except NotFound:
            return
        if run.state is RunState.SUCCEEDED:
            raise Conflict(f"upload {upload_id} was taken in already, as backup {run.backup_id}")
        if run.state is RunState.QUEUED and self._catalog.now() > run.updated_at + _GIVEN_UP:
            return
        if not run.state.ended:
            raise Conflict(f"upload {upload_id} is being taken in; its run is {run.state}")

    def _sign(
        self, upload: Upload, kind: ArchiveKind, expires: timedelta, until: datetime
    ) -> SignedFile:
        file = upload.files[kind]
        store = self._catalog.store
        key = self._catalog.upload_key(upload.id, kind)
        arrived = self._arrived(upload, kind)
        whole = len(arrived) == len(_parts(file))
        parts = tuple(
            SignedPart(
                number=number,
                offset=offset,
                size=size,
                arrived=number in arrived,
                url=store.presigned_part(
                    key, file.multipart_id, number, size=size, expires=expires
                ),
            )
            for number, (offset, size) in _parts(file).items()
        )
        if len(parts) == 1:
            return SignedFile(file.size, until, whole, parts[0].url)
        return SignedFile(file.size, until, whole, None, parts)

    def _arrived(self, upload: Upload, kind: ArchiveKind) -> frozenset[int]:
        """The parts that lie in S3 with their announced size."""
        file = upload.files[kind]
        store = self._catalog.store
        key = self._catalog.upload_key(upload.id, kind)
        expected = {number: size for number, (_, size) in _parts(file).items()}
        with suppress(ObjectNotFound):  # put together by an earlier `seal`: a whole object
            found = store.list_parts(key, file.multipart_id)
            return frozenset(it.number for it in found if expected.get(it.number) == it.size)
        try:
            whole = store.reader(key).size == file.size
        except ObjectNotFound:
            whole = False
        return frozenset(expected) if whole else frozenset()

    def _whole_parts(self, upload: Upload, kind: ArchiveKind) -> list[StoredPart] | None:
        """A file's parts, all there by what S3 says; None when an earlier call completed them."""
        key = self._catalog.upload_key(upload.id, kind)
        try:
            parts = self._catalog.store.list_parts(key, upload.files[kind].multipart_id)
        except ObjectNotFound:
            return None
        _check_parts(upload, kind, {part.number: part.size for part in parts})
        return parts

    def _complete(
        self, upload: Upload, kind: ArchiveKind, parts: Iterable[StoredPart] | None
    ) -> str:
        """Makes a file whole, unless it is, and answers its tag."""
        file = upload.files[kind]
        store = self._catalog.store
        key = self._catalog.upload_key(upload.id, kind)
        if parts is not None:
            store.complete_multipart(key, file.multipart_id, parts)
        try:
            whole = store.reader(key)
        except ObjectNotFound:
            raise InvalidRequest(_mismatch(upload, kind, 0)) from None
        if whole.size != file.size:
            raise InvalidRequest(_mismatch(upload, kind, whole.size))
        return whole.etag


def _check_parts(upload: Upload, kind: ArchiveKind, found: Mapping[int, int]) -> None:
    """Compares the sizes of the parts, by number, with what was announced."""
    expected = {number: size for number, (_, size) in _parts(upload.files[kind]).items()}
    if found == expected:
        return
    mismatch = _mismatch(upload, kind, sum(found.values()))
    if len(expected) == 1:
        raise InvalidRequest(mismatch)
    wrong = min(
        number for number in {*expected, *found} if expected.get(number) != found.get(number)
    )
    raise InvalidRequest(
        f"{mismatch} in {len(found)} of {len(expected)} parts; the first that differs is part"
        f" {wrong}: {expected.get(wrong, 0)} bytes were expected and {found.get(wrong, 0)} found"
    )


def _checked(kind: ArchiveKind, size: int | None, sha256: str | None) -> tuple[int, str | None]:
    """Size and digest as they were announced; raises InvalidRequest when they cannot be."""
    largest = _MOST_PARTS * _LARGEST_PART
    if size is None or not 0 < size <= largest:
        found = "no size is given" if size is None else f"{size} bytes are announced"
        raise InvalidRequest(f"the {kind} needs a size of 1 to {largest} bytes; {found}")
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise InvalidRequest(f"the {kind}'s SHA-256 is not 64 hexadecimal digits")
    return size, None if sha256 is None else sha256.lower()


def _part_size(size: int) -> int:
    """Bytes of a part of a file of this size: whole MiB, so that `split -b` and `dd` can cut it."""
    mib = 1 << 20
    return max(PART_SIZE, -(-size // (_MOST_PARTS * mib)) * mib)


def _parts(file: UploadedFile) -> dict[int, tuple[int, int]]:
    """Offset and size of every part, by number."""
    offsets = range(0, file.size, file.part_size)
    return {
        number: (offset, min(file.part_size, file.size - offset))
        for number, offset in enumerate(offsets, 1)
    }


def _mismatch(upload: Upload, kind: ArchiveKind, found: int) -> str:
    return (
        f"the {kind} of upload {upload.id} is not what was announced:"
        f" {upload.files[kind].size} bytes were expected and {found} found"
    )


def were_refused(run: Run) -> bool:
    """Whether an upload's run failed for its files, so that nothing can take these in any more.

    After any other failure they are kept, and the same run may yet succeed.
    """
    return run.error is not None and run.error.type in _REFUSALS


# --- the job --------------------------------------------------------------------


@dataclass(frozen=True)
class UploadResult:
    """What taking an upload in answers."""

    backup_id: str
    run_id: str
    bytes: int
    """Stored bytes of both archives."""


def take_in(
    request: UploadRequest,
    *,
    settings: Settings,
    catalog: Catalog,
    telemetry: Telemetry,
    pace: Pace,
) -> UploadResult:
    """Makes a backup of an upload's two files: checked to their end, in the service's own form.

    Nothing is published unless both are whole. Files that are refused are deleted, and the run's
    record says why; after any other failure they are kept, and the upload may be sealed again.
    Two deliveries of one event make one backup, also when the first was killed after publishing;
    when it failed, the second raises RunIsOver. While another run writes, LeaseHeld is raised and
    the run stays queued.

    The backup's id is the newest minute not later than now that has no backup. Raises NotFound,
    ArchiveRefused, ArchiveDamaged, LeaseHeld, OutOfTime, StorageError and their kinds.
    """
    upload_id = request.upload_id
    if not _has_succeeded(catalog, upload_id):
        # While somebody writes, also another delivery of this event, the run is as queued as it
        # was: nobody is told that it failed, and Lambda tries again.
        catalog.check_lease_is_free()
    with queued(catalog, upload_id, telemetry.log):
        manifest = _published_by(catalog, upload_id)
        if manifest is not None and _has_succeeded(catalog, upload_id):
            return _result(manifest)
        # Looked at before there is a run: what was refused is gone, and its record says why.
        upload = None if manifest is not None else catalog.get_upload(upload_id)
        active = ActiveRun(catalog, telemetry, RunKind.UPLOAD, None, pace, run_id=upload_id)
        try:
            with active as run:
                run.note(settings.notices)
                if upload is not None:
                    manifest = _Intake(run, upload, settings, catalog).published()
                assert manifest is not None
                run.concerns(manifest.id)
                run.set_result(bytes=manifest.size)
                try:
                    catalog.delete_upload(upload_id)
                except StorageError as error:
                    # There is a backup now, so this is no failure; cleanup takes the files away.
                    telemetry.log.warning("the sent files stay for a day", reason=str(error))
        except BaseException as error:
            if active.is_another_deliverys:
                raise
            telemetry.count(UploadFailure=1)
            announce_failure(telemetry, "Upload Failed", active, error)
            raise
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
        return catalog.get_run(run_id).state is RunState.SUCCEEDED
    except NotFound:
        return False


def _published_by(catalog: Catalog, upload_id: str) -> Manifest | None:
    """The backup that an earlier delivery made of the upload."""
    opened_at = started_at(upload_id)
    for manifest in catalog.backups():
        if manifest.run_id == upload_id:
            return manifest
        # An uploaded backup's minute is before its run only by the minutes that were taken.
        if opened_at is not None and manifest.slot < opened_at - timedelta(days=1):
            break
    return None


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

    def published(self) -> Manifest:
        """Takes both files in and publishes them, or publishes nothing.

        The function may delete nothing where backups lie, because it reads what strangers wrote: so
        it goes to an id below which nothing lies, and what a failure leaves there is cleanup's.
        """
        while not self._catalog.is_free(str(self._backup_id)):
            self._backup_id = self._backup_id.before()
        self._run.confirm()
        try:
            self._run.step("checking the database and the volume, and storing them with an index")
            manifest = self._taken()
            self._run.step("publishing")
            self._run.confirm()
            self._catalog.publish(manifest)
        except LeaseLost:
            # The upload may by now be another run's.
            raise
        except BaseException:
            if self._refused:
                with suppress(StorageError):
                    self._catalog.delete_upload(self._upload.id)
            raise
        return manifest

    def _taken(self) -> Manifest:
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
                lambda _: self._finished(database),
                lambda _: self._finished(volume),
                self._run.check,
            )
        self._run.note(taken.notices)
        self._run.detail(
            "both files were judged to their ends",
            dumped_by=database_facts.client_version,
            tables=database_facts.tables,
            files=taken.facts.files,
            bytes=taken.facts.bytes,
        )
        return self._manifest(*archives, database_facts, taken)

    def _finished(self, writer: ArchiveWriter) -> Archive:
        return described(self._catalog, str(self._backup_id), writer.finish())

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
            return whole_or_aborted.enter_context(self._archive(ArchiveKind.DATABASE, only_file))

        with self._judging():
            taken = take_database(
                self._sent(ArchiveKind.DATABASE),
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
        writer = whole_or_aborted.enter_context(self._archive(ArchiveKind.VOLUME, None))
        with self._judging():
            taken = take_volume(
                self._sent(ArchiveKind.VOLUME),
                writer,
                limit=self._most_inflated(ArchiveKind.VOLUME),
                progress=self._run.progress_of(ArchiveKind.VOLUME),
                check=check,
            )
        check()
        return writer, taken

    def _archive(self, kind: ArchiveKind, only_file: OnlyFile | None) -> ArchiveWriter:
        return new_archive(self._catalog, str(self._backup_id), kind, only_file)

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

    def _sent(self, kind: ArchiveKind) -> Iterator[bytes]:
        """A file as it was sealed; its end comes only when it is what was announced."""
        file = self._upload.files[kind]
        source = self._catalog.store.reader(self._catalog.upload_key(self._upload.id, kind))
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
