"""Whether the file system answers so slowly that many threads gain by asking it side by side."""

import time
from typing import Final

SLOW_CALL_NS: Final = 100_000
"""A call of a local file system takes some microseconds, one of EFS a millisecond or more.

Between them lies what it costs to hand work to another thread and to take it back.
"""
IN_A_ROW: Final = 12
"""A machine that is busy makes calls slow now and then; a network does it every time."""
FIRST_TRIAL: Final = 256
"""Answers that threads got before it is asked again whether they are needed."""
OF_A_TRIAL: Final = 3
"""Answers in a row that have to be slow in each trial; and the last ones before the first."""

_SHARE: Final = 2
"""A file system is only slow if its calls take at least so many times as long as idle ones."""
_IDLE_CALLS: Final = 4
_FIRST_PAUSE: Final = 32
_LONGEST_PAUSE: Final = 1024


def idle_calls(count: int) -> int:
    """Makes calls that no file system answers; how many nanoseconds they took.

    Each gives the interpreter's lock back and takes it again, as every other call does. Where
    another thread keeps it, or a busy machine lets this one wait for a processor, these take as
    long as those of a file system.
    """
    started = time.perf_counter_ns()
    for _ in range(count):
        time.sleep(0)
    return time.perf_counter_ns() - started


class Pace:
    """Judges a file system by how long it takes to answer the caller's own thread.

    On a local disk the threads would only wait for each other: the interpreter's lock is given back
    and taken again in every call. So a walk begins with the caller's own thread.

    The last slow answers count only if calls that ask nobody are quick at that moment: otherwise it
    is the machine that is busy, and more threads would only make it busier. And slow once is not
    slow for good: after FIRST_TRIAL answers that threads got, and then twice as many each time, the
    caller's thread has to find it slow once more.

    Args:
        threads: how many there may be; with one, nothing is ever slow.
        slow_call_ns, in_a_row: when it is slow; SLOW_CALL_NS and IN_A_ROW unless given.
    """

    def __init__(
        self, threads: int, *, slow_call_ns: int | None = None, in_a_row: int | None = None
    ) -> None:
        self._threads = threads
        self._slow_call_ns = SLOW_CALL_NS if slow_call_ns is None else slow_call_ns
        self._needed = IN_A_ROW if in_a_row is None else in_a_row
        self._in_a_row = 0
        self._by_threads = 0
        """Answers that threads got since the last trial."""
        self._until_trial = FIRST_TRIAL
        self._pause = _FIRST_PAUSE
        """Slow answers that do not count after one that came from a busy machine."""
        self._paused = 0

    @property
    def slow(self) -> bool:
        """Whether the next answers should be got by threads."""
        return self._in_a_row >= self._needed and self._threads > 1

    def took(self, nanoseconds: int, calls: int, *, answers: int = 1) -> None:
        """Tells how long so many calls took, one after the other, on the caller's own thread.

        `answers` is how many are counted for that.
        """
        if self.slow:
            return
        if nanoseconds <= calls * self._slow_call_ns:
            self._in_a_row = 0
        elif self._paused:
            self._paused = max(0, self._paused - answers)
        elif self._is_near(answers) and _is_busy(nanoseconds / calls):
            self._in_a_row = 0
            self._paused = self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        else:
            self._in_a_row += answers

    def got_by_threads(self, answers: int) -> None:
        """Tells how many answers threads got, or are about to get."""
        self._by_threads += answers
        if self._by_threads >= self._until_trial:
            self._by_threads = 0
            self._until_trial *= 2
            self._in_a_row = max(0, self._needed - OF_A_TRIAL)

    def _is_near(self, answers: int) -> bool:
        """Whether one of the last answers is due before it counts as slow.

        Only then it is asked whether the machine is busy: on one that is, that takes long.
        """
        return self._in_a_row + answers > self._needed - OF_A_TRIAL


def _is_busy(nanoseconds_a_call: float) -> bool:
    return idle_calls(_IDLE_CALLS) * _SHARE > nanoseconds_a_call * _IDLE_CALLS
