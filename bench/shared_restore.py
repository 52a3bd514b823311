"""A volume that two workers unpack side by side against one process with two processors."""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final, NamedTuple

from bench.folder import make_folder, remove
from bench.lines import Line, Measured, ratios
from bench.rounds import in_turns, middle
from bench.sinks import FileSource
from bench.stored_volume import StoredVolumes, opened, stored_backup
from lcp_backup.jobs.portion_slices import reading
from lcp_backup.model import Manifest
from lcp_backup.volume.portions import portioned
from lcp_backup.volume.shared_tree import SharedTree
from lcp_backup.volume.slices import Block, read_slice, write_slices
from lcp_backup.volume.staging import stage

LINES: Final = (NO_LOSS := Line("volume unpacked by 2 workers, times as fast as by 1", at_least=1),)

_FILES: Final = 2345
_BYTES: Final = 503_000_000
_WORKERS: Final = 2
_NOTHING: Final[Callable[..., None]] = lambda *_: None  # noqa: E731 -- a default that has a type


def shared_restore(work: Path, rounds: int) -> list[Measured]:
    """Seconds to restore half a gigabyte of documents on two cores, from archives on the disk.

    The workers are processes that are there already, as functions are. What is done before and
    after them, the plan and the folders' attributes and the swap, is part of their time.
    """
    stored = StoredVolumes(work / "site", work / "stored")
    make_folder(stored.folder, files=_FILES, size=_BYTES)
    backup = stored.create(whole=True)
    targets = iter(range(2 * rounds + 2))

    def target() -> Path:
        folder = work / f"restored-{next(targets)}"
        folder.mkdir()
        return folder

    with ProcessPoolExecutor(_WORKERS, mp_context=get_context("forkserver")) as workers:
        _by_workers(stored, backup, target(), workers)  # started, and the page cache warm for both
        shared, alone = in_turns(
            rounds,
            lambda: _by_workers(stored, backup, target(), workers),
            lambda: stored.restore(backup, target()),
            before=os.sync,
        )
    remove(work)
    return [ratios(NO_LOSS, alone, shared, f"{middle('2 workers', shared)}; {middle('1', alone)}")]


def _by_workers(
    stored: StoredVolumes, backup: Manifest, target: Path, workers: ProcessPoolExecutor
) -> None:
    left = target.with_name(f"{target.name}-slices")
    left.mkdir()
    with opened(stored.root, backup) as volume, stage(target) as staged:
        cut = portioned(volume.members(), _WORKERS)
        last_blocks = write_slices(
            cut,
            volume.members(),
            volume.all_segments,
            volume.archives,
            lambda number, body: _keep(left / str(number), body),
        )
        work = _Work(stored.root, backup, left, staged.new, staged.aside)
        for one in [
            workers.submit(_unpack, work, portion.first, last)
            for portion, last in zip(cut.portions, last_blocks, strict=True)
        ]:
            one.result()
        _tree(work).settle(volume.members, cut.most)
        staged.swap()


class _Work(NamedTuple):
    """What each worker is told."""

    stored: Path
    backup: Manifest
    left: Path
    """Where the slices of the index lie."""
    new: Path
    aside: Path


def _keep(path: Path, body: bytes) -> None:
    path.write_bytes(body)


def _unpack(work: _Work, first: int, last: Block) -> None:
    def read(block: Block) -> bytes:
        return FileSource(work.left / str(block.object)).read(block.offset, block.size)

    own = read_slice(last, read, "a slice")
    # (Of two processors each has one: so many threads inflate as in a function that has one.)
    segments = reading(stored_backup(work.stored, work.backup, threads=1), own)
    assert _tree(work).unpack(own, first, segments, lambda: False) is None


def _tree(work: _Work) -> SharedTree:
    return SharedTree(work.new, work.aside, threads=1, progress=_NOTHING, check=_NOTHING)
