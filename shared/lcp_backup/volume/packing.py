"""What is packed of a folder, entry by entry: into segments, the index, and the counts."""

import os
import stat
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from lcp_backup.archive import tar
from lcp_backup.archive.segment import IndexedMember
from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.errors import OutOfTime, VolumeIncomplete
from lcp_backup.model import Notice, VolumeFacts
from lcp_backup.volume.base import SETTLED_NS, Base, Verdict, footprint, verdict
from lcp_backup.volume.entry import Entry, Found
from lcp_backup.volume.names import LIBRARY, quoted
from lcp_backup.volume.notices import MOST_NOTICES, Notices, in_order
from lcp_backup.volume.read_ahead import OpenFile
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

    @property
    def ended_early(self) -> bool:
        """Whether the packing was ended before it was done."""
        return self.reached_size is not None


def added_up(several: Sequence[Packed]) -> Packed:
    """What several packings packed of one folder, as one; all that was read counts as done.

    What two of them say alike is said once: a folder in which two shares lie is looked at by both.
    """
    notices = list(dict.fromkeys(it for one in several for it in one.notices))
    notices.sort(key=lambda it: not it.means_loss)
    losses_told = sum(it.means_loss for one in several for it in one.notices)
    losses_twice = losses_told - sum(it.means_loss for it in notices)
    kept = notices[:MOST_NOTICES]
    facts = VolumeFacts(
        files=sum(one.facts.files for one in several),
        folders=sum(one.facts.folders for one in several),
        links=sum(one.facts.links for one in several),
        bytes=sum(one.facts.bytes for one in several),
        own_size=sum(one.facts.own_size for one in several),
    )
    return Packed(
        facts,
        in_order(kept),
        sum(one.notices_left_out for one in several) + len(notices) - len(kept),
        sum(one.losses for one in several) - losses_twice,
        in_order(dict.fromkeys(it for one in several for it in one.lost)),
        sum(one.left_out for one in several),
        sum(one.read_size for one in several),
    )


class StoppedError(Exception):
    """It is time to end; never leaves `pack` and `pack_share`."""


def settled_before(began: datetime) -> int:
    """Up to which moment a file must have been changed last to be known again, in nanoseconds."""
    return int(began.timestamp() * 1_000_000_000) - SETTLED_NS


def lasting_ctime(status: os.stat_result, settled: int) -> int:
    """The ctime for the index; 0 when the file could change once more without changing it."""
    return status.st_ctime_ns if status.st_ctime_ns <= settled else 0


class Packing:
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
        self.last = ""
        """The name of what was taken last."""
        self.begun: int | None = None
        """Bytes of the file at hand that were handed over, while there is one."""
        self.open_file: OpenFile | None = None
        """The file at hand."""
        self.notices = Notices()
        self.files = self.folders = self.links = self.bytes = self.own_size = self.read_size = 0

    def packed(self, *, left_out: int, reached_size: int | None = None) -> Packed:
        """What was packed until now; arguments as of Packed."""
        facts = VolumeFacts(
            files=self.files,
            folders=self.folders,
            links=self.links,
            bytes=self.bytes,
            own_size=self.own_size,
        )
        notices = self.notices
        return Packed(
            facts,
            in_order(notices.listed),
            notices.left_out,
            notices.losses,
            in_order(notices.lost),
            left_out,
            self.read_size,
            reached_size,
        )

    def go_on(self) -> None:
        """Raises what check raises, and StoppedError when it is over."""
        self._go_on(self.read_size)

    def stop(self) -> None:
        """Gives up the file at hand, and lists what of the base was not looked at."""
        if self.begun is not None and self._segments.drop():
            # It takes room of the archive: as much as a file that nobody needs any more.
            self.own_size += footprint(self.begun)
        if self._base is not None:
            for member in self._base.files_behind(self.last):
                self._refer(member)

    def take(self, entry: Entry, file: OpenFile | None) -> None:
        self._take(entry, file)
        self.last = entry.name

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
            self._segments.begin(entry.name, kind, attributes_of(entry.status, 0), entry.target)
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
            self._refer(known._replace(ctime_ns=self.lasting(status), inode=status.st_ino))
            return
        size = status.st_size
        self.open_file = file
        self.begin_file(file.name, attributes_of(status, size))
        try:
            self.fill(file, size)
        except OutOfTime as error:
            if self.begun is None or self.begun <= self.read_size:
                raise
            raise OutOfTime(
                f"{quoted(file.name)} has {size} bytes, of which {self.begun} were read when the"
                " function's time was about to end, and nothing is kept of a file that is not read"
                " to its end: raise the function's memory, give the file system more throughput,"
                " or keep that file elsewhere"
            ) from error
        self.begun = self.open_file = None
        self.read_size += size
        sha256 = file.finish(self.notices)
        if sha256 is None:
            # Whatever it has become, the next backup stores it.
            self._segments.close()
        else:
            self._segments.close(ctime_ns=self.lasting(status), inode=status.st_ino, sha256=sha256)
        self.count_file(size)

    def begin_file(self, name: str, attributes: Attributes) -> None:
        """Starts a file whose content comes through `fill`."""
        self._segments.begin(name, tar.MemberKind.FILE, attributes, "")
        self.begun = 0

    def fill(self, file: OpenFile | None, until: int) -> None:
        """Takes the file's content up to a byte of it; zeros where there is no file."""
        while self.begun is not None and self.begun < until:
            self.go_on()
            room = self._segments.room(until - self.begun)
            if file is not None:
                file.fill(room)
            self._segments.filled(len(room))
            self.begun += len(room)

    def count_file(self, size: int) -> None:
        """Counts a file that lies in the archive."""
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

    def lasting(self, status: os.stat_result) -> int:
        """As `lasting_ctime`."""
        return lasting_ctime(status, self._settled)


def _leads_to_folder(entry: Entry) -> bool:
    try:
        with entry.folder as folder:
            return stat.S_ISDIR(os.stat(entry.base, dir_fd=folder).st_mode)
    except OSError:
        return False


def attributes_of(status: os.stat_result, size: int) -> Attributes:
    mode = stat.S_IMODE(status.st_mode)
    return Attributes(size, mode, status.st_uid, status.st_gid, status.st_mtime_ns)
