"""Backups as a catalog holds them, of no site."""

from datetime import datetime

from lcp_backup.archive.index import IndexWriter
from lcp_backup.catalog import Catalog
from lcp_backup.catalog.keys import archive_name, index_name
from lcp_backup.model import (
    Archive,
    ArchiveKind,
    BackupId,
    BackupType,
    DatabaseFacts,
    Manifest,
    VolumeFacts,
)


def a_manifest(slot: datetime) -> Manifest:
    def archive(kind: ArchiveKind) -> Archive:
        return Archive(
            name=archive_name(kind),
            size=100,
            raw_size=1000,
            sha256="0" * 64,
            segments=1,
            index_name=index_name(kind),
            index_size=10,
            index_sha256="1" * 64,
        )

    backup_id = BackupId.of("acme", "prd", slot)
    return Manifest(
        id=str(backup_id),
        type=BackupType.AUTO,
        project="acme",
        environment="prd",
        slot=backup_id.slot,
        run_id="r",
        started_at=slot,
        published_at=slot,
        service_version="0",
        database=archive(ArchiveKind.DATABASE),
        volume=archive(ArchiveKind.VOLUME),
        database_facts=DatabaseFacts(
            name="lportal", flavour="mysql", server_version="9", client_version="9", tables=1
        ),
        volume_facts=VolumeFacts(files=1, folders=0, links=0, bytes=1),
    )


def publish(catalog: Catalog, slot: datetime, kind_of: BackupType = BackupType.AUTO) -> str:
    """A whole backup of nothing: archives, indexes, manifest."""
    manifest = a_manifest(slot).model_copy(update={"type": kind_of})
    for kind in ArchiveKind:
        archive = catalog.backups.archive_writer(manifest.id, kind)
        archive.write(b"x" * 100)
        archive.complete()
        index = catalog.backups.index_writer(manifest.id, kind)
        sha256 = IndexWriter(index, archive_name(kind)).end(archive_size=100, raw_size=1000)
        index.complete()
        known: Archive = getattr(manifest, kind)
        described = known.model_copy(update={"index_sha256": sha256})
        manifest = manifest.model_copy(update={kind: described})
    catalog.backups.publish(manifest)
    return manifest.id


BUCKET = "backups"
