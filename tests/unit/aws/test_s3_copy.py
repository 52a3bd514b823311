"""An object that is written takes bytes of others by S3's own copy, and says when they are gone."""

import random
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.aws.s3_bucket import ObjectLock
from lcp_backup.aws.s3_parts import FIRST_PART_SIZE, MIB
from lcp_backup.errors import ObjectNotFound, PreconditionFailed, StorageError
from tests.support.backups import BUCKET
from tests.support.buffers import Buffer
from tests.support.clock import SettableClock

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

OLD = random.Random(1).randbytes(20 * MIB)
OWNER = "123456789012"


@pytest.fixture
def requests(s3: "S3Client") -> list[tuple[str, dict[str, Any]]]:
    """What is asked of S3 from here on: operation and headers."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def note(model: Any, params: dict[str, Any], **_: Any) -> None:
        asked.append((model.name, params["headers"]))

    s3.meta.events.register("before-call.s3", note)
    return asked


def test_ranges_and_own_bytes_come_out_in_order_and_what_s3_can_copy_is_not_fetched(
    store: ObjectStore, requests: list[tuple[str, dict[str, Any]]]
) -> None:
    store.put("old.tgz", OLD)
    old = store.reader("old.tgz")
    requests.clear()
    writer = store.writer("new.tgz")
    writer.append(old, 1, 3 * MIB)
    writer.append(old, 1 + 3 * MIB, 3 * MIB)
    writer.write(bytes(FIRST_PART_SIZE))
    writer.write(b"own")
    writer.append(old, 10 * MIB, 10 * MIB)
    writer.complete()
    asked = [name for name, _ in requests]
    lacking = 5 * MIB - 3
    fetched = [headers["Range"] for name, headers in requests if name == "GetObject"]
    assert fetched == [f"bytes={10 * MIB}-{10 * MIB + lacking - 1}"]
    assert asked.count("UploadPartCopy") == 2
    whole = OLD[1 : 1 + 6 * MIB] + bytes(FIRST_PART_SIZE) + b"own" + OLD[10 * MIB :]
    assert store.get("new.tgz").body == whole
    assert list(store.open_multiparts("")) == []


def test_what_is_short_altogether_is_one_request(
    store: ObjectStore, requests: list[tuple[str, dict[str, Any]]]
) -> None:
    store.put("old.tgz", OLD)
    old = store.reader("old.tgz")
    requests.clear()
    writer = store.writer("new.tgz")
    writer.append(old, 0, 10)
    writer.write(b"own")
    writer.append(old, 0, 0)
    writer.complete()
    assert [name for name, _ in requests] == ["GetObject", "PutObject"]
    assert store.get("new.tgz").body == OLD[:10] + b"own"


def test_bytes_of_a_source_that_s3_does_not_hold_are_fetched(store: ObjectStore) -> None:
    source = Buffer(OLD)
    writer = store.writer("new.tgz")
    writer.append(source, 5, 19 * MIB)
    writer.complete()
    assert store.get("new.tgz").body == OLD[5 : 5 + 19 * MIB]
    assert max(length for _, length in source.reads) <= FIRST_PART_SIZE


def test_bytes_of_another_bucket_are_fetched(
    store: ObjectStore, s3: "S3Client", requests: list[tuple[str, dict[str, Any]]]
) -> None:
    s3.create_bucket(
        Bucket="other", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    other = ObjectStore(s3, "other")
    other.put("old.tgz", OLD)
    writer = store.writer("new.tgz")
    writer.append(other.reader("old.tgz"), 0, len(OLD))
    writer.complete()
    assert store.get("new.tgz").body == OLD
    assert "UploadPartCopy" not in [name for name, _ in requests]


def test_a_copy_names_what_it_copies_and_who_must_own_it(
    s3: "S3Client", requests: list[tuple[str, dict[str, Any]]]
) -> None:
    store = ObjectStore(s3, BUCKET, owner=OWNER)
    store.put("old & 1.tgz", OLD)
    old = store.reader("old & 1.tgz")
    writer = store.writer("new.tgz")
    writer.append(old, 7, 6 * MIB)
    writer.complete()
    (headers,) = [headers for name, headers in requests if name == "UploadPartCopy"]
    said = {name: value for name, value in headers.items() if name.startswith("x-amz-")}
    assert said == {
        "x-amz-copy-source": f"{BUCKET}/old%20%26%201.tgz",
        "x-amz-copy-source-if-match": old.etag,
        "x-amz-copy-source-range": f"bytes=7-{6 * MIB + 6}",
        "x-amz-expected-bucket-owner": OWNER,
        "x-amz-source-expected-bucket-owner": OWNER,
    }
    assert store.get("new.tgz").body == OLD[7 : 7 + 6 * MIB]


def test_a_head_goes_before_own_bytes_and_never_before_those_of_another_object(
    store: ObjectStore,
) -> None:
    store.put("old.tgz", OLD)
    old = store.reader("old.tgz")
    writer = store.writer("a.tgz", takes_head=True)
    writer.write(b"own")
    writer.append(old, 0, len(OLD))
    writer.complete(head=b"head ")
    assert store.get("a.tgz").body == b"head own" + OLD
    for length in (1, 6 * MIB):
        writer = store.writer("b.tgz", takes_head=True)
        writer.append(old, 0, length)
        writer.write(b"own")
        with pytest.raises(ValueError, match="takes no head"):
            writer.complete(head=b"head ")
        writer.abort()
    assert list(store.open_multiparts("")) == []


# --- a source that is gone, or another ------------------------------------------------------------


@pytest.mark.parametrize("length", [10, 6 * MIB], ids=["fetched", "copied"])
def test_a_source_that_is_gone_is_named_and_nothing_is_left(
    store: ObjectStore, length: int
) -> None:
    store.put("old.tgz", OLD)
    old = store.reader("old.tgz")
    store.delete(["old.tgz"])
    writer = store.writer("new.tgz")
    writer.append(old, 0, length)
    with pytest.raises(ObjectNotFound, match="nothing lies at s3://backups/old.tgz"):
        writer.write(b"own")
        writer.complete()
    with pytest.raises(ObjectNotFound):
        writer.complete()
    writer.abort()
    assert list(store.entries("")) == []
    assert list(store.open_multiparts("")) == []


def refusing(s3: "S3Client", status: int, code: str) -> None:
    """Every copy is answered with this error."""
    answer = {"Error": {"Code": code, "Message": "because"}}

    def refuse(**_: Any) -> Any:
        return SimpleNamespace(status_code=status), answer

    s3.meta.events.register("before-call.s3.UploadPartCopy", refuse)


def copy_all(store: ObjectStore) -> None:
    writer = store.writer("new.tgz")
    try:
        writer.append(store.reader("old.tgz"), 0, len(OLD))
        writer.complete()
    finally:
        writer.abort()


def test_a_source_that_was_replaced_is_named(store: ObjectStore, s3: "S3Client") -> None:
    """(The mock compares no tags; the emulator does: see integration/aws/test_s3_copy.py.)"""
    store.put("old.tgz", OLD)
    refusing(s3, 412, "PreconditionFailed")
    with pytest.raises(PreconditionFailed, match=r"s3://backups/old\.tgz was written"):
        copy_all(store)


def test_a_source_that_is_gone_is_told_from_one_that_may_not_be_read_where_s3_says_403_of_both(
    store: ObjectStore, s3: "S3Client"
) -> None:
    store.put("old.tgz", OLD)
    refusing(s3, 403, "AccessDenied")
    with pytest.raises(StorageError, match=r"fill part 1 of new\.tgz from s3://backups/old") as got:
        copy_all(store)
    assert not isinstance(got.value, ObjectNotFound)
    writer = store.writer("new.tgz")
    writer.append(store.reader("old.tgz"), 0, len(OLD))
    store.delete(["old.tgz"])
    with pytest.raises(ObjectNotFound, match=r"s3://backups/old\.tgz"):
        writer.complete()
    writer.abort()


def test_that_the_multipart_has_ended_is_not_taken_for_a_source_that_is_gone(
    store: ObjectStore, s3: "S3Client"
) -> None:
    store.put("old.tgz", OLD)
    refusing(s3, 404, "NoSuchUpload")
    with pytest.raises(StorageError, match="has to be sent again") as error:
        copy_all(store)
    assert not isinstance(error.value, ObjectNotFound)


@pytest.mark.usefixtures("s3")
def test_an_error_in_the_body_of_a_200_is_an_error() -> None:
    """S3 may begin its answer before it has copied.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
    """
    once = boto3.client("s3", config=Config(retries={"total_max_attempts": 1}))
    store = ObjectStore(once, BUCKET)
    store.put("old.tgz", OLD)

    class Body:
        def stream(self) -> list[bytes]:
            return [b"<Error><Code>InternalError</Code><Message>sorry</Message></Error>"]

    def fail_late(request: Any, **_: Any) -> Any:
        return AWSResponse(request.url, 200, HTTPHeaders(), Body())

    once.meta.events.register_first("before-send.s3.UploadPartCopy", fail_late)
    with pytest.raises(StorageError, match=r"s3://backups/old\.tgz: InternalError sorry"):
        copy_all(store)
    assert [entry.key for entry in store.entries("")] == ["old.tgz"]


def test_after_a_failure_no_object_is_made_of_what_follows(
    store: ObjectStore, s3: "S3Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("old.tgz", OLD)
    old = store.reader("old.tgz")
    real = s3.get_object

    def refuse(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "SlowDown", "Message": "slow"}}, "GetObject")

    writer = store.writer("new.tgz")
    writer.append(old, 0, 10)
    monkeypatch.setattr(s3, "get_object", refuse)
    with pytest.raises(StorageError, match="SlowDown"):
        writer.write(b"own")
    monkeypatch.setattr(s3, "get_object", real)
    with pytest.raises(StorageError, match="SlowDown"):
        writer.write(b"own")
    with pytest.raises(StorageError, match="SlowDown"):
        writer.complete()
    writer.abort()
    assert [entry.key for entry in store.entries("")] == ["old.tgz"]


# --- checksums ------------------------------------------------------------------------------------


def test_a_copied_part_is_completed_with_the_checksum_that_s3_made_of_it(
    s3: "S3Client", clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.create_bucket(
        Bucket="locked",
        CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
        ObjectLockEnabledForBucket=True,
    )
    store = ObjectStore(s3, "locked", pause=lambda _: None)
    store.put("old.tgz", OLD)
    copy, complete = s3.upload_part_copy, s3.complete_multipart_upload
    completed: list[dict[str, Any]] = []

    def copy_with_checksum(**kwargs: Any) -> Any:
        answer: Any = copy(**kwargs)
        answer["CopyPartResult"]["ChecksumCRC32"] = "bWFkZSBieSBTMw=="
        return answer

    def note(**kwargs: Any) -> Any:
        completed.extend(kwargs["MultipartUpload"]["Parts"])
        return complete(**kwargs)

    monkeypatch.setattr(s3, "upload_part_copy", copy_with_checksum)
    monkeypatch.setattr(s3, "complete_multipart_upload", note)
    lock = ObjectLock("GOVERNANCE", clock() + timedelta(days=1))
    writer = store.writer("new.tgz", lock=lock)
    writer.write(bytes(FIRST_PART_SIZE))
    writer.append(store.reader("old.tgz"), 0, len(OLD))
    writer.complete()
    assert [part["PartNumber"] for part in completed] == [1, 2]
    assert completed[0]["ChecksumCRC32"]
    assert completed[1]["ChecksumCRC32"] == "bWFkZSBieSBTMw=="
    monkeypatch.setattr(s3, "upload_part_copy", copy)
    writer = store.writer("bare.tgz", lock=lock)
    writer.append(store.reader("old.tgz"), 0, len(OLD))
    writer.complete()
    assert "ChecksumCRC32" not in completed[2], "who makes none is asked for none"
