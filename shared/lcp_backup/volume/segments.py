"""A tar file on its way into an archive: cut into segments at members, or inside a large file."""

import os
from collections.abc import Callable, Mapping
from mmap import mmap
from typing import Final, NamedTuple

from lcp_backup.archive import tar
from lcp_backup.archive.segment import Continuation, IndexedMember, MemberType
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

    A member is begun, then its content comes through `room` and `filled`, then its padding is put.

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
        self._used = 0
        self._size = 0
        """Of the member begun last."""
        self._start(None)

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
            or len(self._members) >= _MOST_MEMBERS
        ):
            self._hand_over(None)
        self._members.append(
            IndexedMember(name, _TYPES[kind], self._used, size, mtime_ns, mode, uid, gid)
        )
        self._size = size
        self.put(head)

    def put(self, data: bytes) -> None:
        """Appends what belongs together; makes room in a segment that is all but full."""
        if self._used + len(data) > SEGMENT_SIZE:
            self._hand_over(None)
        end = self._used + len(data)
        self._buffer[self._used : end] = data
        self._used = end

    def room(self, name: str, done: int, most: int) -> memoryview:
        """Zeros for the next bytes of a file of which `done` are in: 1 to `most` of them."""
        if self._used == SEGMENT_SIZE:
            self._hand_over(Continuation(name, done, self._size))
        return self._buffer[self._used : self._used + most]

    def filled(self, count: int) -> None:
        """Keeps so many bytes of the room."""
        self._used += count

    def end(self) -> None:
        """Writes the end of the tar file, and what is left."""
        self.put(tar.END)
        self._hand_over(None)

    def _start(self, continues: Continuation | None) -> None:
        # A fresh buffer every time: the writer still reads the last one. Mapped, so that it goes
        # back to the system when the writer is done: on the heap it would leave holes.
        self._buffer = memoryview(mmap(-1, SEGMENT_SIZE))
        self._used = 0
        self._members: list[IndexedMember] = []
        self._continues = continues

    def _hand_over(self, continues: Continuation | None) -> None:
        self._check()
        raw = self._buffer[: self._used]
        self._writer.add([raw], members=tuple(self._members), continues=self._continues)
        self._progress(len(raw))
        self._start(continues)
