"""What `make bench` prints: its lines, their bars, and the form in which pages quote them."""

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RESULT: Final = Path(".local") / "bench.json"
"""Where the last run's lines are."""

_NUMBER: Final = r"\d[\d,]*(?:\.\d\d)?"
_PRINTED: Final = re.compile(
    rf"(?P<name>\S+(?: \S+)*)  +(?P<median>{_NUMBER}|-)"
    rf"(?:  +(?P<spread>{_NUMBER} to {_NUMBER}|not measured yet))?"
    r"(?:  +(?P<bar>at (?:least|most) [\d.]+))?(?:  +(?P<verdict>holds|FALLS))?"
)


@dataclass(frozen=True)
class Line:
    """One figure that is measured, and the bar it is held against; without one it is only shown."""

    name: str
    """What the figure counts, and its unit: `..., times faster than restic backup`."""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def bar(self) -> str:
        """The bar in the words that a reader checks the figure with; empty when there is none."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "" if self.at_most is None else f"at most {self.at_most:g}"

    def holds(self, figure: float) -> bool:
        """Whether a figure is on the right side of the bar."""
        return (self.at_least is None or figure >= self.at_least) and (
            self.at_most is None or figure <= self.at_most
        )


@dataclass(frozen=True)
class PrintedLine:
    """A line as it is printed and quoted: columns of text."""

    name: str
    median: str
    spread: str
    """The lowest figure and the highest; empty for what was counted once."""
    bar: str
    verdict: str

    def __str__(self) -> str:
        columns = f"{self.name:<66}{self.median:>7}  {self.spread:<16}  {self.bar:<13}"
        return f"{columns}  {self.verdict}".rstrip()

    @classmethod
    def read(cls, text: str) -> "PrintedLine | None":
        """What `str` made of one; None when the text is of another form."""
        found = _PRINTED.fullmatch(text)
        line = None if found is None else cls(**found.groupdict(default=""))
        return line if str(line) == text else None


@dataclass(frozen=True)
class Measured:
    """What one run found out about a line."""

    line: Line
    figures: tuple[float, ...]
    """One for every round; none when it could not be measured."""
    detail: str = ""
    """What the figures were made of, or why there are none; shown, not judged."""

    @property
    def holds(self) -> bool:
        """Whether the median is on the right side of the bar; what was not measured is not."""
        return bool(self.figures) and self.line.holds(statistics.median(self.figures))

    @property
    def printed(self) -> PrintedLine:
        """The line without the detail."""
        name, bar = self.line.name, self.line.bar
        if not self.figures:
            return PrintedLine(name, "-", "not measured yet", bar, "")
        spread = f"{_number(min(self.figures))} to {_number(max(self.figures))}"
        return PrintedLine(
            name,
            _number(statistics.median(self.figures)),
            spread if len(self.figures) > 1 else "",
            bar,
            ("holds" if self.holds else "FALLS") if bar else "",
        )


def once(line: Line, figure: float, detail: str = "") -> Measured:
    """A line whose figure is counted and not timed: it is the same in every round."""
    return Measured(line, (figure,), detail)


def ratios(line: Line, of: Sequence[float], to: Sequence[float], detail: str = "") -> Measured:
    """A line of ratios, each of what ran in the same round."""
    return Measured(line, tuple(a / b for a, b in zip(of, to, strict=True)), detail)


def _number(figure: float) -> str:
    return f"{figure:.2f}" if figure < 100 else f"{figure:,.0f}"
