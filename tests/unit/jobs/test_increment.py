"""A backup stores what changed and refers to older backups for the rest; each restores exactly."""

import gzip
import io
import os
import tarfile
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lcp_backup import history
from lcp_backup.archive import index
from lcp_backup.archive.index import read_members
from lcp_backup.archive.index_lines import IndexHeader
from lcp_backup.archive.segment import IndexedMember
from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.catalog.backups import BackupLock
from lcp_backup.exclusion import PathPatterns
from lcp_backup.model import BackupType, Manifest
from tests.support.backups import BUCKET
from tests.support.clock import SettableClock
from tests.support.memory_s3 import MemoryS3
from tests.support.trees import odd_tree, snapshot
from tests.support.volumes import LATER, Volumes, refer_to_every_size

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def volumes(clock: SettableClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Volumes:
    refer_to_every_size(monkeypatch)
    client: Any = MemoryS3(clock)
    catalog = Catalog(ObjectStore(client, BUCKET), "acme/prd", clock)
    return Volumes(catalog, clock, tmp_path / "data", tmp_path)


def fill(folder: Path, files: int = 20, size: int = 10_000) -> None:
    library = folder / "document_library"
    library.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        (library / f"{number:03}").write_bytes(os.urandom(size))


def names_in(volumes: Volumes, manifest: Manifest) -> set[str]:
    index = volumes.catalog.backups.open(manifest.id, "volume.index")
    return {member.name for member in read_members(index, archive_name="volume.tgz")}


def stored(manifest: Manifest) -> int:
    return manifest.volume.size


def test_what_did_not_change_is_not_stored_again(volumes: Volumes) -> None:
    fill(volumes.folder)
    full = volumes.back_up()
    unchanged = volumes.back_up()
    assert stored(full) > 200_000
    assert stored(unchanged) < 1000
    assert [source.backup_id for source in unchanged.sources] == [full.id]
    assert snapshot(volumes.restore(unchanged.id)) == snapshot(volumes.folder)


def test_no_file_is_opened_that_did_not_change(
    volumes: Volumes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(volumes.folder)
    volumes.back_up()
    real, opened = os.open, []

    def noting(path: str, flags: int, *args: int, **kwargs: int) -> int:
        if not flags & os.O_DIRECTORY and not str(path).startswith("/"):
            opened.append(path)
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", noting)
    volumes.back_up()
    assert opened == []


def test_every_backup_of_a_changing_folder_restores_exactly(volumes: Volumes) -> None:
    odd_tree(volumes.folder)
    library = volumes.folder / "document_library"
    backups = [(volumes.back_up(), snapshot(volumes.folder))]
    for change in (
        lambda: fill(volumes.folder, 3),
        lambda: (library / "001").write_bytes(b"short"),
        (library / "002").unlink,
        lambda: (library / "20097" / "0" / "large.bin").write_bytes(os.urandom(12 << 20)),
        lambda: (library / "20097" / "0" / "block").chmod(0o600),
        (library / "20097" / "0" / "large.bin").unlink,
    ):
        change()
        backups.append((volumes.back_up(), snapshot(volumes.folder)))
    for manifest, expected in backups:
        assert snapshot(volumes.restore(manifest.id)) == expected, manifest.id


def test_a_path_is_restored_from_wherever_it_lies(volumes: Volumes) -> None:
    fill(volumes.folder)
    volumes.back_up()
    (volumes.folder / "document_library" / "new").write_bytes(b"new")
    last = volumes.back_up()
    restored = volumes.restore(last.id, "document_library/003", "document_library/new")
    expected = snapshot(volumes.folder)
    assert {name: it for name, it in snapshot(restored).items() if it.content is not None} == {
        name: expected[name] for name in ("document_library/003", "document_library/new")
    }


class TestWhatIsStored:
    """A file whose content may have changed is read, and stored when it has."""

    @pytest.fixture
    def file(self, volumes: Volumes) -> Path:
        fill(volumes.folder)
        volumes.back_up()
        return volumes.folder / "document_library" / "007"

    def changed(self, volumes: Volumes, name: str = "document_library/007") -> bool:
        """Whether the next backup stores it; what that restores is right in any case."""
        manifest = volumes.back_up()
        assert snapshot(volumes.restore(manifest.id)) == snapshot(volumes.folder)
        return not self.member(volumes, name).source

    def test_a_content_of_the_same_size_with_its_time_set_back(
        self, volumes: Volumes, file: Path
    ) -> None:
        before = file.stat()
        file.write_bytes(b"y" * before.st_size)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert self.changed(volumes)

    def test_a_file_replaced_by_another_of_the_same_size_and_time(
        self, volumes: Volumes, file: Path
    ) -> None:
        before = file.stat()
        other = file.with_name("other")
        other.write_bytes(b"y" * before.st_size)
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        other.rename(file)
        assert self.changed(volumes)

    def test_another_size_under_the_same_time(self, volumes: Volumes, file: Path) -> None:
        before = file.stat()
        file.write_bytes(b"y")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert self.changed(volumes)

    def test_a_mode(self, volumes: Volumes, file: Path) -> None:
        file.chmod(0o600)
        assert self.changed(volumes)

    def test_a_time_alone(self, volumes: Volumes, file: Path) -> None:
        os.utime(file, ns=(1, 1))
        assert self.changed(volumes)

    def test_not_a_file_that_was_restored(self, volumes: Volumes, file: Path) -> None:
        before = file.stat()
        copy = file.with_name("copy")
        copy.write_bytes(file.read_bytes())
        os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
        copy.rename(file)
        assert not self.changed(volumes)
        # And from then on it is known by its new inode: it is not read every time.
        assert self.member(volumes).inode == file.stat().st_ino

    def test_a_file_changed_just_before_the_backup_is_read_by_the_next(
        self, volumes: Volumes, file: Path
    ) -> None:
        # Within one tick of the file system's clock a second change would leave no trace.
        volumes.settled *= 0
        file.write_bytes(b"x" * 100)
        assert self.changed(volumes)
        assert self.member(volumes).ctime_ns == 0
        volumes.settled += LATER
        assert not self.changed(volumes)
        assert self.member(volumes).ctime_ns == file.stat().st_ctime_ns

    @staticmethod
    def member(volumes: Volumes, name: str = "document_library/007") -> IndexedMember:
        """The file in the index of the newest backup."""
        manifest = volumes.catalog.backups.latest()
        index = volumes.catalog.backups.open(manifest.id, manifest.volume.index_name)
        (found,) = (it for it in read_members(index, archive_name="volume.tgz") if it.name == name)
        return found


def test_a_small_volume_is_stored_whole(volumes: Volumes, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(volumes.folder)
    monkeypatch.setattr(history, "WHOLE_BELOW", 1 << 20)
    volumes.back_up()
    second = volumes.back_up()
    assert second.sources == ()
    assert stored(second) > 200_000


def test_an_uploaded_backup_is_never_referred_to(volumes: Volumes) -> None:
    fill(volumes.folder)
    first = volumes.back_up()
    volumes.back_up(BackupType.UPLOADED)
    assert [source.backup_id for source in volumes.back_up().sources] == [first.id]


def test_a_file_that_became_unreadable_is_not_taken_for_what_it_was(volumes: Volumes) -> None:
    fill(volumes.folder)
    volumes.back_up()
    (volumes.folder / "document_library" / "007").unlink()
    (volumes.folder / "document_library" / "007").mkdir()
    manifest = volumes.back_up()
    assert snapshot(volumes.restore(manifest.id)) == snapshot(volumes.folder)


def test_an_archive_that_a_backup_reads_is_locked_as_long_as_that_backup(
    s3: "S3Client", clock: SettableClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refer_to_every_size(monkeypatch)
    s3.create_bucket(
        Bucket="locked",
        CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
        ObjectLockEnabledForBucket=True,
    )
    term = timedelta(days=7)
    lock = BackupLock("GOVERNANCE", term)
    catalog = Catalog(ObjectStore(s3, "locked"), "acme/prd", clock, lock=lock)
    volumes = Volumes(catalog, clock, tmp_path / "data", tmp_path)
    fill(volumes.folder)
    first = volumes.back_up()
    clock.pass_by(timedelta(days=3))
    volumes.back_up()
    key = f"acme/prd/backups/{first.id}/volume.tgz"
    head = s3.head_object(Bucket="locked", Key=key)
    assert head["ObjectLockRetainUntilDate"] == clock() + term
    # What is locked for longer than that stays so.
    longer = clock() + timedelta(days=30)
    s3.put_object_retention(
        Bucket="locked",
        Key=key,
        Retention={"Mode": "GOVERNANCE", "RetainUntilDate": longer},
    )
    volumes.back_up()
    assert s3.head_object(Bucket="locked", Key=key)["ObjectLockRetainUntilDate"] == longer


@pytest.mark.parametrize("whole", [False, True])
def test_what_is_left_out_is_neither_stored_nor_taken_over_and_comes_back_with_its_pattern_gone(
    volumes: Volumes, whole: bool
) -> None:
    fill(volumes.folder)
    caches = volumes.folder / "document_library" / "caches"
    caches.mkdir()
    (caches / "a").write_bytes(os.urandom(10_000))
    full = volumes.back_up()
    volumes.leave_out = PathPatterns(["caches/", "/document_library/00?"])
    without = volumes.back_up(whole=whole)
    assert without.left_out.paths == 11
    names = names_in(volumes, without)
    assert names == {"document_library", *(f"document_library/0{n}" for n in range(10, 20))}
    again = volumes.back_up(whole=whole)
    assert names_in(volumes, again) == names
    if whole:
        assert again.volume.exact
        assert stored(again) < stored(full) * 0.6
    volumes.leave_out = PathPatterns(())
    back = volumes.back_up(whole=whole)
    assert snapshot(volumes.restore(back.id)) == snapshot(volumes.folder)


def test_what_is_left_out_is_not_carried_over_from_an_archive_that_is_given_up(
    volumes: Volumes,
) -> None:
    fill(volumes.folder)
    volumes.back_up()
    for number in range(5, 20):
        (volumes.folder / "document_library" / f"{number:03}").unlink()
    volumes.back_up()
    volumes.leave_out = PathPatterns(["00[01]"])
    third = volumes.back_up()
    assert third.sources == ()  # the rest of the first one's was carried over
    archive = volumes.catalog.backups.open(third.id, "volume.tgz")
    raw = gzip.decompress(archive.read(0, archive.size))
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        names = {member.name for member in tar if member.isfile()}
    assert names == {f"document_library/{number:03}" for number in (2, 3, 4)}


def test_a_base_whose_index_a_later_version_wrote_does_not_keep_backups_from_being_made(
    volumes: Volumes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a roll-back: manifests may well be as they were."""
    fill(volumes.folder)
    with monkeypatch.context() as later:
        header = partial(IndexHeader.model_construct, format=2)
        later.setattr(index, "IndexHeader", header)
        first = volumes.back_up()
    manifest = volumes.back_up()
    assert manifest.sources == ()
    assert [(it.code, it.subject) for it in manifest.warnings] == [
        ("volume-stored-whole", first.id)
    ]
    assert snapshot(volumes.restore(manifest.id)) == snapshot(volumes.folder)
