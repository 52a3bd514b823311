"""A volume that several functions restore, on the deployed stack, by its state machine."""

from collections.abc import Iterator

import pytest

from tests.support.deployed import Deployed
from tests.support.shared_work import (
    left,
    refused,
    short_budgets,
    some_portions,
    wait_for_failed_execution,
    wait_until,
)

BUDGET = 24
"""Seconds that Lambda gives a worker: 20 to stop in, and of the others half for a stretch."""
WORKER = "RestoreWorkerFunctionName"


@pytest.fixture
def files(deployed: Deployed) -> Iterator[None]:
    with some_portions(deployed):
        yield


@pytest.mark.usefixtures("files")
def test_a_site_comes_back_exactly_whose_volume_workers_unpack_of_which_each_failed_once(
    deployed: Deployed,
) -> None:
    stack = deployed.stack
    before = deployed.fingerprint()
    backup_id = stack.invoke("create", {"time": "2026-11-20T08:00:00Z"})["backup_id"]
    deployed.destroy()
    with short_budgets(deployed, WORKER, BUDGET):
        with refused(deployed, WORKER, "unpack-*"):
            begun = stack.invoke("restore", {"backup_id": backup_id, "workers": 3})
            run_id = begun["run_id"]
            assert (begun["backup_id"], begun["restored"]) == (backup_id, False)
            wait_until(lambda: "error" in left(deployed, run_id))
        ended = deployed.admin.wait_for(run_id)
    assert (ended["state"], ended["error"]) == ("succeeded", None)
    assert ended["result"]["whole"] is True
    assert before.differences(deployed.fingerprint()) == []
    assert left(deployed, run_id) == []
    assert [it.name for it in stack.folder.parent.iterdir() if it.name.startswith(".lcp")] == []


def test_a_database_alone_comes_back_that_workers_load_of_which_each_failed_once(
    deployed: Deployed,
) -> None:
    stack = deployed.stack
    before = deployed.fingerprint()
    backup_id = stack.invoke("create", {"time": "2026-11-20T08:30:00Z"})["backup_id"]
    database = stack.database
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM `{database.name}`.Image_")
    with refused(deployed, WORKER, "indexed-*"):
        begun = stack.invoke("restore", {"backup_id": backup_id, "only": "database", "workers": 3})
        wait_until(lambda: "error" in left(deployed, begun["run_id"]))
        assert "shared-load" in left(deployed, begun["run_id"])
    ended = deployed.admin.wait_for(begun["run_id"])
    assert (ended["state"], ended["error"]) == ("succeeded", None)
    assert ended["result"]["rows"] > 0
    assert before.differences(deployed.fingerprint()) == []
    assert left(deployed, begun["run_id"]) == []


def test_a_backup_that_workers_find_damaged_leaves_the_site_as_it_is(deployed: Deployed) -> None:
    stack = deployed.stack
    backup_id = stack.invoke("create", {"time": "2026-11-20T09:00:00Z"})["backup_id"]
    before = deployed.fingerprint()
    key = f"{deployed.described['prefix']}/backups/{backup_id}/volume.tgz"
    deployed.s3.delete_object(Bucket=deployed.described["bucket"], Key=key)
    run_id = stack.invoke("restore", {"backup_id": backup_id, "workers": 2})["run_id"]
    ended = deployed.admin.wait_for(run_id)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "archive-damaged")
    wait_for_failed_execution(deployed, "RestoreMachineArn", run_id)
    assert before.differences(deployed.fingerprint()) == []
    assert left(deployed, run_id) == []
    assert deployed.admin.call("DELETE", f"/backup/{backup_id}").status == 204
