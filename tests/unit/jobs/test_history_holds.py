"""Whatever happens between them, and in the middle of them: every published backup restores."""

import os
import random
import shutil
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.errors import Conflict, Pinned
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.cleanup import clean_up
from lcp_backup.jobs.retirement import delete_backup
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.model import BackupId, BackupType, Manifest, RunKind
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry
from lcp_backup.volume import carry, segments
from tests.support.backups import BUCKET
from tests.support.clock import SettableClock
from tests.support.memory_s3 import Killed, MemoryS3
from tests.support.trees import Member, snapshot
from tests.support.volumes import Volumes, refer_to_every_size

SEGMENT = 16 << 10
SIZES = (0, 100, 3000, SEGMENT - 1536, SEGMENT, 3 * SEGMENT + 77)
NAMES = "abcdefghijkl"
RETENTION = Settings.from_env({"LCP_BACKUP_RETENTION_PERIOD": "3"})


class World:
    """A site, its backups, and what each of them has to give back."""

    def __init__(
        self, seed: int, clock: SettableClock, telemetry: Telemetry, tmp_path: Path
    ) -> None:
        self.chance = random.Random(seed)
        self._clock = clock
        self._telemetry = telemetry
        self.s3 = MemoryS3(clock)
        client: Any = self.s3
        self.catalog = Catalog(ObjectStore(client, BUCKET, pause=lambda _: None), "a/p", clock)
        self.volumes = Volumes(self.catalog, clock, tmp_path / "data", tmp_path)
        self._library = self.volumes.folder / "document_library"
        self._library.mkdir()
        self.expected: dict[str, dict[str, Member]] = {}
        self.pinned: set[str] = set()
        self.log: list[str] = []
        self.change()

    def change(self) -> None:
        """Some files come, change, or go; a folder is made out of one now and then."""
        for name in self.chance.sample(NAMES, 4):
            path = self._library / name
            if path.is_dir():
                shutil.rmtree(path)
            kind = self.chance.random()
            if kind < 0.2:
                path.unlink(missing_ok=True)
            elif kind < 0.3:
                path.unlink(missing_ok=True)
                path.mkdir()
                (path / "inner").write_bytes(b"inner")
            else:
                path.write_bytes(os.urandom(self.chance.choice(SIZES)))

    def create(self) -> None:
        """A backup; perhaps with something else in the middle, perhaps killed, perhaps whole."""
        whole = self.chance.random() < 0.25
        at = self.chance.randrange(60)
        what = self.chance.choice(
            [None, None, self.delete, self.clean_up, self.upload, self.pin, self.unpin, "kill"]
        )
        calls = 0

        def before(_: str) -> None:
            nonlocal calls
            calls += 1
            if calls == at and callable(what):
                self.s3.before = lambda _: None
                what()
                self.s3.before = before
            if what == "kill" and calls >= at:
                raise Killed

        self.s3.before = before
        expected = snapshot(self.volumes.folder)
        work: Callable[..., Manifest | None]
        if ends := self.chance.random() < 0.4:
            work = partial(self._begin, self.chance.randrange(1, 30))
        else:
            work = self.volumes.back_up
        try:
            manifest = work(whole=whole)
        except Killed:
            self.s3.before = lambda _: None
            self.log.append(f"create killed at {at}, {ends=}")
            # Published or not: if it is there, it has to hold.
            for made in self.catalog.backups.all():
                self.expected.setdefault(made.id, expected)
        except Conflict as error:
            self.log.append(f"create refused: {error}")
        else:
            self.log.append(f"create {manifest and manifest.id} {whole=} {what} at {at}, {ends=}")
            if manifest is not None:
                self.expected[manifest.id] = expected
        finally:
            self.s3.before = lambda _: None

    def _begin(self, steps: int, *, whole: bool) -> None:
        """A create whose time ends after so many files and pieces of files."""
        left = iter(range(steps))
        run = ActiveRun(NewRun(self.catalog, RunKind.CREATE, None), self._telemetry, RunTiming())
        self.volumes.begin(lambda _: next(left, None) is None, run, whole=whole)

    def upload(self) -> None:
        """A backup that somebody uploaded."""
        if self.s3.before.__name__ != "<lambda>":
            return
        saved = snapshot(self.volumes.folder)
        manifest = self.volumes.back_up(BackupType.UPLOADED)
        self.log.append(f"upload {manifest.id}")
        self.expected[manifest.id] = saved

    def delete(self) -> None:
        """Somebody deletes a backup."""
        if self.expected:
            backup_id = self.chance.choice(sorted(self.expected))
            self._delete(backup_id)

    def _delete(self, backup_id: str) -> None:
        manifest = self.catalog.backups.get(backup_id)
        if backup_id in self.pinned:
            with pytest.raises(Pinned, match="before it is unpinned"):
                delete_backup(self.catalog, manifest)
            return
        self.log.append(f"delete {backup_id}")
        delete_backup(self.catalog, manifest)
        del self.expected[backup_id]

    def pin(self) -> None:
        """Somebody pins a backup."""
        if self.expected:
            backup_id = self.chance.choice(sorted(self.expected))
            self.log.append(f"pin {backup_id}")
            self.catalog.pins.pin(self.catalog.backups.get(backup_id), "ann", "an audit")
            self.pinned.add(backup_id)

    def unpin(self) -> None:
        """And somebody unpins one."""
        if self.pinned:
            backup_id = self.chance.choice(sorted(self.pinned))
            self.log.append(f"unpin {backup_id}")
            self.catalog.pins.unpin(self.catalog.backups.get(backup_id), "ann")
            self.pinned.discard(backup_id)

    def delete_newest(self) -> None:
        """The base of the next one goes, too."""
        if self.expected:
            backup_id = max(self.expected)
            self._delete(backup_id)

    def clean_up(self) -> None:
        """The daily cleanup."""
        timing = RunTiming(heartbeat=timedelta(hours=1))
        result = clean_up(RETENTION, self.catalog, self._telemetry, timing, dry_run=False)
        self.log.append(f"cleanup: expired {result.expired}, gone {result.retired}")
        assert self.pinned.isdisjoint(result.expired), self.log
        for backup_id in result.expired:
            self.expected.pop(backup_id, None)

    def wait(self) -> None:
        """Time goes by."""
        self._clock.pass_by(timedelta(hours=self.chance.choice([1, 21, 30])))

    def check(self) -> None:
        """Every backup that is published gives back what the folder was."""
        published = sorted(manifest.id for manifest in self.catalog.backups.all())
        assert published == sorted(self.expected), self.log
        for backup_id in published:
            restored = self.volumes.restore(backup_id)
            assert snapshot(restored) == self.expected[backup_id], (backup_id, self.log)
            shutil.rmtree(restored)

    def settled(self) -> None:
        """When everything is old and unpinned, only what the newest backup needs is left."""
        while self.pinned:
            self.unpin()
        for _ in range(4):
            self._clock.pass_by(timedelta(days=2))
            self.clean_up()
        self.check()
        newest = self.catalog.backups.latest()
        needed = {newest.id, *(source.backup_id for source in newest.sources)}
        assert {it.backup_id for it in self.catalog.backups.leftovers()} <= needed, self.log
        assert self.catalog.backups.unfinished_ids() == [], self.log
        assert set(self.catalog.backups.ids()) <= needed, self.log
        assert self.catalog.pins.ids() <= {newest.id}, self.log


@pytest.mark.parametrize("seed", range(12))
def test_every_published_backup_restores_at_every_moment(
    seed: int,
    clock: SettableClock,
    telemetry: Telemetry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refer_to_every_size(monkeypatch)
    monkeypatch.setattr(segments, "SEGMENT_SIZE", SEGMENT)
    monkeypatch.setattr(carry, "SEGMENT_SIZE", SEGMENT)
    world = World(seed, clock, telemetry, tmp_path)
    steps: list[Callable[[], None]] = [
        *[world.change] * 4,
        *[world.create] * 6,
        world.upload,
        world.delete,
        world.delete_newest,
        *[world.pin] * 2,
        world.unpin,
        *[world.clean_up] * 2,
        *[world.wait] * 3,
    ]
    world.create()
    for _ in range(25):
        step = world.chance.choice(steps)
        step()
        if step not in (world.change, world.wait):
            world.check()
    if not world.expected:
        world.create()
    if world.expected:
        world.settled()


def test_a_base_that_is_deleted_and_cleaned_up_meanwhile_does_not_cost_the_backup(
    clock: SettableClock, telemetry: Telemetry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refer_to_every_size(monkeypatch)
    world = World(0, clock, telemetry, tmp_path)
    first = world.volumes.back_up()
    done = False

    def before(operation: str) -> None:
        nonlocal done
        if not done and operation == "put_object":  # the new archive: everything was compared
            done = True
            delete_backup(world.catalog, first)
            world.clean_up()
            clock.pass_by(timedelta(minutes=14))
            world.clean_up()

    world.s3.before = before
    second = world.volumes.back_up()
    assert done
    assert [source.backup_id for source in second.sources] == [first.id]
    assert snapshot(world.volumes.restore(second.id)) == snapshot(world.volumes.folder)


def test_an_archive_that_is_read_stays_when_somebody_deletes_its_manifest_by_hand(
    clock: SettableClock, telemetry: Telemetry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refer_to_every_size(monkeypatch)
    world = World(0, clock, telemetry, tmp_path)
    first = world.volumes.back_up()
    second = world.volumes.back_up()
    key = f"a/p/backups/{first.id}/manifest.json"
    world.s3.delete_objects(Delete={"Objects": [{"Key": key}]})
    clock.pass_by(timedelta(days=2))
    world.clean_up()
    # Nor is its id used again, by an event that is delivered late.
    slot = BackupId.parse(first.id)
    assert world.catalog.backups.id_for(slot) == slot.before()
    assert snapshot(world.volumes.restore(second.id)) == snapshot(world.volumes.folder)
