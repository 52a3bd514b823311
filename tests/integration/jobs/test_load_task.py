"""A dump that has to be loaded in its order, by a task where a function has not the time for it."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pymysql
import pytest

from lcp_backup.catalog.work import RunWork
from lcp_backup.errors import (
    BackupError,
    LeaseHeld,
    RunIsOver,
    StorageError,
    TaskFailed,
)
from lcp_backup.jobs import at_work, load_fan_out, restore_by_workers
from lcp_backup.jobs.load_by_workers import find_loaded
from lcp_backup.jobs.staged_site import SiteStaging
from lcp_backup.model import RunError, RunKind, RunState
from lcp_backup.service import deadline
from lcp_backup.steps import RestoreStepRequest
from tests.support.foreign_dumps import (
    AMONG_OTHERS,
    IN_ORDER,
    loaded_by_hand,
    made,
    rows,
    said_among_others,
    sent,
    stock,
)
from tests.support.job_site import JobSite
from tests.support.restore_machine import RestoreMachine
from tests.support.sender import Sender
from tests.support.shared_work import wait_until
from tests.support.verify_machine import VerifyMachine

REPEATED = IN_ORDER["the last row of a key"]
"""What workers find out among the rows."""
LATE = IN_ORDER["code that is dropped"]
"""What shows after all rows."""
LEFT = {"left_to_task": True}
DUPLICATE = (
    "CREATE TABLE `a` (id INT PRIMARY KEY, w INT) ENGINE=InnoDB;\n"
    "REPLACE INTO a VALUES (1,1),(2,2);\nINSERT INTO a VALUES (2,9);\n"
)


@pytest.fixture
def slow(mariadb_site: JobSite, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobSite]:
    """A site whose databases take a function too long, with a task; `by_hand` is beside it."""
    hurry(mariadb_site, monkeypatch)
    drop = "DROP DATABASE IF EXISTS by_hand"
    mariadb_site.server.execute(drop)
    yield mariadb_site
    mariadb_site.server.execute(drop)


@pytest.fixture
def restore(slow: JobSite, monkeypatch: pytest.MonkeyPatch) -> Iterator[RestoreMachine]:
    """A restore that leaves nothing on the server, wherever the test leaves it."""
    machine = RestoreMachine(slow, monkeypatch)
    yield machine
    machine.end()


def hurry(site: JobSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.env["LCP_DUMP_TASK_SUBNET_IDS"] = "subnet-0123456789abcdef0"
    monkeypatch.setattr(load_fan_out, "_SQL_A_SECOND", 0.001)


def whole(site: JobSite, folder: Path, dump: str) -> str:
    """Such a dump, taken in with a volume that several workers may unpack."""
    sender = Sender(site, folder)
    text = f"-- MariaDB dump 10.19\n{dump}-- Dump completed\n"
    return sender.take_in(sender.send(text.encode(), sender.packed("document_library")))


def handed(machine: RestoreMachine | VerifyMachine) -> None:
    """All that workers and the function do before a task."""
    machine.load_rows()
    machine.build_indexes()
    step = "load" if isinstance(machine, RestoreMachine) else "database"
    assert machine.step(step) == LEFT


def given_up(machine: RestoreMachine | VerifyMachine, told: dict[str, str]) -> RunError:
    """What follows a task that has not loaded it; why the run failed."""
    with pytest.raises(TaskFailed):
        machine.step("loaded", error=told)
    machine.step("abort", error={"Error": "TaskFailed", "Cause": ""})
    run = machine.record
    assert run.state is RunState.FAILED
    assert run.error is not None
    return run.error


@pytest.mark.parametrize("dump", [REPEATED, LATE, IN_ORDER["a sequence"]])
def test_a_task_loads_it_as_the_stock_client_does_and_nothing_changes_before(
    slow: JobSite, tmp_path: Path, dump: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = loaded_by_hand(slow, dump), made(slow, "by_hand")
    backup_id = sent(slow, tmp_path, dump)
    before = slow.fingerprint()
    machine = RestoreMachine(slow, monkeypatch)
    machine.begin(backup_id=backup_id, only="database")
    handed(machine)
    assert find_loaded(slow.catalog.work.of(machine.record.id)) is None
    assert "waiting for the task" in machine.record.step
    machine.run_task()
    assert machine.step("loaded", error={"Error": "", "Cause": ""}) == {}
    assert before.differences(slow.fingerprint()) == []
    machine.unpack()
    machine.step("swap")
    assert (rows(slow, slow.name), made(slow, slow.name)) == expected
    assert slow.schemas() == {slow.name}


def test_a_task_proves_it(
    job_site: JobSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(job_site, monkeypatch)
    backup_id = sent(job_site, tmp_path, REPEATED)
    machine = VerifyMachine(job_site, monkeypatch)
    machine.begin(backup_id=backup_id)
    handed(machine)
    machine.run_task()
    assert machine.step("loaded", error={"Error": "", "Cause": ""}) == {}
    machine.read()
    machine.step("conclude")
    assert machine.record.state is RunState.SUCCEEDED
    told = machine.record.result
    assert (told["tables"], told["rows"]) == (1, 3), "and not the rows that were replaced, too"
    assert job_site.schemas() == {job_site.name}


@pytest.mark.parametrize("only", [None, "database"])
def test_what_workers_can_load_is_left_to_no_task(
    job_site: JobSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only: str | None
) -> None:
    backup_id = stock(job_site, tmp_path)
    hurry(job_site, monkeypatch)
    machine: RestoreMachine | VerifyMachine = VerifyMachine(job_site, monkeypatch)
    asked = {"backup_id": backup_id}
    if only is not None:
        machine, asked = RestoreMachine(job_site, monkeypatch), {**asked, "only": only}
    machine.begin(**asked)
    machine.load_rows()
    machine.finish()  # which sees that nothing is left to a task
    assert machine.record.state is RunState.SUCCEEDED


def test_where_no_task_is_needed_the_function_loads_it(
    mariadb_site: JobSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mariadb_site.env["LCP_DUMP_TASK_SUBNET_IDS"] = "subnet-0123456789abcdef0"
    machine = RestoreMachine(mariadb_site, monkeypatch)
    machine.begin(backup_id=sent(mariadb_site, tmp_path, REPEATED), only="database")
    machine.execute()
    assert machine.record.state is RunState.SUCCEEDED


def test_where_there_is_no_task_the_function_loads_it(
    slow: JobSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = loaded_by_hand(slow, REPEATED)
    del slow.env["LCP_DUMP_TASK_SUBNET_IDS"]
    machine = RestoreMachine(slow, monkeypatch)
    machine.begin(backup_id=sent(slow, tmp_path, REPEATED), only="database")
    machine.execute()
    assert rows(slow, slow.name) == expected


def test_a_run_waits_for_its_task_with_its_lease_longer_than_a_step_leaves_it(
    slow: JobSite, restore: RestoreMachine, tmp_path: Path
) -> None:
    """While Fargate starts it none renews it, and who finds it expired takes it over."""
    restore.begin(backup_id=sent(slow, tmp_path, LATE), only="database")
    handed(restore)
    holder = slow.catalog.lease.holder()
    assert holder is not None
    assert holder.run_id == restore.record.id
    assert (holder.expires_at - slow.catalog.now()).total_seconds() > 15 * 60


OF: dict[type[RestoreMachine | VerifyMachine], dict[str, str]] = {
    RestoreMachine: {"only": "database"},
    VerifyMachine: {},
}
KILLED = json.dumps({"StopCode": "EssentialContainerExited", "Containers": [{"ExitCode": 137}]})
UNSTARTED = json.dumps(
    {"StopCode": "TaskFailedToStart", "StoppedReason": "Capacity is unavailable"}
)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"Error": "States.TaskFailed", "Cause": KILLED}, "was killed"),
        ({"Error": "ECS.AmazonECSException", "Cause": UNSTARTED}, "no capacity"),
        ({"Error": "", "Cause": ""}, "ended without a word"),
    ],
)
@pytest.mark.parametrize("kind", [RestoreMachine, VerifyMachine])
def test_a_task_that_left_no_word_ends_the_run_in_those_of_ecs(
    slow: JobSite,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[RestoreMachine | VerifyMachine],
    told: dict[str, str],
    said: str,
) -> None:
    backup_id = sent(slow, tmp_path, REPEATED)
    before = slow.fingerprint()
    machine = kind(slow, monkeypatch)
    machine.begin(backup_id=backup_id, **OF[kind])
    handed(machine)
    error = given_up(machine, told)
    assert error.code == "task-failed"
    assert said in error.message
    assert before.differences(slow.fingerprint()) == []
    assert slow.schemas() == {slow.name}


@pytest.mark.parametrize("kind", [RestoreMachine, VerifyMachine])
def test_why_a_tasks_load_failed_stands_in_the_record_and_the_site_is_as_it_was(
    slow: JobSite,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[RestoreMachine | VerifyMachine],
) -> None:
    backup_id = sent(slow, tmp_path, DUPLICATE)
    before = slow.fingerprint()
    machine = kind(slow, monkeypatch)
    machine.begin(backup_id=backup_id, **OF[kind])
    handed(machine)
    with pytest.raises(BackupError):
        machine.run_task()
    told = {"Error": "States.TaskFailed", "Cause": json.dumps({"Containers": [{"ExitCode": 1}]})}
    error = given_up(machine, told)
    assert error.code == "load-failed"
    assert "(DUP_ENTRY)" in error.message
    assert before.differences(slow.fingerprint()) == []
    assert slow.schemas() == {slow.name}


def test_some_tables_of_a_large_upload_are_restored_by_a_task_where_workers_are_asked_for(
    slow: JobSite, restore: RestoreMachine, tmp_path: Path
) -> None:
    dump = said_among_others(AMONG_OTHERS["the time zone"])
    expected = loaded_by_hand(slow, dump)["b"]
    restore.begin(backup_id=sent(slow, tmp_path, dump), tables=["b"])
    handed(restore)
    restore.run_task()
    assert restore.step("loaded", error={"Error": "", "Cause": ""}) == {}
    restore.unpack()
    restore.step("swap")
    assert rows(slow, slow.name)["b"] == expected


def test_a_task_asks_for_no_folder_for_no_file_system_is_mounted_there(
    slow: JobSite, restore: RestoreMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore.begin(backup_id=sent(slow, tmp_path, REPEATED), only="database")
    handed(restore)

    def ask(*_: object) -> None:
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(restore_by_workers, "volume_folder", ask)
        restore.run_task()
    assert restore.step("loaded", error={"Error": "", "Cause": ""}) == {}


def test_a_second_task_of_a_run_loads_nothing(
    slow: JobSite, restore: RestoreMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a RunTask that was repeated because its answer was lost."""
    restore.begin(backup_id=sent(slow, tmp_path, REPEATED), only="database")
    handed(restore)
    work = slow.catalog.work.of(restore.record.id)
    loads: list[Any] = []
    monkeypatch.setattr(
        "lcp_backup.jobs.staged_site.SiteStaging.load", lambda *_, **__: loads.append(1)
    )
    assert work.claim("begun-load-by-task")  # by the first one
    with pytest.raises(BackupError, match="another invocation"):
        restore.run_task()
    assert loads == []


def test_a_task_that_starts_after_the_run_was_given_up_changes_nothing(
    slow: JobSite, restore: RestoreMachine, tmp_path: Path
) -> None:
    restore.begin(backup_id=sent(slow, tmp_path, REPEATED), only="database")
    before = slow.fingerprint()
    handed(restore)
    restore.step("abort", error={"Error": "States.Timeout", "Cause": ""})
    ended = restore.record
    assert ended.state is RunState.FAILED
    with pytest.raises(RunIsOver):
        restore.run_task()
    assert restore.record == ended
    assert before.differences(slow.fingerprint()) == []
    assert slow.schemas() == {slow.name}


def test_a_task_that_loads_while_the_run_is_given_up_stops_and_leaves_nothing(
    slow: JobSite, restore: RestoreMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of which the machine lost sight: the abort waits for it, a minute at most, and less here."""
    restore.begin(backup_id=sent(slow, tmp_path, REPEATED), only="database")
    before = slow.fingerprint()
    handed(restore)
    monkeypatch.setattr(at_work, "TERM", timedelta(seconds=5))
    monkeypatch.setattr(at_work, "_RENEWED", timedelta(seconds=1))
    load = SiteStaging.load
    is_loading, may_go_on = threading.Event(), threading.Event()

    def loading(site: SiteStaging, check: Any, **how: Any) -> Any:
        is_loading.set()
        may_go_on.wait(60)
        return load(site, check, **how)

    monkeypatch.setattr(SiteStaging, "load", loading)
    event = {"run_id": restore.record.id, "step": "load"}
    failed: list[BaseException] = []

    def run() -> None:
        try:
            request = RestoreStepRequest.read(event)
            slow.service().restore_step(request, deadline(43_200_000), is_task=True)
        except BackupError as error:
            failed.append(error)

    task = threading.Thread(target=run)
    task.start()
    assert is_loading.wait(30)
    aborting = threading.Thread(
        target=restore.step,
        args=("abort",),
        kwargs={"error": {"Error": "States.Timeout", "Cause": ""}},
    )
    aborting.start()
    work = slow.catalog.work.of(restore.record.id)
    wait_until(lambda: work.find("closed-load") is not None)
    may_go_on.set()
    task.join(120)
    aborting.join(120)
    assert restore.record.state is RunState.FAILED
    assert before.differences(slow.fingerprint()) == []
    assert slow.schemas() == {slow.name}


def test_a_task_that_was_killed_once_it_had_loaded_has_done_what_it_was_to(
    slow: JobSite, restore: RestoreMachine, tmp_path: Path
) -> None:
    expected = loaded_by_hand(slow, REPEATED)
    restore.begin(backup_id=sent(slow, tmp_path, REPEATED), only="database")
    handed(restore)
    restore.run_task()
    for _ in range(2):
        assert restore.step("loaded", error={"Error": "States.TaskFailed", "Cause": KILLED}) == {}
    restore.unpack()
    restore.step("swap")
    assert rows(slow, slow.name) == expected


def test_an_execution_that_is_stopped_while_its_task_loads_is_ended_by_cleanup(
    slow: JobSite, restore: RestoreMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup_id = sent(slow, tmp_path, REPEATED)
    restore.begin(backup_id=backup_id, only="database")
    before = slow.fingerprint()
    handed(restore)

    def stop(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    with monkeypatch.context() as patched:
        patched.setattr(SiteStaging, "load", stop)
        with pytest.raises(TaskFailed, match="stopped"):
            restore.run_task()
    slow.expire_lease()
    slow.cleanup()
    assert restore.record.state is RunState.FAILED
    assert list(slow.catalog.work.of(restore.record.id).names()) == []
    assert before.differences(slow.fingerprint()) == []
    slow.restore(backup_id, only="database", workers=1)
    assert slow.schemas() == {slow.name}


def test_a_proof_by_a_task_gives_way_to_a_restore_and_that_is_nobodys_fault(
    slow: JobSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = VerifyMachine(slow, monkeypatch)
    machine.begin(backup_id=sent(slow, tmp_path, REPEATED))
    handed(machine)
    lease = slow.catalog.lease
    lease.acquire("another", RunKind.RESTORE, None, timedelta(minutes=2))
    with pytest.raises(LeaseHeld):
        machine.run_task()
    with pytest.raises(TaskFailed):
        machine.step("loaded", error={"Error": "States.TaskFailed", "Cause": KILLED})
    told = machine.step("abort", error={"Error": "TaskFailed", "Cause": ""})
    assert told == {"gave_way": True}
    assert machine.record.error is not None
    assert machine.record.error.code == "lease-held"
    assert slow.schemas() == {slow.name}


def test_of_a_task_whose_last_word_was_kept_though_s3_said_it_was_not_the_run_tells_why(
    slow: JobSite, restore: RestoreMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has thrown away what it loaded: nothing may be swapped in that is not there."""
    restore.begin(backup_id=sent(slow, tmp_path, REPEATED), only="database")
    before = slow.fingerprint()
    handed(restore)
    put = RunWork.put

    def kept_and_failed(work: RunWork, name: str, body: bytes) -> None:
        put(work, name, body)
        if name == "loaded":
            raise StorageError("S3 said no, and had kept it")

    with monkeypatch.context() as patched:
        patched.setattr(RunWork, "put", kept_and_failed)
        with pytest.raises(StorageError):
            restore.run_task()
    assert slow.schemas() == {slow.name}
    error = given_up(restore, {"Error": "States.TaskFailed", "Cause": KILLED})
    assert error.code == StorageError.code
    assert before.differences(slow.fingerprint()) == []
    assert slow.schemas() == {slow.name}


@pytest.mark.parametrize("kind", [RestoreMachine, VerifyMachine])
def test_where_s3_does_not_take_a_tasks_last_word_nothing_is_left_and_the_run_tells_why(
    slow: JobSite,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[RestoreMachine | VerifyMachine],
) -> None:
    backup_id = sent(slow, tmp_path, REPEATED)
    before = slow.fingerprint()
    machine = kind(slow, monkeypatch)
    machine.begin(backup_id=backup_id, **OF[kind])
    handed(machine)
    put = RunWork.put

    def refused(work: RunWork, name: str, body: bytes) -> None:
        if name in {"loaded", "proved"}:
            raise StorageError("S3 said no")
        put(work, name, body)

    with monkeypatch.context() as patched:
        patched.setattr(RunWork, "put", refused)
        with pytest.raises(StorageError):
            machine.run_task()
    assert slow.schemas() == {slow.name}
    error = given_up(machine, {"Error": "States.TaskFailed", "Cause": KILLED})
    assert error.code == StorageError.code
    assert before.differences(slow.fingerprint()) == []
    assert slow.schemas() == {slow.name}


def test_a_worker_of_the_volume_leaves_the_lease_as_long_as_the_task_needs_to_start(
    slow: JobSite, restore: RestoreMachine, tmp_path: Path
) -> None:
    restore.begin(backup_id=whole(slow, tmp_path, LATE))
    handed(restore)
    restore.unpack()
    holder = slow.catalog.lease.holder()
    assert holder is not None
    assert (holder.expires_at - slow.catalog.now()).total_seconds() > 15 * 60


def test_a_task_loads_into_another_database_and_the_site_is_as_it_was(
    slow: JobSite, restore: RestoreMachine, tmp_path: Path
) -> None:
    expected = loaded_by_hand(slow, REPEATED)
    backup_id = sent(slow, tmp_path, REPEATED)
    before = slow.fingerprint()
    drop = "DROP DATABASE by_hand"
    slow.server.execute(drop)
    restore.begin(backup_id=backup_id, only="database", into_database="by_hand")
    handed(restore)
    restore.run_task()
    assert restore.step("loaded", error={"Error": "", "Cause": ""}) == {}
    restore.unpack()
    restore.step("swap")
    assert rows(slow, "by_hand") == expected
    assert before.differences(slow.fingerprint()) == []


def test_a_whole_site_is_unpacked_while_a_task_loads(
    slow: JobSite, restore: RestoreMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = loaded_by_hand(slow, REPEATED)
    restore.begin(backup_id=whole(slow, tmp_path, REPEATED))
    handed(restore)
    load = SiteStaging.load

    def loading(site: SiteStaging, check: Any, **how: Any) -> Any:
        restore.unpack()
        return load(site, check, **how)

    with monkeypatch.context() as patched:
        patched.setattr(SiteStaging, "load", loading)
        restore.run_task()
    assert restore.step("loaded", error={"Error": "", "Cause": ""}) == {}
    restore.step("swap")
    assert restore.record.state is RunState.SUCCEEDED
    assert rows(slow, slow.name) == expected


@pytest.mark.parametrize("kind", [RestoreMachine, VerifyMachine])
def test_what_one_function_was_to_load_alone_is_left_to_a_task_where_it_has_not_the_time(
    slow: JobSite,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[RestoreMachine | VerifyMachine],
) -> None:
    backup_id = sent(slow, tmp_path, REPEATED)
    machine = kind(slow, monkeypatch)
    machine.load_alone()
    machine.begin(backup_id=backup_id, **OF[kind])
    assert machine.told["loads"] == "alone"
    step = "load" if isinstance(machine, RestoreMachine) else "database"
    assert machine.step(step) == LEFT
    machine.run_task()
    assert machine.step("loaded", error={"Error": "", "Cause": ""}) == {}
    if isinstance(machine, RestoreMachine):
        machine.unpack()
        machine.step("swap")
    else:
        machine.read()
        machine.step("conclude")
    assert machine.record.state is RunState.SUCCEEDED
    assert slow.schemas() == {slow.name}


def test_a_proofs_task_that_is_stopped_between_statements_has_found_nothing_bad(
    slow: JobSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = VerifyMachine(slow, monkeypatch)
    machine.begin(backup_id=sent(slow, tmp_path, REPEATED))
    handed(machine)
    query = pymysql.connections.Connection.query
    seen: list[str] = []

    def stopped(connection: Any, sql: Any, *more: Any) -> Any:
        answer = query(connection, sql, *more)
        text = sql if isinstance(sql, str) else bytes(sql).decode(errors="replace")
        seen.append(text)
        if "INTO" in text and "VALUES" in text:
            os.kill(os.getpid(), signal.SIGTERM)
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(pymysql.connections.Connection, "query", stopped)
        with pytest.raises(TaskFailed, match="stopped"):
            machine.run_task()
    error = given_up(machine, {"Error": "States.TaskFailed", "Cause": KILLED})
    assert error.code == "task-failed"
    assert "was stopped" in error.message
    assert slow.schemas() == {slow.name}
