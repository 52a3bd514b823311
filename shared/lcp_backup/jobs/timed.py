"""How long a part of a run takes."""

from collections.abc import Callable
from datetime import datetime


class Timed:
    """How long a part of a run takes, by its clock; of one that did not end nothing is known."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._began = now()
        self.seconds = 0.0

    def begin(self, at: datetime | None = None) -> None:
        """Begins, or begins anew; or began then already."""
        self._began = at or self._now()

    def end(self) -> None:
        """Keeps how long it was."""
        self.seconds = (self._now() - self._began).total_seconds()
