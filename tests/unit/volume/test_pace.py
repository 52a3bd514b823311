"""A network is told from a local disk, and from a machine that is busy."""

from lcp_backup.volume.pace import IN_A_ROW, SLOW_CALL_NS, Pace


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
