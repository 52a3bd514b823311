"""What the state machine of a restore asks its functions for (restore.asl.json), step by step."""

from contextlib import suppress
from typing import Any

import pytest

from lcp_backup.aws.machines import MachineStarter
from lcp_backup.errors import BackupError
from lcp_backup.jobs import load_fan_out, restore_fan_out
from lcp_backup.model import RunState
from lcp_backup.service import deadline
from lcp_backup.steps import RestoreStepRequest
from tests.support.job_site import JobSite

_QUARTER_HOUR = 15 * 60 * 1000  # milliseconds


class RestoreMachine:
    """A restore that was begun, and what its state machine asks for."""

    def __init__(self, site: JobSite, monkeypatch: pytest.MonkeyPatch) -> None:
        self.site = site
        self.told: dict[str, Any] = {}
        self._monkeypatch = monkeypatch
        site.env["LCP_RESTORE_MACHINE"] = "arn"

        def start(_starter: MachineStarter, _arn: str, _name: str, told: dict[str, Any]) -> None:
            self.told.update(told)

        monkeypatch.setattr(MachineStarter, "start", start)

    def load_alone(self) -> None:
        """From now on databases are small enough for one function to load."""
        self._monkeypatch.setattr(load_fan_out, "_LEAST_SQL", 1 << 40)
        self._monkeypatch.setattr(restore_fan_out, "_is_asked_for", lambda _: False)

    def begin(self, **request: Any) -> None:
        answer = self.site.restore(**{"workers": 2, **request})
        assert answer["restored"] is False
        assert self.told["run_id"] == answer["run_id"]

    def step(self, step: str, **more: Any) -> dict[str, Any]:
        event = {"run_id": self.told["run_id"], "step": step, **more}
        return self.site.service().restore_step(
            RestoreStepRequest.read(event), deadline(_QUARTER_HOUR)
        )

    def items(self, name: str) -> range:
        """The portions that a Map hands out."""
        work = self.site.catalog.work.of(self.told["run_id"])
        return range(work.get(name).count(b"portion"))

    def unpack(self) -> None:
        for portion in self.items("items"):
            assert self.step("unpack", portion=portion) == {"done": True}
        self.step("attributes")

    def load(self) -> None:
        """All that is done beside the live database."""
        if self.told["loads"] == "by-workers":
            self.load_rows()
            self.build_indexes()
        assert self.step("load") == {}

    def load_rows(self) -> None:
        assert self.step("tables") == {}
        for portion in self.items("items-rows"):
            while not self.step("rows", portion=portion)["done"]:
                pass

    def build_indexes(self) -> None:
        for portion in self.items("items-indexes"):
            assert self.step("indexes", portion=portion) == {}

    def finish(self) -> None:
        """What is left once all rows are loaded."""
        self.build_indexes()
        assert self.step("load") == {}
        self.unpack()
        self.step("swap")

    def execute(self) -> None:
        """The whole machine."""
        self.load()
        self.unpack()
        self.step("swap")

    def end(self) -> None:
        """Leaves nothing on the server, however the test ended."""
        if self.told:
            with suppress(BackupError):
                self.step("abort", error={"Error": "LoadFailed", "Cause": ""})

    @property
    def state(self) -> RunState:
        return self.site.catalog.runs.get(self.told["run_id"]).state
