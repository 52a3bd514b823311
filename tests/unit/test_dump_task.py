"""The process that dumps for a create by workers: what it asks the service for, and its ends."""

import json
import os
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lcp_backup import dump_task
from lcp_backup.catalog import utc_now
from lcp_backup.errors import DumpFailed
from lcp_backup.steps import CreateStepRequest

RUN = "20261123T001500-create-0a1b2c3d"


class Service:
    def __init__(self, ends: Any = None) -> None:
        self.ends = ends
        self.asked: list[tuple[CreateStepRequest, datetime]] = []

    def create_step(self, request: CreateStepRequest, until: datetime) -> dict[str, Any]:
        self.asked.append((request, until))
        if self.ends is not None:
            self.ends()
        return {}


@pytest.fixture(autouse=True)
def handled() -> Any:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_it_does_the_dump_and_has_hours_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    monkeypatch.setattr(dump_task, "service", lambda: service)
    dump_task.main([RUN])
    ((request, until),) = service.asked
    assert (request.run_id, request.step) == (RUN, "dump")
    assert timedelta(hours=11) < until - utc_now() <= timedelta(hours=12)


def test_a_task_that_is_stopped_ends_its_dump_and_clears_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Service(lambda: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(dump_task, "service", lambda: service)
    with pytest.raises(DumpFailed, match="stopped"):
        dump_task.main([RUN])


def test_the_state_machine_waits_for_longer_than_a_dump_may_take() -> None:
    """Or it would end with a timeout what was about to end with a reason."""
    folder = Path(__file__).parents[2] / "functions" / "create_worker"
    machine = json.loads((folder / "create.asl.json").read_text())
    (dumps, _) = machine["States"]["Capture"]["Branches"]
    longest = dump_task.LONGEST.total_seconds()
    assert longest < dumps["States"]["DumpTask"]["TimeoutSeconds"] < machine["TimeoutSeconds"]
