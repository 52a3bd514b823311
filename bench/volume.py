"""The volume archive against `tar | pigz`."""

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from bench.folder import make_folder
from bench.rows import Row, at_least, rivals
from bench.sinks import DiscardingSink
from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.volume.pack import pack

_FILES = 2345
_BYTES = 503_000_000


def volume_archive(work: Path) -> list[Row]:
    """Seconds to archive half a gigabyte of documents, page cache warm, output thrown away."""
    folder = work / "folder"
    make_folder(folder, files=_FILES, size=_BYTES)
    _ours(folder)  # the page cache warm for both
    ours, theirs = rivals(lambda: _ours(folder), lambda: _theirs(folder))
    detail = f"{ours:.2f} s, {_BYTES / ours / 1e6:.0f} MB/s; tar | pigz -p2 -6: {theirs:.2f} s"
    return [at_least("volume archive, times faster than tar | pigz", theirs / ours, 4, detail)]


def _ours(folder: Path) -> None:
    threads = os.process_cpu_count() or 2
    with ArchiveWriter(
        DiscardingSink(),
        DiscardingSink(),
        name="volume.tgz",
        index_name="volume.index",
        threads=threads,
    ) as writer:
        pack(folder, writer, began=datetime.now(UTC), progress=lambda _: None, check=lambda: None)
        writer.finish()


def _theirs(folder: Path) -> None:
    command = 'set -o pipefail; tar -c -C "$0" . | pigz -p2 -6 > /dev/null'
    subprocess.run(["/bin/bash", "-c", command, folder], check=True)
