"""Parts of a volume: the segments of an archive that hold some files or folders, and only those."""

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path

from lcp_backup.archive import tar
from lcp_backup.errors import ArchiveDamaged, InvalidRequest, NotFound
from lcp_backup.model import Segment
from lcp_backup.volume.names import is_own, shown
from lcp_backup.volume.staging import StagedVolume
from lcp_backup.volume.unpack import (
    Attributes,
    Members,
    TarStream,
    hand_over,
    read_members,
    staged_by,
)

type ReadSegments = Callable[[Iterable[Segment]], Iterator[tuple[Segment, bytes]]]
"""The raw bytes of segments, checked, in the order asked for."""


def checked_paths(paths: Iterable[str]) -> tuple[str, ...]:
    """The paths without `./` and slashes at their ends, each once.

    Raises InvalidRequest, which names a path that is absolute, leads upwards, is empty, or lies in
    another one of them.
    """
    found: list[str] = []
    for path in paths:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if path.startswith("/") or ".." in parts or "\0" in path or not parts:
            raise InvalidRequest(
                f"{path[:200]!r} is no path below the data folder, such as document_library/20097"
            )
        if is_own(parts[0]):
            raise InvalidRequest(f"{path[:200]!r} belongs to this service")
        found.append("/".join(parts))
    found = sorted(set(found))
    for path in found:
        if any(path.startswith(f"{other}/") for other in found):
            raise InvalidRequest(f"{path[:200]!r} lies in another of the paths: leave it out")
    return tuple(found)


class Parts:
    """What of an archive is needed for some files and folders.

    Args:
        segments: the volume's index; it is read once, and only what is needed is kept.
        paths: as `checked_paths` gives them.

    Raises NotFound, which names the path that is not in the archive.
    """

    def __init__(self, segments: Iterable[Segment], paths: Collection[str]) -> None:
        self._paths = paths
        wanted = [shown(path) for path in paths]
        missing = set(wanted)
        self._runs: list[list[Segment]] = []
        """Segments that follow one another, from a member's beginning on."""
        self._skipped: list[Segment | None] = []
        """For each run that starts inside a file nobody asked for: where that file begins."""
        before: Segment | None = None
        holder: Segment | None = None
        """The segment in which the large file under way began."""
        for segment in segments:
            if segment.continues is None:
                holder = None
            elif holder is None:
                holder = before
            if self._is_needed(segment, wanted, missing):
                self._take(segment, before, holder, wanted)
            before = segment
        if missing:
            raise NotFound(f"the backup's volume holds no {min(missing)[:200]!r}")

    @staticmethod
    def _is_needed(segment: Segment, wanted: list[str], missing: set[str]) -> bool:
        names = [name.rstrip("/") for name in segment.members]
        if segment.continues is not None:
            names.append(segment.continues.name)
        found = {
            path for path in wanted for name in names if name == path or name.startswith(f"{path}/")
        }
        missing -= found
        return bool(found)

    def _take(
        self,
        segment: Segment,
        before: Segment | None,
        holder: Segment | None,
        wanted: list[str],
    ) -> None:
        if self._runs and self._runs[-1][-1] is before:
            self._runs[-1].append(segment)
            return
        inside = segment.continues
        asked_for = inside is not None and any(
            inside.name == path or inside.name.startswith(f"{path}/") for path in wanted
        )
        self._runs.append([segment])
        self._skipped.append(holder if inside is not None and not asked_for else None)

    @property
    def segments(self) -> int:
        """How many segments are read."""
        return sum(map(len, self._runs)) + sum(it is not None for it in self._skipped)

    def hand_over(
        self,
        read: ReadSegments,
        into: Members,
        *,
        progress: Callable[[int], None],
        check: Callable[[], None],
    ) -> None:
        """Reads what is needed and hands over the members that were asked for.

        Arguments as of `unpack`. Raises what `read` raises, and as `unpack` does.
        """
        chosen = _OnlyThese(self._paths, into)
        for run, holder in zip(self._runs, self._skipped, strict=True):
            stream = TarStream(_chunks(run, holder, read), progress, check)
            # A run may end inside a file that nobody asked for: what begins in it is all of it.
            beginning = sum(len(segment.members) for segment in run)
            for member in islice(read_members(stream, check), beginning):
                hand_over(member, stream, chosen)
            stream.drain()


def unpack_parts(
    parts: Parts,
    read: ReadSegments,
    folder: Path,
    *,
    owner: tuple[int, int] | None,
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> StagedVolume:
    """Unpacks parts of a volume beside the live folder, which is not touched; as `unpack` does.

    Folders above them are made, with plain modes where they do not exist.
    """
    return staged_by(
        lambda tree: parts.hand_over(read, tree, progress=progress, check=check), folder, owner
    )


def _chunks(run: list[Segment], holder: Segment | None, read: ReadSegments) -> Iterator[bytes]:
    """The segments' bytes from the first member on that begins in them."""
    passed_over = 0
    if holder is not None:
        ((_, raw),) = read([holder])
        assert run[0].continues is not None
        size = _size_of_last(raw)
        passed_over = size + -size % tar.BLOCK - run[0].continues.offset
    for _, raw in read(run):
        yield raw[passed_over:]
        passed_over = max(0, passed_over - len(raw))


def _size_of_last(raw: bytes) -> int:
    """The size of the file that begins last in a segment, and goes on in the next."""
    size = 0
    stream = TarStream([raw], lambda _: None, lambda: None)
    try:
        for member in read_members(stream, lambda: None):
            size = member.size
    except ArchiveDamaged:
        # The segment ends inside that file, of course.
        return size
    raise ArchiveDamaged("the index says that a file goes on where the archive has none")


class _OnlyThese(Members):
    """Hands on the members that were asked for, and what is in them."""

    def __init__(self, paths: Collection[str], into: Members) -> None:
        self._paths = frozenset(paths)
        self._into = into

    def _wants(self, parts: list[str]) -> bool:
        return any("/".join(parts[:depth]) in self._paths for depth in range(1, len(parts) + 1))

    def add_folder(self, parts: list[str], attributes: Attributes) -> None:
        if self._wants(parts):
            self._into.add_folder(parts, attributes)

    def add_file(
        self, parts: list[str], size: int, content: Iterable[memoryview], attributes: Attributes
    ) -> None:
        if self._wants(parts):
            self._into.add_file(parts, size, content, attributes)

    def add_link(self, parts: list[str], target: str, attributes: Attributes) -> None:
        if self._wants(parts):
            self._into.add_link(parts, target, attributes)

    def add_name(self, parts: list[str], existing: list[str]) -> None:
        if not self._wants(parts):
            return
        if not self._wants(existing):
            raise InvalidRequest(
                f"{shown('/'.join(parts))!r} is another name of {shown('/'.join(existing))!r}:"
                " name that path as well"
            )
        self._into.add_name(parts, existing)
