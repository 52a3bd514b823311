"""S3: one new object that several processes write, each its own parts of one multipart upload."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from lcp_backup.aws.s3_bucket import (
    Bucket,
    ObjectLock,
    abort_multipart,
    lock_arguments,
    while_busy,
)
from lcp_backup.aws.s3_parts import SMALLEST_PART
from lcp_backup.aws.s3_writer import Readable
from lcp_backup.errors import ObjectNotFound, StorageError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

_MOST_TRAVELLING: Final = 256 << 20
"""Bytes of the parts that travel at once, unless one alone has more: of a share of 100 GB each has
hundreds of megabytes, and several of them would be more than a function's memory."""
_STEPS: Final = 4
"""Parts double in size each time another of so many quarters of a writer's numbers is used up."""


@dataclass(frozen=True)
class SentPart:
    """A part that S3 has taken."""

    number: int
    etag: str


class SharedMultipart:
    """One multipart upload, known by its id to all who write parts of it.

    A part is named by number *and* tag when the object is completed: one that a process writes over
    later, which was given up and lives on, makes that fail, and never gets into the object.

    Numbers have gaps, for each process has its own. So no part has a checksum of S3's newer kinds,
    with which they must be 1, 2, 3 and so on; what arrives is compared with its MD5 instead.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompletedPart.html

    Arguments: `mark` is what the object is known by as the one that this multipart has made.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: Bucket,
        key: str,
        *,
        mark: str,
        pause: Callable[[float], None],
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._mark = {"writer": mark}
        self._pause = pause

    def start(self, *, content_type: str, lock: ObjectLock | None) -> str:
        """Opens the multipart; answers S3's id of it. Raises StorageError."""
        with self._bucket.errors_for("start the multipart upload of", self._key):
            return self._client.create_multipart_upload(
                **self._bucket.arguments,
                Key=self._key,
                ContentType=content_type,
                Metadata=self._mark,
                **lock_arguments(lock),
            )["UploadId"]

    def send(self, multipart_id: str, number: int, body: bytes) -> SentPart:
        """Sends one part; raises StorageError, also when the multipart is not open any more."""
        # (A locked part needs this header or one of the newer kind.)
        md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        try:
            with self._bucket.errors_for(f"write part {number} of", self._key):
                answer = self._client.upload_part(
                    **self._bucket.arguments,
                    Key=self._key,
                    UploadId=multipart_id,
                    PartNumber=number,
                    Body=body,
                    ContentMD5=md5,
                )
        except ObjectNotFound as error:
            raise self._ended() from error
        return SentPart(number, answer["ETag"])

    def complete(self, multipart_id: str, parts: Iterable[SentPart]) -> None:
        """Makes the object visible, where none lies; does nothing when it did so before.

        Raises PreconditionFailed, StorageError.
        """
        sent: list[CompletedPartTypeDef] = [
            {"PartNumber": part.number, "ETag": part.etag} for part in parts
        ]

        def attempt() -> None:
            try:
                with self._bucket.errors_for("complete", self._key):
                    self._client.complete_multipart_upload(
                        **self._bucket.arguments,
                        Key=self._key,
                        UploadId=multipart_id,
                        MultipartUpload={"Parts": sent},
                        IfNoneMatch="*",
                    )
            except StorageError as error:
                if self.is_complete():
                    return
                if isinstance(error, ObjectNotFound):
                    raise self._ended() from error
                raise

        while_busy(attempt, self._pause)

    def is_complete(self) -> bool:
        """Whether the object lies there, made by this multipart."""
        with suppress(ClientError, BotoCoreError):
            found = self._client.head_object(**self._bucket.arguments, Key=self._key)
            return found["Metadata"] == self._mark
        return False

    def abort(self, multipart_id: str) -> None:
        """Ends the multipart; one that is gone already counts as ended."""
        abort_multipart(self._client, self._bucket, self._key, multipart_id)

    def _ended(self) -> StorageError:
        return StorageError(
            f"the multipart upload of s3://{self._bucket.name}/{self._key} was ended before it was"
            " complete"
        )


class PartsWriter:
    """A ByteSink for one process's parts: what no part was made of is its `rest`.

    The last bytes, SMALLEST_PART at least, are held back: whoever comes behind can make a part of
    them with what follows. So no part is too short, however little each process has to say.

    Memory: two parts, or what may travel at once and one.

    Args:
        numbers: of the parts that it may send, in their order.
        part_size: bytes of the first ones.
        before: the rest of the process that goes on here.
        threads: how many parts travel at once, at most.
    """

    def __init__(
        self,
        multipart: SharedMultipart,
        multipart_id: str,
        numbers: range,
        *,
        first: int,
        part_size: int,
        before: bytes,
        threads: int,
    ) -> None:
        self._multipart = multipart
        self._multipart_id = multipart_id
        self._numbers = numbers
        self._next = first
        self._part_size = part_size
        self._buffer = bytearray(before)
        self._places = threading.BoundedSemaphore(threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="s3-part")
        self._sent: list[Future[SentPart]] = []
        self._travelling: deque[tuple[Future[SentPart], int]] = deque()
        """The parts that may not be there yet, and their bytes."""
        self._failure: Exception | None = None
        self.parts: tuple[SentPart, ...] = ()
        """Those that were sent; known once it is complete."""

    @property
    def rest(self) -> bytes:
        """The bytes behind the last part."""
        return bytes(self._buffer)

    def write(self, data: bytes) -> None:
        """Appends; blocks while `threads` parts are travelling; raises a part's StorageError."""
        self._buffer += data
        while len(self._buffer) >= (size := self._size_of_next()) + SMALLEST_PART:
            self._wait_for_room(size)
            body = bytes(memoryview(self._buffer)[:size])
            del self._buffer[:size]
            self._send(body)

    def append(self, source: Readable, offset: int, length: int) -> None:
        """Not for this sink: nothing is carried over into what several processes write."""
        raise NotImplementedError

    def complete(self, head: bytes = b"") -> None:
        """Waits until all parts are there; the object is completed by somebody else."""
        if head:
            raise ValueError("the first bytes may have been sent")
        self.parts = tuple(part.result() for part in self._sent)
        self._pool.shutdown()

    def abort(self) -> None:
        """Sends nothing more. What was sent stays, and the next attempt sends it again."""
        self._pool.shutdown(cancel_futures=True)

    def _size_of_next(self) -> int:
        used = self._next - self._numbers.start
        return self._part_size << (_STEPS * used // len(self._numbers))

    def _wait_for_room(self, size: int) -> None:
        while self._travelling:
            first, _ = self._travelling[0]
            travelling = sum(size_of_one for _, size_of_one in self._travelling)
            if not first.done() and travelling + size <= _MOST_TRAVELLING:
                return
            wait([first])
            self._travelling.popleft()

    def _send(self, body: bytes) -> None:
        if self._failure is not None:
            raise self._failure
        number, self._next = self._next, self._next + 1
        if number not in self._numbers:
            raise StorageError(
                f"a worker has no part left of the {len(self._numbers)} that it was given: its"
                " share of the folder grew many times while it was packed"
            )
        self._places.acquire()
        part = self._pool.submit(self._travel, number, body)
        self._sent.append(part)
        self._travelling.append((part, len(body)))

    def _travel(self, number: int, body: bytes) -> SentPart:
        try:
            return self._multipart.send(self._multipart_id, number, body)
        except StorageError as error:
            self._failure = error
            raise
        finally:
            self._places.release()
