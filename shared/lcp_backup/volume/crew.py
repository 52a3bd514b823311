"""Threads that do a writer's jobs, where a file system answers slowly enough to be worth them."""

import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Final

QUICK: Final = 0.0005
"""Seconds for a step. A local disk takes about 0.1 ms, and threads would only be in each other's
way; over a network every call takes 1 ms or more."""


class Crew[Step]:
    """Does jobs, each a few steps in a row, by threads of its own.

    The first jobs are done by who gives them. Threads are started once a job was slow.

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
        self.under_way = 0
        """Jobs that were given and not collected."""

    def give(self, job: Sequence[Step]) -> None:
        """Has a job done; what it raises is raised by `collect`."""
        self.under_way += 1
        if self._threads:
            self._todo.put(job)
            return
        begin = time.monotonic()
        self._do(job)
        if self._most > 1 and time.monotonic() - begin >= QUICK * len(job):
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
