"""Cleanup: what goes, what never goes, and what a dry run leaves alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.jobs.active_run import RunTiming
from lcp_backup.jobs.cleanup import CleanupResult, clean_up
from lcp_backup.model import ArchiveKind, Run, RunKind, RunState
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry
from lcp_backup.uploads import PART_SIZE, Uploads
from tests.support.backups import BUCKET, publish
from tests.support.clock import SettableClock
from tests.support.volumes import refer_to_every_size

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

IDLE = RunTiming(heartbeat=timedelta(hours=1))


class Sweeper:
    """Cleanup with a retention of 7 days."""

    def __init__(self, catalog: Catalog, telemetry: Telemetry) -> None:
        self._catalog = catalog
        self._telemetry = telemetry

    def __call__(self, *, dry_run: bool = False) -> CleanupResult:
        settings = Settings.from_env({"LCP_BACKUP_RETENTION_PERIOD": "7"})
        return clean_up(settings, self._catalog, self._telemetry, IDLE, dry_run=dry_run)


@pytest.fixture
def sweep(catalog: Catalog, telemetry: Telemetry) -> Sweeper:
    return Sweeper(catalog, telemetry)


def test_expired_backups_go_and_the_others_stay(
    catalog: Catalog, store: ObjectStore, clock: SettableClock, sweep: Sweeper
) -> None:
    old = publish(catalog, clock())
    clock.pass_by(timedelta(days=1))
    young = publish(catalog, clock())
    clock.pass_by(timedelta(days=6, hours=23))
    result = sweep()
    assert (result.expired, result.kept, result.freed_bytes) == ([old], [young], 200)
    assert [manifest.id for manifest in catalog.backups.all()] == [young]
    assert [e.key for e in store.entries(f"acme/prd/backups/{old}/")] == []


def test_an_archive_that_stays_counts_as_freed_when_it_goes(
    catalog: Catalog, clock: SettableClock, sweep: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    refer_to_every_size(monkeypatch)
    old = publish(catalog, clock())
    clock.pass_by(timedelta(days=8))
    publish(catalog, clock())
    for dry_run in (True, False):
        expired = sweep(dry_run=dry_run)
        assert (expired.expired, expired.retired, expired.freed_bytes) == ([old], [], 100)
    clock.pass_by(timedelta(days=1))
    for dry_run in (True, False):
        gone = sweep(dry_run=dry_run)
        assert (gone.expired, gone.retired, gone.freed_bytes) == ([], [old], 100)
    assert sweep().freed_bytes == 0


def test_the_newest_backup_is_never_deleted_however_old(
    catalog: Catalog, clock: SettableClock, sweep: Sweeper
) -> None:
    older = publish(catalog, clock())
    clock.pass_by(timedelta(hours=1))
    newest = publish(catalog, clock())
    clock.pass_by(timedelta(days=400))
    assert sweep().expired == [older]
    assert sweep().expired == []
    assert [manifest.id for manifest in catalog.backups.all()] == [newest]


def test_an_unreadable_backup_is_kept_and_does_not_count_as_the_newest(
    catalog: Catalog, store: ObjectStore, clock: SettableClock, sweep: Sweeper
) -> None:
    good = publish(catalog, clock())
    clock.pass_by(timedelta(days=1))
    strange = publish(catalog, clock())
    store.put(f"acme/prd/backups/{strange}/manifest.json", b'{"format": 99}')
    clock.pass_by(timedelta(days=30))
    result = sweep()
    assert result.expired == []
    assert result.kept == [strange, good]


def test_a_dry_run_tells_what_would_go_and_changes_nothing(
    catalog: Catalog, store: ObjectStore, clock: SettableClock, sweep: Sweeper
) -> None:
    old = publish(catalog, clock())
    clock.pass_by(timedelta(days=8))
    publish(catalog, clock())
    before = [entry.key for entry in store.entries("")]
    result = sweep(dry_run=True)
    assert (result.dry_run, result.expired) == (True, [old])
    assert [entry.key for entry in store.entries("")] == before


def test_a_backup_that_is_being_restored_is_left_for_the_next_cleanup(
    catalog: Catalog, clock: SettableClock, sweep: Sweeper
) -> None:
    old = publish(catalog, clock())
    clock.pass_by(timedelta(days=8))
    publish(catalog, clock())
    lease = catalog.lease.acquire("r", RunKind.RESTORE, old, timedelta(minutes=2))
    assert sweep().expired == []
    lease.release()
    assert sweep().expired == [old]


def test_what_a_crash_left_goes_after_a_day_and_not_before(
    catalog: Catalog,
    store: ObjectStore,
    clock: SettableClock,
    sweep: Sweeper,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The mocked S3 dates objects by the real clock, so this test's clock starts there; it dates
    # every upload to 2010, so this test dates them.
    clock.now = started = next_minute(store)
    listed = store.open_multiparts
    monkeypatch.setattr(
        store,
        "open_multiparts",
        lambda prefix: (replace(u, started=started) for u in listed(prefix)),
    )
    done = catalog.backups.archive_writer("acme-prd-202601010000", ArchiveKind.VOLUME)
    done.write(b"x")
    done.complete()
    open_upload = catalog.backups.archive_writer("acme-prd-202601010000", ArchiveKind.DATABASE)
    for _ in range(3):
        open_upload.write(bytes(8 * 1024 * 1024))
    assert sweep().leftovers == []
    assert len(list(catalog.backups.open_multiparts())) == 1
    clock.pass_by(timedelta(days=1, minutes=1))
    result = sweep()
    assert (result.leftovers, result.multiparts) == (["acme-prd-202601010000"], 1)
    assert result.freed_bytes == 1
    assert list(store.entries("acme/prd/backups/")) == []
    assert list(catalog.backups.open_multiparts()) == []


def test_a_run_that_never_ended_is_marked_as_failed_and_old_records_go(
    catalog: Catalog, clock: SettableClock, sweep: Sweeper
) -> None:
    run = Run(
        id=catalog.runs.new_id(RunKind.RESTORE),
        kind=RunKind.RESTORE,
        state=RunState.RUNNING,
        started_at=clock(),
        updated_at=clock(),
    )
    catalog.runs.write(run)
    clock.pass_by(timedelta(minutes=59))
    assert sweep().died == []
    clock.pass_by(timedelta(minutes=2))
    assert sweep().died == [run.id]
    buried = catalog.runs.get(run.id)
    assert buried.state is RunState.FAILED
    assert buried.error is not None
    assert buried.error.code == "died"
    clock.pass_by(timedelta(days=91))
    assert run.id in sweep().runs
    assert run.id not in catalog.runs.ids()


def next_minute(store: ObjectStore) -> datetime:
    """A time just after what the store calls now."""
    store.put("clock", b"")
    (entry,) = store.entries("clock")
    return entry.modified + timedelta(minutes=1)


def test_an_upload_that_nobody_completed_goes_after_a_day(
    catalog: Catalog, store: ObjectStore, clock: SettableClock, sweep: Sweeper
) -> None:
    large = {ArchiveKind.DATABASE: 3, ArchiveKind.VOLUME: PART_SIZE + 1}
    uploads = Uploads(catalog)
    old = uploads.open(large, {}, "ann")
    uploads.put(old.id, ArchiveKind.DATABASE, b"abc")
    clock.pass_by(timedelta(hours=2))
    young = uploads.open(large, {}, "ann")
    clock.pass_by(timedelta(hours=22))
    assert sweep(dry_run=True).abandoned == [old.id]
    assert uploads.get(old.id) == old
    assert sweep().abandoned == [old.id]
    assert sweep().abandoned == []
    assert [entry.key for entry in store.entries("acme/prd/uploads/")] == [
        f"acme/prd/uploads/{young.id}/upload.json"
    ]
    left = [it.key for it in store.open_multiparts("acme/prd/uploads/")]
    assert left == [f"acme/prd/uploads/{young.id}/{kind}" for kind in ArchiveKind]


def test_parts_of_an_upload_that_has_no_record_go_too(
    catalog: Catalog, store: ObjectStore, clock: SettableClock, sweep: Sweeper
) -> None:
    upload_id = catalog.runs.new_id(RunKind.UPLOAD)
    store.start_multipart(f"acme/prd/uploads/{upload_id}/volume")
    clock.pass_by(timedelta(days=1))
    assert sweep().abandoned == [upload_id]
    assert list(store.open_multiparts("")) == []


@pytest.mark.parametrize(
    ("state", "since", "goes"),
    [
        (RunState.QUEUED, 0, False),
        (RunState.RUNNING, 0, False),
        (RunState.SUCCEEDED, 0, True),
        # It may be completed again, and what was sent for half a day a task worked on as long.
        (RunState.FAILED, 23, False),
        (RunState.FAILED, 24, True),
    ],
)
def test_an_upload_stays_while_a_run_may_take_it_in(
    catalog: Catalog,
    clock: SettableClock,
    sweep: Sweeper,
    state: RunState,
    since: int,
    goes: bool,
) -> None:
    uploads = Uploads(catalog)
    upload = uploads.open({ArchiveKind.DATABASE: 3, ArchiveKind.VOLUME: 3}, {}, "ann")
    clock.pass_by(timedelta(days=1))
    run = catalog.runs.queue(upload.id, RunKind.UPLOAD, None)
    ended = clock() if state.ended else None
    catalog.runs.write(run.model_copy(update={"state": state, "finished_at": ended}))
    clock.pass_by(timedelta(hours=since))
    assert (sweep().abandoned == [upload.id]) is goes


def test_a_run_that_died_over_an_old_upload_is_seen_to_have_ended(
    catalog: Catalog, clock: SettableClock, sweep: Sweeper
) -> None:
    """Its id is as old as the upload, which may be completed again days later."""
    upload = Uploads(catalog).open({ArchiveKind.DATABASE: 3, ArchiveKind.VOLUME: 3}, {}, "ann")
    clock.pass_by(timedelta(days=3))
    run = catalog.runs.queue(upload.id, RunKind.UPLOAD, None)
    catalog.runs.write(run.model_copy(update={"state": RunState.RUNNING}))
    assert sweep().died == []
    clock.pass_by(timedelta(hours=2))
    assert sweep().died == [upload.id]
    assert catalog.runs.get(upload.id).state is RunState.FAILED
    clock.pass_by(timedelta(days=1))
    assert sweep().abandoned == [upload.id]


def test_an_assembled_download_stays_for_a_day(
    catalog: Catalog, store: ObjectStore, s3: "S3Client", sweep: Sweeper, clock: SettableClock
) -> None:
    clock.now = datetime.now(UTC)
    writer = catalog.downloads.writer("some.tgz")
    writer.write(b"assembled")
    writer.complete()
    s3.create_multipart_upload(Bucket=BUCKET, Key="acme/prd/downloads/of-a-dead-run.tgz")
    clock.pass_by(timedelta(hours=23))
    assert sweep().downloads == []
    assert catalog.downloads.find("some.tgz") is not None
    clock.pass_by(timedelta(hours=2))
    assert sweep(dry_run=True).downloads == ["some.tgz"]
    assert catalog.downloads.find("some.tgz") is not None
    gone = sweep()
    assert (gone.downloads, gone.freed_bytes) == (["some.tgz"], len(b"assembled"))
    assert catalog.downloads.find("some.tgz") is None
    assert list(store.open_multiparts("acme/prd/downloads/")) == []
