"""Unpacks members into a staged tree beside the live folder; trusts none of them."""

import errno
from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from lcp_backup.errors import VolumeError
from lcp_backup.volume.members import Members
from lcp_backup.volume.staging import stage
from lcp_backup.volume.swap import StagedVolume
from lcp_backup.volume.tree import Tree

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


def staged_by(
    fill: Callable[[Members], None],
    folder: Path,
    owner: tuple[int, int] | None,
    *,
    threads: int,
    selected: Collection[str] | None = None,
    check: Callable[[], None],
) -> StagedVolume:
    """A staged tree of what `fill` hands over, beside the live folder, which is not touched.

    Kept: names of any bytes, permissions, times to the nanosecond, empty folders, symbolic and hard
    links; the owner, as far as this process may give files away. Set-user-id, set-group-id and
    sticky bits of files are dropped, those of folders are kept, but for set-user-id. A later member
    of the same name replaces an earlier file, as with `tar`.

    Args:
        fill: hands over members, such as `members.extract` or `wanted.hand_over_wanted`.
        folder: LCP_BACKUP_FOLDER; made, at the swap, when it does not exist.
        owner: uid and gid of everything, such as Liferay's 1000 and 1000; None: the archive's.
        threads: how many write at once, where the file system is slow; 1: the calling one.
        selected: the paths that will be swapped, when that is not the whole folder.
        check: called again and again; what it raises ends the work.

    Raises, with the staged tree removed, what `fill` raises, and:
        ArchiveRefused: a member is written through a link, or is a hard link to what is no
            file.
        VolumeError: the file system is full or does not let itself be written, or the live folder
            has something in the way that cannot be moved.
    """
    staged = stage(folder)
    with ExitStack() as undo:
        undo.callback(staged.discard)
        fill_staged(staged, fill, owner, threads=threads, selected=selected, check=check)
        undo.pop_all()
    return staged


def fill_staged(
    staged: StagedVolume,
    fill: Callable[[Members], None],
    owner: tuple[int, int] | None,
    *,
    threads: int,
    selected: Collection[str] | None = None,
    check: Callable[[], None],
) -> None:
    """As `staged_by`, into a tree that is staged already; whatever is raised, that stays."""
    try:
        with Tree(staged.new, owner, threads=threads, check=check) as tree:
            fill(tree)
            tree.finish()
    except OSError as error:
        raise unwritable(staged.folder, error) from error
    staged.carry_over_links(selected or (), check=check)
    staged.check_replaceable(selected)


def unwritable(folder: Path, error: OSError) -> VolumeError:
    """What is raised when the file system does not let itself be written beside this folder."""
    if error.errno in _FULL:
        reason = f"the file system that holds it is full ({error.strerror})"
    else:
        reason = error.strerror or type(error).__name__
    return VolumeError(
        f"the volume cannot be unpacked beside {str(folder)!r}: {reason};"
        " the live folder is as it was"
    )
