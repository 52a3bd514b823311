"""A backup that several functions verify, on the deployed stack, by its state machine."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.deployed import Deployed
from tests.support.shared_work import (
    left,
    refused,
    some_portions,
    wait_for_failed_execution,
    wait_until,
)

WORKER = "VerifyWorkerFunctionName"


@pytest.fixture
def files(deployed: Deployed) -> Iterator[None]:
    with some_portions(deployed):
        yield


def ask(deployed: Deployed, backup_id: str, workers: int) -> str:
    """Asks for a verification over HTTP; its run's id."""
    answer = deployed.admin.post(f"/backup/verify/{backup_id}", {"workers": workers})
    assert answer.status == 202
    return str(answer.json()["run_id"])


def shown(deployed: Deployed, backup_id: str) -> dict[str, Any]:
    """What the backup's detail says of its verification."""
    detail = deployed.admin.call("GET", f"/backup/{backup_id}").json()
    verification: dict[str, Any] = detail["verification"]
    return verification


def forget(deployed: Deployed, backup_id: str) -> None:
    """Deletes it, so that a later backup without these files does not look like a loss."""
    assert deployed.admin.call("DELETE", f"/backup/{backup_id}").status == 204


@pytest.mark.usefixtures("files")
def test_a_good_backup_is_proved_by_workers_of_which_each_failed_once(deployed: Deployed) -> None:
    """Over HTTP, and as one function finds it."""
    stack = deployed.stack
    backup_id = stack.invoke("create", {"time": "2026-11-22T08:00:00Z"})["backup_id"]
    alone = stack.invoke("verify", {"backup_id": backup_id, "workers": 1})
    with refused(deployed, WORKER, "read-*"):
        run_id = ask(deployed, backup_id, 3)
        wait_until(lambda: "error" in left(deployed, run_id))
    ended = deployed.admin.wait_for(run_id)
    assert (ended["state"], ended["error"]) == ("succeeded", None)
    figures = ("verdict", "tables", "rows", "files", "read_bytes")
    assert {it: ended["result"][it] for it in figures} == {it: alone[it] for it in figures}
    assert shown(deployed, backup_id)["verdict"] == "verified"
    assert left(deployed, run_id) == []
    forget(deployed, backup_id)


@pytest.mark.usefixtures("files")
def test_a_byte_that_was_flipped_is_found_by_workers_and_its_segment_named(
    deployed: Deployed,
) -> None:
    stack = deployed.stack
    backup_id = stack.invoke("create", {"time": "2026-11-22T09:00:00Z"})["backup_id"]
    bucket = deployed.described["bucket"]
    key = f"{deployed.described['prefix']}/backups/{backup_id}/volume.tgz"
    body = bytearray(deployed.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    body[len(body) // 2] ^= 1
    deployed.s3.delete_object(Bucket=bucket, Key=key)
    deployed.s3.put_object(Bucket=bucket, Key=key, Body=bytes(body), IfNoneMatch="*")
    run_id = ask(deployed, backup_id, 2)
    ended = deployed.admin.wait_for(run_id)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "archive-damaged")
    assert f"volume.tgz of backup {backup_id}: segment" in ended["error"]["message"]
    wait_for_failed_execution(deployed, "VerifyMachineArn", run_id)
    found = shown(deployed, backup_id)
    assert found["verdict"] == "bad"
    assert ended["error"]["message"] in str(found["error"])
    assert left(deployed, run_id) == []
    forget(deployed, backup_id)


def scratch_schemas(deployed: Deployed) -> set[str]:
    """What verifications have on the server, and the accounts of those who load."""
    with deployed.stack.database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES LIKE 'lcp\\_verify\\_%'")
        schemas = {str(name) for (name,) in cursor.fetchall()}
        cursor.execute("SELECT user FROM mysql.user WHERE user LIKE 'lcp\\_loader\\_%'")
        return schemas | {str(name) for (name,) in cursor.fetchall()}


def test_a_database_is_proved_by_workers_of_which_each_failed_once_and_nothing_stays(
    deployed: Deployed,
) -> None:
    stack = deployed.stack
    backup_id = stack.invoke("create", {"time": "2026-11-22T10:00:00Z"})["backup_id"]
    before, live = scratch_schemas(deployed), deployed.fingerprint()
    with refused(deployed, WORKER, "indexed-*"):
        run_id = ask(deployed, backup_id, 3)
        wait_until(lambda: "error" in left(deployed, run_id))
        assert {"shared-load", "load-began"} <= set(left(deployed, run_id))
        loaded = scratch_schemas(deployed) - before
        assert any(name.endswith("_lcp_staging") for name in loaded)
        # Another one that begins meanwhile leaves it alone.
        assert stack.invoke("verify", {"backup_id": backup_id, "workers": 1})["verdict"]
        assert loaded <= scratch_schemas(deployed)
    ended = deployed.admin.wait_for(run_id)
    assert (ended["state"], ended["error"]) == ("succeeded", None)
    assert shown(deployed, backup_id)["verdict"] == "verified"
    assert scratch_schemas(deployed) == before
    assert left(deployed, run_id) == []
    assert live.differences(deployed.fingerprint()) == []
    forget(deployed, backup_id)


def test_rows_that_are_damaged_are_found_by_the_workers_that_load_them(deployed: Deployed) -> None:
    stack = deployed.stack
    backup_id = stack.invoke("create", {"time": "2026-11-22T11:00:00Z"})["backup_id"]
    before = scratch_schemas(deployed)
    bucket = deployed.described["bucket"]
    key = f"{deployed.described['prefix']}/backups/{backup_id}/database.tgz"
    body = bytearray(deployed.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    body[-3000] ^= 1
    deployed.s3.delete_object(Bucket=bucket, Key=key)
    deployed.s3.put_object(Bucket=bucket, Key=key, Body=bytes(body), IfNoneMatch="*")
    run_id = ask(deployed, backup_id, 2)
    ended = deployed.admin.wait_for(run_id)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "archive-damaged")
    assert f"database.tgz of backup {backup_id}: segment" in ended["error"]["message"]
    wait_for_failed_execution(deployed, "VerifyMachineArn", run_id)
    assert shown(deployed, backup_id)["verdict"] == "bad"
    assert scratch_schemas(deployed) == before
    assert left(deployed, run_id) == []
    forget(deployed, backup_id)
