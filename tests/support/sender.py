"""A user with the stock programs, who sends a site as an upload."""

import hashlib
import subprocess
from datetime import timedelta
from pathlib import Path

import requests

from lcp_backup.model import ArchiveKind
from lcp_backup.requests import UploadRequest
from lcp_backup.service import deadline
from lcp_backup.uploads import Uploads
from tests.support.job_site import JobSite

DATABASE, VOLUME = ArchiveKind.DATABASE, ArchiveKind.VOLUME


class Sender:
    """A user with the stock programs."""

    def __init__(self, site: JobSite, folder: Path) -> None:
        self._site = site
        self._folder = folder
        self.uploads = Uploads(site.catalog)

    def dumped(self) -> bytes:
        """What the original's manual says: `--databases --add-drop-database`."""
        name = "mysqldump" if self._site.server.flavour == "mysql" else "mariadb-dump"
        command = self._site.server.client("--databases", "--add-drop-database", self._site.name)
        command[0] = str(self._site.server.programs / name)
        command.insert(-3, "--routines")
        command.insert(-3, "--triggers")
        command.insert(-3, "--events")
        return subprocess.run(command, capture_output=True, check=True).stdout

    def packed(self, *names: str) -> bytes:
        # Or GNU tar's own form would cut the times to whole seconds.
        command = ["tar", "--format=posix", "-czf", "-", *names]
        within = self._site.folder
        return subprocess.run(command, cwd=within, capture_output=True, check=True).stdout

    def in_tar(self, dump: bytes) -> bytes:
        (self._folder / "lportal.sql").write_bytes(dump)
        command = ["tar", "-czf", "-", "lportal.sql"]
        return subprocess.run(command, cwd=self._folder, capture_output=True, check=True).stdout

    def send(self, database: bytes, volume: bytes) -> str:
        files = {DATABASE: database, VOLUME: volume}
        sha256 = {kind: hashlib.sha256(body).hexdigest() for kind, body in files.items()}
        opened = self.uploads.open({kind: len(body) for kind, body in files.items()}, sha256, "ann")
        for kind, signed in self.uploads.signed(opened, timedelta(minutes=5)).items():
            body = files[kind]
            if signed.url is not None:
                requests.put(signed.url, data=body, timeout=60).raise_for_status()
            for part in signed.parts:
                piece = body[part.offset : part.offset + part.size]
                requests.put(part.url, data=piece, timeout=60).raise_for_status()
        return self.uploads.seal(opened.id).id

    def take_in(self, upload_id: str) -> str:
        request = UploadRequest.read({"upload_id": upload_id})
        return str(self._site.service().upload(request, deadline(900_000))["backup_id"])
