"""Objects that take bytes of others by S3's own copy, against the emulator.

The emulator takes a lock when a multipart upload begins. It makes no checksums for copied parts:
what is done with S3's is seen in unit/aws/test_s3_copy.py.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from lcp_backup.aws import clients
from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.aws.s3_bucket import ObjectLock
from lcp_backup.aws.s3_parts import FIRST_PART_SIZE, MIB
from lcp_backup.errors import ObjectNotFound, PreconditionFailed
from local import emulator

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "locked"
OWNER = "000000000000"
OLD = random.Random(1).randbytes(40 * MIB)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[S3Client]":
    """A client of a private emulator that has a bucket with Object Lock."""
    state = tmp_path_factory.mktemp("s3")
    with pytest.MonkeyPatch.context() as environment:
        try:
            environment.setenv("AWS_ENDPOINT_URL", emulator.start(state))
            environment.setenv("AWS_DEFAULT_REGION", emulator.REGION)
            environment.setenv("AWS_ACCESS_KEY_ID", emulator.CREDENTIALS["access_key_id"])
            environment.setenv("AWS_SECRET_ACCESS_KEY", emulator.CREDENTIALS["secret_access_key"])
            client = clients.s3()
            client.create_bucket(
                Bucket=BUCKET,
                CreateBucketConfiguration={"LocationConstraint": emulator.REGION},
                ObjectLockEnabledForBucket=True,
            )
            yield client
        finally:
            emulator.stop(state)


@pytest.fixture
def store(s3: "S3Client") -> ObjectStore:
    return ObjectStore(s3, BUCKET, owner=OWNER, pause=lambda _: None)


def test_a_locked_object_is_made_of_copies_and_own_bytes_that_travel_in_parallel(
    store: ObjectStore,
) -> None:
    store.put("old.tgz", OLD)
    old = store.reader("old.tgz")
    until = datetime.now(UTC) + timedelta(days=1)
    lock = ObjectLock("GOVERNANCE", until)
    writer = store.writer("new.tgz", threads=4, takes_head=True, lock=lock)
    whole = []
    for start in range(0, 36 * MIB, 6 * MIB):
        own = random.Random(start).randbytes(FIRST_PART_SIZE + start % 1000)
        writer.write(own)
        writer.append(old, start + 1, 3 * MIB)
        writer.append(old, start + 1 + 3 * MIB, 3 * MIB - 1)
        whole += [own, OLD[start + 1 : start + 6 * MIB]]
    writer.append(old, 0, 17)
    writer.complete(head=b"head")
    made = store.reader("new.tgz")
    assert made.read(0, made.size) == b"".join([b"head", *whole, OLD[:17]])
    assert made.etag.rstrip('"').endswith("-13"), "six own parts, six copies, a short last copy"
    assert list(store.open_multiparts("")) == []


def test_a_source_that_was_replaced_or_deleted_is_told(store: ObjectStore) -> None:
    store.put("source.tgz", OLD)
    old = store.reader("source.tgz")
    store.put("source.tgz", OLD[::-1])
    writer = store.writer("never.tgz")
    writer.append(old, 0, 6 * MIB)
    with pytest.raises(PreconditionFailed, match=r"s3://locked/source\.tgz"):
        writer.complete()
    writer.abort()
    old = store.reader("source.tgz")
    store.delete(["source.tgz"])
    writer = store.writer("never.tgz")
    writer.append(old, 0, 6 * MIB)
    with pytest.raises(ObjectNotFound, match=r"s3://locked/source\.tgz"):
        writer.complete()
    writer.abort()
    assert list(store.open_multiparts("")) == []
    assert list(store.entries("never")) == []
