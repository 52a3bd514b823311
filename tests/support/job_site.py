"""A whole site under the real service: real database, real folder, a real S3 API over HTTP."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pymysql

from lcp_backup.aws import clients
from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.composition import Environment
from lcp_backup.model import Manifest
from lcp_backup.requests import (
    CleanupRequest,
    CreateRequest,
    ReportRequest,
    RestoreRequest,
    VerifyRequest,
)
from lcp_backup.service import Service, deadline
from lcp_backup.settings import Settings
from lcp_backup.verification import Report, Verification
from local import emulator, site
from tests.support.servers import DatabaseServer

SLOT = "2026-11-20T00:15:00Z"


BACKUP_ID = "acme-prd-202611200015"


_NUMBERS = itertools.count(1)


_QUARTER_HOUR = 15 * 60 * 1000  # milliseconds


_HANDLER = """
import importlib, importlib.util, json, sys, time
if stuck_in := sys.argv[3]:
    module, _, path = stuck_in.partition(":")
    owner, _, method = path.partition(".")
    owner = getattr(importlib.import_module(module), owner)
    setattr(owner, method, lambda *_, **__: time.sleep(600))
spec = importlib.util.spec_from_file_location("app", sys.argv[1])
app = importlib.util.module_from_spec(spec)
spec.loader.exec_module(app)
class Context:
    def get_remaining_time_in_millis(self): return 900000
print(json.dumps(app.handler(json.loads(sys.argv[2]), Context())))
"""


class JobSite:
    """One site with its bucket; jobs run as the functions run them."""

    def __init__(self, server: DatabaseServer, folder: Path, endpoint_url: str) -> None:
        number = next(_NUMBERS)
        self.server = server
        self.name = f"site{number}"
        self.folder = folder
        self.env = {
            "LCP_PROJECT_ID": "acme",
            "LCP_ENVIRONMENT_ID": "prd",
            "LCP_BACKUP_BUCKET": f"bucket-{number}",
            "LCP_BACKUP_FOLDER": str(folder),
            "LCP_DATABASE_SERVICE": f"127.0.0.1:{server.port}",
            "LCP_DBNAME": self.name,
            "LCP_MASTER_USER_NAME": "root",
            # PyMySQL and the dump programs both take an empty password, settings do not.
            "LCP_MASTER_USER_PASSWORD": "site",
        }
        self.aws_env = {
            "AWS_ENDPOINT_URL": endpoint_url,
            "AWS_DEFAULT_REGION": emulator.REGION,
            "AWS_ACCESS_KEY_ID": emulator.CREDENTIALS["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": emulator.CREDENTIALS["secret_access_key"],
        }
        self.path = f"{server.programs}:{os.environ['PATH']}"

    @property
    def catalog(self) -> Catalog:
        return Catalog(self.store, "acme/prd")

    @property
    def store(self) -> ObjectStore:
        return ObjectStore(clients.s3(), self.env["LCP_BACKUP_BUCKET"])

    def connect(self) -> "pymysql.Connection[Any]":
        return pymysql.connect(
            host="127.0.0.1", port=self.server.port, user="root", charset="utf8mb4", autocommit=True
        )

    def fill(self) -> None:
        """The sample database, and a folder of more than two S3 parts."""
        with self.connect() as connection:
            site.fill_database(connection, self.name)
            with connection.cursor() as cursor:
                cursor.execute("CREATE USER IF NOT EXISTS 'lcp'@'%' IDENTIFIED BY 'site'")
                cursor.execute("GRANT ALL PRIVILEGES ON *.* TO 'lcp'@'%' WITH GRANT OPTION")
        self.env["LCP_MASTER_USER_NAME"] = "lcp"
        library = self.folder / "document_library"
        library.mkdir(parents=True)
        (library / "large.bin").write_bytes(random.Random(1).randbytes(24 << 20))
        (library / "Übersicht.txt").write_text("small")
        (library / "empty").mkdir()

    def drop(self) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{self.name}`")

    def service(self) -> Service:
        return Service(Environment.of(Settings.from_env(self.env)))

    def create(self, time: str = SLOT) -> dict[str, Any]:
        return self.service().create(CreateRequest.read({"time": time}), deadline(_QUARTER_HOUR))

    def restore(self, backup_id: str = BACKUP_ID, **more: object) -> dict[str, Any]:
        request = RestoreRequest.read({"backup_id": backup_id, **more})
        return self.service().restore(request, deadline(_QUARTER_HOUR))

    def verify(self, backup_id: str = BACKUP_ID, **more: object) -> dict[str, Any]:
        request = VerifyRequest.read({"backup_id": backup_id, **more})
        return self.service().verify(request, deadline(_QUARTER_HOUR))

    def report(self, backup_id: str = BACKUP_ID) -> dict[str, Any]:
        request = ReportRequest.find({"backup_id": backup_id, "report": True})
        assert request is not None
        return self.service().report(request, deadline(_QUARTER_HOUR))

    def reported(self) -> tuple[Report, list[dict[str, Any]]]:
        """The report that lies beside the manifest, and the differences that it lists."""
        body = self.store.get(f"acme/prd/backups/{BACKUP_ID}/report.jsonl").body
        first, *lines = body.splitlines()
        return Report.read(first), [json.loads(line) for line in lines]

    def verification(self) -> Verification | None:
        """What was found out about the backup."""
        return self.catalog.verifications.find(self.manifest())

    def cleanup(self) -> dict[str, Any]:
        return self.service().cleanup(CleanupRequest.read({}), deadline(_QUARTER_HOUR))

    def start(
        self, function: str, event: dict[str, Any], *, stuck_in: str
    ) -> "subprocess.Popen[str]":
        """Runs the real handler in a process of its own, so that it can be killed.

        It gets as far as the method `stuck_in` (`module:Class.method`), and no further.
        """
        handler = Path("functions", function, "app.py").resolve()
        return subprocess.Popen(
            [sys.executable, "-c", _HANDLER, str(handler), json.dumps(event), stuck_in],
            env={
                **self.env,
                **self.aws_env,
                "PATH": self.path,
                "PYTHONPATH": str(Path("shared").resolve()),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wrap_dump(self, folder: Path, script: str) -> None:
        """Puts a shell script in the dump program's place; `$REAL` is the real one."""
        folder.mkdir()
        for name in ("mysqldump", "mariadb-dump"):
            real = self.server.programs / name
            if not real.exists():
                continue
            program = folder / name
            program.write_text(
                f"#!/bin/bash\nREAL={real}\n"
                'case "$*" in *--version*) exec "$REAL" "$@" ;; esac\n'
                f"{script}\n"
            )
            program.chmod(0o755)
        self.path = f"{folder}:{self.path}"
        os.environ["PATH"] = self.path

    def fingerprint(self) -> site.Fingerprint:
        with self.connect() as connection:
            return site.fingerprint(connection, self.name, self.folder)

    def schemas(self) -> set[str]:
        """The schemas of this site: its own, and what a restore may have left beside it."""
        rows = self.server.execute("SELECT schema_name FROM information_schema.schemata")
        return {str(row[0]) for row in rows if str(row[0]).startswith(self.name)}

    def expire_lease(self) -> None:
        """What two minutes do to the lease of a dead run."""
        key = "acme/prd/lease.json"
        stored = self.store.get(key)
        lease = json.loads(stored.body)
        lease["expires_at"] = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
        self.store.put_over(key, json.dumps(lease).encode(), stored.etag)

    def assert_nothing_published(self) -> None:
        """No backup, no open multipart, nothing below the backups' folder."""
        assert list(self.catalog.backups.all()) == []
        assert list(self.catalog.backups.open_multiparts()) == []
        assert list(self.store.entries("acme/prd/backups/")) == []

    def manifest(self) -> Manifest:
        return self.catalog.backups.get(BACKUP_ID)


INDEX_END = "lcp_backup.archive.index:IndexWriter.end"


def kill_when(condition: Callable[[], bool], process: Any) -> None:
    while not condition():
        assert process.poll() is None, f"it ended before it was killed: {process.communicate()}"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
