"""A create that several functions work on: what its record, its bucket and the bus say in the end.

The database is a stand-in; its dump is told in tests/integration, the order of steps in e2e.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from lcp_backup.archive.write import OnlyFile
from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.errors import (
    Conflict,
    DatabaseTooLarge,
    DumpFailed,
    InvalidRequest,
    LeaseLost,
    RunIsOver,
    StorageError,
    TableChangedDuringDump,
    UnknownFormat,
    VolumeError,
)
from lcp_backup.jobs import create_by_workers
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.archives import open_archive, read_back_or_describe
from lcp_backup.jobs.cleanup import clean_up
from lcp_backup.jobs.create import CreateResult, create_backup
from lcp_backup.jobs.create_by_workers import work_on_create
from lcp_backup.jobs.fan_out import workers_for
from lcp_backup.jobs.joined_volume import join_volume
from lcp_backup.jobs.new_database import DumpedDatabase
from lcp_backup.jobs.new_volume import NewVolume
from lcp_backup.jobs.shared_run import SHARED_TERM, SharedRun
from lcp_backup.jobs.shared_volume import SharedVolume
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.model import ArchiveKind, DatabaseFacts, RunKind, RunState
from lcp_backup.requests import CreateRequest
from lcp_backup.settings import Settings
from lcp_backup.steps import CreateStepRequest
from lcp_backup.telemetry import Telemetry
from lcp_backup.volume import shares
from lcp_backup.volume.entry import Entry
from lcp_backup.volume.scan import scan
from tests.support.backups import BUCKET
from tests.support.clock import SettableClock
from tests.support.memory_s3 import Killed, MemoryS3
from tests.support.trees import snapshot
from tests.support.volumes import Volumes

SLOT = "2026-11-23T00:15:00Z"
QUARTER = timedelta(minutes=15)


class Functions:
    """The create function and its workers, as Lambda would run them."""

    def __init__(
        self, clock: SettableClock, telemetry: Telemetry, tmp_path: Path, **variables: str
    ) -> None:
        self.clock = clock
        self.s3 = MemoryS3(clock)
        client: Any = self.s3
        self.catalog = Catalog(ObjectStore(client, BUCKET, pause=lambda _: None), "a/p", clock)
        self.volumes = Volumes(self.catalog, clock, tmp_path / "data", tmp_path)
        self.telemetry = telemetry
        self.started: list[str] = []
        self.dumps = 0
        self.dump_fails: Callable[[], None] = lambda: None
        env = {"LCP_BACKUP_FOLDER": str(self.volumes.folder), "LCP_CREATE_MACHINE": "arn"}
        self.settings = Settings.from_env({**env, **variables})

    def timing(self, until: timedelta = QUARTER) -> RunTiming:
        return RunTiming(self.clock() + until, SHARED_TERM, heartbeat=timedelta(hours=1))

    def create(self, **request: object) -> CreateResult:
        return create_backup(
            CreateRequest.read({"time": SLOT, **request}),
            settings=self.settings,
            catalog=self.catalog,
            telemetry=self.telemetry,
            locate=lambda: pytest.fail("the create function itself dumps nothing"),
            programs=(),
            timing=self.timing(),
            start_workers=self.started.append,
        )

    def step(self, step: str, **more: object) -> dict[str, Any]:
        return work_on_create(
            CreateStepRequest.read({"run_id": self.started[-1], "step": step, **more}),
            settings=self.settings,
            catalog=self.catalog,
            telemetry=self.telemetry,
            locate=lambda: pytest.fail("the dump is a stand-in"),
            programs=(),
            # (Without a heart that beats, a lease has to do for all of a step.)
            timing=self.timing(SHARED_TERM - timedelta(minutes=1)),
            pause=lambda _: self.clock.pass_by(timedelta(seconds=30)),
        )

    def items(self) -> list[dict[str, Any]]:
        while not (place := self.step("plan"))["done"]:
            pass
        found: list[dict[str, Any]] = json.loads(self.s3.objects[place["key"]]["Body"])
        return found

    def pack(self) -> None:
        """All shares, one after the other, as the Map does it."""
        items = self.items()
        assert self.step("snapshot") == {"done": False}
        self.step("dump")
        assert not any(key.endswith("/cuts") for key in self.s3.objects)
        assert self.step("snapshot") == {"done": True}
        assert any(key.endswith("/cuts") for key in self.s3.objects), "not looked at again"
        for item in items:
            while not self.step("pack", **item)["done"]:
                pass

    def store_database(self, _run: ActiveRun, backup_id: str, **more: Any) -> DumpedDatabase:
        self.dumps += 1
        on_snapshot: Callable[[], None] = more["on_snapshot"]
        on_snapshot()
        self.dump_fails()
        name = OnlyFile("lportal.sql", self.clock())
        with open_archive(self.catalog, backup_id, ArchiveKind.DATABASE, name) as writer:
            writer.add([b"-- Dump completed\n"])
            written = writer.finish()
        return DumpedDatabase(
            archive=read_back_or_describe(self.catalog, backup_id, written),
            facts=DatabaseFacts(
                name="lportal", flavour="mysql", server_version="9", client_version="9", tables=1
            ),
            notices=(),
            left_out=(),
        )

    @property
    def record(self) -> Any:
        """That of the run, as it is now."""
        return self.catalog.runs.get(self.started[-1])

    def is_all_clear(self) -> bool:
        """Whether nothing is open, published or left."""
        below = [key for key in self.s3.objects if "/backups/" in key]
        left = list(self.catalog.work.run_ids())
        return not (below or left or any(True for _ in self.catalog.backups.open_multiparts()))


@pytest.fixture
def functions(
    clock: SettableClock,
    telemetry: Telemetry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Functions:
    made = Functions(clock, telemetry, tmp_path)
    monkeypatch.setattr(create_by_workers, "store_database", made.store_database)
    for name in "abcdef":
        (made.volumes.folder / name).write_bytes(os.urandom(2 << 20))
    return made


def test_a_create_by_workers_ends_as_one_in_one_invocation_does(
    functions: Functions, announced: list[tuple[str, dict[str, Any]]]
) -> None:
    begun = functions.create(workers=3)
    assert (begun.created, begun.is_under_way, functions.started) == (False, True, [begun.run_id])
    assert functions.record.state == "running"
    functions.pack()
    assert functions.step("publish") == {}
    record, manifest = functions.record, functions.catalog.backups.get(begun.backup_id)
    assert (record.state, record.error, record.step) == (RunState.SUCCEEDED, None, "publishing")
    assert record.result == {"bytes": manifest.size, "warnings": 0, "losses": 0}
    assert record.progress["volume"] > 12 << 20
    assert (manifest.run_id, manifest.volume.writers) == (begun.run_id, 3)
    assert [event for event, _ in announced] == ["Backup Created"]
    assert functions.catalog.lease.holder() is None
    assert list(functions.catalog.work.run_ids()) == []
    restored = functions.volumes.restore(manifest.id)
    assert snapshot(restored) == snapshot(functions.volumes.folder)


def test_a_second_delivery_is_the_same_execution_and_waits_for_nothing(
    functions: Functions,
) -> None:
    first = functions.create(workers=3)
    assert functions.create() == first
    assert functions.started == [first.run_id]
    functions.pack()
    functions.step("publish")
    late = functions.create()
    assert (late.run_id, late.is_under_way) == (first.run_id, False)


def test_each_step_may_be_asked_for_twice(functions: Functions) -> None:
    begun = functions.create(workers=2)
    functions.pack()
    functions.step("dump")
    assert functions.dumps == 1
    functions.step("publish")
    assert functions.step("publish") == {}
    assert functions.step("abort", error={"Error": "States.Timeout"}) == {}
    assert functions.record.state == "succeeded"
    assert functions.catalog.backups.get(begun.backup_id).volume.writers == 2


def look_slowly(functions: Functions, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Has the plan's look at each name take a minute; answers the names that it looks at."""
    looked: list[str] = []
    real = scan

    def slow(*of: Any, **more: Any) -> Iterator[Entry]:
        with closing(real(*of, **more)) as found:
            for entry in found:
                looked.append(entry.name)
                functions.clock.pass_by(timedelta(minutes=1))
                yield entry

    monkeypatch.setattr(shares, "scan", slow)
    return looked


def test_a_plan_that_one_invocation_cannot_make_goes_on_in_the_next(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of this test has four minutes, of which it looks for three."""
    begun = functions.create(workers=3)
    looked = look_slowly(functions, monkeypatch)
    answers = [functions.step("plan")["done"]]
    assert functions.record.step == "sharing out the volume"
    while not answers[-1]:
        answers.append(functions.step("plan")["done"])
        assert re.search(r"[2-5] names looked at|by 3 workers", functions.record.step)
    assert answers == [False, False, True]
    # (At what it had no time for, each stretch has looked in vain.)
    assert sorted(set(looked)) == sorted("abcdef")
    assert len(looked) <= 6 + 2
    items = json.loads(functions.s3.objects[f"a/p/runs/{begun.run_id}/items"]["Body"])
    assert len(items) == 3
    functions.step("dump")
    for item in items:
        assert functions.step("pack", **item) == {"done": True}
    functions.step("publish")
    assert snapshot(functions.volumes.restore(begun.backup_id)) == snapshot(
        functions.volumes.folder
    )


def test_two_invocations_that_look_through_the_folder_at_once_do_no_harm(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lambda may begin one again whose answer was lost, and the first lives on."""
    begun = functions.create(workers=3)
    look_slowly(functions, monkeypatch)
    work = functions.catalog.work.of(begun.run_id)
    functions.step("plan")
    first = work.get("survey")
    functions.step("plan")
    assert work.get("survey") != first
    work.put("survey", first)  # by the one that was given up
    functions.pack()
    functions.step("publish")
    assert snapshot(functions.volumes.restore(begun.backup_id)) == snapshot(
        functions.volumes.folder
    )


def test_a_plan_that_is_given_up_half_way_leaves_nothing(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions.create(workers=3)
    look_slowly(functions, monkeypatch)
    assert functions.step("plan")["done"] is False
    functions.step("abort", error={"Error": "States.Timeout"})
    assert functions.is_all_clear()


def test_a_worker_that_fails_once_is_done_again_and_its_bytes_count_once(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions.create(workers=2)
    (first, second) = functions.items()
    functions.step("dump")
    real = SharedVolume.pack

    def fails(*_: Any, **more: Any) -> bool:
        more["progress"](1 << 40)
        raise VolumeError("the file system was away")

    monkeypatch.setattr(SharedVolume, "pack", fails)
    with pytest.raises(VolumeError):
        functions.step("pack", **first)
    assert functions.record.state == "running"
    monkeypatch.setattr(SharedVolume, "pack", real)
    for item in (first, second):
        assert functions.step("pack", **item) == {"done": True}
    functions.step("publish")
    assert functions.record.state == "succeeded"
    assert functions.record.progress["volume"] < 14 << 20


def test_a_worker_that_always_fails_ends_the_run_with_its_words_and_leaves_nothing(
    functions: Functions, announced: list[tuple[str, dict[str, Any]]]
) -> None:
    functions.create(workers=2)
    functions.items()
    functions.dump_fails = lambda: (_ for _ in ()).throw(DumpFailed("the server went away"))
    with pytest.raises(DumpFailed):
        functions.step("dump")
    assert list(functions.catalog.backups.open_multiparts()) != []
    functions.step("abort", error={"Error": "States.ExceedToleratedFailureThreshold"})
    record = functions.record
    assert (record.state, record.error.code) == (RunState.FAILED, "dump-failed")
    assert [event for event, _ in announced] == ["Backup Failed"]
    assert announced[0][1]["error"] == "dump-failed"
    assert functions.is_all_clear()
    assert functions.catalog.lease.holder() is None
    with pytest.raises(RunIsOver):
        functions.step("plan")


def test_workers_that_aws_ended_leave_the_reason_to_it(functions: Functions) -> None:
    functions.create(workers=2)
    functions.items()
    functions.step("abort", error={"Error": "Sandbox.Timedout", "Cause": "..."})
    error = functions.record.error
    assert error.code == "died"
    assert "Sandbox.Timedout" in error.message
    assert functions.is_all_clear()


def test_a_reason_that_is_over_is_not_told_of_a_function_that_was_killed_later(
    functions: Functions,
) -> None:
    functions.create(workers=2)
    items = functions.items()
    with pytest.raises(LeaseLost, match="old plan"):
        functions.step("pack", **items[0] | {"plan": "another"})
    functions.step("abort", error={"Error": "Sandbox.Timedout", "Cause": "..."})
    assert functions.record.error.code == "died"
    assert "Sandbox.Timedout" in functions.record.error.message


def test_a_function_that_could_not_be_started_did_not_die(functions: Functions) -> None:
    functions.create(workers=2)
    functions.step("abort", error={"Error": "Lambda.TooManyRequestsException", "Cause": "..."})
    assert "could not be started for minutes" in functions.record.error.message


@pytest.mark.parametrize("share", [-1, 2, 10**9])
def test_a_share_that_there_is_not_is_refused_by_its_number(
    functions: Functions, share: int
) -> None:
    functions.create(workers=2)
    items = functions.items()
    with pytest.raises(InvalidRequest, match="share"):
        functions.step("pack", **items[0] | {"share": share})


@pytest.mark.parametrize("name", ["request", "plan"])
@pytest.mark.parametrize("body", [b"", b"{}", b'{"format": 2}'])
def test_what_another_version_left_ends_the_run_and_is_cleared_up(
    functions: Functions, name: str, body: bytes
) -> None:
    functions.create(workers=2)
    items = functions.items()
    functions.catalog.work.of(functions.record.id).put(name, body)
    with pytest.raises(UnknownFormat, match=f"{name} of run"):
        functions.step("pack", **items[0])
    functions.step("abort", error={"Error": "UnknownFormat"})
    assert functions.record.error.code == "unknown-format"
    assert functions.is_all_clear()


def test_a_request_that_nobody_can_read_does_not_keep_cleanup_from_its_work(
    functions: Functions,
) -> None:
    begun = functions.create(workers=2)
    functions.items()
    functions.catalog.work.of(begun.run_id).put("request", b"{}")
    functions.clock.pass_by(timedelta(minutes=6))
    assert clean_up(
        functions.settings,
        functions.catalog,
        functions.telemetry,
        functions.timing(),
        dry_run=False,
    ).died == [begun.run_id]
    assert functions.is_all_clear()


def test_a_backup_that_was_published_is_told_as_one_also_when_the_lease_is_anothers(
    functions: Functions,
    announced: list[tuple[str, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = functions.create(workers=2)
    functions.pack()

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as dying, pytest.raises(Killed):
        dying.setattr(SharedRun, "settle", killed)
        functions.step("publish")
    functions.clock.pass_by(timedelta(minutes=6))
    NewRun(functions.catalog, RunKind.RESTORE, "another").open(timedelta(minutes=30))
    with pytest.raises(LeaseLost):
        functions.step("publish")
    functions.step("abort", error={"Error": "LeaseLost"})
    record = functions.record
    assert (record.state, record.error) == (RunState.SUCCEEDED, None)
    assert record.result["bytes"] == functions.catalog.backups.get(begun.backup_id).size
    assert [event for event, _ in announced] == ["Backup Created"]


def test_an_execution_that_was_stopped_is_cleared_up_by_the_next_cleanup(
    functions: Functions,
) -> None:
    begun = functions.create(workers=2)
    items = functions.items()
    functions.step("dump")
    functions.step("pack", **items[0])

    def cleanup() -> Any:
        return clean_up(
            functions.settings,
            functions.catalog,
            functions.telemetry,
            functions.timing(),
            dry_run=False,
        )

    assert cleanup().died == []
    functions.clock.pass_by(timedelta(minutes=6))
    assert cleanup().died == [begun.run_id]
    assert functions.record.error.code == "died"
    assert list(functions.catalog.backups.open_multiparts()) == []
    assert list(functions.catalog.work.run_ids()) == []
    with pytest.raises(RunIsOver):
        functions.step("pack", **items[1])


def test_what_was_stopped_is_cleared_up_by_a_later_cleanup_where_another_run_writes(
    functions: Functions,
) -> None:
    functions.create(workers=2)
    functions.items()
    functions.clock.pass_by(timedelta(minutes=6))
    other = NewRun(functions.catalog, RunKind.RESTORE, "another")
    other.open(timedelta(minutes=5))
    for _ in range(2):
        clean_up(
            functions.settings,
            functions.catalog,
            functions.telemetry,
            functions.timing(),
            dry_run=False,
        )
        assert functions.record.error.code == "died"
        functions.clock.pass_by(timedelta(minutes=6))
    assert functions.is_all_clear()


def test_a_run_that_lost_its_lease_stops_and_touches_nothing_of_who_has_it(
    functions: Functions,
) -> None:
    functions.create(workers=2)
    items = functions.items()
    functions.step("dump")
    functions.clock.pass_by(timedelta(minutes=6))
    other = NewRun(functions.catalog, RunKind.RESTORE, "another")
    other.open(timedelta(minutes=30))
    with pytest.raises(LeaseLost):
        functions.step("pack", **items[0])
    before = set(functions.s3.objects)
    functions.step("abort", error={"Error": "LeaseLost"})
    assert functions.record.error.code == "lease-lost"
    assert {key for key in before - set(functions.s3.objects) if "/backups/" in key} == set()
    assert list(functions.catalog.backups.open_multiparts()) == []
    holder = functions.catalog.lease.holder()
    assert holder is not None
    assert holder.run_id == other.record.id


def test_a_table_that_is_altered_has_all_captured_once_more_and_only_once(
    functions: Functions,
) -> None:
    functions.create(workers=2)
    old = functions.items()

    def altered() -> None:
        raise TableChangedDuringDump("table t was altered")

    functions.dump_fails = altered
    with pytest.raises(TableChangedDuringDump):
        functions.step("dump")
    functions.step("pack", **old[0])
    functions.catalog.work.of(functions.record.id).put("survey", b"of the first time")
    functions.step("again")
    functions.dump_fails = lambda: None
    functions.pack()
    with pytest.raises(LeaseLost, match="old plan"):
        functions.step("pack", **old[1])
    with pytest.raises(TableChangedDuringDump):
        functions.step("again")
    functions.step("publish")
    assert functions.record.state == "succeeded"


def test_a_dump_whose_function_died_is_not_begun_again_beside_files_that_are_older(
    functions: Functions,
) -> None:
    functions.create(workers=2)
    functions.items()

    def killed() -> None:
        raise Killed

    functions.dump_fails = killed
    with pytest.raises(Killed):
        functions.step("dump")
    functions.dump_fails = lambda: None
    with pytest.raises(DumpFailed, match="died"):
        functions.step("dump")


def test_a_second_dump_at_once_does_not_take_its_snapshot_for_the_first_ones(
    functions: Functions,
) -> None:
    """The workers packed after the first one's; rows of a second could name files they lack."""
    functions.create(workers=2)
    functions.items()
    work = functions.catalog.work.of(functions.record.id)
    create_by_workers._write_snapshot_mark(work)
    with pytest.raises(DumpFailed, match="another invocation"):
        create_by_workers._write_snapshot_mark(work)


def test_a_second_dump_that_comes_late_takes_nothing_of_the_first_one_away(
    functions: Functions,
) -> None:
    """It began to make room when the first one had no snapshot yet."""
    functions.create(workers=2)
    items = functions.items()

    def first_comes_to_its_end(operation: str) -> None:
        if operation == "list_multipart_uploads":
            functions.s3.before = lambda _: None
            functions.step("dump")

    functions.s3.before = first_comes_to_its_end
    with pytest.raises(DumpFailed, match="another invocation"):
        functions.step("dump")
    assert functions.step("snapshot") == {"done": True}
    for item in items:
        while not functions.step("pack", **item)["done"]:
            pass
    functions.step("publish")
    names = {key.rpartition("/")[2] for key in functions.s3.objects if "/backups/" in key}
    assert names >= {"database.tgz", "database.index", "volume.tgz", "volume.index"}


@pytest.mark.parametrize("name", ["database.tgz", "database.index", "volume.tgz", "volume.index"])
@pytest.mark.parametrize("happens", ["deleted", "cut"])
def test_a_backup_of_which_anything_is_gone_is_not_published(
    functions: Functions, name: str, happens: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions.create(workers=2)
    functions.pack()

    def join_and_lose(*args: Any, **more: Any) -> NewVolume:
        joined = join_volume(*args, **more)
        (key,) = [it for it in functions.s3.objects if it.endswith(f"/{name}")]
        gone = functions.s3.objects.pop(key)
        if happens == "cut":
            functions.s3.put_object(Key=key, Body=gone["Body"][:-1])
        return joined

    monkeypatch.setattr(create_by_workers, "join_volume", join_and_lose)
    with pytest.raises(Conflict, match=f"{name} of backup .* nothing was published"):
        functions.step("publish")
    assert not any(key.endswith("manifest.json") for key in functions.s3.objects)


@pytest.mark.parametrize("at", range(1, 14))
def test_a_last_step_that_is_killed_anywhere_is_done_again(functions: Functions, at: int) -> None:
    begun = functions.create(workers=2)
    functions.pack()
    calls = iter(range(at))

    def before(operation: str) -> None:
        if not operation.startswith(("get", "head", "list")) and next(calls, None) is None:
            raise Killed

    functions.s3.before = before
    with suppress(Killed):
        functions.step("publish")
    functions.s3.before = lambda _: None
    functions.step("publish")
    assert functions.record.state == "succeeded"
    assert functions.record.result["losses"] == 0
    restored = functions.volumes.restore(begun.backup_id)
    assert snapshot(restored) == snapshot(functions.volumes.folder)


def test_a_backup_whose_end_could_not_be_written_is_told_by_the_next_attempt(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = functions.create(workers=2)
    functions.pack()
    end = SharedRun.end_as

    def refuse(*_: object) -> NoReturn:
        raise StorageError("S3 refused to write the record")

    monkeypatch.setattr(SharedRun, "end_as", refuse)
    with pytest.raises(StorageError, match="the end of run .* could not be written"):
        functions.step("publish")
    assert functions.record.state == "running"
    monkeypatch.setattr(SharedRun, "end_as", end)
    functions.step("publish")
    assert functions.record.state == "succeeded"
    assert functions.record.result["losses"] == 0
    assert functions.catalog.backups.get(begun.backup_id).run_id == functions.record.id


def test_what_ended_in_part_or_took_too_long_is_made_by_workers_from_then_on(
    functions: Functions,
) -> None:
    catalog = functions.catalog
    assert workers(functions) == 1
    manifest = functions.volumes.back_up()
    assert manifest.published_at - manifest.started_at < QUARTER
    assert workers(functions) == 1
    key = f"a/p/backups/{manifest.id}/manifest.json"
    slow = manifest.model_copy(update={"started_at": manifest.published_at - QUARTER})
    large = slow.volume_facts.model_copy(update={"bytes": 1 << 40})
    slow = slow.model_copy(update={"volume_facts": large})
    functions.s3.objects[key]["Body"] = slow.model_dump_json().encode()
    assert catalog.backups.latest() == slow
    assert workers(functions) == 8
    assert workers(functions, workers=1) == 1
    assert workers(functions, workers=64) == 8


def last_backup(functions: Functions, *, gigabytes: int, took: timedelta) -> None:
    """Makes the last backup one of so much SQL."""
    manifest = functions.volumes.back_up()
    functions.clock.pass_by(timedelta(days=1))
    database = manifest.database.model_copy(update={"raw_size": gigabytes * 10**9})
    update = {"started_at": manifest.published_at - took, "database": database}
    body = manifest.model_copy(update=update).model_dump_json().encode()
    functions.s3.objects[f"a/p/backups/{manifest.id}/manifest.json"]["Body"] = body


TASK = {"LCP_DUMP_TASK_SUBNET_IDS": "subnet-1"}


@pytest.mark.parametrize(("gigabytes", "by"), [(50, 1), (60, 8)])
def test_what_one_function_may_fail_to_dump_is_left_to_the_task_where_there_is_one(
    functions: Functions, gigabytes: int, by: int
) -> None:
    last_backup(functions, gigabytes=gigabytes, took=timedelta(minutes=10))
    assert workers(functions) == 1
    functions.settings = functions.settings.model_copy(
        update={"dump_task_subnet_ids": TASK["LCP_DUMP_TASK_SUBNET_IDS"]}
    )
    assert workers(functions) == by


@pytest.mark.parametrize("asked", [{}, {"workers": 1}, {"workers": 4}])
def test_what_no_function_can_dump_is_refused_before_it_begins_with_the_figures(
    functions: Functions, asked: dict[str, int], announced: list[tuple[str, dict[str, Any]]]
) -> None:
    last_backup(functions, gigabytes=300, took=timedelta(hours=1))
    with pytest.raises(DatabaseTooLarge, match=r"300 GB of SQL .* 135 GB at the very most"):
        functions.create(**asked)
    assert [event["error"] for _, event in announced] == ["database-too-large"]
    assert functions.started == []
    assert functions.catalog.lease.holder() is None


def test_what_a_function_did_dump_is_not_refused_however_large_it_is(functions: Functions) -> None:
    last_backup(functions, gigabytes=300, took=timedelta(minutes=10))
    assert functions.create(workers=2).is_under_way


def test_with_a_task_no_dump_is_too_large(
    clock: SettableClock, telemetry: Telemetry, tmp_path: Path
) -> None:
    functions = Functions(clock, telemetry, tmp_path, **TASK)
    last_backup(functions, gigabytes=300, took=timedelta(hours=1))
    assert functions.create().is_under_way


# --- a dump that a task did: of it the machine knows no more than that it ended ------------------


def test_a_task_that_dumped_lets_the_run_go_on_whatever_its_end_was(functions: Functions) -> None:
    functions.create(workers=2)
    functions.items()
    functions.step("dump")
    assert functions.step("dumped", error={"Error": "", "Cause": ""}) == {}
    assert functions.step("dumped", error={"Error": "States.TaskFailed", "Cause": "{}"}) == {}


@pytest.mark.parametrize("kind", [TableChangedDuringDump, DumpFailed])
def test_a_task_that_failed_does_so_by_its_own_words_and_its_own_kind(
    functions: Functions, kind: type[DumpFailed]
) -> None:
    functions.create(workers=2)
    functions.items()
    functions.dump_fails = lambda: (_ for _ in ()).throw(kind("of the log alone", public="told"))
    with pytest.raises(kind):
        functions.step("dump")
    with pytest.raises(DumpFailed, match="told") as raised:
        functions.step("dumped", error={"Error": "States.TaskFailed", "Cause": "{}"})
    assert type(raised.value) is kind
    functions.step("abort", error={"Error": kind.__name__})
    assert (functions.record.error.code, "told" in functions.record.error.message) == (
        kind.code,
        True,
    )


def test_a_new_attempt_is_not_judged_by_what_the_task_before_it_left(functions: Functions) -> None:
    functions.create(workers=2)
    functions.items()
    functions.dump_fails = lambda: (_ for _ in ()).throw(TableChangedDuringDump("altered"))
    with pytest.raises(TableChangedDuringDump):
        functions.step("dump")
    functions.step("again")
    functions.dump_fails = lambda: None
    functions.pack()
    assert functions.step("dumped", error={}) == {}


STOPPED = {"StopCode": "TaskFailedToStart", "StoppedReason": "", "Containers": []}
PULL = "CannotPullContainerError: pull image manifest of public.ecr.aws/lambda/python:3.13: timeout"
CAPACITY = "Capacity is unavailable at this time. Please try again later"
KILLED = {"StoppedReason": "OutOfMemoryError", "Containers": [{"ExitCode": 137}]}


@pytest.mark.parametrize(
    ("error", "cause", "words"),
    [
        ("States.TaskFailed", {**STOPPED, "StoppedReason": PULL}, "a NAT gateway"),
        ("States.TaskFailed", {**STOPPED, "StoppedReason": CAPACITY}, "no capacity for it now"),
        ("ECS.AmazonECSException", CAPACITY, "no capacity for it now"),
        ("States.TaskFailed", STOPPED, "did not start"),
        ("ECS.AccessDeniedException", "User: arn:aws:sts::1:x is not", "did not start"),
        ("States.TaskFailed", KILLED, "was killed: stopped by hand, or out of memory"),
        ("States.Timeout", "", "did not come to an end in its time"),
        ("States.TaskFailed", {"Containers": [{"ExitCode": 1}]}, "ended without a word"),
        ("", "", "ended without a word"),
    ],
)
def test_a_task_that_left_no_word_is_told_of_by_what_ecs_did(
    functions: Functions, error: str, cause: object, words: str
) -> None:
    functions.create(workers=2)
    functions.items()
    told = {"Error": error, "Cause": cause if isinstance(cause, str) else json.dumps(cause)}
    with pytest.raises(DumpFailed) as raised:
        functions.step("dumped", error=told)
    assert words in raised.value.public
    functions.step("abort", error={"Error": "DumpFailed"})
    assert functions.record.error.code == "dump-failed"
    assert words in functions.record.error.message
    assert "arn:" not in functions.record.error.message


def test_a_dump_that_nobody_begins_ends_the_run_within_minutes(functions: Functions) -> None:
    functions.create(workers=2)
    functions.items()
    for _ in range(3):
        assert functions.step("snapshot") == {"done": False}
        functions.clock.pass_by(timedelta(minutes=3))
    with pytest.raises(DumpFailed, match="20 minutes"):
        for _ in range(3):
            functions.step("snapshot")
            functions.clock.pass_by(timedelta(minutes=3))
    functions.step("abort", error={"Error": "DumpFailed"})
    assert "nobody began to dump the database within 20" in functions.record.error.message


def test_a_dump_that_has_begun_may_take_long_to_have_its_snapshot(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions.create(workers=2)
    functions.items()
    assert functions.step("snapshot") == {"done": False}

    def dies(*_: Any, **__: Any) -> DumpedDatabase:
        raise Killed

    monkeypatch.setattr(create_by_workers, "store_database", dies)
    with pytest.raises(Killed):
        functions.step("dump")
    for _ in range(7):
        functions.clock.pass_by(timedelta(minutes=3))
        assert functions.step("snapshot") == {"done": False}


def workers(functions: Functions, **request: object) -> int:
    asked = CreateRequest.read({"time": SLOT, **request})
    return workers_for(asked, functions.settings, functions.catalog, functions.timing())


def test_workers_that_there_are_not_are_refused_with_the_way_out(
    clock: SettableClock, telemetry: Telemetry, tmp_path: Path
) -> None:
    alone = Functions(clock, telemetry, tmp_path, LCP_BACKUP_WORKERS="1")
    with pytest.raises(InvalidRequest, match="Workers=1: leave workers out, or deploy with more"):
        alone.create(workers=2)
    assert alone.started == []
