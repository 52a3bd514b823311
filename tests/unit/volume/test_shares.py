"""How a folder is shared out: alike in one go and in many, in bounded memory, and onward always."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lcp_backup.exclusion import PathPatterns
from lcp_backup.volume import shares
from lcp_backup.volume.shares import Survey, survey
from tests.support.trees import odd_tree

BEGAN = datetime.now(UTC) + timedelta(hours=1)
SEGMENT = 16 << 10


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is megabytes otherwise is kilobytes."""
    monkeypatch.setattr(shares, "SEGMENT_SIZE", SEGMENT)
    monkeypatch.setattr(shares, "CUT_FROM", 10 * SEGMENT)


def looked_through(folder: Path, before: Survey | None, is_over: Callable[[], bool]) -> Survey:
    found = survey(
        folder,
        None,
        before,
        leave_out=PathPatterns(()),
        began=BEGAN,
        threads=2,
        check=lambda: None,
        is_over=is_over,
    )
    return Survey.model_validate_json(found.model_dump_json())


def in_stretches(folder: Path, names: int) -> tuple[Survey, int]:
    """The survey of a folder by invocations that have time for so many names each."""
    found, stretches = None, 0
    while found is None or found.reached is not None:
        left = iter(range(names - 1))
        found = looked_through(folder, found, lambda left=left: next(left, None) is None)  # type: ignore[misc]
        stretches += 1
    return found, stretches


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    odd_tree(folder)
    for number in range(40):
        name = folder / "document_library" / str(number % 7) / os.fsdecode(b"\xff%d" % number)
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_bytes(os.urandom(number * 1000))
    (folder / "document_library" / "large").write_bytes(bytes(60 * SEGMENT + 99))
    return folder


@pytest.mark.parametrize("names", [1, 2, 13])
def test_a_folder_is_cut_alike_whether_it_was_looked_through_at_once_or_in_stretches(
    folder: Path, names: int
) -> None:
    at_once = looked_through(folder, None, lambda: False)
    found, stretches = in_stretches(folder, names)
    assert found == at_once
    assert stretches == -(-at_once.names // names)
    cut = found.shares(most=6, least_size=1)
    assert len(cut.boundaries) == 5
    assert any(it.file is not None for it in cut.boundaries)


def test_a_stretch_whose_time_is_over_at_once_comes_further_all_the_same(folder: Path) -> None:
    first = looked_through(folder, None, lambda: True)
    second = looked_through(folder, first, lambda: True)
    assert (first.names, second.names) == (1, 2)


def test_what_is_kept_of_a_folder_does_not_grow_with_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "_MOST_MARKS", 8)
    found, _ = in_stretches(folder, 5)
    assert found == looked_through(folder, None, lambda: False)
    assert 4 <= len(found.marks) <= 8
    places = [place for place, _ in found.marks]
    assert places == sorted(places)
    assert places[0] >= found.work // 16


def test_what_goes_while_it_is_looked_through_ends_the_survey(folder: Path, tmp_path: Path) -> None:
    half = looked_through(folder, None, iter([False] * 30 + [True]).__next__)
    assert half.reached is not None
    folder.rename(tmp_path / "aside")
    folder.mkdir()
    found = looked_through(folder, half, lambda: True)
    assert (found.reached, found.names) == (None, half.names)
