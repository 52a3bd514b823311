"""Unpacks a tar stream into a staged tree beside the live folder; trusts nothing in it."""

import errno
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from lcp_backup.errors import VolumeError
from lcp_backup.volume.members import Members, extract
from lcp_backup.volume.staging import stage
from lcp_backup.volume.swap import StagedVolume
from lcp_backup.volume.tree import Tree

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


def unpack(
    chunks: Iterable[bytes],
    folder: Path,
    *,
    owner: tuple[int, int] | None,
    threads: int,
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> StagedVolume:
    """Unpacks a whole tar stream beside the live folder, which is not touched.

    Kept: names of any bytes, permissions, times to the nanosecond, empty folders, symbolic and hard
    links; the owner, as far as this process may give files away. Set-user-id, set-group-id and
    sticky bits of files are dropped, those of folders are kept, but for set-user-id. A later member
    of the same name replaces an earlier file, as with `tar`.

    Args:
        chunks: the tar's bytes, such as the segments of `archive.read.read_segments`.
        folder: LCP_BACKUP_FOLDER; made, at the swap, when it does not exist.
        owner: uid and gid of everything, such as Liferay's 1000 and 1000; None: the archive's.
        threads: how many write at once, where the file system is slow; 1: the calling one.
        progress: told the bytes of every chunk once they are read; the last of them may be waiting
            for a thread to write them.
        check: called before every chunk and every member; what it raises ends the unpacking.

    Raises, with the staged tree removed:
        ArchiveRefused: a member has a place outside the folder, leads there, is written through a
            link, has a name that no file system holds, is a hard link to anything but a file, or is
            neither file, folder nor link; the message names it.
        ArchiveDamaged: it is no whole tar file.
        VolumeError: the file system is full or does not let itself be written, or the live folder
            has something in the way that cannot be moved.
    """
    return staged_by(
        lambda tree: extract(chunks, tree, progress=progress, check=check),
        folder,
        owner,
        threads=threads,
        check=check,
    )


def staged_by(
    fill: Callable[[Members], None],
    folder: Path,
    owner: tuple[int, int] | None,
    *,
    threads: int,
    selected: Collection[str] | None = None,
    check: Callable[[], None],
) -> StagedVolume:
    """A staged tree of what `fill` hands over, removed when that raises; else as `unpack`.

    `selected` are the paths that will be swapped, when that is not the whole folder; `check` is
    called again and again, and what it raises ends the work.
    """
    staged = stage(folder)
    with ExitStack() as undo:
        undo.callback(staged.discard)
        try:
            with Tree(staged.new, owner, threads=threads, check=check) as tree:
                fill(tree)
                tree.finish()
        except OSError as error:
            raise _unwritable(folder, error) from error
        staged.carry_over_links(selected or (), check=check)
        staged.check_replaceable(selected)
        undo.pop_all()
    return staged


def _unwritable(folder: Path, error: OSError) -> VolumeError:
    if error.errno in _FULL:
        reason = f"the file system that holds it is full ({error.strerror})"
    else:
        reason = error.strerror or type(error).__name__
    return VolumeError(
        f"the volume cannot be unpacked beside {str(folder)!r}: {reason};"
        " the live folder is as it was"
    )
