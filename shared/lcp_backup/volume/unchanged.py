"""What of the base is still in the folder as it was, found out without opening a file."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from lcp_backup.archive.segment import IndexedMember
from lcp_backup.volume.base import Base, Verdict, verdict
from lcp_backup.volume.notices import Notices
from lcp_backup.volume.scan import Found, scan


def unchanged(folder: Path, base: Base, check: Callable[[], None]) -> Iterator[IndexedMember]:
    """The files of the base that are as they were; not those that only reading would tell of.

    Args:
        folder: LCP_BACKUP_FOLDER.
        check: called before every entry; what it raises ends the scan.

    Raises VolumeError when the folder cannot be read.
    """
    with closing(scan(folder, Notices())) as entries:
        for entry in entries:
            check()
            if entry.found is not Found.FILE or (member := base.find(entry.name)) is None:
                continue
            try:
                status = os.stat(entry.base, dir_fd=entry.folder_fd, follow_symlinks=False)
            except OSError:
                continue
            if verdict(member, status) is Verdict.SAME:
                yield member
