"""How much a folder holds, by the attributes of its files."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from lcp_backup.exclusion import PathPatterns
from lcp_backup.volume.entry import Found
from lcp_backup.volume.notices import Notices
from lcp_backup.volume.scan import scan


class Measured(NamedTuple):
    """What was seen of a folder."""

    size: int
    """Bytes of the files."""
    is_all: bool
    """Whether all of it was seen."""


def measure(
    folder: Path, *, leave_out: PathPatterns, threads: int, is_over: Callable[[], bool]
) -> Measured:
    """Adds up the sizes of the files that a backup would take, and opens none.

    Args:
        folder: LCP_BACKUP_FOLDER.
        leave_out, threads: as of `scan`.
        is_over: asked for every entry; True ends it early.

    Raises VolumeError when the folder cannot be read.
    """
    size = 0
    with closing(scan(folder, Notices(), threads=threads, leave_out=leave_out)) as entries:
        for entry in entries:
            if is_over():
                return Measured(size, is_all=False)
            if entry.found is Found.FILE:
                size += entry.status.st_size
    return Measured(size, is_all=True)
