"""`python -m bench.s3_files <folder>`: as much of S3 as one run needs, on files; prints its port.

The emulator joins parts and answers ranges in time that grows with the square of an object's size,
which is fine for tests and useless for gigabytes. One bucket, no security, nothing but a stand-in.
"""

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4
from xml.sax.saxutils import escape

_PIECE: Final = 1 << 20


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path

    def log_message(self, *_: object) -> None:
        """Says nothing: the figures are what counts."""

    def _asked(self) -> tuple[Path, str, dict[str, list[str]]]:
        split = urlsplit(self.path)
        key = unquote(split.path).strip("/").partition("/")[2]
        name = hashlib.sha256(key.encode()).hexdigest()
        return self.root / name, key, parse_qs(split.query, keep_blank_values=True)

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _fail(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code></Error>".encode())

    def _receive(self, path: Path) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        left = int(self.headers.get("Content-Length", "0"))
        with path.open("wb") as out:
            while left:
                piece = self.rfile.read(min(left, _PIECE))
                left -= len(piece)
                digest.update(piece)
                out.write(piece)
        return f'"{digest.hexdigest()}"'

    def do_PUT(self) -> None:
        path, key, query = self._asked()
        if "uploadId" in query:
            part = self.root / f"{query['uploadId'][0]}.{int(query['partNumber'][0]):05}"
            self._answer(200, ETag=self._receive(part))
            return
        new = self.root / uuid4().hex
        etag = self._receive(new)
        tag = path.with_suffix(".etag")
        known = tag.read_text() if path.exists() else None
        if key and (
            (self.headers.get("If-None-Match") and known)
            or self.headers.get("If-Match", known) != known
        ):
            new.unlink()
            self._fail(412, "PreconditionFailed")
            return
        self._keep(new, path, key, etag)
        self._answer(200, ETag=etag)

    def _keep(self, new: Path, path: Path, key: str, etag: str) -> None:
        new.rename(path)
        path.with_suffix(".etag").write_text(etag)
        path.with_suffix(".key").write_text(key)

    def do_POST(self) -> None:
        path, key, query = self._asked()
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        if "uploads" in query:
            answer = f"<R><UploadId>{uuid4().hex}</UploadId></R>"
            self._answer(200, answer.encode())
        elif "uploadId" in query:
            parts = sorted(self.root.glob(f"{query['uploadId'][0]}.*"))
            with parts[0].open("ab") as whole:
                for part in parts[1:]:
                    with part.open("rb") as more:
                        while piece := more.read(_PIECE):
                            whole.write(piece)
                    part.unlink()
            self._keep(parts[0], path, key, '"whole"')
            self._answer(200, b'<R><ETag>"whole"</ETag></R>')
        else:
            for found in re.findall("<Key>(.*?)</Key>", body):
                gone = self.root / hashlib.sha256(found.encode()).hexdigest()
                gone.unlink(missing_ok=True)
            self._answer(200, b"<DeleteResult/>")

    def do_GET(self) -> None:
        path, key, query = self._asked()
        if not key:
            self._answer(200, self._listing(query).encode())
            return
        if not path.exists():
            self._fail(404, "NoSuchKey")
            return
        size = path.stat().st_size
        span = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = (int(span[1]), min(int(span[2]), size - 1)) if span else (0, size - 1)
        self.send_response(206 if span else 200)
        self.send_header("ETag", path.with_suffix(".etag").read_text())
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if span:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if self.command == "HEAD":
            return
        with path.open("rb") as content:
            content.seek(first)
            left = last - first + 1
            while left:
                piece = content.read(min(left, _PIECE))
                left -= len(piece)
                self.wfile.write(piece)

    do_HEAD = do_GET

    def _listing(self, query: dict[str, list[str]]) -> str:
        if "uploads" in query:
            return "<R><IsTruncated>false</IsTruncated></R>"
        prefix = query.get("prefix", [""])[0]
        delimiter = query.get("delimiter", [""])[0]
        keys = sorted(path.read_text() for path in self.root.glob("*.key"))
        keys = [
            key
            for key in keys
            if key.startswith(prefix)
            and (self.root / hashlib.sha256(key.encode()).hexdigest()).exists()
        ]
        if delimiter:
            folders = {prefix + key.removeprefix(prefix).partition("/")[0] + "/" for key in keys}
            inner = "".join(
                f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
                for folder in sorted(folders)
            )
        else:
            inner = "".join(
                f"<Contents><Key>{escape(key)}</Key><Size>0</Size>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                for key in keys
            )
        return f"<R><IsTruncated>false</IsTruncated>{inner}</R>"


@contextmanager
def served(objects: Path) -> Iterator[str]:
    """One in a process of its own, whose bucket lies in this folder; answers its URL."""
    command = [sys.executable, "-m", "bench.s3_files", str(objects)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as s3:
        try:
            assert s3.stdout is not None
            yield f"http://127.0.0.1:{s3.stdout.readline().strip()}"
        finally:
            s3.kill()


if __name__ == "__main__":
    _Handler.root = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
