"""Every error has a code of its own that docs/errors.md explains."""

import re
from collections.abc import Iterator
from pathlib import Path

from lcp_backup.errors import UNEXPECTED, BackupError, code_of
from lcp_backup.jobs.failure import DIED
from lcp_backup_api.problems import OTHER, TABLE

_PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()


def documented() -> dict[str, str]:
    """The status of each code, as the page has it."""
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d*) ?\|", _PAGE, re.MULTILINE)
    found = dict(rows)
    assert len(found) == len(rows), "no code is explained twice"
    return found


def classes(base: type[BackupError] = BackupError) -> Iterator[type[BackupError]]:
    yield base
    for below in base.__subclasses__():
        if below.__module__.startswith("lcp_backup"):  # and no test's own
            yield from classes(below)


def test_every_class_has_a_code_of_its_own_and_the_page_its_status() -> None:
    expected = {DIED: "", UNEXPECTED: "500"}
    for kind in classes():
        assert "code" in vars(kind), f"{kind.__name__} has its parent's code"
        assert re.fullmatch("[a-z]+(-[a-z]+)*", kind.code)
        assert kind.code not in expected, f"{kind.__name__} has the code of another class"
        row = next(TABLE[it] for it in kind.__mro__ if it in TABLE)
        expected[kind.code] = str(int(row.status))
    for status, (code, _) in OTHER.items():
        assert code not in expected
        expected[code] = str(int(status))
    assert documented() == expected


def test_an_error_of_no_class_of_ours_is_unexpected() -> None:
    assert code_of(RuntimeError("told to nobody")) == "unexpected"
    assert code_of(BackupError()) == "failed"
