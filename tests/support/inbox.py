"""Uploads that are sent and taken in."""

import gzip
from datetime import timedelta

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.jobs.active_run import RunTiming
from lcp_backup.jobs.intake_task import StartTask
from lcp_backup.jobs.take_in import UploadResult, take_in
from lcp_backup.model import ArchiveKind, Run
from lcp_backup.requests import UploadRequest
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry
from lcp_backup.uploads import Uploads
from tests.support.taken_database import SQL
from tests.support.tars import Tar

DATABASE, VOLUME = ArchiveKind.DATABASE, ArchiveKind.VOLUME
DUMP = gzip.compress(SQL)
LIBRARY = gzip.compress(Tar().add("document_library/a", b"text").raw())
IDLE = RunTiming(heartbeat=timedelta(hours=1))


class Inbox:
    """Sends uploads and has them taken in."""

    def __init__(self, catalog: Catalog, store: ObjectStore, telemetry: Telemetry) -> None:
        self.catalog = catalog
        self.uploads = Uploads(catalog)
        self._store = store
        self._telemetry = telemetry

    def sent(
        self,
        database: bytes = DUMP,
        volume: bytes = LIBRARY,
        sha256: dict[ArchiveKind, str] | None = None,
    ) -> str:
        """The id of a sealed upload of these files."""
        files = {DATABASE: database, VOLUME: volume}
        sizes = {kind: len(body) for kind, body in files.items()}
        upload = self.uploads.open(sizes, sha256 or {}, "ann")
        for kind, body in files.items():
            self.uploads.put(upload.id, kind, body)
        return self.uploads.seal(upload.id).id

    def take_in(
        self, upload_id: str, timing: RunTiming = IDLE, start_task: StartTask | None = None
    ) -> UploadResult:
        return take_in(
            UploadRequest.read({"upload_id": upload_id}),
            settings=Settings.from_env({"LCP_PROJECT_ID": "acme", "LCP_ENVIRONMENT_ID": "prd"}),
            catalog=self.catalog,
            telemetry=self._telemetry,
            timing=timing,
            start_task=start_task,
        )

    def run(self, upload_id: str) -> Run:
        return self.catalog.runs.get(upload_id)

    def keys(self, folder: str) -> list[str]:
        return [entry.key for entry in self._store.entries(f"acme/prd/{folder}/")]
