"""What a benchmark hands back, and how a figure is taken."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

ROUNDS: Final = 3


@dataclass(frozen=True)
class Row:
    """One figure and the bar it is held against."""

    name: str
    figure: float
    bar: str
    """In words a reader checks the figure with, such as `at least 4`."""
    holds: bool
    detail: str = ""
    """What the figure was made of; shown, not judged."""


def at_least(name: str, figure: float, bar: float, detail: str) -> Row:
    """A row that holds when the figure reaches the bar."""
    return Row(name, round(figure, 2), f"at least {bar:g}", figure >= bar, detail)


def at_most(name: str, figure: float, bar: float, detail: str) -> Row:
    """A row that holds when the figure does not go beyond the bar."""
    return Row(name, round(figure, 2), f"at most {bar:g}", figure <= bar, detail)


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def rivals(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of both, taken turn by turn so that a busy machine slows both alike."""
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS)]
    return (
        statistics.median(pair[0] for pair in pairs),
        statistics.median(pair[1] for pair in pairs),
    )
