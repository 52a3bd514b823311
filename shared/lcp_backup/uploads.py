"""Uploads while they are open: two files are announced, sent straight to S3, and sealed."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from lcp_backup.aws.s3 import StoredPart
from lcp_backup.catalog import Catalog
from lcp_backup.errors import (
    ArchiveError,
    Conflict,
    InvalidRequest,
    NotFound,
    ObjectNotFound,
    OutOfTime,
)
from lcp_backup.model import ArchiveKind, Run, RunKind, RunState, Upload, UploadedFile

PART_SIZE: Final = 16 << 20
"""What travels in one piece, and the size of a part of anything larger."""
_MOST_PARTS: Final = 1000
"""Of one file: two thousand signed URLs of up to 2 KB each fit a Lambda's answer of 6 MB."""
_LARGEST_PART: Final = 5 << 30
"""S3's limit (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)."""
_BEST_RATES: Final = {ArchiveKind.DATABASE: 150e6, ArchiveKind.VOLUME: 300e6}
"""Bytes a second that no function comes near when it takes a file in: 66 and 227 MB of what a file
inflates to were measured (docs/limits.md)."""
_GB: Final = 1e9
_GIVEN_UP: Final = timedelta(hours=1)
"""How long Lambda keeps an event (the template's MaximumEventAgeInSeconds)."""
_REFUSALS: Final = {ArchiveError.code, *(it.code for it in ArchiveError.__subclasses__())}
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
    """Uploads while they are open: from the announcement of two files until their run is queued.

    Arguments: `longest` is how long the function or the task may last that takes them in.
    """

    def __init__(self, catalog: Catalog, longest: timedelta = timedelta(minutes=15)) -> None:
        self._catalog = catalog
        self._longest = longest

    def open(
        self, sizes: Mapping[ArchiveKind, int], sha256: Mapping[ArchiveKind, str], by: str
    ) -> Upload:
        """Makes room for two files of these sizes (bytes).

        Args:
            sizes: of both kinds.
            sha256: hexadecimal, of the files whose sender knows it; checked when they are taken in.
            by: the name of who asks.

        Raises InvalidRequest, also for a file that no function could take in in its time;
        StorageError.
        """
        upload_id = self._catalog.runs.new_id(RunKind.UPLOAD)
        checked = {kind: _checked(kind, sizes.get(kind), sha256.get(kind)) for kind in ArchiveKind}
        for kind, (size, _) in checked.items():
            _check_fits(kind, size, self._longest)
        files = {
            kind: UploadedFile(
                size=size,
                sha256=digest,
                part_size=_part_size(size),
                multipart_id=self._catalog.uploads.start_file(upload_id, kind),
            )
            for kind, (size, digest) in checked.items()
        }
        upload = Upload(id=upload_id, by=by, opened_at=self._catalog.now(), files=files)
        self._catalog.uploads.write(upload)
        return upload

    def get(self, upload_id: str) -> Upload:
        """An upload that was neither taken in nor given up; raises NotFound, StorageError."""
        return self._catalog.uploads.get(upload_id)

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
        self._catalog.uploads.put_part(upload, kind, 1, body)

    def abandon(self, upload_id: str) -> None:
        """Gives the upload up and deletes what was sent; raises NotFound, Conflict when sealed."""
        self.get(upload_id)
        self._refuse_if_sealed(upload_id)
        self._catalog.uploads.delete(upload_id)

    def seal(self, upload_id: str) -> Run:
        """Checks that every announced byte has arrived, and queues the run that takes it in.

        From then on no URL that was signed for the files can change them, and the run reads what
        was checked and nothing else. Files that are not whole stay as they are, to be sent on.

        The caller starts the function. After a run that failed without refusing the files, an
        upload may be sealed again. Raises NotFound; Conflict when its run is queued, is under way
        or has taken it in; InvalidRequest, naming what was expected and found; StorageError.
        """
        before = self._refuse_if_sealed(upload_id)
        upload = self.get(upload_id)
        parts = {kind: self._whole_parts(upload, kind) for kind in upload.files}
        sealed = {
            kind: file.model_copy(update={"etag": self._complete(upload, kind, parts[kind])})
            for kind, file in upload.files.items()
        }
        failed = before.error if before is not None else None
        late = failed is not None and failed.code == OutOfTime.code
        sealing = {"files": sealed, "was_out_of_time": upload.was_out_of_time or late}
        self._catalog.uploads.write(upload.model_copy(update=sealing))
        return self._catalog.runs.queue_after(before, upload_id, RunKind.UPLOAD)

    def _refuse_if_sealed(self, upload_id: str) -> Run | None:
        """The run that has failed to take it in, or waited in vain; None where there was none."""
        try:
            run = self._catalog.runs.get(upload_id)
        except NotFound:
            return None
        if run.state is RunState.SUCCEEDED:
            raise Conflict(f"upload {upload_id} was taken in already, as backup {run.backup_id}")
        if run.state is RunState.QUEUED and self._catalog.now() > run.updated_at + _GIVEN_UP:
            return run
        if not run.state.ended:
            raise Conflict(f"upload {upload_id} is being taken in; its run is {run.state}")
        return run

    def _sign(
        self, upload: Upload, kind: ArchiveKind, expires: timedelta, until: datetime
    ) -> SignedFile:
        file = upload.files[kind]
        arrived = self._arrived(upload, kind)
        whole = len(arrived) == len(_parts(file))
        parts = tuple(
            SignedPart(
                number=number,
                offset=offset,
                size=size,
                arrived=number in arrived,
                url=self._catalog.uploads.presigned_part(
                    upload, kind, number, size=size, expires=expires
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
        expected = {number: size for number, (_, size) in _parts(file).items()}
        with suppress(ObjectNotFound):  # put together by an earlier `seal`: a whole object
            found = self._catalog.uploads.parts(upload, kind)
            return frozenset(it.number for it in found if expected.get(it.number) == it.size)
        try:
            whole = self._catalog.uploads.open_file(upload.id, kind).size == file.size
        except ObjectNotFound:
            whole = False
        return frozenset(expected) if whole else frozenset()

    def _whole_parts(self, upload: Upload, kind: ArchiveKind) -> list[StoredPart] | None:
        """A file's parts, all there by what S3 says; None when an earlier call completed them."""
        try:
            parts = self._catalog.uploads.parts(upload, kind)
        except ObjectNotFound:
            return None
        _check_parts(upload, kind, {part.number: part.size for part in parts})
        return parts

    def _complete(
        self, upload: Upload, kind: ArchiveKind, parts: Iterable[StoredPart] | None
    ) -> str:
        """Makes a file whole, unless it is, and answers its tag."""
        file = upload.files[kind]
        if parts is not None:
            self._catalog.uploads.complete_file(upload, kind, parts)
        try:
            whole = self._catalog.uploads.open_file(upload.id, kind)
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


def _check_fits(kind: ArchiveKind, size: int, longest: timedelta) -> None:
    """Raises InvalidRequest, before a byte is sent, for a file that would be sent in vain."""
    most = _BEST_RATES[kind] * longest.total_seconds()
    if size > most:
        raise InvalidRequest(
            f"the {kind} has {size / _GB:.0f} GB, and a function takes in {most / _GB:.0f} GB at"
            f" the very most in its {longest.total_seconds():.0f} seconds: deploy with"
            " DumpTaskSubnetIds, so that a task does it, or load and unpack the files where a site"
            " has them, and back that up"
        )


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
    return run.error is not None and run.error.code in _REFUSALS
