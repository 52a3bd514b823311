"""What of the base is still in the folder as it was, found out without opening a file."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from lcp_backup.archive.segment import IndexedMember
from lcp_backup.exclusion import PathPatterns
from lcp_backup.volume.base import Base, compared
from lcp_backup.volume.entry import Found
from lcp_backup.volume.notices import Notices
from lcp_backup.volume.scan import scan


def unchanged(
    folder: Path, base: Base, *, leave_out: PathPatterns, threads: int, check: Callable[[], None]
) -> Iterator[IndexedMember]:
    """The files of the base that are as they were; not those that only reading would tell of.

    Args:
        folder: LCP_BACKUP_FOLDER.
        leave_out, threads: as of `scan`.
        check: called before every entry; what it raises ends the scan.

    Raises VolumeError when the folder cannot be read.
    """
    with closing(scan(folder, Notices(), threads=threads, leave_out=leave_out)) as entries:
        for entry in compared(entries, base):
            check()
            if entry.known is not None and entry.found is Found.UNCHANGED:
                yield entry.known
