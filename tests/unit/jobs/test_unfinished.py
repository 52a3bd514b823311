"""A create whose time ends keeps what it stored, and the next one goes on from there."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lcp_backup.archive.index import read_members
from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.catalog.unfinished import Unfinished
from lcp_backup.errors import Conflict, OutOfTime, StoredInPart, UnknownFormat
from lcp_backup.exclusion import PathPatterns
from lcp_backup.jobs import unfinished
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.cleanup import CleanupResult, clean_up
from lcp_backup.jobs.retirement import delete_backup
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.jobs.unfinished import packing_is_over
from lcp_backup.model import RunKind
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry
from lcp_backup.volume import read_ahead
from lcp_backup.volume.measure import Measured, measure
from tests.support.backups import BUCKET, publish
from tests.support.clock import SettableClock
from tests.support.memory_s3 import Killed, MemoryS3
from tests.support.trees import snapshot
from tests.support.volumes import LATER, Volumes, refer_to_every_size

FILES = 20
SIZE = 1_000_000
LARGE = "document_library/012-large"
"""A file of several segments: 20 MB."""
DAY = timedelta(days=1)


class Site:
    """A folder, and creates whose time ends."""

    def __init__(
        self, clock: SettableClock, telemetry: Telemetry, tmp_path: Path, size: int = SIZE
    ) -> None:
        self.clock = clock
        self._telemetry = telemetry
        self._size = size
        self.s3 = MemoryS3(clock)
        client: Any = self.s3
        self.catalog = Catalog(ObjectStore(client, BUCKET, pause=lambda _: None), "a/p", clock)
        self.volumes = Volumes(self.catalog, clock, tmp_path / "data", tmp_path)
        self.library = self.volumes.folder / "document_library"
        self.library.mkdir()
        for number in range(FILES):
            self.write(f"{number:03}", size)

    def write(self, name: str, size: int = SIZE) -> None:
        (self.library / name).write_bytes(os.urandom(size))

    def run(self, timing: RunTiming | None = None) -> ActiveRun:
        stored = NewRun(self.catalog, RunKind.CREATE, None)
        return ActiveRun(stored, self._telemetry, timing or RunTiming())

    def begin(self, files: int, *, whole: bool = False) -> OutOfTime:
        """A create whose time ends once it has read so many files of SIZE, or small ones."""
        over = files * self._size
        return self.volumes.begin(lambda read: read >= over, self.run(), whole=whole)

    def begin_and_end_in(self, name: str) -> None:
        """A create whose time ends in the middle of a large file."""
        asked = 0

        def is_over(read: int) -> bool:
            nonlocal asked
            asked = asked + 1 if read >= 13 * SIZE else 0
            return asked > 3

        self.volumes.begin(is_over, self.run())
        assert name not in self.listed(self.mark().id)

    def mark(self) -> Any:
        (backup_id,) = self.catalog.backups.unfinished_ids()
        return self.catalog.backups.unfinished(backup_id)

    def listed(self, backup_id: str) -> list[str]:
        index = self.catalog.backups.open(backup_id, "volume.index")
        return [it.name for it in read_members(index, archive_name="volume.tgz")]

    def clean_up(self, *, dry_run: bool = False) -> CleanupResult:
        retention = Settings.from_env({"LCP_BACKUP_RETENTION_PERIOD": "3"})
        return clean_up(retention, self.catalog, self._telemetry, RunTiming(), dry_run=dry_run)

    def restores(self, backup_id: str) -> bool:
        restored = self.volumes.restore(backup_id)
        same = snapshot(restored) == snapshot(self.volumes.folder)
        shutil.rmtree(restored)
        return same


@pytest.fixture
def site(
    clock: SettableClock, telemetry: Telemetry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Site:
    refer_to_every_size(monkeypatch)
    return Site(clock, telemetry, tmp_path)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are opened from now on."""
    names: list[str] = []
    real = read_ahead.OpenFile.__init__

    def noting(self: Any, entry: Any) -> None:
        names.append(entry.base)
        real(self, entry)

    monkeypatch.setattr(read_ahead.OpenFile, "__init__", noting)
    return names


def test_a_library_of_any_size_is_backed_up_by_some_runs(site: Site, read: list[str]) -> None:
    for run in range(1, 4):
        read.clear()
        assert isinstance(site.begin(5), StoredInPart)
        # (The next one is open when the time is found to be over.)
        assert len(read) == 6, run
        assert site.catalog.backups.ids() != []
        assert list(site.catalog.backups.all()) == []
    read.clear()
    manifest = site.volumes.back_up()
    assert sorted(read) == [f"{number:03}" for number in range(15, 20)]
    assert len(manifest.sources) == 3
    assert manifest.volume_facts.bytes == FILES * SIZE
    assert site.restores(manifest.id)


def test_each_run_comes_further_when_whole_archives_are_wanted_and_then_the_next_is_whole(
    site: Site,
) -> None:
    for _ in range(3):
        assert isinstance(site.begin(5, whole=True), StoredInPart)
    manifest = site.volumes.back_up(whole=True)
    assert len(manifest.sources) == 3
    assert [notice.code for notice in manifest.warnings] == ["volume-not-whole"]
    assert site.restores(manifest.id)
    manifest = site.volumes.back_up(whole=True)
    assert manifest.sources == ()
    assert manifest.warnings == ()
    assert site.restores(manifest.id)


def test_the_backup_is_that_of_the_last_run(site: Site) -> None:
    site.begin(10)
    site.write("003", 77)
    (site.library / "005").unlink()
    site.write("000-new")
    site.write("015", 78)
    site.begin(8)
    site.write("003", 79)
    site.write("016", 80)
    assert site.restores(site.volumes.back_up().id)


def test_what_is_behind_the_end_is_still_that_of_the_last_backup(
    site: Site, read: list[str]
) -> None:
    first = site.volumes.back_up()
    for number in range(10):
        site.write(f"{number:03}")
    site.begin(5)
    mark = site.mark()
    assert mark.reached_size == 5 * SIZE
    assert len(site.listed(mark.id)) == FILES + 1
    read.clear()
    second = site.volumes.back_up()
    assert sorted(read) == [f"{number:03}" for number in range(5, 10)]
    assert {it.backup_id for it in second.sources} == {first.id, mark.id}
    assert site.restores(second.id)


def test_a_file_in_which_the_time_ends_is_stored_by_the_next_run(site: Site) -> None:
    site.write("012-large", 20 * SIZE)
    site.begin_and_end_in(LARGE)
    manifest = site.volumes.back_up()
    assert LARGE in site.listed(manifest.id)
    assert site.restores(manifest.id)
    # What was stored of it in vain counts: an archive that is half dead is carried over.
    (source,) = manifest.sources
    assert source.file_size > source.live_size + 8_000_000


def test_of_a_file_that_was_hardly_begun_nothing_is_left(site: Site) -> None:
    asked = 0

    def is_over(read: int) -> bool:
        nonlocal asked
        asked += read >= 5 * SIZE
        return asked > 1

    site.volumes.begin(is_over, site.run())
    assert site.mark().volume.exact
    assert site.restores(site.volumes.back_up().id)


def test_what_was_only_read_is_not_read_again(site: Site, read: list[str]) -> None:
    """After a restore every file is read once, and nothing of it is stored."""
    site.volumes.back_up()
    for path in site.library.iterdir():
        path.chmod(0o600)
        path.chmod(0o644)
    read.clear()
    site.begin(12)
    manifest = site.volumes.back_up()
    assert len(read) <= FILES + 1
    assert manifest.volume.size < SIZE
    assert site.restores(manifest.id)


@pytest.mark.parametrize("whole", [False, True])
def test_a_kill_at_any_call_leaves_something_to_go_on_from(
    whole: bool,
    clock: SettableClock,
    telemetry: Telemetry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the run that ends early, and then of the one that goes on."""
    refer_to_every_size(monkeypatch)
    at = 0
    killed = True
    while killed:
        at += 1
        killed = False
        folder = tmp_path / f"at-{at}"
        folder.mkdir()
        site = Site(clock, telemetry, folder, size=1000)
        calls = 0

        def before(_: str, at: int = at) -> None:
            nonlocal calls, killed
            calls += 1
            if calls >= at:
                killed = True
                raise Killed

        steps = partial(site.begin, 12, whole=whole), partial(site.volumes.back_up, whole=whole)
        for step in steps:
            site.s3.before = before
            try:
                step()
            except Killed:
                site.s3.before = lambda _: None
                break
        site.s3.before = lambda _: None
        site.clean_up()
        assert site.restores(site.volumes.back_up().id), at
        for made in site.catalog.backups.all():
            assert site.restores(made.id), at
        shutil.rmtree(folder)
    assert at > 10


class TestWhatIsKept:
    """For a day, and longer only while a backup reads it."""

    def test_cleanup_leaves_it_for_a_day(self, site: Site) -> None:
        site.begin(12)
        mark = site.mark()
        site.clock.pass_by(DAY - timedelta(minutes=1))
        site.clean_up()
        assert site.mark() == mark
        manifest = site.volumes.back_up()
        assert [it.backup_id for it in manifest.sources] == [mark.id]

    def test_also_if_its_archive_is_older_than_the_mark(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Closing and measuring take their time."""
        real = site.catalog.backups.keep_unfinished

        def late(mark: Unfinished) -> None:
            site.clock.pass_by(timedelta(minutes=2))
            real(mark.model_copy(update={"stopped_at": site.clock()}))

        monkeypatch.setattr(site.catalog.backups, "keep_unfinished", late)
        site.begin(12)
        site.clock.pass_by(DAY - timedelta(minutes=1))
        site.clean_up()
        assert len(site.volumes.back_up().sources) == 1

    def test_a_dry_run_says_that_it_is_given_up_and_leaves_it(self, site: Site) -> None:
        site.begin(12)
        mark = site.mark()
        site.clock.pass_by(DAY)
        before = site.clean_up(dry_run=True)
        assert (before.unfinished, before.leftovers, before.retired) == ([mark.id], [], [])
        assert site.mark() == mark
        after = site.clean_up()
        assert (after.unfinished, after.leftovers, after.retired) == ([mark.id], [], [])
        assert site.catalog.backups.unfinished_ids() == []

    def test_what_nobody_goes_on_from_goes(self, site: Site) -> None:
        site.begin(12)
        for _ in range(3):
            site.clock.pass_by(DAY)
            site.clean_up()
        assert site.catalog.backups.ids() == []
        assert site.catalog.backups.unfinished_ids() == []
        assert site.restores(site.volumes.back_up().id)

    def test_what_a_backup_reads_stays(self, site: Site) -> None:
        site.begin(12)
        manifest = site.volumes.back_up()
        for _ in range(4):
            site.clock.pass_by(DAY)
            site.clean_up()
        assert site.catalog.backups.unfinished_ids() == []
        assert site.restores(manifest.id)

    def test_what_it_reads_stays_as_long(self, site: Site) -> None:
        """The backup that it was compared with is deleted, and its archive is read by nobody."""
        first = site.volumes.back_up()
        site.write("001")
        site.begin(1)
        delete_backup(site.catalog, first)
        for _ in range(2):
            site.clean_up()
            site.clock.pass_by(timedelta(hours=10, minutes=30))
        site.clean_up()
        manifest = site.volumes.back_up()
        site.clean_up()
        assert first.id in {it.backup_id for it in manifest.sources}
        assert site.restores(manifest.id)

    def test_a_run_that_goes_on_while_it_is_given_up_is_not_lost(self, site: Site) -> None:
        site.begin(12)
        mark = site.mark()
        site.clock.pass_by(DAY)
        done = False

        def before(operation: str) -> None:
            nonlocal done
            if not done and operation == "put_object":  # everything was compared
                done = True
                site.clean_up()
                site.clean_up()

        site.s3.before = before
        manifest = site.volumes.back_up()
        assert done
        assert [it.backup_id for it in manifest.sources] == [mark.id]
        assert site.restores(manifest.id)

    def test_what_it_reads_stays_when_it_is_given_up_while_a_run_goes_on_from_it(
        self, site: Site
    ) -> None:
        first = site.volumes.back_up()
        site.write("001")

        def in_the_middle(done: Callable[[], object]) -> None:
            def before(operation: str) -> None:
                if operation == "put_object":
                    site.s3.before = lambda _: None
                    done()

            site.s3.before = before

        def delete() -> None:
            delete_backup(site.catalog, first)
            site.clean_up()  # nobody reads it, as far as that knows

        in_the_middle(delete)
        site.begin(1)
        site.clock.pass_by(DAY)
        in_the_middle(site.clean_up)
        manifest = site.volumes.back_up()
        assert first.id in {it.backup_id for it in manifest.sources}
        assert site.restores(manifest.id)

    def test_a_backup_that_was_made_since_is_the_better_base(self, site: Site) -> None:
        site.begin(5)
        second = site.volumes.back_up()
        third = site.volumes.back_up()
        assert second.id in {it.backup_id for it in third.sources}
        assert site.restores(third.id)

    def test_a_mark_that_comes_late_costs_no_backup_that_has_its_id_by_then(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """From a run that stood still: another delivery of its event has taken its lease over."""
        late: list[Unfinished] = []
        with monkeypatch.context() as standing:
            standing.setattr(site.catalog.backups, "keep_unfinished", late.append)
            site.begin(12)
        site.catalog.backups.clear_unpublished(late[0].id)
        site.clock.pass_by(-LATER)
        manifest = site.volumes.back_up()
        assert manifest.id == late[0].id
        site.catalog.backups.keep_unfinished(late[0])
        for _ in range(3):
            site.clock.pass_by(DAY)
            site.clean_up()
        assert site.catalog.backups.unfinished_ids() == []
        assert site.catalog.backups.open(manifest.id, "volume.index").size
        assert site.restores(manifest.id)

    def test_a_mark_of_a_later_version_is_in_no_cleanups_way(self, site: Site) -> None:
        first = site.volumes.back_up()
        site.write("001")
        site.begin(1)
        delete_backup(site.catalog, first)
        key = f"a/p/retired/{first.id}.json"
        site.s3.put_object(Key=key, Body=b'{"format": 99}')
        for _ in range(3):
            site.clock.pass_by(DAY)
            site.clean_up()
        manifest = site.volumes.back_up()
        assert first.id in {it.backup_id for it in manifest.sources}
        assert site.restores(manifest.id)

    def test_its_id_is_no_other_backups(self, site: Site) -> None:
        site.begin(12)
        with pytest.raises(Conflict):
            site.catalog.backups.clear_unpublished(site.mark().id)
        assert site.mark().id in site.catalog.backups.ids()
        assert not site.catalog.backups.is_free(site.mark().id)


def test_an_archive_that_is_gone_is_told_and_stored_again(site: Site) -> None:
    first = site.volumes.back_up()
    for number in range(10):
        site.write(f"{number:03}")
    site.begin(5)
    mark = site.mark()
    keys = [f"a/p/backups/{mark.id}/{name}" for name in ("volume.tgz", "volume.index")]
    site.s3.delete_objects(Delete={"Objects": [{"Key": key} for key in keys]})
    manifest = site.volumes.back_up()
    assert [(it.code, it.subject) for it in manifest.warnings] == [("source-missing", mark.id)]
    assert [it.backup_id for it in manifest.sources] == [first.id]
    assert site.restores(manifest.id)


class TestWhatIsTold:
    """A reader of the record learns how far it came, and whether it will ever come further."""

    def test_how_much_is_stored_of_how_much(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(unfinished, "_GB", 1_000_000)
        assert site.begin(12).public == (
            "the function's time was about to end with 12 of about 20 GB stored; goes on at the"
            " next run"
        )

    def test_what_could_not_be_measured_in_time(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(unfinished, "_GB", 1_000_000)
        run = site.run(RunTiming(site.clock() - DAY))
        told = site.volumes.begin(lambda read: read >= 5_000_000, run)
        assert "of more than 0.0 GB stored" in told.public

    def test_that_the_folder_changes_faster_than_it_is_stored(self, site: Site) -> None:
        assert isinstance(site.begin(8), StoredInPart)
        for number in range(FILES):
            site.write(f"{number:03}")
        told = site.begin(8)
        assert not isinstance(told, StoredInPart)
        assert "no run will finish it" in told.public

    def test_nothing_of_it_when_more_is_left_out_than_before(self, site: Site) -> None:
        assert isinstance(site.begin(12), StoredInPart)
        site.volumes.leave_out = PathPatterns(("00?",))
        assert isinstance(site.begin(5), StoredInPart)

    def test_nor_when_what_was_stored_is_gone(self, site: Site) -> None:
        assert isinstance(site.begin(12), StoredInPart)
        del site.s3.objects[f"a/p/backups/{site.mark().id}/volume.tgz"]
        assert isinstance(site.begin(5), StoredInPart)

    def test_that_only_the_database_took_too_long(self, site: Site) -> None:
        told = site.begin(1000)
        assert isinstance(told, StoredInPart)
        assert "before the database was dumped; goes on" in told.public
        assert site.restores(site.volumes.back_up().id)

    def test_which_file_is_too_large_for_a_run(self, site: Site) -> None:
        site.write("000-a", 20 * SIZE)
        (site.library / "000").unlink()
        asked = 0

        def check() -> None:
            nonlocal asked
            asked += 1
            if asked > 5:
                raise OutOfTime("over")

        with pytest.raises(OutOfTime, match=r"'document_library/000-a' has 20000000 bytes"):
            site.volumes.store("acme-prd-202601010000", check=check)


class TestWhenItIsOver:
    """Early enough to close the archive, and never for what is not worth it."""

    def over(self, site: Site, left: timedelta) -> Callable[[int], bool]:
        return packing_is_over(site.run(RunTiming(site.clock() + left)))

    def test_not_before_the_time_that_closing_takes(self, site: Site) -> None:
        over = self.over(site, unfinished.CLOSING_TIME + timedelta(seconds=1))
        assert not over(1 << 40)
        site.clock.pass_by(timedelta(seconds=1))
        assert over(1 << 40)

    def test_not_for_less_than_a_volume_that_is_referred_to(self, site: Site) -> None:
        over = self.over(site, timedelta(seconds=1))
        assert not over((64 << 20) - 1)
        assert over(64 << 20)

    def test_not_without_a_deadline(self, site: Site) -> None:
        assert not packing_is_over(site.run())(1 << 40)


def test_a_folder_is_measured_without_opening_a_file(site: Site, read: list[str]) -> None:
    """And without what is left out of backups."""
    but_one = PathPatterns(("document_library/007",))
    found = measure(site.volumes.folder, leave_out=but_one, threads=2, is_over=lambda: False)
    assert found == Measured((FILES - 1) * SIZE, is_all=True)
    assert read == []


def test_a_mark_that_was_copied_takes_nothing_away_of_the_volume_that_it_is_of(
    catalog: Catalog, store: ObjectStore, clock: SettableClock
) -> None:
    """Cleanup would end that volume by the id in the copy."""
    made = publish(catalog, clock())
    manifest = catalog.backups.get(made)
    mark = {
        "id": made,
        "run_id": "r",
        "stopped_at": clock().isoformat(),
        "volume": manifest.volume.model_dump(mode="json"),
        "sources": [],
        "volume_facts": manifest.volume_facts.model_dump(mode="json"),
        "reached_size": 1,
        "path_patterns": [],
    }
    store.put("acme/prd/unfinished/acme-prd-202611200015.json", json.dumps(mark).encode())
    with pytest.raises(UnknownFormat, match=f"202611200015.json is of '{made}'"):
        catalog.backups.unfinished("acme-prd-202611200015")
