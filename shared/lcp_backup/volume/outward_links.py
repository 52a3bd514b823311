"""Links that lead out of the live folder: no backup holds them, so no restore takes them away."""

import os
from collections.abc import Callable, Collection
from contextlib import closing, suppress
from pathlib import Path

from lcp_backup.model import Notice
from lcp_backup.volume.descent import OPEN_FOLDER
from lcp_backup.volume.entry import Entry, Found
from lcp_backup.volume.notices import Notices
from lcp_backup.volume.scan import scan

_ALL_OF_OWNER = 0o700


def carry_over(
    live: Path, new: Path, paths: Collection[str] = (), *, check: Callable[[], None]
) -> tuple[Notice, ...]:
    """Makes the live folder's links that lead out of it in the tree that will take its place.

    What the new tree holds under such a name is left as it is. A link that cannot be kept, for that
    or because the folder it lies in is not in the new tree, becomes a notice (`link-not-kept`).

    Args:
        live: the live folder, links resolved; it may be missing.
        new: the tree that will take its place; not trusted.
        paths: only what lies in these of its folders; all when there are none.
        check: called for each live folder and link; what it raises ends the work.

    Raises VolumeError when the file system fails as a whole, OSError when the new tree cannot be
    written.
    """
    notices = Notices()
    root = os.open(new, OPEN_FOLDER)
    try:
        for below in paths or ("",):
            try:
                os.close(os.open(live / below, OPEN_FOLDER))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except PermissionError as error:
                notices.add("link-not-kept", below or ".", f"cannot be read ({error.strerror})")
                continue
            # (What is odd in the live folder is no concern of a restore.)
            with closing(scan(live, Notices(), below, files=False)) as entries:
                for entry in entries:
                    check()
                    if entry.found is Found.LINK_OUT:
                        _keep(entry, root, notices)
    finally:
        os.close(root)
    return notices.listed


def _keep(entry: Entry, root: int, notices: Notices) -> None:
    folder = os.dup(root)
    try:
        for component in entry.name.split("/")[:-1]:
            inner = os.open(component, OPEN_FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        _make(entry, folder)
    except (FileNotFoundError, NotADirectoryError):
        detail = "leads out of the folder, and lay in a folder that the backup does not hold"
        notices.add("link-not-kept", entry.name, detail)
    except PermissionError as error:
        detail = f"leads out of the folder; the folder it lies in is closed ({error.strerror})"
        notices.add("link-not-kept", entry.name, detail)
    except FileExistsError:
        detail = "leads out of the folder, and the backup holds something else under its name"
        notices.add("link-not-kept", entry.name, detail)
    finally:
        os.close(folder)


def _make(entry: Entry, folder: int) -> None:
    """Makes the link as it lies in the live folder; the folder stays as the backup has it."""
    before = os.fstat(folder)
    try:
        if before.st_mode & _ALL_OF_OWNER != _ALL_OF_OWNER:
            os.fchmod(folder, _ALL_OF_OWNER)
        os.symlink(entry.target, entry.base, dir_fd=folder)
        status = entry.status
        with suppress(PermissionError):  # only root may give a link away
            os.chown(entry.base, status.st_uid, status.st_gid, dir_fd=folder, follow_symlinks=False)
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(entry.base, ns=times, dir_fd=folder, follow_symlinks=False)
    finally:
        os.fchmod(folder, before.st_mode & 0o7777)
        os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
