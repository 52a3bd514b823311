"""A file that several workers write at once, each the pieces that lie in its segments."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.archive.tar import BLOCK
from lcp_backup.errors import ArchiveDamaged
from lcp_backup.volume.descent import OPEN_FOLDER, open_folder
from lcp_backup.volume.members import components_of
from lcp_backup.volume.names import quoted

_WRITTEN: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""(Without waiting: a pipe that somebody put there would keep a worker for all of its time.)"""
_OPENED: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Pieces:
    """Which bytes of a file each of the segments holds that it lies in.

    The index does not say how long the file's header is. It says where header and content begin
    and end as one, and how long the content is.

    Args:
        member: a file that goes on behind its first segment.
        segments: all that it lies in, in their order.

    Raises ArchiveDamaged when the index contradicts itself.
    """

    def __init__(self, member: IndexedMember, segments: Sequence[Segment]) -> None:
        if [it.number for it in segments] != list(
            range(member.segment, member.segment + member.more + 1)
        ):
            raise ArchiveDamaged(f"the index lacks a segment in which {quoted(member.name)} lies")
        self._size = member.size
        begins = [-member.at]
        for segment in segments:
            begins.append(begins[-1] + segment.raw_size)
        last = segments[-1]
        end = begins[-2] + (last.first if last.members else last.raw_size)
        header = end - -(-member.size // BLOCK) * BLOCK
        if member.more < 1 or header < BLOCK or header % BLOCK:
            raise ArchiveDamaged(f"the index says of {quoted(member.name)} what cannot be")
        self._begins = {
            segment.number: begin - header
            for segment, begin in zip(segments, begins[:-1], strict=True)
        }

    def piece(self, segment: Segment, raw: bytes) -> tuple[int, memoryview]:
        """At which of the file's bytes what this segment holds of it begins, and what that is."""
        begin = self._begins[segment.number]
        skipped = max(-begin, 0)
        return begin + skipped, memoryview(raw)[skipped : max(self._size - begin, 0)]


class LargeFile:
    """A file of a staged tree, open for writing any of its bytes; several may have it open.

    It has its size at once: where two machines share a file system, bytes that one writes behind
    the end that it knows may hide those of the other. Raises OSError.

    Args:
        root: the tree's folder.
        member: the file; folders above it are made, with the mode 0700.
    """

    def __init__(self, root: Path, member: IndexedMember) -> None:
        folder, name = _folder_of(root, member, make=True)
        try:
            self._descriptor = os.open(name, _WRITTEN, 0o600, dir_fd=folder)
        finally:
            os.close(folder)
        if os.fstat(self._descriptor).st_size != member.size:
            os.ftruncate(self._descriptor, member.size)

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
    folder, name = _folder_of(root, member, make=False)
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


def _folder_of(root: Path, member: IndexedMember, *, make: bool) -> tuple[int, str]:
    """The open folder in which a member lies, and its name there; no link is followed."""
    *above, name = components_of(member.name)
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
