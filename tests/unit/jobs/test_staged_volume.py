"""A restore whose time ends leaves what it unpacked, and the next one of the same goes on."""

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.errors import ArchiveDamaged, LeaseLost, OutOfTime, StagedInPart
from lcp_backup.jobs import staged_volume
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.staged_volume import VolumeStaging
from lcp_backup.jobs.stored_backup import StoredBackup
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.model import BackupType, Manifest, RunKind
from lcp_backup.requests import RestoreRequest
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry
from lcp_backup.volume.writing import Writing
from tests.support.backups import BUCKET
from tests.support.clock import SettableClock
from tests.support.memory_s3 import MemoryS3
from tests.support.trees import snapshot
from tests.support.volumes import Volumes

FILES = 12
SIZE = 1_500_000
"""So that the files lie in more than one segment."""


class Site:
    """A backup of a few files, and restores of it beside a live folder."""

    def __init__(self, clock: SettableClock, telemetry: Telemetry, work: Path) -> None:
        self.clock = clock
        self._telemetry = telemetry
        client: Any = MemoryS3(clock)
        self.catalog = Catalog(ObjectStore(client, BUCKET, pause=lambda _: None), "a/p", clock)
        self.volumes = Volumes(self.catalog, clock, work / "site", work)
        for number in range(FILES):
            file = self.volumes.folder / "document_library" / str(number % 3) / f"{number:02}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(os.urandom(SIZE))
        self.wanted = snapshot(self.volumes.folder)
        self.backup = self.volumes.back_up()
        self.live = work / "live"
        self.live.mkdir()
        (self.live / "live").write_text("live")
        self.written: list[str] = []
        """Files that the last restore wrote."""
        self.read_bytes = 0

    def restore(
        self,
        until: int = FILES,
        error: Exception | None = None,
        backup: Manifest | None = None,
        before_the_swap: Callable[[], None] = lambda: None,
        **asked: Any,
    ) -> None:
        """A restore that is ended, by the time or by an error, once it has written so many files.

        What is raised is raised by whatever checks next.
        """
        self.written.clear()
        stored = StoredBackup(self.catalog, backup or self.backup)
        settings = Settings.from_env({"LCP_BACKUP_FOLDER": str(self.live)})
        request = RestoreRequest.read({"backup_id": stored.manifest.id, **asked})
        timing = RunTiming(heartbeat=timedelta(hours=1))

        def check() -> None:
            if len(self.written) >= until and until < FILES:
                raise error or OutOfTime("over")

        run = ActiveRun(NewRun(self.catalog, RunKind.RESTORE, None), self._telemetry, timing)
        with run, VolumeStaging(run, request, stored, settings) as staging:
            staging.recover()
            staged = staging.stage(check)
            assert staged is not None
            before_the_swap()
            if request.paths:
                staged.swap_selection(request.paths)
            else:
                staged.swap()
        self.read_bytes = stored.read_bytes

    def leave(self, until: int, **asked: Any) -> None:
        with pytest.raises(StagedInPart):
            self.restore(until, **asked)

    @property
    def left(self) -> list[Path]:
        return list(self.live.parent.rglob(".lcp-*"))


@pytest.fixture
def site(
    clock: SettableClock, telemetry: Telemetry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Site:
    monkeypatch.setattr(staged_volume, "LEAST_UNPACKED", SIZE)
    site = Site(clock, telemetry, tmp_path)
    real = Writing.make_file

    def noted(self: Any, folder: int, way: str, *more: Any) -> None:
        site.written.append(way)
        real(self, folder, way, *more)

    monkeypatch.setattr(Writing, "make_file", noted)
    return site


def test_a_restore_goes_on_until_all_is_there_and_touches_nothing_before(site: Site) -> None:
    for expected in (5, 5):
        with pytest.raises(StagedInPart, match="0.0 of 0.0 GB of the volume unpacked; the next"):
            site.restore(5)
        assert len(site.written) == expected
        assert (site.live / "live").read_text() == "live"
    site.restore()
    assert len(site.written) == FILES - 10
    assert snapshot(site.live) == site.wanted
    assert site.left == []


def test_what_lies_there_is_not_read_again(site: Site) -> None:
    def end() -> None:
        raise OutOfTime("over")

    with pytest.raises(StagedInPart):
        site.restore(before_the_swap=end)
    site.restore()
    assert site.read_bytes == 0
    assert snapshot(site.live) == site.wanted


def test_a_volume_that_is_whole_when_the_rest_takes_too_long_is_left_too(site: Site) -> None:
    def end() -> None:
        raise OutOfTime("over")

    with pytest.raises(StagedInPart, match="before the rest was done"):
        site.restore(before_the_swap=end, keep_previous=True)
    with pytest.raises(OutOfTime, match="restore the database alone first") as raised:
        site.restore(before_the_swap=end)
    assert not isinstance(raised.value, StagedInPart)
    assert site.written == []
    site.restore()
    assert snapshot(site.live) == site.wanted
    assert site.left == []


def test_a_run_that_gets_no_further_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.leave(5)

    def end(*_: Any) -> None:
        raise OutOfTime("over")

    with monkeypatch.context() as once:
        once.setattr(Writing, "make_file", end)
        with pytest.raises(OutOfTime, match="run before .* at 'document_library/1/") as raised:
            site.restore()
    assert not isinstance(raised.value, StagedInPart)
    site.restore()
    assert len(site.written) == FILES - 5


@pytest.mark.parametrize(
    "error", [LeaseLost("taken"), ArchiveDamaged("damaged")], ids=["lease", "archive"]
)
def test_a_restore_that_fails_otherwise_leaves_nothing(error: Exception, site: Site) -> None:
    with pytest.raises(type(error)):
        site.restore(5, error)
    assert site.left == []
    site.leave(5)
    with pytest.raises(type(error)):
        site.restore(3, error)
    assert site.left == []


def test_too_little_to_be_worth_it_is_not_left(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staged_volume, "LEAST_UNPACKED", 6 * SIZE)
    with pytest.raises(OutOfTime, match="^over$"):
        site.restore(5)
    assert site.left == []


def test_time_that_ends_before_it_is_known_what_is_there_costs_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.leave(5)

    def end(*_: Any) -> None:
        raise OutOfTime("over")

    with monkeypatch.context() as once:
        once.setattr(VolumeStaging, "_counted", end)
        with pytest.raises(OutOfTime, match="before it was known what is missing"):
            site.restore()
    site.restore()
    assert len(site.written) == FILES - 5


@pytest.mark.parametrize(
    "what", ["another backup of that id", "a selection", "into a folder", "a day later"]
)
def test_any_other_restore_throws_away_what_was_left(what: str, site: Site, tmp_path: Path) -> None:
    site.leave(5)
    if what == "another backup of that id":
        again = site.backup.model_copy(update={"run_id": "20261120T001502-create-ffffffff"})
        site.restore(backup=again)
        assert len(site.written) == FILES
    elif what == "a selection":
        site.restore(paths=["document_library/1"])
        assert len(site.written) == FILES // 3
    elif what == "into a folder":
        site.restore(into_folder=str(tmp_path / "elsewhere"))
        assert snapshot(tmp_path / "elsewhere") == site.wanted
    else:
        site.clock.pass_by(timedelta(days=1))
        site.restore()
        assert len(site.written) == FILES
    assert site.left == []


def test_selections_and_other_folders_go_on_as_well(site: Site, tmp_path: Path) -> None:
    site.leave(2, paths=["document_library/1"])
    site.restore(paths=["document_library/1"])
    assert len(site.written) == 2
    assert (site.live / "live").exists()
    target = tmp_path / "elsewhere"
    site.leave(7, into_folder=str(target))
    site.restore(into_folder=str(target))
    assert len(site.written) == FILES - 7
    assert snapshot(target) == site.wanted


def test_an_uploaded_backup_is_unpacked_from_the_start_each_time(site: Site) -> None:
    uploaded = site.backup.model_copy(update={"type": BackupType.UPLOADED})
    with pytest.raises(OutOfTime, match="^over$"):
        site.restore(5, backup=uploaded)
    assert site.left == []


def test_a_folder_that_somebody_filled_meanwhile_is_filled_anew(site: Site) -> None:
    site.leave(5)
    (new,) = site.live.parent.glob(".lcp-restore*/new")
    (new / "document_library" / "somebody's").mkdir()
    site.restore()
    assert len(site.written) == FILES
    assert snapshot(site.live) == site.wanted


def test_links_that_lead_out_of_the_live_folder_are_those_of_the_last_moment(site: Site) -> None:
    (site.live / "out").symlink_to("/etc")

    def end() -> None:
        raise OutOfTime("over")

    with suppress(StagedInPart):
        site.restore(before_the_swap=end)
    (site.live / "out").unlink()
    (site.live / "other").symlink_to("/usr")
    site.restore()
    assert site.written == []
    assert snapshot(site.live).keys() - site.wanted.keys() == {"other"}


def test_a_disk_that_is_full_leaves_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.leave(5)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as once:
        once.setattr("lcp_backup.volume.begun.write_marker", full)
        with pytest.raises(OutOfTime, match="^over$"):
            site.restore(3)
    assert site.left == []


def test_a_run_whose_time_ends_after_the_swap_has_succeeded_and_the_next_one_clears_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def over(_: ActiveRun) -> None:
        raise OutOfTime("over")

    with monkeypatch.context() as late:
        site.restore(before_the_swap=lambda: late.setattr(ActiveRun, "check", over))
    assert snapshot(site.live) == site.wanted
    assert site.left != []
    site.restore()
    assert snapshot(site.live) == site.wanted
    assert site.left == []
