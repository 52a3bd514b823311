"""A whole create whose time ends, as the function runs it, and those that go on from it."""

import threading
from datetime import timedelta
from typing import Any

import pytest

from lcp_backup.errors import OutOfTime, StoredInPart
from lcp_backup.jobs import capture, new_database, unfinished
from lcp_backup.model import Run, RunKind
from lcp_backup.volume import packing
from tests.support.job_site import BACKUP_ID, JobSite
from tests.support.volumes import refer_to_every_size


@pytest.fixture
def site(mariadb_site: JobSite, monkeypatch: pytest.MonkeyPatch) -> JobSite:
    """A site whose time is always nearly over, once 10 MB were read."""
    refer_to_every_size(monkeypatch)
    monkeypatch.setattr(unfinished, "LEAST_READ", 10_000_000)
    monkeypatch.setattr(capture, "LEAST_READ", 10_000_000)
    monkeypatch.setattr(unfinished, "CLOSING_TIME", timedelta(hours=1))
    # (What was written just before a run is read again by the next; here that is everything.)
    monkeypatch.setattr(packing, "SETTLED_NS", -3_600_000_000_000)
    for number in range(3):
        file = mariadb_site.folder / "document_library" / f"{number}.bin"
        file.write_bytes(bytes([number]) * 12_000_000)
    return mariadb_site


def last_run(site: JobSite) -> Run:
    return next(run for run in site.catalog.runs.all() if run.kind is RunKind.CREATE)


def test_a_create_goes_on_until_there_is_a_backup_and_says_so_meanwhile(site: JobSite) -> None:
    for reached in (12_000_000, 24_000_000, 36_000_000, 36_000_000 + (24 << 20)):
        with pytest.raises(StoredInPart):
            site.create()
        error = last_run(site).error
        assert error is not None
        assert error.code == "stored-in-part"
        assert "about 0.1 GB stored; goes on at the next run" in error.message
        marks = [
            site.catalog.backups.unfinished(it) for it in site.catalog.backups.unfinished_ids()
        ]
        assert max(it.reached_size for it in marks if it) == reached
        assert list(site.catalog.backups.all()) == []
    site.folder.joinpath("document_library", "1.bin").unlink()
    before = site.fingerprint()
    made = site.create()
    assert made["created"]
    # The id of each minute that was tried is taken; the slot is that of the event all the same.
    assert made["backup_id"] == "acme-prd-202611200011"
    manifest = site.catalog.backups.get(made["backup_id"])
    assert f"acme-prd-{manifest.slot:%Y%m%d%H%M}" == BACKUP_ID
    assert len(manifest.sources) == 3
    assert site.create() == {**made, "created": False}
    (site.folder / "document_library" / "large.bin").unlink()
    site.restore(made["backup_id"])
    assert before.differences(site.fingerprint()) == []


def test_a_volume_that_is_stored_is_kept_when_only_the_database_takes_too_long(
    site: JobSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "CLOSING_TIME", -timedelta(hours=1))

    volume_is_stored = threading.Event()
    pack = capture.Capture._pack

    def stored(capture: Any, *rest: Any) -> Any:
        volume = pack(capture, *rest)
        volume_is_stored.set()
        return volume

    def end(*_: object) -> None:
        assert volume_is_stored.wait(60)
        raise OutOfTime("over")

    with monkeypatch.context() as once:
        once.setattr(capture.Capture, "_pack", stored)
        once.setattr(new_database, "read_back_or_describe", end)
        with pytest.raises(StoredInPart, match="before the database was dumped"):
            site.create()
    made = site.create()
    manifest = site.catalog.backups.get(made["backup_id"])
    assert [it.backup_id for it in manifest.sources] == [BACKUP_ID]
    assert manifest.volume_facts.own_size == 0
