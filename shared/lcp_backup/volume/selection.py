"""Restores of some files and folders: only the segments that hold them are read."""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import closing

from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.errors import InvalidRequest, NotFound
from lcp_backup.exclusion import PathPatterns
from lcp_backup.volume.begun import Counted, Reached
from lcp_backup.volume.members import Attributes, Content, Members
from lcp_backup.volume.names import printable
from lcp_backup.volume.swap import StagedVolume
from lcp_backup.volume.unpack import fill_staged
from lcp_backup.volume.wanted import WantedMembers, hand_over_wanted


def selected(members: Iterable[IndexedMember], paths: Collection[str]) -> Iterator[IndexedMember]:
    """The members of a volume that are asked for: those at the paths, and what lies below them.

    Args:
        members: of the volume's index.
        paths: as `checked_paths` gives them.

    Raises NotFound, at the end, for a path that is not in the volume; it names the path.
    """
    wanted = frozenset(paths)
    missing = set(wanted)
    for member in members:
        if (path := _asked_for(member.name, wanted)) is not None:
            missing.discard(path)
            yield member
    if missing:
        raise NotFound(f"the backup's volume holds no {min(missing)[:200]!r}")


def _asked_for(name: str, paths: frozenset[str]) -> str | None:
    """The one of the paths that is this name, or a folder above it."""
    while name not in paths:
        name, slash, _ = name.rpartition("/")
        if not slash:
            return None
    return name


def unpack_wanted(
    wanted: WantedMembers,
    read: Iterable[tuple[Segment, bytes]],
    staged: StagedVolume,
    *,
    paths: Collection[str] = (),
    owner: tuple[int, int] | None,
    threads: int,
    progress: Callable[[int], None],
    check: Callable[[], None],
    reached: Reached | None = None,
) -> None:
    """Unpacks wanted members into a staged tree; else as `fill_staged`.

    Args:
        wanted: all of a backup's, or those that are selected.
        read: the segments that hold any, checked, each archive's in its order.
        paths: what is selected, when that is not all. Folders above the paths are made, with plain
            modes where they do not exist.
        reached: is told how far it has come.
    """
    chosen = frozenset(paths)

    def fill(tree: Members) -> None:
        into = Counted(tree, reached) if reached is not None else tree
        into = _OnlyThese(chosen, into) if chosen else into
        hand_over_wanted(wanted, read, into, progress=progress, check=check)

    fill_staged(staged, fill, owner, threads=threads, selected=chosen or None, check=check)


def check_second_names(
    second_names: WantedMembers,
    read: Iterable[tuple[Segment, bytes]],
    paths: Collection[str],
    *,
    check: Callable[[], None],
) -> None:
    """Makes sure that every second name of a selection comes together with its file.

    Args:
        second_names: those among what is selected.
        read: the segments that hold any, as of `unpack_wanted`.
        paths: what is selected.
        check: called often; what it raises ends the work.

    Raises InvalidRequest, which names the file that has to be selected as well.
    """
    into = _OnlyThese(frozenset(paths), _Nothing())
    hand_over_wanted(second_names, read, into, progress=lambda _: None, check=check)


def without(
    members: Callable[[], Iterable[IndexedMember]],
    leave_out: PathPatterns,
    read: Callable[[WantedMembers], Generator[tuple[Segment, bytes]]],
    *,
    check: Callable[[], None],
) -> Iterator[IndexedMember]:
    """The members of a volume but for what is left out; a file that has a second name stays.

    Args:
        members: of the volume's index; begins anew each time it is called.
        leave_out: what is passed over.
        read: gives the segments that hold any members, as of `unpack_wanted`.
        check: called often; what it raises ends the work.
    """
    second_names = WantedMembers(it for it in members() if it.type == "second-name")
    of_second_names = _Files()
    with closing(read(second_names)) as found:
        hand_over_wanted(second_names, found, of_second_names, progress=lambda _: None, check=check)
    return (
        it
        for it in members()
        if it.name in of_second_names.names
        or not leave_out.cover(it.name, folder=it.type == "folder")
    )


class _Nothing(Members):
    """Takes members and does nothing with them."""

    def add_folder(self, components: list[str], attributes: Attributes) -> None: ...

    def add_file(
        self, components: list[str], size: int, content: Content, attributes: Attributes
    ) -> None: ...

    def add_link(self, components: list[str], target: str, attributes: Attributes) -> None: ...

    def add_name(self, components: list[str], existing: list[str]) -> None: ...


class _Files(_Nothing):
    """Keeps the names of the files that have others."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def add_name(self, components: list[str], existing: list[str]) -> None:  # noqa: ARG002 -- as of Members
        self.names.add("/".join(existing))


class _OnlyThese(Members):
    """Hands on members that were asked for; a second name only together with its file."""

    def __init__(self, paths: frozenset[str], into: Members) -> None:
        self._paths = paths
        self._into = into

    def add_folder(self, components: list[str], attributes: Attributes) -> None:
        self._into.add_folder(components, attributes)

    def add_file(
        self, components: list[str], size: int, content: Content, attributes: Attributes
    ) -> None:
        self._into.add_file(components, size, content, attributes)

    def add_link(self, components: list[str], target: str, attributes: Attributes) -> None:
        self._into.add_link(components, target, attributes)

    def add_name(self, components: list[str], existing: list[str]) -> None:
        if _asked_for("/".join(existing), self._paths) is None:
            raise InvalidRequest(
                f"{printable('/'.join(components))!r} is another name of"
                f" {printable('/'.join(existing))!r}: name that path as well"
            )
        self._into.add_name(components, existing)
