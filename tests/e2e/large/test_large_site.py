"""A site that four workers back up and restore, on the deployed stack: `make test-large`.

Not one of `make test`, for the emulator holds objects in memory, twice.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deployed import Deployed
from tests.support.shared_work import left, refused, short_budgets, wait_until

MB = 1 << 20
FILES = 25
"""Of 1 MB, in each of 40 folders."""
BUDGET = 40
"""Seconds that Lambda gives a worker: 20 to stop in, and of the others half for a stretch. (With 6
in place of 20 it fails on a machine that is busy with other tests.)"""
CREATE, RESTORE = "CreateWorkerFunctionName", "RestoreWorkerFunctionName"


@pytest.fixture
def large(deployed: Deployed) -> Iterator[None]:
    """Files, large, small, odd and empty: 2 GB in all; and 300 MB of rows."""
    folder = deployed.stack.folder / "document_library" / "large"
    fill_folder(folder)
    database = deployed.stack.database
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"USE `{database.name}`")
        cursor.execute(
            "CREATE TABLE Large_ (id BIGINT PRIMARY KEY, word VARCHAR(64), doc LONGTEXT,"
            " KEY by_word (word)) ENGINE=InnoDB"
        )
        cursor.execute(
            "INSERT INTO Large_ SELECT seq, MD5(seq), REPEAT(CONCAT(MD5(seq), '\\'é'), 88)"
            " FROM seq_1_to_100000"
        )
        connection.commit()
    yield
    shutil.rmtree(folder, ignore_errors=True)
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS `{database.name}`.Large_")


def fill_folder(folder: Path) -> None:
    block = os.urandom(64 * MB)
    folder.mkdir()
    for number, megabytes in enumerate((500, 400)):  # (a cut may lie inside of these)
        with (folder / f"film {number}").open("wb") as film:
            for at in range(0, megabytes, 50):
                film.write(at.to_bytes(8) + block[: 50 * MB - 8])
    for branch in range(40):
        below = folder / f"20097-{branch}" / "größe"
        below.mkdir(parents=True)
        for number in range(FILES):
            size = MB + number * 9001
            file = below / f"{number}.1.0"
            start = (branch * FILES + number) * 40_009 % (60 * MB)
            file.write_bytes(block[start : start + size])
            os.utime(file, ns=(1, 1_600_000_000_000_000_000 + number))
        for number in range(150):
            (below / f"small {number}\n").write_bytes(b"x" * number)
        (below / "link").symlink_to("0.1.0")
        (below / "0.1.0").chmod(0o400)
        (below / "empty").mkdir(mode=0o550)
        below.chmod(0o750)


@pytest.mark.usefixtures("large")
def test_large_files_and_a_large_table_come_back_exactly_through_four_workers(
    deployed: Deployed,
) -> None:
    stack = deployed.stack
    before = deployed.fingerprint()
    with short_budgets(deployed, CREATE, BUDGET):
        with refused(deployed, CREATE, "rest/*"):
            begun = stack.invoke("create", {"time": "2026-11-20T10:10:00Z", "workers": 4})
            wait_until(lambda: "error" in left(deployed, begun["run_id"]))
        ended = deployed.admin.wait_for(begun["run_id"])
    assert (ended["state"], ended["error"]) == ("succeeded", None)
    manifest = next(it for it in deployed.manifests() if it["id"] == begun["backup_id"])
    assert manifest["volume"]["writers"] == 4
    assert manifest["volume"]["raw_size"] > 1_800 * MB
    assert manifest["database"]["raw_size"] > 280 * MB
    deployed.destroy()
    with short_budgets(deployed, RESTORE, BUDGET):
        with refused(deployed, RESTORE, "unpack-*"):
            asked = {"backup_id": begun["backup_id"], "workers": 4}
            run_id = stack.invoke("restore", asked)["run_id"]
            wait_until(lambda: "error" in left(deployed, run_id))
        ended = deployed.admin.wait_for(run_id)
    assert (ended["state"], ended["error"]) == ("succeeded", None)
    assert before.differences(deployed.fingerprint()) == []
    assert left(deployed, run_id) == []
