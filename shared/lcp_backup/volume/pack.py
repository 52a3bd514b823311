"""Packs the folder's content into an archive: a tar file, cut into segments at files."""

from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path

from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.exclusion import PathPatterns
from lcp_backup.volume.base import Base, compared
from lcp_backup.volume.packing import Packed, Packing, StoppedError, settled_before
from lcp_backup.volume.read_ahead import read_ahead
from lcp_backup.volume.scan import scan
from lcp_backup.volume.segments import TarSegments


def pack(
    folder: Path,
    writer: ArchiveWriter,
    *,
    base: Base | None = None,
    leave_out: PathPatterns | None = None,
    began: datetime,
    progress: Callable[[int], None],
    check: Callable[[], None],
    threads: int = 1,
    is_over: Callable[[int], bool] = lambda _: False,
) -> Packed:
    """Writes the folder's content as a tar file; the caller finishes the writer.

    With a base the tar file holds folders, links, and the files that the base has not; the index
    lists those that it has where they lie. A file that was only touched is read, and its SHA-256
    decides.

    Names are relative to the folder. Kept: names of any bytes, modes, owners as numbers, times to
    the nanosecond, empty folders, symbolic links as links. A file of several names (hard links) is
    stored once per name. Not kept: extended attributes and access lists; holes become zeros.

    The folder may be in use. A file that vanishes, changes or cannot be read becomes a notice
    (`file-vanished`, `file-changed`, `file-unreadable`), and the tar file is valid all the same: a
    file has the size it had when it was opened, cut, or filled up with zeros. What no restore would
    take is left out with a notice, too (`scan.scan`), and so is a link that leads out of the folder
    (`link-outside`); folders may be as deep as a path can name.

    When it is over, the packing ends where it is. What was packed until then is listed, and of the
    base all files behind it, as they were in it: who goes on later compares the folder with that. A
    large file that was being packed is cut off, so that the archive may be no whole tar file; the
    index does not name it.

    Args:
        folder: LCP_BACKUP_FOLDER.
        writer: without an `only_file`.
        base: what to compare the folder with; None stores everything.
        leave_out: what of the folder is passed over.
        began: when the run began, UTC: a file that was changed later, or just before, is read again
            by the next backup whatever its attributes say.
        progress: told the raw bytes of every segment as it is handed to the writer.
        check: called before every entry and every segment; what it raises ends the packing.
        threads: how many list folders and read attributes, and as many read small files, ahead of
            the packing, once the file system turns out to be slow; 1 means none.
        is_over: asked as often as check, with the bytes of the files that were read so far; True
            ends the packing early.

    Raises OutOfTime, instead of check's, with the file's name where one large file took all the
    time; VolumeError when the folder itself cannot be read; VolumeIncomplete when the document
    library, or a folder in it, lies elsewhere behind a link; and what writer and check raise.
    """
    segments = TarSegments(writer, progress, check)

    def go_on(read_size: int) -> None:
        check()
        if is_over(read_size):
            raise StoppedError

    packing = Packing(segments, writer, base, settled_before(began), go_on)
    reached_size = None
    notices = packing.notices
    with (
        closing(scan(folder, notices, threads=threads, leave_out=leave_out)) as found,
        closing(
            read_ahead(found if base is None else compared(found, base), notices, threads=threads)
        ) as opened,
    ):
        try:
            for entry, file in opened:
                packing.go_on()
                packing.take(entry, file)
        except StoppedError:
            reached_size = packing.bytes
            packing.stop()
    segments.end()
    return packing.packed(left_out=found.left_out, reached_size=reached_size)
