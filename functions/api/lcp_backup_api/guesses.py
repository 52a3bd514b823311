"""Counts what was wrong, by the address that it came from, so that guessing is slow."""

from datetime import datetime, timedelta
from threading import Lock
from typing import Final

MOST: Final = 20
COUNTED_FOR: Final = timedelta(minutes=1)
_GUESSERS_KEPT: Final = 1024
"""Addresses that are counted at once, so that memory stays bounded."""


class Guesses:
    """What was wrong within a minute, by its source; may be used by several threads."""

    def __init__(self) -> None:
        self._wrong: dict[str, tuple[datetime, int]] = {}
        self._lock = Lock()

    def are_too_many(self, source: str, now: datetime) -> bool:
        """Whether a source has to wait."""
        with self._lock:
            until, count = self._wrong.get(source, (now, 0))
        return now < until and count >= MOST

    def add(self, source: str, now: datetime) -> None:
        """One more that was wrong."""
        with self._lock:
            until, count = self._wrong.get(source, (now, 0))
            if now >= until:
                # Put at the end: the first ones are those whose minute ends first.
                self._wrong.pop(source, None)
                until, count = now + COUNTED_FOR, 0
                if len(self._wrong) >= _GUESSERS_KEPT:
                    del self._wrong[next(iter(self._wrong))]
            self._wrong[source] = (until, count + 1)
