"""What the state machine of an assembly asks its function for (assemble.asl.json), in turn."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from lcp_backup.catalog import Catalog
from lcp_backup.errors import BackupError
from lcp_backup.jobs.active_run import RunTiming
from lcp_backup.jobs.assemble import Assembled, assemble
from lcp_backup.jobs.assemble_by_workers import work_on_assembly
from lcp_backup.model import Run
from lcp_backup.requests import DownloadRequest
from lcp_backup.settings import Settings
from lcp_backup.steps import AssembleStepRequest
from lcp_backup.telemetry import Telemetry

ENVIRONMENT = {"LCP_PROJECT_ID": "acme", "LCP_ENVIRONMENT_ID": "prd", "LCP_ASSEMBLE_MACHINE": "arn"}
IDLE = RunTiming(heartbeat=timedelta(hours=1))


@dataclass
class AssembleMachine:
    """The assemble function, and a state machine that is started and does nothing by itself."""

    catalog: Catalog
    telemetry: Telemetry
    environment: dict[str, str] = field(default_factory=lambda: dict(ENVIRONMENT))
    started: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, request: DownloadRequest, timing: RunTiming = IDLE) -> Assembled:
        """What the assemble function answers."""
        return assemble(
            request,
            settings=Settings.from_env(self.environment),
            catalog=self.catalog,
            telemetry=self.telemetry,
            timing=timing,
            start_workers=lambda name, event: self.started.append({"name": name, **event}),
        )

    def step(self, step: str, **more: Any) -> dict[str, Any]:
        """One invocation, of the execution that was started last."""
        return work_on_assembly(
            AssembleStepRequest.read({"run_id": self.run_id, "step": step, **more}),
            catalog=self.catalog,
            telemetry=self.telemetry,
            timing=IDLE,
        )

    def execute(self, portions: Iterable[int] | None = None) -> None:
        """The whole machine, or what it comes to; `portions` in any order, also more than once."""
        try:
            with ThreadPoolExecutor(3) as pool:
                numbers = self.portions() if portions is None else portions
                asked = [pool.submit(self.step, "piece", portion=it) for it in numbers]
            for it in asked:
                assert it.result() == {}
            assert self.step("join") == {}
        except BackupError as error:
            self.abort(error)
            raise

    def abort(self, error: BackupError) -> None:
        """The step that ends what failed."""
        self.step("abort", error={"Error": type(error).__name__, "Cause": ""})

    def portions(self) -> range:
        """The items of the Map."""
        event = self.started[-1]
        work = self.catalog.work.of(self.run_id)
        assert work.place("items") == {name: event[name] for name in ("bucket", "key")}
        return range(work.get("items").count(b"portion"))

    @property
    def run_id(self) -> str:
        event = self.started[-1]
        assert event["name"] == event["run_id"]
        return str(event["run_id"])

    @property
    def record(self) -> Run:
        return self.catalog.runs.get(self.run_id)

    @property
    def work(self) -> list[str]:
        """What lies below the run's id."""
        return list(self.catalog.work.of(self.run_id).names())
