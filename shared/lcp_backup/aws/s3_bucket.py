"""What all requests to S3 have in common: the bucket, checks, errors, and patience."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from lcp_backup.errors import ObjectNotFound, PreconditionFailed, StorageBusy, StorageError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

type LockMode = Literal["GOVERNANCE", "COMPLIANCE"]
"""S3's names."""

_WRITE_ATTEMPTS = 6
"""Of a write on a condition, while S3 says that another write of the key is under way: with their
pauses about 13 seconds, so that a lease is still renewed well before it ends."""
_DENIED = {"AccessDenied", "403"}
"""What S3 says to who may not; the answer to a HEAD has no body, so it is the status."""


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


class _SourceArguments(TypedDict, total=False):
    ExpectedSourceBucketOwner: str


def lock_arguments(lock: ObjectLock | None) -> _LockArguments:
    if lock is None:
        return {}
    return {"ObjectLockMode": lock.mode, "ObjectLockRetainUntilDate": lock.until}


def checksum_arguments(body: bytes) -> _ChecksumArguments:
    """What S3 compares the body with. Where the object is to be locked, S3 demands it as a header.

    The client would send one of its own, but behind the body: that S3 does not take for a part.
    Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html (Content-MD5), and
    https://github.com/Altinity/clickhouse-backup/pull/1363
    """
    crc32 = base64.b64encode(zlib.crc32(body).to_bytes(4)).decode()
    return {"ChecksumAlgorithm": "CRC32", "ChecksumCRC32": crc32}


@dataclass(frozen=True)
class Bucket:
    """A bucket, and the account that must own it (None: whoever does)."""

    name: str
    owner: str | None

    @property
    def arguments(self) -> _BucketArguments:
        """What every request names. S3 refuses it (403) when another account owns the bucket."""
        if self.owner is None:
            return {"Bucket": self.name}
        return {"Bucket": self.name, "ExpectedBucketOwner": self.owner}

    @property
    def source_arguments(self) -> _SourceArguments:
        """What a request names beside, that copies from an object in this bucket."""
        return {} if self.owner is None else {"ExpectedSourceBucketOwner": self.owner}

    @contextmanager
    def errors_for(self, action: str, key: str) -> Iterator[None]:
        """Maps the client's errors; `action` completes "S3 refused to ..."."""
        where = f"s3://{self.name}/{key}"
        try:
            yield
        except ClientError as error:
            code = code_of(error)
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


def code_of(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def while_busy[T](attempt: Callable[[], T], pause: Callable[[float], None]) -> T:
    """Sends a conditional write again for as long as S3 cannot decide on it, within limits."""
    for number in range(1, _WRITE_ATTEMPTS):
        try:
            return attempt()
        except StorageBusy:
            pause(0.2 * 2**number)
    return attempt()


def abort_multipart(client: S3Client, bucket: Bucket, key: str, multipart_id: str) -> None:
    """Ends a multipart upload; one that is gone already counts as ended."""
    with bucket.errors_for("abort the multipart upload of", key):
        try:
            client.abort_multipart_upload(**bucket.arguments, Key=key, UploadId=multipart_id)
        except client.exceptions.NoSuchUpload:
            return


@contextmanager
def absence_told(client: S3Client, bucket: Bucket, key: str) -> Iterator[None]:
    """A refusal to read a key at which nothing lies becomes ObjectNotFound.

    S3 answers 403 instead of 404 to a caller without the right to list. Our roles have that
    right below their prefix only, and AWS does not say whether it counts: the listing is asked.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html (Permissions).
    """
    try:
        yield
    except ClientError as error:
        if code_of(error) in _DENIED and _is_absent(client, bucket, key):
            raise ObjectNotFound(f"nothing lies at s3://{bucket.name}/{key}") from error
        raise


def _is_absent(client: S3Client, bucket: Bucket, key: str) -> bool:
    try:
        answer = client.list_objects_v2(**bucket.arguments, Prefix=key, MaxKeys=1)
    except (ClientError, BotoCoreError):
        return False
    # Keys are listed in their order, so the key itself comes before those that it begins.
    return key not in [entry["Key"] for entry in answer.get("Contents", [])]
