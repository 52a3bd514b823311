"""Rows and files side by side: every difference once, and nothing that is none."""

from collections.abc import Iterable

import pytest

from lcp_backup.exclusion import PathPatterns
from lcp_backup.liferay import compare
from lcp_backup.liferay.compare import Comparison, Named, StoredFile
from lcp_backup.volume.names import place_in_order

ROOT = "document_library/1/2/"
SINCE = 1_000


def row(path: str, number: int = 1, *, other: bool = False, size: int | None = 5) -> Named:
    return Named(f"{ROOT}{path}", other, "DLFileVersion", number, "A title", size, None)


def file(path: str, size: int | None = 5, *, changed: int = SINCE - 1) -> StoredFile:
    return StoredFile(f"{ROOT}{path}", size, None, changed)


def compared(rows: Iterable[Named], files: Iterable[StoredFile], left_out: str = "") -> Comparison:
    found = Comparison(PathPatterns([left_out] if left_out else []), SINCE)

    def in_order[T: (Named, StoredFile)](some: Iterable[T]) -> list[T]:
        return sorted(some, key=lambda it: place_in_order(it.path))

    found.run(in_order(rows), in_order(files), place_in_order, lambda: None)
    return found


def told(found: Comparison) -> list[tuple[str, str]]:
    return [(it.kind, it.path.removeprefix(ROOT)) for it in found.listed]


def test_what_is_missing_before_between_and_behind_is_told() -> None:
    rows = [row(f"{number}/1.0", number) for number in (1, 2, 3, 5)]
    found = compared(rows, [file("2/1.0"), file("4/1.0")])
    assert told(found) == [
        ("missing", "1/1.0"),
        ("missing", "3/1.0"),
        ("unnamed", "4/1.0"),
        ("missing", "5/1.0"),
    ]
    assert (found.rows, found.files, found.found) == (4, 2, 1)


def test_a_folders_name_that_goes_on_does_not_mix_the_order_up() -> None:
    """By bytes a full stop stands before a slash, in a volume behind it."""
    rows = [row(it, at) for at, it in enumerate(["7/1.0", "7-b/1.0", "7.a/1.0"])]
    found = compared(rows, [file("7-b/1.0"), file("7.a/1.0")])
    assert told(found) == [("missing", "7/1.0")]


def test_several_rows_may_name_one_file() -> None:
    found = compared([row("1/1.0", 1), row("1/1.0", 2, size=6)], [file("1/1.0")])
    assert told(found) == [("size", "1/1.0")]
    assert found.rows == 2


def test_the_second_place_counts_where_the_first_is_empty() -> None:
    both = [row("1/1.0", other=True), row("1/1.0~u")]
    assert told(compared(both, [file("1/1.0")])) == []
    assert told(compared(both, [file("1/1.0~u")])) == []
    assert told(compared(both, [file("1/1.0", 6)])) == [("size", "1/1.0")]
    assert told(compared(both, [])) == [("missing", "1/1.0~u")]
    assert compared(both, [file("1/1.0")]).rows == 1


def test_what_changed_while_the_backup_was_made_is_no_difference() -> None:
    found = compared([row("1/1.0")], [file("1/1.0", 6, changed=SINCE), file("2", changed=SINCE)])
    assert (told(found), found.newer) == ([], 2)


def test_what_was_left_out_on_purpose_is_not_missed() -> None:
    found = compared([row("1/1.0"), row("2/1.0", 2)], [], left_out="/document_library/1/2/1/")
    assert (told(found), found.kept_out) == ([("missing", "2/1.0")], 1)


def test_a_size_that_nobody_knows_is_not_compared() -> None:
    assert told(compared([row("1/1.0")], [file("1/1.0", None)])) == []
    assert told(compared([row("1/1.0", size=None)], [file("1/1.0")])) == []


def test_more_than_is_listed_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "MOST_LISTED", 2)
    found = compared([row(f"{it}/1.0", it) for it in range(9)], [file("stray")])
    assert told(found) == [("missing", "0/1.0"), ("missing", "1/1.0"), ("unnamed", "stray")]
    assert sum(found.counts.values()) == 10


def test_it_stops_when_it_is_told_to() -> None:
    def stop() -> None:
        raise TimeoutError

    found = Comparison(PathPatterns([]), SINCE)
    with pytest.raises(TimeoutError):
        found.run([], [file("1")], place_in_order, stop)
    with pytest.raises(TimeoutError):
        found.run([row("1")], [], place_in_order, stop)
