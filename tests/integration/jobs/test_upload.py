"""Uploads end to end: what stock programs packed is sent by URL, taken in, and restored."""

import gzip
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from lcp_backup import uploads
from lcp_backup.errors import ArchiveRefused
from lcp_backup.model import ArchiveKind, BackupType, RunState
from tests.support.job_site import INDEX_END, JobSite, kill_when
from tests.support.sender import Sender


@pytest.fixture
def sender(job_site: JobSite, tmp_path: Path) -> Sender:
    return Sender(job_site, tmp_path)


@pytest.fixture
def mariadb_sender(mariadb_site: JobSite, tmp_path: Path) -> Sender:
    return Sender(mariadb_site, tmp_path)


def test_what_stock_programs_packed_comes_back_as_it_was(job_site: JobSite, sender: Sender) -> None:
    before = job_site.fingerprint()
    upload_id = sender.send(sender.in_tar(sender.dumped()), sender.packed("document_library"))
    backup_id = sender.take_in(upload_id)
    manifest = job_site.catalog.backups.get(backup_id)
    assert manifest.type is BackupType.UPLOADED
    assert manifest.database_facts.flavour == job_site.server.flavour
    assert manifest.database_facts.server_version in str(
        job_site.server.execute("SELECT VERSION()")[0][0]
    )
    with job_site.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE `{job_site.name}`")
    shutil.rmtree(job_site.folder / "document_library")
    result = job_site.restore(backup_id)
    assert result["restored"] is True
    # Somebody who uploads a dump does not set its events going.
    assert result["events_disabled"] == ["ForgetAudit"]
    job_site.server.execute(f"ALTER EVENT `{job_site.name}`.ForgetAudit ENABLE")
    assert before.differences(job_site.fingerprint()) == []
    assert list(job_site.store.entries("acme/prd/uploads/")) == []


def test_a_volume_in_parts_is_put_together_and_what_we_gave_is_taken_back(
    mariadb_site: JobSite, mariadb_sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download of this service is an upload for it, also when it is large."""
    monkeypatch.setattr(uploads, "PART_SIZE", 6 << 20)
    before = mariadb_site.fingerprint()
    manifest = mariadb_site.catalog.backups.get(str(mariadb_site.create()["backup_id"]))
    files = []
    for kind in ArchiveKind:
        url = mariadb_site.catalog.backups.download_url(manifest.id, kind, timedelta(minutes=5))
        files.append(requests.get(url, timeout=60).content)
    assert len(files[1]) > 4 * uploads.PART_SIZE
    backup_id = mariadb_sender.take_in(mariadb_sender.send(*files))
    taken = mariadb_site.catalog.backups.get(backup_id)
    facts = manifest.volume_facts.model_copy(update={"in_any_order": True})
    assert taken.volume_facts == facts
    assert taken.volume.raw_size == manifest.volume.raw_size
    assert taken.database_facts.tables == manifest.database_facts.tables
    (mariadb_site.folder / "document_library" / "large.bin").write_bytes(b"changed")
    mariadb_site.restore(backup_id)
    # (Events of an upload come back disabled.)
    assert before.differences(mariadb_site.fingerprint()) == ["event ForgetAudit"]


def test_a_dump_that_would_run_something_is_refused_and_the_site_untouched(
    mariadb_site: JobSite, mariadb_sender: Sender, tmp_path: Path
) -> None:
    before = mariadb_site.fingerprint()
    owned = tmp_path / "owned"
    dump = mariadb_sender.dumped()
    volume = mariadb_sender.packed("document_library")
    for hostile in (
        f"\\! touch {owned}\n",
        f"system touch {owned};\n",
        f"SELECT 'x' INTO OUTFILE '{owned}';\n",
        "DROP DATABASE `mysql`;\n",
    ):
        upload_id = mariadb_sender.send(gzip.compress(hostile.encode() + dump, 1), volume)
        with pytest.raises(ArchiveRefused, match="line 1 of the dump is refused"):
            mariadb_sender.take_in(upload_id)
    assert not owned.exists()
    mariadb_site.assert_nothing_published()
    assert list(mariadb_site.store.entries("acme/prd/uploads/")) == []
    assert before.differences(mariadb_site.fingerprint()) == []


def test_an_upload_whose_function_is_killed_is_taken_in_by_the_next_delivery(
    mariadb_site: JobSite, mariadb_sender: Sender
) -> None:
    upload_id = mariadb_sender.send(mariadb_sender.dumped(), mariadb_sender.packed("."))
    process = mariadb_site.start("upload", {"upload_id": upload_id}, stuck_in=INDEX_END)
    kill_when(lambda: bool(list(mariadb_site.catalog.backups.open_multiparts())), process)
    assert list(mariadb_site.catalog.backups.all()) == []
    mariadb_site.expire_lease()
    backup_id = mariadb_sender.take_in(upload_id)
    assert [manifest.id for manifest in mariadb_site.catalog.backups.all()] == [backup_id]
    assert mariadb_site.catalog.runs.get(upload_id).state is RunState.SUCCEEDED
    # (The parts that the dead run left open are cleanup's: this function may not look for them.)
