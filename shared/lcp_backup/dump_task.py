"""The dump of a create by workers as a process of its own, for as many hours as it takes.

An ECS task runs it with the create worker's own layers and variables; template.yaml has the few
lines that fetch these. Its exit code is 0 when the dump is whole. What went wrong otherwise lies
below the run's id (jobs/dump_end.py), for an exit code cannot say it.
"""

import signal
import sys
from collections.abc import Sequence
from datetime import timedelta
from types import FrameType
from typing import Final

from lcp_backup.catalog import utc_now
from lcp_backup.errors import DumpFailed
from lcp_backup.service import service
from lcp_backup.steps import CreateStepRequest

LONGEST: Final = timedelta(hours=12)
"""How long a dump may take; the state machine waits for a little longer (create.asl.json)."""


def main(arguments: Sequence[str]) -> None:
    """Dumps for the run whose id is the only argument; raises what a create's step raises."""
    signal.signal(signal.SIGTERM, _stop)
    (run_id,) = arguments
    request = CreateStepRequest.read({"run_id": run_id, "step": "dump"})
    service().create_step(request, utc_now() + LONGEST)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    """ECS gives a task that is stopped 30 seconds: enough to abort what it has open in S3."""
    raise DumpFailed(
        "the dump's task was stopped", public="the task that dumps the database was stopped"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
