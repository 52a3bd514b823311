"""The place beside the live folder where a restore unpacks, and whether a restore may go there."""

import os
from contextlib import suppress
from pathlib import Path

from lcp_backup.errors import InvalidRequest, VolumeError
from lcp_backup.volume import mounts
from lcp_backup.volume.access import SET_IMMUTABLE, is_immutable
from lcp_backup.volume.begun import Wanted, find_begun
from lcp_backup.volume.moves import exists, live_names
from lcp_backup.volume.names import is_own, quoted
from lcp_backup.volume.places import (
    Places,
    errors_about,
    made_places,
    read_marker,
    resolved,
)
from lcp_backup.volume.removal import remove
from lcp_backup.volume.swap import StagedVolume, recover


def stage(folder: Path, wanted: Wanted | None = None) -> StagedVolume:
    """An empty place for a new tree, beside the folder if that can be, inside it if not.

    Or the place where an earlier restore that wanted the same has begun: that is not empty.

    Makes the folders above a folder that does not exist. What an earlier restore left is recovered
    first. The new tree's own folder has the mode and owner of the live one.

    Raises VolumeError, also when something is mounted below the folder: such a mount would move
    away with the old content.
    """
    folder = resolved(folder)
    notices = recover(folder, wanted)
    with errors_about(folder, "restored"):
        if is_immutable(folder):
            raise VolumeError(f"the folder {str(folder)!r} cannot be restored: {SET_IMMUTABLE}")
        mounted = mounts.mount_points()
        if (below := next((m for m in mounted if folder in m.parents), None)) is not None:
            raise VolumeError(
                f"the folder {str(folder)!r} cannot be restored while {str(below)!r} is mounted"
                " below it: set LCP_BACKUP_FOLDER to that mount, or unmount it"
            )
        for places in Places.left(folder) if wanted is not None else ():
            if wanted is not None and (begun := find_begun(places, wanted)) is not None:
                remove(places.keep)  # nobody knows yet whether this one keeps what is live
                return StagedVolume(places, notices, begun)
        folder.parent.mkdir(parents=True, exist_ok=True)
        places = made_places(folder, mount_point=folder in mounted)
        places.new.mkdir(mode=0o755)
        if not places.inside and folder.exists():
            live = folder.stat()
            with suppress(PermissionError):  # only root may give a folder away
                os.chown(places.new, live.st_uid, live.st_gid)
            places.new.chmod(live.st_mode & 0o7777)
        return StagedVolume(places, notices)


def taken_up(folder: Path, run_id: str) -> StagedVolume:
    """The place that another process of this run staged and left to it; raises VolumeError."""
    folder = resolved(folder)
    with errors_about(folder, "restored"):
        for places in Places.left(folder):
            if read_marker(places.run) == run_id:
                return StagedVolume(places)
    raise VolumeError(
        f"what run {run_id} unpacked beside the folder {str(folder)!r} is gone; the live folder is"
        " as it was"
    )


def check_empty(folder: Path, wanted: Wanted | None = None) -> None:
    """Makes sure that a restore into this folder, which need not exist, replaces nothing.

    What earlier restores into it left is recovered first, but for what is `wanted` (`recover`).
    Raises InvalidRequest, VolumeError.
    """
    if folder.is_dir():
        recover(folder, wanted)
    with errors_about(folder, "read"):
        if exists(folder) and (not folder.is_dir() or live_names(folder)):
            raise InvalidRequest(
                f"{str(folder)!r} is not an empty folder: restore into one that is, or that does"
                " not exist"
            )


def check_below(folder: Path, live: Path) -> Path:
    """Makes sure that a restore into another folder stays where the site's own files are.

    That is below the mount that holds the live folder; where nothing but `/` is mounted, below the
    live folder's parent. Links are resolved first; the folder need not exist.

    Args:
        folder: where to restore to.
        live: LCP_BACKUP_FOLDER.

    Returns the folder, links resolved: use this from then on. Raises InvalidRequest, also for the
    live folder itself, for one that holds it, and for a name that is this service's own.
    """
    try:
        asked, live = Path(os.path.realpath(folder)), Path(os.path.realpath(live))
    except ValueError:  # a NUL in it
        raise InvalidRequest(f"{quoted(str(folder))} is no folder's name") from None
    mounted = mounts.mount_points()
    root = next((it for it in (live, *live.parents) if it in mounted), Path("/"))
    if root == Path("/"):
        root = live if live.parent == Path("/") else live.parent
    if root not in asked.parents:
        raise InvalidRequest(
            f"{quoted(str(folder))} does not lie below {str(root)!r}: restore into a folder there,"
            " where the site's files are"
        )
    if asked == live or asked in live.parents:
        raise InvalidRequest(
            f"{quoted(str(folder))} is the live folder or holds it: leave into_folder out, or name"
            " another"
        )
    if any(is_own(component) for component in asked.relative_to(root).parts):
        raise InvalidRequest(f"{quoted(str(folder))} has a name that is this service's own")
    return asked
