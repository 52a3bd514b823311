"""Taking an upload in: one backup or none, and what stays of the files that were sent."""

import gzip
import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from lcp_backup.archive.index import read_index
from lcp_backup.archive.read import read_segments
from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.errors import (
    ArchiveDamaged,
    ArchiveError,
    ArchiveRefused,
    Conflict,
    LeaseHeld,
    NotFound,
    OutOfTime,
    RunIsOver,
    StorageError,
)
from lcp_backup.jobs.active_run import RunTiming
from lcp_backup.model import ArchiveKind, BackupType, RunKind, RunState, Upload
from lcp_backup.requests import UploadRequest
from lcp_backup.telemetry import Telemetry
from lcp_backup.uploads import Uploads
from tests.support.backups import publish
from tests.support.clock import SettableClock
from tests.support.inbox import DATABASE, DUMP, LIBRARY, VOLUME, Inbox
from tests.support.taken_database import SQL
from tests.support.tars import Tar


@pytest.fixture
def inbox(catalog: Catalog, store: ObjectStore, telemetry: Telemetry) -> Inbox:
    return Inbox(catalog, store, telemetry)


def test_an_upload_becomes_a_backup_and_what_was_sent_is_gone(
    inbox: Inbox, catalog: Catalog, announced: list[tuple[str, dict[str, Any]]]
) -> None:
    sha256 = {
        DATABASE: hashlib.sha256(DUMP).hexdigest().upper(),
        VOLUME: hashlib.sha256(LIBRARY).hexdigest(),
    }
    upload_id = inbox.sent(sha256=sha256)
    result = inbox.take_in(upload_id)
    assert (result.backup_id, result.run_id) == ("acme-prd-202611230015", upload_id)
    manifest = catalog.backups.get(result.backup_id)
    assert (manifest.type, manifest.run_id) == (BackupType.UPLOADED, upload_id)
    assert (manifest.database_facts.name, manifest.database_facts.tables) == ("lportal", 1)
    assert (manifest.volume_facts.files, manifest.volume_facts.bytes) == (1, 4)
    for archive, raw in ((manifest.database, SQL), (manifest.volume, None)):
        source = catalog.backups.open(manifest.id, archive.name)
        assert hashlib.sha256(source.read(0, source.size)).hexdigest() == archive.sha256
        index = catalog.backups.open(manifest.id, archive.index_name)
        segments = read_index(index, archive_name=archive.name, sha256=archive.index_sha256)
        read = b"".join(
            piece for _, piece in read_segments(source, segments, name=archive.name, threads=1)
        )
        assert raw in (None, read)
    run = inbox.run(upload_id)
    assert (run.state, run.backup_id) == (RunState.SUCCEEDED, manifest.id)
    assert inbox.keys("uploads") == []
    assert catalog.lease.holder() is None
    detail = {"backupId": manifest.id, "bytes": manifest.size, "runId": upload_id}
    environment = {"project": "acme", "environment": "prd"}
    assert announced == [("Backup Uploaded", environment | detail)]


def test_its_id_is_the_newest_free_minute(
    inbox: Inbox, catalog: Catalog, clock: SettableClock
) -> None:
    publish(catalog, clock())
    publish(catalog, clock() - timedelta(minutes=1))
    assert inbox.take_in(inbox.sent()).backup_id == "acme-prd-202611230013"
    assert inbox.take_in(inbox.sent()).backup_id == "acme-prd-202611230012"


@pytest.mark.parametrize(
    ("database", "volume", "said"),
    [
        (b"<html>", LIBRARY, "the database is an HTML page"),
        (DUMP[:-9], LIBRARY, "in the middle of its gzip data"),
        (DUMP, gzip.compress(Tar().add("../x").raw()), "outside the folder"),
        (gzip.compress(SQL + bytes(70 << 20)), LIBRARY, "inflates to more than 67108864 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "sent",
)
def test_refused_files_go_and_the_run_says_why(
    inbox: Inbox,
    announced: list[tuple[str, dict[str, Any]]],
    database: bytes,
    volume: bytes,
    said: str,
    store: ObjectStore,
) -> None:
    upload_id = inbox.sent(database, volume)
    with pytest.raises(ArchiveError, match=said):
        inbox.take_in(upload_id)
    assert (inbox.keys("uploads"), inbox.keys("backups")) == ([], [])
    assert list(store.open_multiparts("")) == []
    run = inbox.run(upload_id)
    assert run.state is RunState.FAILED
    assert run.error is not None
    assert announced[0][0] == "Upload Failed"
    assert announced[0][1]["reason"] == run.error.message
    with pytest.raises(NotFound):
        inbox.take_in(upload_id)  # Lambda tries again
    assert inbox.run(upload_id) == run, "the reason is still told"


def test_a_file_that_is_not_what_was_announced_is_refused(inbox: Inbox) -> None:
    for kind in ArchiveKind:
        upload_id = inbox.sent(sha256={kind: "0" * 64})
        with pytest.raises(ArchiveDamaged, match=f"the {kind} .* its SHA-256 .* 0+ was expected"):
            inbox.take_in(upload_id)
        assert inbox.keys("backups") == []


@pytest.mark.parametrize("more", [b"more", b""], ids=["another size", "another tag"])
def test_a_file_that_was_swapped_after_the_seal_is_refused(
    inbox: Inbox, more: bytes, store: ObjectStore
) -> None:
    upload_id = inbox.sent()
    store.put(f"acme/prd/uploads/{upload_id}/volume", LIBRARY + more)
    with pytest.raises(ArchiveDamaged, match="the volume .* is not the file that was sealed"):
        inbox.take_in(upload_id)


def fail_to_publish(
    inbox: Inbox, upload_id: str, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("the storage is away")

    with monkeypatch.context() as broken:
        broken.setattr(catalog.backups, "publish", refuse)
        with pytest.raises(StorageError, match="away"):
            inbox.take_in(upload_id)


def test_any_other_failure_keeps_the_files_for_another_try(
    inbox: Inbox, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = inbox.sent()
    fail_to_publish(inbox, upload_id, catalog, monkeypatch)
    assert list(catalog.backups.all()) == []
    assert inbox.run(upload_id).state is RunState.FAILED
    inbox.uploads.seal(upload_id)
    again = inbox.take_in(upload_id)
    assert again.run_id == upload_id
    # It may delete nothing there, so it leaves what it left to cleanup.
    assert again.backup_id == "acme-prd-202611230014"
    assert [leftover.backup_id for leftover in catalog.backups.leftovers()] == [
        "acme-prd-202611230015"
    ]


def test_nothing_is_deleted_where_backups_lie_whatever_happens(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, store: ObjectStore
) -> None:
    """The function's role does not allow it (see template.yaml)."""
    asked: list[str] = []
    delete = store.delete

    def watched(keys: Iterable[str]) -> None:
        asked.extend(some := list(keys))
        delete(some)

    monkeypatch.setattr(store, "delete", watched)
    store.put("acme/prd/backups/acme-prd-202611230015/volume.tgz", b"a dead run's")
    with pytest.raises(ArchiveError):
        inbox.take_in(inbox.sent(DUMP, b"no archive"))
    assert inbox.take_in(inbox.sent()).backup_id == "acme-prd-202611230014"
    assert asked != []
    assert [key for key in asked if "/backups/" in key] == []


def test_a_run_without_time_publishes_nothing_and_keeps_the_files(
    inbox: Inbox, clock: SettableClock
) -> None:
    upload_id = inbox.sent()
    with pytest.raises(OutOfTime):
        inbox.take_in(upload_id, RunTiming(deadline=clock(), heartbeat=timedelta(hours=1)))
    assert inbox.keys("backups") == []
    assert len(inbox.keys("uploads")) == 3


def test_a_second_delivery_answers_the_same_backup_and_does_nothing(
    inbox: Inbox, catalog: Catalog, announced: list[tuple[str, dict[str, Any]]]
) -> None:
    upload_id = inbox.sent()
    first = inbox.take_in(upload_id)
    assert inbox.take_in(upload_id) == first
    assert len(announced) == 1
    assert len(list(catalog.backups.all())) == 1


def test_a_second_delivery_leaves_a_run_that_lives_alone(inbox: Inbox, catalog: Catalog) -> None:
    upload_id = inbox.sent()
    catalog.lease.acquire(upload_id, RunKind.UPLOAD, None, timedelta(minutes=2))
    running = inbox.run(upload_id).model_copy(update={"state": RunState.RUNNING})
    catalog.runs.write(running)
    with pytest.raises(LeaseHeld, match=upload_id):
        inbox.take_in(upload_id)
    assert inbox.run(upload_id) == running


class _KilledError(BaseException):
    """Stands for the end of the process: nothing that follows may count."""


@pytest.mark.parametrize(("where", "when"), [("backups", "publish"), ("uploads", "delete")])
def test_a_run_that_was_killed_is_finished_by_the_next_delivery(
    inbox: Inbox,
    catalog: Catalog,
    clock: SettableClock,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    when: str,
) -> None:
    upload_id = inbox.sent()
    place = getattr(catalog, where)
    real: Callable[..., None] = getattr(place, when)
    with monkeypatch.context() as killing:

        def kill(*arguments: object) -> None:
            real(*arguments)
            killing.setattr(catalog.runs, "write", lambda _: None)
            raise _KilledError

        killing.setattr(place, when, kill)
        with pytest.raises(_KilledError):
            inbox.take_in(upload_id)
    assert inbox.run(upload_id).state is RunState.RUNNING
    clock.pass_by(timedelta(minutes=3))
    assert inbox.take_in(upload_id).backup_id == "acme-prd-202611230015"
    assert inbox.run(upload_id).state is RunState.SUCCEEDED
    assert len(list(catalog.backups.all())) == 1
    assert inbox.keys("uploads") == []


def test_files_that_cannot_be_forgotten_make_no_failure_of_a_backup_that_was_made(
    inbox: Inbox, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = inbox.sent()

    def refuse(*_: object) -> None:
        raise StorageError("the storage is away")

    monkeypatch.setattr(catalog.uploads, "delete", refuse)
    assert inbox.take_in(upload_id).backup_id == "acme-prd-202611230015"
    assert inbox.run(upload_id).state is RunState.SUCCEEDED


def test_an_upload_that_failed_is_not_taken_in_before_it_is_completed_again(
    inbox: Inbox, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = inbox.sent()
    fail_to_publish(inbox, upload_id, catalog, monkeypatch)
    failed = inbox.run(upload_id)
    with pytest.raises(RunIsOver):
        inbox.take_in(upload_id)
    assert inbox.run(upload_id) == failed
    assert list(catalog.backups.all()) == []
    inbox.uploads.seal(upload_id)
    inbox.take_in(upload_id)


def test_an_upload_that_lambda_gave_up_while_another_run_wrote_may_be_completed_again(
    inbox: Inbox, catalog: Catalog, clock: SettableClock
) -> None:
    upload_id = inbox.sent()
    lease = catalog.lease.acquire("other", RunKind.RESTORE, None, timedelta(minutes=2))
    with pytest.raises(LeaseHeld):
        inbox.take_in(upload_id)
    lease.release()
    assert inbox.run(upload_id).state is RunState.QUEUED
    with pytest.raises(Conflict, match="its run is queued"):
        inbox.uploads.seal(upload_id)
    clock.pass_by(timedelta(minutes=61))
    inbox.uploads.seal(upload_id)
    inbox.take_in(upload_id)


@pytest.mark.parametrize("first", ["succeeded", "failed", "failed twice"])
def test_an_upload_that_two_complete_at_once_is_not_queued_over_how_it_ended(
    inbox: Inbox,
    catalog: Catalog,
    clock: SettableClock,
    monkeypatch: pytest.MonkeyPatch,
    first: str,
) -> None:
    """The second looked before the first began, and comes to its end once all is over."""
    upload = inbox.uploads.open({DATABASE: len(DUMP), VOLUME: len(LIBRARY)}, {}, "ann")
    for kind, body in ((DATABASE, DUMP), (VOLUME, LIBRARY)):
        inbox.uploads.put(upload.id, kind, body)

    def refuse(*_: object) -> None:
        raise StorageError("the storage is away")

    def take_in() -> None:
        inbox.uploads.seal(upload.id)
        with monkeypatch.context() as broken, suppress(StorageError):
            if first != "succeeded":
                broken.setattr(catalog.backups, "publish", refuse)
            inbox.take_in(upload.id)

    if first == "failed twice":
        take_in()
    get = catalog.uploads.get

    def look(upload_id: str) -> Upload:
        found = get(upload_id)
        monkeypatch.setattr(catalog.uploads, "get", get)
        clock.pass_by(timedelta(seconds=1))
        take_in()
        return found

    def found_complete(_: Upload, kind: ArchiveKind, __: object) -> str:
        return str(upload.files[kind].etag)

    late = Uploads(catalog)
    monkeypatch.setattr(late, "_whole_parts", lambda *_: None)
    monkeypatch.setattr(late, "_complete", found_complete)
    monkeypatch.setattr(catalog.uploads, "get", look)
    with pytest.raises(Conflict, match="was asked for by another call"):
        late.seal(upload.id)
    assert inbox.run(upload.id).state == first.partition(" ")[0]


def test_while_another_run_writes_the_upload_waits_for_another_try(
    inbox: Inbox, catalog: Catalog
) -> None:
    upload_id = inbox.sent()
    lease = catalog.lease.acquire("other", RunKind.RESTORE, None, timedelta(minutes=2))
    with pytest.raises(LeaseHeld, match="restore run other"):
        inbox.take_in(upload_id)
    lease.release()
    assert inbox.take_in(upload_id).run_id == upload_id


def test_an_upload_of_a_bad_id_is_not_looked_for() -> None:
    with pytest.raises(Exception, match="is not a run id"):
        UploadRequest.read({"upload_id": "../x"})


def test_a_hostile_dump_is_refused_by_its_line(inbox: Inbox) -> None:
    dump = SQL + b"GRANT ALL PRIVILEGES ON *.* TO 'me'@'%';\n"
    line = SQL.count(b"\n") + 1
    with pytest.raises(ArchiveRefused, match=f"^line {line} of the dump is refused"):
        inbox.take_in(inbox.sent(dump))


def test_a_backup_that_cannot_be_read_keeps_no_upload_from_being_taken_in(
    inbox: Inbox, catalog: Catalog, store: ObjectStore, clock: SettableClock
) -> None:
    unreadable = publish(catalog, clock())
    store.put(f"acme/prd/backups/{unreadable}/manifest.json", b'{"format": 2}')
    upload_id = inbox.sent()
    first = inbox.take_in(upload_id)
    assert first.backup_id == "acme-prd-202611230014"
    assert inbox.take_in(upload_id) == first
