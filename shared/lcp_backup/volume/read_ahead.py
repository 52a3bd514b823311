"""Files on their way into an archive, in order; small ones are read by threads before their turn.

That is done while the file system is slow. On a fast one each file is opened when it is
its turn and read straight to where it is needed, as large files always are.
"""

import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter_ns
from typing import Final

from lcp_backup.volume.entry import Entry, Found
from lcp_backup.volume.notices import Notices, note_unreadable
from lcp_backup.volume.pace import Pace

SMALL: Final = 1 << 20
"""Bytes of a file that may wait in memory."""
MOST_IN_FLIGHT: Final = 32 << 20
"""Bytes of all files that wait, or are being read."""

_BATCH_FILES: Final = 8
_BATCH_SIZE: Final = 256 << 10
_BATCH_ENTRIES: Final = 128
_WINDOW: Final = 4
"""Batches for each thread."""
_CALLS_TO_OPEN: Final = 2

# A pipe that took a file's place must not hang the open; a link that did must not be followed.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NoFileError(Exception):
    """What was a file in the scan is something else by now."""


class OpenFile:
    """A file that was opened: it has the size of that moment, whatever happens to it later.

    `fill` is called until all `status.st_size` bytes were asked for, and then `finish`.
    """

    def __init__(self, entry: Entry) -> None:
        """Opens a file. Raises OSError, and NoFileError."""
        self.name = entry.name
        self._error: OSError | None = None
        """What happened while it was read; from there on it is zeros."""
        self._at_end = False
        self._content: memoryview | None = None
        self._given = 0
        self._after: os.stat_result | None = None
        with entry.folder as folder:
            self._descriptor = os.open(entry.base, _OPEN_FILE, dir_fd=folder)
        try:
            self.status = os.fstat(self._descriptor)
            if not stat.S_ISREG(self.status.st_mode):
                raise NoFileError
        except BaseException:
            self.close()
            raise
        self._digest = hashlib.sha256()

    def pass_over(self, count: int) -> None:
        """Leaves out so many bytes of a file that is read straight, before the first is asked for.

        They are in no SHA-256.
        """
        os.lseek(self._descriptor, count, os.SEEK_SET)

    def fill(self, room: memoryview) -> None:
        """Fills the room with the next bytes of the file, and with zeros where it has none.

        Args:
            room: zeros, as many as are still to come or fewer.
        """
        if self._content is None:
            self._read(room)
        else:
            piece = self._content[self._given : self._given + len(room)]
            self._given += len(room)
            # (More is asked for of a file that another worker has begun and that shrank since.)
            room[: len(piece)] = piece

    def has_content(self, sha256: str, check: Callable[[], None]) -> bool:
        """Whether the file has exactly the content of which this is the SHA-256, in hex.

        To be asked before anything is filled. False where it cannot be read. `check` is called
        before every piece that is read; what it raises ends it.
        """
        if self._content is not None:
            return self._error is None and self._digest.hexdigest() == sha256
        digest, at = hashlib.sha256(), 0
        try:
            while True:
                check()
                piece = os.pread(self._descriptor, SMALL, at)
                if not piece:
                    break
                digest.update(piece)
                at += len(piece)
        except OSError:
            return False  # reading it for the archive meets the same error, and says so
        return at == self.status.st_size and digest.hexdigest() == sha256

    def load(self) -> None:
        """Reads the whole file into memory and closes it, so that `fill` and `finish` never wait.

        What goes wrong is kept for `finish`.
        """
        content = memoryview(bytearray(self.status.st_size))
        self._read(content)
        self._content = content
        self._after = os.fstat(self._descriptor)
        self.close()

    def finish(self, notices: Notices) -> str | None:
        """The SHA-256, in hex, of the bytes that `fill` gave.

        None when these may not be the file's: it changed meanwhile (`file-changed`), or could not
        be read to its end. Raises VolumeError when the file system fails as a whole.
        """
        if self._error is not None:
            note_unreadable(notices, self.name, self._error)
        before, after = self.status, self._after or os.fstat(self._descriptor)
        changed = (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns)
        if changed:
            detail = f"{before.st_size} bytes when it was opened, {after.st_size} once it was read"
            notices.add("file-changed", self.name, detail)
        return None if changed or self._error is not None else self._digest.hexdigest()

    def close(self) -> None:
        """Closes the file; harmless when called again."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _read(self, room: memoryview) -> None:
        done = 0
        while done < len(room) and not self._at_end:
            try:
                count = os.readv(self._descriptor, [room[done:]])
            except OSError as error:
                self._error = error
                count = 0
            self._at_end = not count
            done += count
        self._digest.update(room)


type Loaded = OpenFile | OSError | NoFileError | None
"""A small file in memory, or why there is none; None for what is opened when it is its turn."""


def read_ahead(
    entries: Iterable[Entry], notices: Notices, *, threads: int = 1
) -> Generator[tuple[Entry, OpenFile | None]]:
    """The entries in their order, each file opened; it is good until the next entry is asked for.

    What cannot be opened is left out and becomes a notice (`file-vanished`, `file-unreadable`), and
    so does what is no longer a file (`special-file`). At most MOST_IN_FLIGHT bytes wait in memory,
    and a few entries for each thread; the descriptors that are open for them are one per thread.

    Close it before the scan that gives the entries.

    Args:
        entries: asked for one more only when it is needed, but further ahead by threads.
        notices: gets what is left out, in order.
        threads: how many read ahead, while the file system is slow; 1 means none.

    Raises VolumeError when the file system fails as a whole, and what `entries` raises.
    """
    rest = iter(entries)
    pace = Pace(threads)
    pool: ThreadPoolExecutor | None = None
    try:
        more = True
        while more and (yield from _by_caller(rest, notices, pace)):
            pool = pool or ThreadPoolExecutor(threads, thread_name_prefix="read")
            more = yield from _by_threads(rest, notices, pool, _WINDOW * threads, pace)
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _by_caller(
    entries: Iterator[Entry], notices: Notices, pace: Pace
) -> Generator[tuple[Entry, OpenFile | None], None, bool]:
    """Until the file system is slow; returns whether there may be more entries."""
    while not pace.slow:
        entry = next(entries, None)
        if entry is None:
            return False
        if entry.found is Found.FILE:
            started = perf_counter_ns()
            opened = _opened(entry, notices)
            pace.took(perf_counter_ns() - started, _CALLS_TO_OPEN)
            if opened is not None:
                try:
                    yield entry, opened
                finally:
                    opened.close()
        else:
            yield entry, None
    return True


class _Batch:
    """Entries that follow one another; the small files among them are read by one thread."""

    def __init__(self, entries: Iterator[Entry]) -> None:
        self.entries: list[Entry] = []
        self.size = 0
        """Bytes of the small files, as the scan saw them."""
        self.future: Future[list[Loaded]] | None = None
        self.files = 0
        """How many small ones there are."""
        for entry in entries:
            self.entries.append(entry)
            if _is_small(entry):
                self.files += 1
                self.size += entry.status.st_size
            if (
                self.files == _BATCH_FILES
                or self.size >= _BATCH_SIZE
                or len(self.entries) == _BATCH_ENTRIES
            ):
                break


def _by_threads(
    entries: Iterator[Entry],
    notices: Notices,
    pool: ThreadPoolExecutor,
    most_batches: int,
    pace: Pace,
) -> Generator[tuple[Entry, OpenFile | None], None, bool]:
    """As long as the file system is slow; returns whether there may be more entries."""
    waiting: deque[_Batch] = deque()
    in_flight = 0
    more = True
    while True:
        # (A batch has less than _BATCH_SIZE, and one small file more.)
        while (
            more
            and pace.slow
            and len(waiting) < most_batches
            and in_flight + _BATCH_SIZE + SMALL <= MOST_IN_FLIGHT
        ):
            batch = _Batch(entries)
            more = bool(batch.entries)
            if batch.files:
                pace.got_by_threads(batch.files)
                batch.future = pool.submit(_load, batch.entries)
            if more:
                waiting.append(batch)
                in_flight += batch.size
        if not waiting:
            return more
        batch = waiting.popleft()
        results = batch.future.result() if batch.future else [None] * len(batch.entries)
        for entry, loaded in zip(batch.entries, results, strict=True):
            if entry.found is not Found.FILE:
                yield entry, None
                continue
            opened = _opened(entry, notices, loaded)
            if opened is not None:
                try:
                    yield entry, opened
                finally:
                    opened.close()
        in_flight -= batch.size


def _is_small(entry: Entry) -> bool:
    return entry.found is Found.FILE and entry.status.st_size <= SMALL


def _load(entries: list[Entry]) -> list[Loaded]:
    return [_loaded(entry) if _is_small(entry) else None for entry in entries]


def _loaded(entry: Entry) -> Loaded:
    try:
        opened = OpenFile(entry)
    except (OSError, NoFileError) as error:
        return error
    try:
        if opened.status.st_size > entry.status.st_size:
            # It has grown since: there may be no room for it.
            return None
        opened.load()
    except OSError as error:
        return error
    finally:
        opened.close()
    return opened


def _opened(entry: Entry, notices: Notices, loaded: Loaded = None) -> OpenFile | None:
    """The file of an entry, opened here unless that was done; None when there is a notice."""
    try:
        if isinstance(loaded, Exception):
            raise loaded
        return loaded or OpenFile(entry)
    except NoFileError:
        notices.add("special-file", entry.name, "no longer a file when it was opened")
    except OSError as error:
        note_unreadable(notices, entry.name, error)
    return None
