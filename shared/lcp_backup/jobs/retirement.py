"""The end of a backup: it is gone at once, and its volume's archive when no other backup reads it.

    published --(expires, or is deleted)--> retired: read by others
                                               |  ^
                          (no backup reads it) v  | (a run referred to it after all)
                                            retired: unread --(UNREAD_FOR)--> gone

No run refers to an archive that is taken away: a run refers only to what its base reads, and the
base was published when the run began. So whatever a run may refer to was read then, and an archive
goes only when nothing read it for much longer than any run lasts. And right before it publishes, a
run looks whether all archives are there (`new_volume.secure_sources`).

A volume that a run could not finish is a base, too, and reads archives like a backup: its own, and
its sources. After a day it ends as a backup does, if others may read it or not.
"""

from collections.abc import Collection, Iterable
from datetime import timedelta
from functools import partial
from typing import Final

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.backups import Leftover
from lcp_backup.catalog.retired import Retired
from lcp_backup.catalog.unfinished import Unfinished
from lcp_backup.history import can_be_base
from lcp_backup.jobs.planned import CarryOut
from lcp_backup.model import Manifest, VolumeSource

UNREAD_FOR: Final = timedelta(hours=20)
"""How long an archive stays that no backup reads: from one daily cleanup to the next."""


def delete_backup(catalog: Catalog, manifest: Manifest) -> None:
    """Makes a backup not exist; may be called again.

    Everything goes that it was made of, but the volume's archive only if no other backup may read
    it.

    Raises Pinned, and changes nothing, when it is pinned: the caller need not look. UnknownFormat,
    StorageError.
    """
    catalog.pins.begin_deletion(manifest)
    _begin_time_anew(catalog, manifest.sources)
    if can_be_base(manifest):
        catalog.backups.retire(manifest.id)
    else:
        catalog.backups.unpublish(manifest.id)


def freed_by_deletion(manifest: Manifest) -> int:
    """Bytes of the archives that go when a backup is deleted: not of one that stays."""
    return manifest.database.size if can_be_base(manifest) else manifest.size


def give_up_unfinished(catalog: Catalog, mark: Unfinished) -> None:
    """Makes a volume that no run has finished be nothing to go on from; may be called again.

    Its archive goes when no backup reads it. Raises StorageError.
    """
    _begin_time_anew(catalog, mark.sources)
    catalog.backups.retire_unfinished(mark.id)


def _begin_time_anew(catalog: Catalog, sources: Iterable[VolumeSource]) -> None:
    """For archives that a run may refer to which has them from a base that goes: call it first."""
    for source in sources:
        mark = catalog.backups.retired(source.backup_id)
        if mark is not None and mark.unread_since is not None:
            catalog.backups.mark_retired(source.backup_id, Retired(since=mark.since))


def settle_retired(
    catalog: Catalog,
    leftover: Leftover,
    mark: Retired,
    read: Collection[str] | None,
    carry_out: CarryOut,
) -> bool:
    """Goes on with a retired backup; answers whether its archive went, or would.

    Args:
        leftover: what lies there of it.
        mark: as it was read after `read` was known.
        read: the backups whose archives any published backup reads, or any unfinished volume;
            None when nobody knows.
        carry_out: is handed what is to be done about it.
    """
    now = catalog.now()
    write = partial(catalog.backups.mark_retired, leftover.backup_id)
    if read is None or leftover.backup_id in read:
        if mark.unread_since is not None:
            carry_out(partial(write, Retired(since=mark.since)))
        return False
    if mark.unread_since is None:
        carry_out(partial(write, Retired(since=mark.since, unread_since=now)))
        return False
    if now - mark.unread_since < UNREAD_FOR:
        return False
    carry_out(partial(catalog.backups.forget_retired, leftover))
    return True
