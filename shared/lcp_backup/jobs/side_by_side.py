"""Database and volume at work at once, and stopped together."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

type Check = Callable[[], None]
"""Called often by a job's workers; what it raises ends them."""


class _StoppedError(Exception):
    """The other side failed; never leaves this module."""


def side_by_side[D, V](
    database: Callable[[Check], D], volume: Callable[[Check], V], check: Check
) -> tuple[D, V]:
    """Runs both at once and answers both results.

    When one fails, the other meets an exception at its next check, and the first failure is raised
    once both have ended: nothing goes on behind the caller's back. So it is where a signal ends the
    wait for them.
    """
    failed = threading.Event()
    failures: list[BaseException] = []

    def checked() -> None:
        if failed.is_set():
            raise _StoppedError
        check()

    def watched[T](work: Callable[[Check], T]) -> T:
        try:
            return work(checked)
        except BaseException as error:
            failures.append(error)
            failed.set()
            raise

    with ThreadPoolExecutor(2, thread_name_prefix="side") as pool:
        try:
            sides = pool.submit(watched, database), pool.submit(watched, volume)
            for side in sides:
                side.exception()  # waits until it has ended
        except BaseException:
            failed.set()  # by a signal; leaving the pool waits for both to end
            raise
    if failures:
        raise failures[0]
    return sides[0].result(), sides[1].result()
