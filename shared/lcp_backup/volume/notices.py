"""The notices of a volume: a short list, whatever happens to a million files."""

import errno
from collections.abc import Iterable
from typing import Final

from lcp_backup.errors import VolumeError
from lcp_backup.model import Notice
from lcp_backup.volume.names import printable

MOST_NOTICES: Final = 100
MOST_LOST: Final = 10_000
_LOST = {"file-unreadable", "link-outside"}
_NOT_OF_ONE_FILE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETIMEDOUT, errno.EHOSTDOWN}
"""What says that the machine or the file system is in trouble, not this one file."""


class Notices:
    """Collects notices; beyond MOST_NOTICES it only counts them, those that mean no loss first.

    Of those that tell of files that are missing, so many more are kept that they can be compared
    with an index.
    """

    def __init__(self) -> None:
        self._losses: list[Notice] = []
        self._others: list[Notice] = []
        self._lost: list[Notice] = []
        self.left_out = 0
        """How many more there were."""
        self.losses = 0
        """How many meant loss, listed or not."""

    @property
    def listed(self) -> tuple[Notice, ...]:
        return (*self._losses, *self._others)

    @property
    def lost(self) -> tuple[Notice, ...]:
        """What could not be read or leads out of the folder; the first MOST_LOST of them."""
        return tuple(self._lost)

    def add(self, code: str, name: str, detail: str) -> None:
        """Notes something about a member; `name` is relative to the folder."""
        notice = Notice(code=code, subject=printable(name), detail=detail)
        self.losses += notice.means_loss
        if code in _LOST and len(self._lost) < MOST_LOST:
            self._lost.append(notice)
        (self._losses if notice.means_loss else self._others).append(notice)
        if len(self._losses) + len(self._others) > MOST_NOTICES:
            (self._others or self._losses).pop()
            self.left_out += 1

    def add_error(self, name: str, error: OSError) -> None:
        """Notes that a member could not be read because of `error`."""
        code = "file-vanished" if isinstance(error, FileNotFoundError) else "file-unreadable"
        self.add(code, name, error.strerror or type(error).__name__)


def note_unreadable(notices: Notices, name: str, error: OSError) -> None:
    """Makes a notice of what happened to one file; raises VolumeError when it is not about it."""
    if error.errno in _NOT_OF_ONE_FILE:
        raise VolumeError(f"reading the folder failed at {name!r}: {error.strerror}") from error
    notices.add_error(name, error)


def in_order(notices: Iterable[Notice]) -> tuple[Notice, ...]:
    """The notices sorted as the archive is, those that mean loss first.

    A scan that reads ahead tells of what it finds before the files in front of that are read.
    """
    return tuple(sorted(notices, key=lambda it: (not it.means_loss, it.subject.split("/"))))
