"""A volume that lacks what the last backup has fails its backup, and says how to go on."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.errors import VolumeIncomplete
from lcp_backup.exclusion import LeftOut, PathPatterns
from lcp_backup.jobs.archives import open_archive, read_back_or_describe
from lcp_backup.jobs.volume_loss import NO_LIMIT, SHRINK_LIMIT, check_for_loss
from lcp_backup.model import (
    ArchiveKind,
    BackupId,
    BackupType,
    Notice,
    Run,
    RunError,
    RunKind,
    RunState,
)
from lcp_backup.volume.pack import pack
from lcp_backup.volume.packing import Packed
from tests.support.backups import a_manifest
from tests.support.buffers import Buffer
from tests.support.child_process import in_child
from tests.support.clock import SettableClock

LIMIT = 50


class Site:
    """A folder that is backed up time and again, a minute after the other."""

    def __init__(self, catalog: Catalog, clock: SettableClock, folder: Path) -> None:
        self._catalog = catalog
        self._clock = clock
        self.folder = folder
        self.left_out: tuple[str, ...] = ()

    def fill(self, files: int, size: int = 10) -> None:
        library = self.folder / "document_library"
        library.mkdir(parents=True, exist_ok=True)
        for number in range(files):
            (library / f"{number:03}").write_bytes(b"x" * size)

    def back_up(
        self, limit: int = LIMIT, kind_of: BackupType = BackupType.AUTO
    ) -> tuple[Notice, ...]:
        """As the create job does it with the volume."""
        self._clock.pass_by(timedelta(minutes=1))
        backup_id = str(BackupId.of("acme", "prd", self._clock()))
        with open_archive(self._catalog, backup_id, ArchiveKind.VOLUME, None) as writer:
            packed: Packed = pack(
                self.folder,
                writer,
                leave_out=PathPatterns(self.left_out),
                began=datetime.now(UTC),
                progress=lambda _: None,
                check=lambda: None,
            )
            notices = check_for_loss(packed, self._catalog, limit, self.left_out)
            written = writer.finish()
        manifest = a_manifest(self._clock()).model_copy(
            update={
                "type": kind_of,
                "volume": read_back_or_describe(self._catalog, backup_id, written),
                "volume_facts": packed.facts,
                "left_out": LeftOut(path_patterns=self.left_out),
                "warnings": (*notices, *packed.notices),
            }
        )
        self._catalog.backups.publish(manifest)
        return manifest.warnings


@pytest.fixture
def site(catalog: Catalog, clock: SettableClock, tmp_path: Path) -> Site:
    return Site(catalog, clock, tmp_path / "data")


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Names of files and folders that the system does not let anybody open, not even root."""
    names: set[str] = set()
    real = os.open

    def refusing(path: str | Path, *args: int, **kwargs: int) -> int:
        if path in names:
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refusing)
    yield names
    names.clear()


def codes(notices: tuple[Notice, ...]) -> list[str]:
    return [notice.code for notice in notices]


def test_an_empty_folder_is_no_backup_of_a_site_that_had_files(site: Site) -> None:
    site.fill(3)
    assert site.back_up() == ()
    shutil.rmtree(site.folder / "document_library")
    with pytest.raises(VolumeIncomplete) as raised:
        site.back_up()
    for said in ("0 files of 0 bytes", "3 files of 30 bytes", "acme-prd-202611230016"):
        assert said in raised.value.public
    assert "LCP_BACKUP_FOLDER" in raised.value.public
    assert "set LCP_BACKUP_VOLUME_SHRINK_LIMIT to 100 for one backup" in raised.value.public


def test_the_first_backup_of_an_empty_folder_is_made_and_says_so(site: Site) -> None:
    (site.folder / "document_library").mkdir(parents=True)
    assert codes(site.back_up()) == ["volume-empty"]
    assert codes(site.back_up()) == ["volume-empty"]
    site.fill(1)
    assert site.back_up() == ()


@pytest.mark.parametrize(
    ("files", "size", "limit", "passes"),
    [
        (5, 20, 50, True),
        (4, 100, 50, False),
        (10, 4, 50, False),
        (10, 5, 50, True),
        (9, 10, 0, False),
        (10, 10, 0, True),
        (1, 10, 90, True),
        (1, 9, 90, False),
        (30, 30, 0, True),
    ],
)
def test_what_shrank_by_more_than_the_limit_fails_in_files_or_bytes(
    site: Site, files: int, size: int, limit: int, *, passes: bool
) -> None:
    site.fill(10, 10)
    site.back_up()
    shutil.rmtree(site.folder)
    site.fill(files, size)
    if passes:
        assert site.back_up(limit) == ()
        return
    with pytest.raises(VolumeIncomplete, match=f"SHRINK_LIMIT allows {limit} percent"):
        site.back_up(limit)


def test_without_a_limit_the_folder_is_taken_as_it_is_and_compared_with_from_then_on(
    site: Site,
) -> None:
    site.fill(10)
    site.back_up()
    shutil.rmtree(site.folder)
    site.folder.mkdir()
    assert codes(site.back_up(NO_LIMIT)) == ["volume-empty"]
    site.fill(4)
    assert site.back_up() == ()


_HALF_WAY = RunError(code="restored-in-part", message="the rows are there")


@pytest.mark.parametrize(
    "how",
    [
        {"state": RunState.SUCCEEDED},
        {"state": RunState.SUCCEEDED, "result": {"whole": False}},
        {"state": RunState.FAILED, "error": _HALF_WAY},
    ],
    ids=["whole", "the volume alone", "half-way"],
)
def test_a_smaller_site_that_was_restored_is_no_loss(
    site: Site, catalog: Catalog, how: dict[str, object]
) -> None:
    site.fill(10)
    site.back_up()
    shutil.rmtree(site.folder)
    site.fill(1)
    now = catalog.now() + timedelta(seconds=30)
    run_id = catalog.runs.new_id(RunKind.RESTORE)
    restore = Run(
        id=run_id,
        kind=RunKind.RESTORE,
        state=RunState.FAILED,
        started_at=now,
        updated_at=now,
        finished_at=now,
        result={"whole": True},
    )
    catalog.runs.write(restore)
    with pytest.raises(VolumeIncomplete):
        site.back_up()
    catalog.runs.write(restore.model_copy(update=how))
    assert codes(site.back_up()) == ["volume-not-compared"]
    shutil.rmtree(site.folder)
    site.folder.mkdir()
    with pytest.raises(VolumeIncomplete):
        site.back_up()


def test_an_uploaded_backup_is_nothing_to_compare_with(site: Site) -> None:
    site.fill(2)
    site.back_up()
    site.fill(100)
    site.back_up(kind_of=BackupType.UPLOADED)
    shutil.rmtree(site.folder)
    site.fill(2)
    assert site.back_up() == ()
    shutil.rmtree(site.folder)
    site.folder.mkdir()
    site.back_up(NO_LIMIT, BackupType.UPLOADED)
    with pytest.raises(VolumeIncomplete, match="from 2 files"):
        site.back_up()


def test_a_file_that_the_last_backup_could_read_fails_the_backup(
    site: Site, unreadable: set[str]
) -> None:
    site.fill(10)
    site.back_up()
    unreadable.add("003")
    with pytest.raises(VolumeIncomplete) as raised:
        site.back_up()
    assert raised.value.public.startswith(
        "'document_library/003' is in backup acme-prd-202611230016 and cannot be backed up now"
        " (Permission denied)"
    )
    assert codes(site.back_up(NO_LIMIT)) == ["file-unreadable"]
    assert codes(site.back_up()) == ["file-unreadable"], "the last one could not read it either"


def test_a_new_file_that_cannot_be_read_is_a_notice(site: Site, unreadable: set[str]) -> None:
    site.fill(1)
    unreadable.add("new")
    (site.folder / "new").touch()
    assert codes(site.back_up()) == ["file-unreadable"]
    (site.folder / "newer").touch()
    unreadable.add("newer")
    assert codes(site.back_up()) == ["file-unreadable"] * 2


def test_an_empty_folder_that_cannot_be_read_any_more_fails_though_nothing_shrank(
    site: Site, unreadable: set[str]
) -> None:
    """By what the index says, and it names folders too."""
    site.fill(1)
    (site.folder / "closed").mkdir()
    site.back_up()
    unreadable.add("closed")
    with pytest.raises(VolumeIncomplete, match="'closed' is in backup"):
        site.back_up()


def test_what_cannot_be_read_is_found_behind_a_hundred_other_notices(
    site: Site, unreadable: set[str]
) -> None:
    site.fill(1)
    for number in range(150):
        os.mkfifo(site.folder / f"a{number:03}")
    site.back_up()
    unreadable.add("000")
    with pytest.raises(VolumeIncomplete, match="document_library/000"):
        site.back_up(99)


def test_a_folder_that_became_a_link_outward_fails_the_backup(site: Site, tmp_path: Path) -> None:
    site.fill(10)
    (site.folder / "license").mkdir()
    site.back_up()
    (site.folder / "license").rename(tmp_path / "license")
    (site.folder / "license").symlink_to(tmp_path / "license")
    with pytest.raises(VolumeIncomplete, match="'license' is in backup .*leads out of the folder"):
        site.back_up()


def test_a_last_backup_of_a_later_version_or_a_damaged_one_stops_no_backup(
    site: Site, catalog: Catalog, unreadable: set[str], store: ObjectStore
) -> None:
    site.fill(1)
    site.back_up()
    store.put(f"acme/prd/backups/{catalog.backups.ids()[0]}/volume.index", b"damaged")
    unreadable.add("000")
    assert codes(site.back_up(99)) == ["volume-empty", "volume-not-compared", "file-unreadable"]
    store.put(f"acme/prd/backups/{catalog.backups.ids()[0]}/manifest.json", b'{"format": 2}')
    assert codes(site.back_up())[:2] == ["volume-empty", "volume-not-compared"]


def test_nothing_is_left_where_a_volume_was_refused(site: Site, catalog: Catalog) -> None:
    site.fill(3)
    site.back_up()
    shutil.rmtree(site.folder / "document_library")
    with pytest.raises(VolumeIncomplete):
        site.back_up()
    assert len(catalog.backups.ids()) == 1
    assert list(catalog.backups.open_multiparts()) == []


def test_a_library_of_mode_0_is_seen_by_who_is_not_root() -> None:
    """The system's own refusal, not a fake's."""

    def work() -> None:
        folder = Path.cwd() / "data"
        library = folder / "document_library"
        library.mkdir(parents=True)
        (library / "a").write_bytes(b"x")
        library.chmod(0)
        try:
            packed = _packed(folder)
        finally:
            library.chmod(0o700)
        assert codes(packed.lost) == ["file-unreadable"]
        assert packed.lost[0].subject == "document_library"

    in_child(work, as_nobody=True)


def _packed(folder: Path) -> Packed:
    with ArchiveWriter(
        Buffer(), Buffer(), name="volume.tgz", index_name="volume.index", threads=1
    ) as writer:
        packed = pack(
            folder, writer, began=datetime.now(UTC), progress=lambda _: None, check=lambda: None
        )
        writer.finish()
    return packed


def test_what_is_left_out_on_purpose_is_no_loss_and_is_compared_with_from_then_on(
    site: Site,
) -> None:
    site.fill(10)
    site.back_up()
    site.left_out = ("00[0-7]",)
    (notice,) = site.back_up()
    assert (notice.code, notice.subject) == ("volume-not-compared", SHRINK_LIMIT)
    assert site.back_up() == ()
    site.left_out = ("00[0-7]", "*.tmp")
    assert [notice.code for notice in site.back_up()] == ["volume-not-compared"]
    for path in (site.folder / "document_library").iterdir():
        path.unlink()
    with pytest.raises(VolumeIncomplete, match="from 2 files"):
        site.back_up()
