"""Connections that work on one load side by side, and end together."""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Final, Protocol, Self

from lcp_backup.errors import DatabaseUnreachable

_LOOK_UP_SECONDS: Final = 0.2
"""How often whoever waits for the pool asks whether the run has to stop."""


class PooledConnection(Protocol):
    """A connection that can be in a pool."""

    @property
    def thread_id(self) -> int:
        """The server's number for the connection, by which it can be killed."""
        ...


class ConnectionPool[C: PooledConnection]:
    """Threads with a connection each, that take tasks from one short queue.

    The first failure ends all: it is raised by the next call, and once more never. A connection
    that the server does not give is no failure as long as there is another one: it may have none
    left. Leaving the block by an exception kills what still runs inside the server: an index that
    takes minutes must not hold up a run whose time ends.

    Args:
        size: how many connections. They are opened with the first task.
        connect: opens one; called in its own thread.
        kill: ends one inside the server, by its number.
        check: asked while waiting; raises to stop.
    """

    def __init__(
        self,
        size: int,
        connect: Callable[[], AbstractContextManager[C]],
        kill: Callable[[int], None],
        check: Callable[[], None],
    ) -> None:
        self._size = size
        self._connect = connect
        self._kill = kill
        self._check = check
        self._tasks: deque[Callable[[C], None]] = deque()
        self._busy = 0
        self._alive = size
        """Connections that are there, or are being opened."""
        self._ending = False
        self._failure: BaseException | None = None
        self._connected: set[int] = set()
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        with self._changed:
            self._ending = True
            self._tasks.clear()
            self._changed.notify_all()
            running = list(self._connected) if error is not None else []
        for thread_id in running:
            self._kill(thread_id)
        for thread in self._threads:
            thread.join()

    def put(self, task: Callable[[C], None]) -> None:
        """Hands a task over; blocks while the queue is full. Raises the pool's first failure."""
        self._start()
        self._wait(lambda: len(self._tasks) < self._size)
        with self._changed:
            self._tasks.append(task)
            self._changed.notify_all()

    def drain(self) -> None:
        """Waits until every task is done. Raises the pool's first failure."""
        self._wait(lambda: not self._tasks and not self._busy)

    def _wait(self, ready: Callable[[], bool]) -> None:
        while True:
            self._check()
            with self._changed:
                if self._failure is not None:
                    raise self._failure
                if self._changed.wait_for(lambda: self._failure or ready(), _LOOK_UP_SECONDS):
                    if self._failure is not None:
                        raise self._failure
                    return

    def _start(self) -> None:
        if not self._threads:
            self._threads = [
                threading.Thread(target=self._work, name=f"load {number}", daemon=True)
                for number in range(self._size)
            ]
            for thread in self._threads:
                thread.start()

    def _work(self) -> None:
        try:
            with ExitStack() as connected:
                try:
                    connection = connected.enter_context(self._connect())
                except DatabaseUnreachable:
                    if self._can_do_without():
                        return
                    raise
                with self._changed:
                    self._connected.add(connection.thread_id)
                try:
                    while (task := self._next()) is not None:
                        task(connection)
                        self._done()
                finally:
                    with self._changed:
                        self._connected.discard(connection.thread_id)
        except BaseException as error:  # noqa: BLE001 -- it is raised where the pool is waited for
            with self._changed:
                self._failure = self._failure or error
                self._changed.notify_all()

    def _can_do_without(self) -> bool:
        with self._changed:
            self._alive -= 1
            return self._alive > 0

    def _next(self) -> Callable[[C], None] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._tasks or self._ending or self._failure)
            if self._ending or self._failure is not None:
                return None
            self._busy += 1
            task = self._tasks.popleft()
            self._changed.notify_all()
            return task

    def _done(self) -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()
