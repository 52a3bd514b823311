"""Uploads over HTTP: the original service's form, and files of any size by presigned URLs."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import requests

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.errors import ArchiveError, BackupError
from lcp_backup.model import ArchiveKind, RunError, RunKind, RunState
from lcp_backup_api.backend import Backend
from local.api import Answer
from tests.support.api_calls import KINDS
from tests.support.api_client import Client

BOUNDARY = "----form"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
ANNOUNCED = {"database": {"size": 3}, "volume": {"size": 200 << 20}}


def form(**files: bytes) -> bytes:
    """A form as curl sends it."""
    fields = b"".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}.tgz"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
        + body
        + b"\r\n"
        for name, body in files.items()
    )
    return fields + f"--{BOUNDARY}--\r\n".encode()


def post_form(call: Client, **files: bytes) -> Answer:
    return call("POST", "/backup/upload", body=form(**files), headers=FORM)


def ending(catalog: Catalog, **end: object) -> Callable[[str, dict[str, object]], None]:
    """An upload function that ends at once."""

    def start(_name: str, event: dict[str, object]) -> None:
        run = catalog.runs.get(str(event["upload_id"]))
        catalog.runs.write(run.model_copy(update={"finished_at": catalog.now(), **end}))

    return start


def test_the_originals_form_is_answered_with_the_backup_it_became(
    backend: Backend, catalog: Catalog
) -> None:
    made = "acme-prd-202611230015"
    start = ending(catalog, state=RunState.SUCCEEDED, backup_id=made)
    patient = replace(backend, start=start, longest_wait=timedelta(seconds=5))
    # (The clock of the tests stands still: without an end this would wait for ever.)
    answer = post_form(Client(patient), database=b"abc", volume=b"defg")
    assert answer.status == 201
    assert answer.json()["backupId"] == made
    assert answer.headers["location"] == f"/backup/{made}"


def test_a_form_that_takes_longer_is_answered_with_its_run(
    call: Client, started: list[tuple[str, dict[str, object]]], store: ObjectStore
) -> None:
    answer = post_form(call, database=b"abc", volume=b"defg")
    assert answer.status == 202
    upload_id = answer.json()["run_id"]
    assert started == [("upload-function", {"upload_id": upload_id})]
    key = f"acme/prd/uploads/{upload_id}/volume"
    assert store.get(key).body == b"defg"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_only_a_form_whose_files_are_refused_is_refused_others_may_yet_be_taken_in(
    backend: Backend, catalog: Catalog, kind: type[BackupError]
) -> None:
    error = RunError(code=kind.code, message="the database is a PNG picture")
    start = ending(catalog, state=RunState.FAILED, error=error)
    patient = replace(backend, start=start, longest_wait=timedelta(seconds=5))
    answer = post_form(Client(patient), database=b"abc", volume=b"defg")
    if issubclass(kind, ArchiveError):
        assert answer.status == 422
        assert "PNG picture" in answer.json()["detail"]
        return
    run_id = answer.json()["run_id"]
    assert (answer.status, answer.json()["state"]) == (202, "failed")
    assert answer.headers["location"] == f"/backup/runs/{run_id}"
    assert catalog.uploads.get(run_id).files[ArchiveKind.DATABASE].size == 3


@pytest.mark.parametrize(
    ("files", "missing"), [({"database": b"x"}, "volume"), ({"volume": b"x"}, "database")]
)
def test_a_form_without_one_of_the_files_is_refused(
    call: Client, files: dict[str, bytes], missing: str
) -> None:
    answer = post_form(call, **files)
    assert answer.status == 400
    assert f"{missing}: it has none" in answer.json()["detail"]


def test_a_form_whose_file_is_only_a_name_says_how_curl_is_told(call: Client) -> None:
    named = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="database"\r\n\r\nd.tgz\r\n'
    answer = call("POST", "/backup/upload", body=named.encode() + form(volume=b"x"), headers=FORM)
    assert (answer.status, "put an @ before" in answer.json()["detail"]) == (400, True)


def test_a_form_that_lambda_would_not_take_is_sent_to_presigned_urls(call: Client) -> None:
    answer = post_form(call, database=b"x", volume=bytes(4_600_000))
    assert answer.status == 413
    assert "POST /backup/upload" in answer.json()["action"]


def test_an_upload_of_any_size_goes_straight_to_s3_and_is_then_taken_in(
    call: Client, started: list[tuple[str, dict[str, object]]]
) -> None:
    answer = call("POST", "/backup/upload", body=ANNOUNCED)
    assert answer.status == 201
    told = answer.json()
    upload_id = told["upload_id"]
    assert answer.headers["location"] == f"/backup/upload/{upload_id}"
    assert urlsplit(told["database"]["url"]).path.endswith(f"{upload_id}/database")
    assert told["volume"]["url"] is None
    assert sum(part["size"] for part in told["volume"]["parts"]) == 200 << 20
    missing = call("POST", f"/backup/upload/{upload_id}/complete")
    assert missing.status == 400
    assert started == []
    small = call("POST", "/backup/upload", body={"database": {"size": 3}, "volume": {"size": 4}})
    upload_id = small.json()["upload_id"]
    for kind, body in (("database", b"abc"), ("volume", b"defg")):
        assert requests.put(small.json()[kind]["url"], data=body, timeout=5).ok
    sealed = call("POST", f"/backup/upload/{upload_id}/complete")
    assert sealed.status == 202
    assert started == [("upload-function", {"upload_id": upload_id})]
    assert call("POST", f"/backup/upload/{upload_id}/complete").status == 409
    assert call("GET", f"/backup/runs/{upload_id}").json()["state"] == "queued"


def test_urls_can_be_had_again_until_the_upload_is_given_up(call: Client) -> None:
    upload_id = call("POST", "/backup/upload", body=ANNOUNCED).json()["upload_id"]
    again = call("GET", f"/backup/upload/{upload_id}?expires=60")
    assert again.status == 200
    assert "X-Amz-Expires=60" in again.json()["database"]["url"]
    assert call("DELETE", f"/backup/upload/{upload_id}").status == 204
    assert call("GET", f"/backup/upload/{upload_id}").status == 404


def test_nothing_is_taken_in_while_another_run_writes(
    call: Client, catalog: Catalog, started: list[tuple[str, dict[str, object]]]
) -> None:
    catalog.lease.acquire("r", RunKind.CREATE, None, timedelta(minutes=2))
    assert post_form(call, database=b"abc", volume=b"defg").status == 409
    assert started == []


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"{", "the body"),
        (b'{"database": {"size": 1}}', "volume"),
        (b'{"database": {"size": 0}, "volume": {"size": 1}}', "database.size"),
        (b'{"database": {"size": 1, "sha256": "x"}, "volume": {"size": 1}}', "database.sha256"),
        (b'{"database": {"size": 1}, "volume": {"size": 999999999999999999}}', "volume"),
    ],
)
def test_an_announcement_that_makes_no_sense_is_refused_by_name(
    call: Client, body: bytes, names: str
) -> None:
    answer = call("POST", "/backup/upload", body=body, headers={"content-type": "application/json"})
    assert answer.status == 400
    assert names in answer.json()["detail"]


def test_files_in_no_known_form_are_refused(call: Client) -> None:
    answer = call("POST", "/backup/upload", body=b"x", headers={"content-type": "text/plain"})
    assert answer.status == 415


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", form(database=b"a", volume=b"b")),
        ("multipart/form-data; boundary=another", form(database=b"a", volume=b"b")),
        (FORM["content-type"], b"no form"),
        (FORM["content-type"] + "; charset=undefined", form(database=b"a")),
        ("application/json", b"{"),
        ("application/json", b""),
    ],
)
def test_a_body_that_is_not_what_its_type_says_is_a_problem_of_its_own(
    call: Client, content_type: str, body: bytes
) -> None:
    answer = call("POST", "/backup/upload", body=body, headers={"content-type": content_type})
    assert answer.status == 400
    assert answer.json()["type"] == "urn:lcp-backup:problem:malformed-body"


def test_a_length_that_no_number_can_hold_is_too_large(call: Client) -> None:
    sent = {"content-length": "9" * 5000, **FORM}
    assert call("POST", "/backup/upload", headers=sent).status == 413
