"""The seed's own curl commands against the deployed stack, by the shell, with real files."""

import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Deployed

# As the seed has them, with a backslash at the end of each line that goes on.
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
    """A folder with both archives, as the seed's commands download them."""
    folder = tmp_path_factory.mktemp("my-folder")
    run(DOWNLOAD_DATABASE, deployed, folder, **{":id": backup_id})
    run(DOWNLOAD_VOLUME, deployed, folder, **{":id": backup_id})
    return folder


def members(archive: Path) -> set[str]:
    listed = subprocess.run(["tar", "tzf", archive], check=True, capture_output=True, text=True)
    return {line.rstrip("/") for line in listed.stdout.splitlines()}


def test_what_the_seeds_commands_download_opens_with_tar(
    deployed: Deployed, downloaded: Path
) -> None:
    assert members(downloaded / "database.tgz") == {"lportal.sql"}
    assert "document_library/20097/20123/empty-folder" in members(downloaded / "volume.tgz")
    for archive in ("database.tgz", "volume.tgz"):
        subprocess.run(["gzip", "--test", downloaded / archive], check=True)
