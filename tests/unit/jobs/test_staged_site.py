"""The swap of a staged site: what comes first, and what follows when it ends half-way."""

import errno
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from lcp_backup.catalog import Catalog
from lcp_backup.database.staged_schema import Loaded
from lcp_backup.errors import (
    BackupError,
    LeaseLost,
    LoadFailed,
    RestoredInPart,
    StorageError,
    VolumeError,
)
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.staged_site import AS_IT_WAS, SWAPPING, StagedSite
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.model import RunKind
from lcp_backup.telemetry import Telemetry
from lcp_backup.volume.staging import stage
from tests.support.clock import SettableClock

IDLE = RunTiming(heartbeat=timedelta(hours=1))


def loaded() -> Loaded:
    return Loaded(tables=(), statements=0, rows=1, left_out=())


def undone() -> Loaded:
    error = LoadFailed("the site is as it was")
    error.undone = True
    raise error


def left_half() -> Loaded:
    raise LoadFailed("the next restore puts back the live triggers")


def half_way() -> Loaded:
    raise RestoredInPart("the rows are there, and a view is not")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    live = tmp_path / "data"
    live.mkdir()
    (live / "file").write_text("live")
    return live


def staged(
    run: ActiveRun,
    folder: Path,
    undo: ExitStack,
    database: Callable[[], Loaded] | None = half_way,
) -> StagedSite:
    volume = stage(folder)
    undo.callback(volume.discard)
    (volume.new / "file").write_text("the backup's")
    return StagedSite(run, database, volume, paths=(), kept=(), undo=undo)


def test_the_files_of_rows_that_are_the_backups_now_are_so_too(
    catalog: Catalog, telemetry: Telemetry, folder: Path
) -> None:
    with pytest.raises(RestoredInPart):
        with ActiveRun(NewRun(catalog, RunKind.RESTORE, None), telemetry, IDLE) as run:
            with staged(run, folder, ExitStack()) as site:
                run.set_result(live_site=AS_IT_WAS)
                site.swap()
    assert (folder / "file").read_text() == "the backup's"
    assert list(folder.parent.iterdir()) == [folder]
    assert catalog.runs.get(run.id).result == {"live_site": SWAPPING}


def test_nothing_is_swapped_once_another_run_may_write(
    catalog: Catalog, telemetry: Telemetry, folder: Path, clock: SettableClock
) -> None:
    with pytest.raises(LeaseLost):
        with ActiveRun(NewRun(catalog, RunKind.RESTORE, None), telemetry, IDLE) as run:
            with staged(run, folder, ExitStack()) as site:
                clock.pass_by(timedelta(seconds=119))
                run.check()
                run.set_result(live_site=AS_IT_WAS)
                lease, tag = catalog.lease.read()
                catalog.lease.replace(lease.model_copy(update={"run_id": "taker"}), tag)
                site.swap()
    assert (folder / "file").read_text() == "live"
    assert list(folder.parent.iterdir()) == [folder]


def test_that_the_swap_has_begun_is_written_down_before_it_begins(
    catalog: Catalog, telemetry: Telemetry, folder: Path
) -> None:
    """For a run that is killed in it says no more."""
    seen: list[object] = []

    def look() -> Loaded:
        seen.append(catalog.runs.get(run.id).result)
        raise RestoredInPart("half-way")

    with pytest.raises(RestoredInPart):
        with ActiveRun(NewRun(catalog, RunKind.RESTORE, None), telemetry, IDLE) as run:
            with staged(run, folder, ExitStack(), look) as site:
                site.swap()
    assert seen == [{"live_site": SWAPPING}]


def refuse_new_file(patch: pytest.MonkeyPatch) -> None:
    """The second rename of a swap fails, and what it has moved away can be put back."""
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise PermissionError(errno.EACCES, "no")
        return real(self, target)

    patch.setattr(Path, "rename", rename)


def refuse_all_but_the_first(patch: pytest.MonkeyPatch) -> None:
    """The old folder was moved away, and cannot be put back."""
    real = Path.rename
    moved: list[Path] = []

    def rename(self: Path, target: Path) -> Path:
        if moved:
            raise PermissionError(errno.EACCES, "no")
        moved.append(self)
        return real(self, target)

    patch.setattr(Path, "rename", rename)


def write_nothing(patch: pytest.MonkeyPatch) -> None:
    """That the swap begins cannot be told: so it does not."""

    def refuse(_: object) -> None:
        raise StorageError("the storage is away")

    patch.setattr(ActiveRun, "write_down", refuse)


@pytest.mark.parametrize(
    ("database", "fails", "error", "told"),
    [
        (None, refuse_new_file, VolumeError, AS_IT_WAS),
        (undone, None, LoadFailed, AS_IT_WAS),
        (loaded, write_nothing, StorageError, AS_IT_WAS),
        (None, refuse_all_but_the_first, VolumeError, SWAPPING),
        (left_half, None, LoadFailed, SWAPPING),
        (loaded, refuse_new_file, VolumeError, SWAPPING),
    ],
)
def test_only_a_swap_that_was_undone_is_told_as_one_that_touched_nothing(
    catalog: Catalog,
    telemetry: Telemetry,
    folder: Path,
    database: Callable[[], Loaded] | None,
    fails: Callable[[pytest.MonkeyPatch], None] | None,
    error: type[BackupError],
    told: str,
) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(error):
        with ActiveRun(NewRun(catalog, RunKind.RESTORE, None), telemetry, IDLE) as run:
            run.set_result(live_site=AS_IT_WAS)
            with staged(run, folder, ExitStack(), database) as site:
                if fails is not None:
                    fails(patch)
                site.swap()
    assert catalog.runs.get(run.id).result == {"live_site": told}
    if told == AS_IT_WAS:
        assert (folder / "file").read_text() == "live"


def test_an_undone_swap_takes_nothing_back_that_an_earlier_delivery_has_said(
    catalog: Catalog, telemetry: Telemetry, folder: Path
) -> None:
    """That one was killed in its swap, which then was brought to its end."""
    with pytest.raises(LoadFailed):
        with ActiveRun(NewRun(catalog, RunKind.RESTORE, None), telemetry, IDLE) as run:
            run.set_result(live_site=SWAPPING)
            with staged(run, folder, ExitStack(), undone) as site:
                site.swap()
    assert catalog.runs.get(run.id).result == {"live_site": SWAPPING}
