"""What the state machine of a restore asks its functions for (restore.asl.json), step by step."""

from datetime import datetime
from typing import Any

from lcp_backup.jobs import load_fan_out, restore_fan_out
from lcp_backup.model import Run, RunState
from lcp_backup.steps import RestoreStepRequest
from tests.support.load_machine import LoadMachine


class RestoreMachine(LoadMachine):
    """A restore that was begun, and what its state machine asks for."""

    variable = "LCP_RESTORE_MACHINE"

    def load_alone(self) -> None:
        self._monkeypatch.setattr(load_fan_out, "_LEAST_SQL", 1 << 40)
        self._monkeypatch.setattr(restore_fan_out, "_is_asked_for", lambda _: False)

    def begin(self, **request: Any) -> None:
        answer = self.site.restore(**{"workers": 2, **request})
        assert answer["restored"] is False
        assert self.told["run_id"] == answer["run_id"]

    def ask(self, event: dict[str, Any], until: datetime) -> dict[str, Any]:
        return self.site.service().restore_step(RestoreStepRequest.read(event), until)

    def unpack(self) -> None:
        for portion in self.items("items"):
            assert self.step("unpack", portion=portion) == {"done": True}
        self.step("attributes")

    def load(self) -> None:
        """All that is done beside the live database."""
        if self.told["loads"] == "by-workers":
            self.load_rows()
            self.build_indexes()
        assert self.step("load") == {"left_to_task": False}

    def finish(self) -> Run:
        self.build_indexes()
        assert self.step("load") == {"left_to_task": False}
        self.unpack()
        self.step("swap")
        return self.record

    def execute(self) -> None:
        """The whole machine."""
        self.load()
        self.unpack()
        self.step("swap")

    @property
    def state(self) -> RunState:
        return self.record.state
