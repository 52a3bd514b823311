"""What a new volume needs of older archives is known to the segment, however many there are."""

import random
import tracemalloc

from lcp_backup.volume.base import Numbers


def test_numbers_are_those_that_were_added() -> None:
    random_numbers = random.Random(1)
    numbers, held = Numbers(), set[int]()
    for _ in range(300):
        first = random_numbers.randrange(2000)
        end = first + random_numbers.choice([1, 1, 2, 40])
        numbers.add(first, end)
        held |= set(range(first, end))
    assert {it for it in range(3000) if it in numbers} == held


def test_four_million_numbers_take_a_few_megabytes() -> None:
    tracemalloc.start()
    try:
        numbers = Numbers()
        for number in range(0, 4_000_000, 8):
            numbers.add(number, number + 1)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 8e6
    assert 3_999_992 in numbers
    assert 3_999_993 not in numbers
