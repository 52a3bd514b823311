"""An S3 client over a dictionary: what small objects need, a hundred times faster than a server.

The contract of the store that uses it is tested elsewhere, on an S3 API; here it only has to carry.
"""

import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

_LEAST_PART = 5 << 20
"""Bytes of every part but the last."""


class _Exceptions:
    NoSuchUpload = KeyError


class Killed(BaseException):
    """The process is gone: it sends nothing more."""


class MemoryS3:
    """As much of boto3's S3 client as the service takes.

    Arguments: `clock` tells when an object was written; `before` is called before every request
    with its operation's name, and what it raises is the answer.
    """

    exceptions = _Exceptions

    def __init__(
        self,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        before: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self.before = before
        self.objects: dict[str, dict[str, Any]] = {}
        self._parts: dict[str, dict[int, bytes]] = {}
        self._multiparts: dict[str, dict[str, Any]] = {}
        """Those that were neither completed nor aborted."""
        self._lock = threading.Lock()

    def put_object(self, *, Key: str, Body: bytes, **more: Any) -> dict[str, Any]:  # noqa: N803 -- boto3's names
        self.before("put_object")
        with self._lock:
            there = self.objects.get(Key)
            expected = more.get("IfMatch")
            if (more.get("IfNoneMatch") and there) or (
                expected is not None and (there is None or there["ETag"] != expected)
            ):
                raise _error("PreconditionFailed")
            etag = _etag(Body)
            self.objects[Key] = {
                "Body": bytes(Body),
                "ETag": etag,
                "ContentLength": len(Body),
                "LastModified": self._clock(),
                "Metadata": more.get("Metadata", {}),
            }
            return {"ETag": etag}

    def head_object(self, *, Key: str, **_more: Any) -> dict[str, Any]:  # noqa: N803
        self.before("head_object")
        with self._lock:
            if Key not in self.objects:
                raise _error("NoSuchKey")
            return dict(self.objects[Key])

    def get_object(self, *, Key: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        found = self.head_object(Key=Key)
        body = found["Body"]
        if span := more.get("Range"):
            first, _, last = span.removeprefix("bytes=").partition("-")
            body = body[int(first) : int(last) + 1]
        return found | {"Body": io.BytesIO(body)}

    def delete_objects(self, *, Delete: dict[str, Any], **_more: Any) -> dict[str, Any]:  # noqa: N803
        self.before("delete_objects")
        with self._lock:
            for entry in Delete["Objects"]:
                self.objects.pop(entry["Key"], None)
        return {}

    def create_multipart_upload(self, *, Key: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        self.before("create_multipart_upload")
        with self._lock:
            upload_id = f"upload-{len(self._parts)}"
            self._parts[upload_id] = {}
            metadata = more.get("Metadata", {})
            begun = {"Key": Key, "UploadId": upload_id, "Initiated": self._clock()}
            self._multiparts[upload_id] = {**begun, "Metadata": metadata}
            return {"UploadId": upload_id}

    def upload_part(self, **part: Any) -> dict[str, Any]:
        self.before("upload_part")
        body = bytes(part["Body"])
        with self._lock:
            if part["UploadId"] not in self._multiparts:
                raise _error("NoSuchUpload")
            self._parts[part["UploadId"]][part["PartNumber"]] = body
        return {"ETag": _etag(body)}

    def upload_part_copy(self, **part: Any) -> dict[str, Any]:
        source, span = part["CopySource"], part["CopySourceRange"]
        if self.head_object(Key=source["Key"])["ETag"] != part["CopySourceIfMatch"]:
            raise _error("PreconditionFailed")
        body = self.get_object(Key=source["Key"], Range=span)["Body"].read()
        answer = self.upload_part(**{**part, "Body": body})
        return {"CopyPartResult": answer}

    def complete_multipart_upload(self, *, Key: str, UploadId: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        self.before("complete_multipart_upload")
        with self._lock:
            if UploadId not in self._multiparts:
                raise _error("NoSuchUpload")
            sent, metadata = self._parts[UploadId], self._multiparts[UploadId]["Metadata"]
        named = more["MultipartUpload"]["Parts"]
        numbers = [part["PartNumber"] for part in named]
        if numbers != sorted(set(numbers)):
            raise _error("InvalidPartOrder")
        has_checksums = any("ChecksumCRC32" in part for part in named)
        if has_checksums and numbers != list(range(1, len(numbers) + 1)):
            # https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompletedPart.html
            raise _error("InvalidPartOrder")
        if any(_etag(sent.get(part["PartNumber"], b"")) != part["ETag"] for part in named):
            raise _error("InvalidPart")
        if any(len(sent[number]) < _LEAST_PART for number in numbers[:-1]):
            raise _error("EntityTooSmall")
        body = b"".join(sent[number] for number in numbers)
        condition = more.get("IfNoneMatch")
        answer = self.put_object(Key=Key, Body=body, IfNoneMatch=condition, Metadata=metadata)
        self.abort_multipart_upload(UploadId=UploadId)
        return answer

    def abort_multipart_upload(self, *, UploadId: str, **_more: Any) -> dict[str, Any]:  # noqa: N803
        self.before("abort_multipart_upload")
        with self._lock:
            self._parts[UploadId] = {}
            self._multiparts.pop(UploadId, None)
        return {}

    def list_objects_v2(self, *, Prefix: str, **_more: Any) -> dict[str, Any]:  # noqa: N803
        self.before("list_objects_v2")
        return next(_Pages(self.objects).paginate(Prefix=Prefix))

    def get_paginator(self, operation: str) -> "_Pages | _PartPages | _UploadPages":
        self.before(operation)
        if operation == "list_parts":
            return _PartPages({it: self._parts[it] for it in self._multiparts})
        if operation == "list_multipart_uploads":
            return _UploadPages(self._multiparts)
        return _Pages(self.objects if operation == "list_objects_v2" else {})


class _PartPages:
    def __init__(self, parts: dict[str, dict[int, bytes]]) -> None:
        self._parts = parts

    def paginate(self, *, UploadId: str, **_more: Any) -> Iterator[Any]:  # noqa: N803
        if UploadId not in self._parts:
            raise _error("NoSuchUpload")
        yield {
            "Parts": [
                {
                    "PartNumber": number,
                    "Size": len(body),
                    "ETag": _etag(body),
                }
                for number, body in sorted(self._parts[UploadId].items())
            ]
        }


class _UploadPages:
    def __init__(self, multiparts: dict[str, dict[str, Any]]) -> None:
        self._multiparts = multiparts

    def paginate(self, *, Prefix: str = "", **_more: Any) -> Iterator[Any]:  # noqa: N803
        yield {"Uploads": [it for it in self._multiparts.values() if it["Key"].startswith(Prefix)]}


class _Pages:
    def __init__(self, objects: dict[str, dict[str, Any]]) -> None:
        self.objects = objects

    def paginate(self, *, Prefix: str = "", Delimiter: str = "", **_more: Any) -> Iterator[Any]:  # noqa: N803
        keys = sorted(key for key in list(self.objects) if key.startswith(Prefix))
        if Delimiter:
            rest = (key[len(Prefix) :].partition(Delimiter) for key in keys)
            names = sorted({name for name, delimiter, _ in rest if delimiter})
            yield {"CommonPrefixes": [{"Prefix": f"{Prefix}{it}{Delimiter}"} for it in names]}
            return
        yield {
            "Contents": [
                {"Key": key, "Size": it["ContentLength"], "LastModified": it["LastModified"]}
                for key in keys
                if (it := self.objects.get(key))
            ]
        }


class NoEvents:
    """An event bus that takes everything and tells nobody."""

    def put_events(self, **_more: Any) -> dict[str, Any]:
        return {"FailedEntryCount": 0, "Entries": []}


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def _error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, "memory")
