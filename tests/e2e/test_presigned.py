"""Presigned URLs of an upload, against an S3 that checks what was signed: what they can do."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from tests.support.deployed import Deployed

SMALL, LARGE = 100, (16 << 20) + 3


@dataclass
class Sent:
    """An upload of a small file and of one in two parts, all of which has arrived."""

    deployed: Deployed
    opened: dict[str, Any]
    urls: dict[str, int] = field(default_factory=dict)
    """The URLs, and how many bytes each is for."""

    @property
    def id(self) -> str:
        return str(self.opened["upload_id"])

    def stored(self, kind: str) -> bytes:
        key = f"{self.deployed.described['prefix']}/uploads/{self.id}/{kind}"
        answer = self.deployed.s3.get_object(Bucket=self.deployed.described["bucket"], Key=key)
        body: bytes = answer["Body"].read()
        return body


def put(url: str, body: bytes) -> int:
    return requests.put(url, data=body, timeout=60).status_code


@pytest.fixture
def sent(deployed: Deployed) -> Sent:
    sizes = {"database": {"size": SMALL}, "volume": {"size": LARGE}}
    sent = Sent(deployed, deployed.admin.post("/backup/upload", sizes).json())
    sent.urls[sent.opened["database"]["url"]] = SMALL
    for part in sent.opened["volume"]["parts"]:
        sent.urls[part["url"]] = part["size"]
    assert sorted(sent.urls.values()) == [3, SMALL, 16 << 20]
    for url, size in sent.urls.items():
        assert put(url, bytes(size)) == 200
    return sent


def test_a_url_takes_exactly_as_many_bytes_as_were_announced(sent: Sent) -> None:
    for url, size in sent.urls.items():
        for wrong in (size - 1, size + 1):
            assert put(url, bytes(wrong)) == 403
        assert put(url, bytes(size)) == 200, "it may come again"
    assert sent.deployed.admin.call("DELETE", f"/backup/upload/{sent.id}").status == 204


def test_after_the_seal_no_url_changes_anything(sent: Sent) -> None:
    # Nothing takes it in, so that what was sealed can be looked at.
    function = sent.deployed.described["functions"]["upload"]
    lambda_ = sent.deployed.stack.client("lambda")
    lambda_.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    try:
        assert sent.deployed.admin.post(f"/backup/upload/{sent.id}/complete").status == 202
        for url, size in sent.urls.items():
            assert put(url, b"x" * size) == 404
        assert sent.stored("database") == bytes(SMALL)
        assert sent.stored("volume") == bytes(LARGE)
    finally:
        lambda_.delete_function_concurrency(FunctionName=function)
    assert "refused" in sent.deployed.stack.invoke("upload", {"upload_id": sent.id})


def test_after_an_upload_was_given_up_its_urls_bring_nothing_back(sent: Sent) -> None:
    assert sent.deployed.admin.call("DELETE", f"/backup/upload/{sent.id}").status == 204
    for url, size in sent.urls.items():
        assert put(url, bytes(size)) == 404
    assert [key for key in sent.deployed.keys("uploads/") if sent.id in key] == []


def test_a_url_is_for_its_own_part_of_its_own_file(sent: Sent) -> None:
    url = sent.opened["database"]["url"]
    assert "partNumber=1" in url
    assert put(url.replace("partNumber=1", "partNumber=2"), bytes(SMALL)) == 403
    assert put(url.replace("/database?", "/upload.json?"), bytes(SMALL)) == 403
    assert sent.deployed.admin.call("DELETE", f"/backup/upload/{sent.id}").status == 204
