"""A tar stream unpacked as a restore unpacks members."""

from collections.abc import Callable, Iterable
from pathlib import Path

from lcp_backup.volume.members import extract
from lcp_backup.volume.swap import StagedVolume
from lcp_backup.volume.unpack import staged_by


def unpack(
    chunks: Iterable[bytes],
    folder: Path,
    *,
    owner: tuple[int, int] | None,
    threads: int,
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> StagedVolume:
    """Stages everything that a foreign tar file holds, which may be anything."""
    return staged_by(
        lambda tree: extract(chunks, tree, progress=progress, check=check),
        folder,
        owner,
        threads=threads,
        check=check,
    )
