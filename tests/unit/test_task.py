"""The process that dumps, or takes an upload in, for hours: what it asks for, and its ends."""

import json
import os
import signal
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lcp_backup import task
from lcp_backup.catalog import utc_now
from lcp_backup.errors import DumpFailed, LeaseHeld, TaskFailed
from lcp_backup.jobs.task_end import LONGEST
from lcp_backup.requests import UploadRequest
from lcp_backup.steps import CreateStepRequest, RestoreStepRequest, VerifyStepRequest
from tests.support.clock import SettableClock

RUN = "20261123T001500-create-0a1b2c3d"
UPLOAD = "20261123T001500-upload-0a1b2c3d"


class Service:
    def __init__(self, ends: Any = None) -> None:
        self.ends = ends
        self.asked: list[tuple[CreateStepRequest, datetime]] = []
        self.loads: list[tuple[str, str, datetime, bool]] = []
        self.taken_in: list[tuple[str, datetime]] = []
        self.stopped: list[tuple[str, str]] = []

    def create_step(self, request: CreateStepRequest, until: datetime) -> dict[str, Any]:
        self.asked.append((request, until))
        if self.ends is not None:
            self.ends()
        return {}

    def restore_step(
        self, request: RestoreStepRequest, until: datetime, *, is_task: bool
    ) -> dict[str, Any]:
        return self._load(request, until, is_task)

    def verify_step(
        self, request: VerifyStepRequest, until: datetime, *, is_task: bool
    ) -> dict[str, Any]:
        return self._load(request, until, is_task)

    def _load(
        self, request: RestoreStepRequest | VerifyStepRequest, until: datetime, is_task: bool
    ) -> dict[str, Any]:
        self.loads.append((request.run_id, request.step, until, is_task))
        if self.ends is not None:
            self.ends()
        return {}

    def upload_by_task(self, request: UploadRequest, until: datetime) -> dict[str, Any]:
        self.taken_in.append((request.upload_id, until))
        if self.ends is not None:
            self.ends()
        return {}

    def end_stopped_upload(self, upload_id: str, error: TaskFailed) -> None:
        self.stopped.append((upload_id, error.public))


@pytest.fixture(autouse=True)
def handled() -> Any:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_it_does_the_dump_and_has_hours_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    monkeypatch.setattr(task, "service", lambda: service)
    task.main([RUN])
    ((request, until),) = service.asked
    assert (request.run_id, request.step) == (RUN, "dump")
    assert timedelta(hours=11) < until - utc_now() <= timedelta(hours=12)


LOADS = [
    (RUN.replace("create", "restore"), "load"),
    (RUN.replace("create", "verify"), "database"),
]


@pytest.mark.parametrize(("run_id", "step"), LOADS)
def test_it_does_the_last_step_of_a_load_and_has_hours_for_it(
    monkeypatch: pytest.MonkeyPatch, run_id: str, step: str
) -> None:
    service = Service()
    monkeypatch.setattr(task, "service", lambda: service)
    task.main([run_id])
    ((asked, done, until, is_task),) = service.loads
    assert (asked, done, is_task) == (run_id, step, True)
    assert timedelta(hours=11) < until - utc_now() <= timedelta(hours=12)


@pytest.mark.parametrize(("run_id", "step"), LOADS)
def test_a_task_that_is_stopped_ends_its_load_and_clears_up(
    monkeypatch: pytest.MonkeyPatch, run_id: str, step: str
) -> None:
    service = Service(lambda: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(task, "service", lambda: service)
    with pytest.raises(TaskFailed, match="stopped") as stopped:
        task.main([run_id])
    assert stopped.value.public == "the task that loads the database was stopped"
    assert [it[1] for it in service.loads] == [step]


def test_a_task_that_is_stopped_ends_its_dump_and_clears_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Service(lambda: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(task, "service", lambda: service)
    with pytest.raises(DumpFailed, match="stopped"):
        task.main([RUN])


def test_it_takes_an_upload_in_once_the_run_before_it_has_ended(
    monkeypatch: pytest.MonkeyPatch, clock: SettableClock
) -> None:
    ends = iter([LeaseHeld("it writes"), LeaseHeld("it writes"), None])

    def end() -> None:
        if (error := next(ends)) is not None:
            raise error

    service = Service(end)
    monkeypatch.setattr(task, "service", lambda: service)
    monkeypatch.setattr(task, "utc_now", clock)
    monkeypatch.setattr(time, "sleep", lambda some: clock.pass_by(timedelta(seconds=some)))
    begun = clock()
    task.main([UPLOAD])
    assert service.taken_in == [(UPLOAD, begun + timedelta(hours=12))] * 3


def test_a_task_that_is_stopped_while_it_waits_ends_its_upload(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of an execution that is stopped by hand no step comes that would."""

    def end() -> None:
        raise LeaseHeld("it writes")

    service = Service(end)
    monkeypatch.setattr(task, "service", lambda: service)
    monkeypatch.setattr(time, "sleep", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(TaskFailed, match="stopped"):
        task.main([UPLOAD])
    assert service.stopped == [(UPLOAD, "the task that takes the upload in was stopped")]


def test_it_does_not_wait_for_longer_than_an_upload_is_kept_for_it(
    monkeypatch: pytest.MonkeyPatch, clock: SettableClock
) -> None:
    def end() -> None:
        raise LeaseHeld("it writes")

    monkeypatch.setattr(task, "service", lambda: Service(end))
    monkeypatch.setattr(task, "utc_now", clock)
    monkeypatch.setattr(time, "sleep", lambda some: clock.pass_by(timedelta(seconds=some)))
    begun = clock()
    with pytest.raises(LeaseHeld):
        task.main([UPLOAD])
    assert timedelta(minutes=40) < clock() - begun < timedelta(hours=1)


def test_it_waits_for_another_task_of_the_same_upload_for_as_long_as_that_lives(
    monkeypatch: pytest.MonkeyPatch, clock: SettableClock
) -> None:
    """Of a RunTask that timed out and was repeated; the machine hears of the last one alone."""
    begun = clock()

    def end() -> None:
        if clock() - begun < timedelta(hours=3):
            raise LeaseHeld("it takes it in", run_id=UPLOAD)

    monkeypatch.setattr(task, "service", lambda: Service(end))
    monkeypatch.setattr(task, "utc_now", clock)
    monkeypatch.setattr(time, "sleep", lambda some: clock.pass_by(timedelta(seconds=some)))
    task.main([UPLOAD])
    assert clock() - begun >= timedelta(hours=3)


def test_a_task_that_is_stopped_ends_its_upload_and_clears_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Service(lambda: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(task, "service", lambda: service)
    with pytest.raises(TaskFailed, match="stopped"):
        task.main([UPLOAD])


def test_the_state_machines_wait_for_longer_than_a_task_may_take() -> None:
    """Or it would end with a timeout what was about to end with a reason."""
    folder = Path(__file__).parents[2] / "functions"
    create = json.loads((folder / "create_worker" / "create.asl.json").read_text())
    upload = json.loads((folder / "upload" / "upload.asl.json").read_text())
    (dumps, _) = create["States"]["Capture"]["Branches"]
    longest = LONGEST.total_seconds()
    assert longest < dumps["States"]["DumpTask"]["TimeoutSeconds"] < create["TimeoutSeconds"]
    assert longest < upload["States"]["TakeIn"]["TimeoutSeconds"] < upload["TimeoutSeconds"]
    for name, stage in (("restore", "Stage"), ("verify", "Prove")):
        path = folder / f"{name}_worker" / f"{name}.asl.json"
        machine = json.loads(path.read_text())
        (loads, _) = machine["States"][stage]["Branches"]
        waits = loads["States"]["LoadTask"]["TimeoutSeconds"]
        assert longest < waits < machine["TimeoutSeconds"]
