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
"""

import errno
import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lcp_backup.errors import InvalidRequest, VolumeError
from lcp_backup.volume.names import KEPT_PREFIX, STAGING_NAME, is_own

_MOVING_OUT = "moving-out"
_MOVING_IN = "moving-in"
_PARTS = "parts"
_KEEP = "keep"
_MOUNTS = Path("/proc/self/mountinfo")


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
    def beside(cls, folder: Path) -> Self:
        return cls(folder, folder.parent / f"{STAGING_NAME}-{folder.name}", inside=False)

    @classmethod
    def within(cls, folder: Path) -> Self:
        return cls(folder, folder / STAGING_NAME, inside=True)


class StagedVolume:
    """A whole tree that waits beside the live one.

    Leaving its `with` block removes what is not live: without `swap` the staged tree, after it the
    previous content. A caller that must not wait for the removal may leave it to `recover`.
    """

    def __init__(self, places: _Places) -> None:
        self._places = places

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    @property
    def new(self) -> Path:
        """The staged tree's own folder."""
        return self._places.new

    def swap(self) -> None:
        """Makes the staged tree the live one; the previous content stays until `discard`.

        Raises VolumeError when it cannot; the live folder is then as it was.
        """
        places = self._places
        with _errors_about(places.folder, "replaced"):
            if places.inside:
                _swap_entries(places)
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
            above = Path(os.path.realpath((places.folder / path).parent))
            if above != places.folder and places.folder not in above.parents:
                raise VolumeError(f"{path!r} leads out of the folder {str(places.folder)!r}")
            if places.folder.exists() and not _there(above).is_dir():
                # Found out once the marker stands, this would be in the way of `recover` as well.
                raise VolumeError(
                    f"{path!r} cannot be restored: {str(_there(above))!r} is a file in the live"
                    " folder; name that path instead, or move it away"
                )
        with _errors_about(places.folder, "replaced in part"):
            _write(places.parts, json.dumps(list(paths)))
            try:
                _move_parts(places)
            except OSError:
                _move_parts_back(places)
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
        """Removes what is not live; harmless when called again. Raises VolumeError."""
        with _errors_about(self._places.folder, "cleared of a restore's leftovers"):
            _settle(self._places)


def recover(folder: Path) -> None:
    """Finishes or throws away what a killed restore left; afterwards nothing of it is there.

    The folder then has the old content whole, if the swap had not begun, or the new.

    Raises VolumeError.
    """
    folder = resolved(folder)
    with _errors_about(folder, "recovered from an interrupted restore"):
        _settle(_Places.beside(folder))
        _settle(_Places.within(folder))


def stage(folder: Path) -> StagedVolume:
    """An empty place for a new tree, beside the folder if that can be, inside it if not.

    Makes the folders above a folder that does not exist. What an earlier restore left is recovered
    first. The new tree's own folder has the mode and owner of the live one.

    Raises VolumeError, also when something is mounted below the folder: such a mount would move
    away with the old content.
    """
    folder = resolved(folder)
    recover(folder)
    with _errors_about(folder, "restored"):
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
        return StagedVolume(places)


def check_empty(folder: Path) -> None:
    """Makes sure that a restore into this folder, which need not exist, replaces nothing.

    What a killed restore into it left is recovered first. Raises InvalidRequest, VolumeError.
    """
    if folder.is_dir():
        recover(folder)
    with _errors_about(folder, "read"):
        if _exists(folder) and (not folder.is_dir() or _names(folder)):
            raise InvalidRequest(
                f"{str(folder)!r} is not an empty folder: restore into one that is, or that does"
                " not exist"
            )


def resolved(folder: Path) -> Path:
    """The folder itself when LCP_BACKUP_FOLDER is a link to it; raises VolumeError for a file."""
    folder = Path(os.path.realpath(folder))
    if folder.exists() and not folder.is_dir():
        raise VolumeError(f"LCP_BACKUP_FOLDER is {str(folder)!r}, which is not a folder")
    return folder


def _made_places(folder: Path, *, mount_point: bool) -> _Places:
    """Makes the staging folder, closed to others while it holds half a tree."""
    if not mount_point:
        beside = _Places.beside(folder)
        try:
            beside.staging.mkdir(mode=0o700)
        except OSError as error:
            not_ours = error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}
            if not not_ours or not folder.exists():
                raise
        else:
            return beside
    within = _Places.within(folder)
    within.staging.mkdir(mode=0o700)
    within.old.mkdir()
    return within


def _settle(places: _Places) -> None:
    """Finishes a swap that had begun, then removes what is not live.

    Nothing is removed before that: until a swap is finished, the staging folder may hold the only
    copy of the old content.
    """
    if places.inside:
        if places.moving_out.exists():
            _move_out(places)
        if places.moving_in.exists() and places.new.exists():
            _move_in(places)
    elif places.old.exists() and places.new.exists():
        _put(places.new, places.folder, aside=places.staging)
    if places.parts.exists():
        _move_parts(places)
    if places.keep.exists():
        _keep(places)
    _remove(places.staging)


def _keep(places: _Places) -> None:
    """Renames what was live; without a swap there is nothing that was."""
    swapped_inside = places.moving_in.exists() or not places.inside
    previous = places.old_parts if places.parts.exists() else places.old
    if previous.exists() and (swapped_inside or places.parts.exists()):
        previous.rename(places.kept(places.keep.read_text()))


def _move_parts(places: _Places) -> None:
    for path in json.loads(places.parts.read_text()):
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
        unfinished.mkdir(exist_ok=True)
        like = folder.parent.stat()
        with suppress(PermissionError):  # only root may give a folder away
            os.chown(unfinished, like.st_uid, like.st_gid)
        unfinished.chmod(like.st_mode & 0o7777)
        unfinished.rename(folder)


def _there(path: Path) -> Path:
    """The path, or the first above it that exists."""
    return next(it for it in (path, *path.parents) if _exists(it))


def _move_parts_back(places: _Places) -> None:
    """Undoes a swap of parts from wherever it stopped; killed meanwhile, `recover` finishes."""
    for path in json.loads(places.parts.read_text()):
        new, live, old = places.new / path, places.folder / path, places.old_parts / path
        if not _exists(new) and _exists(live):
            live.rename(new)
        if _exists(old):
            _put(old, live, aside=places.staging)
    places.parts.unlink()


def _write(marker: Path, text: str) -> None:
    """A marker is there whole, or not at all."""
    unfinished = marker.with_suffix(".unfinished")
    unfinished.write_text(text)
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


def _swap_entries(places: _Places) -> None:
    places.moving_out.touch(exist_ok=False)
    try:
        _move_out(places)
        _move_in(places)
    except OSError:
        _move_back(places)
        raise


def _move_out(places: _Places) -> None:
    for name in _live_names(places):
        _put(places.folder / name, places.old / name, aside=places.staging)
    places.moving_out.rename(places.moving_in)


def _move_in(places: _Places) -> None:
    for name in _names(places.new):
        _put(places.new / name, places.folder / name, aside=places.staging)


def _move_back(places: _Places) -> None:
    """Undoes a swap of entries from wherever it stopped; killed meanwhile, `recover` finishes."""
    if places.moving_in.exists():
        for name in _live_names(places):
            (places.folder / name).rename(places.new / name)
        places.moving_in.rename(places.moving_out)
    for name in _names(places.old):
        (places.old / name).rename(places.folder / name)
    places.moving_out.unlink()


def _put(new: Path, target: Path, *, aside: Path) -> None:
    """Renames; what a running portal made at the target in between is set aside, not merged."""
    if _exists(target):
        number = sum(name.startswith("aside") for name in _names(aside))
        target.rename(aside / f"aside-{number}")
    new.rename(target)


def _exists(path: Path) -> bool:
    return path.exists(follow_symlinks=False)


def _live_names(places: _Places) -> list[str]:
    return [name for name in _names(places.folder) if not is_own(name)]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _remove(tree: Path) -> None:
    if not tree.exists():
        return
    try:
        shutil.rmtree(tree)
    except PermissionError:
        # Without being root, a folder that may not be written must be opened up to be emptied.
        tree.chmod(0o700)
        for parent, folders, _ in os.walk(tree):
            for inner in (Path(parent, name) for name in folders):
                if not inner.is_symlink():
                    inner.chmod(0o700)
        shutil.rmtree(tree)


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
