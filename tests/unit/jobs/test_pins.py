"""Pins: a backup that is pinned stays, whatever else is under way at that moment."""

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.errors import Conflict, Pinned
from lcp_backup.jobs.active_run import RunTiming
from lcp_backup.jobs.cleanup import CleanupResult, clean_up
from lcp_backup.jobs.retirement import delete_backup
from lcp_backup.model import BackupType, Manifest
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry
from tests.support.backups import BUCKET, publish
from tests.support.clock import SettableClock
from tests.support.memory_s3 import Killed, MemoryS3

WEEK = Settings.from_env({"LCP_BACKUP_RETENTION_PERIOD": "7"})


class Site:
    """A backup past its retention, and a newer one."""

    def __init__(self, clock: SettableClock, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self.s3 = MemoryS3(clock)
        client: Any = self.s3
        self.catalog = Catalog(ObjectStore(client, BUCKET, pause=lambda _: None), "a/p", clock)
        self.old = self.catalog.backups.get(publish(self.catalog, clock()))
        clock.pass_by(timedelta(days=8))
        self.newest = self.catalog.backups.get(publish(self.catalog, clock()))

    def pin(self, manifest: Manifest | None = None) -> None:
        self.catalog.pins.pin(manifest or self.old, "ann", "an audit")

    def unpin(self) -> None:
        self.catalog.pins.unpin(self.old, "ann")

    def delete(self) -> None:
        delete_backup(self.catalog, self.old)

    def clean_up(self, *, dry_run: bool = False) -> CleanupResult:
        timing = RunTiming(heartbeat=timedelta(hours=1))
        return clean_up(WEEK, self.catalog, self._telemetry, timing, dry_run=dry_run)

    def exists(self) -> bool:
        return self.catalog.backups.find(self.old.id) is not None

    def at(self, number: int, what: Callable[[], None]) -> list[bool]:
        """Does something right before the request of that number; answers whether it was done."""
        done: list[bool] = []
        requests = count(1)

        def before(_operation: str) -> None:
            if next(requests) == number:
                self.s3.before = lambda _: None
                done.append(True)
                what()

        self.s3.before = before
        return done


@pytest.fixture
def new_site(clock: SettableClock, telemetry: Telemetry) -> Callable[[], Site]:
    start = clock()

    def new() -> Site:
        clock.now = start
        return Site(clock, telemetry)

    return new


def test_a_pinned_backup_outlives_its_retention_and_expires_once_it_is_unpinned(
    new_site: Callable[[], Site],
) -> None:
    site = new_site()
    site.pin()
    assert site.clean_up(dry_run=True).expired == []
    assert site.clean_up().kept == [site.newest.id, site.old.id]
    with pytest.raises(Pinned, match=r"pinned by ann since .* an audit"):
        site.delete()
    site.unpin()
    site.unpin()
    assert site.clean_up(dry_run=True).expired == [site.old.id]
    assert site.clean_up().expired == [site.old.id]
    assert not site.exists()


def test_the_first_pin_is_kept_until_it_is_given_another_reason(
    new_site: Callable[[], Site], clock: SettableClock
) -> None:
    site = new_site()
    pins = site.catalog.pins
    first = pins.pin(site.old, "ann", "an audit")
    clock.pass_by(timedelta(hours=1))
    assert pins.pin(site.old, "bob", "an audit") == first
    second = pins.pin(site.old, "bob", "a trial")
    assert (second.by, second.reason, second.since) == ("bob", "a trial", clock())
    assert pins.of_all([site.newest, site.old]) == {site.old.id: second}


def test_an_uploaded_backup_can_be_pinned(
    new_site: Callable[[], Site], clock: SettableClock
) -> None:
    site = new_site()
    uploaded = site.catalog.backups.get(
        publish(site.catalog, clock() - timedelta(days=9), BackupType.UPLOADED)
    )
    site.pin(uploaded)
    assert site.clean_up().expired == [site.old.id]


@pytest.mark.parametrize("ending", ["delete", "clean_up"])
def test_a_pin_that_was_answered_holds_whenever_it_comes_in_the_middle_of_a_deletion(
    new_site: Callable[[], Site], ending: str
) -> None:
    outcomes = set()
    for number in count(1):
        site = new_site()
        pinned: list[bool] = []

        def pin(site: Site = site, pinned: list[bool] = pinned) -> None:
            try:
                site.pin()
            except Conflict:
                return
            pinned.append(True)

        reached = site.at(number, pin)
        try:
            getattr(site, ending)()
        except Pinned:
            assert pinned
        if not reached:
            break
        assert site.exists() == bool(pinned), number
        outcomes.add(site.exists())
    assert outcomes == {True, False}


def test_a_deletion_in_the_middle_of_a_pin_goes_through_or_the_pin_does(
    new_site: Callable[[], Site],
) -> None:
    for number in count(1):
        site = new_site()
        reached = site.at(number, site.delete)
        try:
            site.pin()
        except Conflict:
            assert not site.exists()
        else:
            site.s3.before = lambda _: None
            assert not reached
            assert site.exists()
            break
    assert number > 2


def test_two_unpins_and_a_deletion_never_take_a_later_pin_along(
    new_site: Callable[[], Site],
) -> None:
    for number in count(1):
        site = new_site()
        site.pin()

        def meanwhile(site: Site = site) -> None:
            site.unpin()
            site.delete()
            with pytest.raises(Conflict, match="has begun"):
                site.pin()

        reached = site.at(number, meanwhile)
        site.unpin()
        if not reached:
            break
        with pytest.raises(Conflict, match="has begun"):
            site.pin()


def test_a_deletion_that_was_killed_is_finished_by_cleanup_and_cannot_be_pinned_meanwhile(
    new_site: Callable[[], Site],
) -> None:
    def killed() -> None:
        raise Killed

    for number in count(1):
        site = new_site()
        site.old = site.newest
        site.at(number, killed)
        try:
            site.delete()
        except Killed:
            site.s3.before = lambda _: None
        else:
            break
        begun = site.old.id in site.catalog.pins.ids()
        if begun:
            with pytest.raises(Conflict, match="has begun"):
                site.pin()
        site.clean_up()
        assert site.exists() != begun, number
    assert number > 3


def test_what_was_decided_of_a_backup_says_nothing_of_the_next_one_with_its_id(
    new_site: Callable[[], Site],
) -> None:
    site = new_site()
    site.delete()
    another = site.old.model_copy(update={"run_id": "another"})
    site.catalog.backups.publish(another)
    assert site.catalog.pins.of(another) is None
    site.pin(another)
    assert site.clean_up().expired == []


def test_a_pin_of_a_backup_that_is_gone_goes_after_a_day(
    new_site: Callable[[], Site], clock: SettableClock
) -> None:
    site = new_site()
    site.pin(site.newest)
    site.delete()
    clock.pass_by(timedelta(hours=23))
    site.clean_up()
    assert site.catalog.pins.ids() == {site.old.id, site.newest.id}
    clock.pass_by(timedelta(hours=2))
    site.clean_up(dry_run=True)
    assert site.catalog.pins.ids() == {site.old.id, site.newest.id}
    site.clean_up()
    assert site.catalog.pins.ids() == {site.newest.id}


def test_a_pin_of_a_later_version_keeps_the_backup(new_site: Callable[[], Site]) -> None:
    site = new_site()
    site.pin()
    site.s3.put_object(Key=f"a/p/pins/{site.old.id}.json", Body=b'{"format": 99}')
    assert site.clean_up(dry_run=True).expired == []
    assert site.clean_up().expired == []
