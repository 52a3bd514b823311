"""Uploads that were announced and never taken in: they go after a day."""

from datetime import datetime
from functools import partial

from lcp_backup.catalog import Catalog
from lcp_backup.errors import NotFound, UnknownFormat
from lcp_backup.jobs.planned import CarryOut
from lcp_backup.jobs.unpublished import GRACE
from lcp_backup.model import Run, RunId, RunState
from lcp_backup.telemetry import Telemetry


def forget_uploads(
    catalog: Catalog, telemetry: Telemetry, now: datetime, carry_out: CarryOut
) -> list[str]:
    """Has everything deleted that users began to send and nobody took in; answers the uploads' ids.

    Not what a run is about to take in, nor what one failed to take in within the last day: it may
    be completed again. Raises StorageError.
    """
    abandoned: list[str] = []
    for upload_id in catalog.uploads.ids():
        if now - RunId.parse(upload_id).started_at < GRACE:
            continue
        try:
            if _may_be_taken_in(catalog.runs.get(upload_id), now):
                continue
        except NotFound:
            pass  # it was never sealed
        except UnknownFormat as error:
            telemetry.log.warning("an upload was kept", upload=upload_id, reason=str(error))
            continue
        abandoned.append(upload_id)
        carry_out(partial(catalog.uploads.delete, upload_id))
        carry_out(partial(catalog.uploads.delete_unnamed_parts, upload_id))
    return abandoned


def _may_be_taken_in(run: Run, now: datetime) -> bool:
    if run.finished_at is None:
        return True
    return run.state is RunState.FAILED and now - run.finished_at < GRACE
