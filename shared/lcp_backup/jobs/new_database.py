"""The database of a backup that is being made: dumped, archived and read back."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from lcp_backup.archive.segment import Section
from lcp_backup.archive.write import ArchiveWriter, OnlyFile
from lcp_backup.catalog import Catalog
from lcp_backup.database import preflight
from lcp_backup.database.dump import start_dump
from lcp_backup.database.dump_answers import check_answers
from lcp_backup.database.dump_program import DumpProgram, check_flavours, find_program
from lcp_backup.database.endpoint import DatabaseEndpoint, Server, ask_server, generated_columns
from lcp_backup.database.sections import Cut, SectionCutter
from lcp_backup.database.sql import max_packet, usable, working
from lcp_backup.document import Document
from lcp_backup.exclusion import matches_table
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.archives import open_archive, read_back_or_describe
from lcp_backup.jobs.side_by_side import Check
from lcp_backup.model import Archive, ArchiveKind, DatabaseFacts, Notice


class DumpedDatabase(Document):
    """The database's archive, whole in the bucket but not published."""

    format: Literal[1] = 1
    archive: Archive
    facts: DatabaseFacts
    notices: tuple[Notice, ...]
    left_out: tuple[str, ...]
    """Tables whose rows are not in it."""


def store_database(
    run: ActiveRun,
    backup_id: str,
    *,
    catalog: Catalog,
    locate: Callable[[], DatabaseEndpoint],
    programs: Sequence[Path],
    table_patterns: tuple[str, ...],
    on_snapshot: Callable[[], None],
    check: Check,
) -> DumpedDatabase:
    """Dumps the database into its archive below an id that is not published.

    Args:
        locate, programs: as of `create_backup`.
        table_patterns: of the tables whose rows are left out.
        on_snapshot: called once, when the dump's snapshot stands.
        check: called often; what it raises ends the dump.

    Raises DatabaseError, TableChangedDuringDump, StorageError, and what check raises.
    """
    endpoint = locate()
    server, program, notices, history, packet = _asked(run, endpoint, programs, table_patterns)
    inspection = preflight.Inspection(server, endpoint.name, check)
    with (
        open_archive(
            catalog,
            backup_id,
            ArchiveKind.DATABASE,
            OnlyFile(f"{endpoint.name}.sql", catalog.now()),
        ) as writer,
        start_dump(endpoint, program, server, on_snapshot=on_snapshot, history=history) as dump,
    ):
        stored = _Stored(writer, inspection, table_patterns, run.progress_of("database"))
        cutter = SectionCutter()
        for chunk in dump.chunks():
            check()
            stored.take(cutter.feed(chunk), check)
        stored.take(cutter.close(), check)
        dump.finish()
        check()
        written = writer.finish()
    facts = DatabaseFacts(
        name=endpoint.name,
        flavour=server.flavour,
        server_version=server.version,
        client_version=program.version,
        tables=len(stored.tables),
    )
    notices += inspection.notices(packet)
    archive = read_back_or_describe(catalog, backup_id, written)
    run.detail(
        "an archive is in the bucket, not published yet",
        archive=archive.name,
        bytes=archive.size,
        raw_bytes=archive.raw_size,
        segments=archive.segments,
    )
    return DumpedDatabase(
        archive=archive, facts=facts, notices=notices, left_out=tuple(sorted(stored.left_out))
    )


@dataclass(frozen=True)
class _Stored:
    """What of a dump goes into its archive, once it was looked at."""

    writer: ArchiveWriter
    inspection: preflight.Inspection
    table_patterns: tuple[str, ...]
    counted: Callable[[int], None]
    """Told the bytes of what was taken."""
    tables: set[str] = field(default_factory=set)
    """Those that are defined."""
    left_out: set[str] = field(default_factory=set)
    """Those whose rows are not taken."""

    def take(self, cuts: Iterable[Cut], check: Check) -> None:
        """Takes what comes next of the dump; raises what `look_at`, `check` and the writer do."""
        for cut in cuts:
            check()
            # The server sends them all the same: not every dump program can be told.
            if cut.section is Section.ROWS and cut.table is not None and self._leaves(cut.table):
                continue
            self.inspection.look_at(cut)
            if cut.section is Section.DEFINITION and cut.table is not None:
                self.tables.add(cut.table)
            self.writer.add(cut.chunks, section=cut.section, table=cut.table)
            self.counted(sum(len(chunk) for chunk in cut.chunks))

    def _leaves(self, table: str) -> bool:
        if table not in self.left_out and matches_table(self.table_patterns, table):
            self.left_out.add(table)
        return table in self.left_out


class _Asked(NamedTuple):
    """What has to be known of a server before its dump begins."""

    server: Server
    program: DumpProgram
    notices: tuple[Notice, ...]
    history: bool
    packet: int
    """Bytes of a row that it takes at most."""


def _asked(
    run: ActiveRun,
    endpoint: DatabaseEndpoint,
    programs: Sequence[Path],
    table_patterns: tuple[str, ...],
) -> _Asked:
    with working(endpoint, endpoint.name) as connection, usable(endpoint):
        server = ask_server(connection)
        program = find_program(programs, server.flavour)
        generated = generated_columns(connection, endpoint.name)
        run.detail(
            "the database is dumped from here",
            host=endpoint.host,
            port=endpoint.port,
            tls=endpoint.tls,
            server=server.version,
            program=str(program.path),
            program_version=program.version,
            generated_columns=len(generated),
        )
        notices = check_flavours(server, program, generated)
        check_answers(endpoint, server, program.version)
        preflight.check_left_out(connection, endpoint.name, table_patterns)
        notices += preflight.inspect(connection, server, endpoint.name, program.version)
        history = preflight.keeps_history(connection, server, endpoint.name, program.version)
        packet = max_packet(connection)
    return _Asked(server, program, notices, history, packet)
