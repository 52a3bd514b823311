"""What a function writes under Lambda's own runtime, and what Lambda keeps of it.

The runtime client is AWS's (awslambdaric), as it is in the managed runtime; the API that it talks
to, and S3, are played here.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lcp_backup.settings import Settings

pytest.importorskip("awslambdaric")

_PROJECT = Path(__file__).parents[2]
_SESSION_TOKEN = "what-botocore-signs-with-and-logs-at-debug"
_LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]
_EMPTY_LISTING = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


class World(ThreadingHTTPServer):
    """Lambda's runtime API, with one event to hand out, and an S3 in which nothing lies."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.waiting = [b"{}"]
        self.answered = threading.Event()
        self.over = threading.Event()
        self.address = f"127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: World

    def do_GET(self) -> None:
        if not self.path.endswith("/invocation/next"):
            self._send(200, _EMPTY_LISTING)
        elif self.server.waiting:
            headers = {
                # The client dies without it.
                "Content-Type": "application/json",
                "Lambda-Runtime-Aws-Request-Id": "request-1",
                "Lambda-Runtime-Deadline-Ms": "9999999999999",
                "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:1:function:f",
            }
            self._send(200, self.server.waiting.pop(), headers)
        else:
            # The client waits for its next event until it is ended: without one in the answer it
            # would write an error.
            self.server.over.wait()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._send(202, b"")
        self.server.answered.set()

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def world() -> Iterator[World]:
    with World() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.over.set()
        server.shutdown()


def written(world: World, **parameters: str) -> list[dict[str, Any]]:
    """The lines of one call of the watch function, deployed with these parameters."""
    variables = {f"LCP_{name}": value for name, value in parameters.items()}
    # As the template has it (tests/unit/test_template.py).
    lambdas = "DEBUG" if Settings.from_env(variables).log_level == "DEBUG" else "INFO"
    with subprocess.Popen(
        [sys.executable, "-m", "awslambdaric", "app.handler"],
        cwd=_PROJECT / "functions/watch",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{_PROJECT}/functions/watch:{_PROJECT}/shared",
            "AWS_LAMBDA_RUNTIME_API": world.address,
            "AWS_LAMBDA_FUNCTION_NAME": "f",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_LAMBDA_LOG_LEVEL": lambdas,
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "key",
            "AWS_SESSION_TOKEN": _SESSION_TOKEN,
            "AWS_ENDPOINT_URL": f"http://{world.address}",
            "LCP_BACKUP_BUCKET": "backups",
            **variables,
        },
    ) as function:
        answered = world.answered.wait(60)
        function.terminate()
        output = function.communicate()[0]
    assert answered, output
    assert _SESSION_TOKEN not in output
    lines: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines()]
    return [line for line in lines if kept(line, lambdas)]


def kept(line: dict[str, Any], lambdas: str) -> bool:
    """Whether Lambda sends a line on to CloudWatch.

    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
    """
    level = line.get("level", "INFO")
    try:
        # RFC 3339 has a T between day and time, and always an offset.
        valid = "T" in line["timestamp"] and datetime.fromisoformat(line["timestamp"]).tzinfo
    except (LookupError, ValueError):
        valid = None
    if not valid or level not in _LEVELS:
        level = "INFO"
    return _LEVELS.index(level) >= _LEVELS.index(lambdas)


def metrics(lines: list[dict[str, Any]]) -> list[str]:
    return sorted(
        metric["Name"]
        for line in lines
        for group in line.get("_aws", {}).get("CloudWatchMetrics", [])
        for metric in group["Metrics"]
    )


METRICS = ["Overdue", "RetainedBackups", "RetainedBytes", "Unverified"]


@pytest.mark.parametrize(
    ("parameters", "levels"),
    [
        ({}, ["INFO"]),
        ({"SERVICE_LOG_LEVEL": "DEBUG"}, ["DEBUG", "INFO"]),
        ({"DEBUG_LOG": "true"}, ["DEBUG", "INFO"]),
        ({"SERVICE_LOG_LEVEL": "ERROR", "DEBUG_LOG": "true"}, ["DEBUG", "INFO"]),
        ({"SERVICE_LOG_LEVEL": "WARNING"}, []),
        ({"SERVICE_LOG_LEVEL": "CRITICAL"}, []),
    ],
)
def test_the_level_that_is_asked_for_is_logged_and_every_metric(
    world: World, parameters: dict[str, str], levels: list[str]
) -> None:
    lines = written(world, **parameters)
    own = [line for line in lines if "level" in line]
    assert [line["level"] for line in own] == levels
    assert metrics(lines) == METRICS


def test_an_error_is_logged_at_every_level_and_its_time_is_one_that_lambda_reads(
    world: World,
) -> None:
    """Lambda takes a line whose time it cannot read for INFO, and gives it a time of its own."""
    overdue = {"BACKUP_CREATE_SCHEDULE": "* * * * *", "SERVICE_LOG_LEVEL": "ERROR"}
    lines = written(world, **overdue)
    (error,) = [line for line in lines if line.get("level") == "ERROR"]
    assert error["message"] == "watch"
    assert datetime.fromisoformat(error["timestamp"]).tzinfo is not None
    assert error["timestamp"][10] == "T"


def test_what_is_logged_of_debug_says_what_was_looked_for(world: World) -> None:
    lines = written(world, DEBUG_LOG="true", BACKUP_RETENTION_PERIOD="7")
    (debug,) = [line for line in lines if line.get("level") == "DEBUG"]
    assert debug["message"] == "what the schedules ask for"
    assert debug["service"] == "lcp-backup", "no library's"
