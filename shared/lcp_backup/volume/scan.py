"""Walks the folder in a fixed order, without following links and without holding the whole tree.

On a file system that answers slowly, threads list folders and read attributes ahead of the walk.
What they have found waits until it is its turn; what the walk needs next is always asked for first.
"""

import os
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from time import perf_counter_ns
from typing import Final

from lcp_backup.errors import VolumeError
from lcp_backup.exclusion import PathPatterns
from lcp_backup.volume import levels
from lcp_backup.volume.entry import Entry, Found
from lcp_backup.volume.levels import Chunk, LeftOut, Level
from lcp_backup.volume.names import KEPT_PREFIX, LIBRARY, STAGING_NAME, is_own
from lcp_backup.volume.notices import Notices, note_unreadable
from lcp_backup.volume.open_folders import OpenFolders
from lcp_backup.volume.pace import Pace
from lcp_backup.volume.span import Span

_PINNED: Final = 32
"""Folders on the way that are always open, counted from the top: a library is about ten deep."""
_MOST_IDLE: Final = 24
_MOST_IDLE_AHEAD: Final = 256
"""As many as files are read ahead: in the worst case each lies in a folder of its own."""
_CALLS_TO_ENTER: Final = 4
_WINDOW: Final = 4
"""Jobs for each thread that are begun before they are needed."""
_MOST_WAITING: Final = 4 * _WINDOW
"""Jobs for each thread that are kept when others turn out to be needed earlier."""


def scan(
    folder: Path,
    notices: Notices,
    below: str = "",
    *,
    threads: int = 1,
    files: bool = True,
    leave_out: PathPatterns | None = None,
    span: Span | None = None,
) -> "Scan":
    """Everything in the folder but the folder itself: sorted, a folder before its content.

    Holds the names of one folder per level, what threads have read ahead (some thousand entries at
    most), and a bounded number of open descriptors. What vanishes or cannot be read on the way
    becomes a notice, and so does what is not taken because no restore would: a socket, pipe or
    device (`special-file`), a name of more than MOST_NAME bytes (`name-too-long`) with all below
    it, and one that only a file system that ignores case takes for a staging folder
    (`reserved-name`). Links that lead out are told from the others. What a restore left is passed
    over. The caller closes it.

    Args:
        folder: LCP_BACKUP_FOLDER.
        notices: gets what is not yielded, in the same order.
        below: only what lies in this folder of it, whose name is then the beginning of all names.
        threads: how many read ahead, while the file system is slow; 1 means none.
        files: False passes files over, and then they cost no call.
        leave_out: what is passed over, without a notice; a folder with all that lies in it.
        span: only this stretch of it; folders that lie in front of it are not even listed.

    Raises VolumeError when the folder itself is missing, no folder or not readable, or the file
    system fails as a whole.
    """
    try:
        root = os.open(folder / below, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unusable(folder, error) from error
    walk = Scan(root, notices, threads, files, leave_out, span=span)
    try:
        prefix = f"{below}/" if below else ""
        names = levels.listed(root, None, files) or []
        if span is not None:
            names = span.names(prefix, names)
        walk.begin(prefix, [it for it in names if below or _is_taken(it, notices)])
    except BaseException as error:
        walk.close()
        if isinstance(error, OSError):
            raise _unusable(folder, error) from error
        raise
    return walk


class Scan(Iterator[Entry]):
    """The entries, the way down to where the walk is, and what is read ahead of it.

    What it yields is good until `close`, also when it has come to its end.
    """

    def __init__(
        self,
        root: int,
        notices: Notices,
        threads: int,
        files: bool,
        leave_out: PathPatterns | None = None,
        *,
        span: Span | None = None,
    ) -> None:
        self._notices = notices
        self._folders = OpenFolders(root, _MOST_IDLE)
        self._threads = threads
        self._files = files
        self._leave_out = leave_out if leave_out is not None and leave_out.patterns else None
        self._span = span
        self.left_out = 0
        """How many files, links and folders the patterns passed over."""
        self._pace = Pace(threads)
        self._pool: ThreadPoolExecutor | None = None
        self._levels: list[Level] = []
        self._waiting = 0
        """Jobs that were begun and not needed yet."""
        self._entries = self._walk()

    def __next__(self) -> Entry:
        return next(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        # (Without a call in between for each of a million.)
        return self._entries

    def close(self) -> None:
        """Ends the threads and closes all folders; harmless when called again."""
        self._entries.close()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._folders.close()

    def begin(self, prefix: str, names: list[str]) -> None:
        """Takes what lies in the topmost folder."""
        root = self._folders.root
        self._levels.append(Level(root, prefix, os.fstat(root.descriptor), names))

    def _walk(self) -> Generator[Entry]:
        stack, notices = self._levels, self._notices
        while stack:
            level = stack[-1]
            for seen in level.rest:
                passed = self._span is not None and self._span.is_passed(seen.name)
                if (
                    not passed
                    and self._leave_out is not None
                    and self._passes_over(self._leave_out, level, seen)
                ):
                    continue
                if passed and not (isinstance(seen, Entry) and seen.found is Found.FOLDER):
                    continue
                if isinstance(seen, LeftOut):
                    _note(notices, seen)
                elif seen.found is not Found.FOLDER:
                    yield seen
                else:
                    level.folders.popleft()
                    try:
                        inner = self._enter(level, seen)
                    except OSError as error:
                        note_unreadable(notices, seen.name, error)
                        continue
                    if not passed:
                        yield seen._replace(folder=inner.folder, status=inner.status)
                    break
            else:
                try:
                    more = self._take_next_chunk(level)
                except OSError as error:
                    note_unreadable(notices, level.prefix.rstrip("/"), error)
                    more = False
                if not more:
                    self._leave(stack.pop())

    def _passes_over(self, leave_out: PathPatterns, level: Level, seen: Entry | LeftOut) -> bool:
        is_folder = isinstance(seen, Entry) and seen.found is Found.FOLDER
        if not leave_out.match(seen.name, folder=is_folder):
            return False
        if is_folder:
            level.folders.popleft()  # what was read ahead of it goes with this level
        self.left_out += 1
        return True

    def _leave(self, level: Level) -> None:
        self._waiting -= level.drop()
        if level.pinned:
            level.folder.release()

    def _enter(self, level: Level, entry: Entry) -> Level:
        """Goes down into a folder, known already or not."""
        future = level.inner.pop(entry.base, None)
        self._waiting -= future is not None
        if future is None or future.cancel():
            # (Nobody has begun with it: not waiting for the queue in front of it.)
            started = perf_counter_ns()
            inner = levels.enter(
                self._folders, entry, most=None, files=self._files, span=self._span
            )
            calls = _CALLS_TO_ENTER + len(inner.first.seen if inner.first else ())
            self._pace.took(perf_counter_ns() - started, calls)
        else:
            inner = future.result()
            if inner.names is None:
                with inner.folder as descriptor:
                    names = levels.listed(descriptor, None, self._files)
                inner.names = levels.spanned(self._span, inner.prefix, names)
        if len(self._levels) <= _PINNED:
            inner.folder.hold()
            inner.pinned = True
        self._levels.append(inner)
        self._read_ahead()
        return inner

    def _take_next_chunk(self, level: Level) -> bool:
        """Makes the next names of a folder the ones at hand; False when there are none."""
        number = level.next_chunk
        names = level.chunk_names(number)
        if not names:
            return False
        level.next_chunk += 1
        chunk = level.first if number == 0 else None
        if chunk is None:
            future = level.chunks.pop(number, None)
            self._waiting -= future is not None
            if future is None or future.cancel():
                started = perf_counter_ns()
                chunk = levels.look(level.folder, level.prefix, names)
                self._pace.took(perf_counter_ns() - started, len(names))
            else:
                chunk = future.result()
        level.rest = iter(chunk.seen)
        level.folders.extend(chunk.folders)
        self._read_ahead()
        return True

    def _read_ahead(self) -> None:
        """Has the threads begin with what is needed next, while the file system is slow."""
        if not self._pace.slow:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="scan")
            self._folders.most_idle = min(16 * self._threads, _MOST_IDLE_AHEAD)
        for level in self._levels:
            # The outermost first: what was begun there is needed last.
            if self._waiting <= _MOST_WAITING * self._threads:
                break
            self._waiting -= level.drop()
        jobs = (job for level in reversed(self._levels) for job in level.jobs())
        for level, what, begun in list(islice(jobs, _WINDOW * self._threads)):
            if not begun:
                self._begin(self._pool, level, what)

    def _begin(self, pool: ThreadPoolExecutor, level: Level, what: int | Entry) -> None:
        if isinstance(what, Entry):
            level.inner[what.base] = pool.submit(
                levels.enter,
                self._folders,
                what,
                most=levels.MOST_NAMES,
                files=self._files,
                span=self._span,
            )
        else:
            names = level.chunk_names(what)
            future: Future[Chunk] = pool.submit(levels.look, level.folder, level.prefix, names)
            level.chunks[what] = future
        self._waiting += 1
        self._pace.got_by_threads(1)


def _note(notices: Notices, left_out: LeftOut) -> None:
    if left_out.error is not None:
        note_unreadable(notices, left_out.name, left_out.error)
    else:
        notices.add(left_out.code, left_out.name, left_out.detail)


def _is_taken(base: str, notices: Notices) -> bool:
    """Whether a name in the top level is the site's."""
    if not is_own(base):
        return True
    if not base.startswith((STAGING_NAME, KEPT_PREFIX)):
        detail = f"is as good as {STAGING_NAME!r}, which is this service's own; not backed up"
        notices.add("reserved-name", base, detail)
    return False


def _unusable(folder: Path, error: OSError) -> VolumeError:
    return VolumeError(
        f"LCP_BACKUP_FOLDER is {str(folder)!r}, which cannot be backed up: {error.strerror}; name"
        f" the folder that holds {LIBRARY}, see that its file system is mounted, and let the"
        " function's user read it"
    )
