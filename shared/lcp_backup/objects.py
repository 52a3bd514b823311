"""S3: objects put and read whole, streamed in parts, read by ranges, listed and deleted.

This is the one place that knows the S3 client. Its errors leave as StorageError and its kinds;
requests that S3 answers with 500, 503 or a dropped connection have by then been tried again by the
client (see aws.py).
"""

from __future__ import annotations

import base64
import secrets
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
)
from urllib3.exceptions import HTTPError

from lcp_backup.errors import ObjectNotFound, PreconditionFailed, StorageBusy, StorageError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

type LockMode = Literal["GOVERNANCE", "COMPLIANCE"]
"""S3's names."""

MIB = 1024 * 1024
FIRST_PART_SIZE = 8 * MIB
PARTS_PER_DOUBLING = 1000
MAX_PARTS = 10_000
"""S3's limit on the parts of one upload."""
LISTED_AT_ONCE = 1000
"""What one answer to a listing holds at most."""
_READ_ATTEMPTS = 5
_WRITE_ATTEMPTS = 6
"""Of a write on a condition, while S3 says that another write of the key is under way: with their
pauses about 13 seconds, so that a lease is still renewed well before it ends."""
_DENIED = {"AccessDenied", "403"}
"""What S3 says to who may not; the answer to a HEAD has no body, so it is the status."""


def part_size(number: int) -> int:
    """Bytes of part `number` (from 1): doubles every 1,000 parts, so that 10,000 reach past 5 TiB.

    A fixed 8 MiB would end at 80 GB, found out hours into an upload.
    """
    return FIRST_PART_SIZE << ((number - 1) // PARTS_PER_DOUBLING)


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
class OpenUpload:
    """A multipart upload that was neither completed nor aborted; `started` is UTC."""

    key: str
    upload_id: str
    started: datetime


@dataclass(frozen=True)
class StoredPart:
    """One part of an open multipart upload that S3 holds."""

    number: int
    size: int
    etag: str


@dataclass(frozen=True)
class ObjectLock:
    """Keeps a version of an object from being deleted, by anybody, before `until` (UTC).

    The bucket must have Object Lock. GOVERNANCE lets a principal with a right of its own lift it,
    COMPLIANCE lets nobody, the account's owner included.
    """

    mode: LockMode
    until: datetime


class _LockArguments(TypedDict, total=False):
    ObjectLockMode: LockMode
    ObjectLockRetainUntilDate: datetime


class _ChecksumArguments(TypedDict):
    ChecksumAlgorithm: Literal["CRC32"]
    ChecksumCRC32: str


class _BucketArguments(TypedDict):
    Bucket: str
    ExpectedBucketOwner: NotRequired[str]


def _arguments(lock: ObjectLock | None) -> _LockArguments:
    if lock is None:
        return {}
    return {"ObjectLockMode": lock.mode, "ObjectLockRetainUntilDate": lock.until}


def _checksum(body: bytes) -> _ChecksumArguments:
    """What S3 compares the body with. Where the object is to be locked, S3 demands it as a header.

    The client would send one of its own, but behind the body: that S3 does not take for a part.
    Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html (Content-MD5), and
    https://github.com/Altinity/clickhouse-backup/pull/1363
    """
    crc32 = base64.b64encode(zlib.crc32(body).to_bytes(4)).decode()
    return {"ChecksumAlgorithm": "CRC32", "ChecksumCRC32": crc32}


@dataclass(frozen=True)
class _Bucket:
    """A bucket, and the account that must own it (None: whoever does)."""

    name: str
    owner: str | None

    @property
    def arguments(self) -> _BucketArguments:
        """What every request names. S3 refuses it (403) when another account owns the bucket."""
        if self.owner is None:
            return {"Bucket": self.name}
        return {"Bucket": self.name, "ExpectedBucketOwner": self.owner}

    @contextmanager
    def errors_for(self, action: str, key: str) -> Iterator[None]:
        """Maps the client's errors; `action` completes "S3 refused to ..."."""
        where = f"s3://{self.name}/{key}"
        try:
            yield
        except ClientError as error:
            code = _code(error)
            if code in {"NoSuchKey", "NoSuchUpload", "404", "NotFound"}:
                raise ObjectNotFound(f"nothing lies at {where}") from error
            if code in {"PreconditionFailed", "412"}:
                raise PreconditionFailed(
                    f"{where} was written by somebody else meanwhile"
                ) from error
            if code in {"ConditionalRequestConflict", "409"}:
                raise StorageBusy(
                    f"S3 could not {action} {where}: other requests for it were under way"
                ) from error
            message = error.response.get("Error", {}).get("Message", "")
            refused = f"S3 refused to {action} {where}: {code} {message}".strip()
            if code in _DENIED and self.owner is not None:
                refused += (
                    f" (it also refuses when the bucket does not belong to account {self.owner},"
                    " which the settings name as its owner)"
                )
            raise StorageError(refused) from error
        except (BotoCoreError, HTTPError) as error:
            raise StorageError(f"S3 failed to {action} {where}: {type(error).__name__}") from error


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def _while_busy[T](attempt: Callable[[], T], pause: Callable[[float], None]) -> T:
    """Sends a conditional write again for as long as S3 cannot decide on it, within limits."""
    for number in range(1, _WRITE_ATTEMPTS):
        try:
            return attempt()
        except StorageBusy:
            pause(0.2 * 2**number)
    return attempt()


def _abort(client: S3Client, bucket: _Bucket, key: str, upload_id: str) -> None:
    with bucket.errors_for("abort the upload of", key):
        try:
            client.abort_multipart_upload(**bucket.arguments, Key=key, UploadId=upload_id)
        except client.exceptions.NoSuchUpload:
            return


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
        self._bucket = _Bucket(bucket, owner)
        self.bucket = bucket
        self._pause = pause

    def get(self, key: str) -> StoredObject:
        """Reads a small object whole; raises ObjectNotFound."""

        def read() -> StoredObject:
            with self._absence_told(key):
                answer = self._client.get_object(**self._bucket.arguments, Key=key)
            return StoredObject(answer["Body"].read(), answer["ETag"])

        return self._again("read", key, read)

    def put(self, key: str, body: bytes, *, content_type: str = "application/json") -> None:
        """Writes a small object, over whatever lies there."""
        with self._bucket.errors_for("write", key):
            self._client.put_object(
                **self._bucket.arguments, Key=key, Body=body, ContentType=content_type
            )

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
                **self._bucket.arguments,
                Key=key,
                Body=body,
                ContentType=content_type,
                IfNoneMatch="*",
                **_checksum(body),
                **_arguments(lock),
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
                **self._bucket.arguments,
                Key=key,
                Body=body,
                ContentType="application/json",
                IfMatch=etag,
            )["ETag"],
        )

    def _unless_written(self, key: str, body: bytes, write: Callable[[], str]) -> str:
        """Writes on a condition; a write that S3 took but whose answer was lost counts as done.

        The client sends such a request again, and the second one fails on what the first wrote.
        """

        def attempt() -> str:
            with self._bucket.errors_for("write", key):
                return write()

        try:
            return _while_busy(attempt, self._pause)
        except PreconditionFailed:
            stored = self.get(key)
            if stored.body != body:
                raise
            return stored.etag

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

    def open_uploads(self, prefix: str) -> Iterator[OpenUpload]:
        """The multipart uploads below `prefix` that were neither completed nor aborted."""
        with self._bucket.errors_for("list the uploads of", prefix):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                **self._bucket.arguments, Prefix=prefix
            )
            for page in pages:
                for entry in page.get("Uploads", []):
                    yield OpenUpload(entry["Key"], entry["UploadId"], entry["Initiated"])

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Ends a multipart upload and frees its parts; one that is gone already counts as ended."""
        _abort(self._client, self._bucket, key, upload_id)

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
        self, key: str, upload_id: str, number: int, *, size: int, expires: timedelta
    ) -> str:
        """A URL by which anybody may PUT one part of a multipart upload, number from 1.

        The part has exactly `size` bytes: its length is signed, so S3 refuses any other (403). The
        URL ends with the upload, however long it would have lived.
        """
        return self._presigned(
            "upload_part",
            key,
            expires,
            UploadId=upload_id,
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
        with self._bucket.errors_for("sign a URL for", key):
            return self._client.generate_presigned_url(
                call,
                Params={"Bucket": self.bucket, "Key": key, **parameters},
                ExpiresIn=int(expires.total_seconds()),
            )

    def start_upload(self, key: str) -> str:
        """Opens a multipart upload that others fill; answers S3's id of it."""
        with self._bucket.errors_for("start the upload of", key):
            started = self._client.create_multipart_upload(**self._bucket.arguments, Key=key)
            return started["UploadId"]

    def list_parts(self, key: str, upload_id: str) -> list[StoredPart]:
        """The parts that have arrived, by number; raises ObjectNotFound when it is not open."""
        with self._bucket.errors_for("list the parts of", key):
            pages = self._client.get_paginator("list_parts").paginate(
                **self._bucket.arguments, Key=key, UploadId=upload_id
            )
            return [
                StoredPart(part["PartNumber"], part["Size"], part["ETag"])
                for page in pages
                for part in page.get("Parts", [])
            ]

    def put_part(self, key: str, upload_id: str, number: int, body: bytes) -> None:
        """Sends one part; raises ObjectNotFound when the upload is not open."""
        with self._bucket.errors_for(f"write part {number} of", key):
            self._client.upload_part(
                **self._bucket.arguments,
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                Body=body,
            )

    def complete_upload(self, key: str, upload_id: str, parts: Iterable[StoredPart]) -> None:
        """Makes the parts one object; raises ObjectNotFound when the upload is not open."""
        with self._bucket.errors_for("complete the upload of", key):
            self._client.complete_multipart_upload(
                **self._bucket.arguments,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={
                    "Parts": [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
                },
            )

    def reader(self, key: str) -> ObjectReader:
        """A RangeSource over one object as it is now; raises ObjectNotFound."""
        with self._bucket.errors_for("read", key), self._absence_told(key):
            head = self._client.head_object(**self._bucket.arguments, Key=key)
        return ObjectReader(self, key, head["ContentLength"], head["ETag"])

    def writer(
        self,
        key: str,
        *,
        content_type: str = "application/gzip",
        threads: int = 4,
        lock: ObjectLock | None = None,
    ) -> ObjectWriter:
        """A ByteSink for one new object of any size; nothing is sent before a part is full."""
        return ObjectWriter(
            self._client,
            self._bucket,
            key,
            content_type=content_type,
            threads=threads,
            lock=lock,
            pause=self._pause,
        )

    def read_range(self, key: str, etag: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes (at least 1) of the object that has this tag."""

        def read() -> bytes:
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

    @contextmanager
    def _absence_told(self, key: str) -> Iterator[None]:
        """A refusal to read a key at which nothing lies becomes ObjectNotFound.

        S3 answers 403 instead of 404 to a caller without the right to list. Our roles have that
        right below their prefix only, and AWS does not say whether it counts: the listing is asked.
        Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html (Permissions).
        """
        try:
            yield
        except ClientError as error:
            if _code(error) in _DENIED and self._is_absent(key):
                raise ObjectNotFound(f"nothing lies at s3://{self.bucket}/{key}") from error
            raise

    def _is_absent(self, key: str) -> bool:
        try:
            answer = self._client.list_objects_v2(**self._bucket.arguments, Prefix=key, MaxKeys=1)
        except (ClientError, BotoCoreError):
            return False
        # Keys are listed in their order, so the key itself comes before those that it begins.
        return key not in [entry["Key"] for entry in answer.get("Contents", [])]

    def _again[T](self, action: str, key: str, read: Callable[[], T]) -> T:
        """Reads again when a body breaks off: the client's own retries end at the answer's head."""
        with self._bucket.errors_for(action, key):
            for attempt in range(1, _READ_ATTEMPTS):
                try:
                    return read()
                except (HTTPError, HTTPClientError, IncompleteReadError):
                    self._pause(0.2 * 2**attempt)
            return read()


class ObjectReader:
    """A RangeSource over one object; it is the same object for as long as the reader is used."""

    def __init__(self, store: ObjectStore, key: str, size: int, etag: str) -> None:
        self._store = store
        self._key = key
        self._size = size
        self.etag = etag
        """S3's tag of the object."""

    @property
    def size(self) -> int:
        """Bytes in the object."""
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; raises StorageError when they cannot be had."""
        if length == 0:
            return b""
        return self._store.read_range(self._key, self.etag, offset, length)


class ObjectWriter:
    """A ByteSink that streams into one new object: parts of growing size, uploaded in parallel.

    The first part is held back, because a database archive's tar header is known last and stands
    in front. At most `threads` parts are in memory beside the one that fills and the first. The
    object must not exist: `complete` raises PreconditionFailed when it does, so that nothing
    published is ever rewritten.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: _Bucket,
        key: str,
        *,
        content_type: str,
        threads: int,
        lock: ObjectLock | None,
        pause: Callable[[float], None],
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._content_type = content_type
        self._mark = {"writer": secrets.token_hex(8)}
        self._threads = threads
        self._lock = lock
        self._pause = pause
        self._pool: ThreadPoolExecutor | None = None
        self._places = threading.BoundedSemaphore(threads)
        self._upload_id: str | None = None
        self._first = b""
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._number = 1
        self._parts: list[Future[CompletedPartTypeDef]] = []
        self._failure: StorageError | None = None
        self._closed = False

    def write(self, data: bytes) -> None:
        """Appends; blocks while `threads` parts are travelling; raises a part's StorageError."""
        if self._closed:
            raise StorageError(f"the upload of s3://{self._bucket.name}/{self._key} has ended")
        self._buffer.append(data)
        self._buffered += len(data)
        if self._buffered >= part_size(self._number):
            self._cut()

    def complete(self, head: bytes = b"") -> None:
        """Makes the object visible, `head` in front; raises PreconditionFailed, StorageError."""
        if self._closed:
            raise StorageError(f"the upload of s3://{self._bucket.name}/{self._key} has ended")
        if self._upload_id is None:
            self._closed = True
            body = b"".join([head, self._first, *self._buffer])
            self._publish(
                "write",
                lambda: self._client.put_object(
                    **self._bucket.arguments,
                    Key=self._key,
                    Body=body,
                    ContentType=self._content_type,
                    Metadata=self._mark,
                    IfNoneMatch="*",
                    **_checksum(body),
                    **_arguments(self._lock),
                ),
            )
            return
        if self._buffered:
            self._send(self._number, b"".join(self._buffer))
        self._send(1, head + self._first)
        parts = sorted((part.result() for part in self._parts), key=lambda p: p["PartNumber"])
        upload_id = self._upload_id
        self._publish(
            "complete",
            lambda: self._client.complete_multipart_upload(
                **self._bucket.arguments,
                Key=self._key,
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
                IfNoneMatch="*",
            ),
        )
        self._close()

    def abort(self) -> None:
        """Leaves nothing behind; does nothing once the object is complete or was aborted."""
        if self._closed:
            return
        self._close()
        if self._upload_id is None:
            return
        # Only once no part travels: one that lands after the abort would be kept, and billed.
        _abort(self._client, self._bucket, self._key, self._upload_id)

    def _publish(self, action: str, request: Callable[[], object]) -> None:
        """Sends what makes the object; one that S3 made but whose answer was lost counts as made.

        The client sends such a request again, and the second one finds the first one's object, or
        meets the first one while S3 is still at work on it. An upload that S3 ends on a conflict
        cannot be sent again from here, as S3 advises: the stream has gone by.
        """

        def attempt() -> None:
            try:
                with self._bucket.errors_for(action, self._key):
                    request()
            except StorageError as error:
                if self._is_complete():
                    return
                if isinstance(error, ObjectNotFound):
                    raise StorageError(
                        f"S3 ended the upload of s3://{self._bucket.name}/{self._key} before it was"
                        " complete; all of it has to be sent again"
                    ) from error
                raise

        _while_busy(attempt, self._pause)

    def _is_complete(self) -> bool:
        with suppress(ClientError, BotoCoreError):
            found = self._client.head_object(**self._bucket.arguments, Key=self._key)
            return found["Metadata"] == self._mark
        return False

    def _close(self) -> None:
        self._closed = True
        self._buffer.clear()
        self._first = b""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _cut(self) -> None:
        body = b"".join(self._buffer)
        self._buffer.clear()
        self._buffered = 0
        if self._number == 1:
            self._first = body
        else:
            self._send(self._number, body)
        self._number += 1
        if self._number > MAX_PARTS:
            raise StorageError(
                f"s3://{self._bucket.name}/{self._key} would need more than {MAX_PARTS} parts"
            )

    def _send(self, number: int, body: bytes) -> None:
        if self._failure is not None:
            raise self._failure
        if self._upload_id is None:
            with self._bucket.errors_for("start the upload of", self._key):
                self._upload_id = self._client.create_multipart_upload(
                    **self._bucket.arguments,
                    Key=self._key,
                    ContentType=self._content_type,
                    Metadata=self._mark,
                    # Parts may have a checksum only if it is named here; and they must have one
                    # where the object is to be locked.
                    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html
                    ChecksumAlgorithm="CRC32",
                    **_arguments(self._lock),
                )["UploadId"]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="s3-part")
        self._places.acquire()
        self._parts.append(self._pool.submit(self._upload, self._upload_id, number, body))

    def _upload(self, upload_id: str, number: int, body: bytes) -> CompletedPartTypeDef:
        checksum = _checksum(body)
        try:
            with self._bucket.errors_for(f"write part {number} of", self._key):
                answer = self._client.upload_part(
                    **self._bucket.arguments,
                    Key=self._key,
                    UploadId=upload_id,
                    PartNumber=number,
                    Body=body,
                    **checksum,
                )
            return {
                "PartNumber": number,
                "ETag": answer["ETag"],
                "ChecksumCRC32": checksum["ChecksumCRC32"],
            }
        except StorageError as error:
            self._failure = error
            raise
        finally:
            self._places.release()
