"""Whether the file system answers so slowly that many threads gain by asking it side by side."""

from typing import Final

SLOW_CALL_NS: Final = 100_000
"""A call of a local file system takes some microseconds, one of EFS a millisecond or more.

Between them lies what it costs to hand work to another thread and to take it back.
"""
_MEMORY: Final = 16


class Pace:
    """Judges a file system by its latest calls; slow once is slow for good.

    On a local disk the threads would only wait for each other: the interpreter's lock is given back
    and taken again in every call. So a walk begins with the caller's own thread.

    Args:
        threads: how many there may be; with one, nothing is ever slow.
    """

    def __init__(self, threads: int) -> None:
        self._never = threads == 1
        self._mean = 0.0
        self.slow = not self._never and SLOW_CALL_NS < 0

    def took(self, nanoseconds: int, calls: int) -> None:
        """Tells how long so many calls took."""
        # Capped, so that a single hiccup does not decide.
        call = min(nanoseconds / calls, 4 * SLOW_CALL_NS)
        self._mean += (call - self._mean) / _MEMORY
        if self._mean > SLOW_CALL_NS and not self._never:
            self.slow = True
