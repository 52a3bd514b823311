"""One job in a process of its own, which then prints its peak memory in megabytes.

`python -m bench.memory_probe pack|unpack <folder>` packs `<folder>/data` into `<folder>`, or
restores that archive into `<folder>/out`.
"""

import sys
from pathlib import Path

from bench.sinks import FileSink, FileSource
from lcp_backup.archive.index import read_index
from lcp_backup.archive.read import read_segments
from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.volume.pack import pack
from lcp_backup.volume.unpack import unpack

_ARCHIVE = "volume.tgz"
_INDEX = "volume.index"
_THREADS = 2


def _pack(folder: Path) -> None:
    with ArchiveWriter(
        FileSink(folder / _ARCHIVE),
        FileSink(folder / _INDEX),
        name=_ARCHIVE,
        index_name=_INDEX,
        threads=_THREADS,
    ) as writer:
        pack(folder / "data", writer, progress=lambda _: None, check=lambda: None)
        writer.finish()


def _unpack(folder: Path) -> None:
    segments = read_index(FileSource(folder / _INDEX), archive_name=_ARCHIVE)
    pairs = read_segments(FileSource(folder / _ARCHIVE), segments, name=_ARCHIVE, threads=_THREADS)
    with unpack(
        (raw for _, raw in pairs),
        folder / "out",
        owner=None,
        progress=lambda _: None,
        check=lambda: None,
    ) as staged:
        staged.swap()


def _peak_megabytes() -> int:
    """This program's own peak; ru_maxrss would count what its parent was when it forked."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise LookupError("the kernel does not tell this process's peak memory")


if __name__ == "__main__":
    {"pack": _pack, "unpack": _unpack}[sys.argv[1]](Path(sys.argv[2]))
    print(_peak_megabytes())
