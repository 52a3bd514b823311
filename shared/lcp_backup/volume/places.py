"""Where everything of one folder's restore lies: its staging folder, and the markers in it."""

import errno
import itertools
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lcp_backup.errors import VolumeError
from lcp_backup.volume.names import KEPT_PREFIX, STAGING_NAME

_MOST_MARKER = 16 << 20
"""Bytes; the paths of a selection are fewer."""
_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM}
_NOT_BESIDE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}
_IN_FRONT = rf"{re.escape(STAGING_NAME)}(?:\.(?P<number>[1-9]\d{{0,8}}))?"


@dataclass(frozen=True)
class Places:
    """Where everything of one folder's restore lies."""

    folder: Path
    """The live folder, links resolved."""
    staging: Path
    inside: bool

    @property
    def new(self) -> Path:
        return self.staging / "new"

    @property
    def old(self) -> Path:
        return self.staging / "old"

    @property
    def old_selection(self) -> Path:
        return self.staging / "old-selection"

    @property
    def selection(self) -> Path:
        return self.staging / "selection"

    @property
    def begun(self) -> Path:
        return self.staging / "begun"

    @property
    def keep(self) -> Path:
        return self.staging / "keep"

    @property
    def run(self) -> Path:
        """Whose it is, where several processes unpack."""
        return self.staging / "run"

    @property
    def aside(self) -> Path:
        """What of the new tree is not whole yet, where several processes unpack."""
        return self.staging / "parts"

    def kept(self, label: str) -> Path:
        """Where the previous content is kept."""
        if self.inside:
            return self.folder / f"{KEPT_PREFIX}{label}"
        return self.folder.parent / f"{KEPT_PREFIX}{self.folder.name}-{label}"

    @property
    def moving_out(self) -> Path:
        return self.staging / "moving-out"

    @property
    def moving_in(self) -> Path:
        return self.staging / "moving-in"

    @classmethod
    def beside(cls, folder: Path, number: int = 1) -> Self:
        return cls(folder, folder.parent / f"{_numbered(number)}-{folder.name}", inside=False)

    @classmethod
    def within(cls, folder: Path, number: int = 1) -> Self:
        return cls(folder, folder / _numbered(number), inside=True)

    @classmethod
    def left(cls, folder: Path) -> list[Self]:
        """All that lie there, of an earlier restore."""
        beside = re.compile(_IN_FRONT + "-" + re.escape(folder.name), re.DOTALL)
        return [
            *(cls.beside(folder, number) for number in _numbers(folder.parent, beside)),
            *(cls.within(folder, number) for number in _numbers(folder, re.compile(_IN_FRONT))),
        ]


def made_places(folder: Path, *, mount_point: bool) -> Places:
    """Makes the staging folder, closed to others while it holds half a tree."""
    if not mount_point:
        try:
            return _made(lambda number: Places.beside(folder, number))
        except OSError as error:
            if error.errno not in _NOT_BESIDE or not folder.exists():
                raise
    within = _made(lambda number: Places.within(folder, number))
    within.old.mkdir()
    return within


def resolved(folder: Path) -> Path:
    """The folder itself when LCP_BACKUP_FOLDER is a link to it; raises VolumeError for a file."""
    folder = Path(os.path.realpath(folder))
    if folder.exists() and not folder.is_dir():
        raise VolumeError(f"LCP_BACKUP_FOLDER is {str(folder)!r}, which is not a folder")
    return folder


def write_marker(marker: Path, text: str) -> None:
    """A marker is there whole, or not at all."""
    unfinished = marker.with_suffix(".unfinished")
    with unfinished.open("x") as file:
        file.write(text)
    unfinished.rename(marker)


def read_marker(marker: Path) -> str | None:
    """What a marker holds; None when it is none that a restore wrote."""
    try:
        descriptor = os.open(marker, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_MARKER:
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as file, suppress(UnicodeDecodeError):
        return file.read(_MOST_MARKER).decode()
    return None


@contextmanager
def errors_about(folder: Path, done: str) -> Iterator[None]:
    """Maps what the operating system says to VolumeError."""
    try:
        yield
    except OSError as error:
        raise VolumeError(
            f"the folder {str(folder)!r} cannot be {done}: {error.strerror}"
        ) from error


def _made(places_of: Callable[[int], Places]) -> Places:
    """Makes the first staging folder whose name is free: the ones before did not let us have it."""
    for number in itertools.count(1):
        places = places_of(number)
        with suppress(FileExistsError):
            places.staging.mkdir(mode=0o700)
            return places
    raise AssertionError("there is always another number")


def _numbered(number: int) -> str:
    return STAGING_NAME if number == 1 else f"{STAGING_NAME}.{number}"


def _numbers(parent: Path, pattern: re.Pattern[str]) -> list[int]:
    """The numbers of the names in a folder that match; it may be missing."""
    try:
        with os.scandir(parent) as entries:
            found = [match for entry in entries if (match := pattern.fullmatch(entry.name))]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError:
        # May be entered but not listed: the first name can be tried.
        return [1]
    return sorted(int(match["number"] or 1) for match in found)
