"""Who makes a backup: the one function that was asked, or several, by the state machine."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Final, Literal

from pydantic import AwareDatetime

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.unfinished import Unfinished
from lcp_backup.catalog.work import REQUEST, RunWork
from lcp_backup.document import Document, read_document
from lcp_backup.errors import DatabaseTooLarge, NotFound, UnknownFormat
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.bases import bases
from lcp_backup.jobs.handing_out import ALONE
from lcp_backup.jobs.shared_volume import LEAST_SHARE
from lcp_backup.jobs.unfinished import CLOSING_TIME
from lcp_backup.model import BackupType, Manifest
from lcp_backup.requests import CreateRequest, check_workers
from lcp_backup.settings import Settings

_GB: Final = 1e9
_SURE_RATE: Final = 70e6
"""Bytes of SQL a second that a dump is planned with (docs/limits.md)."""
_BEST_RATE: Final = 150e6
"""What no dump comes near: 92 MB were measured, all from one connection (docs/limits.md)."""


class SharedCreate(Document):
    """What several functions were asked for: lies below the run's id while they are at work."""

    format: Literal[1] = 1
    backup_id: str
    slot: AwareDatetime
    type: BackupType
    workers: int
    least_size: int
    """As of `share_out`."""


def workers_for(
    request: CreateRequest, settings: Settings, catalog: Catalog, timing: RunTiming
) -> int:
    """How many functions are to pack the volume of a new backup.

    As many as were asked for, or all that there may be where one would not come to an end: where
    the last create did not, where the last backup took longer than this function has time, or where
    it had more SQL than one function is sure to dump and the stack has a task for that.

    Raises InvalidRequest when several are asked for and the stack has no state machine.
    """
    most = settings.backup_workers if settings.create_machine else ALONE
    check_workers(request.workers, most)
    if request.workers is not None:
        return min(request.workers, most)
    if most == ALONE or timing.deadline is None:
        return ALONE
    last = next((it for it in bases(catalog) if isinstance(it, Manifest | Unfinished)), None)
    if isinstance(last, Unfinished):
        return most
    time = timing.deadline - CLOSING_TIME - catalog.now()
    if isinstance(last, Manifest) and _took(last) * last.volume.writers >= time:
        return most
    if settings.dump_task_subnet_ids is not None:
        before = _last(catalog)
        if before is not None and _takes(before, _SURE_RATE) >= time:
            return most
    return ALONE


def check_dump_fits(settings: Settings, catalog: Catalog, timing: RunTiming) -> None:
    """Raises DatabaseTooLarge where one function has to dump what none can, by the last backup."""
    if settings.dump_task_subnet_ids or timing.deadline is None:
        return
    last = _last(catalog)
    if last is None:
        return
    time = timing.deadline - catalog.now()
    if min(_takes(last, _BEST_RATE), _took(last)) >= time:
        size, most = last.database.raw_size / _GB, _BEST_RATE * time.total_seconds() / _GB
        raise DatabaseTooLarge(
            f"the database had {size:.0f} GB of SQL in the last backup, {last.id}, and one function"
            f" dumps {most:.0f} GB at the very most: deploy with DumpTaskSubnetIds, so that a task"
            " does it"
        )


def _last(catalog: Catalog) -> Manifest | None:
    """The newest backup of this database; None too where a later version made it."""
    with suppress(NotFound, UnknownFormat):
        return catalog.backups.latest(uploaded=False)
    return None


def _took(last: Manifest) -> timedelta:
    return last.published_at - last.started_at


def _takes(last: Manifest, rate: float) -> timedelta:
    return timedelta(seconds=last.database.raw_size / rate)


def hand_out(
    run: ActiveRun,
    request: CreateRequest,
    *,
    slot: AwareDatetime,
    workers: int,
    catalog: Catalog,
    start: Callable[[str], None],
) -> None:
    """Leaves a run that has begun, with its lease, to the state machine.

    Arguments: `start` starts the execution of a run. Raises AwsError, LeaseLost, StorageError.
    """
    shared = SharedCreate(
        backup_id=run.backup_id or "",
        slot=slot,
        type=request.type,
        workers=workers,
        least_size=LEAST_SHARE if request.workers is None else 1,
    )
    catalog.work.of(run.id).put(REQUEST, shared.model_dump_json().encode())
    run.step(f"waiting for {workers} workers to start")
    run.hand_over()
    start(run.id)


def asked_for(work: RunWork) -> SharedCreate:
    """What the workers of a run were asked for; raises ObjectNotFound, UnknownFormat."""
    return read_document(SharedCreate, work.get(REQUEST), f"request of run {work.run_id}")


def is_made_by_workers(catalog: Catalog, backup_id: str) -> str | None:
    """The run by which several functions are at work on a backup now, if any."""
    holder = catalog.lease.holder()
    if holder is None or holder.backup_id != backup_id:
        return None
    found = catalog.work.of(holder.run_id).find(REQUEST)
    return None if found is None else holder.run_id
