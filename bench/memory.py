"""Peak memory: it must not grow with the folder."""

import subprocess
import sys
from pathlib import Path

from bench.folder import make_folder
from bench.rows import Row, at_most

_SMALL = (1000, 200_000_000)
_LARGE = (10_000, 2_000_000_000)
_MOST_MEGABYTES = 400
_MOST_GROWTH = 1.2


def peak_memory(work: Path) -> list[Row]:
    """Megabytes of a fresh process that packs, and of one that unpacks, by the folder's size."""
    peaks: dict[str, list[int]] = {"pack": [], "unpack": []}
    for files, size in (_SMALL, _LARGE):
        folder = work / str(size)
        make_folder(folder / "data", files=files, size=size)
        for action in ("pack", "unpack"):
            peaks[action].append(_peak(action, folder))
        subprocess.run(["/bin/rm", "-r", folder], check=True)
    rows = []
    for action, (small, large) in peaks.items():
        detail = f"{small} MB for {_SMALL[1] / 1e9:g} GB, {large} MB for {_LARGE[1] / 1e9:g} GB"
        rows.append(
            at_most(f"{action}, growth of peak memory", large / small, _MOST_GROWTH, detail)
        )
        rows.append(at_most(f"{action}, peak memory in MB", large, _MOST_MEGABYTES, detail))
    return rows


def _peak(action: str, folder: Path) -> int:
    command = [sys.executable, "-m", "bench.memory_probe", action, str(folder)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
