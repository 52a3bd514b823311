"""docs/recover_volume.py gives back any backup's volume, from however many archives it lies in."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lcp_backup.archive.index import IndexReader, read_index, read_members
from lcp_backup.archive.segment import Segment
from lcp_backup.archive.write import SEGMENT_SIZE
from lcp_backup.catalog import Catalog
from lcp_backup.model import Manifest
from tests.support.backups import BUCKET
from tests.support.by_hand import by_hand
from tests.support.clock import SettableClock
from tests.support.trees import odd_tree, snapshot
from tests.support.volumes import Volumes, refer_to_every_size

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LARGE = 2 * SEGMENT_SIZE + 12_345


@pytest.fixture
def volumes(
    catalog: Catalog, clock: SettableClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Volumes:
    refer_to_every_size(monkeypatch)
    return Volumes(catalog, clock, tmp_path / "data", tmp_path)


class Recovery:
    """A copy of the bucket, and the script run against it."""

    def __init__(self, s3: "S3Client", place: Path) -> None:
        self._s3 = s3
        self._place = place
        self.bucket = place / "bucket"
        self._count = 0
        self.nowhere = False
        """Whether the folder to recover into is missing."""

    def fetch_all(self) -> None:
        for listed in self._s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
            path = self.bucket / listed["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._s3.get_object(Bucket=BUCKET, Key=listed["Key"])["Body"].read())

    def archive(self, backup_id: str) -> Path:
        return self.bucket / "acme" / "prd" / "backups" / backup_id / "volume.tgz"

    def run(self, backup_id: str, *paths: str) -> tuple[Path, subprocess.CompletedProcess[str]]:
        """The folder that the script filled, and what it said."""
        self._count += 1
        folder = self._place / f"recovered-{self._count}"
        if not self.nowhere:
            folder.mkdir()
        done = by_hand(
            'python3 recover_volume.py "$from" "$to" ${path:+"$path"} ${other:+"$other"}',
            self._place,
            self.bucket,
            **{"from": f"s3://bucket/acme/prd/backups/{backup_id}", "to": os.fspath(folder)},
            **dict(zip(("path", "other"), paths, strict=False)),
        )
        return folder, done

    def recovered(self, backup_id: str, *paths: str) -> Path:
        folder, done = self.run(backup_id, *paths)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        return folder


@pytest.fixture
def recovery(s3: "S3Client", tmp_path: Path) -> Recovery:
    return Recovery(s3, tmp_path)


def test_every_backup_of_a_changing_folder_is_recovered_exactly(
    volumes: Volumes, recovery: Recovery
) -> None:
    odd_tree(volumes.folder)
    library = volumes.folder / "document_library"
    inner = library / "20097" / "0"
    (library / "turns").write_bytes(b"a file, later a folder")
    (library / "back").mkdir()
    (library / "back" / "inner").write_bytes(b"below a folder, later a file")
    (library / "large-2").write_bytes(os.urandom(LARGE))
    backups = [(volumes.back_up(), snapshot(volumes.folder))]

    def replace() -> None:
        (inner / "1.0").write_bytes(b"replaced")
        (inner / "empty").unlink()
        (volumes.folder / "names" / os.fsdecode(b"latin-\xe4\xff.txt")).unlink()
        (volumes.folder / "names" / os.fsdecode(b"neu-\xfc")).write_bytes(b"new")

    def turn() -> None:
        (library / "turns").unlink()
        (library / "turns").mkdir()
        (library / "turns" / "inner").write_bytes(b"new")
        shutil.rmtree(library / "back")
        (library / "back").write_bytes(b"new")
        (inner / "large.bin").write_bytes(os.urandom(LARGE))

    def return_() -> None:
        (inner / "1.0").write_bytes(b"replaced once more")
        (inner / "empty").write_bytes(b"not any more")
        (library / "back").unlink()
        (library / "back").symlink_to("turns")
        # Most of the first archive is dead now, so that what is left of it is carried over.
        (library / "large-2").unlink()

    for change in (replace, turn, return_, lambda: None):
        change()
        backups.append((volumes.back_up(), snapshot(volumes.folder)))
    backups.append((volumes.back_up(whole=True), snapshot(volumes.folder)))
    assert max(len(manifest.sources) for manifest, _ in backups) >= 2
    recovery.fetch_all()
    for manifest, expected in backups:
        assert snapshot(recovery.recovered(manifest.id)) == expected, manifest.id


@pytest.fixture
def increment(volumes: Volumes, recovery: Recovery) -> Manifest:
    """A backup of which large files and small ones lie in its own archive and in another."""
    library = volumes.folder / "document_library"
    library.mkdir()
    for name in ("a", "b-large", "c"):
        (library / name).write_bytes(os.urandom(LARGE if "large" in name else 100))
    volumes.back_up()
    for name in ("d", "e-large", os.fsdecode(b"f\xff")):
        (library / name).write_bytes(os.urandom(LARGE if "large" in name else 100))
    manifest = volumes.back_up()
    assert len(manifest.sources) == 1
    recovery.fetch_all()
    return manifest


@pytest.mark.parametrize("name", ["a", "b-large", "c", "d", "e-large", os.fsdecode(b"f\xff")])
def test_one_file_is_recovered_alone_from_wherever_it_lies(
    volumes: Volumes, recovery: Recovery, increment: Manifest, name: str
) -> None:
    folder = recovery.recovered(increment.id, f"document_library/{name}")
    expected = snapshot(volumes.folder)[f"document_library/{name}"]
    assert snapshot(folder).pop(f"document_library/{name}") == expected
    assert len(snapshot(folder)) == 2
    fetched = (recovery.bucket.parent / "bucket.ranges").read_text().splitlines()
    assert len(fetched) == 1


def test_several_paths_are_recovered_and_a_folder_with_all_below_it(
    volumes: Volumes, recovery: Recovery, increment: Manifest
) -> None:
    folder = recovery.recovered(increment.id, "document_library/a", "document_library/d")
    assert snapshot(folder).keys() == {"document_library", *recovered_names("a", "d")}
    folder = recovery.recovered(increment.id, "document_library")
    assert snapshot(folder) == snapshot(volumes.folder)


def recovered_names(*names: str) -> set[str]:
    return {f"document_library/{name}" for name in names}


@pytest.mark.parametrize("path", ["document_library/x", "document_library/b"])
def test_a_path_that_is_not_in_the_volume_is_an_error(
    recovery: Recovery, increment: Manifest, path: str
) -> None:
    folder, done = recovery.run(increment.id, path)
    assert done.returncode == 1
    assert f"the volume holds nothing named {{'{path}'}}" in done.stderr
    assert list(folder.iterdir()) == []


def test_a_path_that_is_missing_among_others_is_no_success(
    recovery: Recovery, increment: Manifest
) -> None:
    folder, done = recovery.run(increment.id, "document_library/a", "document_library/x")
    assert done.returncode == 1
    assert "the volume holds nothing named {'document_library/x'}" in done.stderr
    assert snapshot(folder).keys() == {"document_library", *recovered_names("a")}


def flip(recovery: Recovery, backup_id: str, segment: Segment) -> None:
    archive = bytearray(recovery.archive(backup_id).read_bytes())
    archive[segment.offset + segment.size // 2] ^= 1
    recovery.archive(backup_id).write_bytes(archive)


def test_files_in_damaged_segments_are_named_and_all_others_recovered(
    volumes: Volumes, recovery: Recovery, increment: Manifest, catalog: Catalog
) -> None:
    index = catalog.backups.open(increment.id, "volume.index")
    reader = IndexReader(index, archive_name="volume.tgz")
    # One in which a large file goes on, in each archive; in the source, also the last one used.
    _, middle, last = (it for it in reader.segments() if it.source)
    own = list(read_index(index, archive_name="volume.tgz"))
    flip(recovery, increment.sources[0].backup_id, middle)
    flip(recovery, increment.sources[0].backup_id, last)
    flip(recovery, increment.id, own[0])
    folder, done = recovery.run(increment.id)
    assert done.returncode == 1
    # The folder is among what began in the first segment of the backup's own archive.
    assert done.stdout.splitlines() == [
        f"damaged: 'document_library{name}'" for name in ("", "/b-large", "/c", "/d", "/e-large")
    ]
    expected, found = snapshot(volumes.folder), snapshot(folder)
    for name in recovered_names("a", os.fsdecode(b"f\xff")):
        assert found[name] == expected[name]
    whole, half = (it["document_library/b-large"].content for it in (expected, found))
    assert isinstance(whole, bytes)
    assert isinstance(half, bytes)
    (large,) = (it for it in read_members(index, archive_name="volume.tgz") if "b-" in it.name)
    intact = SEGMENT_SIZE - large.at - 3 * 512
    assert half == whole[:intact] + bytes(len(whole) - intact)
    assert found.keys() == {"document_library", *recovered_names("a", "b-large", "f\udcff")}


def test_an_archive_that_is_gone_costs_only_what_lies_in_it(
    volumes: Volumes, recovery: Recovery, increment: Manifest
) -> None:
    recovery.archive(increment.sources[0].backup_id).unlink()
    folder, done = recovery.run(increment.id)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"damaged: 'document_library/{name}'" for name in ("a", "b-large", "c")
    ]
    expected = snapshot(volumes.folder)
    assert snapshot(folder) == {
        name: it for name, it in expected.items() if name[-1] not in "ac" and "b-" not in name
    } | {"document_library": expected["document_library"]}


def test_what_is_named_wrongly_is_told_and_is_no_traceback(
    recovery: Recovery, increment: Manifest
) -> None:
    _, of_none = recovery.run("acme-prd-202001010000")
    assert of_none.returncode == 1
    assert "cannot be read: is there such a backup?" in of_none.stderr
    recovery.nowhere = True
    _, into_none = recovery.run(increment.id)
    assert into_none.returncode == 1
    assert "there is no folder" in into_none.stderr
    assert "recovered-" in into_none.stderr
    assert "Traceback" not in of_none.stderr + into_none.stderr


def test_without_the_aws_cli_it_says_so_and_gives_no_traceback(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "docs" / "recover_volume.py"
    said = subprocess.run(
        [sys.executable, script, "s3://bucket/acme/prd/backups/acme-prd-202611230015", tmp_path],
        env={"PATH": "/nowhere"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (said.returncode, said.stderr) == (1, "aws and tar must be on the PATH: install them\n")


def test_a_path_may_end_in_a_slash_as_shells_complete_it(
    recovery: Recovery, increment: Manifest
) -> None:
    plain = recovery.recovered(increment.id, "document_library")
    slashed = recovery.recovered(increment.id, "/document_library/")
    assert snapshot(slashed) == snapshot(plain)


def test_the_script_is_one_that_can_be_read_in_an_emergency() -> None:
    script = Path(__file__).parents[2] / "docs" / "recover_volume.py"
    assert len(script.read_text().splitlines()) <= 60
