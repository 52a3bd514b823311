"""The swap of a staged site: what comes first, and what follows when it ends half-way."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from lcp_backup.catalog import Catalog
from lcp_backup.database.staged_schema import Loaded
from lcp_backup.errors import LeaseLost, RestoredInPart
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.staged_site import AS_IT_WAS, SWAPPING, StagedSite
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.model import RunKind
from lcp_backup.telemetry import Telemetry
from lcp_backup.volume.staging import stage
from tests.support.clock import SettableClock

IDLE = RunTiming(heartbeat=timedelta(hours=1))


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
    database: Callable[[], Loaded] = half_way,
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
