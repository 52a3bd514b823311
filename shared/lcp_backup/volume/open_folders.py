"""Folders that stay open while somebody needs them, for several threads, with few descriptors."""

import errno
import os
import threading
from collections import OrderedDict

from lcp_backup.volume.descent import OPEN_FOLDER


class OpenFolders:
    """The open folders of one tree. Those that nobody holds are closed, the longest unused first.

    One that was closed is opened again when somebody holds it: from the root or the nearest open
    folder above, name by name. No link is followed, and it must be the folder that it was.

    Args:
        root: descriptor of the topmost folder; closed by `close`, as is everything below it.
        most_idle: how many may stay open that nobody holds; it may be changed at any time.
    """

    def __init__(self, root: int, most_idle: int) -> None:
        self.most_idle = most_idle
        self._lock = threading.Lock()
        self._idle: OrderedDict[OpenFolder, None] = OrderedDict()
        self._open: set[OpenFolder] = set()
        self.root = OpenFolder(self, None, "", os.fstat(root))
        self._opened(self.root, root)

    def enter(self, parent: "OpenFolder", name: str) -> tuple["OpenFolder", os.stat_result]:
        """Opens a folder in another, held as `hold` does; and its status. Raises OSError."""
        with parent as above:
            descriptor = os.open(name, OPEN_FOLDER, dir_fd=above)
        try:
            status = os.fstat(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        folder = OpenFolder(self, parent, name, status)
        self._opened(folder, descriptor)
        return folder, status

    def close(self) -> None:
        """Closes everything, held or not; no other thread may be at work any more."""
        with self._lock:
            for folder in self._open:
                os.close(folder.descriptor)
            self._open.clear()
            self._idle.clear()

    def hold(self, folder: "OpenFolder") -> int:
        with self._lock:
            if folder in self._open:
                return self._held(folder)
        return self._reopen(folder)

    def release(self, folder: "OpenFolder") -> None:
        closing = []
        with self._lock:
            folder.holders -= 1
            if not folder.holders and folder in self._open:
                self._idle[folder] = None
                while len(self._idle) > self.most_idle:
                    oldest, _ = self._idle.popitem(last=False)
                    self._open.remove(oldest)
                    closing.append(oldest.descriptor)
        for descriptor in closing:
            os.close(descriptor)

    def _held(self, folder: "OpenFolder") -> int:
        if not folder.holders:
            self._idle.pop(folder, None)
        folder.holders += 1
        return folder.descriptor

    def _opened(self, folder: "OpenFolder", descriptor: int) -> int:
        """Takes a descriptor for a folder, unless another thread was faster; the folder is held."""
        with self._lock:
            if folder in self._open:
                spare = descriptor
            else:
                spare = -1
                folder.descriptor = descriptor
                self._open.add(folder)
            held = self._held(folder)
        if spare >= 0:
            os.close(spare)
        return held

    def _reopen(self, folder: "OpenFolder") -> int:
        way = [folder]
        while True:
            above = way[-1].parent
            assert above is not None, "the scan was closed"
            with self._lock:
                if above in self._open:
                    at = self._held(above)
                    break
            way.append(above)
        for step in reversed(way):
            try:
                descriptor = os.open(step.name, OPEN_FOLDER, dir_fd=at)
                if identity(os.fstat(descriptor)) != step.identity:
                    os.close(descriptor)
                    raise FileNotFoundError(errno.ENOENT, "was moved while the folder was read")
                at = self._opened(step, descriptor)
            finally:
                self.release(above)
            above = step
        return at


class OpenFolder:
    """A folder to open things from. `with folder as descriptor:` holds it open for the block."""

    __slots__ = ("_folders", "descriptor", "holders", "identity", "name", "parent")

    def __init__(
        self,
        folders: OpenFolders,
        parent: "OpenFolder | None",
        name: str,
        status: os.stat_result,
    ) -> None:
        self._folders = folders
        self.parent = parent
        self.name = name
        self.identity = identity(status)
        self.descriptor = -1
        self.holders = 0

    def hold(self) -> int:
        """The descriptor, which stays open until `release`. Raises OSError."""
        return self._folders.hold(self)

    def release(self) -> None:
        """Ends what `hold` began."""
        self._folders.release(self)

    def __enter__(self) -> int:
        return self._folders.hold(self)

    def __exit__(self, *_: object) -> None:
        self._folders.release(self)


def identity(status: os.stat_result) -> tuple[int, int]:
    """What tells a folder from every other."""
    return status.st_dev, status.st_ino
