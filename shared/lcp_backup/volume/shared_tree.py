"""Unpacking by workers: several fill one staged tree, and the last step makes it whole.

A worker may die anywhere and its portion be unpacked anew, and it may go on meanwhile: whoever
comes last changes nothing. Small files and links are made elsewhere and renamed to their place once
they are whole; of large files each byte is written where it belongs. Folders have the mode 0700
until `settle` gives them, and large files, what they shall have.
"""

import itertools
import os
import shutil
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.errors import ArchiveDamaged, ArchiveRefused
from lcp_backup.volume.descent import OPEN_FOLDER
from lcp_backup.volume.large_files import LargeFile, LargePiece, opened
from lcp_backup.volume.members import Attributes, Content, Members, attributes_of, components_of
from lcp_backup.volume.names import quoted
from lcp_backup.volume.portions import is_large
from lcp_backup.volume.slices import Slice
from lcp_backup.volume.tree import Tree
from lcp_backup.volume.wanted import WantedMembers, hand_over_wanted
from lcp_backup.volume.writing import Writing, both_folder_and_file

type ReadSegments = Callable[[Iterable[Segment]], Generator[tuple[Segment, bytes]]]
"""Reads segments of an archive: each with its raw bytes, which were checked; to be closed."""


@dataclass(frozen=True)
class SharedTree:
    """A staged tree that this worker and others fill.

    Methods raise ArchiveDamaged, ArchiveRefused, StorageError, OSError, and what `check` raises.
    """

    new: Path
    """The tree's folder."""
    aside: Path
    """A folder of the same file system for what is not whole yet; made when it is needed."""
    threads: int
    """How many write at once, where the file system is slow."""
    progress: Callable[[int], None]
    """Told of raw bytes that are read."""
    check: Callable[[], None]
    """Called again and again; what it raises ends the work."""

    def unpack(
        self, own: Slice, first: int, read: ReadSegments, is_over: Callable[[], bool]
    ) -> int | None:
        """Unpacks a portion, or as much of it as there is time for; but always some of it.

        Args:
            own: what the index says of the portion.
            first: the segment to begin with; of a portion that was begun, the one to go on with.
            read: reads segments of the archive that the portion lies in.
            is_over: whether no more should be begun.

        Answers the segment to go on with; None when all is done.
        """
        if own.piece is not None:
            return self._write_piece(own, own.piece, first, read, is_over)
        wanted = WantedMembers(own.places(first))
        self.aside.mkdir(mode=0o700, exist_ok=True)
        made = Path(mkdtemp(dir=self.aside))
        parts = os.open(made, OPEN_FOLDER)
        try:
            with (
                closing(_Reading(own, wanted, read, is_over)) as reading,
                self._tree(_WholeAtOnce(parts)) as tree,
            ):
                into = _Contents(tree)
                hand_over_wanted(wanted, reading, into, progress=self.progress, check=self.check)
                tree.finish()
            return reading.stopped_at
        finally:
            os.close(parts)
            # What cannot be removed goes with the staged tree.
            shutil.rmtree(made, ignore_errors=True)

    def settle(self, members: Callable[[], Iterable[IndexedMember]], most: int) -> None:
        """Gives all folders, and the large files, what they shall have: the tree is whole then.

        Nobody may write into it any more. To do so twice changes nothing.

        Args:
            members: all that are wanted of the volume, in their order; anew with each call.
            most: bytes of what is no large file, as the volume was cut into portions.
        """
        writing = Writing(None)
        for member in members():
            self.check()
            # First, because a folder's mode may let nobody in.
            if is_large(member, most):
                _settle_large(writing, self.new, member)
        with self._tree(writing) as tree:
            for member in members():
                self.check()
                if member.type == "folder":
                    tree.add_folder(components_of(member.name), attributes_of(member))
            tree.finish()

    def _tree(self, writing: Writing) -> Tree:
        return Tree(self.new, None, threads=self.threads, check=self.check, writing=writing)

    def _write_piece(
        self,
        own: Slice,
        piece: LargePiece,
        first: int,
        read: ReadSegments,
        is_over: Callable[[], bool],
    ) -> int | None:
        begins = piece.begins(own.segments)
        left = [it for it in own.segments if it.number >= first]
        with LargeFile(self.new, piece) as file, closing(read(left)) as reading:
            for segment, raw in reading:
                self.check()
                if segment.number > first and is_over():
                    return segment.number
                file.write(*piece.within(begins[segment.number], raw))
                self.progress(len(raw))
        return None


class _Reading:
    """The segments of a portion, as long as there is time; ends where no member is cut."""

    def __init__(
        self, own: Slice, wanted: WantedMembers, read: ReadSegments, is_over: Callable[[], bool]
    ) -> None:
        self._wanted = wanted
        self._is_over = is_over
        self._read = read(it for it in own.segments if it in wanted)
        self.stopped_at: int | None = None
        """Where time ended."""

    def __iter__(self) -> Generator[tuple[Segment, bytes]]:
        has_begun = False
        for segment, raw in self._read:
            if has_begun and not self._wanted.goes_on_in(segment) and self._is_over():
                self.stopped_at = segment.number
                return
            has_begun = True
            yield segment, raw

    def close(self) -> None:
        self._read.close()


def _settle_large(writing: Writing, new: Path, member: IndexedMember) -> None:
    descriptor = opened(new, member)
    try:
        if os.fstat(descriptor).st_size != member.size:
            raise ArchiveDamaged(f"{quoted(member.name)} was not unpacked whole")
        writing.settle_file(descriptor, attributes_of(member))
    finally:
        os.close(descriptor)


class _WholeAtOnce(Writing):
    """Makes files and links in a folder of its own, and renames them to where they belong."""

    def __init__(self, parts: int) -> None:
        super().__init__(None)
        self._parts = parts
        self._numbers = itertools.count()

    def make_file(
        self, folder: int, way: str, content: Iterable[bytes | memoryview], attributes: Attributes
    ) -> None:
        part = str(next(self._numbers))
        super().make_file(self._parts, part, content, attributes)
        self._put(part, folder, way)

    def make_link(self, folder: int, way: str, target: str, attributes: Attributes) -> None:
        part = str(next(self._numbers))
        super().make_link(self._parts, part, target, attributes)
        self._put(part, folder, way)

    def settle_folder(self, descriptor: int, attributes: Attributes | None) -> None:
        """Does nothing: others write into it."""

    def _put(self, part: str, folder: int, way: str) -> None:
        try:
            os.rename(part, way.rpartition("/")[2], src_dir_fd=self._parts, dst_dir_fd=folder)
        except (IsADirectoryError, NotADirectoryError):
            raise both_folder_and_file(way) from None


class _Contents(Members):
    """Hands on what is in folders, and no folder."""

    def __init__(self, into: Members) -> None:
        self._into = into

    def add_folder(self, components: list[str], attributes: Attributes) -> None: ...

    def add_file(
        self, components: list[str], size: int, content: Content, attributes: Attributes
    ) -> None:
        self._into.add_file(components, size, content, attributes)

    def add_link(self, components: list[str], target: str, attributes: Attributes) -> None:
        self._into.add_link(components, target, attributes)

    def add_name(self, components: list[str], existing: list[str]) -> None:  # noqa: ARG002 -- as of Members
        raise ArchiveRefused(
            f"the archive has {quoted('/'.join(components))} as a second name of a file, which no"
            " backup of a site has"
        )
