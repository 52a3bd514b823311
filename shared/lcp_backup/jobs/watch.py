"""Watch: what is kept, how old the newest of it is, and whether what a schedule asks for happened.

Every other sign of life comes from a run. That none ran at all is seen here, and nowhere else.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lcp_backup.catalog import Catalog
from lcp_backup.errors import UnknownFormat
from lcp_backup.jobs.overdue import overdue_backup, overdue_restore
from lcp_backup.jobs.unverified import unverified
from lcp_backup.model import Manifest
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry


@dataclass(frozen=True)
class WatchResult:
    """What was seen."""

    newest: str | None
    """Id of the newest backup (in a disaster-recovery environment, of the source's)."""
    age_seconds: int | None
    """Seconds since its slot; None when there is no backup."""
    retained_backups: int
    """This environment's own."""
    retained_bytes: int
    overdue: str | None
    """What should have happened and did not, as a sentence."""
    unverified: str | None
    """Since when no backup was proved, as a sentence, when that is too long."""


def watch(
    settings: Settings, catalog: Catalog, source: Catalog, telemetry: Telemetry
) -> WatchResult:
    """Looks, writes metrics, and changes nothing.

    `jobs/overdue.py` and `jobs/unverified.py` say what counts as that. In a disaster-recovery
    environment a restore can be overdue, in any other one a backup.

    Arguments: `source` holds what this environment restores from. Raises StorageError,
    UnknownFormat (of a run's record).
    """
    create, restore = settings.backup_create_schedule, settings.backup_restore_schedule
    telemetry.log.debug(
        "what the schedules ask for",
        create_schedule=create.text if create else None,
        restore_schedule=restore.text if restore else None,
        since=str(settings.schedules_since),
    )
    own = list(_manifests(catalog, telemetry))
    manifests = [manifest for manifest in own if manifest is not None]
    if restore is None:
        seen = manifests
        overdue = overdue_backup(settings, manifests, catalog.now())
    else:
        seen = [manifest for manifest in _manifests(source, telemetry) if manifest is not None]
        overdue = overdue_restore(settings, restore, catalog, seen, catalog.now())
    unproved = unverified(settings, catalog)
    newest = seen[0] if seen else None
    age = None if newest is None else int((catalog.now() - newest.slot).total_seconds())
    result = WatchResult(
        newest=None if newest is None else newest.id,
        age_seconds=age,
        retained_backups=len(own),
        retained_bytes=sum(manifest.size for manifest in manifests),
        overdue=overdue,
        unverified=unproved,
    )
    telemetry.count(
        Overdue=int(overdue is not None),
        Unverified=int(unproved is not None),
        RetainedBackups=result.retained_backups,
        RetainedBytes=result.retained_bytes,
        **({} if age is None else {"NewestBackupAgeSeconds": age}),
    )
    is_well = overdue is None and unproved is None
    (telemetry.log.info if is_well else telemetry.log.error)("watch", **vars(result))
    return result


def _manifests(catalog: Catalog, telemetry: Telemetry) -> Iterator[Manifest | None]:
    """Every backup, newest first; None for one that this version cannot read."""
    for backup_id in catalog.backups.ids():
        try:
            manifest = catalog.backups.find(backup_id)
        except UnknownFormat as error:
            telemetry.log.warning("passed over", backup_id=backup_id, reason=str(error))
            yield None
        else:
            if manifest is not None:
                yield manifest
