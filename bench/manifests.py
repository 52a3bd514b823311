"""Manifests of backups that were never made."""

from datetime import datetime

from lcp_backup.model import Archive, BackupId, BackupType, DatabaseFacts, Manifest, VolumeFacts


def a_manifest(slot: datetime) -> Manifest:
    """The manifest of a backup of that minute (UTC), as small as can be."""
    archive = Archive(
        name="database.tgz",
        size=1,
        raw_size=1,
        sha256="0" * 64,
        segments=1,
        index_name="database.index",
        index_size=1,
        index_sha256="0" * 64,
    )
    return Manifest(
        id=str(BackupId.of("acme", "prd", slot)),
        type=BackupType.AUTO,
        project="acme",
        environment="prd",
        slot=slot,
        run_id="20261123T001500-create-0a1b2c3d",
        started_at=slot,
        published_at=slot,
        service_version="0",
        database=archive,
        volume=archive,
        database_facts=DatabaseFacts(
            name="lportal", flavour="mysql", server_version="9", client_version="9", tables=1
        ),
        volume_facts=VolumeFacts(files=1, folders=0, links=0, bytes=1),
    )
