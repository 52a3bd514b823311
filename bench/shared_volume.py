"""A volume that two workers pack side by side against one process with two threads."""

import os
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Final

from bench.folder import make_folder
from bench.lines import Line, Measured, ratios
from bench.rounds import in_turns, middle
from bench.sinks import DiscardingSink
from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.exclusion import PathPatterns
from lcp_backup.volume.pack import pack
from lcp_backup.volume.share import Boundary, pack_share
from lcp_backup.volume.shares import survey

LINES: Final = (
    NO_LOSS := Line("volume by 2 workers, times as fast as by 1 with 2 threads", at_least=1),
)

_FILES: Final = 2345
_BYTES: Final = 503_000_000
_WORKERS: Final = 2
_ALL: Final = PathPatterns(())


def shared_volume(work: Path, rounds: int) -> list[Measured]:
    """Seconds to pack half a gigabyte of documents on two cores, page cache warm.

    The workers are processes that are there already, as functions are: what is measured is that
    nothing is lost by sharing out. The plan is part of their time.
    """
    folder = work / "folder"
    make_folder(folder, files=_FILES, size=_BYTES)
    with ProcessPoolExecutor(_WORKERS, mp_context=get_context("forkserver")) as workers:
        _shared(folder, workers)  # the page cache warm for both, and the workers started
        shared, alone = in_turns(rounds, lambda: _shared(folder, workers), lambda: _alone(folder))
    speed = f"{_BYTES / median(shared) / 1e6:.0f} MB/s"
    detail = f"{middle('2 workers', shared)}, {speed}; {middle('1 with 2 threads', alone)}"
    return [ratios(NO_LOSS, alone, shared, detail)]


def _writer(threads: int) -> ArchiveWriter:
    return ArchiveWriter(
        DiscardingSink(),
        DiscardingSink(),
        name="volume.tgz",
        index_name="volume.index",
        threads=threads,
    )


def _alone(folder: Path) -> None:
    with _writer(_WORKERS) as writer:
        pack(
            folder,
            writer,
            began=datetime.now(UTC),
            progress=lambda _: None,
            check=lambda: None,
        )
        writer.finish()


def _shared(folder: Path, workers: ProcessPoolExecutor) -> None:
    looked_through = survey(
        folder,
        None,
        None,
        leave_out=_ALL,
        began=datetime.now(UTC),
        threads=1,
        check=lambda: None,
        is_over=lambda: False,
    )
    shares = looked_through.shares(most=_WORKERS, least_size=1)
    ends = (None, *shares.boundaries, None)
    packing = [
        workers.submit(_pack, os.fspath(folder), start, end) for start, end in pairwise(ends)
    ]
    for one in packing:
        one.result()


def _pack(folder: str, start: Boundary | None, end: Boundary | None) -> None:
    with _writer(threads=1) as writer:
        pack_share(
            Path(folder),
            writer,
            start=start,
            end=end,
            base=None,
            leave_out=_ALL,
            began=datetime.now(UTC),
            threads=1,
            progress=lambda _: None,
            check=lambda: None,
            is_over=lambda: False,
        )
        writer.finish()
