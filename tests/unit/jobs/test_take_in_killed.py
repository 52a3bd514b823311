"""An upload whose process is killed at any of its requests to S3: one backup, and nothing else."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.errors import LeaseHeld, RunIsOver, TaskFailed
from lcp_backup.jobs.active_run import RunTiming
from lcp_backup.jobs.cleanup import clean_up
from lcp_backup.jobs.intake_task import end_of_task, execution_of
from lcp_backup.jobs.stored_backup import StoredBackup
from lcp_backup.model import RunState
from lcp_backup.settings import Settings
from lcp_backup.steps import UploadStepRequest
from lcp_backup.telemetry import Telemetry
from lcp_backup.volume.wanted import WantedMembers
from tests.support.backups import BUCKET
from tests.support.clock import SettableClock
from tests.support.inbox import IDLE, Inbox
from tests.support.memory_s3 import Killed, MemoryS3
from tests.support.taken_database import SQL

LATER = timedelta(minutes=3)
"""Then the lease of who was killed has expired, and Lambda delivers the event again."""
SETTINGS = Settings.from_env({"LCP_PROJECT_ID": "acme", "LCP_ENVIRONMENT_ID": "prd"})


class Mortal:
    """An S3 client whose process dies at one request: before S3 has it, or before its answer."""

    def __init__(self, s3: MemoryS3) -> None:
        self._s3 = s3
        self._lock = threading.Lock()
        self.revive()

    def revive(self, die_at: int | None = None, *, answer_lost: bool = False) -> None:
        self.calls, self._die_at, self._answer_lost = 0, die_at, answer_lost

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._s3, name)
        if not callable(found) or name == "exceptions":
            return found

        def request(*arguments: Any, **named: Any) -> Any:
            with self._lock:
                self.calls += 1
                left = None if self._die_at is None else self._die_at - self.calls
            if left is not None and left <= 0 and not (left == 0 and self._answer_lost):
                raise Killed
            answer = found(*arguments, **named)
            if left == 0:
                raise Killed
            return answer

        return request


class Site:
    """An environment with one upload, sent and sealed."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.clock = SettableClock()
        self.s3 = Mortal(MemoryS3(self.clock))
        client: Any = self.s3
        store = ObjectStore(client, BUCKET, pause=lambda _: None)
        self.catalog = Catalog(store, "acme/prd", self.clock)
        self.telemetry = telemetry
        self.inbox = Inbox(self.catalog, store, telemetry)
        self.upload_id = self.inbox.sent()

    def take_in(self) -> None:
        """What the function does, or a task."""
        self.inbox.take_in(self.upload_id)

    def hand_to_task(self) -> None:
        """What the function does that has no time for it."""
        brief = RunTiming(self.clock(), heartbeat=timedelta(hours=1))
        self.inbox.take_in(self.upload_id, brief, lambda *_: None)

    def end_task(self) -> None:
        """What the state machine asks for once its task has ended."""
        run = self.inbox.run(self.upload_id)
        told = {"Error": "States.TaskFailed", "Cause": ""}
        event = {"run_id": run.id, "step": "ended", "error": told, "execution": execution_of(run)}
        end_of_task(UploadStepRequest.read(event), self.catalog, self.telemetry, self.take_in)

    def assert_one_backup(self) -> None:
        """Whole; and a day later there is nothing beside it."""
        (manifest,) = self.catalog.backups.all()
        backup = StoredBackup(self.catalog, manifest)
        read = backup.read_database(backup.database_segments())
        assert b"".join(raw for _, raw in read) == SQL
        with backup.volume() as volume:
            wanted = WantedMembers(volume.members())
            assert any(b"text" in raw for _, raw in volume.read(wanted))
        run = self.inbox.run(self.upload_id)
        assert (run.state, run.backup_id) == (RunState.SUCCEEDED, manifest.id)
        assert self.inbox.keys("uploads") == []
        assert self.catalog.lease.holder() is None
        self.clock.pass_by(timedelta(days=2))
        clean_up(SETTINGS, self.catalog, self.telemetry, IDLE, dry_run=False)
        assert [it.id for it in self.catalog.backups.all()] == [manifest.id]
        assert list(self.catalog.backups.leftovers()) == []
        assert list(self.catalog.backups.open_multiparts()) == []


def killed_everywhere(
    telemetry: Telemetry, prepare: Callable[[Site], None], work: Callable[[Site], None]
) -> list[Site]:
    """Sites in which `work` was killed, each at another request; all that there are."""
    sites: list[Site] = []
    for answer_lost in (False, True):
        die_at, lived = 1, False
        while not lived:
            sites.append(site := Site(telemetry))
            prepare(site)
            site.s3.revive(die_at, answer_lost=answer_lost)
            try:
                work(site)
            except Killed:
                die_at += 1
            else:
                lived = True
            site.s3.revive()
        sites.pop()  # the one that lived
    return sites


def nothing(_: Site) -> None:
    """There is nothing to be prepared."""


def delivered_again(site: Site) -> None:
    with suppress(LeaseHeld):  # at once, while the dead one's lease stands
        site.take_in()
    site.clock.pass_by(LATER)
    site.take_in()


def test_a_function_that_is_killed_anywhere_is_followed_by_one_that_makes_one_backup(
    telemetry: Telemetry,
) -> None:
    sites = killed_everywhere(telemetry, nothing, Site.take_in)
    assert len(sites) > 60
    for site in sites:
        delivered_again(site)
        site.assert_one_backup()


def completed_again(site: Site) -> None:
    """The run of a task that was killed fails, and then somebody completes the upload once more."""
    with suppress(LeaseHeld, TaskFailed, RunIsOver):
        site.end_task()
    site.clock.pass_by(LATER)
    try:
        site.end_task()
    except (TaskFailed, RunIsOver):
        assert site.inbox.run(site.upload_id).state is RunState.FAILED
        assert list(site.catalog.backups.all()) == []
        site.inbox.uploads.seal(site.upload_id)
        site.take_in()


def test_a_task_that_is_killed_anywhere_has_made_a_backup_or_its_upload_may_be_completed_again(
    telemetry: Telemetry,
) -> None:
    sites = killed_everywhere(telemetry, Site.hand_to_task, Site.take_in)
    assert len(sites) > 60
    for site in sites:
        completed_again(site)
        site.assert_one_backup()


def published_and_killed(site: Site) -> None:
    """A task that was killed once there was a manifest."""
    site.hand_to_task()
    publish = site.catalog.backups.publish

    def kill(manifest: Any) -> None:
        publish(manifest)
        site.s3.revive(1)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(site.catalog.backups, "publish", kill)
        site.take_in()
    site.s3.revive()
    site.clock.pass_by(LATER)


def left_without_a_word(site: Site) -> None:
    """A task that was killed before it did anything."""
    site.hand_to_task()


@pytest.mark.parametrize("task", [published_and_killed, left_without_a_word])
def test_the_step_behind_a_task_may_be_killed_anywhere_too(
    telemetry: Telemetry, task: Callable[[Site], None]
) -> None:
    def end(site: Site) -> None:
        with suppress(TaskFailed):
            site.end_task()

    sites = killed_everywhere(telemetry, task, end)
    assert len(sites) > 6
    for site in sites:
        completed_again(site)
        site.assert_one_backup()


def test_a_function_that_is_killed_while_it_leaves_an_upload_to_a_task_does_so_again(
    telemetry: Telemetry,
) -> None:
    sites = killed_everywhere(telemetry, nothing, Site.hand_to_task)
    assert len(sites) > 6
    for site in sites:
        site.hand_to_task()
        site.take_in()
        site.assert_one_backup()
