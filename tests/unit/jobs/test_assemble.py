"""A download is one plain archive of exactly what was asked for, wherever that lies."""

import gzip
import io
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lcp_backup.archive.read import OpenArchive, read_segments_of
from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.catalog.downloads import download_name
from lcp_backup.errors import ArchiveDamaged, InvalidRequest, NotFound
from lcp_backup.jobs.assemble import Assembled
from lcp_backup.jobs.retirement import delete_backup
from lcp_backup.jobs.stored_backup import StoredBackup
from lcp_backup.model import ArchiveKind, Manifest, Run, RunKind, RunState
from lcp_backup.requests import DownloadRequest
from lcp_backup.telemetry import Telemetry
from lcp_backup.volume import carry
from lcp_backup.volume.paths import path_text
from tests.support.assemble_machine import AssembleMachine
from tests.support.backups import BUCKET
from tests.support.clock import SettableClock
from tests.support.inbox import Inbox
from tests.support.tars import Tar
from tests.support.trees import Member, odd_tree, snapshot
from tests.support.volumes import Volumes, refer_to_every_size

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DATABASE, VOLUME = ArchiveKind.DATABASE, ArchiveKind.VOLUME
MIB = 1 << 20
NOBODY = 65534
DUMP = b"""-- MySQL dump 10.13  Distrib 8.4.6, for Linux (x86_64)
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!50503 SET NAMES utf8mb4 */;

--
-- Current Database: `lportal`
--

/*!40000 DROP DATABASE IF EXISTS `lportal`*/;

CREATE DATABASE /*!32312 IF NOT EXISTS*/ `lportal` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;

USE `lportal`;
DROP TABLE IF EXISTS `Group_`;
CREATE TABLE `Group_` (`groupId` bigint NOT NULL, PRIMARY KEY (`groupId`));
LOCK TABLES `Group_` WRITE;
INSERT INTO `Group_` VALUES (1),(2);
UNLOCK TABLES;
DROP TABLE IF EXISTS `User_`;
CREATE TABLE `User_` (`userId` bigint NOT NULL, PRIMARY KEY (`userId`));
LOCK TABLES `User_` WRITE;
INSERT INTO `User_` VALUES (7);
UNLOCK TABLES;
/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;
-- Dump completed on 2026-11-20  0:15:01
"""


class Downloader:
    """Has downloads assembled: by one function, or volumes by workers."""

    def __init__(self, catalog: Catalog, telemetry: Telemetry, workers: int) -> None:
        self.catalog = catalog
        self._workers = workers
        self._machine = AssembleMachine(catalog, telemetry)

    def __call__(
        self,
        backup_id: str,
        kind: ArchiveKind = VOLUME,
        *,
        paths: tuple[str, ...] = (),
        tables: tuple[str, ...] = (),
        run_id: str | None = None,
    ) -> Assembled:
        request = DownloadRequest(
            backup_id=backup_id,
            kind=kind,
            paths=paths,
            tables=tables,
            run_id=run_id,
            workers=self._workers if kind is VOLUME else None,
        )
        assembled = self._machine.ask(request)
        if assembled.bytes is not None:
            return assembled
        self._machine.execute()
        found = self.catalog.downloads.find(assembled.name)
        assert found is not None
        assert self._machine.work == []
        return replace(assembled, bytes=found.size)

    def bytes_of(self, assembled: Assembled) -> bytes:
        found = self.catalog.downloads.find(assembled.name)
        assert found is not None
        assert found.size == assembled.bytes
        return found.read(0, found.size)

    def unpacked(self, assembled: Assembled, out: Path) -> Path:
        """What GNU tar makes of it."""
        out.mkdir()
        command = ["tar", "--extract", "--gzip", "--preserve-permissions", "--numeric-owner"]
        body = self.bytes_of(assembled)
        subprocess.run([*command, "-C", out], input=body, check=True)
        return out

    def last_run(self) -> Run:
        return next(self.catalog.runs.all())


@pytest.fixture
def volumes(
    catalog: Catalog, clock: SettableClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Volumes:
    refer_to_every_size(monkeypatch)
    return Volumes(catalog, clock, tmp_path / "data", tmp_path)


@pytest.fixture
def library(volumes: Volumes) -> Path:
    library = volumes.folder / "document_library"
    library.mkdir()
    return library


@pytest.fixture(params=[1, 3], ids=["alone", "by-workers"])
def download(catalog: Catalog, telemetry: Telemetry, request: pytest.FixtureRequest) -> Downloader:
    return Downloader(catalog, telemetry, request.param)


def write(file: Path, size: int = 10_000) -> None:
    file.write_bytes(os.urandom(size))


def rounded(members: dict[str, Member]) -> dict[str, Member]:
    """As Python's tarfile sets times: with the digits that a float has, and not of links."""
    return {
        name: it._replace(mtime_ns=0 if isinstance(it.content, str) else round(it.mtime_ns, -6))
        for name, it in members.items()
    }


def changed_twice(volumes: Volumes, library: Path) -> list[Manifest]:
    """Three backups, of which the last lies in three archives beside what it does not hold."""
    for number in range(8):
        write(library / f"{number}", MIB // 2)
    write(library / "large", 9 * MIB + 777)
    made = [volumes.back_up()]
    write(library / "0")
    (library / "1").unlink()
    write(library / "large-and-new", 9 * MIB)
    made.append(volumes.back_up())
    write(library / "2", 3 * MIB)
    (library / "0").unlink()
    made.append(volumes.back_up())
    assert len(made[-1].sources) == 2
    return made


def test_an_increment_is_one_archive_of_the_whole_folder(
    volumes: Volumes, library: Path, download: Downloader, tmp_path: Path
) -> None:
    odd_tree(volumes.folder / "odd")
    made = changed_twice(volumes, library)
    assembled = download(made[-1].id)
    assert snapshot(download.unpacked(assembled, tmp_path / "out")) == snapshot(volumes.folder)
    body = download.bytes_of(assembled)
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        names = archive.getnames()
        archive.extractall(tmp_path / "by-python", filter="fully_trusted")  # noqa: S202 -- our own
    assert len(names) == len(set(names))
    assert rounded(snapshot(tmp_path / "by-python")) == rounded(snapshot(volumes.folder))
    run = download.last_run()
    assert (run.kind, run.state, run.backup_id) == (
        RunKind.DOWNLOAD,
        RunState.SUCCEEDED,
        made[2].id,
    )
    assert run.result["bytes"] == len(body)


def test_whoever_unpacks_it_without_being_root_gets_what_lies_in_read_only_folders(
    volumes: Volumes, library: Path, download: Downloader, tmp_path: Path
) -> None:
    below = library / "read-only"
    below.mkdir()
    write(below / "old", MIB)
    volumes.back_up()
    write(below / "new", MIB)
    below.chmod(0o555)
    os.utime(below, ns=(1, 1_600_000_000 * 10**9))
    assembled = download(volumes.back_up().id)
    out = tmp_path / "out"
    out.mkdir()
    os.chown(out, NOBODY, NOBODY)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    subprocess.run(
        [*as_nobody, "tar", "--extract", "--gzip", "-C", out],
        input=download.bytes_of(assembled),
        check=True,
    )
    unpacked = out / "document_library" / "read-only"
    assert {it.name for it in unpacked.iterdir()} == {"old", "new"}
    assert unpacked.stat().st_mode & 0o777 == 0o555
    assert unpacked.stat().st_mtime == 1_600_000_000


def test_whole_segments_are_copied_and_the_others_hold_nothing_that_was_deleted(
    volumes: Volumes, library: Path, download: Downloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    (library / "deleted").write_bytes(b"deleted, and never seen again " * 1000)
    write(library / "beside")
    write(library / "large", 25 * MIB)
    volumes.back_up()
    (library / "deleted").unlink()
    last = volumes.back_up()
    fetched: list[int] = []
    real = read_segments_of

    def noting(archive_of, segments, *, threads):  # type: ignore[no-untyped-def]
        for segment, raw in real(archive_of, segments, threads=threads):
            fetched.append(segment.raw_size)
            yield segment, raw

    monkeypatch.setattr(carry, "read_segments_of", noting)
    body = download.bytes_of(download(last.id))
    assert sum(fetched) < 9 * MIB
    assert b"never seen again" not in gzip.decompress(body)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("document_library/large",), {"document_library/large"}),
        (("./document_library/2/",), {"document_library/2"}),
        (
            ("document_library/large-and-new", "document_library/7"),
            {"document_library/large-and-new", "document_library/7"},
        ),
    ],
)
def test_a_selection_holds_what_was_asked_for_and_nothing_else(
    volumes: Volumes,
    library: Path,
    download: Downloader,
    tmp_path: Path,
    paths: tuple[str, ...],
    expected: set[str],
) -> None:
    made = changed_twice(volumes, library)
    out = download.unpacked(download(made[-1].id, paths=paths), tmp_path / "out")
    files = {str(it.relative_to(out)) for it in out.rglob("*") if it.is_file()}
    assert files == expected
    for name in expected:
        assert (out / name).read_bytes() == (volumes.folder / name).read_bytes()


def test_a_document_of_yesterday_is_had_as_it_was_yesterday(
    volumes: Volumes, library: Path, download: Downloader, tmp_path: Path
) -> None:
    made = changed_twice(volumes, library)
    out = download.unpacked(
        download(made[0].id, paths=("document_library/0",)), tmp_path / "yesterday"
    )
    assert (out / "document_library" / "0").stat().st_size == MIB // 2


def test_a_name_that_is_no_text_is_had_by_its_bytes(
    volumes: Volumes, library: Path, download: Downloader, tmp_path: Path
) -> None:
    write(library / "r\udce9sum\udce9")
    write(library / "other")
    made = volumes.back_up()
    path = path_text("document_library/r\udce9sum\udce9")
    out = download.unpacked(download(made.id, paths=(path,)), tmp_path / "out")
    assert [it.name for it in (out / "document_library").iterdir()] == ["r\udce9sum\udce9"]


def test_a_second_call_finds_what_the_first_made(
    volumes: Volumes, library: Path, download: Downloader, s3: "S3Client"
) -> None:
    made = changed_twice(volumes, library)
    first = download(made[-1].id)
    key = f"acme/prd/downloads/{first.name}"
    etag = s3.head_object(Bucket=BUCKET, Key=key)["LastModified"]
    queued = download.catalog.runs.queue(
        download.catalog.runs.new_id(RunKind.DOWNLOAD), RunKind.DOWNLOAD, made[-1].id
    )
    assert download(made[-1].id, run_id=queued.id) == first
    assert s3.head_object(Bucket=BUCKET, Key=key)["LastModified"] == etag
    assert download.catalog.runs.get(queued.id).state is RunState.SUCCEEDED


def test_two_runs_of_the_same_download_do_not_disturb_each_other(
    volumes: Volumes, library: Path, download: Downloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = changed_twice(volumes, library)
    first = download(made[-1].id)
    body = download.bytes_of(first)
    real = download.catalog.downloads.find
    calls = iter([True])  # as if it was not there yet
    monkeypatch.setattr(
        download.catalog.downloads,
        "find",
        lambda name: None if next(calls, False) else real(name),
    )
    assert download(made[-1].id) == first
    assert download.bytes_of(first) == body


def test_what_is_not_there_fails_the_run_and_leaves_nothing(
    volumes: Volumes, library: Path, download: Downloader, store: ObjectStore
) -> None:
    write(library / "a")
    made = volumes.back_up()
    told = "'document_library/nothing'"
    with pytest.raises(NotFound, match=told):
        download(made.id, paths=("document_library/nothing",))
    run = download.last_run()
    assert run.state is RunState.FAILED
    assert run.error is not None
    assert told in run.error.message
    assert list(store.entries("acme/prd/downloads/")) == []
    assert list(store.open_multiparts("acme/prd/downloads/")) == []


def test_a_missing_source_is_named(
    volumes: Volumes, library: Path, download: Downloader, s3: "S3Client"
) -> None:
    made = changed_twice(volumes, library)
    s3.delete_object(Bucket=BUCKET, Key=f"acme/prd/backups/{made[0].id}/volume.tgz")
    with pytest.raises(ArchiveDamaged, match=f"volume.tgz of backup {made[0].id}.*is missing"):
        download(made[-1].id)
    run = download.last_run()
    assert run.error is not None
    assert run.error.code == "archive-damaged"
    assert made[0].id in run.error.message


def test_a_source_that_was_replaced_is_read_and_checked_before_it_is_used(
    volumes: Volumes, library: Path, download: Downloader, s3: "S3Client", tmp_path: Path
) -> None:
    made = changed_twice(volumes, library)
    key = f"acme/prd/backups/{made[0].id}/volume.tgz"
    body = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    part = {"Bucket": BUCKET, "Key": key, "UploadId": upload, "PartNumber": 1}
    etag = s3.upload_part(**part, Body=body)["ETag"]  # type: ignore[arg-type]
    s3.complete_multipart_upload(
        Bucket=BUCKET,
        Key=key,
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]},
    )
    # The same bytes by another way, as a copy of a bucket has them.
    assembled = download(made[-1].id)
    assert snapshot(download.unpacked(assembled, tmp_path / "out")) == snapshot(volumes.folder)
    download.catalog.downloads.delete(list(download.catalog.downloads.all()))
    damaged = bytearray(body)
    damaged[len(damaged) // 2] ^= 1
    s3.put_object(Bucket=BUCKET, Key=key, Body=bytes(damaged))
    with pytest.raises(ArchiveDamaged, match=f"volume.tgz of backup {made[0].id}"):
        download(made[-1].id)


def test_a_second_name_comes_together_with_its_file_only(
    catalog: Catalog, store: ObjectStore, telemetry: Telemetry, download: Downloader, tmp_path: Path
) -> None:
    raw = (
        Tar()
        .add("document_library/a", b"text")
        .add("document_library/b", kind=tarfile.LNKTYPE, target="document_library/a")
        .raw()
    )
    inbox = Inbox(catalog, store, telemetry)
    taken = inbox.take_in(inbox.sent(volume=gzip.compress(raw)))
    with pytest.raises(InvalidRequest, match="another name of 'document_library/a'"):
        download(taken.backup_id, paths=("document_library/b",))
    both = download(taken.backup_id, paths=("document_library/a", "document_library/b"))
    out = download.unpacked(both, tmp_path / "out") / "document_library"
    assert (out / "b").read_bytes() == b"text"


def test_tables_come_as_sql_that_touches_no_other_table(
    catalog: Catalog, store: ObjectStore, telemetry: Telemetry, download: Downloader
) -> None:
    inbox = Inbox(catalog, store, telemetry)
    taken = inbox.take_in(inbox.sent(database=gzip.compress(DUMP)))
    body = download.bytes_of(download(taken.backup_id, DATABASE, tables=("User_",)))
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert archive.getnames() == ["lportal.sql"]
        member = archive.extractfile("lportal.sql")
        assert member is not None
        sql = member.read()
    assert b"INSERT INTO `User_` VALUES (7);" in sql
    assert b"CREATE TABLE `User_`" in sql
    assert b"Group_" not in sql
    # Loaded by hand, the dump's own beginning would take the schema with all its tables away.
    for word in (b"DATABASE IF EXISTS", b"CREATE DATABASE", b"USE `"):
        assert word not in sql
    assert sql.index(b"SET NAMES utf8mb4") < sql.index(b"CREATE TABLE")
    assert sql.index(b"SET CHARACTER_SET_CLIENT=@OLD") > sql.index(b"INSERT INTO")
    with pytest.raises(NotFound, match="no table 'Nothing'"):
        download(taken.backup_id, DATABASE, tables=("User_", "Nothing"))


def test_what_is_asked_for_has_one_name_however_it_is_put(volumes: Volumes, library: Path) -> None:
    write(library / "a")
    made = volumes.back_up()
    name = download_name(made, VOLUME, ("a", "b"))
    assert name == download_name(made, VOLUME, ("b", "a", "b"))
    others = (
        download_name(made, DATABASE, ("a", "b")),
        download_name(made, VOLUME),
        download_name(made, VOLUME, ("a",)),
        download_name(made.model_copy(update={"run_id": "another"}), VOLUME, ("a", "b")),
    )
    assert len({name, *others}) == 5


def test_a_backup_that_is_deleted_while_it_is_assembled_is_not_called_damaged(
    volumes: Volumes, library: Path, download: Downloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = changed_twice(volumes, library)
    opened = StoredBackup._open

    def delete_first(backup: StoredBackup, backup_id: str, name: str) -> OpenArchive:
        monkeypatch.setattr(StoredBackup, "_open", opened)
        delete_backup(volumes.catalog, made[-1])
        return opened(backup, backup_id, name)

    monkeypatch.setattr(StoredBackup, "_open", delete_first)
    with pytest.raises(NotFound, match=f"{made[-1].id} was deleted while it was read"):
        download(made[-1].id)
    run = download.last_run()
    assert run.error is not None
    assert run.error.code == "not-found"
