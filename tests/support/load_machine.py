"""What the state machines of a restore and of a verification ask their functions for alike."""

import signal
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar

import pytest

from lcp_backup import task
from lcp_backup.aws.machines import MachineStarter
from lcp_backup.errors import BackupError
from lcp_backup.model import Run
from lcp_backup.service import deadline
from tests.support.job_site import JobSite

_QUARTER_HOUR = 15 * 60 * 1000  # milliseconds


class LoadMachine(ABC):
    """A run that was begun, whose database several functions load, and what it asks of them."""

    variable: ClassVar[str]
    """The setting that names the state machine."""

    def __init__(self, site: JobSite, monkeypatch: pytest.MonkeyPatch) -> None:
        self.site = site
        self.told: dict[str, Any] = {}
        """What the state machine was started with."""
        self._monkeypatch = monkeypatch
        site.env[self.variable] = "arn"

        def start(_starter: MachineStarter, _arn: str, _name: str, told: dict[str, Any]) -> None:
            self.told.update(told)

        monkeypatch.setattr(MachineStarter, "start", start)

    @abstractmethod
    def load_alone(self) -> None:
        """From now on databases are small enough for one function to load."""

    @abstractmethod
    def begin(self, **request: Any) -> None:
        """What the function is asked for first; by two workers, where nothing else is said."""

    @abstractmethod
    def ask(self, event: dict[str, Any], until: datetime) -> dict[str, Any]:
        """One invocation, which has until then."""

    @abstractmethod
    def finish(self) -> Run:
        """What is left once all rows are loaded; the record of the run."""

    def step(self, step: str, **more: Any) -> dict[str, Any]:
        """One step of the run that was begun last."""
        event = {"run_id": self.told["run_id"], "step": step, **more}
        return self.ask(event, deadline(_QUARTER_HOUR))

    def run_task(self) -> None:
        """What the process does to which the last step of a load is left."""
        before = signal.getsignal(signal.SIGTERM)
        try:
            with self._monkeypatch.context() as patched:
                patched.setattr(task, "service", self.site.service)
                task.main([self.told["run_id"]])
        finally:
            signal.signal(signal.SIGTERM, before)

    def items(self, name: str) -> range:
        """The portions that a Map hands out."""
        work = self.site.catalog.work.of(self.told["run_id"])
        return range(work.get(name).count(b"portion"))

    def load_rows(self) -> None:
        """Has all rows loaded, one portion after the other."""
        assert self.step("tables") == {}
        for portion in self.items("items-rows"):
            while not self.step("rows", portion=portion)["done"]:
                pass

    def load_rows_by_three(self) -> None:
        """Has every portion loaded by three workers at once, of which one goes backwards."""
        portions = self.items("items-rows")
        assert len(portions) > 2
        failures: list[BaseException] = []

        def work(order: list[int]) -> None:
            try:
                for portion in order:
                    assert self.step("rows", portion=portion) == {"done": True}
            except BaseException as error:  # noqa: BLE001 -- raised below
                failures.append(error)

        orders = [list(portions), list(portions), list(reversed(portions))]
        threads = [threading.Thread(target=work, args=(order,)) for order in orders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []

    def build_indexes(self) -> None:
        """Has all indexes built."""
        for portion in self.items("items-indexes"):
            assert self.step("indexes", portion=portion) == {}

    @property
    def record(self) -> Run:
        """That of the run."""
        return self.site.catalog.runs.get(self.told["run_id"])

    def end(self) -> None:
        """Leaves nothing on the server, however the test ended."""
        if self.told:
            with suppress(BackupError):
                self.step("abort", error={"Error": "LoadFailed", "Cause": ""})
