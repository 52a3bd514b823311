"""An index that contradicts itself: no success lacks a file, and backups are made all the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.errors import ArchiveDamaged
from lcp_backup.model import ArchiveKind
from lcp_backup.requests import DownloadRequest
from lcp_backup.telemetry import Telemetry
from tests.support.assemble_machine import AssembleMachine
from tests.support.backups import BUCKET
from tests.support.clock import SettableClock
from tests.support.forged import Line, each_member, forge_index, is_of_source
from tests.support.memory_s3 import MemoryS3
from tests.support.trees import snapshot
from tests.support.volumes import Volumes, refer_to_every_size

OLD, LARGE = "document_library/old", "document_library/large"


@pytest.fixture
def s3(clock: SettableClock) -> MemoryS3:
    return MemoryS3(clock)


@pytest.fixture
def volumes(
    s3: MemoryS3, clock: SettableClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Volumes:
    """Two backups, of which the second refers to what is old."""
    refer_to_every_size(monkeypatch)
    client: Any = s3
    catalog = Catalog(ObjectStore(client, BUCKET, pause=lambda _: None), "a/p", clock)
    volumes = Volumes(catalog, clock, tmp_path / "data", tmp_path)
    (volumes.folder / "document_library").mkdir()
    (volumes.folder / OLD).write_bytes(b"old" * 1000)
    (volumes.folder / LARGE).write_bytes(bytes(9 << 20))
    volumes.back_up()
    (volumes.folder / "document_library" / "new").write_bytes(b"new")
    assert volumes.back_up().sources
    return volumes


def restored(volumes: Volumes, _: Telemetry) -> None:
    volumes.restore(volumes.catalog.backups.latest().id)


def selected(volumes: Volumes, _: Telemetry) -> None:
    volumes.restore(volumes.catalog.backups.latest().id, OLD)


def assembled(volumes: Volumes, telemetry: Telemetry) -> None:
    latest = volumes.catalog.backups.latest().id
    request = DownloadRequest(backup_id=latest, kind=ArchiveKind.VOLUME)
    AssembleMachine(volumes.catalog, telemetry).ask(request)


def without_segments_of_sources(lines: list[Line]) -> list[Line]:
    return [it for it in lines if not is_of_source(it)]


def without_the_last_segment_of_sources(lines: list[Line]) -> list[Line]:
    last = [it for it in lines if is_of_source(it)][-1]
    return [it for it in lines if it is not last]


def behind_the_end(lines: list[Line]) -> list[Line]:
    def move(member: list[Any]) -> None:
        if member[0] == OLD:
            member[3] += 1000

    return each_member(lines, move)


MAKERS = pytest.mark.parametrize("make", [restored, selected, assembled])


@MAKERS
@pytest.mark.parametrize(
    "forge", [without_segments_of_sources, without_the_last_segment_of_sources, behind_the_end]
)
def test_an_index_that_does_not_list_where_files_lie_makes_no_success_without_them(
    s3: MemoryS3,
    volumes: Volumes,
    telemetry: Telemetry,
    make: Callable[[Volumes, Telemetry], None],
    forge: Callable[[list[Line]], list[Line]],
) -> None:
    latest = volumes.catalog.backups.latest().id
    forge_index(s3, f"a/p/backups/{latest}", forge)
    told = rf"index of volume.tgz of backup {latest} lists \d of the \d segments"
    with pytest.raises(ArchiveDamaged, match=told):
        make(volumes, telemetry)
    assert list(volumes.catalog.downloads.all()) == []


def member_field(at: int, value: int) -> Callable[[list[Line]], list[Line]]:
    def change(member: list[Any]) -> None:
        if member[0] == OLD:
            member[at] = value

    return lambda lines: each_member(lines, change)


def segment_field(name: str, value: int) -> Callable[[list[Line]], list[Line]]:
    def change(lines: list[Line]) -> list[Line]:
        next(it for it in lines if is_of_source(it))[name] = value
        return lines

    return change


IMPOSSIBLE = {
    "a segment that no archive has": member_field(3, 10**40),
    "a file of less than nothing": member_field(5, -1),
    "a file that is too large": member_field(5, 10**40),
    "a segment before the archive": segment_field("offset", -10),
    "a segment of less than nothing": segment_field("size", -10),
    "a segment of petabytes": segment_field("size", 10**15),
    "a segment that inflates to less than nothing": segment_field("raw_size", -1),
    "a segment of an impossible number": segment_field("number", 10**30),
}


@MAKERS
@pytest.mark.parametrize("forge", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_what_no_index_says_is_damage(
    s3: MemoryS3,
    volumes: Volumes,
    telemetry: Telemetry,
    make: Callable[[Volumes, Telemetry], None],
    forge: Callable[[list[Line]], list[Line]],
) -> None:
    forge_index(s3, f"a/p/backups/{volumes.catalog.backups.latest().id}", forge)
    with pytest.raises(ArchiveDamaged, match=r"index of volume.tgz is damaged at its entry \d"):
        make(volumes, telemetry)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("forge", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_a_base_whose_index_says_what_no_index_says_keeps_no_backup_from_being_made(
    s3: MemoryS3, volumes: Volumes, forge: Callable[[list[Line]], list[Line]], whole: bool
) -> None:
    latest = volumes.catalog.backups.latest().id
    forge_index(s3, f"a/p/backups/{latest}", forge)
    made = volumes.back_up(whole=whole)
    assert made.sources == ()
    assert [(it.code, it.subject) for it in made.warnings] == [("volume-stored-whole", latest)]
    assert "is damaged at its entry" in made.warnings[0].detail
    assert snapshot(volumes.restore(made.id)) == snapshot(volumes.folder)


@pytest.mark.parametrize(
    "forge", [without_segments_of_sources, without_the_last_segment_of_sources, behind_the_end]
)
def test_a_backup_does_not_take_over_that_its_base_lists_no_segment_of_a_file(
    s3: MemoryS3, volumes: Volumes, forge: Callable[[list[Line]], list[Line]]
) -> None:
    first, latest = sorted(it.id for it in volumes.catalog.backups.all())
    forge_index(s3, f"a/p/backups/{latest}", forge)
    made = volumes.back_up()
    assert [(it.code, it.subject) for it in made.warnings] == [("source-missing", first)]
    assert snapshot(volumes.restore(made.id)) == snapshot(volumes.folder)
