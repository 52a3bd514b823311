"""A foreign volume, as it is when it was taken in."""

from pathlib import Path

from lcp_backup.archive.index import read_index, read_members
from lcp_backup.archive.read import read_segments
from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.intake.volume import take_volume
from lcp_backup.model import Notice, VolumeFacts
from tests.support.buffers import Buffer
from tests.support.unpacked import unpack


class Store:
    """Where the archive goes, and what it is read back from."""

    def __init__(self) -> None:
        self.archive = Buffer()
        self.index = Buffer()
        self.notices: tuple[Notice, ...] = ()

    def take(self, data: bytes, *, limit: int = 1 << 30) -> VolumeFacts:
        # Odd, so that headers and files lie over the chunks' borders.
        chunks = (data[at : at + 70_001] for at in range(0, len(data), 70_001))
        with ArchiveWriter(
            self.archive, self.index, name="volume.tgz", index_name="volume.index", threads=1
        ) as writer:
            taken = take_volume(
                chunks, writer, limit=limit, progress=lambda _: None, check=lambda: None
            )
            writer.finish()
        self.notices = taken.notices
        return taken.facts

    def segments(self) -> list[tuple[Segment, bytes]]:
        index = read_index(self.index, archive_name="volume.tgz")
        return list(read_segments(self.archive, index, name="volume.tgz", threads=1))

    def restore(self, folder: Path) -> None:
        chunks = (raw for _, raw in self.segments())
        with unpack(
            chunks, folder, owner=None, threads=2, progress=lambda _: None, check=lambda: None
        ) as staged:
            staged.swap()

    def members(self) -> list[IndexedMember]:
        return list(read_members(self.index, archive_name="volume.tgz"))

    def names(self) -> list[str]:
        return [it.name for it in self.members()]
