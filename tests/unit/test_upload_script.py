"""docs/upload.sh against answers that are not the API's own: of API Gateway, or of nobody."""

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "upload.sh"
UPLOAD = "20261123T001500-upload-0a1b2c3d"
ARRIVED: dict[str, object] = {"size": 1, "arrived": True, "url": None, "parts": []}
PLAN = {"upload_id": UPLOAD, "database": ARRIVED, "volume": ARRIVED}
"""Of an upload whose files are there, so that the script has only to complete it."""
UNAVAILABLE = (503, "text/html", "<html>later</html>")
DONE = (200, "application/json", json.dumps({"state": "succeeded"}))
OPENED = (201, "application/json", json.dumps(PLAN))
SEALED = (202, "application/json", json.dumps({"run_id": UPLOAD}))

type Told = tuple[int, str, str]


class Scripted(ThreadingHTTPServer):
    """Gives these answers, one after the other."""

    def __init__(self, answers: list[Told]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Scripted

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append(f"{self.command} {self.path}")
        status, kind, body = self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_GET = do_POST = _answer  # noqa: N815 -- the library's names

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def gateway() -> Iterator[Scripted]:
    with Scripted([]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def upload(gateway: Scripted, folder: Path, *answers: Told) -> subprocess.CompletedProcess[str]:
    gateway.answers[:] = answers
    for name in ("database.tgz", "volume.tgz"):
        (folder / name).write_bytes(b"x")
    api = f"http://127.0.0.1:{gateway.server_port}"
    return subprocess.run(
        ["sh", SCRIPT, api, "database.tgz", "volume.tgz"],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        env={"LCP_USER": "ann:x", "PATH": "/usr/bin:/bin"},
        timeout=60,
    )


def test_a_gateway_that_is_busy_while_a_run_is_watched_is_asked_again(
    gateway: Scripted, tmp_path: Path
) -> None:
    ended = upload(gateway, tmp_path, OPENED, SEALED, UNAVAILABLE, DONE)
    assert (ended.returncode, ended.stdout) == (0, f"upload {UPLOAD}: succeeded\n"), ended.stderr


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((413, "application/json", '{"message": "Request Too Long"}'), "Request Too Long"),
        ((429, "application/json", '{"message": "Too Many Requests"}'), "Too Many Requests"),
        ((502, "text/html", "<html>"), "<html>"),
        ((503, "application/json", ""), "no reason is given"),
        ((409, "application/problem+json", '{"detail": "run r is writing"}'), "run r is writing"),
    ],
    ids=str,
)
def test_what_fails_says_why_in_whatever_form_and_nothing_is_asked_for_twice(
    gateway: Scripted, tmp_path: Path, answer: Told, reason: str
) -> None:
    ended = upload(gateway, tmp_path, answer)
    assert ended.returncode != 0
    assert reason in ended.stderr
    assert gateway.asked == ["POST /backup/upload"]
    ended = upload(gateway, tmp_path, OPENED, answer)
    assert ended.returncode != 0
    assert reason in ended.stderr
    assert gateway.asked[1:] == ["POST /backup/upload", f"POST /backup/upload/{UPLOAD}/complete"]


def test_a_refused_upload_ends_with_the_reason(gateway: Scripted, tmp_path: Path) -> None:
    refused = {"state": "failed", "error": {"code": "archive-damaged", "message": "it is cut"}}
    failed = (200, "application/json", json.dumps(refused))
    said = upload(gateway, tmp_path, OPENED, SEALED, failed)
    assert said.returncode == 1
    assert said.stdout.endswith("failed: it is cut\n")


@pytest.mark.parametrize(
    ("arguments", "user", "sentence"),
    [
        (["http://127.0.0.1:1"], "ann:x", "usage: LCP_USER="),
        (["http://127.0.0.1:1", "a", "b"], "", "LCP_USER: set it to"),
        # curl would ask the terminal for the password, which a script does not have.
        (["http://127.0.0.1:1", __file__, __file__], "ann", "LCP_USER: set it to"),
        (["http://127.0.0.1:1", "missing.tgz", "b"], "ann:x", "missing.tgz is no file"),
    ],
)
def test_what_is_missing_is_told_before_anything_is_asked(
    tmp_path: Path, arguments: list[str], user: str, sentence: str
) -> None:
    said = subprocess.run(
        ["sh", SCRIPT, *arguments],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        env={"LCP_USER": user, "PATH": "/usr/bin:/bin"},
    )
    assert (said.returncode, sentence in said.stderr) == (2, True), said.stderr
