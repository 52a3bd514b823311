"""What workers find out of a backup is what one function finds out, and never more than that."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pydantic import SecretStr

from lcp_backup.archive.segment import Segment
from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.database import scratch_schemas
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.database.scratch import Proved
from lcp_backup.errors import (
    ArchiveDamaged,
    BackupError,
    Conflict,
    InvalidRequest,
    LeaseHeld,
    LeaseLost,
    LoadFailed,
    NotFound,
    OutOfTime,
    RunIsOver,
    ServerGaveUp,
    StorageError,
)
from lcp_backup.jobs import verify_by_workers, verify_fan_out
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.at_work import WORKERS, AtWork
from lcp_backup.jobs.cleanup import clean_up
from lcp_backup.jobs.database_proof import DatabaseProof
from lcp_backup.jobs.handing_out import ALONE
from lcp_backup.jobs.left_work import DEAD_AFTER, is_under_way
from lcp_backup.jobs.load_fan_out import CONNECTIONS, told_to_machine
from lcp_backup.jobs.shared_run import SharedRun
from lcp_backup.jobs.stored_backup import StoredBackup, StoredVolume
from lcp_backup.jobs.verified import VerifyResult
from lcp_backup.jobs.verify import verify_backup
from lcp_backup.jobs.verify_by_workers import work_on_verification
from lcp_backup.jobs.verify_fan_out import workers_for
from lcp_backup.model import BackupType, Manifest, Run, RunKind, RunState
from lcp_backup.requests import VerifyRequest
from lcp_backup.settings import Settings
from lcp_backup.steps import VerifyStepRequest
from lcp_backup.telemetry import Telemetry
from lcp_backup.verification import Verdict, Verification
from lcp_backup.volume.proof import read_portion
from tests.support.backups import a_manifest
from tests.support.clock import SettableClock
from tests.support.trees import odd_tree
from tests.support.volumes import Volumes, refer_to_every_size

IDLE = RunTiming(heartbeat=timedelta(hours=1))
SERVER = DatabaseEndpoint(host="nowhere", port=3306, user="u", password=SecretStr("p"), name="d")
PROVED = Proved(tables=3, rows=10, tables_counted=2, statements=1, left_behind=())


@dataclass
class Site:
    """Backups of a folder, and a state machine that does what verify.asl.json says."""

    catalog: Catalog
    telemetry: Telemetry
    clock: SettableClock
    started: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        return Settings.from_env(
            {
                "LCP_PROJECT_ID": "acme",
                "LCP_ENVIRONMENT_ID": "prd",
                "LCP_VERIFY_MACHINE": "arn",
            }
        )

    def verify(self, **request: Any) -> VerifyResult:
        """What the verify function answers; the machine is started and does nothing yet."""
        return verify_backup(
            VerifyRequest(**{"backup_id": "latest", "workers": 3, **request}),
            settings=self.settings,
            catalog=self.catalog,
            telemetry=self.telemetry,
            locate=lambda: SERVER,
            timing=IDLE,
            start_workers=lambda name, event: self.started.append({"name": name, **event}),
        )

    def step(self, step: str, **more: Any) -> dict[str, Any]:
        """One invocation."""
        event = {"run_id": self.started[-1]["run_id"], "step": step, **more}
        return work_on_verification(
            VerifyStepRequest.read(event),
            settings=self.settings,
            catalog=self.catalog,
            telemetry=self.telemetry,
            locate=lambda: SERVER,
            timing=IDLE,
            pause=lambda seconds: self.clock.pass_by(timedelta(seconds=seconds)),
        )

    def execute(self) -> None:
        """The whole machine, or what it comes to."""
        try:
            with ThreadPoolExecutor(3) as pool:
                database = pool.submit(self.step, "database")
                asked = [pool.submit(self.step, "read", portion=it) for it in self.portions()]
            assert database.result() == {"left_to_task": False}
            for it in asked:
                assert it.result() == {}
            assert self.step("conclude") == {}
        except BackupError as error:
            self.abort(error)
            raise

    def abort(self, error: BackupError) -> bool:
        told = self.step("abort", error={"Error": type(error).__name__, "Cause": ""})
        return bool(told["gave_way"])

    def portions(self) -> range:
        event = self.started[-1]
        work = self.catalog.work.of(event["run_id"])
        assert work.place("items") == {name: event[name] for name in ("bucket", "key")}
        return range(work.get("items").count(b"portion"))

    @property
    def work(self) -> list[str]:
        return list(self.catalog.work.of(self.started[-1]["run_id"]).names())

    @property
    def record(self) -> Run:
        return self.catalog.runs.get(self.started[-1]["run_id"])

    @property
    def latest(self) -> Manifest:
        return self.catalog.backups.latest()

    @property
    def kept(self) -> Verification | None:
        return self.catalog.verifications.find(self.latest)

    def verdict(self) -> tuple[str, str | None]:
        """The verdict that is kept, and the code of what is wrong."""
        found = self.kept
        assert found is not None
        return str(found.verdict), None if found.error is None else found.error.code


@pytest.fixture
def site(
    catalog: Catalog,
    telemetry: Telemetry,
    clock: SettableClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Site:
    """Three backups, of which the last refers to both others; what was in one of them is gone."""
    refer_to_every_size(monkeypatch)
    folder = tmp_path / "liferay" / "data"
    folder.parent.mkdir()
    odd_tree(folder)
    large = folder / "document_library" / "20097" / "0" / "large.bin"
    large.write_bytes(bytes(9 << 20) + b"end")
    volumes = Volumes(catalog, clock, folder, tmp_path)
    volumes.back_up()
    (folder / "new").write_bytes(b"new")
    (folder / "another").mkdir()
    volumes.back_up()
    (folder / "newer").write_bytes(b"newer")
    volumes.back_up()
    site = Site(catalog, telemetry, clock)

    def prove(proof: DatabaseProof, *_: object, **__: object) -> Proved:

        proof.backup.read_bytes += 7
        return PROVED

    monkeypatch.setattr(DatabaseProof, "prove", prove)
    # (Several load it in tests/integration/jobs/test_prove_by_workers.py, on real servers.)
    monkeypatch.setattr(verify_fan_out, "_who_loads", lambda *_: "alone")
    monkeypatch.setattr(
        scratch_schemas,
        "drop_abandoned",
        lambda _server, *, whose, under_way: site.dropped.append(whose),  # noqa: ARG005
    )
    return site


def figures(found: Verification | None) -> dict[str, Any]:
    """All but who it was and how long it took."""
    assert found is not None
    return found.model_dump(
        exclude={"run_id", "started_at", "finished_at", "load_seconds", "read_seconds"}
    )


def flip(site: Site, name: str, at: int) -> None:
    """Flips a bit of the newest backup, or of what it refers to."""
    store = site.catalog.backups._store
    key = site.catalog.backups._keys.of_backup(name, "volume.tgz")
    body = bytearray(store.get(key).body)
    body[at] ^= 1
    store.delete([key])
    store.put(key, bytes(body))


def segment_with(site: Site, name: str) -> tuple[str, Segment]:
    """The archive and the segment in which a member of the newest backup begins."""
    with StoredBackup(site.catalog, site.latest).volume() as volume:
        member = next(it for it in volume.members() if it.name == name)
        segment = next(
            it
            for it in volume.all_segments()
            if (it.source, it.number) == (member.source, member.segment)
        )
        return volume.archives[member.source], segment


# --- a good backup --------------------------------------------------------------------------------


def test_workers_find_out_what_one_function_finds_out_under_one_run(
    site: Site, announced: list[tuple[str, dict[str, Any]]]
) -> None:
    site.verify(workers=1)
    alone = figures(site.kept)
    announced.clear()
    answer = site.verify()
    assert (answer.verdict, answer.run_id) == (None, site.started[-1]["name"])
    assert site.record.state is RunState.RUNNING
    assert site.catalog.lease.holder() is None, "no backup has to wait for it"
    assert len(site.portions()) > 3
    site.execute()
    assert figures(site.kept) == alone
    assert alone["verdict"] == "verified"
    assert alone["read_bytes"] > site.latest.volume.size
    run = site.record
    assert (run.state, run.error, run.kind) == (RunState.SUCCEEDED, None, RunKind.VERIFY)
    assert run.result == {
        "verdict": "verified",
        "tables": 3,
        "rows": 10,
        "files": site.latest.volume_facts.files,
        "read_bytes": alone["read_bytes"],
    }
    assert run.progress["volume"] >= site.latest.volume_facts.bytes
    assert [name for name, _ in announced] == ["Backup Verified"]
    assert site.work == []
    assert (site.kept and site.kept.run_id) == run.id


def test_a_portion_that_is_read_twice_counts_once(site: Site) -> None:
    site.verify(workers=1)
    alone = figures(site.kept)
    site.verify()
    for portion in site.portions():
        site.step("read", portion=portion)
        site.step("read", portion=portion)
    site.execute()
    assert figures(site.kept) == alone


def test_a_worker_that_fails_once_is_tried_again_and_counts_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.verify()

    def fail(*args: Any, **more: Any) -> int:
        read_portion(*args, **more)
        raise StorageError("for once")

    with monkeypatch.context() as patch:
        patch.setattr(verify_by_workers, "read_portion", fail)
        with pytest.raises(StorageError):
            site.step("read", portion=0)
    assert site.record.progress.get("volume", 0) == 0
    site.execute()
    assert site.record.state is RunState.SUCCEEDED
    assert site.verdict() == ("verified", None)


def test_a_second_delivery_of_the_event_changes_nothing(site: Site) -> None:
    run_id = site.catalog.runs.new_id(RunKind.VERIFY)
    site.verify(run_id=run_id)
    there = site.work
    again = site.verify(run_id=run_id)
    assert (again.run_id, again.verdict, len(site.started)) == (run_id, None, 1)
    assert site.work == there
    site.execute()
    assert site.verify(run_id=run_id).verdict == Verdict.VERIFIED
    assert len(site.started) == 1


# --- a bad one ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["new", "newer", "another"])
def test_a_flipped_bit_is_found_and_its_segment_named_as_by_one_function(
    site: Site, name: str, announced: list[tuple[str, dict[str, Any]]]
) -> None:
    """In the backup's own archive, in another that it refers to, and where only folders lie."""
    archive, segment = segment_with(site, name)
    flip(site, archive, segment.offset + segment.size // 2)
    with pytest.raises(ArchiveDamaged) as alone:
        site.verify(workers=1)
    announced.clear()
    site.verify()
    with pytest.raises(ArchiveDamaged):
        site.execute()
    run, found = site.record, site.kept
    assert run.state is RunState.FAILED
    assert run.error is not None
    where = f"{segment.size} bytes at byte {segment.offset}, is not what was written"
    # (The number that a message gives a segment is its place among those that were asked for.)
    same = re.compile(rf"volume.tgz of backup {archive}: segment \d+, {where}: its SHA-256 differs")
    assert same.fullmatch(str(alone.value))
    assert same.fullmatch(run.error.message)
    assert run.error.code == "archive-damaged"
    assert found is not None
    assert (found.verdict, found.error, found.run_id) == ("bad", run.error, run.id)
    assert [name for name, _ in announced] == ["Verification Failed"]
    assert site.work == []
    assert site.dropped == [site.catalog.location]


def test_the_end_of_the_archive_is_read_though_nothing_lies_in_it(site: Site) -> None:
    flip(site, site.latest.id, -1)
    site.verify()
    with pytest.raises(ArchiveDamaged):
        site.execute()
    assert site.verdict() == ("bad", "archive-damaged")


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"size": 4}, {"name": "older"}])
def test_a_member_that_is_not_what_the_index_says_is_named(
    site: Site, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though every segment has its SHA-256."""
    real = StoredVolume.members

    def other(volume: StoredVolume) -> Iterator[Any]:
        for it in real(volume):
            yield it._replace(**change) if it.name == "newer" else it

    monkeypatch.setattr(StoredVolume, "members", other)
    site.verify()
    with pytest.raises(ArchiveDamaged, match=f"member '{change.get('name', 'newer')}' is not what"):
        site.execute()
    assert site.verdict() == ("bad", "archive-damaged")


def test_an_index_that_is_damaged_is_told_by_who_plans_and_nothing_is_started(site: Site) -> None:
    store, keys = site.catalog.backups._store, site.catalog.backups._keys
    key = keys.of_backup(site.latest.id, "volume.index")
    body = store.get(key).body
    store.delete([key])
    store.put(key, body[:-1] + bytes([body[-1] ^ 1]))
    with pytest.raises(ArchiveDamaged):
        site.verify()
    assert site.started == []
    assert site.verdict() == ("bad", "archive-damaged")
    assert list(site.catalog.work.run_ids()) == []


def test_what_one_worker_found_bad_stays_bad_when_another_reads_it_well(site: Site) -> None:
    archive, segment = segment_with(site, "newer")
    at = segment.offset + segment.size // 2
    flip(site, archive, at)
    site.verify()
    for portion in site.portions():
        try:
            site.step("read", portion=portion)
        except ArchiveDamaged:
            flip(site, archive, at)  # it was a lie
            site.step("read", portion=portion)
    site.step("database")
    with pytest.raises(ArchiveDamaged, match="segment") as raised:
        site.step("conclude")
    assert site.record.state is RunState.RUNNING
    site.abort(raised.value)
    assert site.verdict() == ("bad", "archive-damaged")


def test_a_bad_portion_is_told_though_another_worker_failed_last(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, segment = segment_with(site, "newer")
    flip(site, archive, segment.offset + segment.size // 2)
    site.verify()
    for portion in site.portions():
        try:
            site.step("read", portion=portion)
        except ArchiveDamaged:
            break

    def fail(*_: object, **__: object) -> None:
        raise StorageError("S3 is gone")

    monkeypatch.setattr(DatabaseProof, "prove", fail)
    with pytest.raises(StorageError) as raised:
        site.step("database")
    site.abort(raised.value)
    assert site.verdict() == ("bad", "archive-damaged")
    assert site.record.error == (site.kept and site.kept.error)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (LoadFailed("the definition of User_ was refused"), "bad"),
        (ServerGaveUp("the server went away"), "could-not-verify"),
        (OutOfTime("the time is over"), "could-not-verify"),
    ],
    ids=lambda it: it if isinstance(it, str) else type(it).__name__,
)
def test_a_database_that_is_not_proved_is_judged_as_by_one_function(
    site: Site, error: BackupError, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(DatabaseProof, "prove", fail)
    with pytest.raises(type(error)):
        site.verify(workers=1)
    alone = site.kept
    site.verify()
    with pytest.raises(type(error)):
        site.execute()
    assert site.verdict()[0] == verdict == (alone and alone.verdict)
    assert alone is not None
    assert alone.error is not None
    assert site.record.error is not None
    assert site.record.error.code == alone.error.code


# --- never more than that -------------------------------------------------------------------------


def test_a_portion_that_nobody_has_read_makes_no_success(site: Site) -> None:
    site.verify()
    site.step("database")
    *rest, last = site.portions()
    for portion in rest:
        site.step("read", portion=portion)
    with pytest.raises(Conflict, match=f"nobody has said that portion {last} of the volume") as it:
        site.step("conclude")
    assert site.record.finished_at is None
    assert site.abort(it.value) is False
    assert site.record.state is RunState.FAILED
    assert site.verdict() == ("could-not-verify", "conflict")


def test_without_the_database_there_is_no_success(site: Site) -> None:
    site.verify()
    for portion in site.portions():
        site.step("read", portion=portion)
    with pytest.raises(Conflict, match="nobody has said that the database was proved"):
        site.step("conclude")
    assert site.kept is None


def test_what_is_said_of_a_portion_of_another_plan_does_not_count(site: Site) -> None:
    site.verify()
    site.step("database")
    for portion in site.portions():
        site.step("read", portion=portion)
    work = site.catalog.work.of(site.record.id)
    said = json.loads(work.get("read-1"))
    work.put("read-1", json.dumps({**said, "sha256": "0" * 64}).encode())
    with pytest.raises(Conflict, match="portion 1"):
        site.step("conclude")
    work.put("read-1", json.dumps({**said, "members": said["members"] - 1}).encode())
    with pytest.raises(Conflict, match="workers have read .* members where the index lists"):
        site.step("conclude")
    work.put("read-1", json.dumps(said).encode())
    site.step("conclude")
    assert site.verdict() == ("verified", None)


def test_what_is_kept_of_the_index_and_damaged_says_nothing_of_the_backup(site: Site) -> None:
    site.verify()
    work = site.catalog.work.of(site.record.id)
    body = bytearray(work.get("slices-0"))
    body[len(body) // 2] ^= 1
    work.put("slices-0", bytes(body))
    with pytest.raises(Conflict, match="keeps of the index is not what it left there"):
        site.execute()
    assert site.verdict() == ("could-not-verify", "conflict")
    assert site.record.state is RunState.FAILED


def test_a_worker_that_died_without_a_word_makes_a_run_that_knows_nothing(site: Site) -> None:
    site.verify()
    site.step("abort", error={"Error": "Sandbox.Timedout", "Cause": ""})
    assert site.verdict()[0] == "could-not-verify"
    assert site.record.error is not None
    assert "ended without a word (Sandbox.Timedout)" in site.record.error.message
    assert site.work == []


def test_a_proof_whose_end_could_not_be_written_is_told_by_the_next_attempt(
    site: Site, announced: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.verify()
    site.step("database")
    for portion in site.portions():
        site.step("read", portion=portion)

    def refuse(*_: object) -> NoReturn:
        raise StorageError("S3 refused to write the record")

    with monkeypatch.context() as context:
        context.setattr(site.catalog.runs, "change", refuse)
        with pytest.raises(StorageError, match="the end of run .* could not be written"):
            site.step("conclude")
    assert not site.record.state.ended
    assert not announced
    assert site.step("conclude") == {}
    assert site.record.state is RunState.SUCCEEDED
    assert site.record.result["verdict"] == "verified"
    assert [name for name, _ in announced] == ["Backup Verified"]
    assert site.work == []


def test_what_was_in_the_way_takes_no_earlier_proofs_place(site: Site) -> None:
    site.verify(workers=1)
    site.verify()
    site.step("abort", error={"Error": "Sandbox.Timedout", "Cause": ""})
    assert site.verdict() == ("verified", None)


def test_the_end_waits_for_a_late_worker_and_lets_none_go_on(site: Site) -> None:
    site.verify()
    work = site.catalog.work.of(site.record.id)
    late = AtWork(work, site.catalog.now, lambda: None, stage=WORKERS)
    late.__enter__()
    site.step("database")
    for portion in site.portions():
        site.step("read", portion=portion)
    began = site.clock()
    site.step("conclude")
    assert site.clock() - began >= timedelta(seconds=50)


def test_a_late_worker_learns_that_the_run_is_over(site: Site) -> None:
    """It holds no lease that would tell."""
    site.verify()
    stored = SharedRun(site.catalog, site.record.id)
    with pytest.raises(LeaseLost, match="ended by another"):
        with ActiveRun(stored, site.telemetry, IDLE) as run:
            site.abort(StorageError("another's"))
            with pytest.raises(LeaseLost):
                stored.write()
            with pytest.raises(LeaseLost, match="ended by another"):
                run.check()
            raise LeaseLost("it was ended by another")
    with pytest.raises(RunIsOver):
        site.step("read", portion=0)
    with pytest.raises(RunIsOver):
        site.step("conclude")
    assert site.record.error is not None
    assert site.abort(StorageError("twice")) is False


def test_it_gives_way_to_a_restore_and_nobody_is_to_blame(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.verify()
    restore = "20261120T010000-restore-0a1b2c3d"
    site.catalog.lease.acquire(restore, RunKind.RESTORE, site.latest.id, timedelta(minutes=2))
    refused: list[BackupError] = []

    def prove(_proof: DatabaseProof, _volume: object, check: Any, **_: Any) -> None:
        check()

    monkeypatch.setattr(DatabaseProof, "prove", prove)
    for step in ("read", "database"):
        with pytest.raises(LeaseHeld, match=f"restore run {restore} is under way") as raised:
            site.step(step)
        refused.append(raised.value)
    assert site.abort(refused[0]) is True
    assert site.verdict() == ("could-not-verify", "lease-held")
    assert site.record.state is RunState.FAILED
    assert site.abort(refused[0]) is True, "an abort that is tried again says the same"


def test_a_backup_that_is_deleted_meanwhile_is_told_and_leaves_nothing(site: Site) -> None:
    site.verify()
    gone = site.latest.id
    site.catalog.backups.unpublish(gone)
    with pytest.raises(NotFound) as raised:
        site.execute()
    assert gone in str(raised.value)
    assert site.record.error is not None
    assert site.record.error.code == "not-found"
    store, keys = site.catalog.backups._store, site.catalog.backups._keys
    assert not [it for it in store.names(keys.of_backup(gone, "")) if it.startswith("verification")]


def test_an_execution_that_was_stopped_is_cleared_up_by_cleanup_and_not_before(
    site: Site,
) -> None:
    """It holds no lease by which cleanup would know that it is under way."""
    site.verify()
    settings, telemetry = site.settings, site.telemetry

    def sweep() -> list[str]:
        return clean_up(settings, site.catalog, telemetry, IDLE, dry_run=False).died

    site.clock.pass_by(DEAD_AFTER - timedelta(minutes=1))
    assert sweep() == []
    assert site.work != []
    site.step("read", portion=0)  # which renews the record
    site.clock.pass_by(timedelta(minutes=10))
    assert sweep() == []
    assert site.work != []
    site.clock.pass_by(DEAD_AFTER)
    assert sweep() == [site.record.id]
    assert site.work == []
    assert site.record.state is RunState.FAILED
    assert site.kept is None


@pytest.mark.parametrize("portion", [-1, 10**9])
def test_a_portion_that_there_is_not_is_refused_by_its_number(site: Site, portion: int) -> None:
    site.verify()
    with pytest.raises(InvalidRequest, match="portion"):
        site.step("read", portion=portion)


def test_a_plan_that_cannot_start_the_machine_leaves_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StorageError("no")

    monkeypatch.setattr(ActiveRun, "hand_over", fail)
    with pytest.raises(StorageError):
        site.verify()
    assert list(site.catalog.work.run_ids()) == []
    assert site.verdict() == ("could-not-verify", "storage-failed")


# --- who decides ----------------------------------------------------------------------------------

GB = 10**9
NO_MACHINE = {"LCP_VERIFY_MACHINE": ""}


def with_sql(size: int, kind: BackupType = BackupType.AUTO) -> Manifest:
    """A backup of so many bytes of SQL."""
    manifest = a_manifest(datetime(2026, 11, 20, tzinfo=UTC))
    database = manifest.database.model_copy(update={"raw_size": size})
    return manifest.model_copy(update={"database": database, "type": kind})


def decided(
    size: int,
    *,
    workers: int | None = None,
    seconds: float | None = 880,
    env: dict[str, str] | None = None,
    sql: int = 1,
    kind: BackupType = BackupType.AUTO,
) -> int:
    given = {
        "LCP_PROJECT_ID": "acme",
        "LCP_ENVIRONMENT_ID": "prd",
        "LCP_VERIFY_MACHINE": "arn",
        "LCP_BACKUP_WORKERS": "8",
        **(env or {}),
    }
    manifest = with_sql(sql, kind)
    facts = manifest.volume_facts.model_copy(update={"bytes": size, "files": size // 10**6})
    return workers_for(
        VerifyRequest(workers=workers),
        Settings.from_env(given),
        manifest.model_copy(update={"volume_facts": facts}),
        seconds=seconds,
    )


def test_who_asks_decides_and_else_whether_one_function_can_read_it_in_its_time() -> None:
    assert decided(40 * GB) == ALONE
    assert decided(50 * GB) == 8
    assert decided(50 * GB, seconds=None) == ALONE
    assert decided(50 * GB, env=NO_MACHINE) == ALONE
    assert decided(50 * GB, workers=1) == ALONE
    assert decided(1, workers=4) == 4
    assert decided(1, workers=64) == 8
    with pytest.raises(InvalidRequest, match="Workers=1"):
        decided(1, workers=2, env=NO_MACHINE)


def test_a_database_that_one_function_cannot_load_in_its_time_is_a_reason_too() -> None:
    assert decided(1, sql=18 * GB) == ALONE
    assert decided(1, sql=19 * GB) == 8
    assert decided(1, sql=19 * GB, workers=1) == ALONE
    assert decided(1, sql=19 * GB, env=NO_MACHINE) == ALONE
    assert decided(1, sql=19 * GB, kind=BackupType.UPLOADED) == 8


@pytest.mark.parametrize(
    ("manifest", "workers", "loads"),
    [
        (with_sql(2 * GB), None, "by-workers"),
        (with_sql(GB), None, "alone"),
        (with_sql(1), 2, "by-workers"),
        (with_sql(20 * GB, BackupType.UPLOADED), None, "by-workers"),
    ],
)
def test_workers_load_what_is_large_or_asked_for(
    manifest: Manifest, workers: int | None, loads: str
) -> None:
    assert verify_fan_out._who_loads(VerifyRequest(workers=workers), manifest) == loads


@pytest.mark.parametrize(("allowed", "at_once"), [("", 8), ("1", 1), ("16", 16 // CONNECTIONS)])
def test_no_more_workers_load_at_once_than_have_the_connections_that_are_allowed(
    catalog: Catalog, allowed: str, at_once: int
) -> None:
    env = {"LCP_PROJECT_ID": "acme", "LCP_ENVIRONMENT_ID": "prd"}
    settings = Settings.from_env({**env, "LCP_BACKUP_RESTORE_CONNECTIONS": allowed})
    told = told_to_machine(catalog.work.of("a-run"), 8, settings)
    assert told["rows_workers"] == min(8, at_once)
    assert str(told["rows_key"]).endswith("/items-rows")
    assert str(told["indexes_key"]).endswith("/items-indexes")


def test_a_run_is_under_way_until_it_has_ended_or_nobody_was_heard_of_for_an_hour(
    site: Site,
) -> None:
    """So long its scratch schema stays, whoever finds it."""
    site.verify()
    run_id = site.record.id
    site.clock.pass_by(DEAD_AFTER - timedelta(minutes=1))
    assert is_under_way(site.catalog, run_id)
    site.step("read", portion=0)  # which renews the record
    site.clock.pass_by(DEAD_AFTER - timedelta(minutes=1))
    assert is_under_way(site.catalog, run_id)
    site.clock.pass_by(timedelta(minutes=2))
    assert not is_under_way(site.catalog, run_id)
    site.step("read", portion=0)
    assert is_under_way(site.catalog, run_id)
    site.abort(StorageError("no more"))
    assert not is_under_way(site.catalog, run_id)
    assert not is_under_way(site.catalog, site.catalog.runs.new_id(RunKind.VERIFY))


def test_a_run_that_workers_are_at_work_on_is_told_from_one_that_nobody_queued(
    site: Site, store: ObjectStore
) -> None:
    """The claim alone, of a plan that was killed, is no work under way for ever."""
    run_id = site.catalog.runs.new_id(RunKind.VERIFY)
    site.catalog.work.of(run_id).put_new("claim", b"1")
    assert site.verify(run_id=run_id).verdict is None
    assert site.started == []
    assert any(run_id in it.key for it in store.entries("acme/prd/runs/"))


def test_an_event_that_comes_again_is_planned_where_the_first_could_not_begin(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = site.catalog.runs.new_id(RunKind.VERIFY)

    def refuse(*_: object) -> NoReturn:
        raise StorageError("S3 refused to write the record")

    with monkeypatch.context() as context:
        context.setattr(site.catalog.runs, "write", refuse)
        with pytest.raises(StorageError, match="refused to write the record"):
            site.verify(run_id=run_id)
    site.verify(run_id=run_id)
    assert [it["run_id"] for it in site.started] == [run_id]
