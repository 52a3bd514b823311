"""S3: objects put and read whole, read by ranges, listed and deleted; what others send and fetch.

Nothing but this and the two files beside it knows S3's client. Errors leave as StorageError and its
kinds; requests that S3 answers with 500, 503 or a dropped connection have by then been tried again
by the client (`clients.s3`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import HTTPClientError, IncompleteReadError
from urllib3.exceptions import HTTPError

from lcp_backup.aws.s3_bucket import (
    Bucket,
    ObjectLock,
    abort_multipart,
    absence_told,
    checksum_arguments,
    lock_arguments,
    while_busy,
)
from lcp_backup.aws.s3_reader import ObjectReader
from lcp_backup.aws.s3_shared import SharedMultipart
from lcp_backup.aws.s3_writer import ObjectWriter
from lcp_backup.errors import PreconditionFailed, StorageError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LISTED_AT_ONCE = 1000
"""What one answer to a listing holds at most."""
_READ_ATTEMPTS = 5


@dataclass(frozen=True)
class StoredObject:
    """A small object read whole, with the tag that a conditional write compares."""

    body: bytes
    etag: str


@dataclass(frozen=True)
class ObjectInfo:
    """What a listing says of an object; `modified` is UTC."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True)
class OpenMultipart:
    """A multipart upload that was neither completed nor aborted; `started` is UTC."""

    key: str
    multipart_id: str
    started: datetime


@dataclass(frozen=True)
class StoredPart:
    """One part of an open multipart upload that S3 holds."""

    number: int
    size: int
    etag: str


class ObjectStore:
    """One bucket. Every method raises StorageError or the kind of it that is named, only that.

    Arguments: `owner` is the id of the account that must own the bucket: every request (but not a
    presigned URL, where it would be a header to send) is refused by S3 when another one does.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        *,
        owner: str | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._bucket = Bucket(bucket, owner)
        self.bucket = bucket
        self._pause = pause

    def get(self, key: str) -> StoredObject:
        """Reads a small object whole; raises ObjectNotFound."""

        def read() -> StoredObject:
            with absence_told(self._client, self._bucket, key):
                answer = self._client.get_object(**self._bucket.arguments, Key=key)
            return StoredObject(answer["Body"].read(), answer["ETag"])

        return self._again("read", key, read)

    def put(self, key: str, body: bytes, *, content_type: str = "application/json") -> None:
        """Writes a small object, over whatever lies there."""
        with self._bucket.errors_for("write", key):
            self._client.put_object(**self._small(key, body, content_type))

    def put_new(
        self,
        key: str,
        body: bytes,
        *,
        content_type: str = "application/json",
        lock: ObjectLock | None = None,
    ) -> str:
        """Writes a small object where none lies, and answers its tag; raises PreconditionFailed.

        `body` must be the writer's alone: it is how a write is known again whose answer was lost.
        """
        return self._unless_written(
            key,
            body,
            lambda: self._client.put_object(
                **self._small(key, body, content_type), IfNoneMatch="*", **lock_arguments(lock)
            )["ETag"],
        )

    def put_over(self, key: str, body: bytes, etag: str) -> str:
        """Replaces exactly the object with this tag; raises PreconditionFailed, ObjectNotFound.

        `body` must be the writer's alone: it is how a write is known again whose answer was lost.
        """
        return self._unless_written(
            key,
            body,
            lambda: self._client.put_object(
                **self._small(key, body, "application/json"), IfMatch=etag
            )["ETag"],
        )

    def _small(self, key: str, body: bytes, content_type: str) -> dict[str, Any]:
        where = {**self._bucket.arguments, "Key": key}
        return {**where, "Body": body, "ContentType": content_type, **checksum_arguments(body)}

    def _unless_written(self, key: str, body: bytes, write: Callable[[], str]) -> str:
        """Writes on a condition; a write that S3 took but whose answer was lost counts as done.

        The client sends such a request again, and the second one fails on what the first wrote.
        """

        def attempt() -> str:
            with self._bucket.errors_for("write", key):
                return write()

        try:
            return while_busy(attempt, self._pause)
        except PreconditionFailed:
            stored = self.get(key)
            if stored.body != body:
                raise
            return stored.etag

    def lock_until(self, key: str, lock: ObjectLock) -> None:
        """Keeps the object locked at least as long as `lock` says; never for a shorter time.

        Raises ObjectNotFound.
        """
        with self._bucket.errors_for("lock", key):
            head = self._client.head_object(**self._bucket.arguments, Key=key)
            locked_until = head.get("ObjectLockRetainUntilDate")
            # S3 refuses to shorten a lock, and to weaken one.
            if locked_until is not None and locked_until >= lock.until:
                return
            self._client.put_object_retention(
                **self._bucket.arguments,
                Key=key,
                Retention={
                    "Mode": head.get("ObjectLockMode", lock.mode),
                    "RetainUntilDate": lock.until,
                },
            )

    def delete(self, keys: Iterable[str]) -> None:
        """Deletes objects; one that is gone already counts as deleted."""
        for some in batched(keys, 1000, strict=False):
            with self._bucket.errors_for("delete", some[0]):
                answer = self._client.delete_objects(
                    **self._bucket.arguments,
                    Delete={"Objects": [{"Key": key} for key in some], "Quiet": True},
                )
            for failed in answer.get("Errors", []):
                raise StorageError(
                    f"S3 refused to delete s3://{self.bucket}/{failed.get('Key')}:"
                    f" {failed.get('Code')} {failed.get('Message')}"
                )

    def entries(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key starts with `prefix`, in the order of their keys."""
        with self._bucket.errors_for("list", prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                **self._bucket.arguments, Prefix=prefix
            )
            for page in pages:
                for entry in page.get("Contents", []):
                    yield ObjectInfo(entry["Key"], entry["Size"], entry["LastModified"])

    def names(self, prefix: str, until: str = "/") -> Iterator[str]:
        """How keys go on below `prefix`, up to the first `until`: each once, in their order.

        With a slash, the names of folders. Keys without an `until` are left out. A listing of keys
        costs the client five times as much, for the sizes and times that come with them.
        """
        with self._bucket.errors_for("list", prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                **self._bucket.arguments, Prefix=prefix, Delimiter=until
            )
            for page in pages:
                for entry in page.get("CommonPrefixes", []):
                    yield entry["Prefix"].removeprefix(prefix).removesuffix(until)

    def open_multiparts(self, prefix: str) -> Iterator[OpenMultipart]:
        """The multipart uploads below `prefix` that were neither completed nor aborted."""
        with self._bucket.errors_for("list the multipart uploads of", prefix):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                **self._bucket.arguments, Prefix=prefix
            )
            for page in pages:
                for entry in page.get("Uploads", []):
                    yield OpenMultipart(entry["Key"], entry["UploadId"], entry["Initiated"])

    def abort_multipart(self, key: str, multipart_id: str) -> None:
        """Ends a multipart upload and frees its parts; one that is gone already counts as ended."""
        abort_multipart(self._client, self._bucket, key, multipart_id)

    # --- what others send and fetch ------------------------------------------------------------

    def presigned_get(
        self, key: str, *, expires: timedelta, file_name: str, content_type: str
    ) -> str:
        """A URL by which anybody may read the object for a while, as a file of this (ASCII) name.

        It dies before `expires` when the credentials that signed it do (a function's role session).
        """
        return self._presigned(
            "get_object",
            key,
            expires,
            ResponseContentDisposition=f'attachment; filename="{file_name}"',
            ResponseContentType=content_type,
        )

    def presigned_part(
        self, key: str, multipart_id: str, number: int, *, size: int, expires: timedelta
    ) -> str:
        """A URL by which anybody may PUT one part of a multipart upload, number from 1.

        The part has exactly `size` bytes: its length is signed, so S3 refuses any other (403). The
        URL ends with the multipart, however long it would have lived.
        """
        return self._presigned(
            "upload_part",
            key,
            expires,
            UploadId=multipart_id,
            PartNumber=number,
            ContentLength=size,
        )

    def _presigned(
        self,
        call: Literal["get_object", "upload_part"],
        key: str,
        expires: timedelta,
        **parameters: Any,
    ) -> str:
        named = {"Bucket": self.bucket, "Key": key, **parameters}
        seconds = int(expires.total_seconds())
        with self._bucket.errors_for("sign a URL for", key):
            return self._client.generate_presigned_url(call, Params=named, ExpiresIn=seconds)

    def shared_multipart(self, key: str, mark: str) -> SharedMultipart:
        """What several processes write one new object by; arguments as of SharedMultipart."""
        return SharedMultipart(self._client, self._bucket, key, mark=mark, pause=self._pause)

    def start_multipart(self, key: str) -> str:
        """Opens a multipart upload that others fill; answers S3's id of it."""
        with self._bucket.errors_for("start the multipart upload of", key):
            started = self._client.create_multipart_upload(**self._bucket.arguments, Key=key)
            return started["UploadId"]

    def list_parts(self, key: str, multipart_id: str) -> list[StoredPart]:
        """The parts that have arrived, by number; raises ObjectNotFound when it is not open."""
        with self._bucket.errors_for("list the parts of", key):
            pages = self._client.get_paginator("list_parts").paginate(
                **self._bucket.arguments, Key=key, UploadId=multipart_id
            )
            return [
                StoredPart(part["PartNumber"], part["Size"], part["ETag"])
                for page in pages
                for part in page.get("Parts", [])
            ]

    def put_part(self, key: str, multipart_id: str, number: int, body: bytes) -> None:
        """Sends one part; raises ObjectNotFound when the multipart is not open."""
        with self._bucket.errors_for(f"write part {number} of", key):
            self._client.upload_part(
                **self._bucket.arguments,
                Key=key,
                UploadId=multipart_id,
                PartNumber=number,
                Body=body,
            )

    def complete_multipart(self, key: str, multipart_id: str, parts: Iterable[StoredPart]) -> None:
        """Makes the parts one object; raises ObjectNotFound when the multipart is not open."""
        with self._bucket.errors_for("complete the multipart upload of", key):
            self._client.complete_multipart_upload(
                **self._bucket.arguments,
                Key=key,
                UploadId=multipart_id,
                MultipartUpload={
                    "Parts": [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
                },
            )

    def reader(self, key: str) -> ObjectReader:
        """A RangeSource over one object as it is now; raises ObjectNotFound."""
        with self._bucket.errors_for("read", key), absence_told(self._client, self._bucket, key):
            head = self._client.head_object(**self._bucket.arguments, Key=key)
        etag = head["ETag"]
        return ObjectReader(
            partial(self.read_range, key, etag),
            head["ContentLength"],
            bucket=self._bucket,
            key=key,
            etag=etag,
        )

    def writer(
        self,
        key: str,
        *,
        content_type: str = "application/gzip",
        threads: int = 4,
        takes_head: bool = False,
        lock: ObjectLock | None = None,
    ) -> ObjectWriter:
        """A ByteSink for one new object of any size; nothing is sent before a part is full.

        Arguments: `takes_head` is whether `complete` may be given one.
        """
        return ObjectWriter(
            self._client,
            self._bucket,
            key,
            content_type=content_type,
            threads=threads,
            takes_head=takes_head,
            lock=lock,
            pause=self._pause,
        )

    def read_range(self, key: str, etag: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes (at least 1) of the object that has this tag."""

        def read() -> bytes:
            with absence_told(self._client, self._bucket, key):
                answer = self._client.get_object(
                    **self._bucket.arguments,
                    Key=key,
                    Range=f"bytes={offset}-{offset + length - 1}",
                    IfMatch=etag,
                )
            return answer["Body"].read()

        body = self._again("read", key, read)
        if len(body) != length:
            raise StorageError(
                f"s3://{self.bucket}/{key} ends at byte {offset + len(body)},"
                f" before {offset + length}"
            )
        return body

    def _again[T](self, action: str, key: str, read: Callable[[], T]) -> T:
        """Reads again when a body breaks off: the client's own retries end at the answer's head."""
        with self._bucket.errors_for(action, key):
            for attempt in range(1, _READ_ATTEMPTS):
                try:
                    return read()
                except (HTTPError, HTTPClientError, IncompleteReadError):
                    self._pause(0.2 * 2**attempt)
            return read()
