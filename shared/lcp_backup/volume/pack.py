"""Packs the folder's content into an archive: a tar file, cut into segments at files."""

import hashlib
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
from lcp_backup.errors import VolumeIncomplete
from lcp_backup.model import Notice, VolumeFacts
from lcp_backup.volume.base import SETTLED_NS, Base, Verdict, verdict
from lcp_backup.volume.names import LIBRARY, quoted
from lcp_backup.volume.notices import Notices
from lcp_backup.volume.scan import Entry, Found, note_unreadable, scan
from lcp_backup.volume.segments import Attributes, TarSegments

_READ_SIZE = 1 << 20
# A pipe that took a file's place must not hang the open; a link that did must not be followed.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Packed(NamedTuple):
    """What was packed, and what could not be packed as it lay there."""

    facts: VolumeFacts
    notices: tuple[Notice, ...]
    notices_left_out: int
    losses: int
    """How many of all notices mean loss."""
    lost: tuple[Notice, ...] = ()
    """What could not be read or leads out of the folder, also of what `notices` leaves out."""


def pack(
    folder: Path,
    writer: ArchiveWriter,
    *,
    base: Base | None = None,
    began: datetime,
    progress: Callable[[int], None],
    check: Callable[[], None],
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

    Args:
        folder: LCP_BACKUP_FOLDER.
        writer: without an `only_file`.
        base: what to compare the folder with; None stores everything.
        began: when the run began, UTC: a file that was changed later, or just before, is read again
            by the next backup whatever its attributes say.
        progress: told the raw bytes of every segment as it is handed to the writer.
        check: called before every entry and every segment; what it raises ends the packing.

    Raises VolumeError when the folder itself cannot be read; VolumeIncomplete when the document
    library, or a folder in it, lies elsewhere behind a link; and what writer and check raise.
    """
    segments = TarSegments(writer, progress, check)
    packing = _Packing(segments, writer, base, int(began.timestamp() * 1_000_000_000) - SETTLED_NS)
    with closing(scan(folder, packing.notices)) as entries:
        for entry in entries:
            check()
            packing.take(entry)
    segments.end()
    facts = VolumeFacts(
        files=packing.files, folders=packing.folders, links=packing.links, bytes=packing.bytes
    )
    notices = packing.notices
    return Packed(facts, notices.listed, notices.left_out, notices.losses, notices.lost)


class _Packing:
    """The segments that fill, and the counts."""

    def __init__(
        self, segments: TarSegments, writer: ArchiveWriter, base: Base | None, settled: int
    ) -> None:
        self._segments = segments
        self._writer = writer
        self._base = base
        self._settled = settled
        self.notices = Notices()
        self.files = self.folders = self.links = self.bytes = 0

    def take(self, entry: Entry) -> None:
        if entry.found is Found.FILE:
            self._take_file(entry)
        elif entry.found is Found.LINK_OUT:
            self._leave_out(entry)
        elif entry.status is not None:
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

    def _take_file(self, entry: Entry) -> None:
        known = None if self._base is None else self._base.find(entry.name)
        if known is not None:
            try:
                status = os.stat(entry.base, dir_fd=entry.folder_fd, follow_symlinks=False)
            except OSError as error:
                note_unreadable(self.notices, entry.name, error)
                return
            if verdict(known, status) is Verdict.SAME:
                self._refer(known)
                return
        try:
            descriptor = os.open(entry.base, _OPEN_FILE, dir_fd=entry.folder_fd)
        except OSError as error:
            note_unreadable(self.notices, entry.name, error)
            return
        try:
            self._take_open(entry.name, descriptor, known)
        finally:
            os.close(descriptor)

    def _take_open(self, name: str, descriptor: int, known: IndexedMember | None) -> None:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            self.notices.add("special-file", name, "no longer a file when it was opened")
            return
        if (
            known is not None
            and verdict(known, status) is not Verdict.CHANGED
            and self._has_content(descriptor, known)
        ):
            ctime_ns = self._lasting(status)
            self._refer(known._replace(ctime_ns=ctime_ns, inode=status.st_ino))
            return
        size = status.st_size
        self._segments.begin(name, tar.MemberKind.FILE, _attributes(status, size), "")
        sha256 = self._copy(descriptor, name, size)
        after = os.fstat(descriptor)
        changed = (after.st_size, after.st_mtime_ns) != (size, status.st_mtime_ns)
        if sha256 is None or changed:
            # Whatever it has become, the next backup stores it.
            self._segments.close()
        else:
            self._segments.close(ctime_ns=self._lasting(status), inode=status.st_ino, sha256=sha256)
        if changed:
            detail = f"{size} bytes when it was opened, {after.st_size} once it was read"
            self.notices.add("file-changed", name, detail)
        self.files += 1
        self.bytes += size

    def _refer(self, member: IndexedMember) -> None:
        """Lists a file that lies in another archive, or was carried over from there."""
        self._writer.list_member(member)
        if self._base is not None:
            self._base.refer(member)
        self.files += 1
        self.bytes += member.size

    def _lasting(self, status: os.stat_result) -> int:
        """The ctime for the index; 0 when the file could change once more without changing it."""
        return status.st_ctime_ns if status.st_ctime_ns <= self._settled else 0

    def _has_content(self, descriptor: int, known: IndexedMember) -> bool:
        """Whether a file's content has the SHA-256 that the index says; False where unreadable."""
        digest = hashlib.sha256()
        left = known.size
        try:
            while left and (piece := os.read(descriptor, min(left, _READ_SIZE))):
                digest.update(piece)
                left -= len(piece)
            os.lseek(descriptor, 0, os.SEEK_SET)
        except OSError:
            return False  # packing it meets the same error, and says so
        return not left and digest.hexdigest() == known.sha256

    def _copy(self, descriptor: int, name: str, size: int) -> str | None:
        """Appends exactly `size` bytes of the file, over as many segments as they take.

        Returns their SHA-256; None when not all of them could be read.
        """
        digest = hashlib.sha256()
        done = 0
        at_end = False
        while done < size:
            room = self._segments.room(size - done)
            if at_end:
                # The buffer is new, so what is skipped is zeros.
                count = len(room)
            else:
                count = self._read(descriptor, room, name)
                at_end = not count
            digest.update(room[:count])
            self._segments.filled(count)
            done += count
        return None if at_end else digest.hexdigest()

    def _read(self, descriptor: int, room: memoryview, name: str) -> int:
        """How many bytes of `room` were filled; 0 at the file's end and where it is unreadable."""
        try:
            return os.readv(descriptor, [room])
        except OSError as error:
            note_unreadable(self.notices, name, error)
            return 0


def _leads_to_folder(entry: Entry) -> bool:
    try:
        return stat.S_ISDIR(os.stat(entry.base, dir_fd=entry.folder_fd).st_mode)
    except OSError:
        return False


def _attributes(status: os.stat_result, size: int) -> Attributes:
    mode = stat.S_IMODE(status.st_mode)
    return Attributes(size, mode, status.st_uid, status.st_gid, status.st_mtime_ns)
