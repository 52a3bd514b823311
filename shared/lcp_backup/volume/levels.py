"""One folder of a scan: its names, what is known of them, and what could be read ahead."""

import errno
import os
import stat
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import islice
from typing import Final, NamedTuple

from lcp_backup.volume.entry import Entry, Found
from lcp_backup.volume.names import MOST_NAME, link_stays_inside
from lcp_backup.volume.open_folders import OpenFolder, OpenFolders
from lcp_backup.volume.span import Span

CHUNK: Final = 32
"""Entries whose attributes are read by one thread in one go."""
MOST_NAMES: Final = 1024
"""Names of a folder that are kept before it is its turn."""


class LeftOut(NamedTuple):
    """A name of which there is only a notice."""

    name: str
    error: OSError | None
    """What happened to it; None when it is `code` and `detail` that say so."""
    code: str = ""
    detail: str = ""


class Chunk:
    """What some names of a folder are."""

    __slots__ = ("folders", "seen")

    def __init__(self, seen: list[Entry | LeftOut]) -> None:
        self.seen = seen
        self.folders = [it for it in seen if type(it) is Entry and it.found is Found.FOLDER]


class Level:
    """A folder of a scan. Only the scan's own thread may use it once it was made."""

    def __init__(
        self, folder: OpenFolder, prefix: str, status: os.stat_result, names: list[str] | None
    ) -> None:
        self.folder = folder
        self.prefix = prefix
        self.status = status
        self.names = names
        """Sorted; None when there are more than MOST_NAMES, and it was read ahead."""
        self.next_chunk = 0
        self.chunks: dict[int, Future[Chunk]] = {}
        """Those that are read ahead."""
        self.first: Chunk | None = None
        """The only one of a small folder: read with the names."""
        self.rest: Iterator[Entry | LeftOut] = iter(())
        """Of the chunk at hand."""
        self.folders: deque[Entry] = deque()
        """Those in the chunk at hand that were not entered yet."""
        self.inner: dict[str, Future[Level]] = {}
        """Folders that are read ahead."""
        self.pinned = False

    def chunk_names(self, number: int) -> list[str]:
        assert self.names is not None
        return self.names[number * CHUNK : (number + 1) * CHUNK]

    def jobs(self) -> Iterator[tuple["Level", int | Entry, bool]]:
        """What can be read ahead, in the order in which it will be needed.

        Each as its level, the number of a chunk or the entry of a folder, and whether it was begun.
        """
        yield from self._inner_jobs(self.folders)
        if self.names is None:
            return
        for number in range(self.next_chunk, -(-len(self.names) // CHUNK)):
            if number == 0 and self.first is not None:
                yield from self._inner_jobs(self.first.folders)
                continue
            future = self.chunks.get(number)
            yield self, number, future is not None
            if future is not None and succeeded(future):
                yield from self._inner_jobs(future.result().folders)

    def drop(self) -> int:
        """Forgets what was read ahead in this folder and below; how many jobs that was."""
        count = len(self.chunks) + len(self.inner)
        for chunk in self.chunks.values():
            chunk.cancel()
        for inner in self.inner.values():
            if not inner.cancel() and succeeded(inner):
                count += inner.result().drop()
        self.chunks.clear()
        self.inner.clear()
        return count

    def _inner_jobs(
        self, folders: deque[Entry] | list[Entry]
    ) -> Iterator[tuple["Level", int | Entry, bool]]:
        for entry in folders:
            future = self.inner.get(entry.base)
            yield self, entry, future is not None
            if future is not None and succeeded(future):
                yield from future.result().jobs()


def succeeded(future: Future[Chunk] | Future[Level]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def enter(
    folders: OpenFolders, entry: Entry, *, most: int | None, files: bool, span: Span | None
) -> Level:
    """Opens and lists the folder that an entry is, and looks at its names if they are few.

    Args:
        most: names to take; if there are more, none are.
        files: False leaves files out.
        span: the names that are taken; None takes all.
    """
    folder, status = folders.enter(entry.folder, entry.base)
    try:
        prefix = f"{entry.name}/"
        names = spanned(span, prefix, listed(folder.descriptor, most, files))
        level = Level(folder, prefix, status, names)
        if level.names is not None and 0 < len(level.names) <= CHUNK:
            level.first = look(folder, level.prefix, level.names)
    finally:
        folder.release()
    return level


def listed(descriptor: int, most: int | None, files: bool) -> list[str] | None:
    """The names in an open folder, sorted; None if there are more than `most`."""
    with os.scandir(descriptor) as found:
        limit = None if most is None else most + 1
        # (The kind is in the listing; asking for it costs no call.)
        names = [
            it.name for it in islice(found, limit) if files or not it.is_file(follow_symlinks=False)
        ]
        if most is not None and len(names) > most:
            return None
    names.sort()
    return names


def spanned(span: Span | None, prefix: str, names: list[str] | None) -> list[str] | None:
    """Those of a folder's names, if they were taken, in which some of a stretch lies."""
    return names if span is None or names is None else span.names(prefix, names)


def look(folder: OpenFolder, prefix: str, names: list[str]) -> Chunk:
    """What lies in a folder under these names. Raises OSError when the folder itself is lost."""
    seen: list[Entry | LeftOut] = []
    with folder as descriptor:
        for base in names:
            name = prefix + base
            if _is_too_long(name):
                detail = f"has a name of {len(os.fsencode(name))} bytes; {MOST_NAME} are taken"
                seen.append(LeftOut(name, None, "name-too-long", detail))
                continue
            try:
                status = os.stat(base, dir_fd=descriptor, follow_symlinks=False)
                kind = stat.S_IFMT(status.st_mode)
                if kind == stat.S_IFREG:
                    seen.append(Entry(name, Found.FILE, folder, base, status))
                elif kind == stat.S_IFDIR:
                    seen.append(Entry(name, Found.FOLDER, folder, base, status))
                elif kind == stat.S_IFLNK:
                    target = _target(base, descriptor)
                    inside = link_stays_inside(name, target)
                    found = Found.LINK if inside else Found.LINK_OUT
                    seen.append(Entry(name, found, folder, base, status, target))
                else:
                    detail = "neither a file, a folder nor a link"
                    seen.append(LeftOut(name, None, "special-file", detail))
            except OSError as error:
                seen.append(LeftOut(name, error))
    return Chunk(seen)


def _target(base: str, descriptor: int) -> str:
    try:
        return os.readlink(base, dir_fd=descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise FileNotFoundError(errno.ENOENT, "was replaced while the folder was read") from error


def _is_too_long(name: str) -> bool:
    # A character has at most four bytes.
    return len(name) > MOST_NAME // 4 and len(os.fsencode(name)) > MOST_NAME
