"""A file that several workers write at once, each the pieces that lie in its segments."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Self

from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.archive.tar import BLOCK
from lcp_backup.errors import ArchiveDamaged
from lcp_backup.volume.descent import OPEN_FOLDER, open_folder
from lcp_backup.volume.members import components_of
from lcp_backup.volume.names import quoted

_WRITTEN: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""(Without waiting: a pipe that somebody put there would keep a worker for all of its time.)"""
_OPENED: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_MOST_HEADER: Final = 64 << 10
"""Bytes; several times what one with the longest name takes. Behind more than that the index says a
size that is not the file's, which would be cut there."""


class LargePiece(NamedTuple):
    """A piece of a large file, which lies in neighbouring segments of an archive."""

    name: str
    """The file's, relative to the folder."""
    size: int
    """The file's."""
    begin: int
    """Which byte of the file the first of the segments begins with: below 0 where that holds the
    file's header, and what stands in front of it."""

    def begins(self, segments: Iterable[Segment]) -> dict[int, int]:
        """Where each of its segments begins, by their numbers."""
        begins, at = {}, self.begin
        for segment in segments:
            begins[segment.number] = at
            at += segment.raw_size
        return begins

    def within(self, begin: int, raw: bytes) -> tuple[int, memoryview]:
        """At which of the file's bytes what a segment holds of it begins, and what that is.

        Arguments: where the segment `begins`, and its raw bytes.
        """
        skipped = max(-begin, 0)
        return begin + skipped, memoryview(raw)[skipped : max(self.size - begin, 0)]


class LargeFileBegins:
    """Where the segments begin that a file lies in, found out as these come in their order.

    The index does not say how long the file's header is. It says where header and content begin
    and end as one, and how long the content is: so that is known once all have come.

    Arguments: `member` goes on behind its first segment. Methods raise ArchiveDamaged when the
    index contradicts itself.
    """

    def __init__(self, member: IndexedMember) -> None:
        self._member = member
        self._following = member.segment
        self._begin = -member.at
        self._end = 0

    def next(self, segment: Segment) -> int:
        """With which byte the next segment begins, counted from the header's first."""
        if segment.number != self._following:
            raise self._lacks_segment()
        self._following += 1
        begin = self._begin
        self._begin += segment.raw_size
        self._end = begin + (segment.first if segment.members else segment.raw_size)
        return begin

    def header_size(self) -> int:
        """Bytes of the file's header."""
        member = self._member
        if self._following != member.segment + member.more + 1:
            raise self._lacks_segment()
        header = self._end - -(-member.size // BLOCK) * BLOCK
        if member.more < 1 or not BLOCK <= header <= _MOST_HEADER or header % BLOCK:
            raise ArchiveDamaged(f"the index says of {quoted(member.name)} what cannot be")
        return header

    def _lacks_segment(self) -> ArchiveDamaged:
        name = quoted(self._member.name)
        return ArchiveDamaged(f"the index lacks a segment in which {name} lies")


class LargeFile:
    """A file of a staged tree, open for writing any of its bytes; several may have it open.

    It has its size at once: where two machines share a file system, bytes that one writes behind
    the end that it knows may hide those of the other. Raises OSError.

    Args:
        root: the tree's folder.
        file: which; folders above it are made, with the mode 0700.
    """

    def __init__(self, root: Path, file: LargePiece) -> None:
        folder, name = _folder_of(root, file.name, make=True)
        try:
            self._descriptor = os.open(name, _WRITTEN, 0o600, dir_fd=folder)
        finally:
            os.close(folder)
        if os.fstat(self._descriptor).st_size != file.size:
            os.ftruncate(self._descriptor, file.size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A network file system may tell only now that it is full.
        os.close(self._descriptor)

    def write(self, offset: int, data: memoryview) -> None:
        """Writes these bytes there; to do so twice changes nothing."""
        while data:
            done = os.pwrite(self._descriptor, data, offset)
            offset, data = offset + done, data[done:]


def opened(root: Path, member: IndexedMember) -> int:
    """A descriptor of a large file that was written; raises OSError."""
    folder, name = _folder_of(root, member.name, make=False)
    try:
        return os.open(name, _OPENED, dir_fd=folder)
    except PermissionError:
        # It may have its mode already, which may be one that lets nobody in.
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.chmod(f"/proc/self/fd/{handle}", 0o600)  # noqa: PTH101 -- no path, a descriptor
        finally:
            os.close(handle)
        return os.open(name, _OPENED, dir_fd=folder)
    finally:
        os.close(folder)


def _folder_of(root: Path, way: str, *, make: bool) -> tuple[int, str]:
    """The open folder in which a member lies, and its name there; no link is followed."""
    *above, name = components_of(way)
    at = os.open(root, OPEN_FOLDER)
    try:
        for component in above:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(component, 0o700, dir_fd=at)
            inner, _ = open_folder(component, at)
            os.close(at)
            at = inner
    except BaseException:
        os.close(at)
        raise
    return at, name
