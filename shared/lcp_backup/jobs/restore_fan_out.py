"""Who unpacks a volume: the restore function alone, or workers, by the state machine."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Literal

from lcp_backup.archive.segment import IndexedMember
from lcp_backup.catalog import Catalog
from lcp_backup.catalog.work import ITEMS, REQUEST
from lcp_backup.document import Document
from lcp_backup.errors import InvalidRequest
from lcp_backup.exclusion import GENERATED, PathPatterns
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.portion_slices import leave_slices
from lcp_backup.jobs.staged_site import check_restorable, loads_beside
from lcp_backup.jobs.staged_volume import volume_folder
from lcp_backup.jobs.stored_backup import StoredBackup, StoredVolume
from lcp_backup.model import BackupType, Manifest
from lcp_backup.requests import RestoreRequest, check_workers
from lcp_backup.settings import Settings
from lcp_backup.volume import portions, staging, swap
from lcp_backup.volume.portions import Portion, portioned
from lcp_backup.volume.slices import Block

type StartWorkers = Callable[[str, dict[str, Any]], None]
"""Starts the execution of a state machine, by its name, with its input."""

ALONE: Final = 1
"""Workers of a restore that one invocation does."""
_BYTES_A_SECOND: Final = 50 << 20
"""What one invocation unpacks at least, with the database beside it: half of what was measured."""
_FILE: Final = 32 << 10
"""What a file takes beside its content, in bytes that are unpacked in the same time."""


class SharedRestore(Document):
    """What several functions were asked for: lies below the run's id while they are at work."""

    format: Literal[1] = 1
    request: RestoreRequest
    backup_id: str
    backup_run_id: str
    workers: int
    most: int
    """Bytes; what is larger is a large file."""
    portions: tuple[Portion, ...]
    slices: tuple[Block, ...]
    """By what each portion finds what it needs of the index."""


def workers_for(
    request: RestoreRequest,
    settings: Settings,
    manifest: Manifest,
    *,
    seconds: float | None,
) -> int:
    """How many functions are to unpack the volume of a backup.

    As many as were asked for, or all that there may be where one would not come to an end. What was
    uploaded was taken in by one invocation, so one restores it, too; and so it does a selection.

    Arguments: `seconds` is how long this invocation may still last; None: as long as it likes.

    Raises InvalidRequest when several are asked for and cannot be had.
    """
    most = settings.backup_workers if settings.restore_machine else ALONE
    check_workers(request.workers, most)
    reason = None
    if manifest.type is BackupType.UPLOADED:
        reason = f"{manifest.id} was uploaded, which one function restores: leave workers out"
    elif request.paths or not request.wants_volume:
        reason = "they unpack a whole volume, which is not asked for: leave workers out"
    if request.workers is not None:
        if request.workers > ALONE and reason is not None:
            raise InvalidRequest(f"workers: {request.workers} are asked for, and {reason}")
        return min(request.workers, most)
    facts = manifest.volume_facts
    needed = (facts.bytes + facts.files * _FILE) / _BYTES_A_SECOND
    return ALONE if reason or seconds is None or needed < seconds else most


def hand_out(
    run: ActiveRun,
    request: RestoreRequest,
    backup: StoredBackup,
    settings: Settings,
    *,
    workers: int,
    catalog: Catalog,
    start: StartWorkers,
) -> None:
    """Stages an empty volume, and leaves the run with its lease to the state machine.

    What an earlier restore left is finished or undone first. A failure leaves nothing staged.

    Raises InvalidRequest, VolumeError, ArchiveDamaged, AwsError, LeaseLost, StorageError.
    """
    check_restorable(request, backup.manifest, settings)
    folder = volume_folder(request, settings)
    run.step("finishing or undoing what an earlier restore left")
    run.add_notices(swap.recover(Path(settings.backup_folder)))
    if request.into_folder is not None:
        staging.check_empty(folder)
    run.step("cutting the volume into portions")
    work = catalog.work.of(run.id)
    with backup.volume() as volume:
        cut = portioned(
            wanted_members(volume, settings),
            workers,
            least=portions.LEAST if request.workers is None else 1,
        )
        # (What AWS makes of a Map without items is nowhere told.)
        cut = cut._replace(portions=cut.portions or (portions.NOTHING,))
        slices = leave_slices(work, volume, wanted_members(volume, settings), cut)
    shared = SharedRestore(
        request=request,
        backup_id=backup.manifest.id,
        backup_run_id=backup.manifest.run_id,
        workers=workers,
        most=cut.most,
        portions=cut.portions,
        slices=slices,
    )
    items = ",".join(f'{{"portion":{number}}}' for number in range(len(cut.portions)))
    work.put(ITEMS, f"[{items}]".encode())
    with ExitStack() as undo:
        staged = staging.stage(folder)
        undo.callback(staged.discard)
        run.add_notices(staged.notices)
        staged.leave_to(run.id)
        work.put(REQUEST, shared.model_dump_json().encode())
        loads = loads_beside(request, settings)
        also = ", and loading the database," if loads else ""
        run.step(f"unpacking the volume by {workers} workers{also} beside the live site")
        run.hand_over()
        told = {"run_id": run.id, "workers": workers, "loads": loads}
        start(run.id, {**told, **work.place(ITEMS)})
        undo.pop_all()


def wanted_members(volume: StoredVolume, settings: Settings) -> Iterable[IndexedMember]:
    """The members of a volume that workers restore, in their order."""
    if not settings.restore_exclude_generated:
        return volume.members()
    leave_out = PathPatterns(GENERATED)
    return (
        it for it in volume.members() if not leave_out.cover(it.name, folder=it.type == "folder")
    )
