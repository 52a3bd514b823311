"""A program for the tests of staging: swaps and recovers, killed before every single step.

`python volume_swap_killed.py <empty folder> <mode>` prints how many kills it tried; it fails with a
sentence when one of them left anything but exactly the old or the new tree. A mode is one of
beside, inside, fresh (no live folder), selection and selection-inside; with `-kept` behind it the
previous content is kept, which then must be there exactly when the new tree is. With `begun-` in
front of it a restore leaves half of the tree, and the next one goes on from there; one that comes
after a kill must bring the new tree, too.
"""

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lcp_backup.volume import mounts, staging, swap
from lcp_backup.volume.begun import Wanted

OLD = {"document_library/1": "old 1", "same": "old", "only old": "x", ".hidden": "h"}
NEW = {"document_library/1": "new 1", "document_library/2": "n", "same": "new", "fresh": "y"}
SELECTED = ("document_library/1", "fresh", "new folder/below")
"""The selection that is restored of NEW_SELECTED: each is the old one or the new one."""
NEW_SELECTED = {"document_library/1": "new 1", "fresh": "y", "new folder/below/1": "z"}
KEPT_SELECTED = {"document_library/1": "old 1"}
LABEL = "label"
NOW = datetime(2026, 11, 20, tzinfo=UTC)
WANTED = Wanted("the new tree", NOW)
STEPS = ("rename", "mkdir", "unlink", "rmdir", "open")


def write_tree(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def tree(folder: Path) -> dict[str, str]:
    paths = (path for path in folder.rglob("*") if not path.is_dir())
    return {str(path.relative_to(folder)): path.read_text() for path in paths}


def kill_before(step: int) -> None:
    """Lets the process kill itself before its step-th change of the file system."""
    left = step

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            reads_only = call is real_open and not args[1] & os.O_CREAT
            if not reads_only:
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
            return call(*args, **kwargs)

        return changed

    real_open = os.open
    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


def in_child(work: Callable[[], object], step: int) -> bool:
    """Whether the work came to its end before the step it was to be killed at."""
    child = os.fork()
    if child == 0:
        kill_before(step)
        work()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status not in (0, signal.SIGKILL):
        sys.exit(f"the work ended with status {status}")
    return status == 0


def restore_in_two(folder: Path) -> None:
    half = dict(list(NEW.items())[:2])
    staged = staging.stage(folder, WANTED)
    if staged.begun is None:
        write_tree(staged.new, half)
        staged.leave(WANTED, NOW, 1)
        staged = staging.stage(folder, WANTED)
        if staged.begun is None or tree(staged.new) != half:
            sys.exit("what was left is not gone on with")
    write_tree(staged.new, NEW)
    staged.swap()
    staged.discard()


def restore(folder: Path, mode: str) -> None:
    if mode.startswith("begun"):
        restore_in_two(folder)
        return
    with staging.stage(folder) as staged:
        is_selection = mode.startswith("selection")
        write_tree(staged.new, NEW_SELECTED if is_selection else NEW)
        if mode.endswith("kept"):
            staged.keep_previous(LABEL)
        if is_selection:
            staged.swap_selection(SELECTED)
        else:
            staged.swap()


def set_up(work: Path, mode: str, number: int) -> Path:
    folder = work / str(number) / "data"
    folder.parent.mkdir()
    if mode != "fresh":
        write_tree(folder, OLD)
        (folder / "empty").mkdir()
    mounts.mount_points = lambda: {folder} if "inside" in mode else set()
    return folder


def judge(folder: Path, mode: str, where: str) -> dict[str, str] | None:
    """The tree that is there; fails when it is neither, or something was left over."""
    leftovers = [str(path) for path in folder.parent.rglob(".lcp-restore*")]
    if leftovers:
        sys.exit(f"{where}: left over: {leftovers}")
    kept = {}
    for path in folder.parent.rglob(f".lcp-kept-*{LABEL}"):
        kept = tree(path)
        # Where the test looks no more: what is kept does not belong to the tree.
        path.rename(folder.parent / "kept")
    found = tree(folder) if folder.exists() else None
    previous = KEPT_SELECTED if mode.startswith("selection") else OLD
    if kept != (previous if mode.endswith("kept") and found != OLD else {}):
        sys.exit(f"{where}: of {found} was kept: {kept}")
    if found not in (OLD, NEW, {**OLD, **NEW_SELECTED}, None):
        sys.exit(f"{where}: neither the old nor the new tree: {found}")
    return found


def main(work: Path, mode: str) -> None:
    before = None if mode == "fresh" else OLD
    is_selection = mode.startswith("selection")
    after = {**OLD, **NEW_SELECTED} if is_selection else NEW
    kills = number = 0
    step = 0
    ended = False
    seen = []
    while not ended:
        again = 0
        recovered = False
        while not recovered:
            folder = set_up(work, mode, number)
            number += 1
            ended = in_child(lambda folder=folder: restore(folder, mode), step)  # type: ignore[misc]
            recovered = in_child(lambda folder=folder: swap.recover(folder), again)  # type: ignore[misc]
            swap.recover(folder)
            found = judge(
                folder, mode, f"{mode}, killed at {step}, then at {again} of the recovery"
            )
            if found is None and before is not None:
                sys.exit(f"{mode}, killed at {step}: the folder is gone")
            if mode.startswith("begun") and not again:
                folder = set_up(work, mode, number)
                number += 1
                in_child(lambda folder=folder: restore(folder, mode), step)  # type: ignore[misc]
                restore(folder, mode)
                if judge(folder, mode, f"{mode}, killed at {step}") != NEW:
                    sys.exit(f"{mode}, killed at {step}: the new tree did not come")
            kills += 1
            again += 1
        seen.append(found)
        step += 1
    if (
        seen != sorted(seen, key=lambda found: found == after)
        or seen[-1] != after
        or seen[0] != before
    ):
        sys.exit(f"{mode}: the old tree came back after the new one had been there")
    print(kills)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
