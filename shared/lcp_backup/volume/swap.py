"""The swap of a staged folder with the live one, and what a killed one leaves behind.

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

*A selection* of a folder is swapped in either place, each path for itself; from the marker on,
which lists the paths, it only goes forward::

    no marker                   unpacking          killed: thrown away
    -> marker selection
    for each path:  <folder>/<path> -> old-selection/<path>,  new/<path> -> <folder>/<path>
    no path left in new/        swapped            killed: old-selection/ is removed

What a restore whose time ended left to the next one has a marker `begun` (`begun.py`), which a
swap takes away first. All but the restore that it is for throw it away.

When the previous content is to be kept, a marker `keep` holds its later name: what would be removed
is renamed to that.

A swap that *fails* is undone at once; one that is *killed* is finished by the next `recover`. In
both cases the folder has all of the old content or all of the new, and never loses either.

What lies there is not trusted: others may write into the live folder. A link is never followed, a
marker that no restore wrote counts for nothing, and what does not let itself be removed is left:
the next restore then takes `.lcp-restore.2-<folder>/` or `<folder>/.lcp-restore.2/`, and so on.
(The number stands in front, because behind the folder's name it might belong to another's.)
"""

import json
import re
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import Self

from lcp_backup.errors import LeaseLost, OutOfTime, VolumeError
from lcp_backup.model import Notice
from lcp_backup.volume import mounts
from lcp_backup.volume.access import SET_IMMUTABLE, is_immutable, lets_in
from lcp_backup.volume.begun import Begun, Wanted, find_begun, write_begun
from lcp_backup.volume.moves import exists, free, is_folder, names_in, put
from lcp_backup.volume.names import printable, quoted
from lcp_backup.volume.outward_links import carry_over
from lcp_backup.volume.places import Places, errors_about, read_marker, resolved, write_marker
from lcp_backup.volume.removal import remove
from lcp_backup.volume.selection_swap import (
    move_selection,
    move_selection_back,
    no_folder_above,
    paths_of,
)
from lcp_backup.volume.whole_swap import move_in, move_out, put_back, swap_entries, swap_folder

_LABEL = re.compile(r"[A-Za-z0-9-]{1,64}")


class StagedVolume:
    """A whole tree that waits beside the live one.

    Leaving its `with` block removes what is not live: without `swap` the staged tree, after it the
    previous content. A caller that must not wait for the removal may leave it to `recover`.
    """

    def __init__(
        self, places: Places, notices: tuple[Notice, ...] = (), begun: Begun | None = None
    ) -> None:
        self._places = places
        self._notices = list(notices)
        self._is_left = False
        self.swapping = False
        """Whether a swap has begun, whatever became of it."""
        self.begun = begun
        """What an earlier restore of the same said of it; None when it was empty at first."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    @property
    def folder(self) -> Path:
        """The live folder, links resolved."""
        return self._places.folder

    @property
    def new(self) -> Path:
        """The staged tree's own folder."""
        return self._places.new

    @property
    def aside(self) -> Path:
        """A place of the same file system for what is not whole yet; goes with the rest."""
        return self._places.aside

    def leave_to(self, run_id: str) -> None:
        """Has other processes of this run find it; raises VolumeError."""
        with errors_about(self._places.folder, "restored"):
            write_marker(self._places.run, run_id)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What could not be removed, moved away or kept so far.

        `leftover-kept`, `file-left-in-place`, `link-not-kept`. Complete after
        `discard`. What an earlier restore had left is among them.
        """
        return tuple(self._notices)

    @property
    def is_as_it_was(self) -> bool:
        """Whether the live folder is what it was, also after a swap that failed."""
        places = self._places
        if any(map(exists, (places.moving_out, places.moving_in, places.selection))):
            return False
        return places.inside or (is_folder(places.new) and not is_folder(places.old))

    def carry_over_links(self, paths: Collection[str] = (), *, check: Callable[[], None]) -> None:
        """Has the live folder's links that lead out of it stay: no backup could bring them back.

        Call it once the tree is whole. `paths` are those that will be swapped, when that is not the
        whole folder. Which cannot stay becomes a notice; raises VolumeError.
        """
        with errors_about(self._places.folder, "restored with its links that lead out of it"):
            self._note(carry_over(self._places.folder, self._places.new, paths, check=check))

    def check_replaceable(self, paths: Collection[str] | None = None) -> None:
        """Makes sure that nothing immovable is in the way of a swap; of these paths only, if given.

        For a caller that swaps something else before. Raises VolumeError, which names it.
        """
        places = self._places
        if paths is None:
            paths = names_in(places.new) if places.inside else ()
        for path in paths:
            live = places.folder / path
            for it in (live, *live.parents):
                if it == places.folder:
                    break
                if is_immutable(it):
                    raise VolumeError(f"{str(it)!r} cannot be replaced: {SET_IMMUTABLE}")

    def swap(self) -> None:
        """Makes the staged tree the live one; the previous content stays until `discard`.

        What cannot be moved out of the way, and is not in the staged tree, stays where it is.

        Raises VolumeError when it cannot; the live folder is then as it was.
        """
        places = self._places
        with errors_about(places.folder, "replaced"):
            self._begin_to_swap()
            if places.inside:
                self._note(swap_entries(places))
            else:
                swap_folder(places)

    def swap_selection(self, paths: Collection[str]) -> None:
        """Puts only these paths in the place of the live ones; all else stays as it is.

        A folder is replaced whole: what was added to it since is gone. Folders above a path that do
        not exist are made, with the owner and mode of the one they are made in.

        Raises VolumeError when it cannot; the live folder is then as it was.
        """
        places = self._places
        for path in paths:
            above = no_folder_above(places.folder, path)
            if above is not None and places.folder.exists():
                # Found out once the marker stands, this would be in the way of `recover` as well.
                # Behind a link, what is restored would lie elsewhere than where it was judged.
                what = "a link" if above.is_symlink() else "a file"
                raise VolumeError(
                    f"{path!r} cannot be restored: {str(above)!r} is {what} in the live folder;"
                    " name that path instead, or move it away"
                )
        with errors_about(places.folder, "replaced where a selection lies"):
            self._begin_to_swap()
            write_marker(places.selection, json.dumps(list(paths)))
            try:
                move_selection(places, paths)
            except OSError:
                move_selection_back(places, paths)
                raise

    def keep_previous(self, label: str) -> Path:
        """Has the previous content kept instead of removed; call it before the swap.

        `label` makes the name unlike any other's. Answers where it will be; raises VolumeError when
        something is there.
        """
        kept = self._places.kept(label)
        with errors_about(self._places.folder, "kept"):
            if exists(kept):
                raise VolumeError(
                    f"{str(kept)!r} exists: the previous content cannot be kept there"
                )
            write_marker(self._places.keep, label)
        return kept

    def leave(self, wanted: Wanted, now: datetime, reached_size: int) -> None:
        """Leaves what is staged for the next restore that wants the same; `discard` does nothing.

        Args:
            now: UTC.
            reached_size: bytes of the files that are unpacked.

        Raises VolumeError. Not to be called once a swap has begun.
        """
        with errors_about(self._places.folder, "left to the next restore"):
            write_begun(self._places, wanted, now, reached_size)
        self._is_left = True

    def leave_as_it_was(self) -> None:
        """Leaves what an earlier restore has begun as that left it; `discard` does nothing."""
        self._is_left = True

    def discard(self, check: Callable[[], None] = lambda: None) -> None:
        """Removes what is not live; harmless when called again.

        What does not let itself be removed becomes a notice, and so does what is left when `check`
        raises OutOfTime or LeaseLost: the site is what it is by then. Raises VolumeError when a
        swap that has begun can be neither finished nor undone.
        """
        if self._is_left:
            return
        with errors_about(self._places.folder, "cleared of a restore's leftovers"):
            self._note(_settle(self._places, check))

    def _begin_to_swap(self) -> None:
        remove(self._places.begun)
        self.swapping = True

    def _note(self, notices: Collection[Notice]) -> None:
        self._notices += [notice for notice in notices if notice not in self._notices]


def recover(
    folder: Path, wanted: Wanted | None = None, check: Callable[[], None] = lambda: None
) -> tuple[Notice, ...]:
    """Finishes or throws away what killed restores left, and what was begun for another restore.

    The folder then has the old content whole, if the swap had not begun, or the new. Nothing else
    of them is there, but for what does not let itself be removed: the notices returned tell it, and
    the next restore works around it.

    Args:
        wanted: what was begun for this is left as it is.
        check: ends a removal by OutOfTime or LeaseLost; a notice tells what is left.

    Raises VolumeError when a swap that has begun can be neither finished nor undone.
    """
    folder = resolved(folder)
    with errors_about(folder, "recovered from an interrupted restore"):
        return tuple(
            notice
            for places in Places.left(folder)
            if wanted is None or find_begun(places, wanted) is None
            for notice in _settle(places, check)
        )


def _settle(places: Places, check: Callable[[], None]) -> list[Notice]:
    """Finishes a swap that had begun, then removes what is not live; tells what could not be.

    Nothing is removed before that: until a swap is finished, the staging folder may hold the only
    copy of the old content.
    """
    notices: list[Notice] = []
    if is_folder(places.staging):
        if not lets_in(places.staging):
            detail = "belongs to somebody else and cannot be opened; remove it"
            return [_leftover(places.staging, detail)]
        for inner in (places.new, places.old, places.old_selection):
            lets_in(inner)
        paths = paths_of(places) if exists(places.selection) else ()
        if paths is None and is_folder(places.old_selection):
            return [_set_aside(places)]
        notices += _finish(places, paths or ())
    notices += _removed(places.staging, check)
    return notices


def _finish(places: Places, paths: Collection[str]) -> list[Notice]:
    notices: list[Notice] = []
    has_new, has_old = is_folder(places.new), is_folder(places.old)
    if places.inside:
        if exists(places.moving_out) and has_old:
            if has_new:
                notices += move_out(places)
            else:
                put_back(places)
        if exists(places.moving_in) and has_new:
            move_in(places)
    elif has_old and has_new:
        put(places.new, places.folder, aside=places.staging)
    move_selection(places, paths)
    if exists(places.keep):
        _keep(places)
    return notices


def _set_aside(places: Places) -> Notice:
    """Keeps what may hold something that was live, and of which nobody knows the place."""
    kept = free(places.kept("unfinished"))
    try:
        places.staging.rename(kept)
    except OSError:
        kept = places.staging
    return _leftover(
        kept,
        "a restore of a selection was interrupted there, and its paths cannot be used any more;"
        " look for what is missing, then remove it",
    )


def _keep(places: Places) -> None:
    """Renames what was live; without a swap there is nothing that was."""
    label = read_marker(places.keep)
    swapped_inside = exists(places.moving_in) or not places.inside
    is_selection = exists(places.selection)
    previous = places.old_selection if is_selection else places.old
    if label is None or not _LABEL.fullmatch(label):
        return
    if is_folder(previous) and (swapped_inside or is_selection):
        previous.rename(free(places.kept(label)))


def _removed(tree: Path, check: Callable[[], None]) -> list[Notice]:
    """Removes a tree; a notice tells what is left of it."""
    mounted = next((it for it in mounts.mount_points() if it == tree or tree in it.parents), None)
    if mounted is not None:
        detail = f"left alone: {str(mounted)!r} is mounted there; unmount it"
        return [_leftover(tree, detail)]
    try:
        remains = remove(tree, check=check)
    except (OutOfTime, LeaseLost):
        detail = "removing it takes longer than this run may; the next restore goes on with that"
        return [_leftover(tree, detail)]
    if remains is not None:
        more = f" and {remains.total - 1} more" if remains.total > 1 else ""
        detail = f"cannot be removed: {remains.reason}, at {quoted(remains.first)}{more}"
    else:
        return []
    return [_leftover(tree, detail)]


def _leftover(path: Path, detail: str) -> Notice:
    return Notice(code="leftover-kept", subject=printable(str(path)), detail=detail)
