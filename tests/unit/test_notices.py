"""What a notice means: one table in the code, the same one in the documentation."""

import re
from pathlib import Path

from lcp_backup.model import NOTICES, Notice

_PROJECT = Path(__file__).parents[2]


def test_every_notice_that_is_written_is_in_the_table() -> None:
    written = {
        found
        for path in (_PROJECT / "shared/lcp_backup").rglob("*.py")
        if path.name != "errors.py"  # whose codes are of errors
        for found in re.findall(
            r"""(?:\bcode=|notices\.add\(\s*|\bcode = |LeftOut\(name, None, )"""
            r""""([a-z-]+)"(?: if .* else "([a-z-]+)")?""",
            path.read_text(),
        )
    }
    assert {code for pair in written for code in pair if code} == set(NOTICES)


def test_the_documentation_has_the_same_table() -> None:
    text = (_PROJECT / "docs/operations.md").read_text()
    section = text.partition("\n## Notices\n")[2].partition("\n## ")[0]
    line = re.compile(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \| [a-z, ]+ \| (yes|no) \|", re.MULTILINE)
    lines = line.findall(section)
    rows = [(code, loss) for codes, loss in lines for code in re.findall("[a-z-]+", codes)]
    assert {code: loss == "yes" for code, loss in rows} == NOTICES
    assert len(rows) == len(NOTICES)


def test_a_code_of_a_later_version_is_no_alarm() -> None:
    assert not Notice(code="of-tomorrow", subject="x").means_loss
    assert Notice(code="link-outside", subject="x").means_loss
