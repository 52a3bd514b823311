"""The swap of a selection of a folder: each path for itself, behind a marker that lists them all.

How it goes on after it was killed is told at the top of `swap.py`.
"""

import json
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from lcp_backup.volume.moves import exists, is_folder, put
from lcp_backup.volume.names import is_own
from lcp_backup.volume.places import Places, read_marker
from lcp_backup.volume.removal import remove


def paths_of(places: Places) -> list[str] | None:
    """The paths of a selection whose swap has begun; None when no restore wrote them like that."""
    try:
        paths = json.loads(read_marker(places.selection) or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(paths, list):
        return None
    for path in paths:
        if not isinstance(path, str) or "\0" in path:
            return None
        components = path.split("/")
        if not {"", ".", ".."}.isdisjoint(components) or is_own(components[0]):
            return None
        for tree in (places.folder, places.new, places.old_selection):
            is_there = exists(tree)
            if is_there and not (is_folder(tree) and no_folder_above(tree, path) is None):
                return None
    return paths


def move_selection(places: Places, paths: Collection[str]) -> None:
    """Swaps what is left to be swapped of these paths."""
    for path in paths:
        new, live, old = places.new / path, places.folder / path, places.old_selection / path
        if not exists(new):
            continue
        if exists(live) and not exists(old):
            old.parent.mkdir(parents=True, exist_ok=True)
            live.rename(old)
        _make_above(live, places)
        put(new, live, aside=places.staging)


def move_selection_back(places: Places, paths: Collection[str]) -> None:
    """Undoes that from wherever it stopped; killed meanwhile, `recover` finishes."""
    for path in paths:
        new, live, old = places.new / path, places.folder / path, places.old_selection / path
        if not exists(new) and exists(live):
            live.rename(new)
        if exists(old):
            put(old, live, aside=places.staging)
    places.selection.unlink()


def no_folder_above(folder: Path, path: str) -> Path | None:
    """The first on the way from a folder to a path in it that is there and no folder, if any."""
    at = folder
    for component in path.split("/")[:-1]:
        at /= component
        if not exists(at):
            return None
        if not is_folder(at):
            return at
    return None


def _make_above(path: Path, places: Places) -> None:
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
