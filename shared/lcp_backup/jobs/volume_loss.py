"""Whether a packed volume is the site's, judged by the last backup that was made of the site."""

from typing import Final

from lcp_backup.archive.index import read_members
from lcp_backup.catalog import Catalog
from lcp_backup.errors import (
    ArchiveError,
    NotFound,
    ObjectNotFound,
    UnknownFormat,
    VolumeIncomplete,
)
from lcp_backup.model import Manifest, Notice
from lcp_backup.volume.names import printable
from lcp_backup.volume.packing import Packed

SHRINK_LIMIT: Final = "LCP_BACKUP_VOLUME_SHRINK_LIMIT"
NO_LIMIT: Final = 100
"""A volume cannot shrink by more than all of it."""

_TAKE_IT = f"to take the folder as it is now, set {SHRINK_LIMIT} to {NO_LIMIT} for one backup"
_CAUSES = "is LCP_BACKUP_FOLDER the right one, its file system mounted, all of it readable?"


def check_for_loss(
    packed: Packed, catalog: Catalog, limit: int, left_out: tuple[str, ...] = ()
) -> tuple[Notice, ...]:
    """Refuses a volume that lacks what the last backup has, as far as that cannot be meant.

    Uploaded backups are not compared with: they may be of another site. Without any to compare
    with, after a restore, which may have brought back a smaller site, and with NO_LIMIT, nothing is
    refused.

    Args:
        packed: what was packed just now; its backup is not published yet.
        catalog: where the last backup lies.
        left_out: the patterns of what is not backed up. Where they differ from those of the last
            backup, sizes say nothing.
        limit: by how many percent files or bytes may have become fewer since, 0 to 100.

    Returns what a reader of the backup should know. Raises VolumeIncomplete, which names the last
    backup and the way out; StorageError.
    """
    notices: list[Notice] = []
    if packed.facts.files == 0:
        detail = "the folder holds no files, and so does this backup"
        notices.append(Notice(code="volume-empty", subject="LCP_BACKUP_FOLDER", detail=detail))
    if limit == NO_LIMIT:
        return tuple(notices)
    try:
        last = catalog.backups.latest(uploaded=False)
        if (
            next(catalog.runs.restores(since=last.started_at, also_incomplete=True), None)
            is not None
        ):
            detail = (
                "a restore has replaced the site since the last backup, so nobody knows whether"
                " files are missing"
            )
            return (*notices, _not_compared(detail))
        _check_lost(packed, catalog, last)
        if last.left_out.path_patterns == left_out:
            _check_size(packed, last, limit)
        else:
            detail = "what is left out differs from the last backup, so sizes cannot be compared"
            notices.append(_not_compared(detail))
    except NotFound:
        pass  # the first one
    except (UnknownFormat, ArchiveError, ObjectNotFound):
        # Of a later version, damaged, or deleted just now: no reason to have no backup at all.
        detail = "the last backup cannot be read, so nobody knows whether files are missing"
        notices.append(_not_compared(detail))
    return tuple(notices)


def _not_compared(detail: str) -> Notice:
    return Notice(code="volume-not-compared", subject=SHRINK_LIMIT, detail=detail)


def _check_size(packed: Packed, last: Manifest, limit: int) -> None:
    now, before = packed.facts, last.volume_facts
    fewer_files = now.files * 100 < before.files * (100 - limit)
    fewer_bytes = now.bytes * 100 < before.bytes * (100 - limit)
    if not (fewer_files or fewer_bytes):
        return
    raise VolumeIncomplete(
        f"the volume shrank to {now.files} files of {now.bytes} bytes, from {before.files} files of"
        f" {before.bytes} bytes in backup {last.id}, and {SHRINK_LIMIT} allows {limit} percent:"
        f" {_CAUSES} If this is meant, {_TAKE_IT}"
    )


def _check_lost(packed: Packed, catalog: Catalog, last: Manifest) -> None:
    """What cannot be read now, and could be when the last backup was made."""
    known = {(notice.code, notice.subject) for notice in last.warnings}
    lost = {it.subject: it for it in packed.lost if (it.code, it.subject) not in known}
    if not lost:
        return
    # Read only now, because it lists every file.
    members = read_members(
        catalog.backups.open(last.id, last.volume.index_name),
        archive_name=last.volume.name,
        sha256=last.volume.index_sha256,
    )
    names = (printable(member.name) for member in members)
    found = [lost[name] for name in names if name in lost]
    if not found:
        return
    first = found[0]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    raise VolumeIncomplete(
        f"{first.subject!r}{more} is in backup {last.id} and cannot be backed up now"
        f" ({first.detail}): let the function's user read it, put it back in the folder, or remove"
        f" it; {_TAKE_IT}"
    )
