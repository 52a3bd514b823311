"""The volume archive against `tar | pigz`."""

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from bench.folder import make_folder
from bench.lines import Line, Measured, ratios
from bench.rounds import in_turns, middle, need
from bench.sinks import DiscardingSink
from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.volume.pack import pack

LINES: Final = (FASTER := Line("volume archive, times faster than tar | pigz -p2 -6", at_least=4),)

_FILES: Final = 2345
_BYTES: Final = 503_000_000


def volume_archive(work: Path, rounds: int) -> list[Measured]:
    """Seconds to archive half a gigabyte of documents, page cache warm, output thrown away."""
    need("pigz")
    folder = work / "folder"
    make_folder(folder, files=_FILES, size=_BYTES)
    _ours(folder)  # the page cache warm for both
    ours, theirs = in_turns(rounds, lambda: _ours(folder), lambda: _theirs(folder))
    speed = f"{_BYTES / median(ours) / 1e6:.0f} MB/s"
    detail = f"{middle('ours', ours)}, {speed}; {middle('tar | pigz', theirs)}"
    return [ratios(FASTER, theirs, ours, detail)]


def _ours(folder: Path) -> None:
    threads = os.process_cpu_count() or 2
    with ArchiveWriter(
        DiscardingSink(),
        DiscardingSink(),
        name="volume.tgz",
        index_name="volume.index",
        threads=threads,
    ) as writer:
        pack(
            folder,
            writer,
            began=datetime.now(UTC),
            progress=lambda _: None,
            check=lambda: None,
        )
        writer.finish()


def _theirs(folder: Path) -> None:
    command = 'set -o pipefail; tar -c -C "$0" . | pigz -p2 -6 > /dev/null'
    subprocess.run(["/bin/bash", "-c", command, folder], check=True)
