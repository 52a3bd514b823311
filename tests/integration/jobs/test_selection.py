"""Restores of a selection, into other places, queued, and paused, by the real service."""

from typing import Any

import pytest

from lcp_backup.errors import InvalidRequest, NotFound
from lcp_backup.model import RunKind, RunState
from lcp_backup.requests import CreateRequest, PauseRequest, RestoreRequest
from lcp_backup.service import deadline
from tests.support.job_site import BACKUP_ID, JobSite

_QUARTER_HOUR = 15 * 60 * 1000  # milliseconds
_RULE_FIRED = {"detail-type": "Scheduled Event", "time": "2026-11-20T00:45:00Z"}


def restore(site: JobSite, **fields: Any) -> dict[str, Any]:
    request = RestoreRequest.read({"backup_id": BACKUP_ID, **fields})
    return site.service().restore(request, deadline(_QUARTER_HOUR))


def change(site: JobSite) -> None:
    """What happens to a site after its backup."""
    with site.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {site.name}.Image_")
        cursor.execute(f"DELETE FROM {site.name}.Lock_")
        cursor.execute(f"INSERT INTO {site.name}.Lock_ VALUES (4711)")
    library = site.folder / "document_library"
    (library / "large.bin").unlink()
    (library / "Übersicht.txt").write_text("changed")


def rows(site: JobSite, table: str) -> int:
    ((count,),) = site.server.execute(f"SELECT COUNT(*) FROM {table}")
    assert isinstance(count, int)
    return count


def test_one_table_and_one_file_come_back_and_the_rest_stays_as_it_is(job_site: JobSite) -> None:
    job_site.create()
    images = rows(job_site, f"{job_site.name}.Image_")
    change(job_site)
    result = restore(
        job_site, tables=["Image_"], paths=["document_library/Übersicht.txt"], keep_previous=True
    )
    assert rows(job_site, f"{job_site.name}.Image_") == images
    assert rows(job_site, f"{job_site.name}.Lock_") == 1
    library = job_site.folder / "document_library"
    assert (library / "Übersicht.txt").read_text() == "small"
    assert not (library / "large.bin").exists()
    manifest = job_site.manifest()
    assert 0 < result["read_bytes"] < manifest.size / 2
    assert result["rows"] == images
    schema, folder = result["kept"]
    assert rows(job_site, f"`{schema}`.Image_") == 0
    assert folder.startswith(str(job_site.folder.parent))
    job_site.server.execute(f"DROP DATABASE `{schema}`")
    [run] = [run for run in job_site.catalog.runs.all() if run.kind is RunKind.RESTORE]
    assert run.result["read_bytes"] == result["read_bytes"]
    assert run.result["whole"] is False


def test_a_table_alone_leaves_the_volume_and_a_file_alone_the_database(
    mariadb_site: JobSite,
) -> None:
    mariadb_site.create()
    change(mariadb_site)
    restore(mariadb_site, tables=["Image_"])
    assert not (mariadb_site.folder / "document_library" / "large.bin").exists()
    restore(mariadb_site, paths=["document_library/large.bin"])
    assert (mariadb_site.folder / "document_library" / "large.bin").stat().st_size == 24 << 20
    restore(mariadb_site, only="volume")
    assert rows(mariadb_site, f"{mariadb_site.name}.Lock_") == 1
    restore(mariadb_site, only="database")
    assert rows(mariadb_site, f"{mariadb_site.name}.Lock_") == 0


def test_another_database_and_another_folder_get_the_site_and_the_live_one_stays(
    mariadb_site: JobSite,
) -> None:
    mariadb_site.create()
    images = rows(mariadb_site, f"{mariadb_site.name}.Image_")
    change(mariadb_site)
    live = mariadb_site.fingerprint()
    other, elsewhere = f"{mariadb_site.name}_copy", mariadb_site.folder.parent / "copy"
    into = {"into_database": other, "into_folder": str(elsewhere)}
    restore(mariadb_site, **into)
    try:
        assert rows(mariadb_site, f"{other}.Image_") == images
        assert (elsewhere / "document_library" / "Übersicht.txt").read_text() == "small"
        assert live.differences(mariadb_site.fingerprint()) == []
        with pytest.raises(InvalidRequest, match="has tables|not an empty folder"):
            restore(mariadb_site, **into)
        with pytest.raises(InvalidRequest, match="live database"):
            restore(mariadb_site, into_database=mariadb_site.name)
    finally:
        mariadb_site.server.execute(f"DROP DATABASE IF EXISTS {other}")


def test_a_selection_that_is_not_in_the_backup_is_named_and_nothing_changes(
    mariadb_site: JobSite,
) -> None:
    mariadb_site.create()
    before = mariadb_site.fingerprint()
    with pytest.raises(NotFound, match="'Nothing_'"):
        restore(mariadb_site, tables=["Nothing_"])
    with pytest.raises(NotFound, match="'document_library/no'"):
        restore(mariadb_site, paths=["document_library/no"])
    assert before.differences(mariadb_site.fingerprint()) == []
    assert mariadb_site.schemas() == {mariadb_site.name}


def test_paused_restores_do_not_start_by_their_rule_but_by_hand(mariadb_site: JobSite) -> None:
    mariadb_site.create()
    service = mariadb_site.service()
    paused = PauseRequest.find({"action": "pause", "reason": "the DR site is live"})
    assert paused is not None
    assert service.pause_restores(paused) == {"restores_paused": True}
    change(mariadb_site)
    scheduled = RestoreRequest.read(_RULE_FIRED)
    assert service.restore(scheduled, deadline(_QUARTER_HOUR))["restored"] is False
    assert rows(mariadb_site, f"{mariadb_site.name}.Lock_") == 1
    resumed = PauseRequest.find({"action": "resume"})
    assert resumed is not None
    assert service.pause_restores(resumed) == {"restores_paused": False}
    assert service.restore(scheduled, deadline(_QUARTER_HOUR))["restored"] is True
    assert rows(mariadb_site, f"{mariadb_site.name}.Lock_") == 0


def test_a_restore_of_a_selection_does_not_count_as_the_backup_restored(
    mariadb_site: JobSite,
) -> None:
    mariadb_site.create()
    restore(mariadb_site, tables=["Image_"])
    scheduled = RestoreRequest.read(_RULE_FIRED)
    service = mariadb_site.service()
    assert service.restore(scheduled, deadline(_QUARTER_HOUR))["restored"] is True
    assert service.restore(scheduled, deadline(_QUARTER_HOUR))["restored"] is False


def test_a_queued_run_ends_whatever_becomes_of_its_job(mariadb_site: JobSite) -> None:
    catalog = mariadb_site.catalog
    service = mariadb_site.service()
    made = catalog.runs.queue(catalog.runs.new_id(RunKind.CREATE), RunKind.CREATE, BACKUP_ID)
    event = {"time": "2026-11-20T00:15:00Z", "run_id": made.id}
    assert service.create(CreateRequest.read(event), deadline(_QUARTER_HOUR))["run_id"] == made.id
    assert catalog.runs.get(made.id).state is RunState.SUCCEEDED
    again = catalog.runs.queue(catalog.runs.new_id(RunKind.CREATE), RunKind.CREATE, BACKUP_ID)
    service.create(CreateRequest.read({**event, "run_id": again.id}), deadline(_QUARTER_HOUR))
    assert catalog.runs.get(again.id).state is RunState.SUCCEEDED
    assert catalog.runs.get(again.id).result == {"created": False}
    lost = catalog.runs.queue(
        catalog.runs.new_id(RunKind.RESTORE), RunKind.RESTORE, "a-b-200001010000"
    )
    with pytest.raises(NotFound):
        restore(mariadb_site, backup_id="a-b-200001010000", run_id=lost.id)
    record = catalog.runs.get(lost.id)
    assert record.state is RunState.FAILED
    assert record.error is not None
    assert record.error.code == "not-found"
