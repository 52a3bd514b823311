"""What a new volume may be compared with, and what is told where that cannot be used."""

from collections.abc import Iterator
from contextlib import suppress

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.unfinished import Unfinished
from lcp_backup.errors import NotFound, UnknownFormat
from lcp_backup.history import BaseVolume, can_be_base
from lcp_backup.model import Manifest, Notice


def bases(catalog: Catalog) -> Iterator[BaseVolume | Notice]:
    """What can be the base, the best first; and what is told where nothing before it can be."""
    last: Manifest | Notice | None = None
    try:
        last = catalog.backups.latest(uploaded=False)
    except NotFound:
        pass
    except UnknownFormat:
        last = stored_whole("the last backup", "a later version made it")
    unfinished = _unfinished_since(catalog, last if isinstance(last, Manifest) else None)
    if unfinished is not None:
        yield unfinished
    if isinstance(last, Notice) or (last is not None and can_be_base(last)):
        yield last


def _unfinished_since(catalog: Catalog, last: Manifest | None) -> Unfinished | None:
    """What a run could not finish, and no later one did; None where there is nothing like that."""
    found: list[Unfinished] = []
    for backup_id in catalog.backups.unfinished_ids():
        with suppress(UnknownFormat):
            mark = catalog.backups.unfinished(backup_id)
            if mark is not None and (last is None or mark.stopped_at > last.published_at):
                found.append(mark)
    return max(found, key=lambda mark: mark.stopped_at, default=None)


def not_whole(subject: str) -> Notice:
    """Of a whole volume that refers to what a run before has stored."""
    detail = (
        "the volume goes on from what a run before stored, and refers to that, although the mode is"
        " FULL; the next backup is whole"
    )
    return Notice(code="volume-not-whole", subject=subject, detail=detail)


def missing(backup_id: str) -> Notice:
    """Of an archive that is not what was referred to."""
    detail = "its archive is gone, replaced or damaged; the files that lay there were stored again"
    return Notice(code="source-missing", subject=backup_id, detail=detail)


def stored_whole(subject: str, reason: str) -> Notice:
    """Of a backup that should be the base, and cannot be."""
    detail = f"the volume was stored whole, because this backup cannot be referred to: {reason}"
    return Notice(code="volume-stored-whole", subject=subject, detail=detail)
