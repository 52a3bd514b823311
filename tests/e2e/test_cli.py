"""Every command of `lcp-backup` against the deployed stack, in the order of somebody's day."""

import random
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import CommandLine, Said
from tests.support.deployed import Deployed

_LARGE = 40_000_000
"""Bytes: S3 gets it in several parts."""


@pytest.fixture(scope="module")
def lcp(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """An admin who has logged in with a name and password."""
    cli = CommandLine(tmp_path_factory.mktemp("home"))
    admin = deployed.stack.users["admin"]
    cli.env |= {"LCP_BACKUP_USER": admin.name, "LCP_BACKUP_PASSWORD": admin.password}
    said = cli("login", deployed.described["api_url"])
    cli.env.clear()
    assert said.code == 0, said.err
    assert "(admin)" in said.out
    assert admin.password not in cli.profiles.read_text()
    return cli


@pytest.fixture(scope="module")
def backup(lcp: CommandLine) -> dict[str, Any]:
    """A backup that `create --wait` has made, as `show` shows it."""
    run = done(lcp("create", "--wait", "--json")).json()
    found: dict[str, Any] = done(lcp("show", run["backup_id"], "--json")).json()
    return found


def done(said: Said) -> Said:
    assert said.code == 0, said.err + said.out
    return said


def test_what_there_is_can_be_looked_at(
    lcp: CommandLine, deployed: Deployed, backup: dict[str, Any]
) -> None:
    assert done(lcp("whoami", "--json")).json()["role"] == "admin"
    listed = done(lcp("list", "--json")).json()["backups"]
    assert listed[0] == {name: value for name, value in backup.items() if name in listed[0]}
    assert backup["backupId"] in done(lcp("list")).out
    assert backup["backupId"] in done(lcp("show", "latest")).out
    assert backup["runId"] in done(lcp("runs", "--kind", "create")).out
    assert "create succeeded" in done(lcp("run", backup["runId"], "--follow")).out
    assert done(lcp("run", backup["runId"], "--json")).json()["state"] == "succeeded"
    assert done(lcp("schedules", "--json")).json()["create"]["cron"] == "0 0 1 1 *"
    paused = done(lcp("pause", "--reason", "an incident", "--json")).json()
    assert (paused["reason"], paused["by"]) == ("an incident", paused["by"])
    assert "an incident" in done(lcp("schedules")).out
    assert "Live in the bucket: " in done(lcp("usage")).out
    files = done(lcp("ls", backup["backupId"], "document_library", "--json")).json()["files"]
    assert "document_library/20097" in {it["path"] for it in files}
    tables = done(lcp("tables", backup["backupId"], "--json")).json()["tables"]
    assert len(tables) == backup["tables"]
    done(lcp("pin", backup["backupId"], "the audit"))
    assert lcp("delete", backup["backupId"], "--yes", "dev").code == 6
    done(lcp("unpin", backup["backupId"]))
    done(lcp("verify", backup["backupId"], "--wait"))
    verified = done(lcp("show", backup["backupId"], "--json")).json()["verification"]
    assert verified["verdict"] == "verified"
    assert "verification" in done(lcp("doctor")).out
    done(lcp("resume"))
    assert done(lcp("schedules", "--json")).json()["restores_paused"] is None
    viewer = CommandLine(lcp.home / "viewer")
    token = deployed.tokens(deployed.stack.users["viewer"])["AccessToken"]
    done(viewer("login", deployed.described["api_url"], "--token-stdin", stdin=token))
    assert viewer("create").code == 4
    assert viewer("list").code == 0
    done(viewer("logout"))
    assert viewer("list").code == 3


def test_a_backup_and_parts_of_it_are_downloaded(
    lcp: CommandLine, backup: dict[str, Any], tmp_path: Path
) -> None:
    said = done(lcp("download", "latest", "--dest", tmp_path, "--json"))
    for kind, told in zip(("database", "volume"), said.json()["files"], strict=True):
        assert (told["checked"], told["sha256"]) == (True, backup[kind]["sha256"])
    selection = ("--path", "document_library/20097", "--table", "User_")
    done(lcp("download", backup["backupId"], *selection, "--dest", tmp_path))
    assert len(list(tmp_path.iterdir())) == 4
    [selected] = tmp_path.glob("*-volume-selection-*.tgz")
    with tarfile.open(selected) as archive:
        found = {name for name in archive.getnames() if name != "document_library"}
    assert found
    assert all(name.startswith("document_library/20097") for name in found)


def test_a_site_that_was_destroyed_is_restored(
    lcp: CommandLine, deployed: Deployed, backup: dict[str, Any]
) -> None:
    before = deployed.fingerprint()
    deployed.destroy()
    assert lcp("restore", backup["backupId"], "--yes", "prd").code == 6
    done(lcp("restore", backup["backupId"], "--yes", "dev", "--wait"))
    assert not before.differences(deployed.fingerprint())


def test_a_laptops_files_go_up_in_parts_come_back_whole_and_are_deleted(
    lcp: CommandLine, deployed: Deployed, tmp_path: Path
) -> None:
    site = deployed.stack.database
    database = tmp_path / "database.sql.gz"
    where = ("--host", "127.0.0.1", "--port", str(site.port), "--user", site.user)
    dump = ("dump", site.name, *where, "--password-stdin", "--output", database)
    done(lcp(*dump, stdin=site.password))
    library = tmp_path / "document_library"
    library.mkdir()
    content = random.Random(10).randbytes(_LARGE)
    (library / "large").write_bytes(content)
    volume = tmp_path / "volume.tgz"
    done(lcp("pack", library, "--output", volume))
    sent = done(lcp("upload", "--database", database, "--volume", volume, "--json")).json()
    uploaded = sent["backup_id"]
    done(lcp("download", uploaded, "--volume", "--dest", tmp_path))
    with tarfile.open(tmp_path / f"{uploaded}-volume.tgz") as archive:
        member = archive.extractfile("document_library/large")
        assert member is not None
        assert member.read() == content
    done(lcp("delete", uploaded, "--yes", "dev"))
    assert lcp("show", uploaded).code == 5
