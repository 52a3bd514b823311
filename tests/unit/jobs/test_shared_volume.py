"""A volume that several workers pack: whatever becomes of them, the archive is the folder."""

import hashlib
import io
import os
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lcp_backup.archive import local_copy
from lcp_backup.archive.index import read_index
from lcp_backup.aws import s3_shared
from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.errors import ArchiveDamaged, StorageError, VolumeIncomplete
from lcp_backup.jobs import joined_volume, shared_volume
from lcp_backup.jobs.joined_volume import join_volume
from lcp_backup.jobs.new_volume import NewVolume, secure_sources
from lcp_backup.jobs.shared_volume import SharedVolume
from lcp_backup.model import BackupId, Manifest, RunKind
from lcp_backup.volume import segments, share, shares
from tests.support import memory_s3
from tests.support.backups import BUCKET, a_manifest
from tests.support.clock import SettableClock
from tests.support.forged import Line, each_member, forge_index, is_of_source
from tests.support.memory_s3 import Killed, MemoryS3
from tests.support.trees import odd_tree, snapshot
from tests.support.volumes import LATER, Volumes, refer_to_every_size

SEGMENT = 16 << 10
PART = 40 << 10
NAMES = "abcdefghijkl"
SIZES = (0, 100, 3000, SEGMENT, 3 * SEGMENT + 77, 20 * SEGMENT, 90 * SEGMENT + 5)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is megabytes otherwise is kilobytes."""
    refer_to_every_size(monkeypatch)
    for module in (segments, share, shares):
        monkeypatch.setattr(module, "SEGMENT_SIZE", SEGMENT)
    for module in (s3_shared, joined_volume):
        monkeypatch.setattr(module, "SMALLEST_PART", PART)
    monkeypatch.setattr(joined_volume, "_MOST_WAITING", 4 * PART)
    monkeypatch.setattr(memory_s3, "_LEAST_PART", PART)
    monkeypatch.setattr(shared_volume, "FIRST_PART_SIZE", PART)
    monkeypatch.setattr(shares, "CUT_FROM", 10 * SEGMENT)
    monkeypatch.setattr(share, "MOST_COMPARED", 10 * SEGMENT)


class Site:
    """A folder that workers back up, on an S3 that can fail."""

    def __init__(self, clock: SettableClock, tmp_path: Path) -> None:
        self.s3 = MemoryS3(clock)
        client: Any = self.s3
        self.catalog = Catalog(ObjectStore(client, BUCKET, pause=lambda _: None), "a/p", clock)
        self.volumes = Volumes(self.catalog, clock, tmp_path / "data", tmp_path)
        self.folder = self.volumes.folder
        self._clock = clock
        self.volume: SharedVolume

    def share_out(
        self,
        workers: int,
        steps: Callable[[], int] = lambda: 1 << 30,
        between: Callable[[], None] = lambda: None,
        before_snapshot: Callable[[], None] = lambda: None,
    ) -> int:
        """Begins a backup, an hour after the last; how many shares it has.

        Arguments: `steps` tells of each stretch of the plan how often it looks at the clock before
        its time is over, and `between` is called after it. `before_snapshot` is called when the
        plan is made.
        """
        self._clock.pass_by(LATER)
        backup_id = str(self.catalog.backups.id_for(BackupId.of("acme", "prd", self._clock())))
        work = self.catalog.work.of(self.catalog.runs.new_id(RunKind.CREATE))
        self.volume = SharedVolume(self.catalog, work, backup_id)
        while True:
            left = iter(range(steps()))
            plan = self.volume.share_out(
                self.folder,
                self.volume.surveyed(),
                whole=False,
                workers=workers,
                least_size=1,
                leave_out=self.volumes.leave_out,
                began=datetime.now(UTC) + LATER,
                threads=2,
                check=lambda: None,
                is_over=lambda left=left: next(left, None) is None,  # type: ignore[misc]
            )
            if not isinstance(plan, shares.Survey):
                break
            between()
        before_snapshot()
        self.volume.look_again(self.folder)
        return plan.shares

    def pack(self, number: int, steps: int = 1 << 30) -> bool:
        """A stretch of a worker whose time is over when it has looked at the clock so often."""
        left = iter(range(steps))
        return self.volume.pack(
            self.volume.plan(),
            number,
            self.folder,
            leave_out=self.volumes.leave_out,
            threads=2,
            progress=lambda _: None,
            check=lambda: None,
            is_over=lambda: next(left, None) is None,
        )

    def pack_all(self, count: int) -> None:
        """Every worker to its end."""
        for number in range(count):
            while not self.pack(number):
                pass

    def join(self) -> NewVolume:
        return join_volume(
            self.volume, leave_out=self.volumes.leave_out, shrink_limit=100, check=lambda: None
        )

    def publish(self, volume: NewVolume) -> Manifest:
        manifest = a_manifest(self._clock()).model_copy(
            update={
                "id": self.volume.backup_id,
                "volume": volume.archive,
                "sources": volume.sources,
                "volume_facts": volume.packed.facts,
                "warnings": (*volume.notices, *volume.packed.notices),
            }
        )
        manifest = secure_sources(self.catalog, manifest)
        self.catalog.backups.publish(manifest)
        return manifest

    def back_up(self, workers: int) -> Manifest:
        self.pack_all(self.share_out(workers))
        return self.publish(self.join())

    def archive(self, manifest: Manifest) -> bytes:
        return bytes(self.s3.objects[f"a/p/backups/{manifest.id}/volume.tgz"]["Body"])

    def extract(self, manifest: Manifest, folder: Path) -> Path:
        """With GNU tar, as an operator would."""
        folder.mkdir()
        subprocess.run(
            ["tar", "-xpzf", "-", "-C", folder],
            input=self.archive(manifest),
            capture_output=True,
            check=True,
        )
        return folder


@pytest.fixture
def site(clock: SettableClock, tmp_path: Path) -> Site:
    return Site(clock, tmp_path)


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_what_workers_pack_opens_with_gnu_tar_and_restores_exactly(
    site: Site, tmp_path: Path, workers: int
) -> None:
    odd_tree(site.folder)
    manifest = site.back_up(workers)
    expected = snapshot(site.folder)
    assert snapshot(site.extract(manifest, tmp_path / "by tar")) == expected
    assert snapshot(site.volumes.restore(manifest.id)) == expected
    facts = manifest.volume_facts
    assert facts.files == sum(isinstance(it.content, bytes) for it in expected.values())
    assert manifest.volume.writers == workers
    assert [notice.code for notice in manifest.warnings] == []


def test_a_file_larger_than_a_share_is_packed_by_several(site: Site, tmp_path: Path) -> None:
    (site.folder / "large.bin").write_bytes(os.urandom(60 * SEGMENT + 99))
    (site.folder / "small").write_bytes(b"small")
    count = site.share_out(4)
    inside = [it for it in site.volume.plan().boundaries if it.file is not None]
    assert (count, len(inside)) == (4, 3)
    site.pack_all(count)
    manifest = site.publish(site.join())
    assert snapshot(site.extract(manifest, tmp_path / "by tar")) == snapshot(site.folder)
    assert snapshot(site.volumes.restore(manifest.id)) == snapshot(site.folder)


@pytest.mark.parametrize("happens", ["shrinks", "grows", "goes", "becomes a folder"])
def test_a_file_that_changes_while_several_pack_it_stays_a_whole_member_and_is_told(
    site: Site, happens: str
) -> None:
    large, content = site.folder / "large.bin", os.urandom(60 * SEGMENT + 99)
    large.write_bytes(content)
    (site.folder / "more").write_bytes(b"more")
    count = site.share_out(3)
    site.pack(0)
    if happens == "shrinks":
        large.write_bytes(b"short")
    elif happens == "grows":
        large.write_bytes(content + b"more")
    else:
        large.unlink()
        if happens == "becomes a folder":
            large.mkdir()
            (large / "inside").write_bytes(b"inside")
    site.pack_all(count)
    manifest = site.publish(site.join())
    with tarfile.open(fileobj=io.BytesIO(site.archive(manifest))) as opened:
        assert [it.name for it in opened] == ["large.bin", "more"]
        found = opened.extractfile("large.bin")
        assert found is not None
        assert len(found.read()) == len(content)
    codes = {notice.code for notice in manifest.warnings}
    assert codes & {"file-changed", "file-vanished"}, codes
    # And it is stored anew by the next one.
    site.back_up(3)
    assert snapshot(site.volumes.restore(site.volume.backup_id)) == snapshot(site.folder)


@pytest.mark.parametrize("happens", ["all goes", "what was reached becomes a folder", "more comes"])
def test_what_changes_while_the_folder_is_shared_out_is_in_the_backup_all_the_same(
    site: Site, tmp_path: Path, happens: str
) -> None:
    """A cut that is out of date costs balance, never exactness."""
    library = site.folder / "document_library"
    for number in range(5):
        (library / str(number)).mkdir(parents=True)
        for name in NAMES:
            (library / str(number) / name).write_bytes(os.urandom(2 * SEGMENT))
    happened: list[str] = []

    def change() -> None:
        if happened or (found := site.volume.surveyed()) is None or found.names < 30:
            return
        assert found.reached is not None
        reached = site.folder / found.reached.name
        happened.append(found.reached.name)
        if happens == "all goes":
            shutil.rmtree(library)
            (site.folder / "other").write_bytes(b"other")
        elif happens == "more comes":
            for name in "ABC":
                (library / name).mkdir()
                (library / name / "first").write_bytes(os.urandom(9 * SEGMENT))
        else:
            reached.unlink()
            reached.mkdir()
            (reached / "inside").write_bytes(os.urandom(9 * SEGMENT))

    count = site.share_out(4, lambda: 10, change)
    assert happened
    site.pack_all(count)
    manifest = site.publish(site.join())
    assert snapshot(site.extract(manifest, tmp_path / "by tar")) == snapshot(site.folder)
    assert snapshot(site.volumes.restore(manifest.id)) == snapshot(site.folder)


@pytest.mark.parametrize("happens", ["shrinks", "grows", "goes", "becomes a folder"])
def test_a_cut_file_that_changes_before_the_snapshot_is_in_the_backup_as_it_is_then(
    site: Site, tmp_path: Path, happens: str
) -> None:
    large, content = site.folder / "large.bin", os.urandom(60 * SEGMENT + 99)
    large.write_bytes(content)
    (site.folder / "more").write_bytes(os.urandom(5 * SEGMENT))

    def change() -> None:
        assert [it.name for it in site.volume.plan().boundaries] == ["large.bin"] * 2
        if happens == "shrinks":
            large.write_bytes(content[: 30 * SEGMENT])
        elif happens == "grows":
            large.write_bytes(content + b"more")
        else:
            large.unlink()
            if happens == "becomes a folder":
                large.mkdir()
                (large / "inside").write_bytes(os.urandom(9 * SEGMENT))

    count = site.share_out(3, before_snapshot=change)
    first = site.volume.plan()
    large.touch() if happens == "grows" else None
    site.volume.look_again(site.folder)
    assert site.volume.plan() == first, "workers must not have different ones"
    site.pack_all(count)
    manifest = site.publish(site.join())
    assert snapshot(site.volumes.restore(manifest.id)).keys() == snapshot(site.folder).keys()
    extracted = site.extract(manifest, tmp_path / "by tar")
    assert snapshot(extracted).keys() == snapshot(site.folder).keys()
    if large.is_file():
        assert (extracted / "large.bin").read_bytes() == large.read_bytes()
    else:
        assert snapshot(extracted) == snapshot(site.folder)


@pytest.mark.parametrize("leads", ["inside", "outside"])
def test_a_cut_file_whose_folder_becomes_a_link_before_the_snapshot_makes_a_whole_backup(
    site: Site, tmp_path: Path, leads: str
) -> None:
    library = site.folder / "library"
    library.mkdir(parents=True)
    (library / "large.bin").write_bytes(os.urandom(60 * SEGMENT + 99))
    (site.folder / "more").write_bytes(os.urandom(5 * SEGMENT))

    def change() -> None:
        assert [it.name for it in site.volume.plan().boundaries] == ["library/large.bin"] * 2
        moved = (site.folder if leads == "inside" else tmp_path) / "moved"
        library.rename(moved)
        library.symlink_to("moved" if leads == "inside" else moved)

    site.pack_all(site.share_out(3, before_snapshot=change))
    manifest = site.publish(site.join())
    extracted = site.extract(manifest, tmp_path / "by tar")
    restored = site.volumes.restore(manifest.id)
    if leads == "outside":
        library.unlink()
    assert snapshot(extracted) == snapshot(restored) == snapshot(site.folder)


def test_a_file_that_is_a_folder_to_the_next_stretch_makes_no_backup(site: Site) -> None:
    """No program could extract it: a file, and behind it what lies below its name."""
    (site.folder / "a").write_bytes(os.urandom(2 * SEGMENT))
    count = site.share_out(1)
    (site.folder / "b").write_bytes(b"b")
    assert site.pack(0, 1) is False
    reached = site.volume.stretches(site.volume.plan(), 0)[0].reached
    assert reached is not None
    assert reached.name == "a"
    (site.folder / "a").unlink()
    (site.folder / "a").mkdir()
    (site.folder / "a" / "inside").write_bytes(b"inside")
    site.pack_all(count)
    with pytest.raises(VolumeIncomplete, match="'a' was no folder when one worker packed it"):
        site.join()
    assert f"a/p/backups/{site.volume.backup_id}/volume.tgz" not in site.s3.objects


def test_an_increment_by_workers_keeps_no_index_on_the_disk(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for 512 MB; that of ten million files has more, and this one stands for it."""
    for name in "abc":
        (site.folder / name).write_bytes(os.urandom(20 * SEGMENT))
    site.back_up(2)
    (site.folder / "d").write_bytes(b"new")
    monkeypatch.setattr(local_copy, "LARGEST", 1)
    monkeypatch.setattr(local_copy, "LocalCopy", lambda *_, **__: pytest.fail("copied"))
    manifest = site.back_up(2)
    assert [it.live_size > 0 for it in manifest.sources] == [True]
    assert manifest.volume.raw_size < 20 * SEGMENT
    assert snapshot(site.volumes.restore(manifest.id)) == snapshot(site.folder)


@pytest.mark.parametrize("at", [4, 40])  # of the first, gzip itself knows nothing
def test_a_base_whose_index_is_damaged_is_told_of_and_all_is_stored(site: Site, at: int) -> None:
    for name in "abc":
        (site.folder / name).write_bytes(os.urandom(20 * SEGMENT))
    first = site.back_up(2)
    index = site.s3.objects[f"a/p/backups/{first.id}/volume.index"]
    damaged = bytearray(index["Body"])
    damaged[at] ^= 1
    index["Body"] = bytes(damaged)
    manifest = site.back_up(2)
    assert [it.code for it in manifest.warnings] == ["volume-stored-whole"]
    assert manifest.sources == ()
    assert snapshot(site.volumes.restore(manifest.id)) == snapshot(site.folder)


def test_shares_of_which_all_but_one_compress_to_nothing_make_an_archive(
    site: Site, tmp_path: Path
) -> None:
    """S3 takes no part of less than 5 MiB but the last."""
    for name in "abcdefgh":
        content = os.urandom(40 * SEGMENT) if name == "e" else bytes(40 * SEGMENT)
        (site.folder / name).write_bytes(content)
    manifest = site.back_up(8)
    assert snapshot(site.extract(manifest, tmp_path / "by tar")) == snapshot(site.folder)
    assert snapshot(site.volumes.restore(manifest.id)) == snapshot(site.folder)
    subprocess.run(["gzip", "-t"], input=site.archive(manifest), check=True)


def test_what_a_given_up_worker_writes_over_never_gets_into_the_archive(site: Site) -> None:
    (site.folder / "a").write_bytes(os.urandom(30 * SEGMENT))
    count = site.share_out(2)
    site.pack_all(count)
    plan = site.volume.plan()
    number = site.volume.stretches(plan, 0)[0].parts[0].number
    site.volume.multipart(plan).send(plan.multipart_id, number, os.urandom(PART))
    with pytest.raises(StorageError, match="InvalidPart"):
        site.join()
    assert f"a/p/backups/{site.volume.backup_id}/volume.tgz" not in site.s3.objects


@pytest.mark.parametrize("what", ["rest", "index"])
def test_what_a_worker_left_and_somebody_replaced_never_gets_into_the_archive(
    site: Site, what: str
) -> None:
    (site.folder / "a").write_bytes(os.urandom(30 * SEGMENT))
    count = site.share_out(2)
    site.pack_all(count)
    (key,) = [key for key in site.s3.objects if f"/{what}/1/" in key]
    body = bytearray(site.s3.objects[key]["Body"])
    body[len(body) // 2] ^= 1
    site.s3.put_object(Key=key, Body=bytes(body))
    with pytest.raises(StorageError, match="of share 1 .* is not what its worker left there"):
        site.join()
    assert f"a/p/backups/{site.volume.backup_id}/volume.tgz" not in site.s3.objects


def test_the_second_attempt_of_a_stretch_that_was_done_changes_nothing(site: Site) -> None:
    (site.folder / "a").write_bytes(os.urandom(30 * SEGMENT))
    count = site.share_out(1)
    before = site.volume.stretches
    # Both began before either was done: the one that ends second finds the other's word.
    site.volume.stretches = lambda *_: []  # type: ignore[method-assign]
    assert site.pack(0) is True
    assert site.pack(0) is False
    site.volume.stretches = before  # type: ignore[method-assign]
    site.pack_all(count)
    assert len(before(site.volume.plan(), 0)) == 1
    site.publish(site.join())
    assert snapshot(site.volumes.restore(site.volume.backup_id)) == snapshot(site.folder)


@pytest.mark.parametrize("at", range(1, 16))
def test_a_join_that_is_killed_anywhere_is_done_again(site: Site, at: int) -> None:
    for name in "abc":
        (site.folder / name).write_bytes(os.urandom(20 * SEGMENT))
    site.pack_all(site.share_out(3))
    calls = iter(range(at))

    def before(operation: str) -> None:
        if not operation.startswith(("get", "head", "list")) and next(calls, None) is None:
            raise Killed

    site.s3.before = before
    with suppress(Killed):
        site.join()
    site.s3.before = lambda _: None
    site.publish(site.join())
    assert snapshot(site.volumes.restore(site.volume.backup_id)) == snapshot(site.folder)


def test_a_join_that_is_done_twice_leaves_the_index_to_whom_may_publish_it(site: Site) -> None:
    """The first attempt may live on, and publish while the second is at work."""
    (site.folder / "a").write_bytes(os.urandom(20 * SEGMENT))
    site.pack_all(site.share_out(2))
    first = site.join()
    index = site.s3.objects[f"a/p/backups/{site.volume.backup_id}/volume.index"]
    site.s3.before = lambda operation: (
        pytest.fail("the index is taken away") if operation.startswith("delete") else None
    )
    assert site.join() == first
    assert site.s3.objects[f"a/p/backups/{site.volume.backup_id}/volume.index"] is index


def test_the_archive_is_known_by_a_digest_over_its_segments(site: Site) -> None:
    (site.folder / "a").write_bytes(os.urandom(30 * SEGMENT))
    manifest = site.back_up(2)
    index = site.catalog.backups.open(manifest.id, "volume.index")
    digest = hashlib.sha256()
    for segment in read_index(index, archive_name="volume.tgz"):
        digest.update(bytes.fromhex(segment.sha256))
    assert (manifest.volume.sha256, manifest.volume.segments_sha256) == (None, digest.hexdigest())


class History:
    """Generations of a folder, each packed by some workers that stop, fail and are tried again."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.chance = random.Random(seed)

    def change(self) -> None:
        """Some things come, change, go, or become something else."""
        library = self.site.folder / "document_library"
        library.mkdir(exist_ok=True)
        for name in self.chance.sample(NAMES, 4):
            path = library / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
            kind = self.chance.random()
            if kind < 0.2:
                continue
            if kind < 0.3:
                path.mkdir()
                for inner in self.chance.sample(NAMES, 3):
                    (path / inner).write_bytes(self.content())
                path.chmod(0o555)
            elif kind < 0.4:
                path.symlink_to(self.chance.choice(NAMES))
            elif kind < 0.5:
                name_of_bytes = os.fsdecode(b"\xff" + name.encode() * self.chance.choice([1, 150]))
                (library / name_of_bytes).write_bytes(self.content())
            else:
                path.write_bytes(self.content())

    def content(self) -> bytes:
        size = self.chance.choice(SIZES)
        return bytes(size) if self.chance.random() < 0.4 else self.chance.randbytes(size)

    def back_up(self) -> Manifest:
        """Workers in any order, each with budgets of its own, some killed at some request."""
        count = self.site.share_out(
            self.chance.randint(1, 6),
            lambda: self.chance.choice([0, 3, 1000]),
            lambda: self.change() if self.chance.random() < 0.2 else None,
            lambda: self.change() if self.chance.random() < 0.5 else None,
        )
        unfinished = list(range(count))
        while unfinished:
            number = self.chance.choice(unfinished)
            if self.chance.random() < 0.3:
                self.kill_at(self.chance.randrange(1, 12))
            try:
                if self.site.pack(number, self.chance.choice([1, 5, 30, 1000])):
                    unfinished.remove(number)
            except Killed:
                pass
            finally:
                self.site.s3.before = lambda _: None
        return self.site.publish(self.site.join())

    def kill_at(self, request: int) -> None:
        calls = iter(range(request))

        def before(_: str) -> None:
            if next(calls, None) is None:
                raise Killed

        self.site.s3.before = before


@pytest.mark.parametrize("seed", range(8))
def test_histories_of_a_folder_come_back_exactly(site: Site, tmp_path: Path, seed: int) -> None:
    history = History(site, seed)
    steps: list[Callable[[], None]] = [history.change] * 6
    for number, step in enumerate(steps):
        step()
        manifest = history.back_up()
        expected = snapshot(site.folder)
        assert snapshot(site.volumes.restore(manifest.id)) == expected, number
        extracted = snapshot(site.extract(manifest, tmp_path / f"by tar {number}"))
        if not manifest.sources:
            assert extracted == expected, number
        else:
            assert extracted.items() <= expected.items(), number


def without_segments_of_sources(lines: list[Line]) -> list[Line]:
    return [it for it in lines if not is_of_source(it)]


def with_an_impossible_place(lines: list[Line]) -> list[Line]:
    return each_member(lines, lambda member: member.__setitem__(3, 10**40))


@pytest.mark.parametrize("forge", [without_segments_of_sources, with_an_impossible_place])
def test_a_base_whose_index_contradicts_itself_is_named_with_the_way_out(
    site: Site, monkeypatch: pytest.MonkeyPatch, forge: Callable[[list[Line]], list[Line]]
) -> None:
    refer_to_every_size(monkeypatch)
    (site.folder / "a").write_bytes(b"a")
    site.back_up(1)
    (site.folder / "b").write_bytes(b"b")
    base = site.back_up(2)
    assert base.sources
    forge_index(site.s3, f"a/p/backups/{base.id}", forge)
    with pytest.raises(ArchiveDamaged, match=f"{base.id}, cannot be compared .*delete that backup"):
        site.back_up(2)
    site.catalog.backups.unpublish(base.id)
    made = site.back_up(2)
    assert snapshot(site.volumes.restore(made.id)) == snapshot(site.folder)
