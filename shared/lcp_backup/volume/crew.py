"""Threads that do a writer's jobs, where a file system answers slowly enough to be worth them."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Final

QUICK: Final = 0.002
"""Seconds for a step. A local disk takes about 0.1 ms, and threads would only be in each other's
way; over a network each of its calls takes 1 ms or more, and it has about six."""
SLOW_STEPS: Final = 32
"""How many in a row must be slow: a few may just have waited for a busy processor or disk."""


class Crew[Step]:
    """Does jobs, each a few steps in a row, by threads of its own.

    The first jobs are done by who gives them. Threads are started once some in a row were slow.

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
        self._slow_steps = 0
        self.under_way = 0
        """Jobs that were given and not collected."""

    @property
    def has_threads(self) -> bool:
        """Whether jobs are done by threads by now."""
        return bool(self._threads)

    def give(self, job: Sequence[Step]) -> None:
        """Has a job done; what it raises is raised by `collect`."""
        self.under_way += 1
        if self.has_threads:
            self._todo.put(job)
            return
        with self.timed(len(job)):
            self._do(job)

    @contextmanager
    def timed(self, steps: int) -> Iterator[None]:
        """So many steps are done within the block by who gives the jobs, if there are no threads.

        Those are started behind it when it shows that they are worth it.
        """
        begin = time.monotonic()
        yield
        is_slow = time.monotonic() - begin >= QUICK * steps
        self._slow_steps = self._slow_steps + steps if is_slow else 0
        if self._most > 1 and self._slow_steps >= SLOW_STEPS and not self._threads:
            self._start()

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
