"""What `make bench` prints, and that pages quote it in just that form."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from bench.__main__ import measured
from bench.lines import Line, Measured, PrintedLine, ratios
from bench.quoted import PAGES, name_of, quoted, renewed
from bench.rounds import in_turns, need
from bench.subjects import SUBJECTS, Subject

_PROJECT: Final = Path(__file__).parents[2]
_QUOTED: Final = {
    f"{page.stem}: {line}": line for page in PAGES for line in quoted((_PROJECT / page).read_text())
}
_LINES: Final[Mapping[str, Line]] = {
    line.name: line for subject in SUBJECTS.values() for line in subject.lines
}
_FASTER: Final = Line("one thing, times faster than another | -6", at_least=4)
_SMALLER: Final = Line("a thing's MB", at_most=400)


@pytest.mark.parametrize("text", _QUOTED.values(), ids=_QUOTED)
def test_a_page_quotes_a_line_as_make_bench_prints_it(text: str) -> None:
    printed = PrintedLine.read(text)
    assert printed is not None
    line = _LINES[printed.name]
    assert printed.bar == line.bar
    if printed.median != "-":
        holds = line.holds(float(printed.median.replace(",", "")))
        assert printed.verdict == ("holds" if holds else "FALLS") * bool(line.bar)


def test_something_of_every_promise_is_quoted() -> None:
    names = {name_of(text) for text in _QUOTED.values()}
    for name, subject in SUBJECTS.items():
        assert names & {line.name for line in subject.lines}, name


def test_no_two_lines_have_one_name() -> None:
    assert len(_LINES) == sum(len(subject.lines) for subject in SUBJECTS.values())


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (
            Measured(_FASTER, (7.0, 3.5, 9.124), "a detail"),
            "one thing, times faster than another | -6    7.00  3.50 to 9.12  at least 4  holds",
        ),
        (
            Measured(_FASTER, (3.0, 3.99, 12.0)),
            "one thing, times faster than another | -6    3.99  3.00 to 12.00  at least 4  FALLS",
        ),
        (Measured(_SMALLER, (169.4,)), "a thing's MB    169    at most 400  holds"),
        (Measured(Line("all of it"), (1234.5, 99.2)), "all of it    667    99.20 to 1,234"),
        (Measured(_SMALLER, ()), "a thing's MB    -  not measured yet  at most 400"),
    ],
    ids=["holds", "falls", "counted once", "no bar", "not measured"],
)
def test_a_line_has_its_median_its_spread_and_its_bar(one: Measured, text: str) -> None:
    printed = str(one.printed)
    assert printed.split() == text.split()
    assert PrintedLine.read(printed) == one.printed
    assert PrintedLine.read(printed.replace("  ", "   ", 1)) is None


def test_what_was_not_measured_does_not_hold() -> None:
    assert not Measured(Line("all of it"), ()).holds


def test_a_ratio_is_of_one_round() -> None:
    assert ratios(_FASTER, (8.0, 30.0), (2.0, 3.0)).figures == (4.0, 10.0)


def test_rivals_take_turns() -> None:
    order: list[str] = []
    taken = in_turns(2, lambda: order.append("ours"), lambda: order.append("theirs"))
    assert order == ["ours", "theirs"] * 2
    assert [len(each) for each in taken] == [2, 2]


def test_without_a_rival_its_lines_say_what_to_install(tmp_path: Path) -> None:
    def measure(_work: Path, _rounds: int) -> Sequence[Measured]:
        need("sh", "no-such-program")
        return ()

    (found,) = measured(Subject((_FASTER,), measure), tmp_path, rounds=1)
    assert str(found.printed).endswith("not measured yet  at least 4")
    assert found.detail == "install these first: no-such-program"
    assert not found.holds


def test_a_page_gets_the_figures_of_the_last_run_and_keeps_the_others() -> None:
    old, kept = Measured(_FASTER, ()).printed, Measured(_SMALLER, ()).printed
    new = Measured(_FASTER, (5.0, 6.0)).printed
    page = f"# A page\n\n## Measured\nSo:\n\n    {old}\n    {kept}\n\n## Else\n    {old}\n"
    assert quoted(page) == [str(old), str(kept)]
    page = renewed(page, {_FASTER.name: str(new)})
    assert quoted(page) == [str(new), str(kept)]
    assert page.endswith(f"\n    {old}\n")
