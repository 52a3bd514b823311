"""A verification beside a restore of the same backup: half of one, and a proof."""

from pathlib import Path
from typing import Final

from bench.database import fill
from bench.folder import make_documents
from bench.lines import Line, Measured, once, ratios
from bench.memory import environment, probed_site
from bench.rounds import in_turns, middle

TIME: Final = Line("verification, times as long as a restore of the backup", at_most=1.5)
BYTES: Final = Line("verification, times the bytes that a restore reads", at_most=1.05)
PEAK: Final = Line("verification, peak memory in MB, 300 MB of SQL, 100,000 files", at_most=400)
LINES: Final = (TIME, BYTES, PEAK)

_SQL: Final = 300_000_000
_FILES: Final = 100_000
_FILE_SIZE: Final = 5000


def verification(work: Path, rounds: int) -> list[Measured]:
    """Seconds and bytes of fresh processes that run the handlers, on MariaDB and S3 over HTTP."""
    with environment(work) as (endpoint, env), probed_site(work, "verified", env) as probe:
        fill(endpoint, _SQL)
        make_documents(probe.folder, range(_FILES), size=_FILE_SIZE)
        probe.run("create")
        proof, restore = probe.run("verify"), probe.run("restore")
        proofs, restores = in_turns(
            rounds, lambda: probe.run("verify"), lambda: probe.run("restore")
        )
    told = f"{middle('verification', proofs)}; {middle('restore', restores)}"
    read = f"{proof.read_bytes / 1e6:.0f} and {restore.read_bytes / 1e6:.0f} MB"
    return [
        ratios(TIME, proofs, restores, told),
        once(BYTES, proof.read_bytes / restore.read_bytes, read),
        once(PEAK, proof.megabytes, f"a restore took {restore.megabytes} MB"),
    ]
