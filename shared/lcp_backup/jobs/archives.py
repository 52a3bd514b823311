"""The archives of a backup that is being made, at their place in the catalog."""

import os
from collections.abc import Sequence
from typing import Final

from lcp_backup.archive.read import read_back
from lcp_backup.archive.write import ArchiveWriter, OnlyFile, WrittenArchive
from lcp_backup.catalog import Catalog
from lcp_backup.catalog.keys import archive_name, index_name
from lcp_backup.model import Archive, ArchiveKind

THREADS: Final = os.process_cpu_count() or 1
"""How many segments of each archive are compressed at once. Compression is what costs most."""


def open_archive(
    catalog: Catalog,
    backup_id: str,
    kind: ArchiveKind,
    only_file: OnlyFile | None,
    sources: Sequence[str] = (),
) -> ArchiveWriter:
    """The writer of one archive and its index, below an id that is not published.

    `sources` are the backups in whose archives members of the index may lie.
    """
    return ArchiveWriter(
        catalog.backups.archive_writer(backup_id, kind),
        catalog.backups.index_writer(backup_id, kind),
        name=archive_name(kind),
        index_name=index_name(kind),
        threads=THREADS,
        only_file=only_file,
        sources=sources,
    )


def read_back_or_describe(catalog: Catalog, backup_id: str, written: WrittenArchive) -> Archive:
    """What the manifest says of a written archive.

    One whose head was written last is read back for it: nobody knows its SHA-256 yet. One into
    which segments were copied is not: that would read what was copied in order not to be read.
    """
    if written.sha256 is not None or written.copied_segments:
        return written.described(written.sha256)
    return read_back(
        written,
        catalog.backups.open(backup_id, written.name),
        catalog.backups.open(backup_id, written.index_name),
        threads=THREADS,
    )
