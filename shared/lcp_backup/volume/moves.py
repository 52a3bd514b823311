"""The small moves a swap is made of: no link is followed, nothing is laid over something else."""

import itertools
from pathlib import Path

from lcp_backup.volume.names import is_own


def put(new: Path, target: Path, *, aside: Path) -> None:
    """Renames; what a running portal made at the target in between is set aside, not merged."""
    if exists(target):
        target.rename(free(aside / "aside"))
    new.rename(target)


def free(path: Path) -> Path:
    """The path, or one beside it with a number, where nothing is."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(it for it in itertools.chain([path], numbered) if not exists(it))


def exists(path: Path) -> bool:
    """Whether something is there itself: a link that leads nowhere is."""
    return path.exists(follow_symlinks=False)


def is_folder(path: Path) -> bool:
    """Whether it is one itself: a link to one is none."""
    return path.is_dir(follow_symlinks=False)


def live_names(folder: Path) -> list[str]:
    """What a folder holds, but for what is a restore's."""
    return [name for name in names_in(folder) if not is_own(name)]


def names_in(folder: Path) -> list[str]:
    """What a folder holds, sorted."""
    return sorted(path.name for path in folder.iterdir())
