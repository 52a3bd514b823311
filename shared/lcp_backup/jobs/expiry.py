"""Which backups are past their time, and their end."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.pins import PinState
from lcp_backup.errors import Pinned, UnknownFormat
from lcp_backup.jobs.planned import CarryOut
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
    settings: Settings, catalog: Catalog, telemetry: Telemetry, now: datetime, carry_out: CarryOut
) -> Expiry:
    """Has backups deleted that are past the retention period or thinned out; answers what stays.

    With LCP_BACKUP_KEEP, those go that no period keeps; uploaded ones are not of the schedule, and
    neither go nor count there. The newest always stays, and so does one that is pinned, is being
    restored right now, or cannot be read by this version. A deletion that began and did not end is
    finished, whatever the backup's age.

    Raises StorageError, and what `carry_out` raises.
    """
    limit = now - timedelta(days=settings.backup_retention_days)
    in_use = catalog.lease.backup_in_use()
    decided = catalog.pins.ids()
    found = Expiry()
    manifests = list(_readable(catalog, telemetry, found))
    states = {it.id: _state(catalog, it) for it in manifests if it.id in decided}
    begun = {backup_id for backup_id, state in states.items() if state is PinState.DELETED}
    # What goes anyway is no period's: another backup of it stays instead.
    thinned = _thinned(settings, [it for it in manifests if it.id not in begun])
    newest = True
    for manifest in manifests:
        began = manifest.id in begun
        expires = began or manifest.slot <= limit
        goes = began or (not newest and (expires or manifest.id in thinned))
        newest = newest and began
        if goes and manifest.id != in_use and _went(catalog, telemetry, manifest, carry_out):
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


def _state(catalog: Catalog, manifest: Manifest) -> PinState | None:
    try:
        pin = catalog.pins.of(manifest)
    except UnknownFormat:
        return None
    return None if pin is None else pin.state


def _went(catalog: Catalog, telemetry: Telemetry, manifest: Manifest, carry_out: CarryOut) -> bool:
    """Has a backup deleted unless it is pinned; answers whether it went, or would."""
    try:
        catalog.pins.require_unpinned(manifest)
        carry_out(partial(delete_backup, catalog, manifest))
    except (Pinned, UnknownFormat) as error:
        telemetry.log.info("kept", backup_id=manifest.id, reason=str(error))
        return False
    return True
