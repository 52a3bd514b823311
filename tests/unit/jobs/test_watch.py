"""Watch: a backup, or in a disaster-recovery environment a restore, that did not happen is seen."""

import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from functions.watch import app
from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.composition import Environment
from lcp_backup.jobs.watch import WatchResult, watch
from lcp_backup.model import BackupType, Run, RunKind, RunState
from lcp_backup.service import Service
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry
from tests.support.backups import BUCKET, a_manifest, publish
from tests.support.clock import SettableClock

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_s3 import S3Client

EVENTS = Path(__file__).parents[3] / "events"

DAILY = {"LCP_BACKUP_CREATE_SCHEDULE": "0 3 * * *"}
RECOVERY = {
    "LCP_BACKUP_RESTORE_SCHEDULE": "0 * * * *",
    "LCP_BACKUP_RESTORE_SOURCE_BUCKET": "there",
    "LCP_ENVIRONMENT_TYPE": "production",
}


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


class Watcher:
    """Watch at a time of one's choice."""

    def __init__(
        self, catalog: Catalog, source: Catalog, telemetry: Telemetry, clock: SettableClock
    ) -> None:
        self._catalog = catalog
        self._source = source
        self._telemetry = telemetry
        self._clock = clock

    def __call__(self, now: datetime, variables: dict[str, str]) -> WatchResult:
        self._clock.now = now
        settings = Settings.from_env(variables)
        return watch(settings, self._catalog, self._source, self._telemetry)


@pytest.fixture
def source(store: ObjectStore, clock: SettableClock) -> Catalog:
    return Catalog(store, "acme/source", clock)


@pytest.fixture
def look(catalog: Catalog, source: Catalog, telemetry: Telemetry, clock: SettableClock) -> Watcher:
    return Watcher(catalog, source, telemetry, clock)


def restored(catalog: Catalog, clock: SettableClock, backup_id: str, *, whole: bool = True) -> None:
    run = catalog.runs.queue(catalog.runs.new_id(RunKind.RESTORE), RunKind.RESTORE, backup_id)
    done: Run = run.model_copy(
        update={
            "state": RunState.SUCCEEDED,
            "finished_at": clock(),
            "result": {"whole": whole},
        }
    )
    catalog.runs.write(done)


def test_a_backup_is_missed_an_hour_after_its_time_and_not_before(look: Watcher) -> None:
    assert (
        look(at(20, 3, 59), {**DAILY, "LCP_SCHEDULES_SINCE": "2026-11-20T00:00:00Z"}).overdue
        is None
    )
    late = look(at(20, 4), {**DAILY, "LCP_SCHEDULES_SINCE": "2026-11-20T00:00:00Z"})
    assert late.overdue is not None
    assert late.overdue.startswith("the backup of 2026-11-20 03:00 UTC is missing")
    assert (late.newest, late.age_seconds, late.retained_backups) == (None, None, 0)


def test_the_last_backup_being_good_is_not_enough_when_the_schedule_fired_since(
    look: Watcher, catalog: Catalog
) -> None:
    publish(catalog, at(19, 3))
    assert look(at(20, 3, 30), DAILY).overdue is None
    assert look(at(20, 4, 30), DAILY).overdue is not None
    publish(catalog, at(20, 4, 10))
    assert look(at(20, 4, 30), DAILY).overdue is None


def test_an_uploaded_backup_does_not_stand_for_one_of_the_site(
    look: Watcher, catalog: Catalog
) -> None:
    uploaded = a_manifest(at(20, 3, 5)).model_copy(update={"type": BackupType.UPLOADED})
    catalog.backups.publish(uploaded)
    seen = look(at(20, 5), DAILY)
    assert seen.overdue is not None
    assert seen.newest == uploaded.id


def test_what_fired_before_the_schedule_was_there_is_not_asked_for(look: Watcher) -> None:
    since = {**DAILY, "LCP_SCHEDULES_SINCE": "2026-11-20T12:00:00+00:00"}
    assert look(at(21, 2), since).overdue is None
    assert look(at(21, 4), since).overdue is not None


@pytest.mark.parametrize(
    ("cron", "now", "missed"),
    [
        ("0 3 * * SUN", at(24, 12), "2026-11-22 03:00"),
        ("15 1 1 * *", at(24, 12), "2026-11-01 01:15"),
        ("*/10 * * * *", at(24, 12, 5), "2026-11-24 11:00"),
    ],
)
def test_any_schedule_is_watched(look: Watcher, cron: str, now: datetime, missed: str) -> None:
    seen = look(now, {"LCP_BACKUP_CREATE_SCHEDULE": cron})
    assert seen.overdue is not None
    assert f"the backup of {missed} UTC" in seen.overdue


def test_without_a_schedule_nothing_is_overdue(look: Watcher) -> None:
    assert look(at(20, 5), {}).overdue is None


def test_what_is_kept_is_measured_and_its_age_is_the_newest_slots(
    look: Watcher, catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(catalog, at(18, 3))
    newest = publish(catalog, at(19, 3))
    capsys.readouterr()
    seen = look(at(19, 5), DAILY)
    assert seen == WatchResult(newest, 7200, 2, 400, None, None)
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (metrics,) = [line for line in written if "_aws" in line]
    named = {
        key: metrics[key]
        for key in (
            "Overdue",
            "Unverified",
            "RetainedBackups",
            "RetainedBytes",
            "NewestBackupAgeSeconds",
        )
    }
    assert named == {
        "Overdue": [0.0],
        "Unverified": [0.0],
        "RetainedBackups": [2.0],
        "RetainedBytes": [400.0],
        "NewestBackupAgeSeconds": [7200.0],
    }
    (directive,) = metrics["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "LcpBackup"
    assert sorted(directive["Dimensions"][0]) == ["environment", "project", "service"]


def test_a_missing_backup_is_one_line_of_the_log_and_no_age_is_made_up(
    look: Watcher, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    seen = look(at(20, 5), DAILY)
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (metrics,) = [line for line in written if "_aws" in line]
    assert metrics["Overdue"] == [1.0]
    assert "NewestBackupAgeSeconds" not in metrics
    (line,) = caplog.records
    assert (line.levelname, line.getMessage()) == ("ERROR", "watch")
    assert vars(line).items() >= vars(seen).items()


WEEKLY = {"LCP_BACKUP_VERIFY_SCHEDULE": "0 4 * * SUN"}
"""The last Sundays before the clock's days are the 1st, 8th and 15th of November."""


def verified(catalog: Catalog, when: datetime, state: RunState = RunState.SUCCEEDED) -> None:
    run = Run(
        id=f"{when:%Y%m%dT%H%M%S}-verify-0a1b2c3d",
        kind=RunKind.VERIFY,
        state=state,
        started_at=when,
        updated_at=when,
        finished_at=when,
    )
    catalog.runs.write(run)


def test_without_a_proof_for_two_periods_backups_are_unverified(
    look: Watcher, catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    verified(catalog, at(8, 3, 59))
    verified(catalog, at(15, 4), RunState.FAILED)
    seen = look(at(15, 5, 1), WEEKLY)
    assert seen.unverified is not None
    assert "no backup was proved since 2026-11-08 04:00 UTC" in seen.unverified
    assert '"Unverified":[1.0]' in capsys.readouterr().out.replace(" ", "")


@pytest.mark.parametrize(
    ("proved", "now", "since"),
    [
        (at(8, 4), at(15, 5, 1), None),  # a run is named after the time at which it was due
        (at(15, 9), at(21, 5), None),
        (None, at(15, 4, 59), at(7, 0)),  # the second still has its hour
        (None, at(15, 5, 1), at(8, 5)),  # the schedule is newer than the first
    ],
)
def test_a_proof_within_two_periods_is_enough(
    look: Watcher, catalog: Catalog, proved: datetime | None, now: datetime, since: datetime | None
) -> None:
    if proved is not None:
        verified(catalog, proved)
    variables = {"LCP_SCHEDULES_SINCE": since.isoformat()} if since else {}
    assert look(now, {**WEEKLY, **variables}).unverified is None


@pytest.mark.parametrize("schedule", ["none", "", "@yearly"])
def test_nobody_asks_for_proof_that_is_not_due_or_not_on_record(
    look: Watcher, schedule: str
) -> None:
    assert look(at(20, 5), {"LCP_BACKUP_VERIFY_SCHEDULE": schedule}).unverified is None


def test_a_backup_that_cannot_be_read_is_counted_and_hides_no_other(
    look: Watcher, catalog: Catalog, store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    publish(catalog, at(19, 3))
    store.put("acme/prd/backups/acme-prd-202611200300/manifest.json", b'{"format": 9}')
    seen = look(at(19, 3, 30), DAILY)
    assert (seen.retained_backups, seen.newest) == (2, "acme-prd-202611190300")
    (warning,) = [line for line in caplog.records if line.levelname == "WARNING"]
    assert vars(warning)["backup_id"] == "acme-prd-202611200300"


def test_in_disaster_recovery_the_sources_newest_backup_must_have_been_restored(
    look: Watcher, catalog: Catalog, source: Catalog, clock: SettableClock
) -> None:
    assert look(at(20, 5), RECOVERY).overdue is None
    older = publish(source, at(19, 3))
    newest = publish(source, at(20, 3))
    seen = look(at(20, 5), RECOVERY)
    assert seen.overdue is not None
    assert f"backup {newest} should have been restored at 2026-11-20 04:00 UTC" in seen.overdue
    assert (seen.newest, seen.age_seconds, seen.retained_backups) == (newest, 7200, 0)
    restored(catalog, clock, older)
    assert look(at(20, 5), RECOVERY).overdue is not None
    clock.pass_by(timedelta(minutes=1))
    restored(catalog, clock, newest, whole=False)
    assert look(at(20, 5), RECOVERY).overdue is not None
    clock.pass_by(timedelta(minutes=2))
    restored(catalog, clock, newest)
    assert look(at(20, 5), RECOVERY).overdue is None


def test_a_backup_that_came_after_the_restore_had_fired_is_not_asked_for_yet(
    look: Watcher, catalog: Catalog, source: Catalog, clock: SettableClock
) -> None:
    clock.now = at(20, 3)
    restored(catalog, clock, publish(source, at(19, 3)))
    publish(source, at(20, 4, 30))
    assert look(at(20, 5, 30), RECOVERY).overdue is None
    assert look(at(20, 6, 30), RECOVERY).overdue is not None


def test_a_restore_counts_when_its_backup_was_deleted_since(
    look: Watcher, catalog: Catalog, source: Catalog, clock: SettableClock
) -> None:
    publish(source, at(19, 3))
    newest = publish(source, at(20, 3))
    clock.now = at(20, 4, 1)
    restored(catalog, clock, newest)
    source.backups.unpublish(newest)
    assert look(at(20, 5, 30), RECOVERY).overdue is None


def test_an_older_backup_brought_back_by_hand_afterwards_does_not_undo_the_scheduled_restore(
    look: Watcher, catalog: Catalog, source: Catalog, clock: SettableClock
) -> None:
    older = publish(source, at(19, 3))
    newest = publish(source, at(20, 3))
    clock.now = at(20, 4, 1)
    restored(catalog, clock, newest)
    clock.now = at(20, 4, 30)
    restored(catalog, clock, older)
    assert look(at(20, 5, 30), RECOVERY).overdue is None
    # What fires after that has to bring the newest back again.
    assert look(at(20, 6, 30), RECOVERY).overdue is not None


def test_a_restore_that_failed_is_none(
    look: Watcher, catalog: Catalog, source: Catalog, clock: SettableClock
) -> None:
    newest = publish(source, at(20, 3))
    clock.now = at(20, 4, 1)
    run = catalog.runs.queue(catalog.runs.new_id(RunKind.RESTORE), RunKind.RESTORE, newest)
    catalog.runs.write(run.model_copy(update={"state": RunState.FAILED, "finished_at": clock()}))
    assert look(at(20, 5, 30), RECOVERY).overdue is not None


def test_a_backup_of_another_environment_does_not_stand_for_one_of_the_source(
    look: Watcher, catalog: Catalog, source: Catalog, clock: SettableClock
) -> None:
    publish(source, at(20, 3))
    clock.now = at(20, 4, 1)
    restored(catalog, clock, "acme-dr-202611200330")
    assert look(at(20, 5, 30), RECOVERY).overdue is not None


def test_a_backup_that_had_the_id_before_does_not_stand_for_the_one_that_has_it_now(
    look: Watcher, catalog: Catalog, source: Catalog, clock: SettableClock
) -> None:
    newest = publish(source, at(20, 3))
    clock.now = at(20, 4, 1)
    restored(catalog, clock, newest)
    assert look(at(20, 5, 30), RECOVERY).overdue is None
    (run,) = catalog.runs.all()
    catalog.runs.write(run.model_copy(update={"backup_run_id": "the one that was deleted"}))
    assert look(at(20, 5, 30), RECOVERY).overdue is not None


def test_runs_from_long_before_the_wanted_backup_are_not_opened(
    look: Watcher, catalog: Catalog, source: Catalog, store: ObjectStore, clock: SettableClock
) -> None:
    wanted = publish(source, at(20, 3))
    clock.now = at(20, 1, 59)
    unreadable = catalog.runs.new_id(RunKind.RESTORE)
    store.put(f"acme/prd/runs/{unreadable}.json", b'{"format": 9}')
    store.put("acme/prd/runs/notes-restore-drill.json", b"somebody else's")
    assert look(at(20, 5, 30), RECOVERY).overdue is not None
    # Asked for shortly before the backup was published, and begun after that.
    clock.now = at(20, 2, 59)
    restored(catalog, clock, wanted)
    assert look(at(20, 5, 30), RECOVERY).overdue is None


def test_an_uploaded_backup_is_asked_for_only_where_scheduled_restores_take_them(
    look: Watcher, catalog: Catalog, source: Catalog, clock: SettableClock
) -> None:
    ours = publish(source, at(19, 3))
    publish(source, at(20, 3), BackupType.UPLOADED)
    clock.now = at(20, 4, 1)
    restored(catalog, clock, ours)
    assert look(at(20, 5, 30), RECOVERY).overdue is None
    taking_all = {**RECOVERY, "LCP_BACKUP_RESTORE_UPLOADED": "true"}
    assert look(at(20, 5, 30), taking_all).overdue is not None


def test_a_paused_restore_is_not_overdue(look: Watcher, catalog: Catalog, source: Catalog) -> None:
    publish(source, at(19, 3))
    catalog.pause.set("an operator", "the incident of the 19th")
    assert look(at(20, 5), RECOVERY).overdue is None
    catalog.pause.clear()
    assert look(at(20, 5), RECOVERY).overdue is not None


def test_watching_writes_nothing(
    look: Watcher, catalog: Catalog, source: Catalog, store: ObjectStore
) -> None:
    publish(catalog, at(18, 3))
    publish(source, at(19, 3))
    before = list(store.entries(""))
    look(at(20, 5), DAILY)
    look(at(20, 5), RECOVERY)
    assert list(store.entries("")) == before


def test_the_function_answers_what_was_seen(
    s3: "S3Client",  # noqa: ARG001 -- the bucket has to be there
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newest = publish(catalog, datetime(2019, 10, 3, 17, 23, tzinfo=UTC))
    variables = {
        **DAILY,
        "LCP_SCHEDULES_SINCE": "2019-10-01T00:00:00Z",
        "LCP_BACKUP_BUCKET": BUCKET,
        "LCP_BACKUP_PREFIX": "acme/prd",
    }
    monkeypatch.setattr(
        app, "service", lambda: Service(Environment.of(Settings.from_env(variables)))
    )
    event = json.loads((EVENTS / "watch-scheduled.json").read_text())
    context: LambdaContext = None  # type: ignore[assignment] # the function does not use it
    seen = json.loads(json.dumps(app.handler(event, context)))
    assert seen.keys() == {f.name for f in fields(WatchResult)}
    assert (seen["newest"], seen["retained_backups"]) == (newest, 1)
    assert seen["overdue"] is not None
