"""S3: one new object of any size, streamed in parts that travel in parallel."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from lcp_backup.aws.s3_bucket import (
    Bucket,
    ObjectLock,
    abort_multipart,
    checksum_arguments,
    lock_arguments,
    while_busy,
)
from lcp_backup.errors import ObjectNotFound, StorageError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

MIB = 1024 * 1024
FIRST_PART_SIZE = 8 * MIB
PARTS_PER_DOUBLING = 1000
MAX_PARTS = 10_000
"""S3's limit on the parts of one multipart upload."""


def part_size(number: int) -> int:
    """Bytes of part `number` (from 1): doubles every 1,000 parts, so that 10,000 reach past 5 TiB.

    A fixed 8 MiB would end at 80 GB, found out hours into a multipart.
    """
    return FIRST_PART_SIZE << ((number - 1) // PARTS_PER_DOUBLING)


class ObjectWriter:
    """A ByteSink that streams into one new object: parts of growing size, sent in parallel.

    The first part is held back, because a database archive's tar header is known last and stands
    in front. At most `threads` parts are in memory beside the one that fills and the first. The
    object must not exist: `complete` raises PreconditionFailed when it does, so that nothing
    published is ever rewritten.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: Bucket,
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
        self._multipart_id: str | None = None
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
            raise StorageError(
                f"the multipart upload of s3://{self._bucket.name}/{self._key} has ended"
            )
        self._buffer.append(data)
        self._buffered += len(data)
        if self._buffered >= part_size(self._number):
            self._cut()

    def complete(self, head: bytes = b"") -> None:
        """Makes the object visible, `head` in front; raises PreconditionFailed, StorageError."""
        if self._closed:
            raise StorageError(
                f"the multipart upload of s3://{self._bucket.name}/{self._key} has ended"
            )
        if self._multipart_id is None:
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
                    **checksum_arguments(body),
                    **lock_arguments(self._lock),
                ),
            )
            return
        if self._buffered:
            self._send(self._number, b"".join(self._buffer))
        self._send(1, head + self._first)
        parts = sorted((part.result() for part in self._parts), key=lambda p: p["PartNumber"])
        multipart_id = self._multipart_id
        self._publish(
            "complete",
            lambda: self._client.complete_multipart_upload(
                **self._bucket.arguments,
                Key=self._key,
                UploadId=multipart_id,
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
        if self._multipart_id is None:
            return
        # Only once no part travels: one that lands after the abort would be kept, and billed.
        abort_multipart(self._client, self._bucket, self._key, self._multipart_id)

    def _publish(self, action: str, request: Callable[[], object]) -> None:
        """Sends what makes the object; one that S3 made but whose answer was lost counts as made.

        The client sends such a request again, and the second one finds the first one's object, or
        meets the first one while S3 is still at work on it. A multipart that S3 ends on a conflict
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
                        f"S3 ended the multipart upload of s3://{self._bucket.name}/{self._key}"
                        " before it was complete; all of it has to be sent again"
                    ) from error
                raise

        while_busy(attempt, self._pause)

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
        if self._multipart_id is None:
            with self._bucket.errors_for("start the multipart upload of", self._key):
                self._multipart_id = self._client.create_multipart_upload(
                    **self._bucket.arguments,
                    Key=self._key,
                    ContentType=self._content_type,
                    Metadata=self._mark,
                    # Parts may have a checksum only if it is named here; and they must have one
                    # where the object is to be locked.
                    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html
                    ChecksumAlgorithm="CRC32",
                    **lock_arguments(self._lock),
                )["UploadId"]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="s3-part")
        self._places.acquire()
        self._parts.append(self._pool.submit(self._send_part, self._multipart_id, number, body))

    def _send_part(self, multipart_id: str, number: int, body: bytes) -> CompletedPartTypeDef:
        checksum = checksum_arguments(body)
        try:
            with self._bucket.errors_for(f"write part {number} of", self._key):
                answer = self._client.upload_part(
                    **self._bucket.arguments,
                    Key=self._key,
                    UploadId=multipart_id,
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
