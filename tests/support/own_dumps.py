"""Dumps by the servers' own programs."""

import re
import subprocess
from collections.abc import Collection
from datetime import UTC, datetime

from lcp_backup.archive.index import read_index
from lcp_backup.archive.read import read_segments
from lcp_backup.archive.write import ArchiveWriter, OnlyFile
from lcp_backup.database.endpoint import Flavour
from lcp_backup.database.sections import SectionCutter
from lcp_backup.database.staged_schema import (
    IndexedDump,
    StreamedDump,
)
from tests.support.buffers import Buffer
from tests.support.servers import DatabaseServer

_FLAGS = [
    "--databases",
    "--add-drop-database",
    "--routines",
    "--triggers",
    "--events",
    "--hex-blob",
    "--skip-dump-date",
    "--default-character-set=utf8mb4",
]


_DEFINER = re.compile(rb"DEFINER=`[^`]+`@`[^`]+`")


def dump(server: DatabaseServer, schema: str = "site") -> bytes:
    """What the server's own dump program makes of a schema."""
    mysql = server.flavour is Flavour.MYSQL
    program = "mysqldump" if mysql else "mariadb-dump"
    extra = ["--no-tablespaces", "--set-gtid-purged=OFF"] if mysql else []
    login = server.client()[1:6]
    done = subprocess.run(
        [str(server.programs / program), *login, *_FLAGS, *extra, schema],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    # What is restored has another owner, and is the same in all else.
    return _DEFINER.sub(b"DEFINER=`root`@`localhost`", done.stdout)


class OwnDump(StreamedDump):
    """A dump that our own dump program wrote, and no user uploaded."""

    by_dump_program = True


class Stored:
    """A dump as it lies in a bucket."""

    def __init__(self, raw: bytes) -> None:
        self.archive, index = Buffer(), Buffer()
        with ArchiveWriter(
            self.archive,
            index,
            name="database.tgz",
            index_name="database.index",
            threads=2,
            only_file=OnlyFile("selected.sql", datetime(2026, 11, 23, tzinfo=UTC)),
        ) as writer:
            cutter = SectionCutter()
            for cut in (*cutter.feed(raw), *cutter.close()):
                writer.add(cut.chunks, section=cut.section, table=cut.table)
            written = writer.finish()
        self.segments = list(
            read_index(index, archive_name="database.tgz", sha256=written.index_sha256)
        )
        self.archive.reads.clear()

    def dump(self, tables: Collection[str] | None = None) -> IndexedDump:
        return IndexedDump(
            self.segments,
            lambda some: read_segments(self.archive, some, name="database.tgz", threads=2),
            by_dump_program=True,
            tables=tables,
        )

    @property
    def bytes_read(self) -> int:
        return sum(length for _, length in self.archive.reads)
