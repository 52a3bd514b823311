"""A share of the folder: what one of several workers packs, one stretch of its time after another.

Shares are stretches of the folder in the order of a scan, and what one worker after the other has
packed is, one behind the other, the tar file of the whole. A boundary may lie inside of a large
file: its size and attributes are then those of the moment when it was cut first, and who packs a
part of it fills up or cuts to that, whatever becomes of the file.
"""

import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple, Self

from lcp_backup.archive.write import SEGMENT_SIZE, ArchiveWriter
from lcp_backup.document import Document
from lcp_backup.exclusion import PathPatterns
from lcp_backup.volume.base import Base, compared
from lcp_backup.volume.entry import Entry, Found
from lcp_backup.volume.notices import note_unreadable
from lcp_backup.volume.packing import (
    Packed,
    Packing,
    StoppedError,
    attributes_of,
    lasting_ctime,
    settled_before,
)
from lcp_backup.volume.read_ahead import NoFileError, OpenFile, read_ahead
from lcp_backup.volume.scan import scan
from lcp_backup.volume.segments import Attributes, TarSegments
from lcp_backup.volume.span import Span

MOST_COMPARED: Final = 256 << 20
"""Bytes of a file that was touched, up to which it is read to find out whether it changed. The
comparison of a larger one could outlast a worker's time, and nothing is kept of a half one."""


class CutFile(Document):
    """A file that several packings share, as it was when it was cut first."""

    size: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    ctime_ns: int
    """For the index: 0 where it does not tell a later change."""
    inode: int

    @classmethod
    def of(cls, status: os.stat_result, lasting_ctime_ns: int) -> Self:
        """A file as it lies there now."""
        attributes = attributes_of(status, status.st_size)
        return cls(**attributes._asdict(), ctime_ns=lasting_ctime_ns, inode=status.st_ino)

    @property
    def attributes(self) -> Attributes:
        """What its header says."""
        return Attributes(self.size, self.mode, self.uid, self.gid, self.mtime_ns)

    def is_as_it_was(self, status: os.stat_result) -> bool:
        """Whether size and time are still the same."""
        return (status.st_size, status.st_mtime_ns) == (self.size, self.mtime_ns)


class Boundary(Document):
    """Where one packing ends and the next one begins."""

    encoded: str
    """The bytes of the name, in hexadecimal: it may be no text."""
    at: int = 0
    file: CutFile | None = None
    """Given, the boundary lies inside of this file, in front of its byte `at`."""

    @classmethod
    def behind(cls, name: str) -> Self:
        """Right behind a file, a link, or a folder's own header."""
        return cls(encoded=os.fsencode(name).hex())

    @classmethod
    def inside(cls, name: str, at: int, file: CutFile) -> Self:
        """Inside of a file."""
        return cls(encoded=os.fsencode(name).hex(), at=at, file=file)

    @property
    def name(self) -> str:
        """Relative to the folder."""
        return os.fsdecode(bytes.fromhex(self.encoded))


def looked_at_again(
    boundaries: Iterable[Boundary], folder: Path, began: datetime
) -> Iterator[Boundary]:
    """Boundaries as the files that they lie in are now; behind its name if one is gone or short.

    Only while nobody has packed any of these files. Arguments: `began` is as of `pack_share`.
    """
    seen: dict[str, CutFile | None] = {}
    for boundary in boundaries:
        if boundary.file is None:
            yield boundary
            continue
        name = boundary.name
        if name not in seen:
            seen[name] = _as_it_is(folder, name, began, boundary.file)
        file = seen[name]
        if file is None or file.size <= boundary.at:
            yield Boundary.behind(name)
        else:
            yield boundary.model_copy(update={"file": file})


def _as_it_is(folder: Path, name: str, began: datetime, before: CutFile) -> CutFile | None:
    path = folder / name
    try:
        # Who packs follows no link, so behind one there is nothing.
        if any(
            it.is_symlink() for it in path.parents if it.is_relative_to(folder) and it != folder
        ):
            return None
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return before  # who packs it tells
    if not stat.S_ISREG(status.st_mode):
        return None
    return CutFile.of(status, lasting_ctime(status, settled_before(began)))


class PackedShare(NamedTuple):
    """What one stretch of a worker's time has packed."""

    packed: Packed
    reached: Boundary | None
    """Where it stopped before the end of the share; None when the share is done."""
    leading: int
    """How many of its segments, from the first, go on with the file that it began in."""


def pack_share(
    folder: Path,
    writer: ArchiveWriter,
    *,
    start: Boundary | None,
    end: Boundary | None,
    base: Base | None,
    leave_out: PathPatterns,
    began: datetime,
    threads: int,
    progress: Callable[[int], None],
    check: Callable[[], None],
    is_over: Callable[[], bool],
) -> PackedShare:
    """Packs what lies between two boundaries, or the beginning of it; the caller ends the writer.

    Put one behind the other, the shares are what `pack` makes of the folder, except for the end
    mark, which is left to the caller, and for files that were cut: they have no SHA-256.

    Args:
        start, end: None means the folder's own beginning and end.
        is_over: True ends the packing early, but only once it has got anywhere.
        base, leave_out, began, threads, progress, check: as of `pack`.

    Raises as `pack` does.
    """
    segments = TarSegments(writer, progress, check)

    def go_on(_: int) -> None:
        check()
        if share.has_moved and is_over():
            raise StoppedError

    packing = Packing(segments, writer, base, settled_before(began), go_on)
    share = _Share(packing, segments, start, end)
    span = Span(
        start.name if start else None,
        end.name if end else None,
        with_first=start is not None and start.file is not None,
    )
    found = scan(folder, packing.notices, threads=threads, leave_out=leave_out, span=span)
    reached = None
    with closing(found):
        try:
            rest = share.go_on_with_file(found)
            share.take_all(rest, base, threads)
        except StoppedError:
            reached = share.stop()
    segments.flush()
    return PackedShare(packing.packed(left_out=found.left_out), reached, share.leading)


class _Share:
    """One stretch of work on a share."""

    def __init__(
        self, packing: Packing, segments: TarSegments, start: Boundary | None, end: Boundary | None
    ) -> None:
        self._packing = packing
        self._segments = segments
        self._start = start
        self._end = end
        self._begun_at = 0
        self._taken = False
        self._cut: tuple[str, CutFile] | None = None
        """The file at hand, where its attributes are not its own any more."""
        self._goes_on = False
        self.leading = 0

    @property
    def has_moved(self) -> bool:
        begun = self._packing.begun
        return self._taken or (begun is not None and begun - self._begun_at >= SEGMENT_SIZE)

    def go_on_with_file(self, found: Iterator[Entry]) -> Iterable[Entry]:
        """Packs the rest of the file that the share begins in; answers the entries behind it."""
        start, end = self._start, self._end
        if start is None or start.file is None:
            return found
        is_in_one_file = end is not None and end.file is not None and end.name == start.name
        until = end.at if end is not None and is_in_one_file else start.file.size
        first = next(found, None)
        is_there = first is not None and first.name == start.name
        with closing(self._part(start.name, start.file, first if is_there else None)) as parts:
            file = next(parts)
            if file is not None:
                file.pass_over(start.at)
            self._cut, self._goes_on = (start.name, start.file), True
            self._packing.begun = self._begun_at = start.at
            self._packing.fill(file, until)
        if until == start.file.size:
            self._segments.pad(start.file.size)
        self._end_file(start.name)
        if first is None or is_there:
            # What it holds, should it be a folder by now, cannot lie behind a file of that name.
            return (it for it in found if not it.name.startswith(f"{start.name}/"))
        return chain([first], found)

    def take_all(self, found: Iterable[Entry], base: Base | None, threads: int) -> None:
        """Packs what follows, up to the share's end."""
        entries = self._as_planned(found if base is None else compared(found, base))
        with closing(read_ahead(entries, self._packing.notices, threads=threads)) as opened:
            for entry, file in opened:
                self._packing.go_on()
                if file is not None and self._ends_in(entry.name):
                    self._begin_last(file)
                else:
                    self._packing.take(entry, file)
                self._taken = True
        if self._end is not None and self._ends_in(self._end.name) and not self._is_begun:
            self._begin_last(None)

    def stop(self) -> Boundary | None:
        """Ends where it is; answers where to go on."""
        packing, begun = self._packing, self._packing.begun
        if self._cut is None and packing.open_file is not None:
            status = packing.open_file.status
            file = CutFile.of(status, packing.lasting(status))
            self._cut = (packing.open_file.name, file)
        if begun is not None and self._cut is not None:
            name, cut = self._cut
            if self._goes_on:
                self.leading = self._segments.used
                return Boundary.inside(name, begun, cut)
            if self._segments.spans:
                self._list_cut(cut)
                return Boundary.inside(name, begun, cut)
            self._segments.drop()
        return Boundary.behind(packing.last) if packing.last else self._start

    @property
    def _is_begun(self) -> bool:
        """Whether the last file of the share was met: it may be the one that it began in."""
        return self._end is not None and self._packing.last == self._end.name

    def _ends_in(self, name: str) -> bool:
        return self._end is not None and self._end.file is not None and self._end.name == name

    def _begin_last(self, file: OpenFile | None) -> None:
        """Packs the beginning of the file that the share ends in."""
        end = self._end
        if end is None or end.file is None:
            raise ValueError("the share ends in no file")
        self._cut = (end.name, end.file)
        self._begun_at = 0
        self._packing.begin_file(end.name, end.file.attributes)
        self._packing.fill(file, end.at)
        self._list_cut(end.file)
        if file is not None:
            self._tell_change(file, end.file)
        self._packing.begun = None
        self._packing.last = end.name

    def _list_cut(self, cut: CutFile) -> None:
        self._segments.cut(ctime_ns=cut.ctime_ns, inode=cut.inode)
        self._packing.count_file(cut.size)

    def _end_file(self, name: str) -> None:
        self.leading = self._segments.used
        self._packing.begun, self._packing.last = None, name
        self._cut, self._goes_on, self._begun_at = None, False, 0
        self._taken = True

    def _part(self, name: str, cut: CutFile, entry: Entry | None) -> Generator[OpenFile | None]:
        """The file of which a part is packed, open until this is closed; None if it is gone."""
        notices, file = self._packing.notices, None
        if entry is None or entry.found is not Found.FILE:
            detail = "No such file any more; zeros take its place"
            if entry is not None and entry.found is Found.FOLDER:
                detail += ", and what the folder holds that has its name is not in this backup"
            notices.add("file-vanished", name, detail)
        else:
            try:
                file = OpenFile(entry)
            except NoFileError:
                notices.add("special-file", name, "no longer a file when it was opened")
            except OSError as error:
                note_unreadable(notices, name, error)
        try:
            yield file
        finally:
            if file is not None:
                self._tell_change(file, cut)
                file.close()

    def _tell_change(self, file: OpenFile, cut: CutFile) -> None:
        if file.finish(self._packing.notices) is not None and not cut.is_as_it_was(file.status):
            detail = f"{cut.size} bytes when it was begun, {file.status.st_size} further on"
            self._packing.notices.add("file-changed", file.name, detail)

    def _as_planned(self, found: Iterable[Entry]) -> Iterator[Entry]:
        """The entries, those files to be stored whose comparison could take too long."""
        for entry in found:
            if self._ends_in(entry.name):
                if entry.found in {Found.FILE, Found.UNCHANGED}:
                    yield entry._replace(found=Found.FILE, known=None)
            elif is_stored_unread(entry):
                yield entry._replace(known=None)
            else:
                yield entry


def is_stored_unread(entry: Entry) -> bool:
    """Whether a file that may be as it was is stored all the same, for its size."""
    return (
        entry.found is Found.FILE
        and entry.known is not None
        and entry.status.st_size > MOST_COMPARED
    )
