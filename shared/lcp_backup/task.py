"""What is one long process, as a task of ECS: for hours, where a function has minutes.

That is the dump of a create by workers, an upload that one function would not take in in its time,
and a dump that has to be loaded in its order, for a restore or a proof (jobs/load_task.py). The
task runs with the layers and variables of the function whose work it does; template.yaml has the
few lines that fetch these. Its exit code is 0 when all is done. What went wrong otherwise is told
elsewhere, for an exit code cannot say it: by an upload in the run's record, by all others below the
run's id.
"""

import signal
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from types import FrameType
from typing import Final

from lcp_backup.catalog import utc_now
from lcp_backup.errors import DumpFailed, LeaseHeld, TaskFailed
from lcp_backup.jobs.task_end import LONGEST
from lcp_backup.model import RunId, RunKind
from lcp_backup.requests import UploadRequest
from lcp_backup.service import service
from lcp_backup.steps import CreateStepRequest, RestoreStepRequest, VerifyStepRequest

_WAITS: Final = timedelta(minutes=45)
"""How long an upload waits for another run to end: less than an event of a function's is kept."""
_PAUSE_SECONDS: Final = 20


def main(arguments: Sequence[str]) -> None:
    """Does the work of the run whose id is the only argument; raises what that raises."""
    (run_id,) = arguments
    until = utc_now() + LONGEST
    match RunId.parse(run_id).kind:
        case RunKind.UPLOAD:
            signal.signal(signal.SIGTERM, _stop_intake)
            try:
                _take_in(run_id)
            except TaskFailed as stopped:
                service().end_stopped_upload(run_id, stopped)
                raise
        case RunKind.RESTORE:
            signal.signal(signal.SIGTERM, _stop_load)
            load = RestoreStepRequest.read({"run_id": run_id, "step": "load"})
            service().restore_step(load, until, is_task=True)
        case RunKind.VERIFY:
            signal.signal(signal.SIGTERM, _stop_load)
            prove = VerifyStepRequest.read({"run_id": run_id, "step": "database"})
            service().verify_step(prove, until, is_task=True)
        case _:
            signal.signal(signal.SIGTERM, _stop_dump)
            dump = CreateStepRequest.read({"run_id": run_id, "step": "dump"})
            service().create_step(dump, until)


def _take_in(upload_id: str) -> None:
    """As Lambda does that tries an upload again, to which another run was in the way."""
    request = UploadRequest.read({"upload_id": upload_id})
    begun = utc_now()
    while True:
        try:
            service().upload_by_task(request, begun + LONGEST)
        except LeaseHeld as error:
            # Of another task of this upload the machine may not know: then this one sees its end.
            if error.run_id != upload_id and utc_now() - begun > _WAITS:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return


# ECS gives a task that is stopped 30 seconds: enough to abort what it has open in S3.


def _stop_dump(_signal: int, _frame: FrameType | None) -> None:
    raise DumpFailed(
        "the dump's task was stopped", public="the task that dumps the database was stopped"
    )


def _stop_load(_signal: int, _frame: FrameType | None) -> None:
    raise TaskFailed(
        "the load's task was stopped", public="the task that loads the database was stopped"
    )


def _stop_intake(_signal: int, _frame: FrameType | None) -> None:
    raise TaskFailed(
        "the upload's task was stopped", public="the task that takes the upload in was stopped"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
