"""Upload: two foreign files are sent straight to S3, and taken in as a backup of their own."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from lcp_backup.catalog import Catalog
from lcp_backup.errors import Conflict, InvalidRequest, NotFound, ObjectNotFound
from lcp_backup.model import ArchiveKind, Run, RunKind, RunState, Upload, UploadedFile

PART_SIZE: Final = 64 << 20
"""What travels in one piece, and the size of a part of anything larger."""
_MOST_PARTS: Final = 1000
"""Of one file: two thousand signed URLs of up to 2 KB each fit a Lambda's answer of 6 MB."""
_LARGEST_PART: Final = 5 << 30
"""S3's limit (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)."""
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class SignedPart:
    """Where one part of a file is to be PUT: the file's bytes from `offset` on, `size` of them."""

    number: int
    offset: int
    size: int
    url: str


@dataclass(frozen=True)
class SignedFile:
    """Where one file is to be PUT: whole to `url`, or in `parts` when `url` is None."""

    size: int
    expires_at: datetime
    """UTC; until then a PUT may begin."""
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
        plans = {kind: _plan(kind, sizes.get(kind), sha256.get(kind)) for kind in ArchiveKind}
        files = {
            kind: file.model_copy(
                update={
                    "multipart_id": self._catalog.store.start_upload(
                        self._catalog.upload_key(upload_id, kind)
                    )
                }
            )
            if file.size > file.part_size
            else file
            for kind, file in plans.items()
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
        if len(body) != file.size or file.multipart_id is not None:
            raise InvalidRequest(_mismatch(upload, kind, len(body)))
        self._catalog.store.put(
            self._catalog.upload_key(upload_id, kind), body, content_type="application/octet-stream"
        )

    def abandon(self, upload_id: str) -> None:
        """Gives the upload up and deletes what was sent; raises NotFound, Conflict when sealed."""
        self.get(upload_id)
        self._refuse_if_sealed(upload_id)
        self._catalog.delete_upload(upload_id)

    def seal(self, upload_id: str) -> Run:
        """Checks that every announced byte has arrived, and queues the run that takes it in.

        The caller starts the function. After a run that failed without refusing the files, an
        upload may be sealed again. Raises NotFound; Conflict when its run is queued, is under way
        or has taken it in; InvalidRequest, naming what was expected and found; StorageError.
        """
        self._refuse_if_sealed(upload_id)
        upload = self.get(upload_id)
        for kind in upload.files:
            self._complete(upload, kind)
        return self._catalog.queue_run(upload_id, RunKind.UPLOAD, None)

    def _refuse_if_sealed(self, upload_id: str) -> None:
        try:
            run = self._catalog.get_run(upload_id)
        except NotFound:
            return
        if run.state is RunState.SUCCEEDED:
            raise Conflict(f"upload {upload_id} was taken in already, as backup {run.backup_id}")
        if not run.state.ended:
            raise Conflict(f"upload {upload_id} is being taken in; its run is {run.state}")

    def _sign(
        self, upload: Upload, kind: ArchiveKind, expires: timedelta, until: datetime
    ) -> SignedFile:
        file = upload.files[kind]
        store = self._catalog.store
        key = self._catalog.upload_key(upload.id, kind)
        if file.multipart_id is None:
            return SignedFile(file.size, until, store.presigned_put(key, expires=expires))
        parts = tuple(
            SignedPart(
                number=number,
                offset=offset,
                size=size,
                url=store.presigned_part(key, file.multipart_id, number, expires=expires),
            )
            for number, (offset, size) in _parts(file).items()
        )
        return SignedFile(file.size, until, None, parts)

    def _complete(self, upload: Upload, kind: ArchiveKind) -> None:
        """Makes sure that a file lies whole in S3, by what S3 says of it."""
        file = upload.files[kind]
        store = self._catalog.store
        key = self._catalog.upload_key(upload.id, kind)
        if file.multipart_id is not None:
            try:
                stored = store.list_parts(key, file.multipart_id)
            except ObjectNotFound:
                pass  # completed by an earlier call; what it made is looked at below
            else:
                expected = {number: size for number, (_, size) in _parts(file).items()}
                found = {part.number: part.size for part in stored}
                if found != expected:
                    wrong = min(
                        number
                        for number in {*expected, *found}
                        if expected.get(number) != found.get(number)
                    )
                    raise InvalidRequest(
                        f"{_mismatch(upload, kind, sum(found.values()))} in {len(found)} of"
                        f" {len(expected)} parts; the first that differs is part {wrong}:"
                        f" {expected.get(wrong, 0)} bytes were expected and"
                        f" {found.get(wrong, 0)} found"
                    )
                store.complete_upload(key, file.multipart_id, stored)
        try:
            size = store.reader(key).size
        except ObjectNotFound:
            size = 0
        if size != file.size:
            raise InvalidRequest(_mismatch(upload, kind, size))


def _plan(kind: ArchiveKind, size: int | None, sha256: str | None) -> UploadedFile:
    largest = _MOST_PARTS * _LARGEST_PART
    if size is None or not 0 < size <= largest:
        found = "no size is given" if size is None else f"{size} bytes are announced"
        raise InvalidRequest(f"the {kind} needs a size of 1 to {largest} bytes; {found}")
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise InvalidRequest(f"the {kind}'s SHA-256 is not 64 hexadecimal digits")
    # Whole MiB, so that `split -b` and `dd` can cut them.
    mib = 1 << 20
    part_size = max(PART_SIZE, -(-size // (_MOST_PARTS * mib)) * mib)
    return UploadedFile(
        size=size, part_size=part_size, sha256=None if sha256 is None else sha256.lower()
    )


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
