"""Archives that fit no answer: by presigned URLs, in parts, for a limited time."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lcp_backup.uploads import PART_SIZE
from local.api import curl
from local.stack import PROJECT
from tests.support.deployed import Deployed

LARGE = 300 << 20
"""Bytes; many times what travels in one piece."""

_FAILS_ONCE = """#!/bin/sh
# The third PUT is refused, as by a URL whose time is over.
case "$*" in *"-X PUT"*)
  echo put >> {log}
  [ "$(wc -l < {log})" != 3 ] || exit 22 ;;
esac
exec {curl} "$@"
"""


@pytest.fixture(scope="module")
def files(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small database and a large volume, as another backup tool makes them."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "document_library").mkdir()
    chance = random.Random(7)
    with (folder / "document_library" / "large.bin").open("wb") as file:
        for _ in range(LARGE >> 20):
            file.write(chance.randbytes(1 << 20))
    # Random bytes: to try to make them smaller would only take time.
    pack = ("tar", "--create", "--use-compress-program", "pigz -0", "--file", "volume.tgz")
    subprocess.run([*pack, "document_library"], cwd=folder, check=True)
    backup_id = deployed.stack.invoke("create", {"time": "2026-11-21T01:00:00Z"})["backup_id"]
    database = folder / "database.tgz"
    deployed.viewer.call("GET", f"/backup/download/database/{backup_id}", "--output", database)
    return folder


@pytest.fixture(scope="module")
def backup_id(deployed: Deployed, files: Path) -> Iterator[str]:
    """The backup that docs/upload.sh makes of these files, though a part of them fails once."""
    admin = deployed.stack.users["admin"]
    log = files / "puts"
    shim = files / "bin" / "curl"
    shim.parent.mkdir()
    shim.write_text(_FAILS_ONCE.format(log=log, curl=shutil.which("curl")))
    shim.chmod(0o755)
    done = subprocess.run(
        ["sh", PROJECT / "docs" / "upload.sh", deployed.admin.url, "database.tgz", "volume.tgz"],
        cwd=files,
        check=False,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "LCP_USER": f"{admin.name}:{admin.password}",
            "PATH": f"{shim.parent}:{os.environ['PATH']}",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    parts = 1 + -(-(files / "volume.tgz").stat().st_size // PART_SIZE)
    assert len(log.read_text().split()) == parts + 1, "each part once, and the one that failed"
    run_id = done.stdout.split()[1].rstrip(":")
    made = str(deployed.viewer.call("GET", f"/backup/runs/{run_id}").json()["backup_id"])
    yield made
    # A restore of the newest backup must not bring this site to another test.
    assert deployed.admin.call("DELETE", f"/backup/{made}").status == 204
    assert deployed.viewer.call("GET", f"/backup/{made}").status == 404


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_large_volume_goes_up_in_parts_by_the_script_and_comes_down_by_curl_l(
    deployed: Deployed, files: Path, backup_id: str, tmp_path: Path
) -> None:
    path = f"/backup/download/volume/{backup_id}"
    told = deployed.viewer.call("GET", path, "--header", "Accept: application/json").json()
    file = tmp_path / told["file_name"]
    answer = deployed.viewer.call("GET", path, "--location", "--output", file)
    assert answer.status == 200
    assert f'filename="{file.name}"' in answer.headers["content-disposition"]
    assert (file.stat().st_size, sha256(file)) == (told["size"], told["sha256"])
    with tarfile.open(file) as archive:
        archive.extract("document_library/large.bin", tmp_path, filter="data")
    large = Path("document_library", "large.bin")
    assert sha256(tmp_path / large) == sha256(files / large)


def test_without_l_curl_gets_a_text_that_says_how_and_not_an_empty_file(
    deployed: Deployed, backup_id: str
) -> None:
    for method in ("GET", "POST"):
        answer = deployed.viewer.call(method, f"/backup/download/volume/{backup_id}")
        assert answer.status == 303
        assert "X-Amz-Signature=" in answer.headers["location"]
        assert b"curl -L" in answer.body


def signed(deployed: Deployed, backup_id: str, seconds: int) -> str:
    path = f"/backup/download/volume/{backup_id}?expires={seconds}"
    answer = deployed.viewer.call("GET", path, "--header", "Accept: application/json")
    url = answer.json()["url"]
    assert isinstance(url, str)
    return url


def status(url: str) -> int:
    return curl(url, "--output", os.devnull).status


def test_a_presigned_url_ends_with_its_time(deployed: Deployed, backup_id: str) -> None:
    url = signed(deployed, backup_id, 2)
    assert status(url) == 200
    end = time.monotonic() + 30
    while (answer := status(url)) == 200 and time.monotonic() < end:
        time.sleep(0.2)
    assert answer == 403
    assert status(signed(deployed, backup_id, 60)) == 200, "only the time has run out"


def test_a_presigned_url_with_one_byte_changed_opens_nothing(
    deployed: Deployed, backup_id: str
) -> None:
    url = signed(deployed, backup_id, 60)
    start = url.index("X-Amz-Signature=") + len("X-Amz-Signature=")
    places = {
        "signature": start,
        "key": url.index(backup_id) + len(backup_id) - 1,
        "expiry": url.index("X-Amz-Expires=60") + len("X-Amz-Expires="),
        "file name": url.index("volume.tgz", url.index("?")),
    }
    told = {}
    for what, place in places.items():
        other = "1" if url[place] != "1" else "2"
        told[what] = status(url[:place] + other + url[place + 1 :])
    assert told == dict.fromkeys(places, 403)


def test_a_url_to_download_by_cannot_write_and_one_to_upload_by_cannot_read(
    deployed: Deployed, backup_id: str
) -> None:
    download = signed(deployed, backup_id, 60)
    written = curl("--request", "PUT", "--data-binary", "x", download)
    assert written.status == 403
    opened = deployed.admin.post(
        "/backup/upload", {"database": {"size": 4}, "volume": {"size": 4}}
    ).json()
    target = opened["database"]["url"]
    assert curl("--request", "PUT", "--data-binary", "abcd", target).status == 200
    assert status(target) == 403
    abandoned = deployed.admin.call("DELETE", f"/backup/upload/{opened['upload_id']}")
    assert abandoned.status == 204
    assert [key for key in deployed.keys("uploads/") if opened["upload_id"] in key] == []


def test_urls_longer_than_an_hour_are_not_given(deployed: Deployed, backup_id: str) -> None:
    path = f"/backup/download/volume/{backup_id}?expires=3601"
    answer = deployed.viewer.call("GET", path)
    assert answer.status == 400
    assert json.loads(answer.body)["type"].startswith("urn:lcp-backup:problem:")


def test_an_upload_that_lacks_bytes_is_not_completed_and_can_be_gone_on_with_or_given_up(
    deployed: Deployed, files: Path, tmp_path: Path
) -> None:
    volume = (files / "volume.tgz").read_bytes()
    database = (files / "database.tgz").read_bytes()
    sizes = {"database": {"size": len(database)}, "volume": {"size": len(volume)}}
    opened = deployed.admin.post("/backup/upload", sizes).json()
    upload = f"/backup/upload/{opened['upload_id']}"
    first, *others = opened["volume"]["parts"]
    sent = tmp_path / "part"
    for part in ({"offset": 0, "size": len(database), "url": opened["database"]["url"]}, *others):
        content = volume if part in others else database
        sent.write_bytes(content[part["offset"] :][: part["size"]])
        assert curl("--upload-file", sent, part["url"]).status == 200
    refused = deployed.admin.post(f"{upload}/complete")
    assert (refused.status, b"part 1" in refused.body) == (400, True)

    signed_anew = deployed.admin.call("GET", upload).json()
    assert signed_anew["database"]["arrived"]
    again, *rest = signed_anew["volume"]["parts"]
    assert (again["offset"], again["size"], again["arrived"]) == (0, first["size"], False)
    assert all(part["arrived"] for part in rest)
    # Cut off: the URL is for as many bytes as were announced.
    sent.write_bytes(volume[:1000])
    assert curl("--upload-file", sent, again["url"]).status == 403
    refused = deployed.admin.post(f"{upload}/complete")
    assert (refused.status, b"and 0 found" in refused.body) == (400, True)

    assert deployed.admin.call("DELETE", upload).status == 204
    assert deployed.admin.call("GET", upload).status == 404
    assert [key for key in deployed.keys("uploads/") if opened["upload_id"] in key] == []
    open_ones = deployed.s3.list_multipart_uploads(Bucket=deployed.described["bucket"])
    left = [it["Key"] for it in open_ones.get("Uploads", []) if opened["upload_id"] in it["Key"]]
    assert left == []
