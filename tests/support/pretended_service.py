"""An API and an S3 of the tests' own, over real HTTP: what the command line meets, and its faults.

It knows the contract (docs/openapi.json) and nothing of the service's code, as the command line.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

USER, PASSWORD = "ann@example.com", "a-Very-secret-pass1"
BACKUP = "acme-prd-202611230015"
UPLOAD = "20261123T001500-upload-0a1b2c3d"
SIGNATURE = "5ecre7516na7ure"
_CHUNK = 65536
_HOUR = 3600


def a_backup(backup_id: str = BACKUP, **changed: Any) -> dict[str, Any]:
    """A backup as the list and `GET /backup/{id}` tell it."""
    stored = {"size": 1_007_723, "rawSize": 15_206_400, "sha256": "6e" * 32}
    return {
        "backupId": backup_id,
        "type": "Auto",
        "status": "succeeded",
        "startedAt": "2026-11-23T00:15:02Z",
        "createdAt": "2026-11-23T00:15:05Z",
        "size": 2_015_446,
        "database": stored,
        "volume": {**stored, "sha256": None},
        "warnings": 1,
        "runId": "20261123T001502-create-c3f44f3c",
        "error": None,
        "databaseName": "lportal",
        "server": "10.11.19-MariaDB",
        "tables": 8,
        "files": 3,
        "notices": [{"code": "changed-while-read", "subject": "a/b", "detail": ""}],
        "noticesLeftOut": 0,
        "verification": None,
        "report": None,
        "pinned": None,
        "wholeSize": 23_000_000,
        "storedWhole": True,
        "change": None,
        "keptUntil": None,
        "restoreEstimate": None,
        **changed,
    }


def a_run(kind: str = "create", state: str = "succeeded", **changed: Any) -> dict[str, Any]:
    """The record of a run."""
    return {
        "format": 1,
        "id": f"20261123T001502-{kind}-c3f44f3c",
        "kind": kind,
        "state": state,
        "backup_id": BACKUP,
        "backup_run_id": None,
        "started_at": "2026-11-23T00:15:02Z",
        "updated_at": "2026-11-23T00:15:05Z",
        "finished_at": "2026-11-23T00:15:06Z" if state in {"succeeded", "failed"} else None,
        "step": "" if state in {"succeeded", "failed"} else "dumping",
        "progress": {"database": 15_000_000},
        "result": {"read_bytes": 7},
        "warnings": [],
        "error": None,
        **changed,
    }


def a_token(lives: float = _HOUR) -> str:
    """What has the form of an access token that lives for so many seconds."""
    claims = json.dumps({"exp": int(time.time() + lives), "username": USER}).encode()
    part = base64.urlsafe_b64encode(claims).rstrip(b"=").decode()
    return f"eyJhbGciOiJub25lIn0.{part}.c2VjcmV0LXNpZ25hdHVyZQ"


def a_challenge(name: str, **more: Any) -> dict[str, Any]:
    """What the user pool asks beside a right password."""
    asked = {"name": name, "session": "s" * 20, "user": USER}
    return {**asked, "sent_to": None, "choices": [], "secret": None, **more}


@dataclass
class Fault:
    """The next answer to such a call, instead of the right one."""

    call: str
    """A pattern for `METHOD /path`."""
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1


def problem(code: str, status: int, detail: str = "it is so", **more: Any) -> dict[str, Any]:
    """The body of an error of the service."""
    return {
        "type": f"urn:lcp-backup:problem:{code}",
        "title": "Title",
        "status": status,
        "detail": detail,
        "action": "Do this.",
        "run_id": None,
        **more,
    }


class Service(ThreadingHTTPServer):
    """Answers as the service does; tests change what it holds while it runs."""

    daemon_threads = True

    def __init__(self) -> None:
        self.tokens = {a_token()}
        self.backups = [a_backup()]
        self.usage: list[dict[str, Any]] = []
        self.challenges: list[dict[str, Any]] = []
        """What is asked beside a right password, one after the other."""
        self.right_answers: set[str] = set()
        self.answers: list[dict[str, str]] = []
        self.runs: dict[str, list[dict[str, Any]]] = {}
        """By run id, the records that are answered one after the other; the last one stays."""
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self.agents: set[str] = set()
        self.bodies: list[Any] = []
        self.contents: dict[str, list[Any]] = {"files": [], "tables": []}
        """What the lists of a backup hold."""
        self.objects: dict[str, bytes] = {}
        """What there is to download, by its kind."""
        self.told_sha256: dict[str, str | None] = {}
        self.etag = '"one"'
        self.signed = 0
        """How many URLs were signed; those before `oldest_good` have run out."""
        self.oldest_good = 0
        self.sent: list[tuple[str, int]] = []
        """Kind and bytes of each ranged GET, as far as they were sent."""
        self.cuts: list[int] = []
        """After how many bytes the next GETs of objects are cut."""
        self.pause = 0.0
        """Seconds between two chunks of 64 KiB."""
        self.part_size = 0
        self.announced: dict[str, Any] | None = None
        self.arrived: dict[tuple[str, int], bytes] = {}
        self.puts: list[tuple[str, int]] = []
        self.sealed = False
        self.clock_off = timedelta(0)
        """How far the server's clock is ahead."""
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """A client that was killed is no news."""

    def sign(self, path: str) -> str:
        """A URL that works until `oldest_good` passes it."""
        self.signed += 1
        return f"{self.url}/s3/{path}?X-Amz-Signature={SIGNATURE}&n={self.signed}"

    def destinations(self) -> dict[str, Any]:
        """The open upload as `GET /backup/upload/{id}` tells it."""
        assert self.announced is not None
        told: dict[str, Any] = {"upload_id": UPLOAD, "expires_at": "2026-11-23T00:30:00Z"}
        for kind in ("database", "volume"):
            size = self.announced[kind]["size"]
            step = self.part_size or size
            parts = [
                {
                    "number": number,
                    "offset": offset,
                    "size": min(step, size - offset),
                    "arrived": (kind, number) in self.arrived,
                    "url": self.sign(f"put/{kind}/{number}"),
                }
                for number, offset in enumerate(range(0, size, step), 1)
            ]
            whole = all(part["arrived"] for part in parts)
            url = None if self.part_size else parts[0]["url"]
            told[kind] = {
                "size": size,
                "arrived": whole,
                "url": url,
                "parts": parts if self.part_size else [],
            }
        return told


class _Handler(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        service = self.server
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            # As S3 does: what is not whole is not taken.
            self.close_connection = True
            return
        parts = urlsplit(self.path)
        call = f"{self.command} {parts.path}"
        with service.lock:
            service.asked.append(f"{self.command} {self.path}")
            service.agents.add(self.headers.get("user-agent", ""))
            fault = next((it for it in service.faults if re.fullmatch(it.call, call)), None)
            if fault is not None:
                fault.times -= 1
                if fault.times <= 0:
                    service.faults.remove(fault)
        if fault is not None:
            self._answer(fault.status, fault.body, fault.headers)
        elif parts.path.startswith("/s3/put/"):
            self._take(parts.path, parse_qs(parts.query), body)
        elif parts.path.startswith("/s3/"):
            self._give(parts.path.removeprefix("/s3/"), parse_qs(parts.query))
        elif call in {"POST /backup/login", "POST /backup/login/challenge"}:
            with service.lock:
                self._answer(*self._sign_in(parts.path, json.loads(body)))
        elif call != "GET /backup/health" and not self._is_known():
            self._answer(401, problem("unauthenticated", 401))
        else:
            with service.lock:
                self._answer(*self._api(call, parse_qs(parts.query), body))

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 -- the library's names

    def log_message(self, *_: object) -> None: ...

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The value of `Date`."""
        ahead = self.server.clock_off.total_seconds()
        return super().date_time_string((timestamp or time.time()) + ahead)

    def _is_known(self) -> bool:
        scheme, _, value = self.headers.get("authorization", "").partition(" ")
        if scheme == "Basic":
            return base64.b64decode(value).decode() == f"{USER}:{PASSWORD}"
        return value in self.server.tokens

    def _sign_in(self, path: str, body: dict[str, str]) -> tuple[int, Any]:
        service = self.server
        if path.endswith("/challenge"):
            service.answers.append(body)
            if body["answer"] not in service.right_answers:
                return 401, problem("wrong-answer", 401, "the code is not the right one")
            service.challenges.pop(0)
        elif (body["user"], body["password"]) != (USER, PASSWORD):
            return 401, problem("unauthenticated", 401)
        if service.challenges:
            return 200, {"signed_in": None, "challenge": service.challenges[0]}
        token = next(iter(service.tokens))
        entry = {"token": token, "expires_at": "x", "name": USER, "role": "admin"}
        return 200, {"signed_in": entry, "challenge": None}

    def _api(  # noqa: PLR0911, PLR0912 -- a line for each call that there is
        self, call: str, query: dict[str, list[str]], body: bytes
    ) -> tuple[int, Any]:
        service = self.server
        if body:
            service.bodies.append(json.loads(body))
        method, _, path = call.partition(" ")
        name = path.rpartition("/")[2]
        match method, path.removeprefix("/backup/").split("/"):
            case "GET", ["health"]:
                return 200, {"status": "ok", "version": "0.1.0"}
            case "GET", ["whoami"]:
                return 200, {"name": USER, "role": "admin", "by": "access token"}
            case "GET", ["usage"]:
                return 200, self._usage(query)
            case "GET", ["list"]:
                return self._page("backups", service.backups, query)
            case "GET", ["runs"]:
                return self._page("runs", [it[0] for it in service.runs.values()], query)
            case "GET", ["runs", _] if name in service.runs:
                records = service.runs[name]
                return 200, records.pop(0) if len(records) > 1 else records[0]
            case "GET", ["schedules"]:
                return 200, _SCHEDULES
            case "GET", [_, "files" | "tables"]:
                return self._page(name, self.server.contents[name], query)
            case "PUT", [_, "pin"]:
                return 200, {"by": USER, "since": "2026-11-23T00:15:02Z", **json.loads(body)}
            case "POST", ["create"] | ["restore" | "verify", _]:
                kind = path.split("/")[2]
                run = f"20261123T001502-{kind}-c3f44f3c"
                return 202, {"run_id": run, "state": "queued", "backup_id": BACKUP}
            case "POST", [_, "report"]:
                run = "20261123T001502-report-c3f44f3c"
                return 202, {"run_id": run, "state": "queued", "backup_id": BACKUP}
            case "GET", [_, "report"]:
                return 200, {"download": self._download("report", query)}
            case "PUT", ["restore", "pause"]:
                return 200, {"by": USER, "since": "2026-11-23T00:15:02Z", **json.loads(body)}
            case "DELETE", _:
                return 204, None
            case "GET", ["download", kind, _] if kind in service.objects:
                return 200, self._download(kind, query)
            case "POST", ["upload"]:
                service.announced = json.loads(body)
                return 201, service.destinations()
            case "GET", ["upload", _] if service.announced:
                if service.sealed:
                    return 409, problem("conflict", 409, "the upload is being taken in")
                return 200, service.destinations()
            case "POST", ["upload", _, "complete"]:
                service.sealed = True
                return 202, {"run_id": UPLOAD, "state": "queued"}
            case "GET", [_]:
                for backup in service.backups:
                    if backup["backupId"] == name:
                        return 200, backup
        return 404, problem("not-found", 404, f"there is no {name}")

    def _usage(self, query: dict[str, list[str]]) -> dict[str, Any]:
        _, page = self._page("backups", self.server.usage, query)
        first = "next" not in query
        live = {"total_bytes": 2_147_483_648, "complete": True, "backups_bytes": 2_147_483_000}
        live |= {"retired_bytes": 648, "unfinished_bytes": 0}
        live |= {"downloads_bytes": 0, "uploads_bytes": 0}
        month = {"usd": 0.046, "usd_per_gb": 0.023, "region": "us-east-1"}
        return {**page, "live": live if first else None, "month": month if first else None}

    def _page(self, key: str, found: list[Any], query: dict[str, list[str]]) -> tuple[int, Any]:
        begin, limit = int(query.get("next", ["0"])[0]), int(query["limit"][0])
        # As the service does with a filter: fewer than asked for, and still a next.
        page = found[begin : begin + min(limit, 2)]
        end = begin + len(page)
        return 200, {key: page, "next": str(end) if end < len(found) else None}

    def _download(self, kind: str, query: dict[str, list[str]]) -> dict[str, Any]:
        content = self.server.objects[kind]
        chosen = "-selection" if {"path", "table"} & set(query) else ""
        return {
            "url": self.server.sign(kind),
            "expires_at": "2026-11-23T00:30:00Z",
            "size": len(content),
            "sha256": self.server.told_sha256.get(kind, hashlib.sha256(content).hexdigest()),
            "file_name": f"{BACKUP}-{kind}{chosen}.tgz",
        }

    def _give(self, kind: str, query: dict[str, list[str]]) -> None:
        service = self.server
        content = service.objects[kind]
        if int(query["n"][0]) < service.oldest_good:
            self._answer(403, b"<Error><Message>Request has expired</Message></Error>")
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
        assert found, "every GET of an object names its range"
        first, last = int(found[1]), int(found[2])
        piece = memoryview(content)[first : last + 1]
        with service.lock:
            most = service.cuts.pop(0) if service.cuts else len(piece)
        self.send_response(206)
        self.send_header("Content-Length", str(len(piece)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("ETag", service.etag)
        self.end_headers()
        done = 0
        try:
            while done < min(most, len(piece)):
                chunk = piece[done : min(done + _CHUNK, most)]
                self.wfile.write(chunk)
                done += len(chunk)
                time.sleep(service.pause)
        finally:
            with service.lock:
                service.sent.append((kind, done))
        if done < len(piece):
            self.close_connection = True

    def _take(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        service = self.server
        if int(query["n"][0]) < service.oldest_good:
            self._answer(403, b"<Error><Message>Request has expired</Message></Error>")
            return
        _, _, _, kind, number = path.split("/")
        with service.lock:
            service.puts.append((kind, int(number)))
            service.arrived[kind, int(number)] = body
        time.sleep(service.pause)
        self._answer(200, None)

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        kind = "application/json"
        if isinstance(body, dict) and "type" in body and status >= 400:
            kind = "application/problem+json"
        if isinstance(body, bytes):
            content, kind = body, "text/html"
        else:
            content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


_RULE = {
    "cron": "15 0 * * *",
    "words": "At 00:15",
    "eventbridge": ["cron(15 0 * * ? *)"],
    "rules": [],
    "next": ["2026-11-24T00:15:00Z", "2026-11-25T00:15:00Z"],
}
_SCHEDULES: dict[str, Any] = {"create": _RULE, "restore": None, "cleanup": _RULE, "verify": None}
_SCHEDULES |= {"restores_paused": None}


@contextmanager
def pretended_service() -> Iterator[Service]:
    """Runs one."""
    with Service() as service:
        thread = threading.Thread(target=service.serve_forever, args=(0.05,))
        thread.start()
        yield service
        service.shutdown()
        thread.join()
