"""A staging folder that is *begun*: a restore whose time ended filled it in part, for the next one.

    unpacking --(the time ends)--> marker `begun` --(a restore of the same)--> what is missing
                                        |
                                        +--(any other restore, or a day)--> thrown away

The marker says of what it is a part. What lies there whole is known by name, size and mtime, as a
restore sets the mtime last; and by its ctime, which nobody can set back: what was changed after the
marker was written is written again. So the marker may stay while the next restore goes on, and one
that is killed costs only its own work. A swap begins with taking it away.

That holds for folders and links as well: they stand between the files of an archive, and to read
all of them would be to read all of it.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from lcp_backup.archive.segment import IndexedMember
from lcp_backup.volume.entry import Entry, Found
from lcp_backup.volume.members import Attributes, Content, Members
from lcp_backup.volume.moves import exists, is_folder, names_in
from lcp_backup.volume.names import place_in_order
from lcp_backup.volume.notices import Notices
from lcp_backup.volume.places import Places, read_marker, write_marker
from lcp_backup.volume.removal import remove
from lcp_backup.volume.scan import scan
from lcp_backup.volume.writing import FOLDER_MODE

LASTS: Final = timedelta(days=1)
"""How long a folder that was begun may be gone on with."""


class NotAsLeft(Exception):
    """A begun folder is not as a restore left it, so it is to be filled from the start."""


@dataclass(frozen=True)
class Wanted:
    """What a restore unpacks, for it to find a folder that an earlier one has begun."""

    key: str
    """Of exactly these members: the same for the same backup and selection, and for no other."""
    now: datetime


class Begun(NamedTuple):
    """What the marker of a begun folder says."""

    reached_size: int
    """Bytes of the files that were unpacked when it was written."""
    ctime_ns: int
    """When it was written, by the clock of the file system."""


def find_begun(places: Places, wanted: Wanted) -> Begun | None:
    """What a restore left here for one that wants this; None where it did not.

    None, too, once a swap has begun, and for a marker that no restore wrote like that.
    """
    try:
        if not is_folder(places.staging) or not is_folder(places.new):
            return None
        in_a_swap = (
            *(places.moving_out, places.moving_in, places.selection, places.old_selection),
            *(places.old / name for name in _names_in(places.old)),
        )
        # (Inside, `old` is there from the start; beside, it is what was live.)
        if any(map(exists, in_a_swap)) or (exists(places.old) and not places.inside):
            return None
        fields = json.loads(read_marker(places.begun) or "")
        written = places.begun.stat(follow_symlinks=False).st_ctime_ns
        age = wanted.now - datetime.fromisoformat(fields["stopped_at"])
        if fields["key"] != wanted.key or abs(age) >= LASTS:
            return None
        return Begun(int(fields["reached_size"]), written)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def write_begun(places: Places, wanted: Wanted, now: datetime, reached_size: int) -> None:
    """Leaves the folder to the next restore that wants the same. Raises OSError."""
    remove(places.keep)
    remove(places.begun.with_suffix(".unfinished"))  # of one that was killed
    fields = {"key": wanted.key, "stopped_at": now.isoformat(), "reached_size": reached_size}
    write_marker(places.begun, json.dumps(fields))


class BegunTree:
    """What lies in a folder that is gone on with, beside the members that it is to hold."""

    def __init__(self, new: Path, begun: Begun, *, threads: int, check: Callable[[], None]) -> None:
        self._new = new
        self._begun = begun
        self._threads = threads
        self._check = check
        self.whole_size = 0
        """Bytes of the files that lie there whole."""

    def missing(self, members: Iterable[IndexedMember]) -> Iterator[IndexedMember]:
        """The members that have to be unpacked: those that do not lie there whole.

        What lies there and is no member is removed.

        Args:
            members: in the order of a scan, each name once.

        Raises NotAsLeft where a folder is too many or in a file's place, or something cannot be
        read or removed; VolumeError when the file system fails as a whole.
        """
        notices = Notices()
        with closing(scan(self._new, notices, threads=self._threads)) as entries:
            found = next(entries, None)
            for member in members:
                self._check()
                place = place_in_order(member.name)
                while found is not None and place_in_order(found.name) < place:
                    is_above = found.found is Found.FOLDER and member.name.startswith(
                        f"{found.name}/"
                    )
                    if not is_above:
                        _remove(found)
                    found = next(entries, None)
                at_place = None
                if found is not None and found.name == member.name:
                    at_place = found
                    found = next(entries, None)
                if at_place is None or not self._is_whole(member, at_place):
                    yield member
            while found is not None:
                _remove(found)
                found = next(entries, None)
        if notices.listed:
            raise NotAsLeft(f"{notices.listed[0].subject}: {notices.listed[0].detail}")

    def _is_whole(self, member: IndexedMember, found: Entry) -> bool:
        if (found.found is Found.FOLDER) is not (member.type == "folder"):
            _remove(found)
            return False
        status = found.status
        if (
            found.found.value != member.type
            or status.st_mtime_ns != member.mtime_ns
            or status.st_ctime_ns > self._begun.ctime_ns
        ):
            return False
        if found.found is Found.FOLDER:
            return status.st_mode & 0o7777 == member.mode & FOLDER_MODE
        if found.found is Found.FILE:
            if (status.st_size, status.st_nlink) != (member.size, 1):
                return False
            self.whole_size += member.size
        return True


class Reached:
    """How far an unpacking has come."""

    def __init__(self) -> None:
        self.size = 0
        """Bytes of the files that were unpacked, or will be in a moment."""
        self.at = ""
        """The file that was the last one."""


class Counted(Members):
    """Hands members on, and counts the bytes of files."""

    def __init__(self, into: Members, reached: Reached) -> None:
        self._into = into
        self._reached = reached

    def add_folder(self, components: list[str], attributes: Attributes) -> None:
        self._into.add_folder(components, attributes)

    def add_file(
        self, components: list[str], size: int, content: Content, attributes: Attributes
    ) -> None:
        self._reached.at = "/".join(components)
        self._into.add_file(components, size, content, attributes)
        self._reached.size += size

    def add_link(self, components: list[str], target: str, attributes: Attributes) -> None:
        self._into.add_link(components, target, attributes)

    def add_name(self, components: list[str], existing: list[str]) -> None:
        self._into.add_name(components, existing)


def _remove(found: Entry) -> None:
    if found.found is Found.FOLDER:
        raise NotAsLeft(f"{found.name}: is a folder that the backup does not hold")
    try:
        with found.folder as folder:
            before = os.fstat(folder)
            os.unlink(found.base, dir_fd=folder)
            # It may be whole but for that.
            os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
    except OSError as error:
        raise NotAsLeft(f"{found.name}: {error.strerror}") from error


def _names_in(folder: Path) -> list[str]:
    return names_in(folder) if is_folder(folder) else []
