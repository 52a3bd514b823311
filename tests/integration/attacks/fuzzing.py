"""Dumps out of a grammar, and what is told of those that got through.

Hypothesis draws the dumps, the same ones every time. A finding does not end a test: all are
collected, and told with the seed of their dump. (`grammar.dump(seed)` makes it again.)
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hypothesis import HealthCheck, given, settings

from tests.integration.attacks.grammar import DUMPS, Hostile

MOST_DUMPS: Final = 100
"""Of 20 statements each."""
ENOUGH: Final = 25
"""Findings after which a test need not look for more."""

_reproducible = settings(
    max_examples=MOST_DUMPS,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Finding:
    """A statement that reached out of the site."""

    seed: int
    statement: Hostile
    what: str

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.statement}\n    {self.what[:200]}"


def told(findings: list[Finding]) -> str:
    """All findings, counted by their kinds."""
    kinds = Counter(it.statement.kind for it in findings)
    return f"{len(findings)} got through, {dict(kinds)}:\n" + "\n".join(map(str, findings))


def drawn(act: Callable[[int], bool]) -> None:
    """Hands seeds to `act` until it has had enough."""
    done = False

    @_reproducible
    @given(DUMPS)
    def each(seed: int) -> None:
        nonlocal done
        done = done or act(seed)

    each()
