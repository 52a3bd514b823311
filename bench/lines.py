"""What `make bench` prints: lines, their bars, and the form that the README quotes."""

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_QUOTABLE: Final = re.compile(
    r"(?P<name>\S+(?: \S+)*)  +(?P<figures>not measured yet|\d[\d.,]*(?:  +[\d.,]+ to [\d.,]+)?)"
    r"(?:  +(?P<bar>at (?:least|most) \d[\d.]*))?(?:  +(?P<verdict>holds|FALLS))?"
)


@dataclass(frozen=True)
class Line:
    """One figure that is measured, and the bar it is held against; without one it is only shown."""

    name: str
    """What the figure counts, in its unit: `..., times faster than restic backup`."""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def bar(self) -> str:
        """The bar in the words that a reader checks the figure with; empty when there is none."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "" if self.at_most is None else f"at most {self.at_most:g}"

    def holds(self, figure: float) -> bool:
        """Whether a figure reaches the bar, and does not go beyond it."""
        return (self.at_least is None or figure >= self.at_least) and (
            self.at_most is None or figure <= self.at_most
        )


@dataclass(frozen=True)
class Measured:
    """What one run found out about a line."""

    line: Line
    figures: tuple[float, ...]
    """One for every round; none when it could not be measured."""
    detail: str = ""
    """What the figures were made of, or why there are none; shown, not judged."""

    @property
    def median(self) -> float | None:
        """What is judged; None when nothing was measured."""
        return statistics.median(self.figures) if self.figures else None

    @property
    def holds(self) -> bool:
        """Whether the bar was reached; what was not measured did not reach it."""
        return self.median is not None and self.line.holds(self.median)

    @property
    def printed(self) -> str:
        """The line as it is printed, and as the README quotes it; without the detail."""
        middle = spread = verdict = ""
        if self.median is None:
            middle, spread = "not", "measured yet"
        else:
            middle = _number(self.median)
            if len(self.figures) > 1:
                spread = f"{_number(min(self.figures))} to {_number(max(self.figures))}"
            if self.line.bar:
                verdict = "holds" if self.holds else "FALLS"
        figures = f"{middle:>7} {spread}" if self.median is None else f"{middle:>7}  {spread}"
        return f"{self.line.name:<66}{figures:<24}  {self.line.bar:<13}  {verdict}".rstrip()


@dataclass(frozen=True)
class Quotation:
    """A printed line, read again."""

    name: str
    figures: str
    bar: str
    verdict: str

    @classmethod
    def read(cls, text: str) -> "Quotation | None":
        """A line of a page; None when `make bench` prints no line of that form."""
        found = _QUOTABLE.fullmatch(text.strip())
        return None if found is None else cls(**found.groupdict(default=""))


def once(line: Line, figure: float, detail: str = "") -> Measured:
    """A line whose figure is counted and not timed: it is the same in every round."""
    return Measured(line, (figure,), detail)


def ratios(line: Line, of: Sequence[float], to: Sequence[float], detail: str = "") -> Measured:
    """A line of ratios, each of what ran in the same round."""
    return Measured(line, tuple(a / b for a, b in zip(of, to, strict=True)), detail)


def _number(figure: float) -> str:
    return f"{figure:.2f}" if figure < 100 else f"{figure:,.0f}"
