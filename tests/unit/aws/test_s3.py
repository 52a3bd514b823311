"""The S3 edge: parts, conditional writes, ranges, and what a failure leaves behind."""

import random
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from urllib3.exceptions import ProtocolError

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.aws.s3_bucket import ObjectLock
from lcp_backup.aws.s3_parts import FIRST_PART_SIZE, MAX_PARTS, part_size
from lcp_backup.errors import ObjectNotFound, PreconditionFailed, StorageError
from tests.support.clock import SettableClock

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIB = 1024 * 1024


def test_ten_thousand_parts_reach_past_the_largest_object_s3_takes() -> None:
    sizes = [part_size(number) for number in range(1, MAX_PARTS + 1)]
    assert sum(sizes) >= 5 * 1024**4
    assert min(sizes) >= 5 * MIB
    assert max(sizes) <= 5 * 1024**3


def test_a_small_object_is_one_request_and_holds_its_head_in_front(store: ObjectStore) -> None:
    writer = store.writer("a/b.tgz", takes_head=True)
    writer.write(b"body")
    writer.complete(head=b"head ")
    assert store.get("a/b.tgz").body == b"head body"
    assert list(store.open_multiparts("")) == []


def test_a_large_object_is_its_head_and_all_parts_in_order(store: ObjectStore) -> None:
    data = random.Random(1).randbytes(2 * FIRST_PART_SIZE + 12345)
    writer = store.writer("big.tgz", takes_head=True)
    for start in range(0, len(data), MIB):
        writer.write(data[start : start + MIB])
    writer.complete(head=b"x" * 700)
    assert store.get("big.tgz").body == b"x" * 700 + data
    assert list(store.open_multiparts("")) == []


@pytest.mark.parametrize("size", [5, FIRST_PART_SIZE, 2 * FIRST_PART_SIZE + 12345])
def test_an_object_without_a_head_keeps_no_part_back(store: ObjectStore, size: int) -> None:
    data = random.Random(1).randbytes(size)
    writer = store.writer("plain.index")
    writer.write(data)
    assert (writer._first, bool(writer._parts)) == (None, size >= FIRST_PART_SIZE)
    with pytest.raises(ValueError, match="takes no head"):
        writer.complete(head=b"head")
    writer.complete()
    assert store.get("plain.index").body == data
    assert list(store.open_multiparts("")) == []


def test_nothing_is_visible_before_complete_and_nothing_is_left_after_abort(
    store: ObjectStore,
) -> None:
    writer = store.writer("half.tgz")
    writer.write(bytes(3 * FIRST_PART_SIZE))
    writer.write(bytes(FIRST_PART_SIZE))
    assert list(store.open_multiparts("")) != []
    assert list(store.entries("")) == []
    writer.abort()
    writer.abort()
    assert list(store.open_multiparts("")) == []
    assert list(store.entries("")) == []
    with pytest.raises(StorageError):
        writer.write(b"more")


@pytest.mark.parametrize("size", [10, 2 * FIRST_PART_SIZE + 1])
def test_an_object_that_exists_is_never_rewritten(store: ObjectStore, size: int) -> None:
    store.put("done.tgz", b"published")
    writer = store.writer("done.tgz")
    for _ in range(0, size, FIRST_PART_SIZE):
        writer.write(bytes(min(size, FIRST_PART_SIZE)))
    with pytest.raises(PreconditionFailed):
        writer.complete()
    writer.abort()
    assert store.get("done.tgz").body == b"published"
    assert list(store.open_multiparts("")) == []


def test_a_part_that_s3_refuses_for_good_fails_the_object_and_leaves_nothing(
    store: ObjectStore, s3: "S3Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    real = s3.upload_part

    def refuse(**kwargs: Any) -> Any:
        if kwargs["PartNumber"] == 3:
            raise ClientError(
                {"Error": {"Code": "SlowDown", "Message": "Reduce your request rate"}}, "UploadPart"
            )
        return real(**kwargs)

    monkeypatch.setattr(s3, "upload_part", refuse)
    writer = store.writer("refused.tgz", threads=1)
    with pytest.raises(StorageError, match="part 3 of s3://backups/refused.tgz: SlowDown"):
        for _ in range(8):
            writer.write(bytes(FIRST_PART_SIZE))
    writer.abort()
    assert list(store.entries("")) == []
    assert list(store.open_multiparts("")) == []


def test_ranges_are_exact_and_of_one_and_the_same_object(store: ObjectStore) -> None:
    store.put("r", bytes(range(200)))
    reader = store.reader("r")
    assert reader.size == 200
    assert reader.read(10, 5) == bytes(range(10, 15))
    assert reader.read(0, 0) == b""
    with pytest.raises(StorageError, match="ends at byte 200"):
        reader.read(190, 20)
    store.put("r", bytes(200))
    with pytest.raises(PreconditionFailed):
        reader.read(0, 1)


def test_a_body_that_breaks_off_is_read_again(
    store: ObjectStore, s3: "S3Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("k", b"whole")
    real = s3.get_object
    broken = 2

    class Broken:
        def read(self) -> bytes:
            raise ProtocolError("Connection broken")

    def flaky(**kwargs: Any) -> Any:
        nonlocal broken
        answer: Any = real(**kwargs)
        if broken:
            broken -= 1
            answer["Body"] = Broken()
        return answer

    monkeypatch.setattr(s3, "get_object", flaky)
    assert store.get("k").body == b"whole"
    broken = 99
    with pytest.raises(StorageError, match="ProtocolError"):
        store.get("k")


def test_conditional_writes_let_exactly_one_through(store: ObjectStore) -> None:
    etag = store.put_new("lease", b"1")
    with pytest.raises(PreconditionFailed):
        store.put_new("lease", b"2")
    newer = store.put_over("lease", b"3", etag)
    with pytest.raises(PreconditionFailed):
        store.put_over("lease", b"4", etag)
    assert store.get("lease").body == b"3"
    assert store.get("lease").etag == newer


def test_a_missing_object_is_named(store: ObjectStore) -> None:
    with pytest.raises(ObjectNotFound, match="s3://backups/nowhere"):
        store.get("nowhere")
    with pytest.raises(ObjectNotFound, match="s3://backups/nowhere"):
        store.reader("nowhere")
    store.delete(["nowhere"])


def test_more_objects_than_one_request_takes_are_deleted(store: ObjectStore) -> None:
    keys = [f"many/{number:04}" for number in range(2003)]
    # (To put them all would be most of the test: one at each end of what a request takes.)
    for number in (0, 999, 1000, 1999, 2000, 2002):
        store.put(keys[number], b"")
    store.delete(keys)
    assert list(store.entries("many/")) == []


def _losing_answers(monkeypatch: pytest.MonkeyPatch, s3: "S3Client", method: str) -> None:
    """Every request is carried out twice, as the client does when the first answer was lost."""
    real = getattr(s3, method)

    def twice(**kwargs: Any) -> Any:
        real(**kwargs)
        return real(**kwargs)

    monkeypatch.setattr(s3, method, twice)


def test_a_conditional_write_whose_answer_was_lost_is_known_again(
    store: ObjectStore, s3: "S3Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    _losing_answers(monkeypatch, s3, "put_object")
    etag = store.put_new("lease", b"mine 1")
    assert store.put_over("lease", b"mine 2", etag) == store.get("lease").etag
    with pytest.raises(PreconditionFailed):
        store.put_over("lease", b"theirs", etag)


@pytest.mark.parametrize(("method", "parts"), [("put_object", 0), ("complete_multipart_upload", 3)])
def test_an_object_whose_completion_was_answered_too_late_is_complete(
    store: ObjectStore,
    s3: "S3Client",
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    parts: int,
) -> None:
    _losing_answers(monkeypatch, s3, method)
    writer = store.writer("late.tgz")
    writer.write(b"start")
    for _ in range(parts):
        writer.write(bytes(FIRST_PART_SIZE))
    writer.complete()
    found = store.reader("late.tgz")
    assert found.size == 5 + parts * FIRST_PART_SIZE
    assert writer.etag == found.etag


# --- S3's "try again" --------------------------------------------------------------------------


def _busy(code: str = "ConditionalRequestConflict") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "Please retry"}}, "PutObject")


def _conflicting(monkeypatch: pytest.MonkeyPatch, s3: "S3Client", method: str, times: int) -> None:
    """The first so many requests meet another one that is under way."""
    real = getattr(s3, method)
    left = times

    def meet(**kwargs: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise _busy()
        return real(**kwargs)

    monkeypatch.setattr(s3, method, meet)


def test_a_conditional_write_that_met_another_request_is_sent_again(
    store: ObjectStore, s3: "S3Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    """409 is no answer to whose the object is: who took it for one would lose a free lease.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    """
    _conflicting(monkeypatch, s3, "put_object", 2)
    etag = store.put_new("lease", b"mine")
    assert store.get("lease").etag == etag
    _conflicting(monkeypatch, s3, "put_object", 2)
    store.put_over("lease", b"mine still", etag)
    _conflicting(monkeypatch, s3, "put_object", 1)
    with pytest.raises(PreconditionFailed):
        store.put_new("lease", b"theirs")


@pytest.mark.parametrize(("method", "parts"), [("put_object", 0), ("complete_multipart_upload", 3)])
def test_an_object_whose_completion_met_another_request_is_completed_again(
    store: ObjectStore, s3: "S3Client", monkeypatch: pytest.MonkeyPatch, method: str, parts: int
) -> None:
    _conflicting(monkeypatch, s3, method, 2)
    writer = store.writer("a.tgz")
    writer.write(b"start")
    for _ in range(parts):
        writer.write(bytes(FIRST_PART_SIZE))
    writer.complete()
    assert store.reader("a.tgz").size == 5 + parts * FIRST_PART_SIZE


def test_a_conflict_with_ones_own_request_that_then_won_is_a_success(
    store: ObjectStore, s3: "S3Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client sent it twice, and the second met the first at work."""
    real = s3.complete_multipart_upload

    def overtaken(**kwargs: Any) -> Any:
        real(**kwargs)
        raise _busy()

    monkeypatch.setattr(s3, "complete_multipart_upload", overtaken)
    writer = store.writer("a.tgz")
    for _ in range(3):
        writer.write(bytes(FIRST_PART_SIZE))
    writer.complete()
    assert store.reader("a.tgz").size == 3 * FIRST_PART_SIZE


def test_a_conflict_that_does_not_end_fails_and_blames_nobody(
    s3: "S3Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    store = ObjectStore(s3, "backups", pause=pauses.append)
    _conflicting(monkeypatch, s3, "put_object", 99)
    with pytest.raises(StorageError, match="could not write s3://backups/lease") as error:
        store.put_new("lease", b"mine")
    assert not isinstance(error.value, PreconditionFailed)
    assert len(pauses) == 5
    assert sum(pauses) < 15, "a lease is renewed every 15 seconds"


def test_a_multipart_that_s3_ended_says_that_it_has_to_be_sent_again(
    store: ObjectStore, s3: "S3Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [_busy(), _busy("NoSuchUpload")]

    def end(**_: Any) -> Any:
        raise answers.pop(0)

    monkeypatch.setattr(s3, "complete_multipart_upload", end)
    writer = store.writer("a.tgz")
    for _ in range(3):
        writer.write(bytes(FIRST_PART_SIZE))
    with pytest.raises(StorageError, match="all of it has to be sent again"):
        writer.complete()
    writer.abort()


# --- checksums ------------------------------------------------------------------------------------


@pytest.fixture
def locking(s3: "S3Client") -> "S3Client":
    """A client of an S3 that is as strict about locked parts as AWS's is; the mock is not.

    A part needs a checksum in a header, of the algorithm that was named at the start, and the
    completion names it again.
    Sources: https://github.com/s3tools/s3cmd/issues/1436,
    https://github.com/apache/arrow-rs-object-store/issues/34 and
    https://github.com/Altinity/clickhouse-backup/pull/1363
    """
    named: list[bool] = []

    def refuse(message: str) -> tuple[object, dict[str, Any]]:
        answer = {"Error": {"Code": "InvalidRequest", "Message": message}}
        return SimpleNamespace(status_code=400), answer

    def check(params: dict[str, Any], **_: Any) -> Any:
        query, headers = params["query_string"], params["headers"]
        if params["method"] == "PUT" and "uploadId" in query:
            if "x-amz-checksum-crc32" not in headers:
                return refuse("a checksum HTTP header is required for Put Part requests")
            if not named:
                return refuse("expected checksum Type: null, actual checksum Type: crc32")
        elif params["method"] == "POST" and "uploadId" in query:
            if b"<ChecksumCRC32>" not in params["body"]:
                return refuse("The complete request must include the checksum for each part")
        elif headers.get("x-amz-checksum-algorithm") == "CRC32":
            named.append(True)
        return None

    s3.meta.events.register("before-call.s3", check)
    return s3


def test_parts_of_a_locked_object_carry_the_checksum_that_s3_asks_for(
    locking: "S3Client", clock: SettableClock
) -> None:
    locking.create_bucket(
        Bucket="locked",
        CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
        ObjectLockEnabledForBucket=True,
    )
    store = ObjectStore(locking, "locked", pause=lambda _: None)
    lock = ObjectLock("GOVERNANCE", clock() + timedelta(days=1))
    writer = store.writer("large.tgz", takes_head=True, lock=lock)
    for _ in range(3):
        writer.write(bytes(FIRST_PART_SIZE))
    writer.complete(head=b"head")
    assert store.reader("large.tgz").size == 3 * FIRST_PART_SIZE + 4
    small = store.writer("small.tgz", lock=lock)
    small.write(b"small")
    small.complete()
    store.put_new("manifest.json", b"{}", lock=lock)


# --- whose bucket it is, and who may list it ------------------------------------------------------

OWNER = "123456789012"


def denied(method: str) -> tuple[object, dict[str, Any]]:
    """What the client makes of S3's 403; the answer to a HEAD has no body to read a code from."""
    code = "403" if method == "HEAD" else "AccessDenied"
    return SimpleNamespace(status_code=403), {"Error": {"Code": code, "Message": "Access Denied"}}


@pytest.fixture
def owned(s3: "S3Client") -> "S3Client":
    """A client of an S3 that checks who owns the bucket, which the mock does not."""

    def check(params: dict[str, Any], **_: Any) -> Any:
        expected = params["headers"].get("x-amz-expected-bucket-owner", OWNER)
        return None if expected == OWNER else denied(params["method"])

    s3.meta.events.register("before-call.s3", check)
    return s3


def write_in_parts(store: ObjectStore) -> None:
    writer = store.writer("k", threads=1)
    try:
        for _ in range(3):
            writer.write(bytes(FIRST_PART_SIZE))
        writer.complete()
    finally:
        writer.abort()


REQUESTS: list[Callable[[ObjectStore], object]] = [
    lambda store: store.get("k"),
    lambda store: store.reader("k"),
    lambda store: store.read_range("k", "tag", 0, 1),
    lambda store: store.put("k", b""),
    lambda store: store.put_new("k", b""),
    lambda store: store.put_over("k", b"", "tag"),
    lambda store: store.delete(["k"]),
    lambda store: list(store.entries("")),
    lambda store: list(store.names("")),
    lambda store: list(store.open_multiparts("")),
    lambda store: store.start_multipart("k"),
    lambda store: store.put_part("k", "id", 1, b""),
    lambda store: store.list_parts("k", "id"),
    lambda store: store.complete_multipart("k", "id", []),
    lambda store: store.abort_multipart("k", "id"),
    lambda store: store.writer("k").complete(),
    write_in_parts,
]


@pytest.mark.parametrize("request_of", REQUESTS, ids=range(len(REQUESTS)))
def test_no_request_reaches_a_bucket_that_another_account_owns(
    owned: "S3Client", request_of: Callable[[ObjectStore], object]
) -> None:
    theirs = ObjectStore(owned, "backups", owner="210987654321", pause=lambda _: None)
    with pytest.raises(StorageError, match="does not belong to account 210987654321") as error:
        request_of(theirs)
    assert type(error.value) is StorageError
    assert list(ObjectStore(owned, "backups", owner=OWNER).entries("")) == []


def test_a_url_for_others_names_no_owner(owned: "S3Client") -> None:
    store = ObjectStore(owned, "backups", owner=OWNER)
    minute = timedelta(minutes=1)
    for url in (
        store.presigned_part("k", "id", 1, size=1, expires=minute),
        store.presigned_get("k", expires=minute, file_name="f", content_type="x/y"),
    ):
        assert "owner" not in url


def test_a_missing_key_is_told_from_a_forbidden_one_where_s3_says_403_of_both(
    store: ObjectStore, s3: "S3Client"
) -> None:
    for key in ("missing-but-longer", "forbidden"):
        store.put(key, b"")

    def refuse(params: dict[str, Any], **_: Any) -> Any:
        found = params["url_path"].endswith(("/missing", "/forbidden"))
        return denied(params["method"]) if found else None

    s3.meta.events.register("before-call.s3", refuse)
    for read in (store.get, store.reader):
        with pytest.raises(ObjectNotFound, match="s3://backups/missing"):
            read("missing")
        with pytest.raises(StorageError, match="S3 refused to read") as error:
            read("forbidden")
        assert not isinstance(error.value, ObjectNotFound), "it is there, and may not be read"
