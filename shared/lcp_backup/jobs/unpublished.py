"""What lies below `backups/` and is no backup: unfinished volumes, retired archives, leftovers."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.backups import Leftover
from lcp_backup.errors import UnknownFormat
from lcp_backup.jobs.planned import CarryOut
from lcp_backup.jobs.retirement import give_up_unfinished, settle_retired
from lcp_backup.telemetry import Telemetry

GRACE: Final = timedelta(days=1)
"""How long something unpublished is left alone: it may belong to a run that is under way."""
UNFINISHED_KEPT: Final = timedelta(days=1)
"""How long a create may go on from what an earlier one stored until its time ended."""


@dataclass
class Unpublished:
    """What became of everything below `backups/` that is no backup."""

    unfinished: list[str] = field(default_factory=list)
    """Ids of volumes that no run has finished in a day."""
    leftovers: list[Leftover] = field(default_factory=list)
    retired: list[Leftover] = field(default_factory=list)
    multiparts: int = 0


def forget_unpublished(
    catalog: Catalog,
    telemetry: Telemetry,
    now: datetime,
    read: set[str] | None,
    carry_out: CarryOut,
) -> Unpublished:
    """Has everything taken away that is no backup, that nobody reads and no run can be writing.

    Arguments: `read` are the backups whose archives other backups read; None when nobody knows.
    Raises StorageError.
    """
    found = Unpublished()
    by_unfinished = _give_up_unfinished(catalog, telemetry, now, found, carry_out)
    read = None if read is None or by_unfinished is None else read | by_unfinished
    for leftover in catalog.backups.leftovers():
        try:
            mark = catalog.backups.retired(leftover.backup_id)
        except UnknownFormat as error:
            telemetry.log.warning("kept", backup_id=leftover.backup_id, reason=str(error))
            continue
        if mark is not None:
            if settle_retired(catalog, leftover, mark, read, carry_out):
                found.retired.append(leftover)
        elif leftover.backup_id in found.unfinished:
            pass  # in a dry run: it would be retired by now, and its archive would stay for a while
        elif read is None or leftover.backup_id in read:
            # It may be gone on from; or a manifest that somebody deleted by hand left no mark, and
            # others read the archive.
            telemetry.log.warning("kept", backup_id=leftover.backup_id, reason="may be read")
        elif now - leftover.newest >= GRACE:
            found.leftovers.append(leftover)
            carry_out(partial(catalog.backups.delete_leftover, leftover))
    for multipart in list(catalog.backups.open_multiparts()):
        if now - multipart.started >= GRACE:
            carry_out(partial(catalog.backups.abort_multipart, multipart))
            found.multiparts += 1
    return found


def _give_up_unfinished(
    catalog: Catalog, telemetry: Telemetry, now: datetime, found: Unpublished, carry_out: CarryOut
) -> set[str] | None:
    """Has volumes retired that no run has finished in a day.

    Answers the backups whose archives the others read; None when nobody knows.
    """
    read: set[str] = set()
    all_known = True
    for backup_id in catalog.backups.unfinished_ids():
        mark = None
        try:
            mark = catalog.backups.unfinished(backup_id)
            if mark is not None and now - mark.stopped_at >= UNFINISHED_KEPT:
                carry_out(partial(give_up_unfinished, catalog, mark))
                found.unfinished.append(backup_id)
                continue
        except UnknownFormat as error:
            telemetry.log.warning("kept", backup_id=backup_id, reason=str(error))
            all_known = all_known and mark is not None
        if mark is not None:
            read |= {backup_id, *(source.backup_id for source in mark.sources)}
    return read if all_known else None
