"""Pages of backups and runs: read side by side, bounded, and none left out or told twice.

Nothing here measures time: a store counts what it is asked, and how much of it at once.
"""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from lcp_backup.aws.s3 import LISTED_AT_ONCE, ObjectStore, StoredObject
from lcp_backup.catalog import Catalog, Unreadable
from lcp_backup.errors import ObjectNotFound, StorageError
from lcp_backup.model import Manifest, Run, RunKind, RunState
from lcp_backup.pages import MOST_PASSED, MOST_READ, READ_AT_ONCE, Page, read_page
from tests.support.backups import a_manifest

type APage = Page[Manifest | Run | Unreadable]

NEWEST = datetime(2026, 11, 23, 23, 59, tzinfo=UTC)


class CountingStore(ObjectStore):
    """A bucket in memory that counts requests; with `together`, so many reads wait for each other.

    Reads that wait in vain fail the test: they came one after the other, or fewer at once.
    """

    def __init__(self, together: int = 1) -> None:
        self.bodies: dict[str, bytes] = {}
        self.bucket = "memory"
        self.lists: list[str] = []
        self.reads: list[str] = []
        self._reading = threading.Barrier(together)
        self.listing: dict[str, threading.Barrier] = {}
        """For a prefix, with what its listing has to be under way."""

    def get(self, key: str) -> StoredObject:
        self.reads.append(key)
        self._reading.wait(timeout=10)
        try:
            return StoredObject(self.bodies[key], "tag")
        except KeyError:
            raise ObjectNotFound(key) from None

    def names(self, prefix: str, until: str = "/") -> Iterator[str]:
        below = sorted(key.removeprefix(prefix) for key in self.bodies if key.startswith(prefix))
        found = iter(dict.fromkeys(it.partition(until)[0] for it in below if until in it))
        while True:
            self.lists.append(prefix)
            if prefix in self.listing:
                self.listing[prefix].wait(timeout=10)
            some = list(islice(found, LISTED_AT_ONCE))
            yield from some
            if len(some) < LISTED_AT_ONCE:
                return


def put_run(store: CountingStore, began: datetime, kind: RunKind, state: RunState) -> str:
    run = Run(
        id=f"{began:%Y%m%dT%H%M%S}-{kind}-{len(store.bodies):08x}",
        kind=kind,
        state=state,
        started_at=began,
        updated_at=began,
        finished_at=began if state.ended else None,
    )
    store.bodies[f"runs/{run.id}.json"] = run.model_dump_json().encode()
    return run.id


def put_backup(store: CountingStore, slot: datetime) -> str:
    manifest = a_manifest(slot)
    store.bodies[f"backups/{manifest.id}/manifest.json"] = manifest.model_dump_json().encode()
    store.bodies[f"backups/{manifest.id}/database.tgz"] = b""
    return manifest.id


def ids(page: APage) -> list[str]:
    return [record.id for record in page.records]


def every_page(
    of: Callable[[str | None], APage],
) -> Iterator[APage]:
    page = of(None)
    yield page
    while page.last is not None:
        page = of(page.last)
        yield page


def test_as_many_records_are_read_at_once_as_there_are_connections() -> None:
    # (The store lets reads through by 32 only.)
    store = CountingStore(together=READ_AT_ONCE)
    for minute in range(3 * READ_AT_ONCE):
        put_backup(store, NEWEST - timedelta(minutes=minute))
        put_run(store, NEWEST - timedelta(minutes=minute), RunKind.CREATE, RunState.FAILED)
    catalog = Catalog(store, "")
    of_backups = catalog.page(2 * READ_AT_ONCE, backups=True)
    of_runs = catalog.page(2 * READ_AT_ONCE, kinds=list(RunKind))
    assert len(of_backups.records) == len(of_runs.records) == 2 * READ_AT_ONCE
    assert len(store.reads) == 4 * READ_AT_ONCE


def test_a_page_of_a_hundred_of_many_is_few_requests() -> None:
    store = CountingStore()
    for hour in range(720):
        put_backup(store, NEWEST - timedelta(hours=hour))
    for minute in range(0, 20_000 * 6, 6):  # 240 a day, over 84 days
        put_run(store, NEWEST - timedelta(minutes=minute), RunKind.CREATE, RunState.SUCCEEDED)
    catalog = Catalog(store, "")
    assert len(catalog.page(100, backups=True).records) == 100
    assert (len(store.lists), len(store.reads)) == (1, 100)
    store.lists.clear()
    store.reads.clear()
    page = catalog.page(100, kinds=list(RunKind))
    assert len(page.records) == 100
    # The days that there are, and the newest of them.
    assert (store.lists, len(store.reads)) == (["runs/", "runs/20261123T"], 100)
    store.lists.clear()
    oldest = catalog.page(100, "20261001T120000", kinds=list(RunKind))
    assert (oldest.records[0].id[:13], len(store.lists)) == ("20261001T1159", 2)


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.QUEUED])
def test_a_page_of_what_is_rare_reads_no_more_than_it_may(state: RunState) -> None:
    store = CountingStore()
    for minute in range(3 * MOST_READ):
        rare = minute % 100 == 99 and state is RunState.FAILED
        put_run(
            store,
            NEWEST - timedelta(minutes=minute),
            RunKind.CREATE,
            RunState.FAILED if rare else RunState.SUCCEEDED,
        )
    catalog = Catalog(store, "")
    pages = list(every_page(lambda after: catalog.page(9, after, kinds=RunKind, states=[state])))
    assert len(pages) >= 3
    assert len(store.reads) <= len(pages) * MOST_READ
    expected = 3 * MOST_READ // 100 if state is RunState.FAILED else 0
    assert sum(len(page.records) for page in pages) == expected


def test_what_an_id_tells_is_not_read_but_passed_over_and_not_for_ever() -> None:
    store = CountingStore()
    for minute in range(MOST_PASSED + 100):
        put_run(store, NEWEST - timedelta(minutes=minute), RunKind.CREATE, RunState.SUCCEEDED)
    oldest = put_run(store, NEWEST - timedelta(days=9), RunKind.RESTORE, RunState.SUCCEEDED)
    catalog = Catalog(store, "")
    first, second = every_page(lambda after: catalog.page(5, after, kinds=[RunKind.RESTORE]))
    assert (ids(first), ids(second)) == ([], [oldest])
    assert store.reads == [f"runs/{oldest}.json"]


@pytest.mark.parametrize("limit", [1, 2, 7, 50, 1000])
def test_pages_tell_all_once_and_newest_first_whatever_their_size(limit: int) -> None:
    store = CountingStore()
    wanted = []
    for hour in range(40):
        moment = NEWEST - timedelta(hours=hour)
        wanted.append(put_backup(store, moment))
        put_run(store, moment + timedelta(seconds=3), RunKind.CREATE, RunState.SUCCEEDED)
        put_run(store, moment + timedelta(seconds=3), RunKind.RESTORE, RunState.FAILED)
        failed = put_run(store, moment - timedelta(minutes=30), RunKind.UPLOAD, RunState.FAILED)
        wanted.append(failed)
    store.bodies["runs/notes.txt"] = store.bodies["backups/notes/readme.txt"] = b"by hand"
    store.bodies["backups/acme-prd-202611230000/volume.tgz"] = b"of a run that died"
    catalog = Catalog(store, "")

    def page(after: str | None) -> APage:
        return catalog.page(
            limit, after, backups=True, kinds=[RunKind.UPLOAD], states=[RunState.FAILED]
        )

    pages = list(every_page(page))
    assert [it for page in pages for it in ids(page)] == wanted
    assert all(len(it.records) == limit for it in pages[:-1])


def test_a_page_begins_where_the_last_ended_though_that_is_gone_and_newer_ones_came() -> None:
    store = CountingStore()
    made = [put_backup(store, NEWEST - timedelta(minutes=minute)) for minute in range(4)]
    catalog = Catalog(store, "")
    first = catalog.page(2, backups=True)
    put_backup(store, NEWEST + timedelta(minutes=1))
    del store.bodies[f"backups/{first.last}/manifest.json"]
    assert ids(catalog.page(2, first.last, backups=True)) == made[2:]


@pytest.mark.parametrize("apart", [timedelta(seconds=1), timedelta(0)], ids=["a second", "none"])
def test_a_day_with_more_runs_than_one_listing_holds_is_told_newest_first_too(
    apart: timedelta,
) -> None:
    store = CountingStore()
    begun = [NEWEST - apart * number for number in range(3 * LISTED_AT_ONCE)]
    made = [put_run(store, at, RunKind.CREATE, RunState.SUCCEEDED) for at in begun]
    put_run(store, NEWEST - timedelta(days=1), RunKind.CREATE, RunState.SUCCEEDED)
    newest_first = sorted(made, reverse=True)
    catalog = Catalog(store, "")
    assert list(islice(catalog.runs.ids(), 5)) == newest_first[:5]
    if apart:
        assert len(store.lists) < 30, "not by hours and minutes"
    assert list(catalog.runs.ids())[:-1] == newest_first
    assert list(catalog.runs.ids(before=newest_first[1500]))[:-1] == newest_first[1501:]


def test_days_are_listed_side_by_side_once_the_newest_is_not_enough() -> None:
    store = CountingStore()
    for day in range(64):
        put_run(store, NEWEST - timedelta(days=day), RunKind.CREATE, RunState.SUCCEEDED)
    assert len(list(islice(Catalog(store, "").runs.ids(), 1))) == 1
    assert len(store.lists) == 2
    together = threading.Barrier(2)
    store.listing = {"runs/20261122T": together, "runs/20261121T": together}
    assert len(list(Catalog(store, "").runs.ids())) == 64


def test_a_read_that_fails_fails_the_page() -> None:
    def broken(_: str) -> None:
        raise StorageError("S3 is away")

    with pytest.raises(StorageError):
        read_page(["a", "b"], broken, limit=2)


def test_the_last_page_says_so() -> None:
    assert read_page(["a", "b"], str, limit=2) == Page(["a", "b"], None)
    assert read_page(["a", "b", "c"], str, limit=2) == Page(["a", "b"], "b")
    assert read_page([], str, limit=2) == Page([], None)
