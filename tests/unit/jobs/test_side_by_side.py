"""Database and volume side by side, where who waits for them is interrupted."""

import os
import signal
import time
from types import FrameType

import pytest

from lcp_backup.errors import TaskFailed
from lcp_backup.jobs.side_by_side import Check, side_by_side


def go_on() -> None:
    pass


def test_nothing_goes_on_once_a_signal_has_ended_the_caller() -> None:
    """As when a task is stopped: what goes on would write to what its caller aborts."""
    at_work = {"database", "volume"}

    def work(which: str, check: Check) -> None:
        give_up = time.monotonic() + 5
        try:
            if which == "volume":
                time.sleep(0.2)
                os.kill(os.getpid(), signal.SIGTERM)
            while time.monotonic() < give_up:
                check()
                time.sleep(0.01)
        finally:
            at_work.discard(which)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise TaskFailed("stopped")

    before = signal.signal(signal.SIGTERM, stop)
    begun = time.monotonic()
    try:
        with pytest.raises(TaskFailed):
            side_by_side(
                lambda check: work("database", check), lambda check: work("volume", check), go_on
            )
        assert at_work == set()
        assert time.monotonic() - begun < 2
    finally:
        signal.signal(signal.SIGTERM, before)
