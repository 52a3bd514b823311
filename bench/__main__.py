"""`python -m bench [subject ...]`: prints a table, writes .local/bench.json, exits 1 if a bar fell.

A subject is a function that gets an empty folder and hands back rows; a new one is added to
SUBJECTS. Figures are medians, and ratios of what ran in the same minute on the same machine.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

from bench.database import database_archive, database_restore
from bench.delayed import slow_file_system
from bench.delayed_restore import delayed_restore
from bench.lists import pages
from bench.memory import peak_memory
from bench.rows import Row
from bench.volume import volume_archive

SUBJECTS: Final[dict[str, Callable[[Path], list[Row]]]] = {
    "volume": volume_archive,
    "delayed": slow_file_system,
    "database": database_archive,
    "restore": database_restore,
    "delayed-restore": delayed_restore,
    "memory": peak_memory,
    "lists": pages,
}

_RESULT = Path(".local") / "bench.json"


def main(names: list[str]) -> int:
    """Runs the subjects named, or all of them."""
    if unknown := set(names) - SUBJECTS.keys():
        print(f"no such subject: {', '.join(sorted(unknown))}; there are: {', '.join(SUBJECTS)}")
        return 2
    _RESULT.parent.mkdir(exist_ok=True)
    rows: list[Row] = []
    for name in names or SUBJECTS:
        # Beside the result and not in /tmp, which may be memory.
        with tempfile.TemporaryDirectory(prefix="bench-", dir=_RESULT.parent) as work:
            measured = SUBJECTS[name](Path(work))
        for row in measured:
            verdict = "holds" if row.holds else "FALLS"
            print(
                f"{row.name:<68} {row.figure:>8}  {row.bar:<13}  {verdict}  {row.detail}",
                flush=True,
            )
        rows += measured
        _RESULT.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
