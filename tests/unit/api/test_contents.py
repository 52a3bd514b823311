"""What a backup holds, over HTTP: a folder at a time, and its tables."""

import gzip
import json
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.database.listing import DumpContent, Extent, ListedTable
from lcp_backup.jobs import contents as jobs_contents
from lcp_backup.telemetry import Telemetry
from lcp_backup.volume.listing import Listed
from lcp_backup_api import contents
from lcp_backup_api.schemas import ListedFile
from tests.support.api_client import Client
from tests.support.backups import BUCKET, publish
from tests.support.clock import SettableClock
from tests.support.inbox import Inbox
from tests.support.tars import Tar
from tests.support.volumes import Volumes

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def volumes(catalog: Catalog, clock: SettableClock, tmp_path: Path) -> Volumes:
    volumes = Volumes(catalog, clock, tmp_path / "data", tmp_path)
    library = volumes.folder / "document_library"
    (library / "20097").mkdir(parents=True)
    (library / "20097" / "1.0").write_bytes(b"text")
    (library / "r\udce9sum\udce9").write_bytes(b"1")
    (library / "base64:YQ").write_bytes(b"12")
    (library / "link").symlink_to("20097/1.0")
    os.utime(library / "20097" / "1.0", ns=(0, 1_795_722_928_841_029_426))
    return volumes


@pytest.fixture
def uploaded(catalog: Catalog, store: ObjectStore, telemetry: Telemetry) -> str:
    """A backup whose volume somebody packed in no order, without its folders."""
    raw = (
        Tar()
        .add("document_library/b/file", b"text", mtime=1)
        .add("document_library/a", b"1")
        .add("document_library/name", kind=tarfile.LNKTYPE, target="document_library/a")
        .raw()
    )
    inbox = Inbox(catalog, store, telemetry)
    return inbox.take_in(inbox.sent(volume=gzip.compress(raw))).backup_id


def files(call: Client, backup_id: str, query: str = "") -> dict[str, Any]:
    answer = call("GET", f"/backup/{backup_id}/files{query}", by="bob")
    assert answer.status == 200, answer.body
    listed: dict[str, Any] = answer.json()
    return listed


def test_a_folder_is_listed_with_what_lies_directly_in_it(call: Client, volumes: Volumes) -> None:
    made = volumes.back_up().id
    for query in ("", "?path=", "?path=/", "?path=."):
        top = files(call, made, query)
        assert (top["path"], top["next"]) == ("", None)
        assert [(it["name"], it["kind"]) for it in top["files"]] == [("document_library", "folder")]
    (file,) = files(call, made, "?path=./document_library/20097/")["files"]
    assert file == {
        "name": "1.0",
        "path": "document_library/20097/1.0",
        "kind": "file",
        "size": 4,
        "mtime": "2026-11-26T19:55:28.841029Z",
    }
    library = files(call, made, "?path=document_library")["files"]
    assert [(it["name"], it["kind"], it["size"]) for it in library] == [
        ("20097", "folder", 0),
        ("base64:YQ", "file", 2),
        ("link", "link", 0),
        ("r\\xe9sum\\xe9", "file", 1),
    ]


@pytest.mark.parametrize("ns", [10**21, -(10**21)])
def test_a_file_whose_time_is_no_date_is_listed_without_one(ns: int) -> None:
    # (Not every file system keeps such a time, but those on EFS may have one.)
    assert ListedFile.of(Listed("a", "file", 0, ns)).mtime is None


def test_every_path_of_a_list_is_taken_by_a_download_and_by_the_list_itself(
    call: Client, volumes: Volumes, started: list[tuple[str, dict[str, object]]]
) -> None:
    (volumes.folder / "base64:top").mkdir()
    (volumes.folder / "\udcff").mkdir()
    (volumes.folder / "\udcff" / "inner").write_bytes(b"")
    made = volumes.back_up().id
    paths = [it["path"] for it in files(call, made)["files"]]
    paths += [it["path"] for it in files(call, made, "?path=document_library")["files"]]
    assert {"./base64:top", "base64:_w"} < set(paths)
    for path in paths:
        assert call("GET", f"/backup/download/volume/{made}?path={quote(path)}").status == 503
        assert started[-1][1]["paths"] == [path]
    (inner,) = files(call, made, "?path=base64:_w")["files"]
    assert (inner["name"], inner["path"]) == ("inner", "base64:_y9pbm5lcg")


def test_a_list_goes_on_where_its_page_ended(
    call: Client, volumes: Volumes, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = volumes.back_up().id
    whole = files(call, made, "?path=document_library")["files"]

    def pages(limit: int) -> list[dict[str, Any]]:
        found, after = [], ""
        while True:
            query = f"?path=document_library&limit={limit}{after}"
            page = files(call, made, query)
            found += page["files"]
            if page["next"] is None:
                return found
            assert page["next"] == found[-1]["path"]
            after = f"&next={quote(page['next'])}"

    assert pages(1) == pages(3) == pages(4) == whole
    # An answer that would be too large for Lambda is a shorter page.
    monkeypatch.setattr(contents, "_MOST_TEXT", 1)
    assert len(files(call, made, "?path=document_library")["files"]) == 1
    assert pages(100) == whole


@pytest.mark.parametrize("sign", ['"', "\\", "\x01", "文"])
def test_a_page_of_the_longest_names_fits_into_an_answer_of_lambda(
    call: Client, monkeypatch: pytest.MonkeyPatch, sign: str
) -> None:
    name = f"{sign * (4000 // len(sign.encode()))}/{sign * (80 // len(sign.encode()))}"
    page = [Listed(name, "file", 1, 1)] * 1000, False
    monkeypatch.setattr(contents, "folder_page", lambda *_, **__: page)
    answer = call("GET", "/backup/acme-prd-202611230015/files?limit=1000", by="bob")
    # Lambda is handed the body as a string in a document of JSON.
    assert 2 << 20 < len(json.dumps(answer.body.decode(), ensure_ascii=False).encode()) < 6_000_000


def test_an_upload_is_listed_too_in_whatever_order_it_was_packed(
    call: Client, uploaded: str
) -> None:
    assert files(call, uploaded)["files"] == [
        {"name": "document_library", "path": "document_library", "kind": "folder", "size": 0,
         "mtime": None}
    ]  # fmt: skip
    library = files(call, uploaded, "?path=document_library")["files"]
    assert [(it["name"], it["kind"]) for it in library] == [
        ("a", "file"), ("b", "folder"), ("name", "second-name")
    ]  # fmt: skip
    (file,) = files(call, uploaded, "?path=document_library/b")["files"]
    assert (file["size"], file["mtime"]) == (4, "1970-01-01T00:00:01Z")


def test_tables_are_listed_with_their_sizes(call: Client, uploaded: str) -> None:
    answer = call("GET", f"/backup/{uploaded}/tables", by="bob")
    assert answer.status == 200
    listed = answer.json()
    assert listed["next"] is None
    names = [it["name"] for it in listed["tables"]]
    assert names == sorted(names)
    assert all(it["size"] > 0 and it["sql_size"] > 0 for it in listed["tables"])
    assert {it["kind"] for it in listed["tables"]} <= {"table", "view"}
    found, after = [], ""
    for _ in names:
        page = call("GET", f"/backup/{uploaded}/tables?limit=1{after}").json()
        found += page["tables"]
        after = f"&next={quote(page['next'] or '')}"
    assert found == listed["tables"]
    assert page["next"] is None


@pytest.mark.parametrize("tables", [["Nope"], ["user_"], [None, "Nope"]])
def test_a_restore_of_a_table_that_the_backup_lacks_is_refused_at_once(
    call: Client, uploaded: str, tables: list[str | None]
) -> None:
    known = call("GET", f"/backup/{uploaded}/tables").json()["tables"][0]["name"]
    body = {"tables": [it or known for it in tables]}
    answer = call("POST", f"/backup/restore/{uploaded}", body=body)
    assert answer.status == 404
    assert f"holds no table {tables[-1]!r}" in answer.json()["detail"]
    assert call("GET", "/backup/runs?kind=restore").json()["runs"] == []
    assert call("POST", f"/backup/restore/{uploaded}", body={"tables": [known]}).status == 202


def test_a_restore_of_a_view_by_name_is_refused_at_once(
    call: Client, uploaded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    extent = Extent(1, 1)
    view = ListedTable("ActiveGroup", is_view=True, has_triggers=False, extent=extent)
    monkeypatch.setattr(jobs_contents, "list_dump", lambda _: DumpContent([view], None, None))
    answer = call("POST", f"/backup/restore/{uploaded}", body={"tables": ["ActiveGroup"]})
    assert (answer.status, "'ActiveGroup' is a view" in answer.json()["detail"]) == (404, True)


@pytest.mark.parametrize(
    ("query", "status", "told"),
    [
        ("files?path=nothing", 404, "the backup's volume holds no folder 'nothing'"),
        ("files?path=document_library/link", 404, "is a link in the backup, and no folder"),
        ("files?path=../etc", 400, "no path below the data folder"),
        ("files?path=/etc", 400, "no path below the data folder"),
        ("files?path=base64:!", 400, "is no path"),
        ("files?next=document_library/link", 400, "not of a list of this folder"),
        ("files?limit=0", 400, "limit"),
        ("files?limit=1001", 400, "limit"),
        ("tables?limit=0", 400, "limit"),
    ],
)
def test_what_cannot_be_listed_is_told(
    call: Client, volumes: Volumes, query: str, status: int, told: str
) -> None:
    made = volumes.back_up().id
    answer = call("GET", f"/backup/{made}/{query}")
    assert answer.status == status
    assert told in answer.json()["detail"]


@pytest.mark.parametrize("what", ["files", "tables"])
def test_a_backup_that_is_not_there_has_nothing(call: Client, what: str) -> None:
    assert call("GET", f"/backup/acme-prd-202001010000/{what}").status == 404


@pytest.mark.parametrize(
    ("what", "index"), [("files", "volume.index"), ("tables", "database.index")]
)
def test_an_index_that_is_damaged_or_gone_is_told(
    call: Client, catalog: Catalog, clock: SettableClock, s3: "S3Client", what: str, index: str
) -> None:
    made = publish(catalog, clock())
    assert call("GET", f"/backup/{made}/{what}").status == 200
    s3.put_object(Bucket=BUCKET, Key=f"acme/prd/backups/{made}/{index}", Body=b"x" * 100)
    answer = call("GET", f"/backup/{made}/{what}")
    assert answer.status == 500
    assert answer.json()["type"].endswith(":backup-damaged")
    assert made in answer.json()["detail"]
    s3.delete_object(Bucket=BUCKET, Key=f"acme/prd/backups/{made}/{index}")
    answer = call("GET", f"/backup/{made}/{what}")
    assert (answer.status, answer.json()["detail"]) == (500, f"{index} of backup {made} is missing")
