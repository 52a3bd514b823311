"""A tar file on its way into an archive: cut into segments at members, or inside a large file."""

import os
from collections.abc import Callable, Mapping
from mmap import mmap
from typing import Final, NamedTuple

from lcp_backup.archive import tar
from lcp_backup.archive.segment import IndexedMember, MemberType
from lcp_backup.archive.write import SEGMENT_SIZE, ArchiveWriter

_MOST_MEMBERS = 4096
"""Members that may start in one segment, so that a line of the index stays small."""


_TYPES: Final[Mapping[tar.MemberKind, MemberType]] = {
    tar.MemberKind.FILE: "file",
    tar.MemberKind.FOLDER: "folder",
    tar.MemberKind.LINK: "link",
    tar.MemberKind.SECOND_NAME: "second-name",
}


class Attributes(NamedTuple):
    """What the header of a member says beside its name."""

    size: int
    """Bytes of a file's content; 0 for all others."""
    mode: int
    """Permission bits."""
    uid: int
    gid: int
    mtime_ns: int


class TarSegments:
    """Fills segments and hands them to the writer, which the caller finishes.

    A member is begun, then its content comes through `room` and `filled`, then it is closed.

    Args:
        writer: without an `only_file`.
        progress: told the raw bytes of every segment as it is handed to the writer.
        check: called before that; what it raises ends the work.
    """

    def __init__(
        self,
        writer: ArchiveWriter,
        progress: Callable[[int], None],
        check: Callable[[], None],
    ) -> None:
        self._writer = writer
        self._progress = progress
        self._check = check
        self._number = writer.segments
        self._open: IndexedMember | None = None
        self._used = 0
        self._members = self._first = 0
        self._start()

    def begin(self, name: str, kind: tar.MemberKind, attributes: Attributes, target: str) -> None:
        """Starts a member, in a new segment when it fits whole only there, or is large.

        `target` is where a link points, or a second name's file.
        """
        size, mode, uid, gid, mtime_ns = attributes
        head = tar.header(
            os.fsencode(name),
            kind,
            size=size,
            mode=mode,
            uid=uid,
            gid=gid,
            mtime_ns=mtime_ns,
            target=os.fsencode(target),
        )
        need = len(head) + size + -size % tar.BLOCK
        half_full = self._used > SEGMENT_SIZE // 2
        if self._used and (
            (self._used + need > SEGMENT_SIZE and (need <= SEGMENT_SIZE or half_full))
            or self._members >= _MOST_MEMBERS
        ):
            self._hand_over()
        self._open = IndexedMember(
            name, _TYPES[kind], 0, self._number, self._used, size, mtime_ns, mode, uid, gid
        )
        if not self._members:
            self._first = self._used
        self._members += 1
        self._put(head)

    def room(self, most: int) -> memoryview:
        """Zeros for the next bytes of the member's content: 1 to `most` of them."""
        if self._used == SEGMENT_SIZE:
            self._hand_over()
        return self._buffer[self._used : self._used + most]

    def filled(self, count: int) -> None:
        """Keeps so many bytes of the room."""
        self._used += count

    def close(self, *, ctime_ns: int = 0, inode: int = 0, sha256: str | None = None) -> None:
        """Ends the member that was begun last, and lists it; arguments as of IndexedMember."""
        member = self._open
        if member is None:
            raise ValueError("no member is open")
        self._put(tar.padding(member.size))
        self._open = None
        more = self._number - member.segment
        self._writer.list_member(
            member._replace(ctime_ns=ctime_ns, inode=inode, sha256=sha256, more=more)
        )

    def cut(self, *, ctime_ns: int, inode: int) -> None:
        """Ends what this packing has of the file that was begun last, and lists it.

        The rest is packed by another one, into segments that follow. Its SHA-256 stays unknown.
        """
        member = self._open
        if member is None:
            raise ValueError("no member is open")
        self._open = None
        more = self._number - member.segment
        self._writer.list_member(member._replace(ctime_ns=ctime_ns, inode=inode, more=more))

    def pad(self, size: int) -> None:
        """Ends the content of a file of `size` bytes that another packing has begun."""
        self._put(tar.padding(size))

    @property
    def used(self) -> int:
        """How many segments have something in them by now."""
        return self._number + (self._used > 0)

    @property
    def spans(self) -> bool:
        """Whether the member that was begun last goes on in a further segment."""
        return self._open is not None and self._open.segment != self._number

    def flush(self) -> None:
        """Hands over what is left."""
        self._hand_over()

    def drop(self) -> bool:
        """Gives up the member that was begun last: nothing lists it.

        Answers whether some of it was handed over. That stays in the archive, which then is no
        whole tar file: only its end may follow.
        """
        member, self._open = self._open, None
        if member is None:
            raise ValueError("no member is open")
        if member.segment == self._number:
            self._buffer[member.at : self._used] = bytes(self._used - member.at)
            self._used = member.at
            self._members -= 1
            return False
        self._start()
        return True

    def end(self) -> None:
        """Writes what is left, and the end of the tar file in a segment of its own.

        So every other segment can be carried over into another archive, where it is not the last.
        """
        self._hand_over()
        self._put(tar.END)
        self._hand_over()

    def _put(self, data: bytes) -> None:
        """Appends what belongs together; makes room in a segment that is all but full."""
        if self._used + len(data) > SEGMENT_SIZE:
            self._hand_over()
        end = self._used + len(data)
        self._buffer[self._used : end] = data
        self._used = end

    def _start(self) -> None:
        # A fresh buffer every time: the writer still reads the last one. Mapped, so that it goes
        # back to the system when the writer is done: on the heap it would leave holes.
        self._buffer = memoryview(mmap(-1, SEGMENT_SIZE))
        self._used = 0
        self._members = self._first = 0

    def _hand_over(self) -> None:
        if not self._used:
            return
        self._check()
        raw = self._buffer[: self._used]
        self._writer.add([raw], members=self._members, first=self._first)
        self._number += 1
        self._progress(len(raw))
        self._start()
