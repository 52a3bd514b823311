"""`python -m bench [--rounds 3] [subject ...]`: prints lines, writes .local/bench.json.

A line says what was measured, the median of its rounds, the lowest and the highest of them, and the
bar that the median is held against; below it, what the figures were made of. Ratios are of what ran
in the same round on the same machine. Exits 1 if a bar fell, or was not measured.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.lines import RESULT, Measured
from bench.rounds import ROUNDS, ProgramMissing
from bench.subjects import SUBJECTS, Subject


def main(arguments: list[str]) -> int:
    """Runs the subjects named, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of every timing")
    parser.add_argument("subjects", nargs="*", metavar="subject", help=", ".join(SUBJECTS))
    asked = parser.parse_args(arguments)
    if asked.rounds < 1:
        parser.error("--rounds: at least 1")
    if unknown := set(asked.subjects) - SUBJECTS.keys():
        parser.error(
            f"no such subject: {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}"
        )
    RESULT.parent.mkdir(exist_ok=True)
    found: list[Measured] = []
    for name in asked.subjects or SUBJECTS:
        # Beside the result and not in /tmp, which may be memory.
        with tempfile.TemporaryDirectory(prefix="bench-", dir=RESULT.parent) as work:
            lines = measured(SUBJECTS[name], Path(work).resolve(), rounds=asked.rounds)
        for one in lines:
            print(one.printed)
            print(f"    {one.detail}", flush=True)
        found += lines
        RESULT.write_text(json.dumps([_as_stored(one) for one in found], indent=2) + "\n")
    return 0 if all(one.holds for one in found) else 1


def measured(subject: Subject, work: Path, *, rounds: int) -> Sequence[Measured]:
    """What a subject finds out; when a rival is missing, its lines without figures."""
    try:
        found = subject.measure(work, rounds)
    except ProgramMissing as error:
        return [Measured(line, (), str(error)) for line in subject.lines]
    # A page may quote every line that a subject says it prints.
    assert [one.line for one in found] == list(subject.lines)
    return found


def _as_stored(one: Measured) -> dict[str, Any]:
    return {
        "name": one.line.name,
        "printed": str(one.printed),
        "figures": one.figures,
        "bar": one.line.bar,
        "holds": one.holds,
        "detail": one.detail,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
