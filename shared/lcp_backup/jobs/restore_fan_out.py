"""Who restores a backup: the restore function alone, or workers, by the state machine."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Literal

from lcp_backup.archive.segment import IndexedMember
from lcp_backup.catalog import Catalog
from lcp_backup.catalog.work import ITEMS, REQUEST, RunWork
from lcp_backup.errors import InvalidRequest
from lcp_backup.exclusion import GENERATED, PathPatterns
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.handing_out import ALONE, StartWorkers, leave_portions
from lcp_backup.jobs.load_by_workers import LEAST
from lcp_backup.jobs.load_fan_out import is_large, seconds_to_load, told_to_machine
from lcp_backup.jobs.portion_slices import SharedOut, leave_slices
from lcp_backup.jobs.staged_site import check_restorable, loads_beside
from lcp_backup.jobs.staged_volume import volume_folder
from lcp_backup.jobs.stored_backup import StoredBackup, StoredVolume
from lcp_backup.model import Manifest
from lcp_backup.requests import RestoreRequest, check_workers
from lcp_backup.settings import Settings
from lcp_backup.volume import portions, staging, swap
from lcp_backup.volume.portions import PortionedVolume, portioned
from lcp_backup.volume.slices import Block
from lcp_backup.volume.swap import StagedVolume

type Loads = Literal["in-swap", "alone", "by-workers"]
"""Who loads the database: who swaps it in, if it is restored at all; one function beside the live
one; or several."""
_BYTES_A_SECOND: Final = 50 << 20
"""What one invocation unpacks at least, with the database beside it: half of what was measured."""
_FILE: Final = 32 << 10
"""What a file takes beside its content, in bytes that are unpacked in the same time."""


class SharedRestore(SharedOut):
    """A restore that several functions were asked for."""

    request: RestoreRequest
    workers: int
    most: int
    """Bytes; what is larger is a large file."""
    loads: Loads
    least_rows: int
    """As `load_by_workers.LEAST`."""


def workers_for(
    request: RestoreRequest,
    settings: Settings,
    manifest: Manifest,
    *,
    seconds: float | None,
) -> int:
    """How many functions are to restore a backup.

    As many as were asked for, or all that there may be where one would not come to an end. One
    restores what is asked for by paths, an uploaded volume whose members have an order, and unless
    several are asked for, what is asked for by tables.

    Arguments: `seconds` is how long this invocation may still last; None: as long as it likes.

    Raises InvalidRequest when several are asked for and cannot be had.
    """
    most = settings.backup_workers if settings.restore_machine else ALONE
    check_workers(request.workers, most)
    reason = request.why_by_one(manifest)
    if request.workers is not None:
        if request.workers > ALONE and reason is not None:
            raise InvalidRequest(f"workers: {request.workers} are asked for, and {reason}")
        return min(request.workers, most)
    if reason or seconds is None:
        return ALONE
    facts = manifest.volume_facts
    of_volume = (facts.bytes + facts.files * _FILE) / _BYTES_A_SECOND
    longest = max(
        of_volume if request.wants_volume else 0,
        seconds_to_load(manifest) if loads_beside(request, settings) and not request.tables else 0,
    )
    return ALONE if longest < seconds else most


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

    What an earlier restore left of the volume is finished or undone first. A failure leaves nothing
    staged.

    Raises InvalidRequest, VolumeError, ArchiveDamaged, AwsError, LeaseLost, StorageError.
    """
    check_restorable(request, backup.manifest, settings)
    work = catalog.work.of(run.id)
    with ExitStack() as undo:
        cut, slices = PortionedVolume(0, ()), tuple[Block, ...]()
        if request.wants_volume:
            cut, slices = _share_out_volume(
                run, request, backup, settings, work=work, workers=workers
            )
            staged = _stage_volume(run, request, settings)
            undo.callback(staged.discard)
        shared = SharedRestore(
            request=request,
            backup_id=backup.manifest.id,
            backup_run_id=backup.manifest.run_id,
            workers=workers,
            most=cut.most,
            portions=cut.portions,
            slices=slices,
            loads=_who_loads(request, settings, backup.manifest),
            least_rows=1 if _is_asked_for(request) else LEAST,
        )
        leave_portions(work, ITEMS, len(cut.portions))
        work.put(REQUEST, shared.model_dump_json().encode())
        run.step(_step(shared))
        run.hand_over()
        start(
            run.id,
            {
                "run_id": run.id,
                "workers": workers,
                "loads": shared.loads,
                **work.place(ITEMS),
                **told_to_machine(work, workers, settings),
            },
        )
        undo.pop_all()


def _share_out_volume(
    run: ActiveRun,
    request: RestoreRequest,
    backup: StoredBackup,
    settings: Settings,
    *,
    work: RunWork,
    workers: int,
) -> tuple[PortionedVolume, tuple[Block, ...]]:
    folder = volume_folder(request, settings)
    run.step("finishing or undoing what an earlier restore left")
    run.add_notices(swap.recover(Path(settings.backup_folder)))
    if request.into_folder is not None:
        staging.check_empty(folder)
    run.step("cutting the volume into portions")
    with backup.volume() as volume:
        cut = portioned(
            wanted_members(volume, settings),
            workers,
            least=1 if _is_asked_for(request) else portions.LEAST,
        )
        cut = cut._replace(portions=cut.portions or (portions.NOTHING,))
        return cut, leave_slices(work, volume, wanted_members(volume, settings), cut)


def _stage_volume(run: ActiveRun, request: RestoreRequest, settings: Settings) -> StagedVolume:
    """An empty one, left to the run."""
    staged = staging.stage(volume_folder(request, settings))
    run.add_notices(staged.notices)
    staged.leave_to(run.id)
    return staged


def _who_loads(request: RestoreRequest, settings: Settings, manifest: Manifest) -> Loads:
    if not loads_beside(request, settings):
        return "in-swap"
    # (How much of it is asked for by tables is not known before the index is read.)
    large = is_large(manifest) and not request.tables
    return "by-workers" if large or _is_asked_for(request) else "alone"


def _is_asked_for(request: RestoreRequest) -> bool:
    """Whether somebody wants workers, and so however little there is to do."""
    return request.workers is not None


def _step(shared: SharedRestore) -> str:
    does = []
    if shared.request.wants_volume:
        does.append(f"unpacking the volume by {shared.workers} workers")
    if shared.loads == "alone":
        does.append("loading the database")
    if shared.loads == "by-workers":
        does.append(f"loading the database by {shared.workers} workers")
    return f"{', and '.join(does)}, beside the live site"


def wanted_members(volume: StoredVolume, settings: Settings) -> Iterable[IndexedMember]:
    """The members of a volume that workers restore, in their order."""
    if not settings.restore_exclude_generated:
        return volume.members()
    leave_out = PathPatterns(GENERATED)
    return (
        it for it in volume.members() if not leave_out.cover(it.name, folder=it.type == "folder")
    )
