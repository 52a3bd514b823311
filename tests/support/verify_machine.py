"""What the state machine of a verification asks its functions for (verify.asl.json), in turn."""

from datetime import datetime
from typing import Any

from lcp_backup.errors import BackupError
from lcp_backup.jobs import verify_fan_out
from lcp_backup.model import Run
from lcp_backup.steps import VerifyStepRequest
from tests.support.load_machine import LoadMachine


class VerifyMachine(LoadMachine):
    """A verification that was begun, and what its state machine asks for."""

    variable = "LCP_VERIFY_MACHINE"

    def load_alone(self) -> None:
        self._monkeypatch.setattr(verify_fan_out, "_who_loads", lambda *_: "alone")

    def begin(self, **request: Any) -> None:
        answer = self.site.verify(**{"backup_id": "latest", "workers": 2, **request})
        assert answer["verdict"] is None
        assert self.told["run_id"] == answer["run_id"]

    def ask(self, event: dict[str, Any], until: datetime) -> dict[str, Any]:
        return self.site.service().verify_step(VerifyStepRequest.read(event), until)

    def read(self) -> None:
        for portion in self.items("items"):
            assert self.step("read", portion=portion) == {}

    def execute(self) -> Run:
        """The whole machine, or what it comes to; the record of the run."""
        try:
            if self.told["loads"] == "by-workers":
                self.load_rows()
            self.finish()
        except BackupError as error:
            self.abort(error)
        return self.record

    def finish(self) -> Run:
        if self.told["loads"] == "by-workers":
            self.build_indexes()
        assert self.step("database") == {"left_to_task": False}
        self.read()
        assert self.step("conclude") == {}
        return self.record

    def abort(self, error: BackupError) -> bool:
        told = self.step("abort", error={"Error": type(error).__name__, "Cause": ""})
        return bool(told["gave_way"])
