"""What the service says of itself: structured logs, CloudWatch metrics (EMF), events on the bus."""

import logging
from typing import Any, Literal

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from lcp_backup.aws.bus import EventBus
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
    "Backup Verified",
    "Verification Failed",
]


def new_logger(level: str) -> Logger:
    """The process's logger: it writes what is of `level` (a logging level's name) or above.

    Make it before anything else: from then on, libraries are silent below WARNING. The debug lines
    of botocore hold what it signs with, and what S3 and Secrets Manager answered.

    Lambda has a level of its own, AWS_LAMBDA_LOG_LEVEL, and drops the lines that it reads as being
    below that. Metrics have no level and count as INFO, so the template sets it to DEBUG or INFO
    and never above; powertools takes it for the logger's own level, before any that it is given.
    A line whose time is not as RFC 3339 has it counts as INFO, too.
    Source: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
    """
    log = Logger(service=SERVICE, use_rfc3339=True)
    logging.getLogger(SERVICE).setLevel(level)
    libraries = logging.getLogger()
    libraries.setLevel(max(libraries.level, logging.WARNING))
    return log


class Telemetry:
    """Logs, metrics and events of one process."""

    def __init__(self, log: Logger, bus: EventBus, *, project: str, environment: str) -> None:
        self.log = log
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
