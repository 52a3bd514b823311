"""A backup that several functions make, on the deployed stack, by its state machine."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deployed import Deployed
from tests.support.shared_work import (
    left,
    refused,
    short_budgets,
    wait_for_failed_execution,
    wait_until,
)

BUDGET = 40
"""Seconds that Lambda gives a worker: 20 to stop in, and of the others half for a stretch. (With 4
in place of 20 it fails on a machine that is busy with other tests.)"""
WORKER = "CreateWorkerFunctionName"


@pytest.fixture
def files(deployed: Deployed) -> Iterator[Path]:
    """Enough for some seconds of work."""
    folder = deployed.stack.folder / "document_library" / "many"
    folder.mkdir()
    for number in range(48):
        (folder / f"{number}.bin").write_bytes(os.urandom(1 << 20))
    yield folder
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def has_gone_on_or_ended(names: list[str]) -> bool:
    """Whether a worker has done its second stretch, or all is done."""
    return not names or any(name.endswith("/1") for name in names)


@pytest.mark.usefixtures("files")
def test_a_site_comes_back_exactly_that_workers_backed_up_of_which_each_failed_once(
    deployed: Deployed,
) -> None:
    stack = deployed.stack
    before = deployed.fingerprint()
    event = {"time": "2026-11-20T06:40:00Z", "workers": 3}
    with refused(deployed, WORKER, "rest/*"):
        begun = stack.invoke("create", event)
        run_id = begun["run_id"]
        assert (begun["created"], begun["is_under_way"]) == (False, True)
        assert stack.invoke("create", event)["run_id"] == run_id, "a second delivery"
        wait_until(lambda: {"error", "database"} <= set(left(deployed, run_id)))
    with short_budgets(deployed, WORKER, BUDGET):
        # Until one goes on, or all have come to an end; the last step has its own time.
        wait_until(lambda: has_gone_on_or_ended(left(deployed, run_id)))
    ended = deployed.admin.wait_for(run_id)
    assert (ended["state"], ended["error"]) == ("succeeded", None)
    manifest = next(it for it in deployed.manifests() if it["id"] == begun["backup_id"])
    assert (manifest["run_id"], manifest["volume"]["writers"]) == (run_id, 3)
    assert manifest["losses"] == 0
    wait_until(lambda: left(deployed, run_id) == [])
    deployed.destroy()
    assert stack.invoke("restore", {"backup_id": begun["backup_id"]})["restored"] is True
    assert before.differences(deployed.fingerprint()) == []


def test_a_worker_that_always_fails_ends_the_run_in_its_words_and_nothing_stays_open(
    deployed: Deployed,
) -> None:
    folder = deployed.stack.folder / "document_library" / "aside"
    folder.symlink_to(deployed.stack.folder.parent)
    try:
        begun = deployed.stack.invoke("create", {"time": "2026-11-20T07:10:00Z", "workers": 3})
        ended = deployed.admin.wait_for(begun["run_id"])
    finally:
        folder.unlink()
    assert (ended["state"], ended["error"]["code"]) == ("failed", "volume-incomplete")
    assert "symbolic link that leads out" in ended["error"]["message"]
    wait_for_failed_execution(deployed, "CreateMachineArn", begun["run_id"])
    assert left(deployed, begun["run_id"]) == []
    assert [key for key in deployed.keys("backups/") if begun["backup_id"] in key] == []
    open_ones = deployed.s3.list_multipart_uploads(Bucket=deployed.described["bucket"])
    assert [it for it in open_ones.get("Uploads", []) if begun["backup_id"] in it["Key"]] == []
