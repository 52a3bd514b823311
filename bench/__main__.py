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
from typing import Any, Final

from bench.lines import Measured
from bench.rounds import ROUNDS, ProgramMissing
from bench.subjects import SUBJECTS, Subject

RESULT: Final = Path(".local") / "bench.json"


def main(arguments: list[str]) -> int:
    """Runs the subjects named, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of every timing")
    parser.add_argument("subjects", nargs="*", metavar="subject", help=", ".join(SUBJECTS))
    asked = parser.parse_args(arguments)
    if asked.rounds < 1:
        parser.error("--rounds: at least 1")
    if unknown := set(asked.subjects) - SUBJECTS.keys():
        parser.error(f"no such subject: {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}")
    RESULT.parent.mkdir(exist_ok=True)
    found: list[Measured] = []
    for name in asked.subjects or SUBJECTS:
        found += (measured := _measured(SUBJECTS[name], asked.rounds))
        for one in measured:
            print(one.printed)
            print(f"    {one.detail}", flush=True)
        RESULT.write_text(json.dumps([_as_stored(one) for one in found], indent=2) + "\n")
    return 0 if all(one.holds for one in found) else 1


def _measured(subject: Subject, rounds: int) -> Sequence[Measured]:
    # Beside the result and not in /tmp, which may be memory.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=RESULT.parent) as work:
        try:
            measured = subject.measure(Path(work).resolve(), rounds)
        except ProgramMissing as error:
            return [Measured(line, (), str(error)) for line in subject.lines]
    # The README may quote every line that a subject says it prints.
    assert [one.line for one in measured] == list(subject.lines)
    return measured


def _as_stored(measured: Measured) -> dict[str, Any]:
    return {
        "name": measured.line.name,
        "printed": measured.printed,
        "figures": measured.figures,
        "bar": measured.line.bar,
        "holds": measured.holds,
        "detail": measured.detail,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
