"""Whether the rows of a backup and the files of its volume agree: found out, kept, and told."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Final

from lcp_backup.archive.segment import IndexedMember, Section
from lcp_backup.catalog import Catalog
from lcp_backup.database import documents
from lcp_backup.database.documents import DocumentRow, DocumentTables
from lcp_backup.database.endpoint import Connection
from lcp_backup.errors import NotFound
from lcp_backup.exclusion import PathPatterns
from lcp_backup.jobs.stored_backup import StoredBackup, StoredVolume
from lcp_backup.liferay.compare import Comparison, Named, StoredFile, is_of_store
from lcp_backup.liferay.sorting import Record, in_order
from lcp_backup.liferay.store import Store, recognise
from lcp_backup.model import BackupType, Manifest, Notice
from lcp_backup.verification import Difference, DifferenceKind, Documents, Report
from lcp_backup.volume.names import place_in_order

_FOUND_AT_LEAST: Final = 0.01
"""Of the files that rows name; with fewer the volume is not where documents are."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class ConsistencyReport:
    """The report on one backup, while its rows are in a scratch schema."""

    backup: StoredBackup
    catalog: Catalog
    run_id: str
    report: Report | None = None
    """What was found out, once `look` was called."""
    listed: list[Difference] = field(default_factory=list)
    """The differences that it lists."""

    def look(
        self,
        check: Callable[[], None],
        volume: StoredVolume,
        connection: Connection,
        schema: str,
    ) -> None:
        """Reads the rows of the schema and the index of the volume, and compares them.

        Memory does not grow with their number. Raises ServerGaveUp, VolumeError (no room to sort),
        ArchiveDamaged, StorageError; what `check` raises.
        """
        manifest = self.backup.manifest
        tables = documents.find(connection, schema)
        kept_out = documents.spelled(manifest.left_out.tables)
        if not tables.are_liferays:
            self.look_at_nothing()
        elif kept_out.keys() & {documents.ENTRIES, documents.VERSIONS}:
            self.report = self._report(Documents.LEFT_OUT)
        else:
            self._compare(tables, volume, check, images=documents.IMAGES not in kept_out)

    def look_at_nothing(self) -> None:
        """Reports on a dump that has no tables of Liferay's."""
        self.report = self._report(Documents.NOT_LIFERAY)

    def tables(self) -> set[str]:
        """The dump's tables of which `look` reads rows; empty where it is not Liferay's."""
        names = documents.spelled(
            segment.table
            for segment in self.backup.database_segments()
            if segment.section is Section.DEFINITION and segment.table is not None
        )
        if not {documents.ENTRIES, documents.VERSIONS} <= names.keys():
            return set()
        return {name for table, name in names.items() if table != documents.CONTENTS}

    def keep(self) -> Report:
        """Keeps what was found out beside the manifest.

        Raises NotFound when the backup is gone: nothing may be kept below its id then.
        """
        assert self.report is not None, "it was looked at"
        manifest = self.backup.manifest
        check_is_there(self.catalog, manifest)
        self.catalog.reports.keep(self.report, self.listed)
        try:
            check_is_there(self.catalog, manifest)
        except NotFound:
            self.catalog.reports.forget(manifest.id)
            raise
        return self.report

    def _compare(
        self,
        tables: DocumentTables,
        volume: StoredVolume,
        check: Callable[[], None],
        *,
        images: bool,
    ) -> None:
        manifest = self.backup.manifest
        comparison = Comparison(
            left_out=PathPatterns(manifest.left_out.path_patterns),
            since_ns=_nanoseconds(manifest.started_at),
        )

        def files() -> Iterator[IndexedMember]:
            members = volume.members()
            return (it for it in members if it.type != "folder" and is_of_store(it.name))

        store = recognise(it.name for it in files())
        rows = chain.from_iterable(
            _named(row, store or Store.SIMPLE) for row in tables.rows(check, images=images)
        )
        stored: Iterator[StoredFile] = map(_stored_file, files())
        with ExitStack() as sorting:
            sorted_rows = sorting.enter_context(in_order(map(_as_record, rows), check))
            if manifest.type is BackupType.UPLOADED:  # it keeps the order of its sender
                sorted_files = sorting.enter_context(in_order(map(_as_record, stored), check))
                stored = (StoredFile(*record[1:]) for record in sorted_files)
            named = (Named(*record[1:]) for record in sorted_rows)
            comparison.run(named, stored, place_in_order, check)
        lies = self._where_they_lie(comparison, store)
        self.report = self._report(lies, store, comparison)
        self.listed = comparison.listed if lies is Documents.VOLUME else []

    def _where_they_lie(self, comparison: Comparison, store: Store | None) -> Documents:
        expected = comparison.rows - comparison.kept_out
        if not expected or (store and comparison.found >= expected * _FOUND_AT_LEAST):
            return Documents.VOLUME
        return Documents.DATABASE if self._dump_holds_contents() else Documents.ELSEWHERE

    def _dump_holds_contents(self) -> bool:
        # (Of an empty table a dump has locks around no rows.)
        contents = (
            segment
            for segment in self.backup.database_segments()
            if segment.section is Section.ROWS
            and segment.table is not None
            and segment.table.lower() == documents.CONTENTS.lower()
        )
        return any(b"INSERT " in raw for _, raw in self.backup.read_database(islice(contents, 1)))

    def _report(
        self,
        lies: Documents,
        store: Store | None = None,
        comparison: Comparison | None = None,
    ) -> Report:
        manifest = self.backup.manifest
        figures: dict[str, int] = {}
        if comparison is not None:
            figures = {"rows": comparison.rows, "files": comparison.files}
        if comparison is not None and lies is Documents.VOLUME:
            figures |= {
                "missing": comparison.counts[DifferenceKind.MISSING],
                "wrong_size": comparison.counts[DifferenceKind.SIZE],
                "wrong_checksum": comparison.counts[DifferenceKind.CHECKSUM],
                "unnamed": comparison.counts[DifferenceKind.UNNAMED],
                "checksums": comparison.checksums,
                "newer": comparison.newer,
                "generated": comparison.generated,
                "other": comparison.other,
                "left_out": comparison.kept_out,
                "listed": len(comparison.listed),
            }
        return Report.model_validate(
            {
                "backup_id": manifest.id,
                "backup_run_id": manifest.run_id,
                "run_id": self.run_id,
                "made_at": self.catalog.now(),
                "documents": lies,
                "store": store if lies is Documents.VOLUME else None,
                **figures,
            }
        )


def notices_of(report: Report) -> tuple[Notice, ...]:
    """What readers of the run have to know of a report; nothing where all is well."""
    if report.documents is Documents.ELSEWHERE:
        code = "documents-elsewhere"
    elif report.differences:
        code = "documents-differ"
    else:
        return ()
    return (Notice(code=code, subject=report.backup_id, detail=report.sentence),)


def check_is_there(catalog: Catalog, manifest: Manifest) -> None:
    """Raises NotFound when the backup was deleted, also when another has its id."""
    found = catalog.backups.find(manifest.id)
    if found is None or found.run_id != manifest.run_id:
        raise NotFound(
            f"backup {manifest.id} was deleted while it was read: nothing is known of it"
        )


def _named(row: DocumentRow, store: Store) -> Iterator[Named]:
    places = [(row.company, row.version, False)]
    if row.other is not None and row.other != (row.company, row.version):
        places.append((*row.other, True))
    for company, version, is_other in places:
        path = store.place(company, row.repository, row.name, version)
        yield Named(path, is_other, row.table, row.id, row.title, row.size, row.checksum)


def _stored_file(member: IndexedMember) -> StoredFile:
    return StoredFile(
        member.name,
        member.size if member.type == "file" else None,
        member.sha256,
        max(member.mtime_ns, member.ctime_ns),
    )


def _as_record(it: Named | StoredFile) -> Record:
    return [place_in_order(it.path), *it]


def _nanoseconds(moment: datetime) -> int:
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
