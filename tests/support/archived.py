"""A folder as a backup has it."""

import io
import subprocess
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from lcp_backup.archive.index import read_index, read_members
from lcp_backup.archive.read import read_segments
from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.volume.pack import pack
from lcp_backup.volume.packing import Packed
from tests.support.buffers import Buffer


class Archived:
    """A packed folder, to look into."""

    def __init__(
        self,
        folder: Path,
        check: Callable[[], None] = lambda: None,
        began: datetime | None = None,
    ) -> None:
        self.sink, index_sink = Buffer(), Buffer()
        self.progress: list[int] = []
        with ArchiveWriter(
            self.sink, index_sink, name="volume.tgz", index_name="volume.index", threads=2
        ) as writer:
            self.packed: Packed = pack(
                folder,
                writer,
                began=began or datetime.now(UTC),
                progress=self.progress.append,
                check=check,
                threads=2,
            )
            self.written = writer.finish()
        self.segments: list[Segment] = list(read_index(index_sink, archive_name="volume.tgz"))
        self.members: list[IndexedMember] = list(
            read_members(index_sink, archive_name="volume.tgz")
        )

    @property
    def notices(self) -> list[tuple[str, str]]:
        return [(notice.code, notice.subject) for notice in self.packed.notices]

    def raw_segments(self) -> list[bytes]:
        pairs = read_segments(self.sink, self.segments, name="volume.tgz", threads=2)
        return [raw for _, raw in pairs]

    def raw(self) -> bytes:
        return b"".join(self.raw_segments())

    def extract(self, folder: Path) -> None:
        """With GNU tar, as an operator would."""
        folder.mkdir()
        result = subprocess.run(
            ["tar", "-xpzf", "-", "-C", folder],
            input=self.sink.data,
            capture_output=True,
            check=True,
        )
        # Names that are no text are announced as the standard says; GNU tar reads them too.
        expected = (b"unknown extended header keyword 'hdrcharset'", b"implausibly old time stamp")
        surprises = [
            line for line in result.stderr.splitlines() if not any(e in line for e in expected)
        ]
        assert surprises == []

    def contents(self) -> dict[str, bytes]:
        with tarfile.open(fileobj=io.BytesIO(self.raw())) as opened:
            files = {m.name: opened.extractfile(m) for m in opened if m.isreg()}
            return {name: file.read() for name, file in files.items() if file is not None}
