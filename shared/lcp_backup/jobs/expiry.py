"""Which backups are past their time, and their end."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.pins import PinState
from lcp_backup.errors import Pinned, UnknownFormat
from lcp_backup.jobs.retirement import delete_backup, freed_by_deletion
from lcp_backup.jobs.thinning import kept_by
from lcp_backup.model import BackupType, Manifest
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry


@dataclass
class Expiry:
    """What became of the backups of an environment; ids, newest first."""

    expired: list[str] = field(default_factory=list)
    thinned: list[str] = field(default_factory=list)
    """Those that went although their retention had not ended."""
    kept: list[str] = field(default_factory=list)
    read: set[str] | None = field(default_factory=set)
    """The backups whose archives those that stay read; None when nobody knows."""
    freed_bytes: int = 0


def expire(
    settings: Settings, catalog: Catalog, telemetry: Telemetry, now: datetime, *, dry_run: bool
) -> Expiry:
    """Deletes backups that are past the retention period or thinned out; answers what stays.

    With LCP_BACKUP_KEEP, those go that no period keeps; uploaded ones are not of the schedule, and
    neither go nor count there. The newest always stays, and so does one that is pinned, is being
    restored right now, or cannot be read by this version. A deletion that began and did not end is
    finished, whatever the backup's age.

    Arguments: `dry_run` deletes nothing and answers what would go. Raises StorageError.
    """
    limit = now - timedelta(days=settings.backup_retention_days)
    in_use = catalog.lease.backup_in_use()
    decided = catalog.pins.ids()
    found = Expiry()
    manifests = list(_readable(catalog, telemetry, found))
    begun = {it.id for it in manifests if it.id in decided and _has_begun_to_go(catalog, it)}
    # What goes anyway is no period's: another backup of it stays instead.
    thinned = _thinned(settings, [it for it in manifests if it.id not in begun])
    newest = True
    for manifest in manifests:
        began = manifest.id in begun
        expires = began or manifest.slot <= limit
        goes = began or (not newest and (expires or manifest.id in thinned))
        newest = newest and began
        if goes and manifest.id != in_use and _delete(catalog, telemetry, manifest, dry_run):
            (found.expired if expires else found.thinned).append(manifest.id)
            found.freed_bytes += freed_by_deletion(manifest)
            continue
        found.kept.append(manifest.id)
        if found.read is not None:
            found.read.update(source.backup_id for source in manifest.sources)
    return found


def _thinned(settings: Settings, manifests: list[Manifest]) -> set[str]:
    """The backups that no period keeps."""
    if settings.backup_keep is None:
        return set()
    slots = {it.id: it.slot for it in manifests if it.type is not BackupType.UPLOADED}
    return slots.keys() - kept_by(settings.backup_keep, slots)


def _readable(catalog: Catalog, telemetry: Telemetry, found: Expiry) -> Iterator[Manifest]:
    """Every backup, newest first; those that this version cannot read are kept."""
    for backup_id in catalog.backups.ids():
        try:
            manifest = catalog.backups.find(backup_id)
        except UnknownFormat as error:
            telemetry.log.warning("kept", backup_id=backup_id, reason=str(error))
            found.kept.append(backup_id)
            found.read = None
            continue
        if manifest is not None:
            yield manifest


def _has_begun_to_go(catalog: Catalog, manifest: Manifest) -> bool:
    try:
        pin = catalog.pins.of(manifest)
    except UnknownFormat:
        return False
    return pin is not None and pin.state is PinState.DELETED


def _delete(catalog: Catalog, telemetry: Telemetry, manifest: Manifest, dry_run: bool) -> bool:
    """Deletes a backup unless it is pinned; answers whether it went, or would in a dry run."""
    try:
        if dry_run:
            pin = catalog.pins.of(manifest)
            return pin is None or pin.state is not PinState.PINNED
        delete_backup(catalog, manifest)
    except (Pinned, UnknownFormat) as error:
        telemetry.log.info("kept", backup_id=manifest.id, reason=str(error))
        return False
    return True
