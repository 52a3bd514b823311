"""The jobs when nothing goes wrong: what they bring back, and what they leave alone."""

from typing import Any

import pytest

from lcp_backup.archive import tar
from lcp_backup.errors import AccountRefused, InvalidRequest
from lcp_backup.model import ArchiveKind, BackupType, RunKind
from lcp_backup.requests import RestoreRequest
from lcp_backup.service import deadline
from tests.support.job_site import BACKUP_ID, JobSite

SCHEDULED = {"detail-type": "Scheduled Event", "time": "2026-11-20T00:35:00Z"}


def _scheduled_restore(site: JobSite) -> dict[str, Any]:
    return site.service().restore(RestoreRequest.read(SCHEDULED), deadline(900_000))


def test_a_scheduled_restore_takes_the_newest_backup_and_takes_it_once(
    mariadb_site: JobSite,
) -> None:
    mariadb_site.create()
    first = _scheduled_restore(mariadb_site)
    assert (first["backup_id"], first["restored"]) == (BACKUP_ID, True)
    again = _scheduled_restore(mariadb_site)
    assert (again["backup_id"], again["restored"]) == (BACKUP_ID, False)
    newer = mariadb_site.create("2026-11-20T01:15:00Z")["backup_id"]
    third = _scheduled_restore(mariadb_site)
    assert (third["backup_id"], third["restored"]) == (newer, True)


def test_a_disaster_recovery_environment_restores_from_the_sources_bucket(
    mariadb_site: JobSite,
) -> None:
    mariadb_site.create()
    before = mariadb_site.fingerprint()
    (mariadb_site.folder / "document_library" / "large.bin").unlink()
    mariadb_site.env.update(
        LCP_ENVIRONMENT_ID="dr",
        LCP_ENVIRONMENT_TYPE="production",
        LCP_BACKUP_PREFIX="acme/dr",
        LCP_BACKUP_RESTORE_SCHEDULE="35 * * * *",
        LCP_BACKUP_RESTORE_SOURCE_BUCKET=mariadb_site.env["LCP_BACKUP_BUCKET"],
        LCP_BACKUP_RESTORE_SOURCE_PREFIX="acme/prd",
    )
    assert _scheduled_restore(mariadb_site)["backup_id"] == BACKUP_ID
    assert before.differences(mariadb_site.fingerprint()) == []
    store = mariadb_site.store
    assert [e.key for e in store.entries("acme/dr/runs/")] != []
    assert list(store.entries("acme/dr/backups/")) == []


def test_a_create_makes_its_own_backup_when_another_has_the_id_of_its_minute(
    mariadb_site: JobSite,
) -> None:
    def at(minute: int) -> dict[str, Any]:
        return mariadb_site.create(f"2026-11-20T00:{minute}:00Z")

    earlier = at(14)
    uploaded = mariadb_site.catalog.backups.get(str(earlier["backup_id"])).model_copy(
        update={"id": BACKUP_ID, "type": BackupType.UPLOADED}
    )
    mariadb_site.catalog.backups.publish(uploaded)

    made = at(15)
    assert (made["created"], made["backup_id"]) == (True, "acme-prd-202611200013")
    assert at(15) == {**made, "created": False}
    assert at(14) == {**earlier, "created": False}
    # What gave way has itself taken another's id.
    assert at(13)["backup_id"] == "acme-prd-202611200012"


def test_overwrite_brings_back_database_and_folder_too(job_site: JobSite) -> None:
    job_site.create()
    before = job_site.fingerprint()
    with job_site.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {job_site.name}.Image_")
    (job_site.folder / "document_library" / "large.bin").unlink()
    job_site.env["LCP_BACKUP_RESTORE_STRATEGY"] = "OVERWRITE"
    job_site.restore()
    assert before.differences(job_site.fingerprint()) == []


def test_overwrite_keeps_nothing_and_says_so_before_it_begins(mariadb_site: JobSite) -> None:
    mariadb_site.create()
    with mariadb_site.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {mariadb_site.name}.Image_")
    changed = mariadb_site.fingerprint()
    mariadb_site.env["LCP_BACKUP_RESTORE_STRATEGY"] = "OVERWRITE"
    with pytest.raises(InvalidRequest, match="keep_previous is not possible"):
        mariadb_site.restore(keep_previous=True)
    assert changed.differences(mariadb_site.fingerprint()) == []


def test_a_master_that_may_make_no_events_is_refused_before_anything_moves(
    mariadb_site: JobSite,
) -> None:
    mariadb_site.create()
    before = mariadb_site.fingerprint()
    with mariadb_site.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE USER 'noevents'@'%' IDENTIFIED BY 'site'")
        cursor.execute("GRANT ALL PRIVILEGES ON *.* TO 'noevents'@'%'")
        cursor.execute("REVOKE EVENT ON *.* FROM 'noevents'@'%'")
        cursor.execute(f"DROP EVENT {mariadb_site.name}.ForgetAudit")
        cursor.execute(f"DROP TABLE {mariadb_site.name}.Image_")
    (mariadb_site.folder / "document_library" / "large.bin").unlink()
    mariadb_site.env["LCP_MASTER_USER_NAME"] = "noevents"
    changed = mariadb_site.fingerprint()
    assert before.differences(changed) != []
    with pytest.raises(AccountRefused, match="EVENT"):
        mariadb_site.restore()
    assert changed.differences(mariadb_site.fingerprint()) == []


def test_a_run_tells_what_it_did_in_bytes(mariadb_site: JobSite) -> None:
    mariadb_site.create()
    mariadb_site.restore()
    manifest = mariadb_site.manifest()
    runs = {run.kind: run for run in mariadb_site.catalog.runs.all()}
    created = runs[RunKind.CREATE]
    assert created.progress[ArchiveKind.VOLUME] == manifest.volume.raw_size
    # The tar header around the one .sql file does not belong to the dump.
    assert 0 < manifest.database.raw_size - created.progress[ArchiveKind.DATABASE] < 8192
    # The end of the tar file is a segment in which nothing lies: nobody needs it.
    restored = created.progress | {ArchiveKind.VOLUME: manifest.volume.raw_size - len(tar.END)}
    assert runs[RunKind.RESTORE].progress == restored
    assert created.result["bytes"] == manifest.size
