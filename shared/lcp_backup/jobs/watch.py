"""Watch: what is kept, how old the newest of it is, and whether what a schedule asks for happened.

Every other sign of life comes from a run. That none ran at all is seen here, and nowhere else.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from lcp_backup.catalog import Catalog
from lcp_backup.cron import CronExpression
from lcp_backup.errors import NotFound, UnknownFormat
from lcp_backup.model import BackupId, BackupType, Manifest, Run, RunId, RunKind, RunState
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry

MARGIN: Final = timedelta(hours=1)
"""What a run has after its time before it is missed: three attempts of 15 minutes, and the waits
between them."""
RECORDS_LAST: Final = timedelta(days=89)
"""How long records of runs are there for certain: cleanup deletes them after 90 days."""
_LOOKS_BACK: Final = timedelta(days=366)
"""How far a fire time is looked for when nobody says since when the schedule has been there."""


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

    A backup is overdue when the schedule fired more than MARGIN ago and there is none, made on
    schedule or by hand, since then: an uploaded one is not the site's. In a disaster-recovery
    environment a restore is: the newest backup that the source had when the schedule fired, or a
    newer one, must have been restored by then or since, unless restores are paused. Backups that
    somebody uploaded count there only where scheduled restores take them. What fired before
    `schedules_since` is not asked for.

    Backups are unverified when the verify schedule fired twice, the last time more than MARGIN ago,
    and no verification that was asked for since the first of these times found a backup whole.

    Arguments: `source` holds what this environment restores from. Raises StorageError,
    UnknownFormat (of a run's record).
    """
    create, restore = settings.backup_create_schedule, settings.backup_restore_schedule
    telemetry.log.debug(
        "what the schedules ask for",
        create_schedule=create.source if create else None,
        restore_schedule=restore.source if restore else None,
        since=str(settings.schedules_since),
    )
    own = list(_manifests(catalog, telemetry))
    manifests = [manifest for manifest in own if manifest is not None]
    if settings.backup_restore_schedule is None:
        seen = manifests
        overdue = _overdue_backup(settings, manifests, catalog.now())
    else:
        seen = [manifest for manifest in _manifests(source, telemetry) if manifest is not None]
        overdue = _overdue_restore(
            settings, settings.backup_restore_schedule, catalog, seen, catalog.now()
        )
    unverified = _unverified(settings, catalog)
    newest = seen[0] if seen else None
    age = None if newest is None else int((catalog.now() - newest.slot).total_seconds())
    result = WatchResult(
        newest=None if newest is None else newest.id,
        age_seconds=age,
        retained_backups=len(own),
        retained_bytes=sum(manifest.size for manifest in manifests),
        overdue=overdue,
        unverified=unverified,
    )
    telemetry.count(
        Overdue=int(overdue is not None),
        Unverified=int(unverified is not None),
        RetainedBackups=result.retained_backups,
        RetainedBytes=result.retained_bytes,
        **({} if age is None else {"NewestBackupAgeSeconds": age}),
    )
    is_well = overdue is None and unverified is None
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


def _fired(schedule: CronExpression, settings: Settings, now: datetime) -> datetime | None:
    """When the schedule last fired so long ago that its run must have succeeded."""
    until = now - MARGIN
    return schedule.last_fire_time(until, since=settings.schedules_since or until - _LOOKS_BACK)


def _unverified(settings: Settings, catalog: Catalog) -> str | None:
    schedule = settings.backup_verify_schedule
    fired = None if schedule is None else _fired(schedule, settings, catalog.now())
    if schedule is None or fired is None:
        return None
    since = settings.schedules_since or fired - _LOOKS_BACK
    first = schedule.last_fire_time(fired - timedelta(minutes=1), since=since)
    # What was proved is known by the records of runs, which cleanup deletes in the end.
    if first is None or first < catalog.now() - RECORDS_LAST:
        return None
    for run_id in catalog.runs.ids():
        named = RunId.parse(run_id)
        if named.started_at < first:
            break
        if named.kind is RunKind.VERIFY and _succeeded(catalog, run_id):
            return None
    return (
        f"no backup was proved since {first:%Y-%m-%d %H:%M} UTC, and two verifications were due;"
        " the verify function's log and GET /backup/runs?kind=verify say why, if it ran at all"
    )


def _succeeded(catalog: Catalog, run_id: str) -> bool:
    with suppress(NotFound):  # cleanup may delete one while they are read
        return catalog.runs.get(run_id).state is RunState.SUCCEEDED
    return False


def _overdue_backup(settings: Settings, manifests: list[Manifest], now: datetime) -> str | None:
    schedule = settings.backup_create_schedule
    # Without a schedule (a stack's own draws one) nothing is asked for.
    fired = None if schedule is None else _fired(schedule, settings, now)
    if fired is None or any(
        manifest.slot >= fired and manifest.type is not BackupType.UPLOADED
        for manifest in manifests
    ):
        return None
    return (
        f"the backup of {fired:%Y-%m-%d %H:%M} UTC is missing, and none was made since;"
        " the create function's log and GET /backup/runs say why, if it ran at all"
    )


def _overdue_restore(
    settings: Settings,
    schedule: CronExpression,
    catalog: Catalog,
    manifests: list[Manifest],
    now: datetime,
) -> str | None:
    fired = _fired(schedule, settings, now)
    if fired is None or catalog.pause.get():
        return None
    wanted = next(
        (
            manifest
            for manifest in manifests
            if manifest.published_at <= fired
            and (manifest.type is not BackupType.UPLOADED or settings.backup_restore_uploaded)
        ),
        None,
    )
    if wanted is None:
        return None
    # An hour more: a run's id is as old as the request for it, which may have waited that long.
    for run in catalog.runs.restores(wanted.published_at - timedelta(hours=1)):
        if _is_as_new(run, wanted):
            return None
        if run.started_at < fired:
            # That is what the site held when the schedule fired: it had to be replaced.
            break
    return (
        f"backup {wanted.id} should have been restored at {fired:%Y-%m-%d %H:%M} UTC, and neither"
        " it nor a newer one was; the restore function's log and GET /backup/runs say why, if it"
        " ran at all"
    )


def _is_as_new(restore: Run, wanted: Manifest) -> bool:
    """Whether a restore brought back this backup, or a newer one of the same environment."""
    if restore.backup_id is None:
        return False
    if restore.backup_id == wanted.id:
        return restore.is_about(wanted)
    # By their ids: the restored backup may have been deleted since.
    restored, asked = BackupId.parse(restore.backup_id), BackupId.parse(wanted.id)
    same_site = (restored.project, restored.environment) == (asked.project, asked.environment)
    return same_site and restored.slot >= asked.slot
