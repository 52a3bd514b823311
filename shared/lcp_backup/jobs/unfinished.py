"""A create whose time ends: what it stored of the volume is kept for the next one to go on from.

    the time is nearly over --> archive and index are completed --> the mark is written
                                                                       |
    the next create compares the folder with them, as with a backup <--+--> a day later: retired

Nothing is published. A kill before the mark leaves what any dead run leaves; after it, there is
something to go on from. The database is dumped anew by each run, for its snapshot is of that run.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.unfinished import Unfinished
from lcp_backup.errors import OutOfTime, StoredInPart, VolumeError
from lcp_backup.history import WHOLE_BELOW
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.new_volume import NewVolume
from lcp_backup.volume.measure import Measured

CLOSING_TIME: Final = timedelta(seconds=90)
"""How long before its deadline a run ends packing. Then it still sends what waits in memory (at
most some hundred MB), lists what of the base was not looked at (5 s for a million files), and has
S3 complete the object, which may take a minute for thousands of parts; none of it can be ended in
the middle. What is left of the time measures the folder."""
_TO_TELL: Final = timedelta(seconds=10)
"""How long before its deadline the folder is no longer measured."""
_GB: Final = 1_000_000_000
LEAST_READ: Final = WHOLE_BELOW
"""Bytes of files that a run must have read for its work to be kept. Smaller volumes need none of
this; and a run that got nowhere must not say that it goes on."""


def packing_is_over(run: ActiveRun) -> Callable[[int], bool]:
    """Tells the packing, by the bytes of files that it has read, whether to end early."""
    if run.deadline is None:
        return lambda _: False
    over = run.deadline - CLOSING_TIME
    return lambda read: read >= LEAST_READ and run.now() >= over


def keep_unfinished(
    catalog: Catalog,
    run: ActiveRun,
    backup_id: str,
    volume: NewVolume,
    measured: Callable[[Callable[[], bool]], Measured],
) -> OutOfTime:
    """Keeps what a run stored of a volume that it cannot publish; answers what the run ends with.

    Needs no lease: a mark that comes late, from a run that has lost its own, tells only of an
    archive that is complete. Should that be gone by then, the next run passes the mark over.

    Args:
        volume: with archive and index complete below the id; the packing was ended early, or only
            the database is not done.
        measured: measures the folder, until what it is given answers True (`volume.measure`).

    Raises StorageError.
    """
    packed, archive = volume.packed, volume.archive
    reached = packed.facts.bytes if packed.reached_size is None else packed.reached_size
    etag = catalog.backups.open(backup_id, archive.name).etag
    catalog.backups.keep_unfinished(
        Unfinished(
            id=backup_id,
            run_id=run.id,
            stopped_at=catalog.now(),
            volume=archive.model_copy(update={"etag": etag}),
            sources=volume.sources,
            volume_facts=packed.facts,
            reached_size=reached,
            path_patterns=volume.path_patterns,
        )
    )
    if not packed.ended_early:
        return StoredInPart(
            f"the volume of {in_gb(reached)} GB is stored, and the function's time was about to end"
            " before the database was dumped; goes on at the next run"
        )
    before = volume.reached_before
    stored = f"{in_gb(reached)} of {_whole(run, measured)} stored"
    if before is not None and reached <= before:
        return OutOfTime(
            f"the function's time was about to end with {stored}, no more than at the end of the"
            f" run before ({in_gb(before)} GB): the folder changes as fast as it is stored, and no"
            " run will finish it; raise the function's memory, or give the file system more"
            " throughput"
        )
    return StoredInPart(
        f"the function's time was about to end with {stored}; goes on at the next run"
    )


def _whole(run: ActiveRun, measured: Callable[[Callable[[], bool]], Measured]) -> str:
    """How much there is to be stored, as far as time allows to find out."""
    until = None if run.deadline is None else run.deadline - _TO_TELL
    try:
        found = measured(lambda: until is not None and run.now() >= until)
    except VolumeError:
        found = Measured(0, is_all=False)
    return f"{'about' if found.is_all else 'more than'} {in_gb(found.size)} GB"


def in_gb(size: int) -> str:
    """Bytes as a number of GB."""
    digits = 0 if size >= 10 * _GB else 1
    return f"{size / _GB:.{digits}f}"
