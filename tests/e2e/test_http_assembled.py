"""Downloads that are assembled: of a volume that lies in two archives, and of selections."""

import os
import shutil
import tarfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.api import Answer
from tests.support.deployed import Deployed
from tests.support.shared_work import left, refused, wait_for_failed_execution, wait_until

LARGE = 70 << 20
"""Bytes; a smaller volume is stored whole by every backup."""
_UNTIL_SETTLED = 4
"""Seconds; a backup does not trust what was changed while it looked."""


@pytest.fixture(scope="module")
def increment(deployed: Deployed) -> Iterator[str]:
    """The second backup of a large folder in which little changed."""
    library = deployed.stack.folder / "document_library" / "assembled"
    library.mkdir()
    # The newest of all backups, whichever tests were before: to the newest one refers.
    slot = datetime.now(UTC) + timedelta(hours=1)
    made: list[str] = []
    try:
        with (library / "large").open("wb") as file:
            for _ in range(LARGE >> 20):
                file.write(os.urandom(1 << 20))
        for name in ("deleted", "kept", "replaced"):
            (library / name).write_bytes(os.urandom(100_000))
        time.sleep(_UNTIL_SETTLED)
        for moment in (slot, slot + timedelta(minutes=1)):
            made.append(deployed.stack.invoke("create", {"time": moment.isoformat()})["backup_id"])
            (library / "deleted").unlink(missing_ok=True)
            (library / "replaced").write_bytes(b"new")
        first, second = made
        (manifest,) = (it for it in deployed.manifests() if it["id"] == second)
        assert [source["backup_id"] for source in manifest["sources"]] == [first]
        yield second
    finally:
        shutil.rmtree(library)
        for backup_id in reversed(made):
            deployed.admin.call("DELETE", f"/backup/{backup_id}")


def downloaded(deployed: Deployed, path: str, file: Path, method: str = "GET") -> Answer:
    """As a script does it that knows nothing of how backups are stored."""
    how = ("--location", "--retry", "10", "--output", file)
    answer = deployed.viewer.call(method, f"/backup/download/{path}", *how)
    assert answer.status == 200, file.read_bytes()[:1000]
    return answer


def states_of_downloads(deployed: Deployed, backup_id: str) -> list[str]:
    """The states of the runs that assembled something of a backup."""
    runs = deployed.viewer.call("GET", "/backup/runs?kind=download").json()["runs"]
    return [it["state"] for it in runs if it["backup_id"] == backup_id]


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(it.relative_to(folder)): it.read_bytes() if it.is_file() else None
        for it in folder.rglob("*")
        if not it.is_symlink()
    }


def unpacked(file: Path, out: Path) -> Path:
    with tarfile.open(file) as archive:
        archive.extractall(out, filter="tar")
    return out


def test_an_increment_comes_down_as_one_archive_of_the_folder(
    deployed: Deployed, increment: str, tmp_path: Path
) -> None:
    file = tmp_path / "volume.tgz"
    answer = downloaded(deployed, f"volume/{increment}", file)
    assert f'filename="{increment}-volume.tgz"' in answer.headers["content-disposition"]
    assert contents(unpacked(file, tmp_path / "out")) == contents(deployed.stack.folder)
    assert states_of_downloads(deployed, increment) == ["succeeded"]
    again = tmp_path / "again.tgz"
    downloaded(deployed, f"volume/{increment}", again)
    assert again.read_bytes() == file.read_bytes()
    assert states_of_downloads(deployed, increment) == ["succeeded"]


def test_workers_of_which_each_failed_once_assemble_the_same(
    deployed: Deployed, increment: str, tmp_path: Path
) -> None:
    """By the state machine; of two archives."""
    names = ["document_library/assembled/kept", "document_library/assembled/replaced"]
    asked = "&".join([*(f"path={name}" for name in names), "workers=3"])
    path = f"volume/{increment}?{asked}"
    with refused(deployed, "assemble", "made-*"):
        answer = deployed.viewer.call("GET", f"/backup/download/{path}")
        assert answer.status == 503
        run_id = answer.json()["run_id"]
        wait_until(lambda: "error" in left(deployed, run_id))
    file = tmp_path / "volume.tgz"
    downloaded(deployed, path, file)
    found = contents(unpacked(file, tmp_path / "out"))
    assert found == {
        "document_library": None,
        "document_library/assembled": None,
        **{name: (deployed.stack.folder / name).read_bytes() for name in names},
    }
    record = deployed.admin.wait_for(run_id)
    assert (record["state"], record["result"]["bytes"]) == ("succeeded", file.stat().st_size)
    assert left(deployed, run_id) == []


def test_workers_that_fail_for_good_leave_a_reason_and_nothing_else(
    deployed: Deployed, increment: str
) -> None:
    path = f"volume/{increment}?path=document_library/assembled/large&workers=2"
    before = set(deployed.keys("downloads/"))
    with refused(deployed, "assemble", "piece-*"):
        run_id = deployed.viewer.call("GET", f"/backup/download/{path}").json()["run_id"]
        ended = deployed.admin.wait_for(run_id)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "storage-failed")
    wait_for_failed_execution(deployed, "AssembleMachineArn", run_id)
    told = deployed.viewer.call("GET", f"/backup/download/{path}")
    assert told.status == 500
    assert told.json()["type"].endswith("download-failed")
    assert left(deployed, run_id) == []
    assert set(deployed.keys("downloads/")) == before


def test_one_document_and_one_table_come_down_alone(
    deployed: Deployed, increment: str, tmp_path: Path
) -> None:
    file = tmp_path / "selection.tgz"
    name = "document_library/assembled/kept"
    downloaded(deployed, f"volume/{increment}?path={name}", file, "POST")
    out = unpacked(file, tmp_path / "volume")
    assert contents(out / "document_library" / "assembled") == {
        "kept": (deployed.stack.folder / name).read_bytes()
    }
    downloaded(deployed, f"database/{increment}?table=User_", file)
    sql = (unpacked(file, tmp_path / "database") / "lportal.sql").read_text(errors="replace")
    assert "CREATE TABLE `User_`" in sql
    assert "CREATE TABLE `Group_`" not in sql
    assert "DROP DATABASE" not in sql


def test_what_the_backup_does_not_hold_is_a_404_that_names_it(
    deployed: Deployed, increment: str
) -> None:
    for path, told in (
        (f"volume/{increment}?path=document_library/assembled/deleted", "assembled/deleted"),
        (f"database/{increment}?table=Nothing", "Nothing"),
    ):
        answer = deployed.viewer.call("GET", f"/backup/download/{path}", "--retry", "10")
        assert answer.status == 404
        assert told in answer.json()["detail"]


def test_what_an_increment_holds_is_listed(deployed: Deployed, increment: str) -> None:
    folder = "document_library/assembled"
    listed = deployed.viewer.call("GET", f"/backup/{increment}/files?path={folder}").json()
    assert [(it["path"], it["kind"], it["size"]) for it in listed["files"]] == [
        (f"{folder}/kept", "file", 100_000),
        (f"{folder}/large", "file", LARGE),
        (f"{folder}/replaced", "file", 3),
    ]
    tables = deployed.viewer.call("GET", f"/backup/{increment}/tables").json()["tables"]
    assert "User_" in [it["name"] for it in tables]
