"""Since when no backup was proved, when the verify schedule asked for that twice."""

from contextlib import suppress
from datetime import timedelta
from typing import Final

from lcp_backup.catalog import Catalog
from lcp_backup.errors import NotFound
from lcp_backup.jobs.overdue import LOOKS_BACK, last_due
from lcp_backup.model import RunId, RunKind, RunState
from lcp_backup.settings import Settings

_RECORDS_LAST: Final = timedelta(days=89)
"""How long records of runs are there for certain: cleanup deletes them after 90 days."""


def unverified(settings: Settings, catalog: Catalog) -> str | None:
    """Backups are unverified when the verify schedule fired twice without a proof.

    No verification that was asked for since the first of these times found a backup whole.
    Raises StorageError, UnknownFormat.
    """
    schedule = settings.backup_verify_schedule
    fired = None if schedule is None else last_due(schedule, settings, catalog.now())
    if schedule is None or fired is None:
        return None
    since = settings.schedules_since or fired - LOOKS_BACK
    first = schedule.last_fire_time(fired - timedelta(minutes=1), since=since)
    # What was proved is known by the records of runs, which cleanup deletes in the end.
    if first is None or first < catalog.now() - _RECORDS_LAST:
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
