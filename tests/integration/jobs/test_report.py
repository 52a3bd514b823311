"""A report names the rows and the files that do not agree, and says where documents are."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lcp_backup.aws import clients
from lcp_backup.database import documents
from lcp_backup.database.documents import DocumentTables
from lcp_backup.errors import ServerGaveUp, VolumeError
from lcp_backup.jobs import consistency
from lcp_backup.jobs.stored_backup import StoredVolume
from lcp_backup.model import NOTICES, RunKind
from lcp_backup.verification import Documents, Report
from tests.support.job_site import BACKUP_ID
from tests.support.liferay_site import (
    COMPANY,
    FOLDER,
    GROUP,
    OTHER_FOLDER,
    SHA1,
    SHA256,
    WRONG_SHA256,
    LiferaySite,
)
from tests.support.memory_s3 import MemoryS3, NoEvents
from tests.support.servers import FLAVOURS, DatabaseServer

LIBRARY = "document_library"
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def in_memory() -> Iterator[MemoryS3]:
    with pytest.MonkeyPatch.context() as patch:
        s3 = MemoryS3()
        patch.setattr(clients, "s3", lambda: s3)
        patch.setattr(clients, "events", NoEvents)
        patch.setenv("SSL_CERT_FILE", os.devnull)
        patch.setenv("PATH", os.environ["PATH"])
        yield s3


@pytest.fixture
def new_site(in_memory: MemoryS3, tmp_path: Path) -> Iterator[Callable[..., LiferaySite]]:
    made: list[LiferaySite] = []

    def make(server: DatabaseServer, *, newest: bool = True) -> LiferaySite:
        in_memory.objects.clear()
        site = LiferaySite(server, tmp_path / str(next(_NUMBERS)), "")
        os.environ["PATH"] = site.path
        site.make(newest=newest)
        made.append(site)
        return site

    yield make
    for site in made:
        site.drop()


def differences(site: LiferaySite) -> set[tuple[str, str, object, object]]:
    _, lines = site.reported()
    return {
        (it["kind"], it["path"].removeprefix(f"{LIBRARY}/"), it.get("table"), it.get("id"))
        for it in lines
    }


def fill(site: LiferaySite) -> None:
    """Documents and images of every kind, with a difference of each."""
    home, folder = f"{COMPANY}/{GROUP}", f"{COMPANY}/{FOLDER}"
    site.document(101, {"checksum": SHA256})
    site.file(f"{home}/101/1.0")
    site.document(102, {}, {"version": "1.1", "storeUUID": "u-1"}, folder=FOLDER)
    site.file(f"{folder}/102/1.0")
    site.file(f"{folder}/102/1.1~u-1")
    site.document(103, {})
    site.document(104, {})
    site.file(f"{home}/104/1.0", b"another size")
    site.document(105, {"checksum": WRONG_SHA256})
    site.file(f"{home}/105/1.0")
    site.document(106, {"storeUUID": "u-2"})
    site.file(f"{home}/106/1.0")
    # A publication moves the document to another folder, where its new version lies.
    site.document(107, {}, {"version": "1.1", "ctCollectionId": 5}, folder=FOLDER)
    entry = {"fileEntryId": 107, "groupId": GROUP, "companyId": COMPANY, "folderId": OTHER_FOLDER}
    site.insert("DLFileEntry", [{**entry, "name": "107", "version": "1.1", "ctCollectionId": 5}])
    site.file(f"{folder}/107/1.0")
    site.file(f"{COMPANY}/{OTHER_FOLDER}/107/1.1")
    site.document(108)
    site.document(109, {})
    site.file(f"{home}/109/1.0")
    images = {201: COMPANY, 202: COMPANY, 203: COMPANY}
    site.insert(
        "Image",
        (
            {"imageId": number, "companyId": company, "type_": "png", "size_": 11}
            for number, company in images.items()
        ),
    )
    site.file(f"{COMPANY}/0/201.png/1.0")
    site.file("0/0/202.png/1.0")
    site.file(f"{home}/999/1.0")
    site.file(f"{COMPANY}/0/204.png/1.0")
    site.file(f"{home}/101/PWC", newer=True)
    site.file(f"{COMPANY}/0/document_preview/{GROUP}/101/1010/1010-1.png/1.0")
    site.file(f"{COMPANY}/0/knowledgebase/articles/1/a.txt/1.0")
    site.file("README.txt")


@pytest.mark.parametrize("flavour", FLAVOURS, ids=str)
def test_a_report_names_row_and_path_of_every_difference(
    flavour: str, request: pytest.FixtureRequest, new_site: Callable[..., LiferaySite]
) -> None:
    site = new_site(request.getfixturevalue(flavour))
    fill(site)
    site.env["LCP_BACKUP_EXCLUDE_PATHS"] = f"/{LIBRARY}/*/*/109/"
    site.create()
    answer = site.report()
    home = f"{COMPANY}/{GROUP}"
    assert differences(site) == {
        ("missing", f"{home}/103/1.0", "DLFileVersion", 1030),
        ("missing", f"{home}/108/1.0", "DLFileEntry", 108),
        ("missing", f"{COMPANY}/0/203.png/1.0", "Image", 203),
        ("size", f"{home}/104/1.0", "DLFileVersion", 1040),
        ("checksum", f"{home}/105/1.0", "DLFileVersion", 1050),
        ("unnamed", f"{home}/999/1.0", None, None),
        ("unnamed", f"{COMPANY}/0/204.png/1.0", None, None),
    }
    report, lines = site.reported()
    (size,) = (it for it in lines if it["kind"] == "size")
    assert (size["title"], size["row_size"], size["file_size"]) == ("Document 104", 11, 12)
    assert (report.documents, report.store) == (Documents.VOLUME, "FileSystemStore")
    assert (report.rows, report.files) == (14, 16)
    assert (report.newer, report.generated, report.other, report.left_out) == (1, 1, 1, 1)
    assert (report.checksums, report.listed, answer["differences"]) == (2, 7, 7)
    run = site.catalog.runs.get(answer["run_id"])
    assert (run.kind, [it.code for it in run.warnings]) == (RunKind.REPORT, ["documents-differ"])
    assert not named_as_ours(site), "nothing stays on the server"
    # A verification finds out the same.
    site.verify()
    found = site.verification()
    assert found is not None
    assert found.report is not None
    said = {"run_id": "", "made_at": report.made_at}
    assert found.report.model_copy(update=said) == report.model_copy(update=said)


def named_as_ours(site: LiferaySite) -> tuple[tuple[object, ...], ...]:
    return site.server.execute(
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'lcp\\_ver%'"
    )


def test_the_advanced_store_of_an_early_version_is_recognised(
    mariadb: DatabaseServer, new_site: Callable[..., LiferaySite]
) -> None:
    site = new_site(mariadb, newest=False)
    site.document(1301, {"checksum": SHA1})
    site.document(20987, {}, name="DLFE-20987.PDF")
    site.document(1302, {})
    site.insert("Image", [{"imageId": 54321, "companyId": COMPANY, "type_": "gif", "size_": 11}])
    home = f"{COMPANY}/{GROUP}"
    site.file(f"{home}/13/1301.afsh/1301_1.0.afsh")
    site.file(f"{home}/DLFE/20/98/20987.pdf/20987_1.0.pdf")
    site.file(f"{COMPANY}/0/54/32/54321.gif/54321_1.0.gif")
    site.file(f"{home}/13/1303.afsh/1303_1.0.afsh")
    site.create()
    site.report()
    assert differences(site) == {
        ("missing", f"{home}/13/1302.afsh/1302_1.0.afsh", "DLFileVersion", 13020),
        ("unnamed", f"{home}/13/1303.afsh/1303_1.0.afsh", None, None),
    }
    report, _ = site.reported()
    assert (report.store, report.rows, report.checksums) == ("AdvancedFileSystemStore", 4, 0)


def said_of(site: LiferaySite) -> Report:
    site.create()
    site.report()
    report, lines = site.reported()
    assert lines == []
    return report


def in_a_bucket(site: LiferaySite) -> None:
    site.document(101, {})
    site.file("README.txt")


def in_the_database(site: LiferaySite) -> None:
    in_a_bucket(site)
    site.insert("DLContent", [{"contentId": 1, "data_": b"eleven byte"}])


def of_another_site(site: LiferaySite) -> None:
    site.document(101, {})
    site.file(f"{COMPANY}/{GROUP}/7/1.0")


def of_no_liferay(site: LiferaySite) -> None:
    site.execute(f"ALTER TABLE {site.name}.DLFileVersion DROP COLUMN size_")


def without_the_tables(site: LiferaySite) -> None:
    site.execute(f"DROP TABLE {site.name}.DLFileVersion")


def rows_left_out(site: LiferaySite) -> None:
    site.document(101, {})
    site.env["LCP_BACKUP_EXCLUDE_TABLES"] = "dlfileversion"


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (in_a_bucket, Documents.ELSEWHERE),
        (in_the_database, Documents.DATABASE),
        (of_another_site, Documents.ELSEWHERE),
        (of_no_liferay, Documents.NOT_LIFERAY),
        (without_the_tables, Documents.NOT_LIFERAY),
        (rows_left_out, Documents.LEFT_OUT),
    ],
)
def test_a_report_says_where_documents_are_if_not_in_the_volume(
    make: Callable[[LiferaySite], None],
    expected: Documents,
    mariadb: DatabaseServer,
    new_site: Callable[..., LiferaySite],
) -> None:
    site = new_site(mariadb)
    make(site)
    report = said_of(site)
    assert (report.documents, report.differences) == (expected, 0)
    run = site.catalog.runs.get(report.run_id)
    told = {"documents-elsewhere"} if expected is Documents.ELSEWHERE else set()
    assert {it.code for it in run.warnings} == told <= NOTICES.keys()


def test_rows_are_read_page_by_page(
    mariadb: DatabaseServer,
    new_site: Callable[..., LiferaySite],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(documents, "_PAGE", 2)
    site = new_site(mariadb)
    for number in range(101, 106):
        site.document(number, {})
        site.file(f"{COMPANY}/{GROUP}/{number}/1.0")
    report = said_of(site)
    assert (report.rows, report.differences) == (5, 0)


def test_an_uploaded_volume_need_not_be_in_order(
    mariadb: DatabaseServer,
    new_site: Callable[..., LiferaySite],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = new_site(mariadb)
    for number in (101, 102, 103):
        site.document(number, {})
        site.file(f"{COMPANY}/{GROUP}/{number}/1.0")
    site.create()
    key = f"acme/prd/backups/{BACKUP_ID}/manifest.json"
    site.store.put(key, site.store.get(key).body.replace(b'"Manual"', b'"Uploaded"'))
    real = StoredVolume.members
    monkeypatch.setattr(StoredVolume, "members", lambda it: reversed(list(real(it))))
    site.report()
    report, _ = site.reported()
    assert (report.rows, report.files, report.differences) == (3, 3, 0)


def test_without_room_to_sort_all_else_is_verified(
    mariadb: DatabaseServer,
    new_site: Callable[..., LiferaySite],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise VolumeError("no room to sort")

    site = new_site(mariadb)
    site.create()
    monkeypatch.setattr(consistency, "in_order", full)
    run = site.catalog.runs.get(site.verify()["run_id"])
    assert [it.code for it in run.warnings] == ["report-left-out"]
    found = site.verification()
    assert found is not None
    assert (found.verdict, found.report) == ("verified", None)


def test_a_server_that_cannot_answer_says_nothing_of_the_backup(
    mariadb: DatabaseServer,
    new_site: Callable[..., LiferaySite],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = new_site(mariadb)
    site.document(101, {})
    site.create()
    real = DocumentTables._versions

    def hang_up(tables: DocumentTables, *page: Any) -> Any:
        site.server.execute(f"KILL {tables.connection.thread_id()}")  # type: ignore[no-untyped-call]
        return real(tables, *page)

    monkeypatch.setattr(DocumentTables, "_versions", hang_up)
    with pytest.raises(ServerGaveUp, match="rows that name documents could not be read"):
        site.verify()
    found = site.verification()
    assert found is not None
    assert found.verdict == "could-not-verify"
    assert site.catalog.reports.find(site.catalog.backups.get(BACKUP_ID)) is None
