"""Whether the file system answers so slowly that many threads gain by asking it side by side."""

from typing import Final

SLOW_CALL_NS: Final = 100_000
"""A call of a local file system takes some microseconds, one of EFS a millisecond or more.

Between them lies what it costs to hand work to another thread and to take it back.
"""
IN_A_ROW: Final = 12
"""A machine that is busy makes calls slow now and then; a network does it every time."""


class Pace:
    """Judges a file system by how long it takes to answer; slow once is slow for good.

    On a local disk the threads would only wait for each other: the interpreter's lock is given back
    and taken again in every call. So a walk begins with the caller's own thread.

    Args:
        threads: how many there may be; with one, nothing is ever slow.
    """

    def __init__(self, threads: int) -> None:
        self._in_a_row = 0
        self._threads = threads

    @property
    def slow(self) -> bool:
        return self._in_a_row >= IN_A_ROW and self._threads > 1

    def took(self, nanoseconds: int, calls: int) -> None:
        """Tells how long so many calls took, one after the other."""
        if self._in_a_row < IN_A_ROW:
            self._in_a_row = self._in_a_row + 1 if nanoseconds > calls * SLOW_CALL_NS else 0
