"""The way down into a tree of any depth, with few of its folders open at once."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

_KEPT_OPEN = 32
"""Folders kept open, counted from the top: a document library is about ten deep."""

OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class _Step:
    name: str
    descriptor: int | None
    """None while the folder is closed; the deepest never is."""
    identity: tuple[int, int]
    """Device and inode, once it was closed."""


class Descent:
    """The open folder at hand and the way that leads to it from a root.

    No link is followed: a folder that was closed is opened again from its child by `..`, or from
    the root name by name, and must be the one it was.

    Args:
        root: descriptor of the topmost folder; closed by `close`, as is everything below it.
    """

    def __init__(self, root: int) -> None:
        self._steps = [_Step("", root, (0, 0))]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def descriptor(self) -> int:
        """The folder at hand."""
        descriptor = self._steps[-1].descriptor
        assert descriptor is not None
        return descriptor

    @property
    def depth(self) -> int:
        """How many folders below the root this one lies."""
        return len(self._steps) - 1

    def name(self, depth: int) -> str:
        """The name of the folder on the way that lies so deep, counted from 1."""
        return self._steps[depth].name

    def enter(self, name: str, descriptor: int) -> None:
        """Goes down into a folder of the one at hand, which the caller has opened."""
        above = self._steps[-1]
        self._steps.append(_Step(name, descriptor, (0, 0)))
        if len(self._steps) - 1 > _KEPT_OPEN and above.descriptor is not None:
            above.identity = _identity(above.descriptor)
            os.close(above.descriptor)
            above.descriptor = None

    def leave(self) -> None:
        """Goes up by one folder.

        Raises OSError when that is no more where it was. Then it is no longer on the way's list of
        open folders, and only `leave` and `close` may follow.
        """
        left = self._steps.pop()
        try:
            self._reopen(left)
        finally:
            if left.descriptor is not None:
                os.close(left.descriptor)

    @contextmanager
    def leaving(self) -> Iterator[int]:
        """Goes up by one folder; the one that is left is open within the block, and then closed.

        So it can be given a mode that would not let anybody go up from it. Raises as `leave` does.
        """
        descriptor = self.descriptor
        left = self._steps.pop()
        try:
            self._reopen(left)
            yield descriptor
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Closes everything; harmless when called again."""
        for step in self._steps:
            if step.descriptor is not None:
                os.close(step.descriptor)
                step.descriptor = None

    def _reopen(self, child: _Step) -> None:
        """Opens the last folder of the way if it was closed: from its child, or from the top."""
        last = self._steps[-1]
        if last.descriptor is not None:
            return
        if child.descriptor is not None:
            with suppress(PermissionError):
                descriptor = os.open("..", OPEN_FOLDER, dir_fd=child.descriptor)
                if _identity(descriptor) == last.identity:
                    last.descriptor = descriptor
                    return
                os.close(descriptor)
        # The child was moved meanwhile: `..` is where it lies now.
        depth, descriptor = next(
            (depth, step.descriptor)
            for depth, step in reversed(list(enumerate(self._steps)))
            if step.descriptor is not None
        )
        at = os.dup(descriptor)
        for step in self._steps[depth + 1 :]:
            try:
                following = os.open(step.name, OPEN_FOLDER, dir_fd=at)
            finally:
                os.close(at)
            at = following
        if _identity(at) != last.identity:
            os.close(at)
            raise FileNotFoundError(errno.ENOENT, "was moved while the folder was read")
        last.descriptor = at


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def open_folder(name: str, parent: int) -> tuple[int, os.stat_result]:
    """Opens a folder of the one that is open as `parent`, and never follows a link.

    One that does not let its owner in is opened up first, with the mode 0700.

    Returns the descriptor, and the status as it was before. Raises OSError.
    """
    try:
        descriptor = os.open(name, OPEN_FOLDER, dir_fd=parent)
    except PermissionError:
        before = open_up(name, parent)
        return os.open(name, OPEN_FOLDER, dir_fd=parent), before
    return descriptor, os.fstat(descriptor)


def open_up(name: str, parent: int) -> os.stat_result:
    """Gives a folder's owner all rights to it, whatever its mode; returns its status before.

    Raises OSError for a link, for what is no folder, and for who is not the owner.
    """
    # Opened for nothing but to be named: that needs no right to it, and `chmod` by the name itself
    # would follow a link that took the folder's place.
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        before = os.fstat(handle)
        os.chmod(f"/proc/self/fd/{handle}", 0o700)  # noqa: PTH101 -- no path, a descriptor
    finally:
        os.close(handle)
    return before
