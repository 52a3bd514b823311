"""What is told of a backup that was published. (Whole runs: tests/integration/jobs.)"""

import json
from datetime import timedelta

import pytest

from lcp_backup.catalog import Catalog
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.new_backup import announce, publish
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.model import ArchiveKind, RunKind
from lcp_backup.telemetry import Telemetry
from tests.support.backups import a_manifest
from tests.support.clock import SettableClock

IDLE = RunTiming(heartbeat=timedelta(hours=1))


@pytest.mark.parametrize("losses", [0, 3])
def test_a_backup_tells_how_much_of_the_site_it_lacks_also_when_that_is_nothing(
    catalog: Catalog,
    telemetry: Telemetry,
    clock: SettableClock,
    capsys: pytest.CaptureFixture[str],
    losses: int,
) -> None:
    """A backup that lacks nothing has to say so: by that the alarm goes off."""
    manifest = a_manifest(clock()).model_copy(update={"losses": losses})
    for kind in ArchiveKind:
        for sink, size in (
            (catalog.backups.archive_writer(manifest.id, kind), 100),
            (catalog.backups.index_writer(manifest.id, kind), 10),
        ):
            sink.write(bytes(size))
            sink.complete()
    active = ActiveRun(NewRun(catalog, RunKind.CREATE, manifest.id), telemetry, IDLE)
    capsys.readouterr()
    with active as run:
        manifest = publish(run, manifest, catalog, telemetry)
    announce(manifest, telemetry)
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (metrics,) = [line for line in written if "_aws" in line]
    assert (metrics["CreateSuccess"], metrics["CreateLosses"]) == ([1.0], [float(losses)])
    assert catalog.runs.get(active.id).result["losses"] == losses
    assert catalog.backups.get(manifest.id).losses == losses
