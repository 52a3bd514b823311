"""What a restore that was carried out comes to: its answer, its record, and what is told of it."""

from dataclasses import dataclass, field
from typing import Final

from lcp_backup.database.local_infile import ROWS_TRAVEL_AS_STATEMENTS
from lcp_backup.database.staged_schema import Loaded
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.staged_site import AS_IT_WAS, REPLACED, StagedSite
from lcp_backup.jobs.stored_backup import StoredBackup
from lcp_backup.model import Notice
from lcp_backup.requests import RestoreRequest
from lcp_backup.telemetry import Telemetry

_MOST_DEFINERS: Final = 1000


@dataclass(frozen=True)
class RestoreResult:
    """What a restore answers.

    `restored` is False when it was paused or had been done before, and when workers go on with it.
    """

    backup_id: str | None
    restored: bool
    run_id: str | None = None
    rows: int = 0
    """Rows that were loaded."""
    read_bytes: int = 0
    """Bytes of the archives that were read."""
    kept: list[str] = field(default_factory=list)
    """Where what was live before is kept, when that was asked for."""
    statements_left_out: list[str] = field(default_factory=list)
    """Heads of statements that need rights which RDS does not give."""
    definers: list[str] = field(default_factory=list)
    """Who owned each view, trigger, routine and event in the dump, such as `view names:
    root@localhost`. They belong to the locked owner account now, or to LCP_SITE_USER_NAME."""
    scripts: list[str] = field(default_factory=list)
    """The scripts that were run, each with how many rows it changed."""
    events_disabled: list[str] = field(default_factory=list)
    """Events of an uploaded backup: they come back disabled."""


def swapped(
    run: ActiveRun, request: RestoreRequest, backup: StoredBackup, site: StagedSite
) -> RestoreResult:
    """Swaps a staged site in and drops what was live; keeps in the run's record what came of it.

    Raises what `StagedSite.swap` and its `discard` raise.
    """
    with site as staged:
        loaded = staged.swap()
    run.add_notices(staged.notices)
    result = _result(run, backup, loaded, staged.kept)
    _record(run, request, loaded, result)
    return result


def tell_completed(run: ActiveRun, telemetry: Telemetry, *, whole: bool) -> None:
    """Counts a restore whose run has succeeded, and tells the event bus."""
    telemetry.count(RestoreSuccess=1, RestoreSeconds=(run.now() - run.started_at).total_seconds())
    telemetry.announce(
        "Restore Completed", {"backupId": run.backup_id, "runId": run.id, "whole": whole}
    )


def _notices(loaded: Loaded | None) -> tuple[Notice, ...]:
    """What a reader of the run should know of the database that was loaded."""
    if loaded is None:
        return ()
    found = [
        Notice(
            code="left-behind",
            subject=schema,
            detail="this schema of the restore could not be dropped: drop it by hand",
        )
        for schema in loaded.left_behind
    ]
    if not loaded.rows_as_data:
        found.append(
            Notice(
                code="rows-as-statements",
                subject="local_infile",
                detail=ROWS_TRAVEL_AS_STATEMENTS,
            )
        )
    return tuple(found)


def _result(
    run: ActiveRun, backup: StoredBackup, loaded: Loaded | None, kept: tuple[str, ...]
) -> RestoreResult:
    """What a restore answers that was done."""
    return RestoreResult(
        backup.manifest.id,
        restored=True,
        run_id=run.id,
        rows=loaded.rows if loaded else 0,
        read_bytes=backup.read_bytes,
        kept=list(kept),
        statements_left_out=list(loaded.left_out) if loaded else [],
        definers=list(loaded.definers[:_MOST_DEFINERS]) if loaded else [],
        events_disabled=list(loaded.disabled) if loaded else [],
        scripts=list(loaded.scripts) if loaded else [],
    )


def _record(
    run: ActiveRun, request: RestoreRequest, loaded: Loaded | None, result: RestoreResult
) -> None:
    """What the run's record and its log say of it."""
    if loaded is not None:
        run.detail("rows were loaded", rows=loaded.rows, as_data=loaded.rows_as_data)
    run.add_notices(_notices(loaded))
    run.set_result(
        live_site=REPLACED if request.changes_live else AS_IT_WAS,
        whole=request.is_whole,
        rows=result.rows,
        read_bytes=result.read_bytes,
        kept=result.kept,
        statements_left_out=result.statements_left_out,
        definers=result.definers,
        events_disabled=result.events_disabled,
        scripts=result.scripts,
    )
