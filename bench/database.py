"""The database against the tools that people use: dumped, restored whole, a selection restored."""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from bench.liferay import SMALL_TABLE, dump_of
from bench.lines import Line, Measured, once, ratios
from bench.rounds import in_turns, middle, need
from bench.sinks import DiscardingSink, FileSink, FileSource
from lcp_backup.archive.index import read_index
from lcp_backup.archive.read import read_segments
from lcp_backup.archive.segment import Segment
from lcp_backup.archive.streams import ByteSink
from lcp_backup.archive.write import ArchiveWriter, OnlyFile, WrittenArchive
from lcp_backup.database.dump import start_dump
from lcp_backup.database.dump_program import find_program
from lcp_backup.database.endpoint import DatabaseEndpoint, ask_server, connect
from lcp_backup.database.pieces import Dump, IndexedDump, StreamedDump
from lcp_backup.database.sections import SectionCutter
from lcp_backup.database.staged_schema import SchemaLoad, Scope
from lcp_backup.settings import program_folders
from local import mariadb

DUMP: Final = Line("database archive, times as long as mariadb-dump > /dev/null", at_most=1.5)
DUMP_PIGZ: Final = Line("database archive, times faster than mariadb-dump | pigz -6", at_least=2.5)
DUMP_MYDUMPER: Final = Line("database archive, times faster than mydumper -t2 -c", at_least=2.5)
ARCHIVE_LINES: Final = (DUMP, DUMP_PIGZ, DUMP_MYDUMPER)

LOAD_CLIENT: Final = Line("database restore, times faster than gunzip | mariadb", at_least=3)
LOAD_MYLOADER: Final = Line("database restore, times faster than myloader -t2", at_least=2)
LOAD_TABLE: Final = Line("restore of one table of 20, percent of the archive read", at_most=10)
RESTORE_LINES: Final = (LOAD_CLIENT, LOAD_MYLOADER, LOAD_TABLE)

SIZE: Final = 1_000_000_000
_NAME: Final = "lportal"
_THREADS: Final = os.process_cpu_count() or 2
_CONNECTIONS: Final = _THREADS + 1
SERVER_OPTIONS: Final = (
    # Memory for all of the data, as above.
    "--innodb-buffer-pool-size=3G",
    "--innodb-log-file-size=512M",
)


@contextmanager
def server(work: Path) -> Iterator[DatabaseEndpoint]:
    """A private server with room for the data below `work`, and where its database will be."""
    password = secrets.token_hex(8)
    port = mariadb.start(work, password, SERVER_OPTIONS)
    try:
        yield DatabaseEndpoint("127.0.0.1", port, mariadb.MASTER_USER, SecretStr(password), _NAME)
    finally:
        mariadb.stop(work)


@contextmanager
def server_in_memory() -> Iterator[DatabaseEndpoint]:
    """A private server whose files are in memory: what is measured is work, not this disk."""
    with (
        tempfile.TemporaryDirectory(prefix="lcp-bench-", dir="/dev/shm") as work,
        server(Path(work)) as endpoint,
    ):
        yield endpoint


def fill(endpoint: DatabaseEndpoint, size: int) -> None:
    """Makes the database, about `size` bytes of SQL."""
    schema_load(endpoint, StreamedDump(lambda: dump_of(_NAME, size))).stage().swap()


def database_archive(work: Path, rounds: int) -> list[Measured]:
    """Seconds to dump a gigabyte of SQL into an archive that is thrown away."""
    need("mydumper", "pigz")
    with server_in_memory() as endpoint:
        fill(endpoint, SIZE)
        tool = _Tools(work, endpoint)
        tool.discarded_dump()  # the server's cache warm for all

        def ours() -> WrittenArchive:
            return archive(endpoint, DiscardingSink(), DiscardingSink())

        own, alone, piped, mydumper = in_turns(
            rounds, ours, tool.discarded_dump, tool.piped_dump, tool.mydumper
        )
    mine = middle("ours", own)
    return [
        ratios(DUMP, own, alone, f"{mine}; {middle('the dump program alone', alone)}"),
        ratios(DUMP_PIGZ, piped, own, f"{mine}; {middle('mariadb-dump | pigz', piped)}"),
        ratios(DUMP_MYDUMPER, mydumper, own, f"{mine}; {middle('mydumper', mydumper)}"),
    ]


def database_restore(work: Path, rounds: int) -> list[Measured]:
    """Seconds to bring a gigabyte of SQL with its secondary indexes back, and one table of it."""
    need("mydumper", "myloader", "pigz")
    with server_in_memory() as endpoint:
        fill(endpoint, SIZE)
        tool = _Tools(work, endpoint)
        stored = Stored(work, endpoint)
        tool.compressed_dump()
        tool.mydumper()
        own, client, myloader = in_turns(rounds, stored.restore, tool.client, tool.myloader)
        size, read = stored.archive.size, stored.restore_small_table()
        share = stored.share_of_small_table()
    mine = middle("ours", own)
    return [
        ratios(LOAD_CLIENT, client, own, f"{mine}; {middle('gunzip | mariadb', client)}"),
        ratios(LOAD_MYLOADER, myloader, own, f"{mine}; {middle('myloader', myloader)}"),
        once(
            LOAD_TABLE,
            100 * read / size,
            f"{read / 1e6:.1f} of {size / 1e6:.0f} MB; the table is {share:.1f} % of it",
        ),
    ]


def archive(endpoint: DatabaseEndpoint, sink: ByteSink, index_sink: ByteSink) -> WrittenArchive:
    """The database's share of a create."""
    with closing(connect(endpoint, database=endpoint.name)) as connection:
        answered = ask_server(connection)
    program = find_program(program_folders(), answered.flavour)
    with (
        ArchiveWriter(
            sink,
            index_sink,
            name="database.tgz",
            index_name="database.index",
            threads=_THREADS,
            only_file=OnlyFile(f"{_NAME}.sql", datetime.now(UTC)),
        ) as writer,
        start_dump(endpoint, program, answered, on_snapshot=lambda: None) as dump,
    ):
        cutter = SectionCutter()
        for chunk in dump.chunks():
            for cut in cutter.feed(chunk):
                writer.add(cut.chunks, section=cut.section, table=cut.table)
        for cut in cutter.close():
            writer.add(cut.chunks, section=cut.section, table=cut.table)
        dump.finish()
        return writer.finish()


class Stored:
    """The database's archive in a file, and restores of it."""

    def __init__(self, work: Path, endpoint: DatabaseEndpoint) -> None:
        self._endpoint = endpoint
        self.path = work / "database.tgz"
        index_path = work / "database.index"
        written = archive(endpoint, FileSink(self.path), FileSink(index_path))
        self.archive = FileSource(self.path)
        index = FileSource(index_path)
        self.segments = list(
            read_index(index, archive_name=written.name, sha256=written.index_sha256)
        )

    def restore(self) -> None:
        """The whole database, beside the live one and swapped in."""
        schema_load(self._endpoint, self.dump()).stage().swap()

    def restore_small_table(self) -> int:
        """One table; answers the bytes of the archive that were read."""
        before = self.archive.bytes_read
        tables = frozenset({SMALL_TABLE})
        schema_load(self._endpoint, self.dump(tables), Scope(tables)).stage().swap()
        return self.archive.bytes_read - before

    def share_of_small_table(self) -> float:
        """The table's share of the archive, in percent."""
        sizes = [it.size for it in self.segments if it.table == SMALL_TABLE]
        return 100 * sum(sizes) / self.archive.size

    def dump(self, tables: frozenset[str] | None = None) -> IndexedDump:
        """What is restored: all of it, or these tables."""
        return _dump_in(self.archive, self.segments, tables)


def dump_in(path: Path, segments: Sequence[Segment], threads: int) -> IndexedDump:
    """All of what `Stored` stored, for another process, which reads it with so many threads."""
    return _dump_in(FileSource(path), segments, None, threads)


def _dump_in(
    source: FileSource,
    segments: Sequence[Segment],
    tables: frozenset[str] | None,
    threads: int = _THREADS,
) -> IndexedDump:
    return IndexedDump(
        segments,
        lambda some: read_segments(source, some, name="the archive", threads=threads),
        by_dump_program=True,
        tables=tables,
    )


def schema_load[D: Dump](
    endpoint: DatabaseEndpoint, dump: D, scope: Scope | None = None
) -> SchemaLoad[D]:
    """A load as a restore function does it."""
    return SchemaLoad(
        endpoint,
        dump,
        dumped_name=_NAME,
        connections=_CONNECTIONS,
        progress=lambda _: None,
        check=lambda: None,
        scope=scope or Scope(),
    )


class _Tools:
    """What people use, on the same server."""

    def __init__(self, work: Path, endpoint: DatabaseEndpoint) -> None:
        self._work = work
        self._options = work / "client.cnf"
        self._options.touch(0o600)
        login = (
            f"host={endpoint.host}\nport={endpoint.port}\nprotocol=tcp\nuser={endpoint.user}\n"
            f"password={endpoint.password.get_secret_value()}\n"
        )
        # mydumper and myloader read sections of their own name.
        sections = ("client", "mydumper", "myloader")
        self._options.write_text("".join(f"[{name}]\n{login}" for name in sections))
        self._dump = (
            f"mariadb-dump --defaults-file={self._options} --single-transaction --quick --routines"
            f" --triggers --events --hex-blob --max-allowed-packet=1G --databases {_NAME}"
        )

    def discarded_dump(self) -> None:
        """The limit of one dump process."""
        self._run(f"{self._dump} > /dev/null")

    def piped_dump(self) -> None:
        """The classic."""
        self._run(f"{self._dump} | pigz -6 > /dev/null")

    def compressed_dump(self) -> None:
        """The classic, kept for `client`."""
        self._run(f"{self._dump} --add-drop-database | pigz -6 > {self._work}/database.sql.gz")

    def client(self) -> None:
        """The classic, back."""
        self._run(
            f"gunzip --stdout {self._work}/database.sql.gz"
            f" | mariadb --defaults-file={self._options} --max-allowed-packet=1G"
        )

    def mydumper(self) -> None:
        """Several connections, compressed."""
        shutil.rmtree(self._work / "mydumper", ignore_errors=True)
        self._run(
            f"mydumper --defaults-file={self._options} -t 2 -c -B {_NAME} -o {self._work}/mydumper"
        )

    def myloader(self) -> None:
        """What `mydumper` wrote, back."""
        self._run(f"myloader --defaults-file={self._options} -t 2 -o -d {self._work}/mydumper")

    def _run(self, command: str) -> None:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], stderr=subprocess.PIPE, check=False
        )
        if done.returncode:
            raise SystemExit(f"{command.split(maxsplit=1)[0]}: {done.stderr.decode()[-500:]}")
