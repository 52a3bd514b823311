"""`python -m bench.quoted`: the bench's lines in the pages that quote them, as last printed.

Which lines a page quotes, and in which order, the page says: they stand in one section, indented.
What the last run did not measure stays as it is, and is named.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.lines import RESULT

PAGES: Final = (Path("README.md"), Path("docs/measured.md"))
_HEADING: Final = "\n## Measured\n"
_INDENT: Final = "    "


def quoted(page: str) -> list[str]:
    """The lines of the bench that a page quotes, whatever their form."""
    _, section, _ = _parted(page)
    return [line.removeprefix(_INDENT) for line in section.splitlines() if line.startswith(_INDENT)]


def renewed(page: str, printed: Mapping[str, str]) -> str:
    """The page with the lines that it quotes as they were printed, by their names."""
    before, section, after = _parted(page)
    for line in quoted(page):
        section = section.replace(line, printed.get(name_of(line), line))
    return before + section + after


def name_of(line: str) -> str:
    """What a line calls its figure: its text up to the first wide gap."""
    return line.partition("  ")[0]


def _parted(page: str) -> tuple[str, str, str]:
    """What stands before the section, the section, and what stands behind it."""
    before, heading, rest = page.partition(_HEADING)
    section, next_heading, after = rest.partition("\n## ")
    return before + heading, section, next_heading + after


def main() -> int:
    """Writes the pages anew; answers 1 when the last run did not measure all that they quote."""
    printed = {one["name"]: one["printed"] for one in json.loads(RESULT.read_text())}
    missing: dict[str, None] = {}
    for path in PAGES:
        page = path.read_text()
        path.write_text(renewed(page, printed))
        missing |= {name: None for line in quoted(page) if (name := name_of(line)) not in printed}
    for name in missing:
        print(f"the last run did not measure: {name}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
