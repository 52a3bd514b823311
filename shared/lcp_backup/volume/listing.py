"""What lies in one folder of a backup's volume, out of its index and a page at a time."""

import json
from bisect import insort
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from lcp_backup.archive.index_lines import MEMBERS, IndexLines
from lcp_backup.archive.segment import IndexedMember, MemberType
from lcp_backup.errors import NotFound
from lcp_backup.volume.names import place_in_order, quoted

_NO_TEXT: Final = b'{"base64"'
"""What stands in a line that has a name which is no text."""


class Listed(NamedTuple):
    """One thing that lies in the folder."""

    name: str
    """Relative to the data folder, exact."""
    type: MemberType
    size: int
    """Bytes of a file's content; 0 for all others."""
    mtime_ns: int | None
    """None for a folder that the backup knows by its content alone: some uploads have such."""


def list_folder(
    index: IndexLines, folder: str, *, after: str | None, limit: int, is_sorted: bool
) -> tuple[list[Listed], bool]:
    """Up to `limit` things that lie directly in a folder, in order; and whether there is more.

    Memory does not grow with the index. Of a sorted one it takes no line apart that can hold
    nothing of the folder, and stops behind it.

    Args:
        index: of the volume, not read yet.
        folder: its name, exact; empty for the data folder itself.
        after: the name of the last thing on the page before.
        is_sorted: whether members stand in the order of a scan, as they do unless they were
            uploaded.

    Raises NotFound for what is no folder in the volume; ArchiveDamaged.
    """
    if is_sorted:
        found = list(islice(_in_order(index, folder, after), limit + 1))
    else:
        found = _gathered(index, folder, after, limit + 1)
    return found[:limit], len(found) > limit


def _in_order(index: IndexLines, folder: str, after: str | None) -> Iterator[Listed]:
    prefix = f"{folder}/" if folder else ""
    behind = place_in_order(after or folder)
    is_there = not folder
    for line, first, following in _named(index):
        until = None if following is None else place_in_order(following)
        if until is not None and until <= place_in_order(folder):
            continue
        if place_in_order(first) > place_in_order(folder) and not first.startswith(prefix):
            break
        if is_there and following is not None and until is not None:
            if until <= behind:
                continue
            child = _child(first, prefix)
            # All of the line lies below one folder, deeper than what is asked for.
            if child is not None and first != child == _child(following, prefix):
                continue
        for member in index.members(line):
            if member.name == folder:
                _check_is_folder(member)
                is_there = True
            elif member.name.startswith(prefix):
                is_there = True
                if "/" not in member.name[len(prefix) :] and place_in_order(member.name) > behind:
                    yield _listed(member)
    if not is_there:
        raise _no_folder(folder)


def _named(index: IndexLines) -> Iterator[tuple[bytes, str, str | None]]:
    """Each line of members, with its first name and that of the next line."""
    waiting: tuple[bytes, str] | None = None
    for line in index.between():
        if line.startswith(MEMBERS):
            name = index.first_name(line)
            if waiting is not None:
                yield *waiting, name
            waiting = (line, name)
    if waiting is not None:
        yield *waiting, None


def _gathered(index: IndexLines, folder: str, after: str | None, most: int) -> list[Listed]:
    """The first `most` of an index in any order, of which no more are held."""
    prefix = f"{folder}/" if folder else ""
    needle = _begin_of(folder)
    is_there = not folder
    first = _First(most, behind=place_in_order(after or folder))
    for line in index.between():
        # Most lines are told without being taken apart, which costs several times as much.
        if not line.startswith(MEMBERS) or not (needle in line or _NO_TEXT in line):
            continue
        child = _child(index.first_name(line), prefix)
        if child in first.found and _is_all_below(child, line):
            continue
        for member in index.members(line):
            if member.name == folder:
                _check_is_folder(member)
                is_there = True
            elif (child := _child(member.name, prefix)) is not None:
                is_there = True
                first.take(child, member)
    if not is_there:
        raise _no_folder(folder)
    return first.in_order()


class _First:
    """The first few, in order, of what lies in a folder behind one place."""

    def __init__(self, most: int, behind: str) -> None:
        self._most = most
        self._behind = behind
        self.found: dict[str, Listed] = {}
        self._places: list[str] = []

    def take(self, child: str, member: IndexedMember) -> None:
        """Takes a child of the folder by a member that is it, or lies in it.

        A member takes the place of an earlier one of its name, as it does when it is unpacked.
        """
        place, places = place_in_order(child), self._places
        if place <= self._behind or (len(places) == self._most and place > places[-1]):
            return
        if child not in self.found:
            insort(places, place)
        if child == member.name:
            self.found[child] = _listed(member)
        else:
            self.found.setdefault(child, Listed(child, "folder", 0, None))
        if len(places) > self._most:
            del self.found[_name_at(places.pop())]

    def in_order(self) -> list[Listed]:
        return [self.found[_name_at(place)] for place in self._places]


def _name_at(place: str) -> str:
    return place.replace("\0", "/")


def _begin_of(name: str) -> bytes:
    """How an index writes a member whose name begins so, if that is text."""
    return f'["{json.dumps(name, ensure_ascii=False)[1:-1]}'.encode(errors="surrogateescape")


def _is_all_below(folder: str, line: bytes) -> bool:
    """Whether all members of a line lie below a folder; False also where counting does not tell."""
    # (A quotation mark in a name is written behind a backslash.)
    members = line.count(b'],["') + 1
    return _NO_TEXT not in line and line.count(_begin_of(f"{folder}/")) == members


def _child(name: str, prefix: str) -> str | None:
    """What of the folder a name is, or lies in; None for what is elsewhere."""
    if not name.startswith(prefix) or name == prefix:
        return None
    return prefix + name[len(prefix) :].partition("/")[0]


def _listed(member: IndexedMember) -> Listed:
    return Listed(member.name, member.type, member.size, member.mtime_ns)


def _check_is_folder(member: IndexedMember) -> None:
    if member.type != "folder":
        raise NotFound(f"{quoted(member.name)} is a {member.type} in the backup, and no folder")


def _no_folder(folder: str) -> NotFound:
    return NotFound(f"the backup's volume holds no folder {quoted(folder)}")
