"""Packs the folder's content into an archive: a tar file, cut into segments at files."""

import os
import stat
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from lcp_backup.archive import tar
from lcp_backup.archive.segment import IndexedMember
from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.errors import OutOfTime, VolumeIncomplete
from lcp_backup.exclusion import PathPatterns
from lcp_backup.model import Notice, VolumeFacts
from lcp_backup.volume.base import SETTLED_NS, Base, Verdict, compared, footprint, verdict
from lcp_backup.volume.entry import Entry, Found
from lcp_backup.volume.names import LIBRARY, quoted
from lcp_backup.volume.notices import Notices, in_order
from lcp_backup.volume.read_ahead import OpenFile, read_ahead
from lcp_backup.volume.scan import scan
from lcp_backup.volume.segments import Attributes, TarSegments


class Packed(NamedTuple):
    """What was packed, and what could not be packed as it lay there."""

    facts: VolumeFacts
    notices: tuple[Notice, ...]
    notices_left_out: int
    losses: int
    """How many of all notices mean loss."""
    lost: tuple[Notice, ...] = ()
    """What could not be read or leads out of the folder, also of what `notices` leaves out."""
    left_out: int = 0
    """How many files, links and folders were left out as they were meant to be."""
    read_size: int = 0
    """Bytes of the files that were read to their end, whether they were stored or known."""
    reached_size: int | None = None
    """Bytes of the files that were passed, where the packing was ended before it was done."""


class _StoppedError(Exception):
    """It is time to end; never leaves this module."""


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
    settled = int(began.timestamp() * 1_000_000_000) - SETTLED_NS

    def go_on(read_size: int) -> None:
        check()
        if is_over(read_size):
            raise _StoppedError

    packing = _Packing(segments, writer, base, settled, go_on)
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
        except _StoppedError:
            reached_size = packing.bytes
            packing.stop()
    segments.end()
    facts = VolumeFacts(
        files=packing.files,
        folders=packing.folders,
        links=packing.links,
        bytes=packing.bytes,
        own_size=packing.own_size,
    )
    return Packed(
        facts,
        in_order(notices.listed),
        notices.left_out,
        notices.losses,
        in_order(notices.lost),
        found.left_out,
        packing.read_size,
        reached_size,
    )


class _Packing:
    """The segments that fill, and the counts."""

    def __init__(
        self,
        segments: TarSegments,
        writer: ArchiveWriter,
        base: Base | None,
        settled: int,
        go_on: Callable[[int], None],
    ) -> None:
        self._segments = segments
        self._writer = writer
        self._base = base
        self._settled = settled
        self._go_on = go_on
        self._last = ""
        """The name of what was taken last."""
        self._begun: int | None = None
        """Bytes of the file at hand that were handed over, while there is one."""
        self.notices = Notices()
        self.files = self.folders = self.links = self.bytes = self.own_size = self.read_size = 0

    def go_on(self) -> None:
        """Raises what check raises, and _StoppedError when it is over."""
        self._go_on(self.read_size)

    def stop(self) -> None:
        """Gives up the file at hand, and lists what of the base was not looked at."""
        if self._begun is not None and self._segments.drop():
            # It takes room of the archive: as much as a file that nobody needs any more.
            self.own_size += footprint(self._begun)
        if self._base is not None:
            for member in self._base.files_behind(self._last):
                self._refer(member)

    def take(self, entry: Entry, file: OpenFile | None) -> None:
        self._take(entry, file)
        self._last = entry.name

    def _take(self, entry: Entry, file: OpenFile | None) -> None:
        if file is not None:
            self._take_file(entry, file)
        elif entry.found is Found.UNCHANGED and entry.known is not None:
            self._refer(entry.known)
        elif entry.found is Found.LINK_OUT:
            self._leave_out(entry)
        else:
            is_folder = entry.found is Found.FOLDER
            kind = tar.MemberKind.FOLDER if is_folder else tar.MemberKind.LINK
            self._segments.begin(entry.name, kind, _attributes(entry.status, 0), entry.target)
            self._segments.close()
            self.folders += is_folder
            self.links += not is_folder

    def _leave_out(self, entry: Entry) -> None:
        """Notes a link that leads out; unless it stands for documents, which must not be lost."""
        in_library = entry.name.startswith(f"{LIBRARY}/") and _leads_to_folder(entry)
        if entry.name == LIBRARY or in_library:
            # Not followed: it may lead to whatever the function itself can read.
            raise VolumeIncomplete(
                f"{quoted(entry.name)} is a symbolic link that leads out of LCP_BACKUP_FOLDER, to"
                f" {quoted(entry.target)}: what lies there would be in no backup. Move that folder"
                " to where the link is, or set LCP_BACKUP_FOLDER to a folder that holds both and"
                " make the link a relative one"
            )
        detail = "leads out of the folder; not backed up, and left as it is by a restore"
        self.notices.add("link-outside", entry.name, detail)

    def _take_file(self, entry: Entry, file: OpenFile) -> None:
        status = file.status
        if (
            (known := entry.known) is not None
            and known.sha256 is not None
            and verdict(known, status) is not Verdict.CHANGED
            and file.has_content(known.sha256, self.go_on)
        ):
            self.read_size += known.size
            self._refer(known._replace(ctime_ns=self._lasting(status), inode=status.st_ino))
            return
        size = status.st_size
        self._segments.begin(file.name, tar.MemberKind.FILE, _attributes(status, size), "")
        self._begun = 0
        try:
            while self._begun < size:
                self.go_on()
                room = self._segments.room(size - self._begun)
                file.fill(room)
                self._segments.filled(len(room))
                self._begun += len(room)
        except OutOfTime as error:
            if self._begun <= self.read_size:
                raise
            raise OutOfTime(
                f"{quoted(file.name)} has {size} bytes, of which {self._begun} were read when the"
                " function's time was about to end, and nothing is kept of a file that is not read"
                " to its end: raise the function's memory, give the file system more throughput,"
                " or keep that file elsewhere"
            ) from error
        self._begun = None
        self.read_size += size
        sha256 = file.finish(self.notices)
        if sha256 is None:
            # Whatever it has become, the next backup stores it.
            self._segments.close()
        else:
            self._segments.close(ctime_ns=self._lasting(status), inode=status.st_ino, sha256=sha256)
        self.files += 1
        self.bytes += size
        self.own_size += footprint(size)

    def _refer(self, member: IndexedMember) -> None:
        """Lists a file that lies in another archive, or was carried over from there."""
        self._writer.list_member(member)
        if self._base is not None:
            self._base.refer(member)
        self.files += 1
        self.bytes += member.size
        if not member.source:
            self.own_size += footprint(member.size)

    def _lasting(self, status: os.stat_result) -> int:
        """The ctime for the index; 0 when the file could change once more without changing it."""
        return status.st_ctime_ns if status.st_ctime_ns <= self._settled else 0


def _leads_to_folder(entry: Entry) -> bool:
    try:
        with entry.folder as folder:
            return stat.S_ISDIR(os.stat(entry.base, dir_fd=folder).st_mode)
    except OSError:
        return False


def _attributes(status: os.stat_result, size: int) -> Attributes:
    mode = stat.S_IMODE(status.st_mode)
    return Attributes(size, mode, status.st_uid, status.st_gid, status.st_mtime_ns)
