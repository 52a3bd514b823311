"""The API behind API Gateway as AWS has it, where that differs from the emulator's."""

import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.api import Answer, Api, curl
from local.stack import PROJECT
from tests.support.deployed import Deployed
from tests.support.gateway import BODY_LIMIT, gateway

type Upload = Callable[[Path], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def url(deployed: Deployed) -> Iterator[str]:
    client = deployed.stack.client("lambda")
    name = deployed.described["functions"]["api"]

    def invoke(event: bytes) -> dict[str, Any]:
        answer = client.invoke(FunctionName=name, Payload=event)
        payload: dict[str, Any] = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, payload
        return payload

    with gateway(invoke) as found:
        yield found


@pytest.fixture(scope="module")
def admin(deployed: Deployed, url: str) -> Api:
    return Api(url, deployed.stack.users["admin"])


@pytest.fixture(scope="module")
def database(deployed: Deployed, admin: Api, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database archive, downloaded through the gateway."""
    made = deployed.stack.invoke("create", {"time": "2026-11-22T01:00:00Z"})["backup_id"]
    file = tmp_path_factory.mktemp("gateway") / "database.tgz"
    answer = admin.call("GET", f"/backup/download/database/{made}", "--location", "--output", file)
    assert answer.status == 200
    return file


def volume(folder: Path, size: int) -> Path:
    """A volume archive of about so many bytes, that no compression makes smaller."""
    library = folder / "document_library"
    library.mkdir()
    (library / "random.bin").write_bytes(random.Random(3).randbytes(size))
    subprocess.run(["tar", "czf", "volume.tgz", "document_library"], cwd=folder, check=True)
    return folder / "volume.tgz"


def by_form(admin: Api, database: Path, volume: Path) -> Answer:
    files = ("--form", f"database=@{database}", "--form", f"volume=@{volume}")
    return admin.call("POST", "/backup/upload", *files)


def by_script(admin: Api, database: Path, volume: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", PROJECT / "docs" / "upload.sh", admin.url, database, volume],
        env={**os.environ, "LCP_USER": f"{admin.user.name}:{admin.user.password}"},
        capture_output=True,
        text=True,
        check=False,
    )


def gone(admin: Api, backup_id: str) -> None:
    """No other test shall restore this as the newest."""
    assert admin.call("DELETE", f"/backup/{backup_id}").status == 204


def test_without_a_credential_the_problem_says_what_to_send_where_no_challenge_arrives(
    url: str,
) -> None:
    answer = curl(f"{url}/backup/list")
    assert answer.status == 401
    assert "www-authenticate" not in answer.headers
    assert answer.headers["x-amzn-remapped-www-authenticate"].startswith("Basic")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["action"]


def test_a_small_form_is_taken_in(admin: Api, database: Path, tmp_path: Path) -> None:
    """Its bytes travel in base64."""
    answer = by_form(admin, database, volume(tmp_path, 100_000))
    assert answer.status == 201, answer.body
    gone(admin, answer.json()["backupId"])


@pytest.mark.parametrize("size", [5_000_000, BODY_LIMIT + 1])
def test_what_the_gateway_refuses_the_script_uploads(
    admin: Api, database: Path, tmp_path: Path, size: int
) -> None:
    large = volume(tmp_path, size)
    answer = by_form(admin, database, large)
    assert answer.status == 413
    done = by_script(admin, database, large)
    assert done.returncode == 0, done.stdout + done.stderr
    run_id = done.stdout.split()[1].rstrip(":")
    gone(admin, admin.call("GET", f"/backup/runs/{run_id}").json()["backup_id"])


def test_the_script_says_what_a_gateway_that_cannot_reach_the_function_says(
    deployed: Deployed, database: Path
) -> None:
    def broken(_event: bytes) -> dict[str, Any]:
        raise RuntimeError

    with gateway(broken) as url:
        done = by_script(Api(url, deployed.stack.users["admin"]), database, database)
    assert done.returncode != 0
    assert "Internal Server Error" in done.stderr


def test_options_reaches_the_function_and_tells_a_stranger_nothing(url: str) -> None:
    asks = ("--header", "Origin: https://elsewhere.example")
    answer = curl("--request", "OPTIONS", f"{url}/backup/list", *asks)
    assert answer.status == 401
    assert "access-control-allow-origin" not in answer.headers
