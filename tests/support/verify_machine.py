"""What the state machine of a verification asks its functions for (verify.asl.json), in turn."""

from typing import Any

import pytest

from lcp_backup.aws.machines import MachineStarter
from lcp_backup.errors import BackupError
from lcp_backup.jobs import verify_fan_out
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
        self._monkeypatch = monkeypatch

    def load_alone(self) -> None:
        """From now on databases are small enough for one function to load."""
        self._monkeypatch.setattr(verify_fan_out, "_who_loads", lambda *_: "alone")

    def begin(self, **request: Any) -> None:
        answer = self.site.verify("latest", **{"workers": 2, **request})
        assert answer["verdict"] is None
        assert self.told["run_id"] == answer["run_id"]

    def step(self, step: str, **more: Any) -> dict[str, Any]:
        event = {"run_id": self.told["run_id"], "step": step, **more}
        return self.site.service().verify_step(
            VerifyStepRequest.read(event), deadline(_QUARTER_HOUR)
        )

    def items(self, name: str) -> range:
        """The portions that a Map hands out."""
        work = self.site.catalog.work.of(self.told["run_id"])
        return range(work.get(name).count(b"portion"))

    def load_rows(self) -> None:
        assert self.step("tables") == {}
        for portion in self.items("items-rows"):
            while not self.step("rows", portion=portion)["done"]:
                pass

    def build_indexes(self) -> None:
        for portion in self.items("items-indexes"):
            assert self.step("indexes", portion=portion) == {}

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
        """What is left once all rows are loaded; the record of the run."""
        if self.told["loads"] == "by-workers":
            self.build_indexes()
        assert self.step("database") == {}
        self.read()
        assert self.step("conclude") == {}
        return self.record

    @property
    def record(self) -> Run:
        return self.site.catalog.runs.get(self.told["run_id"])

    def abort(self, error: BackupError) -> bool:
        told = self.step("abort", error={"Error": type(error).__name__, "Cause": ""})
        return bool(told["gave_way"])
