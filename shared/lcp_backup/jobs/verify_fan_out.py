"""Who verifies a backup: the verify function alone, or workers, by the state machine."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from lcp_backup.archive.segment import IndexedMember
from lcp_backup.catalog import Catalog
from lcp_backup.catalog.work import ITEMS, REQUEST, RunWork
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.handing_out import ALONE, StartWorkers, leave_portions
from lcp_backup.jobs.load_by_workers import LEAST
from lcp_backup.jobs.load_fan_out import is_large, seconds_to_load, told_to_machine
from lcp_backup.jobs.portion_slices import SharedOut, leave_slices
from lcp_backup.jobs.stored_backup import StoredBackup
from lcp_backup.model import Manifest
from lcp_backup.requests import VerifyRequest, check_workers
from lcp_backup.settings import Settings
from lcp_backup.volume import portions
from lcp_backup.volume.portions import portioned_uncut
from lcp_backup.volume.proof import mark_of

type Loads = Literal["alone", "by-workers"]
"""Who loads the database: one function, or several."""

_BYTES_A_SECOND: Final = 50 << 20
"""What one invocation reads and compares at least, with the database beside it: as of a restore,
which writes it as well."""
_MEMBER: Final = 8 << 10
"""What a member takes beside its content, in bytes that are read in the same time."""


class SharedVerify(SharedOut):
    """A verification that several functions were asked for.

    Behind the portions' slices are those of the rest: segments that hold nothing of the volume.
    """

    workers: int
    members: int
    """All that the index lists; of all portions together."""
    files: int
    files_compared: int
    """As in Verification."""
    nameless: int
    """Files of which the index has no SHA-256."""
    loads: Loads = "alone"
    least_rows: int = LEAST
    """As `load_by_workers.LEAST`."""


def workers_for(
    request: VerifyRequest, settings: Settings, manifest: Manifest, *, seconds: float | None
) -> int:
    """How many functions are to verify a backup.

    As many as were asked for, or all that there may be where one would not come to the end of the
    volume, or of the database.

    Arguments: `seconds` is how long this invocation may still last; None: as long as it likes.

    Raises InvalidRequest when several are asked for and cannot be had.
    """
    most = settings.backup_workers if settings.verify_machine else ALONE
    check_workers(request.workers, most)
    if request.workers is not None:
        return min(request.workers, most)
    if seconds is None:
        return ALONE
    facts = manifest.volume_facts
    of_volume = (facts.bytes + facts.files * _MEMBER) / _BYTES_A_SECOND
    return ALONE if max(of_volume, seconds_to_load(manifest)) < seconds else most


def _who_loads(request: VerifyRequest, manifest: Manifest) -> Loads:
    """Several, where that is quicker or they are asked for."""
    return "by-workers" if is_large(manifest) or request.workers is not None else "alone"


def hand_out(
    run: ActiveRun,
    request: VerifyRequest,
    backup: StoredBackup,
    settings: Settings,
    *,
    workers: int,
    catalog: Catalog,
    start: StartWorkers,
) -> None:
    """Cuts the volume into portions, and leaves the run to the state machine.

    Raises ArchiveDamaged, UnknownFormat, AwsError, OutOfTime, StorageError; what it left is then
    the caller's to take back.
    """
    work = catalog.work.of(run.id)
    run.step("cutting the volume into portions")
    shared = _share_out(run, request, backup, work, workers)
    loads_by_many = shared.loads == "by-workers"
    leave_portions(work, ITEMS, len(shared.slices))
    work.put(REQUEST, shared.model_dump_json().encode())
    by = f"by {workers} workers"
    loading = "loading the database into a schema of its own"
    run.step(f"{loading}{f' {by}' if loads_by_many else ''}, and reading the volume {by}")
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


def _share_out(
    run: ActiveRun, request: VerifyRequest, backup: StoredBackup, work: RunWork, workers: int
) -> SharedVerify:
    counted = _Counted(run.check)
    with backup.volume() as volume:
        volume.check_gaps(run.check)
        cut = portioned_uncut(
            counted.all_of(volume.members()),
            workers,
            least=1 if request.workers is not None else portions.LEAST,
        )
        members = _Counted(run.check).all_of(volume.members())
        slices = leave_slices(work, volume, members, cut, folders=True, mark=mark_of)
    return SharedVerify(
        backup_id=backup.manifest.id,
        backup_run_id=backup.manifest.run_id,
        workers=workers,
        portions=cut.portions,
        slices=slices,
        members=counted.members,
        files=counted.files,
        files_compared=counted.compared,
        nameless=counted.nameless,
        loads=_who_loads(request, backup.manifest),
        least_rows=1 if request.workers is not None else LEAST,
    )


@dataclass
class _Counted:
    """Counts members while they pass by."""

    check: Callable[[], None]
    members: int = 0
    files: int = 0
    compared: int = 0
    nameless: int = 0

    def all_of(self, members: Iterable[IndexedMember]) -> Iterator[IndexedMember]:
        """The same members."""
        for it in members:
            self.check()
            is_file = it.type == "file"
            self.members += 1
            self.files += is_file
            self.compared += it.sha256 is not None
            self.nameless += is_file and it.sha256 is None
            yield it
