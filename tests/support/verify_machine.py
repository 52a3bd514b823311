"""What the state machine of a verification asks its functions for (verify.asl.json), in turn."""

from typing import Any

import pytest

from lcp_backup.aws.machines import MachineStarter
from lcp_backup.errors import BackupError
from lcp_backup.model import Run
from lcp_backup.service import deadline
from lcp_backup.steps import VerifyStepRequest
from tests.support.job_site import JobSite

_QUARTER_HOUR = 15 * 60 * 1000  # milliseconds


class VerifyMachine:
    """A verification that was begun, and what its state machine asks for."""

    def __init__(self, site: JobSite, monkeypatch: pytest.MonkeyPatch) -> None:
        self.site = site
        self.told: dict[str, Any] = {}
        site.env["LCP_VERIFY_MACHINE"] = "arn"

        def start(_starter: MachineStarter, _arn: str, _name: str, told: dict[str, Any]) -> None:
            self.told.update(told)

        monkeypatch.setattr(MachineStarter, "start", start)

    def begin(self) -> None:
        answer = self.site.verify("latest", workers=2)
        assert answer["verdict"] is None
        assert self.told["run_id"] == answer["run_id"]

    def step(self, step: str, **more: Any) -> dict[str, Any]:
        event = {"run_id": self.told["run_id"], "step": step, **more}
        return self.site.service().verify_step(
            VerifyStepRequest.read(event), deadline(_QUARTER_HOUR)
        )

    def execute(self) -> Run:
        """The whole machine, or what it comes to; the record of the run."""
        try:
            items = self.site.catalog.work.of(self.told["run_id"]).get("items")
            for portion in range(items.count(b"portion")):
                self.step("read", portion=portion)
            self.step("database")
            self.step("conclude")
        except BackupError as error:
            self.abort(error)
        return self.site.catalog.runs.get(self.told["run_id"])

    def abort(self, error: BackupError) -> bool:
        told = self.step("abort", error={"Error": type(error).__name__, "Cause": ""})
        return bool(told["gave_way"])
