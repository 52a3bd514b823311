"""Uploads while they are open: what is known of each, and the two files on their way in.

Every file travels as a multipart upload, even a small one: completing it ends every URL that was
signed for it, while a URL for the object itself could still be used afterwards.
"""

from collections.abc import Iterable
from datetime import timedelta

from lcp_backup.aws.s3 import ObjectStore, StoredPart
from lcp_backup.aws.s3_reader import ObjectReader
from lcp_backup.catalog.keys import Keys
from lcp_backup.errors import NotFound, ObjectNotFound, UnknownFormat
from lcp_backup.model import ArchiveKind, RunId, RunKind, Upload

_RECORD = "upload.json"


class StoredUploads:
    """The open uploads of one environment."""

    def __init__(self, store: ObjectStore, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    def write(self, upload: Upload) -> None:
        """Stores what is known of an upload; from then on it exists."""
        body = upload.model_dump_json(indent=1).encode()
        self._store.put(self._keys.of_upload(upload.id, _RECORD), body)

    def get(self, upload_id: str) -> Upload:
        """An upload that was neither taken in nor given up; raises NotFound, UnknownFormat."""
        try:
            if not _is_upload_id(upload_id):
                raise ObjectNotFound(upload_id)
            return Upload.read(self._store.get(self._keys.of_upload(upload_id, _RECORD)).body)
        except ObjectNotFound as error:
            raise NotFound(f"there is no upload {upload_id[:100]!r}") from error

    def ids(self) -> list[str]:
        """The ids of all that lies in the uploads' folder or is being sent there, oldest first."""
        found = set(self._store.names(self._keys.uploads))
        for multipart in self._store.open_multiparts(self._keys.uploads):
            found.add(multipart.key.removeprefix(self._keys.uploads).partition("/")[0])
        # What is no upload was put there by somebody else, and stays untouched.
        return sorted(name for name in found if _is_upload_id(name))

    def delete(self, upload_id: str) -> None:
        """Makes the upload not exist, then deletes what was sent; may be called again.

        Parts go of which the upload's record tells; others: `delete_unnamed_parts`.
        """
        try:
            files = self.get(upload_id).files
        except (NotFound, UnknownFormat):
            files = {}
        self._store.delete([self._keys.of_upload(upload_id, _RECORD)])
        for kind, file in files.items():
            if file.etag is None:  # of a sealed one no part is left
                self._store.abort_multipart(
                    self._keys.of_upload(upload_id, kind), file.multipart_id
                )
        below = self._keys.of_upload(upload_id, "")
        self._store.delete([entry.key for entry in self._store.entries(below)])

    def delete_unnamed_parts(self, upload_id: str) -> None:
        """Deletes parts also of an upload whose record is gone or was never written.

        It has to list the bucket's multipart uploads, a right that has no prefix: cleanup has it.
        """
        for multipart in list(self._store.open_multiparts(self._keys.of_upload(upload_id, ""))):
            self._store.abort_multipart(multipart.key, multipart.multipart_id)

    # --- the two files -------------------------------------------------------------------------

    def start_file(self, upload_id: str, kind: ArchiveKind) -> str:
        """Opens the multipart upload by which a file travels; answers S3's id of it."""
        return self._store.start_multipart(self._keys.of_upload(upload_id, kind))

    def presigned_part(
        self, upload: Upload, kind: ArchiveKind, number: int, *, size: int, expires: timedelta
    ) -> str:
        """A URL by which anybody may PUT one part of a file, of exactly `size` bytes."""
        return self._store.presigned_part(
            self._keys.of_upload(upload.id, kind),
            upload.files[kind].multipart_id,
            number,
            size=size,
            expires=expires,
        )

    @property
    def hosts(self) -> str:
        """Where the URLs of `presigned_part` lead, for a page that says where it may send: with a
        star in the bucket's place, for that page is read by strangers."""
        url = self._store.presigned_part("-", "-", 1, size=1, expires=timedelta(seconds=1))
        scheme, _, rest = url.partition("://")
        host = rest.partition("/")[0]
        of_bucket = f"{self._store.bucket}."
        starred = f"*.{host.removeprefix(of_bucket)}" if host.startswith(of_bucket) else host
        return f"{scheme}://{starred}"

    def put_part(self, upload: Upload, kind: ArchiveKind, number: int, body: bytes) -> None:
        """Sends one part of a file; raises ObjectNotFound once it is complete."""
        key = self._keys.of_upload(upload.id, kind)
        self._store.put_part(key, upload.files[kind].multipart_id, number, body)

    def parts(self, upload: Upload, kind: ArchiveKind) -> list[StoredPart]:
        """The parts of a file that have arrived; raises ObjectNotFound once it is complete."""
        key = self._keys.of_upload(upload.id, kind)
        return self._store.list_parts(key, upload.files[kind].multipart_id)

    def complete_file(self, upload: Upload, kind: ArchiveKind, parts: Iterable[StoredPart]) -> None:
        """Makes one object of a file's parts, after which no URL can change it."""
        key = self._keys.of_upload(upload.id, kind)
        self._store.complete_multipart(key, upload.files[kind].multipart_id, parts)

    def open_file(self, upload_id: str, kind: ArchiveKind) -> ObjectReader:
        """A file that is complete, to be read; raises ObjectNotFound."""
        return self._store.reader(self._keys.of_upload(upload_id, kind))


def _is_upload_id(text: str) -> bool:
    named = RunId.find(text)
    return named is not None and named.kind is RunKind.UPLOAD
