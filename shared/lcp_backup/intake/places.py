"""What lies where in a foreign tar file, so that no two of its members are in each other's way."""

from enum import Enum
from typing import Final

from lcp_backup.errors import ArchiveRefused
from lcp_backup.volume.names import quoted

MOST_NAMES: Final = 5_000_000
"""Members and the folders around them; a hard link counts three times.

Their places take about 100 bytes of memory each.
"""
MOST_NAMES_OF_A_FILE: Final = 175
"""Names of one file; EFS takes a few more
(https://docs.aws.amazon.com/efs/latest/ug/limits.html)."""


class Occupant(Enum):
    """What lies in a place."""

    FOLDER = 0
    FILE = 1
    LINK = 2


class Places:
    """What lies where in the volume so far: folders stay, files and links may be replaced.

    Places are hashes, because a million names would fill the memory. Two that meet (one in 10^7 for
    a million names) only have an archive refused, here or when it is restored.
    """

    def __init__(self) -> None:
        self._taken: dict[Occupant, set[int]] = {what: set() for what in Occupant}
        self._first: dict[int, int] = {}
        """The first name of a file that has several, by the others."""
        self._names: dict[int, int] = {}
        """How many names it has, by the first."""
        self._unnamed: set[int] = set()
        """Folders that lie around members and are none yet."""
        self._replaced = False
        self._way: list[tuple[str, int]] = []
        """The folders around the member placed last: the next one often lies there, too."""

    def occupy(self, components: list[str], what: Occupant) -> None:
        """Raises ArchiveRefused for what a restore would meet as a folder and as something else."""
        place = self._enter(components)
        last = hash((place, components[-1]))
        folders, files, links = (self._taken[it] for it in Occupant)
        if last in folders if what is not Occupant.FOLDER else last in files or last in links:
            raise ArchiveRefused(
                f"the archive has {quoted('/'.join(components))} as a folder and as a file"
            )
        if last in files or last in links:
            self._replaced = True
            files.discard(last)
            links.discard(last)
            self._first.pop(last, None)
        self._unnamed.discard(last)
        self._taken[what].add(last)
        if len(folders) + len(files) + len(links) + 2 * len(self._first) > MOST_NAMES:
            raise ArchiveRefused(f"the volume holds more than {MOST_NAMES} files and folders")

    @property
    def in_any_order(self) -> bool:
        """Whether whoever unpacks all of it may do so in any order, and folders last.

        Then no member replaces another, or is a second name, and every folder is a member.
        """
        return not (self._replaced or self._names or self._unnamed)

    def is_folder(self, components: list[str]) -> bool:
        return _place(components) in self._taken[Occupant.FOLDER]

    def file(self, components: list[str]) -> int | None:
        """The place of a file's first name; None where no file is."""
        place = _place(components)
        return self._first.get(place, place) if place in self._taken[Occupant.FILE] else None

    def share(self, components: list[str], first: int) -> None:
        """Takes a note that this is another name of a file; refuses more than AWS's EFS holds."""
        self._first[_place(components)] = first
        count = self._names[first] = self._names.get(first, 1) + 1
        if count > MOST_NAMES_OF_A_FILE:
            raise ArchiveRefused(
                f"the archive's hard link {quoted('/'.join(components))} is one of more than"
                f" {MOST_NAMES_OF_A_FILE} names of a file; pack it with --hard-dereference"
            )

    def _enter(self, components: list[str]) -> int:
        """The place of the folder that this lies in; it and those around it are folders now."""
        place = 0
        for depth, component in enumerate(components[:-1]):
            if depth < len(self._way):
                if self._way[depth][0] == component:
                    place = self._way[depth][1]
                    continue
                del self._way[depth:]
            place = hash((place, component))
            if place in self._taken[Occupant.FILE] or place in self._taken[Occupant.LINK]:
                name = "/".join(components[: depth + 1])
                raise ArchiveRefused(
                    f"the archive writes through {quoted(name)}, which is no folder"
                )
            if place not in self._taken[Occupant.FOLDER]:
                self._taken[Occupant.FOLDER].add(place)
                self._unnamed.add(place)
            self._way.append((component, place))
        return place


def _place(components: list[str]) -> int:
    place = 0
    for component in components:
        place = hash((place, component))
    return place
