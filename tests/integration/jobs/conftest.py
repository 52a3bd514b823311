"""A whole site under the real service: real database, real folder, a real S3 API over HTTP."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from lcp_backup.aws import clients
from local import emulator
from tests.support.job_site import JobSite
from tests.support.servers import FLAVOURS, DatabaseServer, running_server


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An S3 API that outlives a killed process."""
    state = tmp_path_factory.mktemp("s3")
    try:
        yield emulator.start(state)
    finally:
        emulator.stop(state)


@pytest.fixture
def job_site(
    server: DatabaseServer, s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[JobSite]:
    """The site on each database server in turn."""
    yield from _job_site(server, s3_endpoint, tmp_path, monkeypatch)


@pytest.fixture
def mariadb_site(
    mariadb: DatabaseServer, s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[JobSite]:
    """The site on MariaDB, for what has nothing to do with the kind of server."""
    yield from _job_site(mariadb, s3_endpoint, tmp_path, monkeypatch)


@pytest.fixture(scope="module", params=FLAVOURS)
def folding(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DatabaseServer]:
    """A server to which names of tables that differ only in case are one."""
    folder = tmp_path_factory.mktemp("folding")
    with running_server(request.param, folder, "--lower-case-table-names=1") as server:
        yield server


@pytest.fixture
def folding_site(
    folding: DatabaseServer, s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[JobSite]:
    """The site on such a server."""
    yield from _job_site(folding, s3_endpoint, tmp_path, monkeypatch)


def _job_site(
    server: DatabaseServer, s3_endpoint: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[JobSite]:
    made = JobSite(server, folder / "liferay" / "data", s3_endpoint)
    for name, value in made.aws_env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", made.path)
    boto3.client("s3").create_bucket(
        Bucket=made.env["LCP_BACKUP_BUCKET"],
        CreateBucketConfiguration={"LocationConstraint": emulator.REGION},
    )
    made.fill()
    yield made
    made.drop()
    # Else all that all sites have stored lies there till the end, often in memory.
    boto3.resource("s3").Bucket(made.env["LCP_BACKUP_BUCKET"]).objects.all().delete()


@pytest.fixture
def s3_faults(monkeypatch: pytest.MonkeyPatch) -> list[Callable[..., Any]]:
    """Functions that see every request for a part, and may answer in S3's place."""
    faults: list[Callable[..., Any]] = []
    real = clients.s3

    def with_faults() -> Any:
        client = real()
        for fault in faults:
            client.meta.events.register("before-send.s3.UploadPart", fault)
        return client

    monkeypatch.setattr(clients, "s3", with_faults)
    return faults
