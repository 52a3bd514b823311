"""A backup whose archives are whole: described by its manifest, published, and told of."""

from contextlib import suppress
from datetime import datetime

from lcp_backup import VERSION
from lcp_backup.catalog import Catalog
from lcp_backup.errors import Conflict, ObjectNotFound
from lcp_backup.exclusion import LeftOut
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.new_database import DumpedDatabase
from lcp_backup.jobs.new_volume import NewVolume, secure_sources
from lcp_backup.model import BackupId, BackupType, Manifest
from lcp_backup.telemetry import Telemetry


def new_manifest(
    run: ActiveRun,
    catalog: Catalog,
    backup_id: BackupId,
    *,
    slot: datetime,
    backup_type: BackupType,
    database: DumpedDatabase,
    volume: NewVolume,
    table_patterns: tuple[str, ...],
) -> Manifest:
    """What is said of a backup whose archives are whole; nothing is published yet."""
    told = (*database.notices, *volume.notices)
    return Manifest(
        id=str(backup_id),
        type=backup_type,
        project=backup_id.project,
        environment=backup_id.environment,
        slot=slot,
        run_id=run.id,
        started_at=run.started_at,
        published_at=catalog.now(),
        service_version=VERSION,
        database=database.archive,
        volume=volume.archive,
        sources=volume.sources,
        database_facts=database.facts,
        volume_facts=volume.packed.facts,
        warnings=(*told, *volume.packed.notices),
        warnings_left_out=volume.packed.notices_left_out,
        losses=volume.packed.losses + sum(notice.means_loss for notice in told),
        left_out=LeftOut(
            table_patterns=table_patterns,
            tables=database.left_out,
            path_patterns=volume.path_patterns,
            paths=volume.packed.left_out,
        ),
    )


def publish(run: ActiveRun, manifest: Manifest, catalog: Catalog, telemetry: Telemetry) -> Manifest:
    """Makes the backup exist, as the last step of its run; answers its final manifest.

    Raises Conflict, LeaseLost, OutOfTime, StorageError.
    """
    run.step("publishing")
    run.confirm()
    _check_is_whole(catalog, manifest)
    manifest = secure_sources(catalog, manifest)
    catalog.backups.publish(manifest)
    run.set_result(bytes=manifest.size, warnings=manifest.warning_count, losses=manifest.losses)
    if manifest.losses:
        telemetry.log.error("the backup lacks something of the site", losses=manifest.losses)
    return manifest


def _check_is_whole(catalog: Catalog, manifest: Manifest) -> None:
    """Raises Conflict unless all four objects lie there in their sizes.

    Each was whole when it was written. What deletes them meanwhile is a process that should have
    ended, or somebody by hand.
    """
    for archive in (manifest.database, manifest.volume):
        for name, size in (
            (archive.name, archive.size),
            (archive.index_name, archive.index_size),
        ):
            found = None
            with suppress(ObjectNotFound):
                found = catalog.backups.open(manifest.id, name).size
            if found != size:
                there = "is gone" if found is None else f"has {found} bytes"
                raise Conflict(
                    f"{name} of backup {manifest.id} was written with {size} bytes and {there}:"
                    " nothing was published; back up once more"
                )


def announce(manifest: Manifest, telemetry: Telemetry) -> None:
    """Counts a backup that was published, and tells the event bus."""
    telemetry.count(
        CreateSuccess=1,
        # Also when there are none: the alarm then goes off.
        CreateLosses=manifest.losses,
        CreateStoredBytes=manifest.size,
        CreateRawBytes=manifest.database.raw_size + manifest.volume.raw_size,
        CreateSeconds=(manifest.published_at - manifest.started_at).total_seconds(),
    )
    telemetry.announce(
        "Backup Created",
        {
            "backupId": manifest.id,
            "type": manifest.type,
            "bytes": manifest.size,
            "runId": manifest.run_id,
        },
    )
