"""The command line beside `aws s3 cp`: the same 1 GB, to the same S3 and back."""

import gzip
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import boto3

from bench.lines import Line, Measured, ratios
from bench.rounds import in_turns, middle
from bench.s3_files import served

DOWNLOAD: Final = Line("lcp-backup download of 1 GB, times as fast as aws s3 cp", at_least=1)
UPLOAD: Final = Line("lcp-backup upload of 1 GB, times as fast as aws s3 cp", at_least=1)
LINES: Final = (DOWNLOAD, UPLOAD)

_SIZE: Final = 1_000_000_000
_BACKUP: Final = "acme-prd-202611230015"
_UPLOAD: Final = "20261123T001500-upload-0a1b2c3d"
_PART: Final = 16 * 1024 * 1024
"""Bytes, as the service asks for."""


def transfers(work: Path, rounds: int) -> list[Measured]:
    """Seconds of whole commands, as a user starts them; both check what they moved.

    The service is a stand-in that only says where the objects are: what follows an upload, the
    taking in, is no part of the way there.
    """
    volume, database = work / "volume.tgz", work / "database.sql.gz"
    _make(volume)
    database.write_bytes(gzip.compress(b"CREATE TABLE `a` (`b` int);\n"))
    (work / "objects").mkdir()
    with served(work / "objects") as s3, _service(s3, volume) as url:
        env = _variables(work, s3, url)
        got = work / "got"

        def run(*command: str | Path) -> None:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env)

        def lcp_backup(*arguments: str | Path) -> None:
            run(sys.executable, "-m", "lcp_backup_cli", *arguments)

        def aws(*arguments: str | Path) -> None:
            run(Path(sys.executable).with_name("aws"), "s3", "cp", "--quiet", *arguments)

        def emptied() -> Path:
            subprocess.run(["rm", "-rf", got], check=True)
            got.mkdir()
            return got

        aws(volume, f"s3://bench/{_BACKUP}")
        downloads, aws_downloads = in_turns(
            rounds,
            lambda: lcp_backup("download", _BACKUP, "--volume", "--dest", emptied()),
            lambda: aws(f"s3://bench/{_BACKUP}", emptied()),
        )
        uploads, aws_uploads = in_turns(
            rounds,
            lambda: lcp_backup("upload", "--database", database, "--volume", volume),
            lambda: aws(volume, "s3://bench/by-aws"),
        )
    told = f"{middle('lcp-backup', downloads)}; {middle('aws s3 cp', aws_downloads)}"
    told_up = f"{middle('lcp-backup', uploads)}; {middle('aws s3 cp', aws_uploads)}"
    return [
        ratios(DOWNLOAD, aws_downloads, downloads, told),
        ratios(UPLOAD, aws_uploads, uploads, told_up),
    ]


def _make(volume: Path) -> None:
    """A volume of bytes that do not compress, as most documents are."""
    chance = random.Random(3)
    with (
        gzip.open(volume, "wb", compresslevel=1) as out,
        tarfile.open(fileobj=out, mode="w") as tar,
    ):
        for number in range(_SIZE // 10_000_000):
            member = tarfile.TarInfo(f"document_library/{number}")
            member.size = 10_000_000
            tar.addfile(member, io.BytesIO(chance.randbytes(member.size)))


def _variables(work: Path, s3: str, service: str) -> dict[str, str]:
    home = work / "home"
    home.mkdir()
    return {
        **os.environ,
        "HOME": str(home),
        "PYTHONPATH": "cli",
        "AWS_ENDPOINT_URL": s3,
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "LCP_BACKUP_URL": service,
        "LCP_BACKUP_USER": "bench",
        "LCP_BACKUP_PASSWORD": "bench",
    }


@contextmanager
def _service(s3: str, volume: Path) -> Iterator[str]:
    """Says where the volume is, and where an upload's parts go."""
    with volume.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    anyone = boto3.Session("bench", "bench", region_name="eu-central-1")
    client = anyone.client("s3", endpoint_url=s3)

    class Handler(_Service):
        store = _Store(client, {"size": volume.stat().st_size, "sha256": digest})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Store:
    """What the stand-in knows of the bucket."""

    def __init__(self, client: Any, volume: Mapping[str, Any]) -> None:
        self._client = client
        self._volume = volume
        self._multipart = ""

    def _signed(self, call: str, key: str, **more: object) -> str:
        where = {"Bucket": "bench", "Key": key, **more}
        return str(self._client.generate_presigned_url(call, Params=where))

    def download(self) -> dict[str, Any]:
        """Where the volume is."""
        url = self._signed("get_object", _BACKUP)
        return {"url": url, "file_name": f"{_BACKUP}-volume.tgz", **self._volume}

    def opened(self, announced: Mapping[str, Any]) -> dict[str, Any]:
        """Where an upload's two files go."""
        begun = self._client.create_multipart_upload(Bucket="bench", Key="uploaded")
        self._multipart = begun["UploadId"]
        size = announced["volume"]["size"]
        parts = [
            {
                "number": number,
                "offset": offset,
                "size": min(_PART, size - offset),
                "arrived": False,
                "url": self._signed(
                    "upload_part", "uploaded", UploadId=self._multipart, PartNumber=number
                ),
            }
            for number, offset in enumerate(range(0, size, _PART), 1)
        ]
        database = {"size": announced["database"]["size"], "parts": []}
        return {
            "upload_id": _UPLOAD,
            "database": {**database, "arrived": False, "url": self._signed("put_object", "sql")},
            "volume": {"size": size, "arrived": False, "url": None, "parts": parts},
        }

    def complete(self) -> None:
        """Makes an object of the parts."""
        self._client.complete_multipart_upload(
            Bucket="bench", Key="uploaded", UploadId=self._multipart, MultipartUpload={"Parts": []}
        )


class _Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: _Store

    def log_message(self, *_: object) -> None:
        """Says nothing: the figures are what counts."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        path = self.path.partition("?")[0]
        answer: dict[str, Any] = _RUN
        if path.startswith("/backup/download/"):
            answer = self.store.download()
        elif path == "/backup/upload":
            answer = self.store.opened(json.loads(body))
        elif path.endswith("/complete"):
            self.store.complete()
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _handle


_RUN: Final[dict[str, Any]] = {
    "id": _UPLOAD,
    "run_id": _UPLOAD,
    "kind": "upload",
    "state": "succeeded",
    "backup_id": _BACKUP,
    "started_at": "2026-11-23T00:15:02Z",
    "updated_at": "2026-11-23T00:15:02Z",
    "finished_at": "2026-11-23T00:15:02Z",
    "step": "",
    "progress": {},
    "result": {},
    "warnings": [],
    "error": None,
}
"""What became of an upload."""
