"""Time as a test wants it."""

from datetime import UTC, datetime, timedelta


class SettableClock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 0, 15, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, span: timedelta) -> None:
        """Moves ahead."""
        self.now += span
