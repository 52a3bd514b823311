"""A network is told from a local disk, and from a machine that is busy."""

import pytest

from lcp_backup.volume import pace as pacing
from lcp_backup.volume.pace import (
    FIRST_TRIAL,
    IN_A_ROW,
    OF_A_TRIAL,
    SLOW_CALL_NS,
    Pace,
)

LATE = 20 * SLOW_CALL_NS
"""Nanoseconds that a call takes on a network."""


class Machine:
    """How long a call takes that asks no file system."""

    def __init__(self) -> None:
        self.idle_call_ns = 1_000
        self.asked = 0

    def idle_calls(self, count: int) -> int:
        self.asked += 1
        return count * self.idle_call_ns


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(pacing, "idle_calls", machine.idle_calls)
    return machine


def found_slow() -> Pace:
    pace = Pace(2)
    for _ in range(IN_A_ROW):
        pace.took(LATE, 1)
    assert pace.slow
    return pace


def test_a_file_system_is_slow_when_it_is_so_every_time() -> None:
    pace = Pace(2)
    for _ in range(IN_A_ROW):
        assert not pace.slow
        pace.took(3 * SLOW_CALL_NS, 2)
    assert pace.slow
    pace.took(1, 1)
    assert pace.slow


def test_one_fast_answer_in_between_tells_of_a_local_disk() -> None:
    pace = Pace(2)
    for number in range(10 * IN_A_ROW):
        pace.took(1 if number % IN_A_ROW == 0 else 100 * SLOW_CALL_NS, 1)
        assert not pace.slow


def test_nothing_is_slow_for_a_single_thread() -> None:
    pace = Pace(1)
    for _ in range(2 * IN_A_ROW):
        pace.took(100 * SLOW_CALL_NS, 1)
    assert not pace.slow


def test_a_busy_machine_makes_idle_calls_slow_too_and_is_no_slow_file_system(
    machine: Machine,
) -> None:
    machine.idle_call_ns = LATE
    pace = Pace(2)
    for _ in range(100_000):
        pace.took(LATE, 1)
        assert not pace.slow
    # Finding that out costs a busy machine next to nothing.
    assert machine.asked < 150


def test_a_network_is_found_slow_on_a_busy_machine_as_well(machine: Machine) -> None:
    machine.idle_call_ns = LATE // 4
    pace = Pace(2)
    for _ in range(IN_A_ROW):
        pace.took(LATE, 1)
    assert pace.slow


def test_a_network_is_found_slow_once_the_machine_is_not_busy_any_more(machine: Machine) -> None:
    machine.idle_call_ns = LATE
    pace = Pace(2)
    for _ in range(IN_A_ROW):
        pace.took(LATE, 1)
    machine.idle_call_ns = 1_000
    for _ in range(100):
        pace.took(LATE, 1)
    assert pace.slow


def test_threads_that_were_called_for_a_moment_are_sent_away_by_the_first_quick_answer() -> None:
    pace = found_slow()
    for _ in range(FIRST_TRIAL):
        assert pace.slow
        pace.got_by_threads(1)
    assert not pace.slow
    pace.took(1_000, 1)
    for _ in range(IN_A_ROW - 1):
        pace.took(LATE, 1)
        assert not pace.slow


def test_a_network_needs_only_a_few_answers_to_keep_its_threads() -> None:
    pace = found_slow()
    trials = tried = 0
    for _ in range(100_000):
        pace.got_by_threads(1)
        trials += not pace.slow
        while not pace.slow:
            pace.took(LATE, 1)
            tried += 1
    assert tried == trials * OF_A_TRIAL
    assert 5 < trials < 10
