"""A selection of a volume: the segments of its archive that hold some files or folders only."""

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path

from lcp_backup.archive import tar
from lcp_backup.archive.segment import Segment
from lcp_backup.archive.untar import TarReader
from lcp_backup.errors import InvalidRequest, NotFound
from lcp_backup.volume.members import Attributes, Content, Members, hand_over
from lcp_backup.volume.names import is_own, printable
from lcp_backup.volume.swap import StagedVolume
from lcp_backup.volume.unpack import staged_by

type ReadSegments = Callable[[Iterable[Segment]], Iterator[tuple[Segment, bytes]]]
"""The raw bytes of segments, checked, in the order asked for."""


def checked_paths(paths: Iterable[str]) -> tuple[str, ...]:
    """The paths without `./` and slashes at their ends, each once.

    Raises InvalidRequest, which names a path that is absolute, leads upwards, is empty, or lies in
    another one of them.
    """
    found: list[str] = []
    for path in paths:
        components = [component for component in path.split("/") if component not in ("", ".")]
        if path.startswith("/") or ".." in components or "\0" in path or not components:
            raise InvalidRequest(
                f"{path[:200]!r} is no path below the data folder, such as document_library/20097"
            )
        if is_own(components[0]):
            raise InvalidRequest(f"{path[:200]!r} belongs to this service")
        found.append("/".join(components))
    found = sorted(set(found))
    for path in found:
        if any(path.startswith(f"{other}/") for other in found):
            raise InvalidRequest(f"{path[:200]!r} lies in another of the paths: leave it out")
    return tuple(found)


class _Stretch:
    """Segments that follow one another, read from the first member on that begins in them."""

    def __init__(self, first: Segment, passed_over: int) -> None:
        self.passed_over = passed_over
        """Bytes in front of that member: the end of a file that nobody asked for."""
        self.segments: list[Segment] = []
        self.members = 0
        """How many members begin here."""
        self.add(first)

    def add(self, segment: Segment) -> None:
        self.members += len(segment.members)
        # The names are not needed any more, and a folder may hold a million of them.
        self.segments.append(segment.model_copy(update={"members": ()}))


class Selection:
    """What of an archive is needed for some files and folders.

    Args:
        segments: the volume's index; it is read once, and only what is needed is kept.
        paths: as `checked_paths` gives them.

    Raises NotFound, which names the path that is not in the archive.
    """

    def __init__(self, segments: Iterable[Segment], paths: Collection[str]) -> None:
        self.paths = frozenset(paths)
        missing = set(self.paths)
        self._stretches: list[_Stretch] = []
        in_stretch = False
        for segment in segments:
            inside = segment.continues
            goes_on = _asked_for(inside.name, self.paths) if inside is not None else None
            found = {_asked_for(member.name, self.paths) for member in segment.members} - {None}
            if goes_on is None and not found:
                in_stretch = False
            elif in_stretch:
                self._stretches[-1].add(segment)
            else:
                self._stretches.append(_Stretch(segment, _end_of_file_before(segment)))
                in_stretch = True
            missing -= found
        _none_is(missing)

    @property
    def segments(self) -> int:
        """How many segments are read."""
        return sum(len(stretch.segments) for stretch in self._stretches)

    def hand_over(
        self,
        read: ReadSegments,
        into: Members,
        *,
        progress: Callable[[int], None],
        check: Callable[[], None],
    ) -> None:
        """Reads what is needed and hands over the members that were asked for.

        Arguments as of `unpack`. Raises what `read` raises, and as `unpack` does; NotFound when
        the archive does not hold what its index says.
        """
        chosen = _OnlyThese(self.paths, into)
        for stretch in self._stretches:
            reader = TarReader(_chunks(stretch, read), progress, check)
            # A stretch may end inside a file that nobody asked for: what begins in it is all of it.
            for member in islice(reader.members(), stretch.members):
                hand_over(member, reader, chosen)
            reader.drain()
        _none_is(self.paths - chosen.met)


def _asked_for(name: str, paths: frozenset[str]) -> str | None:
    """The one of the paths that is this name, or a folder above it."""
    while name not in paths:
        name, slash, _ = name.rpartition("/")
        if not slash:
            return None
    return name


def _none_is(missing: Collection[str]) -> None:
    if missing:
        raise NotFound(f"the backup's volume holds no {min(missing)[:200]!r}")


def unpack_selection(
    selection: Selection,
    read: ReadSegments,
    folder: Path,
    *,
    owner: tuple[int, int] | None,
    threads: int,
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> StagedVolume:
    """Unpacks a selection beside the live folder, which is not touched; else as `unpack`.

    Folders above its paths are made, with plain modes where they do not exist.
    """
    return staged_by(
        lambda tree: selection.hand_over(read, tree, progress=progress, check=check),
        folder,
        owner,
        threads=threads,
        selected=selection.paths,
        check=check,
    )


def _chunks(stretch: _Stretch, read: ReadSegments) -> Iterator[bytes]:
    passed_over = stretch.passed_over
    for _, raw in read(stretch.segments):
        yield raw[passed_over:]
        passed_over = 0


def _end_of_file_before(segment: Segment) -> int:
    """How many bytes at a segment's beginning belong to a file that began before it."""
    inside = segment.continues
    if inside is None:
        return 0
    return inside.size + -inside.size % tar.BLOCK - inside.offset


class _OnlyThese(Members):
    """Hands on the members that were asked for, and what is in them."""

    def __init__(self, paths: frozenset[str], into: Members) -> None:
        self._paths = paths
        self._into = into
        self.met: set[str] = set()
        """The paths of which something was there."""

    def _wants(self, components: list[str]) -> bool:
        path = _asked_for("/".join(components), self._paths)
        if path is None:
            return False
        self.met.add(path)
        return True

    def add_folder(self, components: list[str], attributes: Attributes) -> None:
        if self._wants(components):
            self._into.add_folder(components, attributes)

    def add_file(
        self, components: list[str], size: int, content: Content, attributes: Attributes
    ) -> None:
        if self._wants(components):
            self._into.add_file(components, size, content, attributes)

    def add_link(self, components: list[str], target: str, attributes: Attributes) -> None:
        if self._wants(components):
            self._into.add_link(components, target, attributes)

    def add_name(self, components: list[str], existing: list[str]) -> None:
        if not self._wants(components):
            return
        if not self._wants(existing):
            raise InvalidRequest(
                f"{printable('/'.join(components))!r} is another name of"
                f" {printable('/'.join(existing))!r}: name that path as well"
            )
        self._into.add_name(components, existing)
