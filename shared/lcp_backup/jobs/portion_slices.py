"""What a plan leaves its workers of a stored volume, below the run's id: to each its slice."""

from collections.abc import Generator, Iterable
from typing import Literal

from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.catalog.work import RunWork
from lcp_backup.document import Document
from lcp_backup.errors import ArchiveDamaged, ObjectNotFound
from lcp_backup.jobs.stored_backup import StoredBackup, StoredVolume
from lcp_backup.volume.portions import Portion, PortionedVolume
from lcp_backup.volume.shared_tree import ReadSegments
from lcp_backup.volume.slices import Block, Mark, Slice, read_slice, write_slices

_SLICES = "slices-"


class SharedOut(Document):
    """What several functions were asked for: lies below the run's id while they are at work."""

    format: Literal[1] = 1
    backup_id: str
    backup_run_id: str
    portions: tuple[Portion, ...]
    slices: tuple[Block, ...]
    """By what each portion finds what it needs of the index."""


def leave_slices(
    work: RunWork,
    volume: StoredVolume,
    members: Iterable[IndexedMember],
    cut: PortionedVolume,
    *,
    folders: bool = False,
    mark: Mark | None = None,
) -> tuple[Block, ...]:
    """Leaves each portion its slice, and answers by what to find it; as `write_slices`."""
    return write_slices(
        cut,
        members,
        volume.all_segments,
        volume.archives,
        lambda number, body: work.put(f"{_SLICES}{number}", body),
        folders=folders,
        mark=mark,
    )


def slice_left(work: RunWork, last: Block) -> Slice:
    """The slice that ends with this block; raises ArchiveDamaged, StorageError, UnknownFormat."""
    what = f"what run {work.run_id} keeps of the index"

    def read(block: Block) -> bytes:
        try:
            return work.open(f"{_SLICES}{block.object}").read(block.offset, block.size)
        except ObjectNotFound as error:
            raise ArchiveDamaged(f"{what} is missing in part: restore once more") from error

    return read_slice(last, read, what)


def reading(backup: StoredBackup, own: Slice) -> ReadSegments:
    """Reads segments of the archive that a portion lies in."""
    archive = backup.open_volume_of(own.archive)

    def read(segments: Iterable[Segment]) -> Generator[tuple[Segment, bytes]]:
        return backup.read_volume(segments, lambda _: archive)

    return read
