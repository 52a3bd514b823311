"""The folders of a tree that many threads write into: opened when they are needed, few at once."""

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from lcp_backup.errors import ArchiveRefused
from lcp_backup.volume.descent import OPEN_FOLDER, open_folder
from lcp_backup.volume.members import Attributes
from lcp_backup.volume.names import quoted

_KEPT_OPEN = 32
"""Folders kept open beside those that are in use; a process on Lambda may open 1,024 files."""
_SHORT_WAY = 8
"""Folders that may be opened on the way to another and count as used like that one."""
_ALL_OF_OWNER = 0o700
_THROUGH = {errno.ELOOP, errno.ENOTDIR}


class Folder:
    """A folder on the way to something; whether it is there shows when it is opened."""

    __slots__ = (
        "descriptor",
        "found",
        "given",
        "identity",
        "inside",
        "leaving",
        "left",
        "name",
        "names",
        "opening",
        "parent",
        "steps",
        "users",
    )

    def __init__(self, parent: "Folder | None", name: str) -> None:
        self.parent = parent
        self.name = name
        # What the thread that gives out the work knows of it:
        self.inside: dict[str, Folder] = {}
        """The folders in it that are at hand."""
        self.given: Attributes | None = None
        """What its own member says."""
        self.names: set[str] = set()
        """What of it is being written."""
        self.steps = 0
        """How much is to be done in it, or with it."""
        # What `TreeFolders` keeps, under its lock:
        self.leaving = self.left = False
        self.descriptor: int | None = None
        self.users = 0
        self.opening = threading.Lock()
        self.identity: tuple[int, int] | None = None
        """Device and inode, once it was open."""
        self.found: Attributes | None = None
        """What it had when it was there already."""

    @property
    def way(self) -> str:
        """Its name from the root on."""
        names = []
        at = self
        while at.parent is not None:
            names.append(at.name)
            at = at.parent
        return "/".join(reversed(names))


class TreeFolders:
    """Opens folders from the nearest open one above, by name, and never through a link.

    A folder that was closed meanwhile must be the one it was. Those not in use for longest are
    closed first, so that a tree of any depth takes few descriptors.

    Args:
        root: descriptor of the topmost folder; closed by `close`, as are all others.
    """

    def __init__(self, root: int) -> None:
        self.root = Folder(None, "")
        self.root.descriptor = root
        self.root.users = 1
        self._lock = threading.Lock()
        self._open: OrderedDict[Folder, None] = OrderedDict()
        """All open ones but the root, those in use last at the end.

        So does what was opened on a short way to another. On a long one it stands in front, until a
        way begins there: it would have all others closed.
        """

    @contextmanager
    def entered(self, folder: Folder) -> Iterator[int]:
        """The folder's descriptor, which is open within the block; what is missing is made.

        What is made has the mode 0700. A folder that was there and does not let its owner in gets
        that mode, too; `found` says what it had.

        Raises ArchiveRefused for what is there and no folder; OSError.
        """
        self._use(folder)
        try:
            assert folder.descriptor is not None
            yield folder.descriptor
        finally:
            self._release(folder)

    def may_leave(self, folder: Folder) -> bool:
        """Whether a folder that was `leaving` still is; if so, it cannot be kept any more."""
        with self._lock:
            folder.left = folder.leaving
            return folder.left

    def keep(self, folder: Folder) -> bool:
        """Keeps a folder at hand that was perhaps `leaving`; False when it is too late."""
        with self._lock:
            if not folder.left:
                folder.leaving = False
            return not folder.left

    def open_above(self, folder: Folder) -> None:
        """Opens the folder above one that is in use, if that was closed: it is left next, perhaps.

        So leaving a deep tree does not take the way from its top for every folder.
        """
        above = folder.parent
        assert above is not None
        assert folder.descriptor is not None
        with above.opening:
            if above.descriptor is not None:
                return
            descriptor = _opened_again(above, "..", folder.descriptor)
            with self._lock:
                above.descriptor = descriptor
                self._open[above] = None

    def close_one(self, folder: Folder) -> None:
        """Closes a folder that is in nobody's use."""
        with self._lock:
            descriptor = self._forgotten(folder)
        if descriptor is not None:
            os.close(descriptor)

    def close(self) -> None:
        """Closes everything; nobody may be using any. Harmless when called again."""
        descriptors = [self._forgotten(folder) for folder in (*self._open, self.root)]
        for descriptor in descriptors:
            if descriptor is not None:
                os.close(descriptor)

    def _use(self, folder: Folder) -> None:
        way = []
        with self._lock:
            at = folder
            while at.descriptor is None:
                way.append(at)
                assert at.parent is not None
                at = at.parent
            at.users += 1
        short = len(way) <= _SHORT_WAY
        # Each is in use while the one below it is opened, so that nobody closes it meanwhile.
        begins = True
        while way:
            following = way.pop()
            try:
                self._use_in(at, following)
            finally:
                self._release(at, last=begins or short)
            at, begins = following, False

    def _use_in(self, parent: Folder, folder: Folder) -> None:
        with folder.opening:
            with self._lock:
                if folder.descriptor is not None:
                    folder.users += 1
                    return
            assert parent.descriptor is not None
            descriptor = _opened(folder, parent.descriptor)
            with self._lock:
                folder.descriptor = descriptor
                folder.users += 1
                self._open[folder] = None
                self._open.move_to_end(folder, last=False)

    def _release(self, folder: Folder, *, last: bool = True) -> None:
        closed: list[int | None] = []
        with self._lock:
            folder.users -= 1
            if last and folder in self._open:
                self._open.move_to_end(folder)
            if len(self._open) > _KEPT_OPEN:
                idle = [it for it in self._open if not it.users]
                closed = [self._forgotten(it) for it in idle[: len(self._open) - _KEPT_OPEN]]
        for descriptor in closed:
            if descriptor is not None:
                os.close(descriptor)

    def _forgotten(self, folder: Folder) -> int | None:
        """The descriptor that a folder had, and has no more."""
        descriptor = folder.descriptor
        folder.descriptor = None
        self._open.pop(folder, None)
        return descriptor


def _opened(folder: Folder, parent: int) -> int:
    if folder.identity is not None:
        return _opened_again(folder, folder.name, parent)
    made = True
    try:
        os.mkdir(folder.name, _ALL_OF_OWNER, dir_fd=parent)
    except FileExistsError:
        made = False
    try:
        descriptor, status = open_folder(folder.name, parent)
    except OSError as error:
        if error.errno not in _THROUGH:
            raise
        raise ArchiveRefused(
            f"the archive writes through {quoted(folder.way)}, which is no folder"
        ) from None
    folder.identity = (status.st_dev, status.st_ino)
    if made:
        return descriptor
    folder.found = Attributes(status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns)
    if status.st_mode & _ALL_OF_OWNER != _ALL_OF_OWNER:
        try:
            os.fchmod(descriptor, _ALL_OF_OWNER)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def _opened_again(folder: Folder, name: str, base: int) -> int:
    descriptor = os.open(name, OPEN_FOLDER, dir_fd=base)
    try:
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != folder.identity:
            raise FileNotFoundError(errno.ENOENT, "a folder was moved while it was written into")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
