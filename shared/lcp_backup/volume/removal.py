"""Removes a tree of any depth and size; what does not let itself be removed is told, and left.

Neither depth nor length of a path matters, and memory does not grow with the tree: what lies deeper
than a few folders is first moved up to the top, under a name of its own.

Where the file system answers slowly, folders are removed side by side. A folder is handed over only
to a thread that is free at that moment, so whoever waits for one waits for work that is under way.
"""

import errno
import os
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from lcp_backup.volume.descent import open_folder, open_up
from lcp_backup.volume.names import printable
from lcp_backup.volume.pace import Pace

_DEEPEST: Final = 16
"""Folders open at once, with two descriptors each; a document library is about ten deep."""
_DEEPEST_OF_OTHERS: Final = 8
"""The same, for each further thread; they begin some folders further down."""
_MOST_PASSES: Final = 100
"""Over one folder, while others fill it or a network's listing leaves something out."""
_THREADS: Final = 16
"""At most, where the file system is slow: as many as write a volume by default."""
_MOVED_UP: Final = "moved-up-"
_NOT_EMPTY = {errno.ENOTEMPTY, errno.EEXIST}
_TAKEN = {*_NOT_EMPTY, errno.ENOTDIR, errno.EISDIR}
_ALL_OF_OWNER: Final = 0o700


class Remains(NamedTuple):
    """What could not be removed."""

    first: str
    """The first of it, by its path from the tree's parent, ready to be shown."""
    reason: str
    """What the system said of it."""
    total: int
    """How many there are; folders around them do not count."""


def remove(tree: Path, *, check: Callable[[], None] = lambda: None) -> Remains | None:
    """Removes a file, link or folder with all that it holds; nothing is done when there is none.

    Works on a tree in which others still write, and never leaves it: links are not followed, and
    what is mounted in it is left. Folders are opened up where their mode is in the way. When
    something does not let itself be removed, all else is removed and that is returned: no OSError
    is raised for it.

    Args:
        tree: what to remove.
        check: called for every entry, on any thread; what it raises ends the work and is raised.
    """
    with _Helpers(check) as helpers:
        removal = _Removal(helpers)
        parent = None
        try:
            parent = os.open(tree.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            status = os.stat(tree.name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                removal.remove_folder(tree.name, parent)
            else:
                os.unlink(tree.name, dir_fd=parent)
        except FileNotFoundError:
            pass
        except OSError as error:
            removal.keep(tree.name, error)
        finally:
            if parent is not None:
                os.close(parent)
    return removal.remains


class _Helpers:
    """Threads that remove folders, once it shows that they are worth it."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check
        self._pace = Pace(_THREADS)
        self._free = threading.Semaphore(_THREADS - 1)
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> "_Helpers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._threads is not None:
            self._threads.shutdown()

    def unlink(self, name: str, folder: int) -> None:
        began = time.monotonic_ns()
        os.unlink(name, dir_fd=folder)
        self._pace.took(time.monotonic_ns() - began, 1)

    def start(self, work: "Callable[[], _Removal]") -> "Future[_Removal] | None":
        """Has a free thread do it; None when none is, or none is worth it."""
        if not self._pace.slow or not self._free.acquire(blocking=False):
            return None
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS - 1, thread_name_prefix="remove")

        def worked() -> _Removal:
            try:
                return work()
            finally:
                self._free.release()

        return self._threads.submit(worked)


class _Level:
    """An open folder whose entries are removed."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor
        self.entries: os._ScandirIterator[str] = os.scandir(descriptor)
        self.passes = 1
        self.kept = False
        """Whether something in it could not be removed."""
        self.others: list[Future[_Removal]] = []
        """Folders in it that other threads remove."""

    def restart(self) -> None:
        self.entries.close()
        self.entries = os.scandir(self.descriptor)
        self.passes += 1

    def close(self) -> None:
        self.entries.close()
        os.close(self.descriptor)


class _Removal:
    """One removal: the open folders from the top of the tree down, and what had to be kept."""

    def __init__(self, helpers: _Helpers, above: str = "", deepest: int = _DEEPEST) -> None:
        self.remains: Remains | None = None
        self._helpers = helpers
        self._deepest = deepest
        self._above = above
        """The path from the tree's parent to where this one begins, with a slash at its end."""
        self._levels: list[_Level] = []
        self._device = 0
        self._moved_up = 0
        """How many numbers were given to folders that were moved up ..."""
        self._come_back_for = 0
        """... and the first of them that was not looked at again."""

    def keep(self, name: str, error: OSError) -> None:
        """Takes a note of what cannot be removed."""
        path = self._above + "/".join([*(level.name for level in self._levels), name])
        self._add(Remains(printable(path), error.strerror or type(error).__name__, 1))

    def _add(self, remains: Remains) -> None:
        if self.remains is not None:
            remains = self.remains._replace(total=self.remains.total + remains.total)
        self.remains = remains

    def remove_folder(self, name: str, parent: int, device: int | None = None) -> None:
        """Removes the topmost folder, or all that can be removed of it.

        Raises OSError, also when it does not lie on the device that is given.
        """
        descriptor, status = open_folder(name, parent)
        self._device = status.st_dev if device is None else device
        if status.st_dev != self._device:
            os.close(descriptor)
            raise _mounted()
        self._push(name, descriptor, status)
        root = self._levels[0]
        try:
            while True:
                self._empty()
                while self._come_back_for < self._moved_up:
                    self._take(f"{_MOVED_UP}{self._come_back_for}", is_folder=True)
                    self._come_back_for += 1
                    self._empty()
                self._wait_for_others(root)
                if self.remains is not None:
                    return
                try:
                    os.rmdir(name, dir_fd=parent)
                except OSError as error:
                    if error.errno not in _NOT_EMPTY or root.passes >= _MOST_PASSES:
                        raise
                else:
                    return
                root.restart()
        finally:
            for level in self._levels:
                # They work in folders that are open here.
                wait(level.others)
                level.close()
            self._levels.clear()

    def _empty(self) -> None:
        """Goes on until only the topmost folder is open, and all of its entries were looked at."""
        while True:
            level = self._levels[-1]
            try:
                entry = next(level.entries, None)
                is_folder = entry is not None and entry.is_dir(follow_symlinks=False)
            except OSError as error:
                self.keep("", error)
                level.kept = True
                entry = None
            if entry is not None:
                self._take(entry.name, is_folder=is_folder)
            elif len(self._levels) > 1:
                self._leave()
            else:
                return

    def _take(self, name: str, *, is_folder: bool) -> None:
        """Removes an entry of the folder at hand, or goes into it."""
        level = self._levels[-1]
        self._helpers.check()
        try:
            if not is_folder:
                self._helpers.unlink(name, level.descriptor)
            elif self._hand_over(name, level):
                pass
            elif len(self._levels) < self._deepest:
                self._enter(name, level)
            else:
                self._move_up(name, level)
        except FileNotFoundError:
            pass
        except OSError as error:
            self.keep(name, error)
            level.kept = True

    def _hand_over(self, name: str, level: _Level) -> bool:
        above = self._above + "".join(f"{it.name}/" for it in self._levels)
        device = self._device

        def work() -> _Removal:
            other = _Removal(self._helpers, above, _DEEPEST_OF_OTHERS)
            try:
                other.remove_folder(name, level.descriptor, device)
            except FileNotFoundError:
                pass
            except OSError as error:
                other.keep(name, error)
            return other

        started = self._helpers.start(work)
        if started is not None:
            level.others.append(started)
        return started is not None

    def _wait_for_others(self, level: _Level) -> None:
        """Until a folder holds nothing that another thread works on."""
        for other in level.others:
            if (remains := other.result().remains) is not None:
                self._add(remains)
                level.kept = True
        level.others.clear()

    def _enter(self, name: str, level: _Level) -> None:
        descriptor, status = open_folder(name, level.descriptor)
        if status.st_dev != self._device:
            os.close(descriptor)
            raise _mounted()
        self._push(name, descriptor, status)

    def _push(self, name: str, descriptor: int, status: os.stat_result) -> None:
        try:
            if status.st_mode & _ALL_OF_OWNER != _ALL_OF_OWNER:
                with suppress(OSError):
                    os.fchmod(descriptor, _ALL_OF_OWNER)
            self._levels.append(_Level(name, descriptor))
        except BaseException:
            os.close(descriptor)
            raise

    def _leave(self) -> None:
        """Removes the folder at hand, which was emptied, and goes up."""
        self._wait_for_others(self._levels[-1])
        level = self._levels.pop()
        above = self._levels[-1]
        if level.kept:
            above.kept = True
        else:
            try:
                os.rmdir(level.name, dir_fd=above.descriptor)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno in _NOT_EMPTY and level.passes < _MOST_PASSES:
                    level.restart()
                    self._levels.append(level)
                    return
                self.keep(level.name, error)
                above.kept = True
        level.close()

    def _move_up(self, name: str, level: _Level) -> None:
        """Moves a folder to the top, where it is removed later."""
        opened_up = False
        while True:
            target = f"{_MOVED_UP}{self._moved_up}"
            try:
                os.rename(
                    name,
                    target,
                    src_dir_fd=level.descriptor,
                    dst_dir_fd=self._levels[0].descriptor,
                )
            except PermissionError:
                # Its own `..` changes, so it must let itself be written.
                if opened_up:
                    raise
                open_up(name, level.descriptor)
                opened_up = True
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
                self._moved_up += 1
            else:
                self._moved_up += 1
                return


def _mounted() -> OSError:
    return OSError(errno.EBUSY, "another file system is mounted there")
