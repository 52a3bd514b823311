"""The deployed API as a user meets it: real curl, and what was answered."""

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from email import message_from_string
from pathlib import Path
from typing import Any

from local.stack import User

_LONGEST = 300
"""Seconds that one call, or one run, may take before something is wrong."""


@dataclass(frozen=True)
class Answer:
    """What a caller of the API got; of several answers (`--location`) the last."""

    status: int
    headers: dict[str, str]
    """By their names in lower case."""
    body: bytes

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


def curl(*arguments: str | Path, user: User | None = None) -> Answer:
    """Runs curl; any status is an answer, a call that got none raises CalledProcessError.

    With `--output` among the arguments the body is in that file and not in the answer. The name and
    password of `user` stand on no command line, so no error quotes them either.
    """
    config = ""
    if user is not None:
        quoted = f"{user.name}:{user.password}".replace("\\", "\\\\").replace('"', '\\"')
        config = f'user = "{quoted}"\n'
    with tempfile.TemporaryDirectory() as folder:
        body, heads = Path(folder, "body"), Path(folder, "heads")
        to_body: list[str | Path] = [] if "--output" in arguments else ["--output", body]
        subprocess.run(
            ["curl", "-sS", "-K-", "--max-time", str(_LONGEST), "-D", heads, *to_body, *arguments],
            check=True,
            input=config.encode(),
            stdout=subprocess.DEVNULL,
        )
        # A head for each answer: one of 100 Continue or of a redirect comes before the last.
        first, _, rest = heads.read_text().strip().split("\n\n")[-1].partition("\n")
        return Answer(
            int(first.split()[1]),
            {name.lower(): value for name, value in message_from_string(rest).items()},
            body.read_bytes() if body.exists() else b"",
        )


class Api:
    """The API for one caller, by name and password."""

    def __init__(self, url: str, user: User) -> None:
        self.url = url
        self.user = user

    def call(self, method: str, path: str, *arguments: str | Path) -> Answer:
        """Calls `path`; `arguments` are further ones for curl."""
        return curl("--request", method, f"{self.url}{path}", *arguments, user=self.user)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Answer:
        """Posts JSON, or nothing."""
        if body is None:
            return self.call("POST", path)
        content = ("--header", "Content-Type: application/json", "--data", json.dumps(body))
        return self.call("POST", path, *content)

    def wait_for(self, run_id: str) -> dict[str, Any]:
        """What a run's record says once the run has ended, well or not."""
        end = time.monotonic() + _LONGEST
        while time.monotonic() < end:
            answer = self.call("GET", f"/backup/runs/{run_id}")
            if answer.status != 200:
                raise SystemExit(f"run {run_id}: {answer.status} {answer.body.decode()}")
            run: dict[str, Any] = answer.json()
            if run["state"] not in {"queued", "running"}:
                return run
            time.sleep(0.5)
        raise SystemExit(f"run {run_id} has not ended after {_LONGEST} seconds")

    def wait_for_all(self) -> None:
        """Waits until none of the latest runs is under way, whoever started them."""
        answer = self.call("GET", "/backup/runs")
        if answer.status != 200:
            raise SystemExit(f"GET /backup/runs: {answer.status} {answer.body.decode()}")
        for run in answer.json()["runs"]:
            self.wait_for(run["id"])
