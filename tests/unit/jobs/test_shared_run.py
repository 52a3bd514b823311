"""A run that several processes work on: all that they say is in its record, one ends it."""

from datetime import timedelta

import pytest

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.work import ERROR
from lcp_backup.errors import LeaseLost, RunIsOver, StorageError, VolumeError
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.shared_run import SharedRun
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.model import Notice, RunKind
from lcp_backup.telemetry import Telemetry
from tests.support.clock import SettableClock

IDLE = RunTiming(heartbeat=timedelta(hours=1))


@pytest.fixture
def run_id(catalog: Catalog, telemetry: Telemetry) -> str:
    with ActiveRun(NewRun(catalog, RunKind.CREATE, "b"), telemetry, IDLE) as run:
        run.hand_over()
    return run.id


def test_what_each_process_says_is_in_the_record_and_said_once(
    catalog: Catalog, telemetry: Telemetry, run_id: str
) -> None:
    first, second = (
        ActiveRun(SharedRun(catalog, run_id), telemetry, IDLE),
        ActiveRun(SharedRun(catalog, run_id), telemetry, IDLE),
    )
    notice = Notice(code="file-changed", subject="a")
    with first, second:
        first.progress_of("volume")(3)
        second.progress_of("volume")(4)
        second.progress_of("database")(5)
        first.add_notices((notice,))
        second.add_notices((notice, Notice(code="file-changed", subject="b")))
        second.step("packing")
        first.hand_over()
        first.progress_of("volume")(1)
        second.hand_over()
    record = catalog.runs.get(run_id)
    assert record.progress == {"volume": 7, "database": 5}
    assert [notice.subject for notice in record.warnings] == ["a", "b"]
    assert (record.state, record.step) == ("running", "packing")


def test_a_process_that_fails_leaves_its_reason_takes_its_bytes_back_and_ends_nothing(
    catalog: Catalog, telemetry: Telemetry, run_id: str
) -> None:
    with (
        pytest.raises(VolumeError),
        ActiveRun(SharedRun(catalog, run_id), telemetry, IDLE) as run,
    ):
        run.progress_of("volume")(3)
        run._stored.write()  # as the heart does
        assert catalog.runs.get(run_id).progress == {"volume": 3}
        raise VolumeError("away")
    record, holder = catalog.runs.get(run_id), catalog.lease.holder()
    assert (record.state, record.progress) == ("running", {"volume": 0})
    assert holder is not None
    assert b"volume-failed" in catalog.work.of(run_id).get(ERROR)


def test_after_the_end_nobody_adds_a_word(
    catalog: Catalog, telemetry: Telemetry, run_id: str
) -> None:
    late = SharedRun(catalog, run_id)
    late.open(timedelta(minutes=1))
    stored = SharedRun(catalog, run_id)
    with ActiveRun(stored, telemetry, IDLE):
        stored.settle()
    assert catalog.runs.get(run_id).state == "succeeded"
    assert catalog.lease.holder() is None
    with pytest.raises(LeaseLost, match="ended by another process"):
        late.write()
    with pytest.raises(LeaseLost):
        late.renew()


def test_a_step_that_comes_late_does_nothing(
    catalog: Catalog, telemetry: Telemetry, run_id: str, clock: SettableClock
) -> None:
    stored = SharedRun(catalog, run_id)
    with ActiveRun(stored, telemetry, IDLE):
        stored.settle()
    clock.pass_by(timedelta(minutes=1))
    with pytest.raises(RunIsOver):
        SharedRun(catalog, run_id).open(timedelta(minutes=1))
    assert catalog.lease.holder() is None


def test_what_could_not_be_written_is_said_by_the_next_write(
    catalog: Catalog, telemetry: Telemetry, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = SharedRun(catalog, run_id)
    with ActiveRun(stored, telemetry, IDLE) as run:
        run.add_notices((Notice(code="file-changed", subject="a"),))
        run.set_result(bytes=1)

        def away(*_: object) -> None:
            raise StorageError("S3 was away")

        with monkeypatch.context() as outage, pytest.raises(StorageError):
            outage.setattr(type(catalog.runs), "change", away)
            stored.write()
        run.hand_over()
    record = catalog.runs.get(run_id)
    assert [notice.subject for notice in record.warnings] == ["a"]
    assert record.result == {"bytes": 1}
