"""The place beside the live folder where a restore unpacks, and the swap that makes it live.

There are two ways, chosen by what the file system allows:

*Beside*: `<parent>/.lcp-restore-<folder>/`, when the folder can be renamed. Two renames swap it::

    new/ only                   unpacking          killed: thrown away
    -> rename <folder> -> old/
    old/ and new/               swapping           killed: finished, new/ becomes the folder
    -> rename new/ -> <folder>
    old/ only                   swapped            killed: old/ is removed

(Without a live folder there is no old/: one rename, before it nothing has happened.)

*Inside*: `<folder>/.lcp-restore/`, when the folder is a mount point (EFS at `/mnt/<name>`) or its
parent cannot be written. Its entries are then moved one by one, and a marker says which way::

    no marker                   unpacking          killed: thrown away
    -> marker moving-out
    live entries -> old/        moving out         killed: finished
    -> rename the marker to moving-in
    new/ entries -> <folder>    moving in          killed: finished
    new/ empty                  swapped            killed: old/ and marker are removed

*Parts* of a folder are swapped in either place, each path for itself; from the marker on, which
lists the paths, it only goes forward::

    no marker                   unpacking          killed: thrown away
    -> marker parts
    for each path:  <folder>/<path> -> old-parts/<path>,  new/<path> -> <folder>/<path>
    no path left in new/        swapped            killed: old-parts/ is removed

When the previous content is to be kept, a marker `keep` holds its later name: what would be removed
is renamed to that.

A swap that *fails* is undone at once; one that is *killed* is finished by the next `recover`. In
both cases the folder has all of the old content or all of the new, and never loses either.

What lies there is not trusted: others may write into the live folder. A link is never followed, a
marker that no restore wrote counts for nothing, and what does not let itself be removed is left:
the next restore then takes `.lcp-restore.2-<folder>/` or `<folder>/.lcp-restore.2/`, and so on.
(The number stands in front, because behind the folder's name it might be part of another's name.)
"""

import errno
import fcntl
import itertools
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lcp_backup.errors import InvalidRequest, VolumeError
from lcp_backup.model import Notice
from lcp_backup.volume.descent import open_up
from lcp_backup.volume.names import KEPT_PREFIX, STAGING_NAME, is_own, quoted, shown
from lcp_backup.volume.outward_links import carry_over
from lcp_backup.volume.removal import remove

_MOVING_OUT = "moving-out"
_MOVING_IN = "moving-in"
_PARTS = "parts"
_KEEP = "keep"
_LABEL = re.compile(r"[A-Za-z0-9-]{1,64}")
_MOST_MARKER = 16 << 20
"""Bytes; the paths of a restore of parts are fewer."""
_MOUNTS = Path("/proc/self/mountinfo")
_GET_FLAGS = 0x80086601
_IMMUTABLE = 0x30
"""FS_IOC_GETFLAGS, and FS_IMMUTABLE_FL or FS_APPEND_FL of what it gives (linux/fs.h)."""
_SET_IMMUTABLE = "it is set immutable; remove that with chattr -i -a"
_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM}
_NOT_BESIDE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}
_IN_FRONT = rf"{re.escape(STAGING_NAME)}(?:\.(?P<number>[1-9]\d{{0,8}}))?"


@dataclass(frozen=True)
class _Places:
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
    def old_parts(self) -> Path:
        return self.staging / "old-parts"

    @property
    def parts(self) -> Path:
        return self.staging / _PARTS

    @property
    def keep(self) -> Path:
        return self.staging / _KEEP

    def kept(self, label: str) -> Path:
        """Where the previous content is kept."""
        if self.inside:
            return self.folder / f"{KEPT_PREFIX}{label}"
        return self.folder.parent / f"{KEPT_PREFIX}{self.folder.name}-{label}"

    @property
    def moving_out(self) -> Path:
        return self.staging / _MOVING_OUT

    @property
    def moving_in(self) -> Path:
        return self.staging / _MOVING_IN

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


class StagedVolume:
    """A whole tree that waits beside the live one.

    Leaving its `with` block removes what is not live: without `swap` the staged tree, after it the
    previous content. A caller that must not wait for the removal may leave it to `recover`.
    """

    def __init__(self, places: _Places, notices: tuple[Notice, ...] = ()) -> None:
        self._places = places
        self._notices = list(notices)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    @property
    def new(self) -> Path:
        """The staged tree's own folder."""
        return self._places.new

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What could not be removed, moved away or kept so far.

        `leftover-kept`, `file-left-in-place`, `link-not-kept`. Complete after
        `discard`. What an earlier restore had left is among them.
        """
        return tuple(self._notices)

    def carry_over_links(self, paths: Collection[str] = (), *, check: Callable[[], None]) -> None:
        """Has the live folder's links that lead out of it stay: no backup could bring them back.

        Call it once the tree is whole. `paths` are those that will be swapped, when that is not the
        whole folder. Which cannot stay becomes a notice; raises VolumeError.
        """
        with _errors_about(self._places.folder, "restored with its links that lead out of it"):
            self._note(carry_over(self._places.folder, self._places.new, paths, check=check))

    def check_replaceable(self, paths: Collection[str] | None = None) -> None:
        """Makes sure that nothing immovable is in the way of a swap; of these parts only, if given.

        For a caller that swaps something else before. Raises VolumeError, which names it.
        """
        places = self._places
        if paths is None:
            paths = _names(places.new) if places.inside else ()
        for path in paths:
            live = places.folder / path
            for it in (live, *live.parents):
                if it == places.folder:
                    break
                if _is_immutable(it):
                    raise VolumeError(f"{str(it)!r} cannot be replaced: {_SET_IMMUTABLE}")

    def swap(self) -> None:
        """Makes the staged tree the live one; the previous content stays until `discard`.

        What cannot be moved out of the way, and is not in the staged tree, stays where it is.

        Raises VolumeError when it cannot; the live folder is then as it was.
        """
        places = self._places
        with _errors_about(places.folder, "replaced"):
            if places.inside:
                self._note(_swap_entries(places))
            else:
                _swap_folder(places)

    def swap_parts(self, paths: Collection[str]) -> None:
        """Puts only these paths in the place of the live ones; all else stays as it is.

        A folder is replaced whole: what was added to it since is gone. Folders above a path that do
        not exist are made, with the owner and mode of the one they are made in.

        Raises VolumeError when it cannot; the live folder is then as it was.
        """
        places = self._places
        for path in paths:
            above = _no_folder_above(places.folder, path)
            if above is not None and places.folder.exists():
                # Found out once the marker stands, this would be in the way of `recover` as well.
                # Behind a link, what is restored would lie elsewhere than where it was judged.
                what = "a link" if above.is_symlink() else "a file"
                raise VolumeError(
                    f"{path!r} cannot be restored: {str(above)!r} is {what} in the live folder;"
                    " name that path instead, or move it away"
                )
        with _errors_about(places.folder, "replaced in part"):
            _write(places.parts, json.dumps(list(paths)))
            try:
                _move_parts(places, paths)
            except OSError:
                _move_parts_back(places, paths)
                raise

    def keep_previous(self, label: str) -> Path:
        """Has the previous content kept instead of removed; call it before the swap.

        `label` makes the name unlike any other's. Answers where it will be; raises VolumeError when
        something is there.
        """
        kept = self._places.kept(label)
        with _errors_about(self._places.folder, "kept"):
            if _exists(kept):
                raise VolumeError(
                    f"{str(kept)!r} exists: the previous content cannot be kept there"
                )
            _write(self._places.keep, label)
        return kept

    def discard(self) -> None:
        """Removes what is not live; harmless when called again.

        What does not let itself be removed becomes a notice. Raises VolumeError when a swap that
        has begun can be neither finished nor undone.
        """
        with _errors_about(self._places.folder, "cleared of a restore's leftovers"):
            self._note(_settle(self._places))

    def _note(self, notices: Collection[Notice]) -> None:
        self._notices += [notice for notice in notices if notice not in self._notices]


def recover(folder: Path) -> tuple[Notice, ...]:
    """Finishes or throws away what killed restores left.

    The folder then has the old content whole, if the swap had not begun, or the new. Nothing else
    of them is there, but for what does not let itself be removed: the notices returned tell it, and
    the next restore works around it.

    Raises VolumeError when a swap that has begun can be neither finished nor undone.
    """
    folder = resolved(folder)
    with _errors_about(folder, "recovered from an interrupted restore"):
        return tuple(notice for places in _Places.left(folder) for notice in _settle(places))


def stage(folder: Path) -> StagedVolume:
    """An empty place for a new tree, beside the folder if that can be, inside it if not.

    Makes the folders above a folder that does not exist. What an earlier restore left is recovered
    first. The new tree's own folder has the mode and owner of the live one.

    Raises VolumeError, also when something is mounted below the folder: such a mount would move
    away with the old content.
    """
    folder = resolved(folder)
    notices = recover(folder)
    with _errors_about(folder, "restored"):
        if _is_immutable(folder):
            raise VolumeError(f"the folder {str(folder)!r} cannot be restored: {_SET_IMMUTABLE}")
        mounts = _mount_points()
        if (below := next((m for m in mounts if folder in m.parents), None)) is not None:
            raise VolumeError(
                f"the folder {str(folder)!r} cannot be restored while {str(below)!r} is mounted"
                " below it: set LCP_BACKUP_FOLDER to that mount, or unmount it"
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        places = _made_places(folder, mount_point=folder in mounts)
        places.new.mkdir(mode=0o755)
        if not places.inside and folder.exists():
            live = folder.stat()
            with suppress(PermissionError):  # only root may give a folder away
                os.chown(places.new, live.st_uid, live.st_gid)
            places.new.chmod(live.st_mode & 0o7777)
        return StagedVolume(places, notices)


def check_empty(folder: Path) -> None:
    """Makes sure that a restore into this folder, which need not exist, replaces nothing.

    What a killed restore into it left is recovered first. Raises InvalidRequest, VolumeError.
    """
    if folder.is_dir():
        recover(folder)
    with _errors_about(folder, "read"):
        if _exists(folder) and (not folder.is_dir() or _live_names(folder)):
            raise InvalidRequest(
                f"{str(folder)!r} is not an empty folder: restore into one that is, or that does"
                " not exist"
            )


def check_below(folder: Path, live: Path) -> Path:
    """Makes sure that a restore into another folder stays where the site's own files are.

    That is below the mount that holds the live folder; where nothing but `/` is mounted, below the
    live folder's parent. Links are resolved first; the folder need not exist.

    Args:
        folder: where to restore to.
        live: LCP_BACKUP_FOLDER.

    Returns the folder, links resolved: use this from then on. Raises InvalidRequest, also for the
    live folder itself, for one that holds it, and for a name that is this service's own.
    """
    try:
        asked, live = Path(os.path.realpath(folder)), Path(os.path.realpath(live))
    except ValueError:  # a NUL in it
        raise InvalidRequest(f"{quoted(str(folder))} is no folder's name") from None
    mounts = _mount_points()
    root = next((it for it in (live, *live.parents) if it in mounts), Path("/"))
    if root == Path("/"):
        root = live if live.parent == Path("/") else live.parent
    if root not in asked.parents:
        raise InvalidRequest(
            f"{quoted(str(folder))} does not lie below {str(root)!r}: restore into a folder there,"
            " where the site's files are"
        )
    if asked == live or asked in live.parents:
        raise InvalidRequest(
            f"{quoted(str(folder))} is the live folder or holds it: leave into_folder out, or name"
            " another"
        )
    if any(is_own(part) for part in asked.relative_to(root).parts):
        raise InvalidRequest(f"{quoted(str(folder))} has a name that is this service's own")
    return asked


def resolved(folder: Path) -> Path:
    """The folder itself when LCP_BACKUP_FOLDER is a link to it; raises VolumeError for a file."""
    folder = Path(os.path.realpath(folder))
    if folder.exists() and not folder.is_dir():
        raise VolumeError(f"LCP_BACKUP_FOLDER is {str(folder)!r}, which is not a folder")
    return folder


def _made_places(folder: Path, *, mount_point: bool) -> _Places:
    """Makes the staging folder, closed to others while it holds half a tree."""
    if not mount_point:
        try:
            return _made(lambda number: _Places.beside(folder, number))
        except OSError as error:
            if error.errno not in _NOT_BESIDE or not folder.exists():
                raise
    within = _made(lambda number: _Places.within(folder, number))
    within.old.mkdir()
    return within


def _made(places_of: Callable[[int], _Places]) -> _Places:
    """Makes the first staging folder whose name is free: the ones before did not let us have it."""
    for number in itertools.count(1):
        places = places_of(number)
        with suppress(FileExistsError):
            places.staging.mkdir(mode=0o700)
            return places
    raise AssertionError("there is always another number")


def _settle(places: _Places) -> list[Notice]:
    """Finishes a swap that had begun, then removes what is not live; tells what could not be.

    Nothing is removed before that: until a swap is finished, the staging folder may hold the only
    copy of the old content.
    """
    notices: list[Notice] = []
    if _is_folder(places.staging):
        if not _lets_in(places.staging):
            detail = "belongs to somebody else and cannot be opened; remove it"
            return [_leftover(places.staging, detail)]
        for inner in (places.new, places.old, places.old_parts):
            _lets_in(inner)
        paths = _paths_of(places) if _exists(places.parts) else ()
        if paths is None and _is_folder(places.old_parts):
            return [_set_aside(places)]
        notices += _finish(places, paths or ())
    notices += _removed(places.staging)
    return notices


def _finish(places: _Places, paths: Collection[str]) -> list[Notice]:
    notices: list[Notice] = []
    has_new, has_old = _is_folder(places.new), _is_folder(places.old)
    if places.inside:
        if _exists(places.moving_out) and has_old:
            if has_new:
                notices += _move_out(places)
            else:
                _put_back(places)
        if _exists(places.moving_in) and has_new:
            _move_in(places)
    elif has_old and has_new:
        _put(places.new, places.folder, aside=places.staging)
    _move_parts(places, paths)
    if _exists(places.keep):
        _keep(places)
    return notices


def _set_aside(places: _Places) -> Notice:
    """Keeps what may hold something that was live, and of which nobody knows the place."""
    kept = _free(places.kept("unfinished"))
    try:
        places.staging.rename(kept)
    except OSError:
        kept = places.staging
    return _leftover(
        kept,
        "a restore of parts was interrupted there, and its list of paths cannot be used any more;"
        " look for what is missing, then remove it",
    )


def _keep(places: _Places) -> None:
    """Renames what was live; without a swap there is nothing that was."""
    label = _read(places.keep)
    swapped_inside = _exists(places.moving_in) or not places.inside
    partly = _exists(places.parts)
    previous = places.old_parts if partly else places.old
    if label is None or not _LABEL.fullmatch(label):
        return
    if _is_folder(previous) and (swapped_inside or partly):
        previous.rename(_free(places.kept(label)))


def _free(path: Path) -> Path:
    """The path, or one beside it with a number, where nothing is."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(it for it in itertools.chain([path], numbered) if not _exists(it))


def _paths_of(places: _Places) -> list[str] | None:
    """The paths of a swap of parts that has begun; None when no restore wrote them like that."""
    try:
        paths = json.loads(_read(places.parts) or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(paths, list):
        return None
    for path in paths:
        if not isinstance(path, str) or "\0" in path:
            return None
        parts = path.split("/")
        if not {"", ".", ".."}.isdisjoint(parts) or is_own(parts[0]):
            return None
        for tree in (places.folder, places.new, places.old_parts):
            is_there = _exists(tree)
            if is_there and not (_is_folder(tree) and _no_folder_above(tree, path) is None):
                return None
    return paths


def _move_parts(places: _Places, paths: Collection[str]) -> None:
    for path in paths:
        new, live, old = places.new / path, places.folder / path, places.old_parts / path
        if not _exists(new):
            continue
        if _exists(live) and not _exists(old):
            old.parent.mkdir(parents=True, exist_ok=True)
            live.rename(old)
        _make_above(live, places)
        _put(new, live, aside=places.staging)


def _make_above(path: Path, places: _Places) -> None:
    """Makes the folders above a path, each with the owner and mode of the one it is made in.

    So that a portal which may write there may write here too. Each appears by a rename, as it
    shall be, because a restore killed between making and giving away would not come back to it.
    """
    missing = [it for it in path.parents if not it.exists()]
    for folder in reversed(missing):
        unfinished = places.staging / "above"
        remove(unfinished)
        unfinished.mkdir()
        like = folder.parent.stat()
        with suppress(PermissionError):  # only root may give a folder away
            os.chown(unfinished, like.st_uid, like.st_gid)
        unfinished.chmod(like.st_mode & 0o7777)
        unfinished.rename(folder)


def _no_folder_above(folder: Path, path: str) -> Path | None:
    """The first on the way from a folder to a path in it that is there and no folder, if any."""
    at = folder
    for part in path.split("/")[:-1]:
        at /= part
        if not _exists(at):
            return None
        if not _is_folder(at):
            return at
    return None


def _move_parts_back(places: _Places, paths: Collection[str]) -> None:
    """Undoes a swap of parts from wherever it stopped; killed meanwhile, `recover` finishes."""
    for path in paths:
        new, live, old = places.new / path, places.folder / path, places.old_parts / path
        if not _exists(new) and _exists(live):
            live.rename(new)
        if _exists(old):
            _put(old, live, aside=places.staging)
    places.parts.unlink()


def _write(marker: Path, text: str) -> None:
    """A marker is there whole, or not at all."""
    unfinished = marker.with_suffix(".unfinished")
    with unfinished.open("x") as file:
        file.write(text)
    unfinished.rename(marker)


def _swap_folder(places: _Places) -> None:
    live = places.folder.exists()
    if live:
        places.folder.rename(places.old)
    try:
        _put(places.new, places.folder, aside=places.staging)
    except OSError:
        if live:
            places.old.rename(places.folder)
        raise


def _swap_entries(places: _Places) -> list[Notice]:
    places.moving_out.touch(exist_ok=False)
    try:
        notices = _move_out(places)
        _move_in(places)
    except OSError:
        _move_back(places)
        raise
    return notices


def _move_out(places: _Places) -> list[Notice]:
    """Tells what could not be moved and stays: it is in nobody's way."""
    notices = []
    for name in _live_names(places.folder):
        try:
            _put(places.folder / name, places.old / name, aside=places.staging)
        except OSError as error:
            if error.errno != errno.EPERM or _exists(places.new / name):
                raise
            notices.append(
                Notice(
                    code="file-left-in-place",
                    subject=shown(name),
                    detail=f"not in the backup, and it cannot be moved away ({error.strerror})",
                )
            )
    remove(places.moving_in)  # no restore made it, and a folder would be in the way
    places.moving_out.rename(places.moving_in)
    return notices


def _move_in(places: _Places) -> None:
    for name in _names(places.new):
        _put(places.new / name, places.folder / name, aside=places.staging)


def _move_back(places: _Places) -> None:
    """Undoes a swap of entries from wherever it stopped; killed meanwhile, `recover` finishes."""
    if places.moving_in.exists():
        for name in _live_names(places.folder):
            try:
                (places.folder / name).rename(places.new / name)
            except OSError as error:
                if error.errno != errno.EPERM:  # what `_move_out` left in place
                    raise
        places.moving_in.rename(places.moving_out)
    _put_back(places)
    places.moving_out.unlink()


def _put_back(places: _Places) -> None:
    """Moves the old entries to where they were, unless something is there."""
    for name in _names(places.old):
        if not _exists(places.folder / name):
            (places.old / name).rename(places.folder / name)


def _put(new: Path, target: Path, *, aside: Path) -> None:
    """Renames; what a running portal made at the target in between is set aside, not merged."""
    if _exists(target):
        target.rename(_free(aside / "aside"))
    new.rename(target)


def _exists(path: Path) -> bool:
    return path.exists(follow_symlinks=False)


def _is_folder(path: Path) -> bool:
    """Whether it is one itself: a link to one is none."""
    return path.is_dir(follow_symlinks=False)


def _lets_in(folder: Path) -> bool:
    """Whether a folder can be listed and written; opened up first where its mode is in the way."""
    if _may_do_all(folder):
        return True
    with suppress(OSError):
        parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            open_up(folder.name, parent)
        finally:
            os.close(parent)
    return _may_do_all(folder)


def _may_do_all(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True, follow_symlinks=False)


def _is_immutable(path: Path) -> bool:
    """Whether not even root may rename it or write into it (`chattr +i`, `+a`)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        flags = fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8))
    except OSError:
        return False  # a file system that knows of no such thing
    finally:
        os.close(descriptor)
    return bool(int.from_bytes(flags[:4], sys.byteorder) & _IMMUTABLE)


def _read(marker: Path) -> str | None:
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


def _live_names(folder: Path) -> list[str]:
    return [name for name in _names(folder) if not is_own(name)]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _removed(tree: Path) -> list[Notice]:
    """Removes a tree; a notice tells what is left of it."""
    mounted = next((it for it in _mount_points() if it == tree or tree in it.parents), None)
    if mounted is not None:
        detail = f"left alone: {str(mounted)!r} is mounted there; unmount it"
    elif (remains := remove(tree)) is not None:
        more = f" and {remains.total - 1} more" if remains.total > 1 else ""
        detail = f"cannot be removed: {remains.reason}, at {quoted(remains.first)}{more}"
    else:
        return []
    return [_leftover(tree, detail)]


def _leftover(path: Path, detail: str) -> Notice:
    return Notice(code="leftover-kept", subject=shown(str(path)), detail=detail)


def _mount_points() -> set[Path]:
    """Where something is mounted; the kernel's list, because a bind mount has no other sign."""
    if not _MOUNTS.exists():
        return set()
    lines = _MOUNTS.read_bytes().splitlines()
    return {Path(os.fsdecode(_unescaped(line.split(b" ")[4]))) for line in lines}


def _unescaped(field: bytes) -> bytes:
    """Spaces, tabs, line ends and backslashes come as three octal digits (proc(5))."""
    for character in b" \t\n\\":
        field = field.replace(b"\\%03o" % character, bytes([character]))
    return field


@contextmanager
def _errors_about(folder: Path, done: str) -> Iterator[None]:
    """Maps what the operating system says to VolumeError."""
    try:
        yield
    except OSError as error:
        raise VolumeError(
            f"the folder {str(folder)!r} cannot be {done}: {error.strerror}"
        ) from error
