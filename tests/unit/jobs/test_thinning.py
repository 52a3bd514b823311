"""Thinning: what periods keep, and that cleanup takes what none of them keeps and nothing else."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.jobs.active_run import RunTiming
from lcp_backup.jobs.cleanup import clean_up
from lcp_backup.jobs.thinning import kept_by
from lcp_backup.model import BackupType
from lcp_backup.setting_values import Period
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry
from tests.support.backups import BUCKET, publish
from tests.support.clock import SettableClock
from tests.support.memory_s3 import MemoryS3

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
SLOTS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3),
    st.integers(0, 60 * 24 * 30).map(lambda minutes: MONDAY - timedelta(minutes=minutes)),
    max_size=60,
)
RULES = st.dictionaries(st.sampled_from(Period), st.integers(1, 40), min_size=1)
WRITTEN: Mapping[Period, Callable[[datetime], str]] = {
    Period.HOURLY: lambda slot: slot.strftime("%Y-%m-%d %H"),
    Period.DAILY: lambda slot: slot.strftime("%Y-%m-%d"),
    Period.WEEKLY: lambda slot: slot.strftime("%G-W%V"),
}
"""A period's name, by another way than the code goes."""


@given(SLOTS, RULES)
def test_of_the_last_periods_that_have_a_backup_exactly_the_newest_are_kept(
    slots: dict[str, datetime], rules: dict[Period, int]
) -> None:
    expected = set()
    for period, most in rules.items():
        name = WRITTEN[period]
        for one in sorted({name(slot) for slot in slots.values()})[-most:]:
            inside = {key: slot for key, slot in slots.items() if name(slot) == one}
            expected.add(max(inside, key=lambda key: (inside[key], key)))
    assert set(kept_by(rules, slots)) == expected


@given(SLOTS, RULES, st.integers(1, 40))
def test_the_newest_is_always_kept_and_more_periods_never_keep_less(
    slots: dict[str, datetime], rules: dict[Period, int], more: int
) -> None:
    kept = set(kept_by(rules, slots))
    if slots:
        assert max(slots, key=lambda key: (slots[key], key)) in kept
    assert kept <= set(kept_by({period: most + more for period, most in rules.items()}, slots))


@given(SLOTS, RULES)
def test_thinning_what_was_thinned_takes_nothing(
    slots: dict[str, datetime], rules: dict[Period, int]
) -> None:
    left = {key: slots[key] for key in kept_by(rules, slots)}
    assert set(kept_by(rules, left)) == left.keys()


def test_periods_are_those_of_utc_and_weeks_begin_on_monday() -> None:
    slots = {"sunday": MONDAY - timedelta(minutes=1), "monday": MONDAY}
    assert set(kept_by({Period.WEEKLY: 2}, slots)) == {"sunday", "monday"}
    assert set(kept_by({Period.WEEKLY: 1}, slots)) == {"monday"}
    local = {key: slot.astimezone() for key, slot in slots.items()}
    assert set(kept_by({Period.DAILY: 2}, local)) == {"sunday", "monday"}


def test_cleanup_takes_what_no_period_keeps_but_nothing_pinned_or_uploaded(
    clock: SettableClock, telemetry: Telemetry
) -> None:
    client: Any = MemoryS3(clock)
    catalog = Catalog(ObjectStore(client, BUCKET, pause=lambda _: None), "a/p", clock)
    clock.now = MONDAY
    made = {}
    for hour in range(0, 49, 6):
        clock.now = MONDAY + timedelta(hours=hour)
        made[hour] = publish(catalog, clock())
    uploaded = publish(catalog, MONDAY + timedelta(hours=7), BackupType.UPLOADED)
    catalog.pins.pin(catalog.backups.get(made[12]), "ann", "an audit")
    settings = Settings.from_env({"LCP_BACKUP_KEEP": "Hourly:2, daily:2"})
    timing = RunTiming(heartbeat=timedelta(hours=1))

    def sweep(*, dry_run: bool) -> tuple[list[str], list[str], set[str]]:
        result = clean_up(settings, catalog, telemetry, timing, dry_run=dry_run)
        return result.expired, result.thinned, set(result.kept)

    # 48 is the newest, and of its hour and day; 42 of its hour and of the day before.
    kept = {made[48], made[42], made[12], uploaded}
    thinned = [made[hour] for hour in (36, 30, 24, 18, 6, 0)]
    assert sweep(dry_run=True) == ([], thinned, kept)
    assert sweep(dry_run=False) == ([], thinned, kept)
    assert {it.id for it in catalog.backups.all()} == kept
    clock.pass_by(timedelta(days=31))
    assert sweep(dry_run=False) == ([made[42], uploaded], [], {made[48], made[12]})


def test_a_backup_whose_deletion_has_begun_is_not_what_is_kept_of_its_day(
    clock: SettableClock, telemetry: Telemetry
) -> None:
    client: Any = MemoryS3(clock)
    catalog = Catalog(ObjectStore(client, BUCKET, pause=lambda _: None), "a/p", clock)
    morning, evening, next_day = (
        publish(catalog, MONDAY + timedelta(hours=hour)) for hour in (10, 20, 34)
    )
    clock.now = MONDAY + timedelta(hours=35)
    catalog.pins.begin_deletion(catalog.backups.get(evening))
    settings = Settings.from_env({"LCP_BACKUP_KEEP": "daily:2"})
    timing = RunTiming(heartbeat=timedelta(hours=1))
    for dry_run in (True, False):
        result = clean_up(settings, catalog, telemetry, timing, dry_run=dry_run)
        assert (result.expired, result.thinned) == ([evening], [])
        assert result.kept == [next_day, morning]


def test_without_the_setting_every_backup_stays_for_the_whole_retention(
    clock: SettableClock, telemetry: Telemetry
) -> None:
    client: Any = MemoryS3(clock)
    catalog = Catalog(ObjectStore(client, BUCKET, pause=lambda _: None), "a/p", clock)
    made = [publish(catalog, clock() + timedelta(minutes=minute)) for minute in range(3)]
    timing = RunTiming(heartbeat=timedelta(hours=1))
    result = clean_up(Settings.from_env({}), catalog, telemetry, timing, dry_run=False)
    assert result.kept == made[::-1]
