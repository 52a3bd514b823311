"""The original service's own curl commands against the deployed stack, with real files."""

import json
import subprocess
from pathlib import Path

import pytest

from local.api import curl
from tests.support.deployed import NEVER, Deployed

# As the original has them, with a backslash at the end of each line that goes on.
DOWNLOAD_DATABASE = r"""
curl -X POST \
  https://<HOST-NAME>/backup/download/database/:id \
  -H 'Content-Type: application/json' \
  -u user@domain.com:password \
  --output database.tgz
"""
DOWNLOAD_VOLUME = r"""
curl -X POST \
  https://<HOST-NAME>/backup/download/volume/:id \
  -H 'Content-Type: application/json' \
  -u user@domain.com:password \
   --output volume.tgz
"""
UPLOAD_BY_TOKEN = r"""
curl -X POST \
  http://<HOST-NAME>/backup/upload \
  -H 'Content-Type: multipart/form-data' \
  -H 'dxpcloud-authorization: Bearer <USER_TOKEN>' \
  -F 'database=@/my-folder/database.tgz' \
  -F 'volume=@/my-folder/volume.tgz'
"""
UPLOAD = r"""
curl -X POST \
  http://<HOST-NAME>/backup/upload \
  -H 'Content-Type: multipart/form-data' \
  -F 'database=@/my-folder/database.tgz' \
  -F 'volume=@/my-folder/volume.tgz' \
  -u user@domain.com:password
"""


def run(command: str, deployed: Deployed, folder: Path, **values: str) -> str:
    """Has the shell run a command in `folder`; answers what it printed."""
    admin = deployed.stack.users["admin"]
    for placeholder, value in {
        "https://<HOST-NAME>": deployed.admin.url,
        "http://<HOST-NAME>": deployed.admin.url,
        "user@domain.com:password": f"{admin.name}:{admin.password}",
        "/my-folder": str(folder),
        **values,
    }.items():
        command = command.replace(placeholder, value)
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def backup_id(deployed: Deployed) -> str:
    answer = deployed.stack.invoke("create", {"time": "2026-11-21T00:00:00Z"})
    return str(answer["backup_id"])


@pytest.fixture(scope="module")
def downloaded(
    deployed: Deployed, backup_id: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with both archives, as the original's commands download them."""
    folder = tmp_path_factory.mktemp("my-folder")
    run(DOWNLOAD_DATABASE, deployed, folder, **{":id": backup_id})
    run(DOWNLOAD_VOLUME, deployed, folder, **{":id": backup_id})
    return folder


def members(archive: Path) -> set[str]:
    listed = subprocess.run(["tar", "tzf", archive], check=True, capture_output=True, text=True)
    return {line.rstrip("/") for line in listed.stdout.splitlines()}


def test_what_the_originals_commands_download_opens_with_tar(downloaded: Path) -> None:
    assert members(downloaded / "database.tgz") == {"lportal.sql"}
    assert "document_library/20097/20123/empty-folder" in members(downloaded / "volume.tgz")
    for archive in ("database.tgz", "volume.tgz"):
        subprocess.run(["gzip", "--test", downloaded / archive], check=True)


@pytest.mark.parametrize("header", ["Authorization", "dxpcloud-authorization"])
def test_the_original_download_by_get_and_by_token_brings_the_same_bytes(
    deployed: Deployed, backup_id: str, downloaded: Path, tmp_path: Path, header: str
) -> None:
    token = deployed.tokens(deployed.stack.users["viewer"])["AccessToken"]
    for kind in ("database", "volume"):
        file = tmp_path / f"{kind}.tgz"
        answer = curl(
            f"{deployed.viewer.url}/backup/download/{kind}/{backup_id}",
            *("--header", f"{header}: Bearer {token}", "--output", file),
        )
        assert answer.status == 200
        name = f'attachment; filename="{backup_id}-{kind}.tgz"'
        assert answer.headers["content-disposition"] == name
        assert answer.headers["content-type"] == "application/gzip"
        assert file.read_bytes() == (downloaded / f"{kind}.tgz").read_bytes()


def upload(command: str, deployed: Deployed, folder: Path) -> str:
    """Uploads what is in the folder, and answers the backup's id once all is as it has to be."""
    token = deployed.tokens(deployed.stack.users["admin"])["AccessToken"]
    answer = json.loads(run(command, deployed, folder, **{"<USER_TOKEN>": token}))
    uploaded: str = answer["backupId"]
    (listed,) = (
        backup
        for backup in deployed.viewer.call("GET", "/backup/list").json()["backups"]
        if backup["backupId"] == uploaded
    )
    assert (listed["type"], listed["status"], listed["warnings"]) == ("Uploaded", "succeeded", 0)
    sent = [key for key in deployed.keys("uploads/") if answer["run_id"] in key]
    assert sent == [], "what was sent is gone once it is a backup"
    return uploaded


def test_what_was_downloaded_is_uploaded_by_token(deployed: Deployed, downloaded: Path) -> None:
    upload(UPLOAD_BY_TOKEN, deployed, downloaded)


def test_what_was_downloaded_is_uploaded_and_brings_a_destroyed_site_back(
    deployed: Deployed, downloaded: Path
) -> None:
    before = deployed.fingerprint()
    uploaded = upload(UPLOAD, deployed, downloaded)
    deployed.destroy()
    assert before.differences(deployed.fingerprint()) != []
    started = deployed.admin.post(f"/backup/restore/{uploaded}")
    assert started.status == 202
    ended = deployed.admin.wait_for(started.json()["run_id"])
    assert (ended["state"], ended["error"]) == ("succeeded", None)
    # Whoever uploads a dump does not set its events going.
    assert ended["result"]["events_disabled"] == ["ForgetAudit"]
    assert set(before.differences(deployed.fingerprint())) <= {"event ForgetAudit"}


def test_the_bearer_of_the_master_token_creates_a_backup_and_sees_its_run(
    deployed: Deployed,
) -> None:
    url = f"{deployed.admin.url}/backup/create"
    token = f"Bearer {deployed.stack.token}"
    # By the other header goes a user's token only.
    # From an address of its own: other tests send many wrong tokens, which is answered 429.
    post = ("--interface", "127.0.1.7", "--request", "POST", url)
    other = curl(*post, "--header", f"dxpcloud-authorization: {token}")
    assert other.status == 401
    started = curl(*post, "--header", f"Authorization: {token}")
    assert started.status == 202
    ended = deployed.viewer.wait_for(started.json()["run_id"])
    assert (ended["kind"], ended["state"]) == ("create", "succeeded")
    shown = deployed.viewer.call("GET", f"/backup/{ended['backup_id']}")
    assert shown.json()["type"] == "Manual"


def test_schedules_say_when_each_fires_next(deployed: Deployed) -> None:
    schedules = deployed.viewer.call("GET", "/backup/schedules").json()
    assert schedules["create"]["cron"] == NEVER
    assert schedules["cleanup"]["cron"] == "0 1 * * *"
    assert len(schedules["cleanup"]["next"]) == 10


def test_health_needs_no_credential(deployed: Deployed) -> None:
    answer = curl(f"{deployed.admin.url}/backup/health")
    assert (answer.status, answer.json()["status"]) == (200, "ok")
