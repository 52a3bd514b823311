"""What is live in a mostly dead archive is carried over, and a whole archive needs no other."""

import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lcp_backup.archive.index import read_members
from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.errors import ObjectNotFound
from lcp_backup.history import BaseVolume, Found
from lcp_backup.jobs import increment
from lcp_backup.model import Manifest
from lcp_backup.volume import carry, segments
from lcp_backup.volume.pack import pack
from lcp_backup.volume.packing import Packed
from tests.support.backups import BUCKET
from tests.support.clock import SettableClock
from tests.support.memory_s3 import MemoryS3
from tests.support.trees import odd_tree, snapshot
from tests.support.volumes import Volumes, refer_to_every_size

MIB = 1 << 20


@pytest.fixture
def volumes(
    s3: MemoryS3, clock: SettableClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Volumes:
    refer_to_every_size(monkeypatch)
    client: Any = s3
    catalog = Catalog(ObjectStore(client, BUCKET), "acme/prd", clock)
    return Volumes(catalog, clock, tmp_path / "data", tmp_path)


@pytest.fixture
def s3(clock: SettableClock) -> MemoryS3:
    return MemoryS3(clock)


@pytest.fixture
def library(volumes: Volumes) -> Path:
    library = volumes.folder / "document_library"
    library.mkdir()
    return library


def write(file: Path, size: int = 10_000) -> None:
    file.write_bytes(os.urandom(size))


def opened_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files of the folder that are opened from now on."""
    real, opened = os.open, []

    def noting(path: str, flags: int, *args: int, **kwargs: int) -> int:
        if not flags & os.O_DIRECTORY and not str(path).startswith("/"):
            opened.append(path)
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", noting)
    return opened


def unpacked(volumes: Volumes, manifest: Manifest, out: Path) -> Path:
    """What `tar xzf` makes of the archive alone."""
    reader = volumes.catalog.backups.open(manifest.id, "volume.tgz")
    out.mkdir()
    command = ["tar", "--extract", "--gzip", "--preserve-permissions", "--numeric-owner"]
    subprocess.run([*command, "-C", out], input=reader.read(0, reader.size), check=True)
    return out


def test_a_source_of_which_less_than_half_is_live_is_carried_over(
    volumes: Volumes, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        write(library / f"{number}", MIB)
    full = volumes.back_up()
    for number in range(7):
        write(library / f"{number}", MIB)
    second = volumes.back_up()
    assert [source.backup_id for source in second.sources] == [full.id]
    opened = opened_files(monkeypatch)
    third = volumes.back_up()
    assert opened == []
    assert [source.backup_id for source in third.sources] == [second.id]
    monkeypatch.undo()
    assert snapshot(volumes.restore(third.id)) == snapshot(volumes.folder)
    # It is by now in no index any more.
    volumes.catalog.backups.unpublish(full.id)
    assert snapshot(volumes.restore(third.id)) == snapshot(volumes.folder)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_carried_over_every_backup_restores_exactly(
    volumes: Volumes, library: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files around the size of a segment come, change and go between backups of both kinds."""
    segment = 32 << 10
    monkeypatch.setattr(segments, "SEGMENT_SIZE", segment)
    monkeypatch.setattr(carry, "SEGMENT_SIZE", segment)
    sizes = (0, 100, 5000, segment - 1536, segment - 512, segment, 3 * segment + 77)
    chance = random.Random(seed)
    names = "abcdefghij"
    for name in names:
        write(library / name, chance.choice(sizes))
    for _ in range(6):
        manifest = volumes.back_up(whole=chance.random() < 0.4)
        assert snapshot(volumes.restore(manifest.id)) == snapshot(volumes.folder)
        for name in chance.sample(names, 3):
            if chance.random() < 0.4:
                (library / name).unlink(missing_ok=True)
            else:
                write(library / name, chance.choice(sizes))


@pytest.mark.parametrize("large", [20 * MIB + 777])
def test_large_files_are_carried_over_whatever_lies_around_them(
    volumes: Volumes, library: Path, large: int
) -> None:
    for name in ("a", "b-large", "c", "d-large", "e", "f-large", "g"):
        write(library / name, large if name.endswith("large") else 70_000)
    backups = [volumes.back_up()]
    for gone in ("a", "c", "d-large", "g"):
        (library / gone).unlink()
        write(library / "new", 3 * large)
        backups.append(volumes.back_up())
        backups.append(volumes.back_up())
        assert snapshot(volumes.restore(backups[-1].id)) == snapshot(volumes.folder)
        backups.append(volumes.back_up(whole=True))
        assert backups[-1].sources == ()
        assert snapshot(volumes.restore(backups[-1].id)) == snapshot(volumes.folder)


def test_a_whole_archive_is_plain_and_holds_the_folder_and_nothing_else(
    volumes: Volumes, library: Path, tmp_path: Path
) -> None:
    library.rmdir()
    odd_tree(volumes.folder)
    for number in range(40):
        write(library / f"{number:02}", 300_000)
    volumes.back_up()
    for number in range(0, 40, 7):
        (library / f"{number:02}").unlink()
    for number in range(1, 40, 7):
        write(library / f"{number:02}", 300_000)
    whole = volumes.back_up(whole=True)
    assert whole.sources == ()
    assert snapshot(unpacked(volumes, whole, tmp_path / "unpacked")) == snapshot(volumes.folder)
    assert snapshot(volumes.restore(whole.id)) == snapshot(volumes.folder)
    names = [
        it.name
        for it in read_members(
            volumes.catalog.backups.open(whole.id, "volume.index"), archive_name="volume.tgz"
        )
    ]
    assert len(names) == len(set(names))


def test_nothing_is_read_from_the_folder_for_a_whole_archive_of_what_did_not_change(
    volumes: Volumes, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        write(library / f"{number}", MIB)
    volumes.back_up()
    opened = opened_files(monkeypatch)
    volumes.back_up(whole=True)
    assert opened == []


def test_there_are_never_more_than_32_sources(volumes: Volumes, library: Path) -> None:
    for number in range(45):
        write(library / f"{number:02}", 5_000)
        last = volumes.back_up()
        assert len(last.sources) <= 32
    assert snapshot(volumes.restore(last.id)) == snapshot(volumes.folder)


@pytest.mark.parametrize("whole", [False, True])
def test_a_source_that_is_missing_is_read_from_the_folder_again_and_it_says_so(
    volumes: Volumes, library: Path, *, whole: bool
) -> None:
    for number in range(10):
        write(library / f"{number}")
    full = volumes.back_up()
    for number in range(3):
        write(library / f"{number}")
    volumes.back_up()
    volumes.catalog.backups.unpublish(full.id)
    last = volumes.back_up(whole=whole)
    assert [(it.code, it.subject) for it in last.warnings] == [("source-missing", full.id)]
    assert full.id not in [source.backup_id for source in last.sources]
    assert snapshot(volumes.restore(last.id)) == snapshot(volumes.folder)


def damage(s3: MemoryS3, volumes: Volumes, backup_id: str) -> None:
    """Changes a byte of an archive, as if where S3 does not notice: its tag stays the known one."""
    key = f"acme/prd/backups/{backup_id}/volume.tgz"
    body = bytearray(s3.get_object(Key=key)["Body"].read())
    body[-60_000] ^= 1
    s3.put_object(Key=key, Body=bytes(body))
    tag = s3.head_object(Key=key)["ETag"]
    last = volumes.catalog.backups.latest()
    sources = tuple(
        it.model_copy(update={"etag": tag}) if it.backup_id == backup_id else it
        for it in last.sources
    )
    volume = last.volume
    if last.id == backup_id:
        volume = volume.model_copy(update={"etag": tag})
    known = last.model_copy(update={"sources": sources, "volume": volume})
    s3.put_object(
        Key=f"acme/prd/backups/{last.id}/manifest.json", Body=known.model_dump_json().encode()
    )


def test_a_damaged_archive_is_not_carried_over(
    volumes: Volumes, library: Path, s3: MemoryS3
) -> None:
    for number in range(10):
        write(library / f"{number}", 100_000)
    full = volumes.back_up()
    for number in range(7):
        write(library / f"{number}", 100_000)
    volumes.back_up()
    damage(s3, volumes, full.id)
    last = volumes.back_up()
    assert [(it.code, it.subject) for it in last.warnings] == [("source-missing", full.id)]
    assert snapshot(volumes.restore(last.id)) == snapshot(volumes.folder)


def test_an_archive_that_is_replaced_before_it_is_carried_over_is_read_from_the_folder(
    volumes: Volumes, library: Path, s3: MemoryS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of segments that are copied nobody reads a byte."""
    write(library / "large", 20 * MIB)
    full = volumes.back_up()
    write(library / "more")
    volumes.back_up()
    key = f"acme/prd/backups/{full.id}/volume.tgz"
    body = bytearray(s3.get_object(Key=key)["Body"].read())
    body[len(body) // 2] ^= 1
    found = increment.archives_found

    def replaced_behind(catalog: Catalog, manifest: BaseVolume) -> dict[str, Found]:
        known = found(catalog, manifest)
        s3.put_object(Key=key, Body=bytes(body))
        return known

    with monkeypatch.context() as context:
        context.setattr(increment, "archives_found", replaced_behind)
        last = volumes.back_up(whole=True)
    assert [(it.code, it.subject) for it in last.warnings] == [("source-missing", full.id)]
    assert snapshot(volumes.restore(last.id)) == snapshot(volumes.folder)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_of_many_only_the_files_of_the_damaged_archive_are_read_again(
    volumes: Volumes, library: Path, s3: MemoryS3, which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        write(library / f"{number}", 100_000)
    made = [volumes.back_up()]
    for some in ("012", "345"):
        for name in some:
            write(library / name, 100_000)
        made.append(volumes.back_up())
    damage(s3, volumes, made[which].id)
    opened = opened_files(monkeypatch)
    last = volumes.back_up(whole=True)
    monkeypatch.undo()
    assert sorted(opened) == list(("678", "012", "345")[which])
    assert [(it.code, it.subject) for it in last.warnings] == [("source-missing", made[which].id)]
    assert snapshot(volumes.restore(last.id)) == snapshot(volumes.folder)


def test_what_is_stored_counts_once_as_progress_also_when_it_takes_two_attempts(
    volumes: Volumes, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        write(library / f"{number}", MIB)
    at_once: list[int] = []
    volumes.store("acme-prd-202601010000", progress=at_once.append)
    failures = iter([ObjectNotFound("a copy failed"), None])

    def failing(*args: Any, **kwargs: Any) -> Packed:
        packed = pack(*args, **kwargs)
        if (failure := next(failures)) is not None:
            raise failure
        return packed

    monkeypatch.setattr("lcp_backup.jobs.new_volume.pack", failing)
    twice: list[int] = []
    volumes.store("acme-prd-202601020000", progress=twice.append)
    assert sum(twice) == sum(at_once) > 3 * MIB


def test_an_archive_says_when_it_holds_files_that_were_deleted(
    volumes: Volumes, library: Path
) -> None:
    write(library / "deleted later", 30_000)
    write(library / "changed", 90_000)
    assert volumes.back_up().volume.exact
    write(library / "changed", 90_000)
    assert volumes.back_up().volume.exact
    # It is carried over before anybody knows that it is gone.
    (library / "deleted later").unlink()
    (library / "changed").unlink()
    write(library / "new")
    last = volumes.back_up()
    assert (last.sources, last.volume.exact) == ((), False)
    assert snapshot(volumes.restore(last.id)) == snapshot(volumes.folder)


def test_small_files_in_folders_of_their_own_are_not_stored_again(
    volumes: Volumes, library: Path
) -> None:
    """Headers of folders take more of such an archive than the files."""
    for number in range(50):
        (library / f"{number}").mkdir()
        write(library / f"{number}" / "1.0", 1500)
    full = volumes.back_up()
    for _ in range(3):
        write(library / "0" / "1.0", 1500)
        last = volumes.back_up()
        assert full.id in [source.backup_id for source in last.sources]
        assert last.volume.size < full.volume.size / 10


def test_the_newest_archive_is_not_referred_to_when_it_was_replaced(
    volumes: Volumes, library: Path, s3: MemoryS3
) -> None:
    write(library / "file")
    last = volumes.back_up()
    key = f"acme/prd/backups/{last.id}/volume.tgz"
    s3.put_object(Key=key, Body=bytes(last.volume.size))
    after = volumes.back_up()
    assert [(it.code, it.subject) for it in after.warnings] == [("source-missing", last.id)]
    assert snapshot(volumes.restore(after.id)) == snapshot(volumes.folder)
