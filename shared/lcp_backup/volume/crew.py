"""Threads that do a writer's jobs, where a file system answers slowly enough to be worth them."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from time import perf_counter_ns
from typing import Final

from lcp_backup.volume.pace import Pace

SLOW_CALL_NS: Final = 350_000
"""A step of a local disk takes about 0.1 ms in all, and threads would only be in each other's way;
over a network each of its calls takes 1 ms or more. Between them lies a disk that has to write."""
SLOW_STEPS: Final = 32
"""How many in a row must be slow: a few may just have waited for a busy disk."""
_CALLS: Final = 6
"""Of a step, about."""


class Crew[Step]:
    """Does jobs, each a few steps in a row, by threads of its own.

    The first jobs are done by who gives them, and so are some later on. Threads do them while the
    file system is slow (`Pace`).

    Args:
        threads: how many jobs are done at once; 1: by who gives them, always.
        work: does a step, on any thread.
    """

    def __init__(self, threads: int, work: Callable[[Step], None]) -> None:
        self._most = threads
        self._work = work
        self._threads: list[threading.Thread] = []
        self._todo: SimpleQueue[Sequence[Step] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[Sequence[Step], BaseException | None]] = SimpleQueue()
        self._stopped = False
        self._pace = Pace(threads, slow_call_ns=SLOW_CALL_NS, in_a_row=SLOW_STEPS)
        self.under_way = 0
        """Jobs that were given and not collected."""

    @property
    def has_threads(self) -> bool:
        """Whether the next job is done by threads."""
        return self._pace.slow

    def give(self, job: Sequence[Step]) -> None:
        """Has a job done; what it raises is raised by `collect`."""
        self.under_way += 1
        if self.has_threads:
            if not self._threads:
                self._start()
            self._pace.got_by_threads(len(job))
            self._todo.put(job)
            return
        with self.timed(len(job)):
            self._do(job)

    @contextmanager
    def timed(self, steps: int) -> Iterator[None]:
        """So many steps are done within the block by who gives the jobs, if threads do none."""
        began = perf_counter_ns()
        yield
        self._pace.took(perf_counter_ns() - began, steps * _CALLS, answers=steps)

    def collect(self, *, wait: bool) -> Sequence[Step] | None:
        """A job that is done, not yet collected; raises what it raised.

        None when there is none: without `wait` so far, with it because none is under way.
        """
        if not self.under_way or (not wait and self._done.empty()):
            return None
        job, error = self._done.get()
        self.under_way -= 1
        if error is not None:
            raise error
        return job

    def stop(self) -> None:
        """Ends all threads; jobs that no thread began are not done. Harmless when called again."""
        self._stopped = True
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _start(self) -> None:
        for number in range(self._most):
            thread = threading.Thread(target=self._run, name=f"write volume {number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _run(self) -> None:
        while (job := self._todo.get()) is not None:
            self._do(job)

    def _do(self, job: Sequence[Step]) -> None:
        error: BaseException | None = None
        try:
            for step in job:
                if self._stopped:
                    break
                self._work(step)
        except BaseException as raised:  # noqa: BLE001 -- raised by `collect`
            error = raised
        self._done.put((job, error))
