"""A database whose rows two workers load side by side against one process with two processors."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Final, NamedTuple

from bench.database import Stored, dump_in, fill, schema_load, server_in_memory
from bench.lines import Line, Measured, ratios
from bench.rounds import in_turns, middle
from lcp_backup.archive.segment import Segment
from lcp_backup.database.accounts import lasting_loader
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.database.shared_load import SharedLoad, SharedLoader
from lcp_backup.jobs.load_by_workers import PORTIONS_OF_WORKER, cut_evenly, grouped

LINES: Final = (NO_LOSS := Line("database loaded by 2 workers, times as fast as by 1", at_least=1),)

_SIZE: Final = 1_000_000_000
_WORKERS: Final = 2
_PORTIONS: Final = PORTIONS_OF_WORKER * _WORKERS
_PROCESSORS: Final = 1
"""Of each worker; it reads with as many threads, and loads over one connection more."""
_RUN: Final = "20261120T000000Z-restore-0000000000000000"


def shared_load(work: Path, rounds: int) -> list[Measured]:
    """Seconds to bring a gigabyte of SQL back on two cores, on which the server is, too.

    The workers are processes that are there already, as functions are. All that is done before and
    after them, by one process, is part of their time.
    """
    with server_in_memory() as endpoint:
        fill(endpoint, _SIZE)
        stored = Stored(work, endpoint)
        with ProcessPoolExecutor(_WORKERS, mp_context=get_context("forkserver")) as workers:
            _by_workers(stored, endpoint, workers)  # started, and the server warm for both
            shared, alone = in_turns(
                rounds, lambda: _by_workers(stored, endpoint, workers), stored.restore
            )
    return [ratios(NO_LOSS, alone, shared, f"{middle('2 workers', shared)}; {middle('1', alone)}")]


def _by_workers(stored: Stored, endpoint: DatabaseEndpoint, workers: ProcessPoolExecutor) -> None:
    whole = schema_load(endpoint, stored.dump())
    load = whole.share_out(_RUN)
    work = _Work(stored.path, stored.segments, endpoint, load)
    sizes = [segment.raw_size for _, segment in load.rows(stored.dump())]
    ends = cut_evenly(sizes, sum(sizes) // _PORTIONS)
    _all(workers, _load, [(work, *it) for it in pairwise((0, *ends))])
    groups = grouped(load.tables, stored.dump(), sum(sizes) // _WORKERS)
    _all(workers, _index, [(work, it) for it in groups])
    whole.complete(load).swap()


def _all(workers: ProcessPoolExecutor, do: object, wanted: Sequence[tuple[object, ...]]) -> None:
    assert callable(do)
    for one in [workers.submit(do, *it) for it in wanted]:
        one.result()


class _Work(NamedTuple):
    """What each worker is told."""

    archive: Path
    segments: Sequence[Segment]
    endpoint: DatabaseEndpoint
    load: SharedLoad


def _load(work: _Work, first: int, end: int) -> None:
    loader = _loader(work)
    assert loader.load_rows(work.load.rows(loader.dump)[first:end], lambda: False)


def _index(work: _Work, tables: Sequence[str]) -> None:
    _loader(work).build_indexes(tables)


def _loader(work: _Work) -> SharedLoader:
    return SharedLoader(
        endpoint=lasting_loader(work.endpoint, None, _RUN),
        load=work.load,
        dump=dump_in(work.archive, work.segments, _PROCESSORS),
        dumped_name=work.endpoint.name,
        connections=_PROCESSORS + 1,
        progress=lambda _: None,
        check=lambda: None,
    )
