"""Who assembles a volume: the assemble function alone, or workers, by the state machine."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from lcp_backup.archive.segment import IndexedMember
from lcp_backup.catalog import Catalog
from lcp_backup.catalog.work import ITEMS, REQUEST, RunWork
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.handing_out import ALONE, StartWorkers, leave_portions
from lcp_backup.jobs.portion_slices import SharedOut, leave_slices
from lcp_backup.jobs.stored_backup import StoredVolume
from lcp_backup.model import ArchiveKind, Manifest
from lcp_backup.requests import DownloadRequest, check_workers
from lcp_backup.settings import Settings
from lcp_backup.volume import portions
from lcp_backup.volume.portions import Portion, portioned_uncut

type Members = Callable[[], Iterator[IndexedMember]]
"""Begins anew, each time it is called, with all members that are wanted."""

_BYTES_A_SECOND: Final = 50 << 20
"""What one invocation carries over at least: as of a verification, which reads as much."""
_MEMBER: Final = 8 << 10
"""What a member takes beside its content, in bytes that are carried over in the same time."""


class SharedAssembly(SharedOut):
    """An assembly that several functions were asked for."""

    name: str
    """Of the object among the downloads."""

    def in_order(self) -> list[int]:
        """The numbers of the portions as their pieces follow in the archive.

        Those of the backup's own archive come last, which has all folders: so these come when what
        lies in them is there.
        """
        return sorted(range(len(self.portions)), key=lambda it: _place(self.portions[it]))


def _place(portion: Portion) -> tuple[bool, int, int]:
    return not portion.source, portion.source, portion.first


def workers_for(
    request: DownloadRequest,
    settings: Settings,
    manifest: Manifest,
    chosen: Callable[[], Iterator[IndexedMember]],
    *,
    seconds: float | None,
) -> int:
    """How many functions are to assemble what a download asks for.

    As many as were asked for, or all that there may be where one would not come to an end.

    Args:
        chosen: begins with the members of the volume that are wanted; only asked for where the
            whole volume would be too much for one.
        seconds: how long this invocation may still last; None: as long as it likes.

    Raises InvalidRequest when several are asked for and cannot be had; what `chosen` raises.
    """
    most = settings.backup_workers if settings.assemble_machine else ALONE
    check_workers(request.workers, most)
    if request.kind is not ArchiveKind.VOLUME:
        return ALONE
    if request.workers is not None:
        return min(request.workers, most)
    if seconds is None or most == ALONE:
        return ALONE
    fits = seconds * _BYTES_A_SECOND
    facts = manifest.volume_facts
    needs = facts.bytes + facts.files * _MEMBER
    if needs >= fits and request.paths:
        needs = sum(it.size + _MEMBER for it in chosen())
    return ALONE if needs < fits else most


def hand_out(
    run: ActiveRun,
    request: DownloadRequest,
    manifest: Manifest,
    volume: StoredVolume,
    members: Members,
    *,
    name: str,
    workers: int,
    catalog: Catalog,
    start: StartWorkers,
) -> None:
    """Cuts what is wanted into portions, and leaves the run to the state machine.

    Raises ArchiveDamaged, NotFound, AwsError, OutOfTime, StorageError; what it left is then the
    caller's to take back.
    """
    work = catalog.work.of(run.id)

    def checked() -> Iterator[IndexedMember]:
        for it in members():
            run.check()
            yield it

    run.step("cutting the volume into portions")
    shared = _share_out(work, request, manifest, volume, checked, name=name, workers=workers)
    leave_portions(work, ITEMS, len(shared.portions))
    work.put(REQUEST, shared.model_dump_json().encode())
    run.step(f"assembling the volume by {workers} workers")
    run.hand_over()
    start(run.id, {"run_id": run.id, "workers": workers, **work.place(ITEMS)})


def _share_out(
    work: RunWork,
    request: DownloadRequest,
    manifest: Manifest,
    volume: StoredVolume,
    members: Callable[[], Iterable[IndexedMember]],
    *,
    name: str,
    workers: int,
) -> SharedAssembly:
    least = 1 if request.workers is not None else portions.LEAST
    cut = portioned_uncut(members(), workers, least=least)
    slices = leave_slices(work, volume, members(), cut, folders=True)
    return SharedAssembly(
        backup_id=manifest.id,
        backup_run_id=manifest.run_id,
        name=name,
        portions=cut.portions,
        slices=slices,
    )
