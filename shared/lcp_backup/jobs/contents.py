"""What a backup holds, without its archives: listed out of the indexes."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice

from lcp_backup.archive.index_lines import IndexLines
from lcp_backup.catalog import Catalog
from lcp_backup.database.listing import DumpContent, list_dump
from lcp_backup.errors import ArchiveDamaged, BackupDamaged, NotFound, ObjectNotFound
from lcp_backup.model import Archive, BackupType, Manifest
from lcp_backup.volume.listing import Listed, list_folder


def folder_page(
    catalog: Catalog, backup_id: str, folder: str, *, after: str | None, limit: int
) -> tuple[list[Listed], bool]:
    """A page of what lies in a folder of a backup's volume; as `list_folder` does it.

    Raises NotFound for a backup or folder that is not there; BackupDamaged, UnknownFormat,
    StorageError.
    """
    manifest = catalog.backups.get(backup_id)
    with _index(catalog, backup_id, manifest.volume) as index:
        # An upload keeps the order in which its sender packed it.
        is_sorted = manifest.type is not BackupType.UPLOADED
        return list_folder(index, folder, after=after, limit=limit, is_sorted=is_sorted)


def tables_page(
    catalog: Catalog, backup_id: str, *, after: str | None, limit: int
) -> tuple[DumpContent, bool]:
    """What a backup's database holds, with up to `limit` tables; and whether there are more.

    Arguments: `after` is the last table's name on the page before. Raises as `folder_page`.
    """
    manifest = catalog.backups.get(backup_id)
    with _index(catalog, backup_id, manifest.database) as index:
        content = list_dump(map(index.segment, index.between()))
    wanted = (it for it in content.tables if after is None or it.name > after)
    tables = list(islice(wanted, limit + 1))
    return content._replace(tables=tables[:limit]), len(tables) > limit


def require_tables(catalog: Catalog, manifest: Manifest, tables: Collection[str]) -> None:
    """Raises NotFound, which names the one that is no table of it; all else as `folder_page`."""
    with _index(catalog, manifest.id, manifest.database) as index:
        content = list_dump(map(index.segment, index.between()))
    is_view = {it.name: it.is_view for it in content.tables}
    for table in tables:
        if table not in is_view:
            raise NotFound(f"the backup holds no table {table[:100]!r}")
        if is_view[table]:
            raise NotFound(f"{table[:100]!r} is a view in the backup, and no table")


@contextmanager
def _index(catalog: Catalog, backup_id: str, archive: Archive) -> Iterator[IndexLines]:
    try:
        source = catalog.backups.open(backup_id, archive.index_name)
        yield IndexLines(source, archive_name=archive.name, sha256=archive.index_sha256)
    except ObjectNotFound as error:
        raise BackupDamaged(f"{archive.index_name} of backup {backup_id} is missing") from error
    except ArchiveDamaged as error:
        raise BackupDamaged(f"backup {backup_id}: {error}") from error
