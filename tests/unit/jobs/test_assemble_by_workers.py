"""An assembly by workers ends with one whole archive, or with none and a reason."""

import os
import random
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from lcp_backup.archive.segment import IndexedMember
from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.aws.s3_writer import ObjectWriter, Readable
from lcp_backup.catalog import Catalog
from lcp_backup.errors import (
    ArchiveDamaged,
    Conflict,
    InvalidRequest,
    NotFound,
    RunIsOver,
    StorageError,
)
from lcp_backup.jobs.assemble_fan_out import workers_for
from lcp_backup.jobs.cleanup import clean_up
from lcp_backup.jobs.handing_out import ALONE
from lcp_backup.model import ArchiveKind, Manifest, RunKind, RunState
from lcp_backup.requests import DownloadRequest
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry
from lcp_backup.volume import carry
from tests.support.assemble_machine import ENVIRONMENT, IDLE, AssembleMachine
from tests.support.backups import BUCKET, a_manifest
from tests.support.clock import SettableClock
from tests.support.trees import odd_tree, snapshot
from tests.support.volumes import Volumes, refer_to_every_size

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIB = 1 << 20
VOLUME, DATABASE = ArchiveKind.VOLUME, ArchiveKind.DATABASE


@pytest.fixture
def volumes(
    catalog: Catalog, clock: SettableClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Volumes:
    """Three backups, of which the last lies in three archives beside what it does not hold."""
    refer_to_every_size(monkeypatch)
    volumes = Volumes(catalog, clock, tmp_path / "data", tmp_path)
    odd_tree(volumes.folder / "odd")
    for number in range(8):
        (volumes.folder / f"{number}").write_bytes(os.urandom(2 * MIB))
    (volumes.folder / "large").write_bytes(os.urandom(18 * MIB + 777))
    volumes.back_up()
    (volumes.folder / "1").unlink()
    (volumes.folder / "newer").write_bytes(os.urandom(9 * MIB))
    volumes.back_up()
    (volumes.folder / "2").write_bytes(b"2")
    volumes.back_up()
    return volumes


@pytest.fixture
def machine(volumes: Volumes, telemetry: Telemetry) -> AssembleMachine:
    """One that was started for the last of them."""
    machine = AssembleMachine(volumes.catalog, telemetry)
    asked(machine)
    return machine


def asked(machine: AssembleMachine, *paths: str, run_id: str | None = None) -> None:
    latest = machine.catalog.backups.latest().id
    request = DownloadRequest(backup_id=latest, kind=VOLUME, paths=paths, workers=3, run_id=run_id)
    assert machine.ask(request).bytes is None


def assert_whole(machine: AssembleMachine, volumes: Volumes, out: Path) -> None:
    """The one download is the folder, and nothing else is left."""
    (found,) = machine.catalog.downloads.all()
    body = machine.catalog.downloads.find(found.key.rpartition("/")[2])
    assert body is not None
    out.mkdir()
    command = [
        "tar",
        "--extract",
        "--gzip",
        "--preserve-permissions",
        "--numeric-owner",
        "-C",
        str(out),
    ]
    subprocess.run(command, input=body.read(0, body.size), check=True)
    assert snapshot(out) == snapshot(volumes.folder)
    assert machine.record.state is RunState.SUCCEEDED
    assert machine.record.result["bytes"] == found.size
    assert machine.work == []


def assert_nothing(machine: AssembleMachine, store: ObjectStore, code: str) -> None:
    """There is no download, and a record that says why."""
    assert machine.record.state is RunState.FAILED
    assert machine.record.error is not None
    assert machine.record.error.code == code
    assert list(machine.catalog.downloads.all()) == []
    assert machine.work == []
    for below in ("downloads", "runs"):
        assert list(store.open_multiparts(f"acme/prd/{below}/")) == []


# --- whole, or nothing ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_pieces_that_come_in_any_order_and_more_than_once_make_one_archive(
    machine: AssembleMachine, volumes: Volumes, tmp_path: Path, seed: int
) -> None:
    numbers = [*machine.portions(), *machine.portions()]
    assert len(numbers) > 8
    random.Random(seed).shuffle(numbers)
    machine.execute(numbers)
    assert_whole(machine, volumes, tmp_path / "out")
    with pytest.raises(RunIsOver):
        machine.step("join")
    with pytest.raises(RunIsOver):
        machine.step("piece", portion=0)
    machine.abort(RunIsOver("late"))
    assert_whole(machine, volumes, tmp_path / "again")


def test_an_attempt_that_was_given_up_and_lives_on_changes_nothing(
    machine: AssembleMachine, volumes: Volumes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second attempt is through, and all is joined, while the first is still at work."""
    real = carry.carry
    late: list[object] = []

    def carried(*arguments, **more):  # type: ignore[no-untyped-def]
        moved = real(*arguments, **more)
        if not late:
            late.append(True)
            machine.step("piece", portion=0)
            arguments[0].add([b"not what the first has made"])
        return moved

    monkeypatch.setattr("lcp_backup.jobs.assemble_by_workers.carry", carried)
    machine.step("piece", portion=0)
    machine.execute()
    assert_whole(machine, volumes, tmp_path / "out")


def test_a_join_that_was_killed_behind_its_last_call_is_found_done(
    machine: AssembleMachine, volumes: Volumes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in machine.portions():
        machine.step("piece", portion=number)
    with monkeypatch.context() as context:
        context.setattr(
            "lcp_backup.jobs.active_run.ActiveRun.set_result",
            lambda *_, **__: (_ for _ in ()).throw(StorageError("the answer was lost")),
        )
        with pytest.raises(StorageError):
            machine.step("join")
    assert machine.record.state is RunState.RUNNING
    machine.step("join")
    assert_whole(machine, volumes, tmp_path / "out")


def test_a_join_whose_end_could_not_be_written_is_tried_again_and_not_told_as_dead(
    machine: AssembleMachine, volumes: Volumes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in machine.portions():
        machine.step("piece", portion=number)

    def refuse(*_: object) -> NoReturn:
        raise StorageError("S3 refused to write the record")

    with monkeypatch.context() as context:
        context.setattr(machine.catalog.runs, "change", refuse)
        with pytest.raises(StorageError, match="the end of run .* could not be written"):
            machine.step("join")
    assert machine.record.state is RunState.RUNNING
    assert machine.step("join") == {}
    assert_whole(machine, volumes, tmp_path / "out")


def test_a_piece_that_is_missing_fails_the_join_by_its_number(
    machine: AssembleMachine, store: ObjectStore
) -> None:
    portions = machine.portions()
    with pytest.raises(Conflict, match="piece 3 of run .* download it once more"):
        machine.execute([it for it in portions if it != 3])
    assert_nothing(machine, store, "conflict")


def replace_piece(machine: AssembleMachine, s3: "S3Client", number: int, how: str) -> None:
    name = next(it for it in machine.work if it.startswith(f"piece-{number}/"))
    key = f"acme/prd/runs/{machine.run_id}/{name}"
    size = s3.head_object(Bucket=BUCKET, Key=key)["ContentLength"]
    s3.delete_object(Bucket=BUCKET, Key=key)
    if how != "gone":
        s3.put_object(Bucket=BUCKET, Key=key, Body=bytes(size - (how == "shorter")))


@pytest.mark.parametrize("how", ["gone", "shorter", "another"])
def test_a_piece_that_was_lost_or_replaced_since_fails_the_join(
    machine: AssembleMachine, store: ObjectStore, s3: "S3Client", how: str
) -> None:
    for number in machine.portions():
        machine.step("piece", portion=number)
    replace_piece(machine, s3, 2, how)
    with pytest.raises(Conflict, match="piece 2") as raised:
        machine.step("join")
    machine.abort(raised.value)
    assert_nothing(machine, store, "conflict")


@pytest.mark.parametrize("how", ["gone", "another"])
def test_a_piece_that_is_replaced_while_it_is_joined_is_named(
    machine: AssembleMachine,
    store: ObjectStore,
    s3: "S3Client",
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    """What copies a piece asks S3 for that one only, by its tag."""
    for number in machine.portions():
        machine.step("piece", portion=number)
    append = ObjectWriter.append
    done: list[int] = []

    def replaced_first(writer: ObjectWriter, source: Readable, offset: int, length: int) -> None:
        if not done:
            replace_piece(machine, s3, 5, how)
            done.append(5)
        append(writer, source, offset, length)

    monkeypatch.setattr(ObjectWriter, "append", replaced_first)
    with pytest.raises(Conflict, match="piece 5 .* is not there as it was made") as raised:
        machine.step("join")
    machine.abort(raised.value)
    assert_nothing(machine, store, "conflict")


@pytest.mark.parametrize("source", [0, 1])
def test_a_damaged_archive_is_named_and_nothing_is_handed_out(
    machine: AssembleMachine, store: ObjectStore, s3: "S3Client", source: int
) -> None:
    made = list(machine.catalog.backups.all())
    key = f"acme/prd/backups/{made[-1 - source].id}/volume.tgz"
    body = bytearray(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    body[len(body) // 2] ^= 1
    s3.put_object(Bucket=BUCKET, Key=key, Body=bytes(body))
    with pytest.raises(ArchiveDamaged, match=made[-1 - source].id):
        machine.execute()
    assert_nothing(machine, store, "archive-damaged")


def test_a_source_that_is_missing_is_named(
    machine: AssembleMachine, store: ObjectStore, s3: "S3Client"
) -> None:
    first = list(machine.catalog.backups.all())[-1].id
    s3.delete_object(Bucket=BUCKET, Key=f"acme/prd/backups/{first}/volume.tgz")
    with pytest.raises(ArchiveDamaged, match=f"volume.tgz of backup {first}.*is missing"):
        machine.execute()
    assert_nothing(machine, store, "archive-damaged")


def test_a_backup_that_is_deleted_meanwhile_ends_it(
    machine: AssembleMachine, store: ObjectStore, s3: "S3Client"
) -> None:
    latest = machine.catalog.backups.latest().id
    s3.delete_object(Bucket=BUCKET, Key=f"acme/prd/backups/{latest}/manifest.json")
    with pytest.raises(NotFound):
        machine.execute()
    assert_nothing(machine, store, "not-found")


def test_what_was_left_of_the_index_and_is_not_what_it_was_ends_it(
    machine: AssembleMachine, store: ObjectStore
) -> None:
    machine.catalog.work.of(machine.run_id).put("slices-0", b"something else" * 10_000)
    with pytest.raises(Conflict, match="not what it left there: download it once more"):
        machine.execute()
    assert_nothing(machine, store, "conflict")


def test_a_worker_that_dies_without_a_word_is_told_of(
    machine: AssembleMachine, store: ObjectStore
) -> None:
    machine.step("piece", portion=0)
    machine.step("abort", error={"Error": "Sandbox.Timedout", "Cause": "killed"})
    assert_nothing(machine, store, "died")
    with pytest.raises(RunIsOver):
        machine.step("piece", portion=1)
    with pytest.raises(RunIsOver):
        machine.step("join")
    assert_nothing(machine, store, "died")


def test_a_portion_that_there_is_not_is_refused(machine: AssembleMachine) -> None:
    with pytest.raises(InvalidRequest, match="portion: 999"):
        machine.step("piece", portion=999)


# --- how it begins --------------------------------------------------------------------------------


def test_an_event_that_comes_twice_is_planned_once(
    machine: AssembleMachine, volumes: Volumes, tmp_path: Path
) -> None:
    run_id = machine.catalog.runs.new_id(RunKind.DOWNLOAD)
    asked(machine, run_id=run_id)
    asked(machine, run_id=run_id)
    assert [it["run_id"] for it in machine.started].count(run_id) == 1
    machine.execute()
    assert_whole(machine, volumes, tmp_path / "out")


def test_an_event_that_comes_again_is_planned_where_the_first_could_not_begin(
    machine: AssembleMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = machine.catalog.runs.new_id(RunKind.DOWNLOAD)

    def refuse(*_: object) -> NoReturn:
        raise StorageError("S3 refused to write the record")

    with monkeypatch.context() as context:
        context.setattr(machine.catalog.runs, "write", refuse)
        with pytest.raises(StorageError, match="refused to write the record"):
            asked(machine, run_id=run_id)
    asked(machine, run_id=run_id)
    assert machine.run_id == run_id


def test_a_path_that_is_not_there_fails_the_run_and_leaves_nothing(
    machine: AssembleMachine, store: ObjectStore
) -> None:
    latest = machine.catalog.backups.latest().id
    run_id = machine.catalog.runs.new_id(RunKind.DOWNLOAD)
    request = DownloadRequest(backup_id=latest, kind=VOLUME, paths=("nothing",), workers=3)
    with pytest.raises(NotFound, match="'nothing'"):
        machine.ask(request.model_copy(update={"run_id": run_id}))
    run = machine.catalog.runs.get(run_id)
    assert run.state is RunState.FAILED
    assert not [it for it in store.entries("acme/prd/runs/") if f"/{run.id}/" in it.key]


def test_the_empty_folder_is_an_archive_too(
    volumes: Volumes, telemetry: Telemetry, clock: SettableClock, tmp_path: Path
) -> None:
    empty = Volumes(volumes.catalog, clock, tmp_path / "empty", tmp_path)
    made = empty.back_up(whole=True)
    machine = AssembleMachine(volumes.catalog, telemetry)
    machine.ask(DownloadRequest(backup_id=made.id, kind=VOLUME, workers=2))
    machine.execute()
    assert_whole(machine, empty, tmp_path / "out")


def test_an_execution_that_was_stopped_is_cleared_up_by_cleanup(
    machine: AssembleMachine,
    store: ObjectStore,
    clock: SettableClock,
    telemetry: Telemetry,
) -> None:
    """Also the multipart upload of a worker that was killed in the middle of its piece."""
    writer = machine.catalog.work.of(machine.run_id).writer("piece-7/killed")
    writer.write(bytes(20 * MIB))
    while not list(store.open_multiparts("acme/prd/runs/")):
        pass
    settings = Settings.from_env(ENVIRONMENT)

    def clean() -> list[str]:
        return list(clean_up(settings, machine.catalog, telemetry, IDLE, dry_run=False).died)

    assert clean() == []
    assert machine.work
    clock.pass_by(timedelta(hours=2))
    assert clean() == [machine.run_id]
    assert machine.work == []
    clock.pass_by(timedelta(days=1, hours=1))
    clean()
    assert list(store.open_multiparts("acme/prd/runs/")) == []


# --- who decides ----------------------------------------------------------------------------------

GB = 10**9
NO_MACHINE = {"LCP_ASSEMBLE_MACHINE": ""}


def decided(
    size: int,
    *paths: str,
    selected: int = 0,
    kind: ArchiveKind = VOLUME,
    workers: int | None = None,
    seconds: float | None = 880,
    env: dict[str, str] | None = None,
) -> int:
    manifest: Manifest = a_manifest(datetime(2026, 11, 20, tzinfo=UTC))
    facts = manifest.volume_facts.model_copy(update={"bytes": size, "files": 10})

    def chosen() -> Iterator[IndexedMember]:
        assert paths
        yield IndexedMember("a", "file", 0, 0, 0, selected, 0, 0o644, 0, 0)

    return workers_for(
        DownloadRequest(backup_id=manifest.id, kind=kind, paths=paths, workers=workers),
        Settings.from_env({**ENVIRONMENT, "LCP_BACKUP_WORKERS": "8", **(env or {})}),
        manifest.model_copy(update={"volume_facts": facts}),
        chosen,
        seconds=seconds,
    )


def test_who_asks_decides_and_else_whether_one_function_can_assemble_it_in_its_time() -> None:
    assert decided(40 * GB) == ALONE
    assert decided(50 * GB) == 8
    assert decided(50 * GB, seconds=None) == ALONE
    assert decided(50 * GB, env=NO_MACHINE) == ALONE
    assert decided(50 * GB, workers=1) == ALONE
    assert decided(1, workers=4) == 4
    assert decided(1, workers=64) == 8
    assert decided(50 * GB, "a", selected=1) == ALONE
    assert decided(90 * GB, "a", selected=50 * GB) == 8
    assert decided(50 * GB, kind=DATABASE) == ALONE
    with pytest.raises(InvalidRequest, match="Workers=1"):
        decided(1, workers=2, env=NO_MACHINE)
    with pytest.raises(ValueError, match="one function takes tables out of a database"):
        decided(1, workers=2, kind=DATABASE)
