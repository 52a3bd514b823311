"""What a schedule asks for and did not happen, each as a sentence; None when all is well.

A schedule asks for nothing before `schedules_since`, and there is still time for what it fired for
less than _MARGIN ago.
"""

from datetime import datetime, timedelta
from typing import Final

from lcp_backup.catalog import Catalog
from lcp_backup.cron import CronExpression
from lcp_backup.model import BackupId, BackupType, Manifest, Run
from lcp_backup.settings import Settings

_MARGIN: Final = timedelta(hours=1)
"""What a run has after its time before it is missed: three attempts of 15 minutes, and the waits
between them."""
LOOKS_BACK: Final = timedelta(days=366)
"""How far a fire time is looked for when nobody says since when the schedule has been there."""


def overdue_backup(settings: Settings, manifests: list[Manifest], now: datetime) -> str | None:
    """A backup is overdue when none was made since the schedule fired, on schedule or by hand.

    An uploaded one is not the site's.
    """
    schedule = settings.backup_create_schedule
    # Without a schedule (a stack's own draws one) nothing is asked for.
    fired = None if schedule is None else last_due(schedule, settings, now)
    if fired is None or any(
        manifest.slot >= fired and manifest.type is not BackupType.UPLOADED
        for manifest in manifests
    ):
        return None
    return (
        f"the backup of {fired:%Y-%m-%d %H:%M} UTC is missing, and none was made since;"
        " the create function's log and GET /backup/runs say why, if it ran at all"
    )


def overdue_restore(
    settings: Settings,
    schedule: CronExpression,
    catalog: Catalog,
    manifests: list[Manifest],
    now: datetime,
) -> str | None:
    """A restore is overdue when what the source had as the schedule fired was not brought back.

    The newest backup that it had then, or a newer one, must have been restored by then or since,
    unless restores are paused. Backups that somebody uploaded count only where scheduled restores
    take them.

    Arguments: `manifests` are the source's, newest first. Raises StorageError, UnknownFormat.
    """
    fired = last_due(schedule, settings, now)
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


def last_due(schedule: CronExpression, settings: Settings, now: datetime) -> datetime | None:
    """When the schedule last fired so long ago that its run must have succeeded."""
    until = now - _MARGIN
    return schedule.last_fire_time(until, since=settings.schedules_since or until - LOOKS_BACK)


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
