"""What the service says of itself: structured logs, CloudWatch metrics (EMF), events on the bus."""

from typing import Any, Literal

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from lcp_backup.aws import EventBus
from lcp_backup.errors import AwsError

NAMESPACE = "LcpBackup"
SERVICE = "lcp-backup"

type EventName = Literal[
    "Backup Created",
    "Backup Failed",
    "Backup Uploaded",
    "Upload Failed",
    "Restore Completed",
    "Restore Failed",
]


class Telemetry:
    """Logs, metrics and events of one process; `level` is a logging level's name."""

    def __init__(self, bus: EventBus, *, level: str, project: str, environment: str) -> None:
        self.log = Logger(service=SERVICE, level=level)
        self._bus = bus
        self._whose = {"project": project, "environment": environment}
        # Not the library's shared one: two environments in a process (as in tests) must not mix.
        self._metrics = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
        self._metrics.set_default_dimensions(project=project, environment=environment)

    def count(self, **values: float) -> None:
        """Writes metrics at once, by name; the name's ending says the unit (Bytes, Seconds)."""
        for name, value in values.items():
            unit = MetricUnit.Count
            if name.endswith("Bytes"):
                unit = MetricUnit.Bytes
            elif name.endswith("Seconds"):
                unit = MetricUnit.Seconds
            self._metrics.add_metric(name=name, unit=unit, value=value)
        self._metrics.flush_metrics()

    def announce(self, event: EventName, detail: dict[str, Any]) -> None:
        """Tells the event bus; a bus that refuses is logged, and undoes nothing that was done.

        The environment that is at work is said too: in disaster recovery the backup is another's.
        """
        try:
            self._bus.publish(event, {**self._whose, **detail})
        except AwsError as error:
            self.log.error("an event could not be published", event=event, reason=str(error))
