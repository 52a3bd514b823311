"""What lies in the bucket: publishing, unpublishing, leftovers, runs, and the lease."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.catalog.backups import BackupLock
from lcp_backup.errors import (
    Conflict,
    InvalidRequest,
    LeaseHeld,
    LeaseLost,
    NotFound,
    UnknownFormat,
)
from lcp_backup.model import (
    ArchiveKind,
    BackupId,
    BackupType,
    Manifest,
    Run,
    RunId,
    RunKind,
    RunState,
)
from tests.support.backups import a_manifest, publish
from tests.support.clock import SettableClock

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TERM = timedelta(minutes=2)


def test_an_id_is_three_strings_and_two_dashes_and_reads_back(clock: SettableClock) -> None:
    backup_id = BackupId.of("dxpcloud", "lqgqnewltbexuewymq", clock())
    assert str(backup_id) == "dxpcloud-lqgqnewltbexuewymq-202611230015"
    assert BackupId.parse(str(backup_id)) == backup_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        "a-b-c",
        "a-b-209913010000",
        "a-b-2026112300151",
        "../a-b-202611230015",
        "a/b-c-202611230015",
        "a-b-202611230015\n",
        "a-b-٢٠٢٦١١٢٣٠٠١٥",
    ],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is not a backup id"):
        BackupId.parse(text)


def test_latest_where_only_an_id_is_understood_is_told_as_such() -> None:
    with pytest.raises(InvalidRequest, match="give the id itself: 'latest' is not understood here"):
        BackupId.parse("latest")
    with pytest.raises(InvalidRequest, match="<YYYYMMDDHHMM>$"):
        BackupId.parse("nonsense")


def test_a_backup_exists_if_and_only_if_its_manifest_does(
    catalog: Catalog, clock: SettableClock
) -> None:
    manifest = a_manifest(clock())
    writer = catalog.backups.archive_writer(manifest.id, ArchiveKind.DATABASE)
    writer.write(b"x")
    writer.complete()
    assert list(catalog.backups.all()) == []
    with pytest.raises(NotFound, match="acme-prd-202611230015"):
        catalog.backups.get(manifest.id)
    catalog.backups.publish(manifest)
    assert catalog.backups.get(manifest.id) == manifest
    assert list(catalog.backups.all()) == [manifest]


def test_a_published_backup_is_never_rewritten(catalog: Catalog, clock: SettableClock) -> None:
    backup_id = publish(catalog, clock())
    with pytest.raises(Conflict, match=backup_id):
        catalog.backups.publish(a_manifest(clock()).model_copy(update={"run_id": "another"}))
    with pytest.raises(Conflict, match=backup_id):
        catalog.backups.clear_unpublished(backup_id)
    assert catalog.backups.open(backup_id, "database.tgz").size == 100


def test_backups_are_listed_newest_first_whatever_their_names(
    catalog: Catalog, clock: SettableClock, store: ObjectStore
) -> None:
    old = publish(catalog, clock())
    clock.pass_by(timedelta(days=1))
    new = publish(catalog, clock())
    store.put("acme/prd/backups/zzz-notes/readme.txt", b"put here by hand")
    assert [manifest.id for manifest in catalog.backups.all()] == [new, old]
    assert catalog.backups.latest().id == new


def test_latest_can_mean_what_the_service_made_of_a_site(
    catalog: Catalog, clock: SettableClock
) -> None:
    ours = publish(catalog, clock())
    for _ in range(40):
        clock.pass_by(timedelta(minutes=1))
        publish(catalog, clock(), BackupType.UPLOADED)
    assert catalog.backups.latest().type is BackupType.UPLOADED
    assert catalog.backups.latest(uploaded=False).id == ours
    catalog.backups.unpublish(ours)
    assert catalog.backups.latest().type is BackupType.UPLOADED
    with pytest.raises(NotFound, match="uploaded ones do not count"):
        catalog.backups.latest(uploaded=False)


def test_the_newest_backup_is_one_read_however_many_there_are(
    catalog: Catalog, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        clock.pass_by(timedelta(minutes=1))
        newest = publish(catalog, clock())
    read: list[str] = []
    find = catalog.backups.find

    def watched(backup_id: str) -> Manifest | None:
        read.append(backup_id)
        return find(backup_id)

    monkeypatch.setattr(catalog.backups, "find", watched)
    assert catalog.backups.latest(uploaded=False).id == newest
    assert read == [newest]


def test_a_newer_backup_that_cannot_be_read_is_not_passed_over(
    catalog: Catalog, store: ObjectStore, clock: SettableClock
) -> None:
    publish(catalog, clock())
    for _ in range(2):
        clock.pass_by(timedelta(minutes=1))
        publish(catalog, clock(), BackupType.UPLOADED)
    store.put("acme/prd/backups/acme-prd-202611230016/manifest.json", b'{"format": 99}')
    with pytest.raises(UnknownFormat):
        catalog.backups.latest(uploaded=False)


def test_unpublish_leaves_nothing_and_may_be_called_again(
    catalog: Catalog, store: ObjectStore, clock: SettableClock
) -> None:
    backup_id = publish(catalog, clock())
    catalog.backups.unpublish(backup_id)
    catalog.backups.unpublish(backup_id)
    assert list(store.entries("")) == []
    with pytest.raises(NotFound, match="no backup in s3://backups/acme/prd/"):
        catalog.backups.latest()


def test_no_version_of_a_locked_backup_can_be_deleted_and_expiring_hides_it(
    s3: "S3Client", clock: SettableClock
) -> None:
    s3.create_bucket(
        Bucket="locked",
        CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
        ObjectLockEnabledForBucket=True,
    )
    store = ObjectStore(s3, "locked")
    term = timedelta(days=30)
    catalog = Catalog(store, "acme/prd", clock, lock=BackupLock("GOVERNANCE", term))
    backup_id = a_manifest(clock()).id
    publish(catalog, clock())
    versions = s3.list_object_versions(Bucket="locked")["Versions"]
    assert len(versions) == 5
    for version in versions:
        key, version_id = version["Key"], version["VersionId"]
        kept = s3.head_object(Bucket="locked", Key=key, VersionId=version_id)
        assert kept["ObjectLockMode"] == "GOVERNANCE"
        assert kept["ObjectLockRetainUntilDate"] == clock() + term
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.delete_object(Bucket="locked", Key=key, VersionId=version_id)
    catalog.backups.unpublish(backup_id)
    assert list(catalog.backups.all()) == []
    assert len(s3.list_object_versions(Bucket="locked")["Versions"]) == 5


def test_an_archive_of_many_parts_is_locked_from_its_start(
    store: ObjectStore, s3: "S3Client", clock: SettableClock
) -> None:
    # The mock forgets the lock of a multipart upload, so this looks at what is asked of S3.
    asked: list[dict[str, Any]] = []
    s3.meta.events.register(
        "provide-client-params.s3.CreateMultipartUpload",
        lambda params, **_: asked.append(params),
    )
    term = timedelta(days=7)
    catalog = Catalog(store, "acme/prd", clock, lock=BackupLock("COMPLIANCE", term))
    writer = catalog.backups.archive_writer(a_manifest(clock()).id, ArchiveKind.VOLUME)
    for _ in range(3):
        writer.write(bytes(8 * 1024 * 1024))
    writer.complete()
    (params,) = asked
    assert params["ObjectLockMode"] == "COMPLIANCE"
    assert params["ObjectLockRetainUntilDate"] == clock() + term


def test_what_a_dead_run_left_is_cleared_before_its_id_is_used_again(
    catalog: Catalog, store: ObjectStore, clock: SettableClock
) -> None:
    backup_id = a_manifest(clock()).id
    done = catalog.backups.archive_writer(backup_id, ArchiveKind.VOLUME)
    done.write(b"x")
    done.complete()
    broken_off = catalog.backups.archive_writer(backup_id, ArchiveKind.DATABASE)
    for _ in range(3):
        broken_off.write(bytes(8 * 1024 * 1024))
    assert len(list(catalog.backups.open_multiparts())) == 1
    catalog.backups.clear_unpublished(backup_id)
    assert list(store.entries("")) == []
    assert list(catalog.backups.open_multiparts()) == []


def test_a_manifest_of_an_unknown_format_is_refused_and_says_so(
    catalog: Catalog, store: ObjectStore, clock: SettableClock
) -> None:
    body = a_manifest(clock()).model_dump_json().replace('"format":1', '"format":2')
    store.put("acme/prd/backups/acme-prd-202611230015/manifest.json", body.encode())
    told = "acme-prd-202611230015: .* reads manifest format 1 and cannot read this one"
    with pytest.raises(UnknownFormat, match=told):
        catalog.backups.get("acme-prd-202611230015")


def test_a_manifest_that_was_copied_to_where_another_id_is_is_no_backup_of_either(
    catalog: Catalog, store: ObjectStore, clock: SettableClock
) -> None:
    """Else who deletes the copy would delete the backup that it was copied from."""
    made = publish(catalog, clock())
    body = store.get(f"acme/prd/backups/{made}/manifest.json").body
    copied = "acme-prd-202611200015"
    store.put(f"acme/prd/backups/{copied}/manifest.json", body)
    with pytest.raises(UnknownFormat, match=f"lies as backup {copied} .*manifest of '{made}'"):
        catalog.backups.get(copied)
    assert catalog.backups.latest().id == made


def test_a_run_record_outlives_its_updates_and_is_found_by_id(
    catalog: Catalog, clock: SettableClock
) -> None:
    run = Run(
        id=catalog.runs.new_id(RunKind.CREATE),
        kind=RunKind.CREATE,
        state=RunState.RUNNING,
        started_at=clock(),
        updated_at=clock(),
    )
    catalog.runs.write(run)
    ended = run.model_copy(update={"state": RunState.SUCCEEDED, "finished_at": clock()})
    catalog.runs.write(ended)
    assert catalog.runs.get(run.id) == ended
    assert list(catalog.runs.all()) == [ended]
    assert RunId.parse(run.id).started_at == clock().replace(microsecond=0)
    catalog.runs.delete([run.id])
    with pytest.raises(NotFound, match=run.id):
        catalog.runs.get(run.id)


def test_the_lease_has_one_holder_and_says_who(catalog: Catalog) -> None:
    held = catalog.lease.acquire("run-1", RunKind.RESTORE, "acme-prd-202611230015", TERM)
    with pytest.raises(LeaseHeld, match="restore run run-1 of backup acme-prd-202611230015") as e:
        catalog.lease.acquire("run-2", RunKind.CREATE, None, TERM)
    assert e.value.backup_id == "acme-prd-202611230015"
    assert catalog.lease.backup_in_use() == "acme-prd-202611230015"
    held.release()
    assert catalog.lease.backup_in_use() is None
    catalog.lease.acquire("run-2", RunKind.CREATE, None, TERM)


def test_a_dead_runs_lease_is_taken_over_after_it_expires_and_its_run_finds_out(
    catalog: Catalog, clock: SettableClock
) -> None:
    dead = catalog.lease.acquire("dead", RunKind.CREATE, None, TERM)
    clock.pass_by(TERM - timedelta(seconds=1))
    with pytest.raises(LeaseHeld):
        catalog.lease.acquire("next", RunKind.CREATE, None, TERM)
    clock.pass_by(timedelta(seconds=1))
    catalog.lease.acquire("next", RunKind.CREATE, None, TERM)
    with pytest.raises(LeaseLost, match="run dead lost the right to write"):
        dead.renew()
    dead.release()
    with pytest.raises(LeaseHeld, match="run next"):
        catalog.lease.acquire("third", RunKind.CREATE, None, TERM)


def test_processes_of_one_run_renew_its_lease_side_by_side(
    catalog: Catalog, clock: SettableClock
) -> None:
    first = catalog.lease.acquire("long", RunKind.RESTORE, None, TERM)
    second = catalog.lease.take_up("long", TERM)
    for held in (first, second, first):
        clock.pass_by(timedelta(seconds=100))
        held.renew()
    with pytest.raises(LeaseHeld, match="long"):
        catalog.lease.acquire("other", RunKind.CREATE, None, TERM)
    # The tag of the second is an old one by now, and yet it gives the lease back for good.
    second.release()
    with pytest.raises(LeaseLost, match="another process ended the run"):
        first.renew()
    first.release()
    catalog.lease.acquire("other", RunKind.CREATE, None, TERM)


def test_no_process_of_a_run_shortens_a_lease_that_another_has_asked_for(
    catalog: Catalog, clock: SettableClock
) -> None:
    first = catalog.lease.acquire("long", RunKind.RESTORE, None, TERM)
    second = catalog.lease.take_up("long", TERM)
    first.renew(3 * TERM)  # for one that starts slowly
    second.renew()
    catalog.lease.take_up("long", TERM).renew()
    clock.pass_by(2 * TERM)
    with pytest.raises(LeaseHeld, match="long"):
        catalog.lease.check_is_free()
    second.release()
    catalog.lease.check_is_free()


def test_a_lease_is_taken_up_by_its_own_run_only_and_late_only_if_nobody_had_it_since(
    catalog: Catalog, clock: SettableClock
) -> None:
    with pytest.raises(LeaseLost):
        catalog.lease.take_up("long", TERM)
    catalog.lease.acquire("long", RunKind.RESTORE, None, TERM)
    with pytest.raises(LeaseLost):
        catalog.lease.take_up("other", TERM)
    clock.pass_by(2 * TERM)
    catalog.lease.take_up("long", TERM)
    with pytest.raises(LeaseHeld, match="long"):
        catalog.lease.check_is_free()
    clock.pass_by(TERM)
    catalog.lease.acquire("other", RunKind.CREATE, None, TERM).release()
    with pytest.raises(LeaseLost):
        catalog.lease.take_up("long", TERM)


def test_a_second_delivery_takes_another_lease_though_it_is_the_same_run(
    catalog: Catalog, clock: SettableClock
) -> None:
    first = catalog.lease.acquire("long", RunKind.RESTORE, None, TERM)
    clock.pass_by(TERM)
    second = catalog.lease.acquire("long", RunKind.RESTORE, None, TERM)
    with pytest.raises(LeaseLost):
        first.renew()
    first.release()
    second.renew()


def test_a_renewed_lease_stands(catalog: Catalog, clock: SettableClock) -> None:
    held = catalog.lease.acquire("long", RunKind.CREATE, None, TERM)
    for _ in range(5):
        clock.pass_by(TERM / 2)
        held.renew()
    with pytest.raises(LeaseHeld, match="run long"):
        catalog.lease.acquire("other", RunKind.CREATE, None, TERM)


def test_what_is_no_run_is_passed_over(catalog: Catalog, store: ObjectStore) -> None:
    run = catalog.runs.queue(catalog.runs.new_id(RunKind.RESTORE), RunKind.RESTORE, None)
    for name in (f"{run.id} (copy)", "20261123T000000-notes"):
        store.put(f"acme/prd/runs/{name}.json", b"put here by hand")
    assert list(catalog.runs.ids()) == [run.id]
    assert list(catalog.runs.restores()) == []
