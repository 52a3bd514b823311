"""Uploads while they are open: what may be sent, what is sealed, what is refused."""

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from lcp_backup.aws import clients
from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.aws.s3_parts import MIB
from lcp_backup.catalog import Catalog
from lcp_backup.errors import Conflict, InvalidRequest, NotFound
from lcp_backup.jobs.task_end import LONGEST
from lcp_backup.model import ArchiveKind, RunKind, RunState, Upload
from lcp_backup.uploads import PART_SIZE, Uploads

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DATABASE, VOLUME = ArchiveKind.DATABASE, ArchiveKind.VOLUME
EXPIRES = timedelta(minutes=15)


@pytest.fixture
def uploads(catalog: Catalog) -> Uploads:
    return Uploads(catalog)


@pytest.fixture
def small(uploads: Uploads) -> Upload:
    return uploads.open({DATABASE: 3, VOLUME: 5}, {}, "ann")


def end_run(catalog: Catalog, upload: Upload, state: RunState) -> None:
    run = catalog.runs.get(upload.id)
    update = {"state": state, "finished_at": catalog.now(), "backup_id": "acme-prd-202611230015"}
    catalog.runs.write(run.model_copy(update=update))


def fill(uploads: Uploads, upload: Upload) -> None:
    uploads.put(upload.id, DATABASE, b"abc")
    uploads.put(upload.id, VOLUME, b"abcde")


def test_presigned_urls_name_the_region_and_sign_with_version_four(
    s3: "S3Client",  # noqa: ARG001 -- the mock and its credentials
) -> None:
    store = ObjectStore(clients.s3(), "backups")
    for url in (
        store.presigned_part("a", "id", 7, size=5, expires=EXPIRES),
        store.presigned_get("a", expires=EXPIRES, file_name="a.tgz", content_type="x/y"),
    ):
        assert urlsplit(url).hostname == "backups.s3.eu-central-1.amazonaws.com"
        asked = parse_qs(urlsplit(url).query)
        assert asked["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
        assert asked["X-Amz-Expires"] == ["900"]


def test_a_download_carries_its_file_name_and_type(catalog: Catalog, store: ObjectStore) -> None:
    store.put("acme/prd/backups/acme-prd-202611230015/volume.tgz", b"bytes")
    url = catalog.backups.download_url("acme-prd-202611230015", VOLUME, EXPIRES)
    answer = requests.get(url, timeout=5)
    assert answer.content == b"bytes"
    name = "acme-prd-202611230015-volume.tgz"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["content-type"] == "application/gzip"


@pytest.mark.parametrize(
    ("kind", "most"), [(DATABASE, 135 * 10**9), (VOLUME, 270 * 10**9)], ids=["database", "volume"]
)
def test_a_file_that_no_function_takes_in_is_refused_before_a_byte_is_sent(
    uploads: Uploads, catalog: Catalog, store: ObjectStore, kind: ArchiveKind, most: int
) -> None:
    sizes = {DATABASE: 1, VOLUME: 1}
    told = f"the {kind} has {most // 10**9 + 1} GB, and a function takes in {most // 10**9} GB"
    with pytest.raises(InvalidRequest, match=told):
        uploads.open({**sizes, kind: most + 10**9}, {}, "ann")
    assert list(store.open_multiparts("acme/prd/uploads/")) == []
    assert uploads.open({**sizes, kind: most}, {}, "ann").files[kind].size == most
    shorter = Uploads(catalog, longest=timedelta(seconds=450))
    with pytest.raises(InvalidRequest, match="in its 450 seconds"):
        shorter.open({**sizes, kind: most}, {}, "ann")
    by_task = Uploads(catalog, longest=LONGEST)
    assert by_task.open({**sizes, kind: 5 * 10**12}, {}, "ann").files[kind].size == 5 * 10**12


def test_a_small_file_is_sent_in_one_put_and_sealing_queues_its_run(
    uploads: Uploads, catalog: Catalog, small: Upload
) -> None:
    for kind, body in ((DATABASE, b"abc"), (VOLUME, b"abcde")):
        signed = uploads.signed(small, EXPIRES)[kind]
        assert signed.url is not None
        assert signed.expires_at == catalog.now() + EXPIRES
        assert requests.put(signed.url, data=body, timeout=5).ok
    run = uploads.seal(small.id)
    assert (run.id, run.kind, run.state) == (small.id, RunKind.UPLOAD, RunState.QUEUED)
    assert catalog.runs.get(small.id) == run


def test_a_large_file_is_sent_in_parts_that_may_come_again_and_in_any_order(
    uploads: Uploads, catalog: Catalog, store: ObjectStore
) -> None:
    size = PART_SIZE + 3
    upload = uploads.open({DATABASE: 3, VOLUME: size}, {}, "ann")
    uploads.put(upload.id, DATABASE, b"abc")
    first, last = uploads.signed(upload, EXPIRES)[VOLUME].parts
    assert (first.number, first.offset, first.size) == (1, 0, PART_SIZE)
    assert (last.number, last.offset, last.size) == (2, PART_SIZE, 3)
    assert requests.put(last.url, data=b"end", timeout=5).ok
    with pytest.raises(InvalidRequest, match=r"volume .* 1 of 2 parts.* differs is part 1"):
        uploads.seal(upload.id)
    assert not any(part.arrived for part in (first, last))
    signed = uploads.signed(uploads.get(upload.id), EXPIRES)
    assert (signed[DATABASE].arrived, signed[VOLUME].arrived) == (True, False)
    again, there = signed[VOLUME].parts
    assert (again.arrived, there.arrived) == (False, True)
    assert requests.put(again.url, data=bytes(PART_SIZE), timeout=30).ok
    uploads.seal(upload.id)
    reader = store.reader(f"acme/prd/uploads/{upload.id}/volume")
    assert (reader.size, reader.read(PART_SIZE, 3)) == (size, b"end")
    # After a failure that was not the files', all of it is still there.
    end_run(catalog, upload, RunState.FAILED)
    assert uploads.signed(upload, EXPIRES)[VOLUME].arrived


def test_every_url_is_bound_to_the_size_of_what_it_is_for(uploads: Uploads) -> None:
    """S3 compares signed headers with those sent; that it does is seen in test_presigned.py."""
    upload = uploads.open({DATABASE: 3, VOLUME: PART_SIZE + 3}, {}, "ann")
    signed = uploads.signed(upload, EXPIRES)
    for url in (signed[DATABASE].url, *(part.url for part in signed[VOLUME].parts)):
        assert url is not None
        asked = parse_qs(urlsplit(url).query)
        assert "content-length" in asked["X-Amz-SignedHeaders"][0].split(";")
        # A header that only our own functions send is nothing a client would have to know.
        assert "x-amz-expected-bucket-owner" not in asked["X-Amz-SignedHeaders"][0]


def test_urls_are_for_a_multipart_upload_that_ends_with_the_sealing(
    uploads: Uploads, small: Upload, store: ObjectStore
) -> None:
    """What S3 says to a URL after that is seen in test_presigned.py: this mock breaks down."""
    signed = uploads.signed(small, EXPIRES)
    for kind, file in small.files.items():
        url = signed[kind].url
        assert url is not None
        assert parse_qs(urlsplit(url).query)["uploadId"] == [file.multipart_id]
    fill(uploads, small)
    uploads.seal(small.id)
    assert list(store.open_multiparts("")) == []


def test_what_was_sealed_is_known_by_its_tag(uploads: Uploads, store: ObjectStore) -> None:
    upload = uploads.open({DATABASE: 3, VOLUME: 5}, {}, "ann")
    fill(uploads, upload)
    uploads.seal(upload.id)
    for kind, file in uploads.get(upload.id).files.items():
        assert file.etag == store.reader(f"acme/prd/uploads/{upload.id}/{kind}").etag


def test_a_seal_that_fails_leaves_what_was_sent_to_be_sent_again(uploads: Uploads) -> None:
    upload = uploads.open({DATABASE: 3, VOLUME: 5}, {}, "ann")
    uploads.put(upload.id, DATABASE, b"abc")
    with pytest.raises(InvalidRequest, match="the volume"):
        uploads.seal(upload.id)
    url = uploads.signed(upload, EXPIRES)[DATABASE].url
    assert url is not None
    assert requests.put(url, data=b"ABC", timeout=5).ok


def test_a_part_that_broke_off_has_not_arrived(uploads: Uploads) -> None:
    upload = uploads.open({DATABASE: 3, VOLUME: PART_SIZE + 3}, {}, "ann")
    first, _ = uploads.signed(upload, EXPIRES)[VOLUME].parts
    assert requests.put(first.url, data=b"begin", timeout=5).ok
    signed = uploads.signed(upload, EXPIRES)
    assert not any(part.arrived for part in signed[VOLUME].parts)
    assert not signed[DATABASE].arrived


def test_an_answer_with_all_urls_stays_small_however_large_the_files(uploads: Uploads) -> None:
    upload = uploads.open({DATABASE: 135 * 10**9, VOLUME: 270 * 10**9}, {}, "ann")
    parts = uploads.signed(upload, EXPIRES)[VOLUME].parts
    assert len(parts) <= 1000
    assert sum(part.size for part in parts) == 270 * 10**9
    assert parts[0].size % MIB == 0


@pytest.mark.parametrize(
    ("sizes", "sha256", "said"),
    [
        ({DATABASE: 3}, {}, "the volume needs a size"),
        ({DATABASE: 0, VOLUME: 5}, {}, "0 bytes are announced"),
        ({DATABASE: 3, VOLUME: 6 << 40}, {}, "the volume needs a size"),
        ({DATABASE: 3, VOLUME: 5}, {DATABASE: "abc"}, "SHA-256"),
    ],
)
def test_impossible_announcements_are_refused(
    uploads: Uploads,
    catalog: Catalog,
    sizes: dict[ArchiveKind, int],
    sha256: dict[ArchiveKind, str],
    said: str,
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        uploads.open(sizes, sha256, "ann")
    assert catalog.uploads.ids() == []


def test_sealing_names_what_is_missing(uploads: Uploads, catalog: Catalog, small: Upload) -> None:
    with pytest.raises(InvalidRequest, match="the database .* 3 bytes were expected and 0 found"):
        uploads.seal(small.id)
    uploads.put(small.id, DATABASE, b"abc")
    url = uploads.signed(small, EXPIRES)[VOLUME].url
    assert url is not None
    requests.put(url, data=b"abcdefg", timeout=5)
    with pytest.raises(InvalidRequest, match="the volume .* 5 bytes were expected and 7 found"):
        uploads.seal(small.id)
    with pytest.raises(NotFound):
        catalog.runs.get(small.id)


def test_a_form_whose_file_is_not_as_announced_is_refused(uploads: Uploads, small: Upload) -> None:
    with pytest.raises(InvalidRequest, match="3 bytes were expected and 4 found"):
        uploads.put(small.id, DATABASE, b"abcd")


@pytest.mark.parametrize("state", [RunState.QUEUED, RunState.RUNNING, RunState.SUCCEEDED])
def test_what_is_sealed_stays_as_it_is(
    uploads: Uploads, catalog: Catalog, small: Upload, state: RunState
) -> None:
    fill(uploads, small)
    run = uploads.seal(small.id)
    if state.ended:
        end_run(catalog, small, state)
    else:
        catalog.runs.write(run.model_copy(update={"state": state}))
    for call in (
        lambda: uploads.seal(small.id),
        lambda: uploads.put(small.id, DATABASE, b"abc"),
        lambda: uploads.signed(small, EXPIRES),
        lambda: uploads.abandon(small.id),
    ):
        with pytest.raises(Conflict, match=small.id):
            call()


def test_an_upload_whose_run_failed_may_be_sealed_again(uploads: Uploads, catalog: Catalog) -> None:
    upload = uploads.open({DATABASE: 3, VOLUME: PART_SIZE + 1}, {}, "ann")
    uploads.put(upload.id, DATABASE, b"abc")
    for part in uploads.signed(upload, EXPIRES)[VOLUME].parts:
        requests.put(part.url, data=bytes(part.size), timeout=30)
    uploads.seal(upload.id)
    end_run(catalog, upload, RunState.FAILED)
    assert uploads.seal(upload.id).state is RunState.QUEUED


def test_an_abandoned_upload_leaves_nothing(uploads: Uploads, store: ObjectStore) -> None:
    upload = uploads.open({DATABASE: 3, VOLUME: PART_SIZE + 1}, {}, "ann")
    uploads.put(upload.id, DATABASE, b"abc")
    uploads.abandon(upload.id)
    with pytest.raises(NotFound):
        uploads.get(upload.id)
    assert list(store.entries("")) == []
    assert list(store.open_multiparts("")) == []


@pytest.mark.parametrize(
    "upload_id", ["", "..", "../lease", "20261123T001530-upload-00000000", "x" * 5000]
)
def test_an_unknown_upload_is_not_found(uploads: Uploads, upload_id: str) -> None:
    for call in (uploads.get, uploads.seal, uploads.abandon):
        with pytest.raises(NotFound, match="there is no upload"):
            call(upload_id)
