"""S3: one new object of any size, streamed in parts that travel in parallel."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from lcp_backup.aws.s3_bucket import (
    Bucket,
    ObjectLock,
    abort_multipart,
    absence_told,
    checksum_arguments,
    code_of,
    lock_arguments,
    while_busy,
)
from lcp_backup.aws.s3_parts import FIRST_PART_SIZE, MAX_PARTS, Part, PartCutter, Range
from lcp_backup.aws.s3_reader import ObjectReader
from lcp_backup.errors import ObjectNotFound, StorageError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef


class Readable(Protocol):
    """What bytes can be fetched of, as of a RangeSource."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`."""


class ObjectWriter:
    """A ByteSink that streams into one new object: parts of growing size, sent in parallel.

    What lies in the same bucket already is copied there by S3 (`append`), in parts too.

    Where it takes a head the first part is held back, because a database archive's tar header is
    known last and stands in front; but not one that S3 copies. At most `threads` parts are in
    memory beside the one that fills and the first. The object must not exist: `complete` raises
    PreconditionFailed when it does, so that nothing published is ever rewritten.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: Bucket,
        key: str,
        *,
        content_type: str,
        threads: int,
        takes_head: bool,
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
        self._cutter = PartCutter()
        self._first: bytes | None = None
        self._takes_head = None if takes_head else False
        self._parts: list[Future[CompletedPartTypeDef]] = []
        self._failure: Exception | None = None
        self._closed = False
        self.etag: str | None = None
        """S3's tag of the object; known once it is complete."""

    def write(self, data: bytes) -> None:
        """Appends; blocks while `threads` parts are travelling; raises a part's StorageError."""
        self._check_open()
        if data:
            self._begin(takes_head=True)
        self._take(self._cutter.write(data))

    def append(self, source: Readable, offset: int, length: int) -> None:
        """Appends bytes that lie in another object; blocks and raises like `write`.

        An object in the same bucket is copied from by S3, and only what S3 takes for no part of its
        own is fetched. The bytes of any other source are all fetched. A source that is gone raises
        ObjectNotFound, one that is no longer what the reader opened PreconditionFailed; both name
        it, and may come as late as `complete`.

        Args:
            offset, length: in bytes; they must lie within the source.
        """
        self._check_open()
        if not length:
            return
        self._begin(takes_head=False)
        if isinstance(source, ObjectReader) and source.bucket == self._bucket:
            self._take(self._cutter.append(source, offset, length))
        else:
            self._take(self._fetched(source, offset, length))

    def complete(self, head: bytes = b"") -> None:
        """Makes the object visible, `head` in front; raises PreconditionFailed, StorageError.

        Raises ValueError for a head where none is taken: the first bytes may have been sent
        already, or copied from another object.
        """
        self._check_open()
        if head and self._takes_head is False:
            raise ValueError("this object takes no head: its first bytes may have been sent")
        with self._failing_for_good():
            parts = list(self._cutter.end())
        bodies = [body for _, body in parts if isinstance(body, bytes)]
        if self._multipart_id is None and len(bodies) == len(parts):
            self._closed = True
            body = b"".join([head, self._first or b"", *bodies])
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
                )["ETag"],
            )
            return
        self._take(parts)
        if self._first is not None:
            self._send(1, head + self._first)
        sent = sorted((part.result() for part in self._parts), key=lambda p: p["PartNumber"])
        multipart_id = self._begun_multipart()
        self._publish(
            "complete",
            lambda: self._client.complete_multipart_upload(
                **self._bucket.arguments,
                Key=self._key,
                UploadId=multipart_id,
                MultipartUpload={"Parts": sent},
                IfNoneMatch="*",
            )["ETag"],
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

    def _publish(self, action: str, request: Callable[[], str]) -> None:
        """Sends what makes the object; one that S3 made but whose answer was lost counts as made.

        `request` answers the object's tag.

        The client sends such a request again, and the second one finds the first one's object, or
        meets the first one while S3 is still at work on it. A multipart that S3 ends on a conflict
        cannot be sent again from here, as S3 advises: the stream has gone by.
        """

        def attempt() -> None:
            try:
                with self._bucket.errors_for(action, self._key):
                    self.etag = request()
            except StorageError as error:
                if (etag := self._find_complete()) is not None:
                    self.etag = etag
                    return
                if isinstance(error, ObjectNotFound):
                    raise self._ended_early() from error
                raise

        while_busy(attempt, self._pause)

    def _find_complete(self) -> str | None:
        """The tag of the object, if this writer has made it."""
        with suppress(ClientError, BotoCoreError):
            found = self._client.head_object(**self._bucket.arguments, Key=self._key)
            return found["ETag"] if found["Metadata"] == self._mark else None
        return None

    def _close(self) -> None:
        self._closed = True
        self._cutter = PartCutter()
        self._first = None
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError(f"the multipart upload of {self._where} has ended")
        if self._failure is not None:
            raise self._failure

    def _begin(self, *, takes_head: bool) -> None:
        if self._takes_head is None:
            self._takes_head = takes_head

    @property
    def _where(self) -> str:
        return f"s3://{self._bucket.name}/{self._key}"

    def _fetched(self, source: Readable, offset: int, length: int) -> Iterator[tuple[int, Part]]:
        for at in range(offset, offset + length, FIRST_PART_SIZE):
            data = source.read(at, min(FIRST_PART_SIZE, offset + length - at))
            yield from self._cutter.write(data)

    def _take(self, parts: Iterable[tuple[int, Part]]) -> None:
        with self._failing_for_good():
            for number, part in parts:
                if number == 1 and isinstance(part, bytes) and self._takes_head:
                    self._first = part
                else:
                    self._send(number, part)

    @contextmanager
    def _failing_for_good(self) -> Iterator[None]:
        """After a failure bytes are missing: nothing may make an object of those that follow."""
        try:
            yield
        except Exception as error:
            self._failure = error
            raise

    def _send(self, number: int, part: Part) -> None:
        if number > MAX_PARTS:
            raise StorageError(f"{self._where} would need more than {MAX_PARTS} parts")
        if self._failure is not None:
            raise self._failure
        multipart_id = self._begun_multipart()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="s3-part")
        self._places.acquire()
        self._parts.append(self._pool.submit(self._travel, multipart_id, number, part))

    def _begun_multipart(self) -> str:
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
        return self._multipart_id

    def _travel(self, multipart_id: str, number: int, part: Part) -> CompletedPartTypeDef:
        try:
            if isinstance(part, Range):
                return self._copy_part(multipart_id, number, part)
            return self._send_part(multipart_id, number, part)
        except StorageError as error:
            self._failure = error
            raise
        finally:
            self._places.release()

    def _send_part(self, multipart_id: str, number: int, body: bytes) -> CompletedPartTypeDef:
        checksum = checksum_arguments(body)
        with self._bucket.errors_for(f"write part {number} of", self._key), self._end_told():
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

    def _copy_part(self, multipart_id: str, number: int, part: Range) -> CompletedPartTypeDef:
        source = part.source
        action = f"fill part {number} of {self._key} from"
        with (
            source.bucket.errors_for(action, source.key),
            absence_told(self._client, source.bucket, source.key),
            self._end_told(),
        ):
            # S3 may answer 200 with an error in the body: the client takes that for an error.
            # https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
            answer = self._client.upload_part_copy(
                **self._bucket.arguments,
                **source.bucket.source_arguments,
                Key=self._key,
                UploadId=multipart_id,
                PartNumber=number,
                CopySource={"Bucket": source.bucket.name, "Key": source.key},
                CopySourceIfMatch=source.etag,
                CopySourceRange=f"bytes={part.offset}-{part.end - 1}",
            )["CopyPartResult"]
        copied: CompletedPartTypeDef = {"PartNumber": number, "ETag": answer["ETag"]}
        # S3 made it, and asks for it at the end; not everything that speaks S3's protocol has one.
        if "ChecksumCRC32" in answer:
            copied["ChecksumCRC32"] = answer["ChecksumCRC32"]
        return copied

    @contextmanager
    def _end_told(self) -> Iterator[None]:
        """That the multipart is not open any more becomes no ObjectNotFound: that is a source's."""
        try:
            yield
        except ClientError as error:
            if code_of(error) == "NoSuchUpload":
                raise self._ended_early() from error
            raise

    def _ended_early(self) -> StorageError:
        return StorageError(
            f"S3 ended the multipart upload of {self._where} before it was complete;"
            " all of it has to be sent again"
        )
