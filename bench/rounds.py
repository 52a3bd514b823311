"""How a timing is taken: several rounds, the rivals one after the other in each."""

import shutil
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

ROUNDS: Final = 3
"""Unless the command line says: with these, `make bench` takes less than half an hour."""


class ProgramMissing(Exception):
    """A rival is not installed; the message says which."""


def need(*programs: str) -> None:
    """Raises ProgramMissing, which names every program that is not there."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        raise ProgramMissing(f"install these first: {' '.join(missing)}")


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turns(
    rounds: int, *works: Callable[[], object], before: Callable[[], object] = lambda: None
) -> list[tuple[float, ...]]:
    """Seconds of each of the works, by round; without those of `before`, called before each work.

    Every round does each of them once, so that a busy machine slows all alike: what is compared
    ran within the same minute.
    """

    def timed(work: Callable[[], object]) -> float:
        before()
        return seconds(work)

    taken = [tuple(timed(work) for work in works) for _ in range(rounds)]
    return list(zip(*taken, strict=True))


def middle(name: str, taken: Sequence[float]) -> str:
    """A work's median seconds, for a line's detail."""
    return f"{name}: {median(taken):.2f} s"
