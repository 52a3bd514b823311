"""`sam local invoke` and `sam local start-api`: the built functions in containers, as on Lambda.

They need a container engine: DOCKER_HOST, or Docker's own socket. Without one they are left out
(tests/conftest.py). The containers reach the emulator and the database of this machine by the
address of their bridge.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.uploads import Uploads
from local import emulator
from local.api import Api, curl
from local.processes import free_port
from local.stack import PROJECT
from tests.support.deployed import Deployed

SAMPLE_ID = json.loads((PROJECT / "events" / "restore-by-id.json").read_text())["backup_id"]
CONTAINERS_TMP = "/tmp"  # noqa: S108 -- the container's own, where a function may write
SOCKET = Path("/var/run/docker.sock")
IP_FREEBIND = 15
"""Linux: an address may be bound before the bridge that has it is there (`ip(7)`)."""


def bridge_address() -> str:
    """How a container of the engine's default network calls this machine."""
    host = os.environ.get("DOCKER_HOST", f"unix://{SOCKET}")
    answer = curl(
        *("--unix-socket", urlsplit(host).path, "http://engine/networks"),
    )
    networks = {network["Name"]: network for network in json.loads(answer.body)}
    network = networks.get("bridge") or networks["podman"]
    return str(network["IPAM"]["Config"][0]["Gateway"])


@contextmanager
def forwarded(address: str, port: int) -> Iterator[int]:
    """A port at `address` that leads to `port` of the loopback address."""
    with closing(socket.socket()) as listener:
        listener.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
        listener.bind((address, 0))
        listener.listen()

        def pump(source: socket.socket, sink: socket.socket) -> None:
            with closing(sink):
                while data := source.recv(1 << 16):
                    sink.sendall(data)

        def serve() -> None:
            while True:
                try:
                    near, _ = listener.accept()
                except OSError:
                    return
                far = socket.create_connection(("127.0.0.1", port))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=quietly, args=(pump, *pair), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def quietly(work: Callable[..., None], *arguments: Any) -> None:
    try:
        work(*arguments)
    except OSError:
        return  # the other side hung up


class SamLocal:
    """SAM's local runner for the functions that the deployed stack was built of."""

    def __init__(self, deployed: Deployed, address: str, ports: dict[str, int], work: Path) -> None:
        described = deployed.described
        self._work = work
        self._emulator_url = deployed.described["endpoint_url"]
        self._template = deployed.stack.state / "build" / "template.yaml"
        self.endpoint_url = f"http://{address}:{ports['emulator']}"
        self.address = address
        self.variables = {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "LCP_PROJECT_ID": "acme",
            "LCP_BACKUP_BUCKET": described["bucket"],
            "LCP_BACKUP_PREFIX": described["prefix"],
            "LCP_BACKUP_CREATE_SCHEDULE": "15 0 * * *",
            "LCP_SCHEDULES_SINCE": "2026-01-01T00:00:00Z",
            "LCP_DATABASE_SERVICE": f"{address}:{ports['database']}",
            "LCP_MASTER_USER_NAME": deployed.stack.database.user,
            "LCP_MASTER_USER_PASSWORD": deployed.stack.database.password,
            "LCP_PROJECT_MASTER_TOKEN": deployed.stack.token,
            "LCP_USER_POOL_ID": described["user_pool_id"],
            "LCP_USER_POOL_CLIENT_ID": described["user_pool_client_id"],
            # The one folder with content that a container of SAM's has: the function itself.
            "LCP_BACKUP_FOLDER": "/var/task",
            # It holds far less than the deployed site, whose backups lie under the same prefix.
            "LCP_BACKUP_VOLUME_SHRINK_LIMIT": "100",
        }

    def command(self, what: str, *arguments: str | Path, **variables: str) -> list[str | Path]:
        """A `sam local` command with these variables for the functions."""
        env = self._work / "env.json"
        env.touch(0o600)
        env.write_text(json.dumps({"Parameters": {**self.variables, **variables}}))
        return [
            *(Path(sys.executable).parent / "sam", "local", what, *arguments),
            *("--template", self._template, "--env-vars", env, "--skip-pull-image"),
        ]

    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "SAM_CLI_TELEMETRY": "0",
            # SAM itself asks STS for the account, and waits five seconds where there is no AWS.
            "AWS_ENDPOINT_URL": self._emulator_url,
            "AWS_DEFAULT_REGION": emulator.REGION,
            "AWS_ACCESS_KEY_ID": emulator.CREDENTIALS["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": emulator.CREDENTIALS["secret_access_key"],
        }

    def invoke(self, function: str, event: Path | dict[str, Any], **variables: str) -> Any:
        """What the function answers to an event, or to one of the project's sample events."""
        if isinstance(event, dict):
            file = self._work / "event.json"
            file.write_text(json.dumps(event))
            event = file
        done = subprocess.run(
            self.command("invoke", f"{function}Function", "--event", event, **variables),
            env=self.environment(),
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout or "null")
        assert not (isinstance(answer, dict) and "errorMessage" in answer), answer
        return answer

    @contextmanager
    def started(self, what: str, **variables: str) -> Iterator[str]:
        """A `sam local` server, `start-api` or `start-lambda`; gives its URL."""
        port = free_port()
        arguments = ("--port", str(port), "--warm-containers", "LAZY")
        with subprocess.Popen(
            self.command(what, *arguments, **variables),
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as running:
            try:
                for _ in range(120):
                    with closing(socket.socket()) as probe:
                        if probe.connect_ex(("127.0.0.1", port)) == 0:
                            break
                    time.sleep(0.5)
                yield f"http://127.0.0.1:{port}"
            finally:
                running.terminate()


@pytest.fixture(scope="module")
def sam(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SamLocal]:
    address = bridge_address()
    port = urlsplit(deployed.stack.endpoint_url).port
    assert port is not None
    with ExitStack() as stack:
        ports = {
            "emulator": stack.enter_context(forwarded(address, port)),
            "database": stack.enter_context(forwarded(address, deployed.stack.database.port)),
        }
        yield SamLocal(deployed, address, ports, tmp_path_factory.mktemp("sam-local"))


def sample(name: str) -> Path:
    return PROJECT / "events" / f"{name}.json"


def test_create_and_restore_in_a_container_bring_a_destroyed_database_back(
    sam: SamLocal, deployed: Deployed, tmp_path: Path
) -> None:
    before = deployed.fingerprint()
    # The dump program comes from the client layer: the container has none.
    made = sam.invoke("Create", sample("create-scheduled"))
    assert (made["backup_id"], made["created"]) == ("acme-dev-202611230015", True)
    (manifest,) = (m for m in deployed.manifests() if m["id"] == made["backup_id"])
    assert manifest["type"] == "Auto"
    assert manifest["volume_facts"]["files"] > 0
    with deployed.stack.database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("DROP DATABASE lportal")
    event = tmp_path / "restore.json"
    event.write_text(sample("restore-by-id").read_text().replace(SAMPLE_ID, made["backup_id"]))
    # The rows go to this machine's server; the folder is one in the container.
    answer = sam.invoke("Restore", event, LCP_BACKUP_FOLDER=f"{CONTAINERS_TMP}/site/data")
    assert (answer["backup_id"], answer["restored"]) == (made["backup_id"], True)
    assert before.differences(deployed.fingerprint()) == []


def test_restores_in_a_warm_container_can_be_paused_and_take_the_latest(
    sam: SamLocal, deployed: Deployed
) -> None:
    def restore(name: str, **more: str) -> Any:
        event = json.loads(sample(f"restore-{name}").read_text()) | more
        answer = client.invoke(FunctionName="RestoreFunction", Payload=json.dumps(event))
        told = json.loads(answer["Payload"].read())
        assert "errorMessage" not in told, told
        return told

    folder = f"{CONTAINERS_TMP}/site/data"
    with sam.started("start-lambda", LCP_BACKUP_FOLDER=folder) as url:
        client = boto3.client(
            "lambda",
            endpoint_url=url,
            region_name=emulator.REGION,
            aws_access_key_id=emulator.CREDENTIALS["access_key_id"],
            aws_secret_access_key=emulator.CREDENTIALS["secret_access_key"],
        )
        assert restore("pause") == {"restores_paused": True}
        assert restore("scheduled")["restored"] is False
        assert restore("resume") == {"restores_paused": False}
        elsewhere = {"into_database": "drill", "into_folder": f"{CONTAINERS_TMP}/site/drill"}
        latest = restore("latest", **elsewhere)
    assert latest["backup_id"] == max(m["id"] for m in deployed.manifests())
    with deployed.stack.database.connect() as connection, connection.cursor() as cursor:
        assert cursor.execute("SELECT 1 FROM drill.User_") > 0
        cursor.execute("DROP DATABASE drill")


def test_cleanups_dry_run_in_a_container_tells_what_would_go(
    sam: SamLocal, deployed: Deployed
) -> None:
    old = deployed.stack.invoke("create", {"time": "2019-01-01T00:00:00Z"})["backup_id"]
    would = sam.invoke("Cleanup", sample("cleanup-dry-run"))
    assert old in would["expired"]
    assert old in {m["id"] for m in deployed.manifests()}


def test_watch_in_a_container_sees_what_is_kept(sam: SamLocal, deployed: Deployed) -> None:
    seen = sam.invoke("Watch", sample("watch-scheduled"))
    assert seen["retained_backups"] == len(deployed.manifests())


def test_an_upload_is_taken_in_by_a_container(
    sam: SamLocal, deployed: Deployed, tmp_path: Path
) -> None:
    (manifest, *_) = deployed.manifests()
    sizes = {kind: {"size": manifest[kind]["size"]} for kind in ("database", "volume")}
    opened = deployed.admin.post("/backup/upload", sizes).json()
    for kind in sizes:
        file = tmp_path / kind
        key = f"{deployed.described['prefix']}/backups/{manifest['id']}/{kind}.tgz"
        deployed.s3.download_file(deployed.described["bucket"], key, str(file))
        assert curl("--upload-file", file, opened[kind]["url"]).status == 200
    # What `.../complete` does before it starts the function, which is started here.
    store = ObjectStore(deployed.s3, deployed.described["bucket"])
    Uploads(Catalog(store, deployed.described["prefix"])).seal(opened["upload_id"])
    event = json.loads(sample("upload").read_text()) | {"upload_id": opened["upload_id"]}
    answer = sam.invoke("Upload", event)
    assert "backup_id" in answer, answer
    taken_in = next(m for m in deployed.manifests() if m["id"] == answer["backup_id"])
    assert taken_in["type"] == "Uploaded"


def test_the_custom_resource_in_a_container_makes_changes_and_removes_rules(
    sam: SamLocal, deployed: Deployed
) -> None:
    told: list[dict[str, Any]] = []

    class Inbox(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- its name there
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Inbox) as server, ExitStack() as stack:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        port = stack.enter_context(forwarded(sam.address, server.server_port))
        rules = []
        for name in ("schedules-create", "schedules-update", "schedules-delete"):
            event = json.loads(sample(name).read_text())
            event["ResponseURL"] = f"http://{sam.address}:{port}/answer"
            event["ResourceProperties"]["RuleNamePrefix"] = "in-a-container"
            sam.invoke("Schedules", event)
            rules.append(deployed.rules("in-a-container"))
    assert [answer["Status"] for answer in told] == ["SUCCESS"] * 3
    created, updated, deleted = rules
    kinds = [{name.split("-")[-2] for name in found} for found in (created, updated)]
    # What restores on a schedule makes and verifies no backups.
    assert kinds == [{"create", "cleanup", "verify"}, {"restore", "cleanup"}]
    assert deleted == {}


def test_the_api_in_a_container_answers_over_http(sam: SamLocal, deployed: Deployed) -> None:
    # The sample's user is nobody here.
    assert sam.invoke("Api", sample("api-list"))["statusCode"] == 401
    with sam.started("start-api") as url:
        api = Api(url, deployed.stack.users["viewer"])
        health = curl(f"{api.url}/backup/health")
        assert (health.status, health.json()["status"]) == (200, "ok")
        listed = api.call("GET", "/backup/list?limit=1")
        assert listed.status == 200
        assert len(listed.json()["backups"]) == 1
        assert curl(f"{api.url}/backup/list").status == 401
