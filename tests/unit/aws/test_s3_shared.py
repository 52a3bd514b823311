"""The parts that one of several processes sends: how many, how large, and how many at once."""

import threading
import time
from typing import TYPE_CHECKING, cast

import pytest

from lcp_backup.aws import clients, s3_shared
from lcp_backup.aws.s3_bucket import Bucket
from lcp_backup.aws.s3_parts import MAX_PARTS
from lcp_backup.aws.s3_shared import PartsWriter, SentPart, SharedMultipart
from lcp_backup.jobs import shared_volume
from tests.support.backups import BUCKET

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class SlowMultipart:
    """Takes parts, each in its time, and knows how many bytes were under way at most."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self.travelling = self.most = 0
        self.sizes: list[int] = []
        self._lock = threading.Lock()

    def send(self, _multipart_id: str, number: int, body: bytes) -> SentPart:
        with self._lock:
            self.sizes.append(len(body))
            self.travelling += len(body)
            self.most = max(self.most, self.travelling)
        time.sleep(self._seconds)
        with self._lock:
            self.travelling -= len(body)
        return SentPart(number, "etag")


def test_parts_whose_numbers_have_gaps_carry_no_checksum_with_which_s3_refuses_that(
    s3: "S3Client",
) -> None:
    """An MD5 each, and of the client itself nothing in front of or behind the body."""
    sent: list[dict[str, str]] = []
    client = clients.s3()
    client.meta.events.register(
        "request-created.s3", lambda request, **_: sent.append(request.headers)
    )
    multipart = SharedMultipart(
        client, Bucket(BUCKET, None), "a.tgz", mark="mark", pause=lambda _: pytest.fail("is busy")
    )
    upload = multipart.start(content_type="application/gzip", lock=None)
    parts = [multipart.send(upload, number, b"x" * (5 << 20)) for number in (2, 5)]
    multipart.complete(upload, parts)
    assert s3.head_object(Bucket=BUCKET, Key="a.tgz")["ContentLength"] == 10 << 20
    names = [name.lower() for headers in sent for name in headers]
    assert [name for name in names if "checksum" in name or "trailer" in name] == []
    assert "content-md5" in names


def writer(multipart: SlowMultipart, part_size: int, numbers: range) -> PartsWriter:
    return PartsWriter(
        cast("SharedMultipart", multipart),
        "id",
        numbers,
        first=numbers.start,
        part_size=part_size,
        before=b"",
        threads=4,
    )


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is megabytes otherwise is bytes."""
    monkeypatch.setattr(s3_shared, "SMALLEST_PART", 5)
    monkeypatch.setattr(s3_shared, "_MOST_TRAVELLING", 256)
    monkeypatch.setattr(shared_volume, "FIRST_PART_SIZE", 8)


@pytest.mark.parametrize(("part_size", "most"), [(8, 32), (100, 200), (200, 200), (1000, 1000)])
def test_large_parts_do_not_travel_many_at_once(part_size: int, most: int) -> None:
    multipart = SlowMultipart(0.002)
    sink = writer(multipart, part_size, range(1, 1000))
    for _ in range(20 * part_size // 4):
        sink.write(b"four")
    sink.complete()
    assert multipart.most <= most
    assert sum(multipart.sizes) + len(sink.rest) == 20 * part_size
    assert [part.number for part in sink.parts] == list(range(1, len(multipart.sizes) + 1))


@pytest.mark.parametrize("shares", [8, 64])
@pytest.mark.parametrize("times", [1, 5])
def test_a_share_fits_into_its_parts_also_when_it_grows_and_these_are_small_otherwise(
    shares: int, times: int
) -> None:
    size = 200_000
    numbers = range(1, MAX_PARTS // shares + 1)[: -shared_volume.KEPT_FOR_JOIN]
    multipart = SlowMultipart()
    sink = writer(multipart, shared_volume._part_size(size, shares), numbers)
    for _ in range(100 * times):
        sink.write(bytes(size // 100))
    sink.complete()
    if times == 1:
        # S3 alone asks for parts of a share's size by the numbers that it has.
        assert max(multipart.sizes) <= max(16, 3 * size // len(numbers))
