"""What an object is made of becomes parts that S3 takes, in order, and little of it is fetched."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lcp_backup.aws import s3_parts
from lcp_backup.aws.s3_bucket import Bucket
from lcp_backup.aws.s3_parts import (
    LARGEST_COPY,
    MAX_PARTS,
    MIB,
    Part,
    PartCutter,
    Range,
    least_size,
    part_size,
)
from lcp_backup.aws.s3_reader import ObjectReader

SMALL: dict[str, Any] = {
    "SMALLEST_PART": 5,
    "FIRST_PART_SIZE": 8,
    "LARGEST_COPY": 40,
    "PARTS_PER_DOUBLING": 6,
}
"""S3's limits in bytes, and not in MiB, so that whole objects can be compared."""


@dataclass
class Source:
    """An object whose bytes tell where they come from, and what was fetched of it."""

    name: int
    fetched: list[tuple[int, int]] = field(default_factory=list)

    def reader(self) -> ObjectReader:
        place = {"bucket": Bucket("b", None), "key": str(self.name), "etag": "tag"}
        return ObjectReader(self.read, 1 << 50, **place)  # type: ignore[arg-type] # a dict of both

    def content(self, offset: int, length: int) -> bytes:
        return bytes((self.name * 100 + at) % 251 for at in range(offset, offset + length))

    def read(self, offset: int, length: int) -> bytes:
        self.fetched.append((offset, length))
        return self.content(offset, length)


type Step = bytes | tuple[int, int, int]
"""Bytes that are written, or source, offset and length of what is appended."""

steps = st.lists(
    st.binary(max_size=30)
    | st.tuples(st.integers(0, 1), st.sampled_from([0, 7, 20, 27]), st.integers(0, 120)),
    max_size=30,
)


def cut(made_of: Iterable[Step], sources: list[Source]) -> list[tuple[int, Part]]:
    readers = [source.reader() for source in sources]

    def parts() -> Iterator[tuple[int, Part]]:
        cutter = PartCutter()
        for step in made_of:
            if isinstance(step, bytes):
                yield from cutter.write(step)
            else:
                yield from cutter.append(readers[step[0]], *step[1:])
        yield from cutter.end()

    return list(parts())


def content(part: Part, sources: list[Source]) -> bytes:
    if isinstance(part, Range):
        return sources[int(part.source.key)].content(part.offset, part.length)
    return part


@given(steps)
def test_whatever_is_written_and_appended_comes_out_in_order_in_parts_that_s3_takes(
    made_of: list[Step],
) -> None:
    sources = [Source(0), Source(1)]
    with patch.multiple(s3_parts, **SMALL):
        parts = cut(made_of, sources)
        # (A long range is cut into shares of 20 and more, also where a part has to be larger.)
        least = [min(20, least_size(number)) for number, _ in parts]
    whole = b"".join(
        step if isinstance(step, bytes) else sources[step[0]].content(*step[1:]) for step in made_of
    )
    contents = [content(part, sources) for _, part in parts]
    assert b"".join(contents) == whole
    assert [number for number, _ in parts] == list(range(1, len(parts) + 1))
    assert all(contents)
    assert all(len(body) >= size for body, size in list(zip(contents, least, strict=True))[:-1])
    assert all(part.length <= 40 for _, part in parts if isinstance(part, Range))


@given(steps)
def test_of_a_range_no_more_is_fetched_than_a_part_lacks_or_it_is_too_short(
    made_of: list[Step],
) -> None:
    sources = [Source(0), Source(1)]
    with patch.multiple(s3_parts, **SMALL):
        parts = cut(made_of, sources)
        most = least_size(len(parts) + 1)
    for source in sources:
        # What is fetched for a part in front, and what would be too short for one behind it.
        assert all(length < 2 * most for _, length in source.fetched)
        # Nothing is both fetched and copied.
        copied = sum(
            part.length
            for _, part in parts
            if isinstance(part, Range) and part.source.key == str(source.name)
        )
        fetched = sum(length for _, length in source.fetched)
        appended = [step for step in made_of if isinstance(step, tuple) and step[0] == source.name]
        assert fetched + copied == sum(length for _, _, length in appended)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_ranges_that_follow_one_another_are_one_and_nothing_is_fetched(lengths: list[int]) -> None:
    source = Source(0)
    ends = [sum(lengths[:count]) for count in range(len(lengths) + 1)]
    with patch.multiple(s3_parts, **SMALL):
        parts = cut([(0, at, end - at) for at, end in pairwise(ends)], [source])
    assert source.fetched == []
    assert len(parts) == -(-ends[-1] // 40)


@pytest.mark.parametrize(
    ("made_of", "fetched", "parts"),
    [
        pytest.param([(0, 0, 4), b"end"], [(0, 4)], ["7"], id="a short one"),
        pytest.param([(0, 0, 5), b"end"], [], ["5@0", "3"], id="just long enough"),
        pytest.param([b"own", (0, 9, 30)], [(9, 2)], ["5", "28@11"], id="behind few bytes"),
        pytest.param([b"owned", (0, 9, 30)], [], ["5", "30@9"], id="behind enough bytes"),
        pytest.param([b"own", (0, 9, 6), b"x"], [(9, 6)], ["9", "1"], id="its rest is too short"),
        pytest.param([b"own", (0, 9, 6)], [(9, 2)], ["5", "4@11"], id="but it may be the last"),
        pytest.param([b"own", (0, 9, 2)], [(9, 2)], ["5"], id="a last one that fills up"),
        pytest.param([(0, 9, 1)], [], ["1@9"], id="nothing else"),
        pytest.param([(0, 0, 41)], [], ["20@0", "21@20"], id="too long, in equal shares"),
        pytest.param([(0, 0, 9), (0, 10, 9)], [], ["9@0", "9@10"], id="with a gap"),
        pytest.param([(0, 0, 9), b"", (0, 9, 9)], [], ["18@0"], id="nothing between"),
    ],
)
def test_what_is_fetched_and_what_is_copied(
    made_of: list[Step], fetched: list[tuple[int, int]], parts: list[str]
) -> None:
    source = Source(0)
    with patch.multiple(s3_parts, **SMALL):
        found = [part for _, part in cut(made_of, [source])]
    assert source.fetched == fetched
    shown = [f"{p.length}@{p.offset}" if isinstance(p, Range) else str(len(p)) for p in found]
    assert shown == parts


def test_an_object_of_many_short_ranges_does_not_run_out_of_parts() -> None:
    assert least_size(1) == 5 * MIB
    assert sum(least_size(number) for number in range(1, MAX_PARTS + 1)) > 4.8 * 1024**4
    assert all(least_size(number) < part_size(number) for number in (1, 1000, 1001, MAX_PARTS))


def test_what_s3_copies_at_once_is_within_its_limits() -> None:
    assert LARGEST_COPY // 2 >= 5 * MIB
    assert LARGEST_COPY <= 5 * 1024**3
