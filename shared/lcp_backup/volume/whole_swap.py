"""The swap of a whole folder: by two renames, or by one for each of its entries.

How it goes on after it was killed is told at the top of `swap.py`.
"""

import errno

from lcp_backup.model import Notice
from lcp_backup.volume.moves import exists, live_names, names_in, put
from lcp_backup.volume.names import printable
from lcp_backup.volume.places import Places
from lcp_backup.volume.removal import remove


def swap_folder(places: Places) -> None:
    """Swaps the folder by its name. Raises OSError; the live folder is then as it was."""
    live = places.folder.exists()
    if live:
        places.folder.rename(places.old)
    try:
        put(places.new, places.folder, aside=places.staging)
    except OSError:
        if live:
            places.old.rename(places.folder)
        raise


def swap_entries(places: Places) -> list[Notice]:
    """Swaps what lies in the folder, each entry for itself; as `swap_folder`, and `move_out`."""
    places.moving_out.touch(exist_ok=False)
    try:
        notices = move_out(places)
        move_in(places)
    except OSError:
        _move_back(places)
        raise
    return notices


def move_out(places: Places) -> list[Notice]:
    """Moves the old entries away; tells what could not be moved and stays, in nobody's way."""
    notices = []
    for name in live_names(places.folder):
        try:
            put(places.folder / name, places.old / name, aside=places.staging)
        except OSError as error:
            if error.errno != errno.EPERM or exists(places.new / name):
                raise
            notices.append(
                Notice(
                    code="file-left-in-place",
                    subject=printable(name),
                    detail=f"not in the backup, and it cannot be moved away ({error.strerror})",
                )
            )
    remove(places.moving_in)  # no restore made it, and a folder would be in the way
    places.moving_out.rename(places.moving_in)
    return notices


def move_in(places: Places) -> None:
    """Moves the new entries to where they shall be."""
    for name in names_in(places.new):
        put(places.new / name, places.folder / name, aside=places.staging)


def _move_back(places: Places) -> None:
    """Undoes a swap of entries from wherever it stopped; killed meanwhile, `recover` finishes."""
    if places.moving_in.exists():
        for name in live_names(places.folder):
            try:
                (places.folder / name).rename(places.new / name)
            except OSError as error:
                if error.errno != errno.EPERM:  # what `move_out` left in place
                    raise
        places.moving_in.rename(places.moving_out)
    put_back(places)
    places.moving_out.unlink()


def put_back(places: Places) -> None:
    """Moves the old entries to where they were, unless something is there."""
    for name in names_in(places.old):
        if not exists(places.folder / name):
            (places.old / name).rename(places.folder / name)
