"""An upload's parts, sent side by side, and where one that broke off is found again."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import httpx
from platformdirs import user_state_path

from lcp_backup_cli.errors import CliError, Exit
from lcp_backup_cli.local_files import LocalFile
from lcp_backup_cli.network import backoff, reason, trusted

_CHUNK = 256 * 1024
_FRUITLESS = 8
"""How often in a row a part is sent in vain, before the line is called dead."""
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)  # seconds
_SIGNED_ANEW = {400, 401, 403, 404}
"""Statuses of a store that does not take a URL, most often because its time is over."""


class Pending:
    """Which upload of these very files, to this address, is open; kept until it is a backup."""

    def __init__(self, url: str, announced: dict[str, Any]) -> None:
        text = json.dumps([url, announced], sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:32]
        self._path = user_state_path("lcp-backup") / "uploads" / f"{name}.json"

    def get(self) -> str | None:
        """Its id, if there is one."""
        try:
            return str(json.loads(self._path.read_text())["upload_id"])
        except (OSError, ValueError, LookupError):
            return None

    def put(self, upload_id: str) -> None:
        """One was opened."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.write_text(json.dumps({"upload_id": upload_id}))

    def forget(self) -> None:
        """It is over."""
        self._path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Part:
    kind: str
    number: int
    offset: int
    size: int


class Sender:
    """Sends what has not arrived.

    Args:
        plan: the open upload, as the API told it.
        renew: asks for the same with fresh URLs; raises CliError.
        threads: how many parts are sent at once.
        moved: told the bytes that have arrived.
        note: for the debug log; never gets a URL.
    """

    def __init__(
        self,
        files: list[LocalFile],
        plan: dict[str, Any],
        renew: Callable[[], dict[str, Any]],
        *,
        threads: int,
        moved: Callable[[int], None],
        note: Callable[[str], None],
    ) -> None:
        self._paths = {file.kind: file.path for file in files}
        self._plan = plan
        self._renew = renew
        self._threads = threads
        self._moved = moved
        self._note = note
        self._stop = threading.Event()
        self._signing = threading.Lock()
        self._http = httpx.Client(
            verify=trusted(),
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_connections=threads, max_keepalive_connections=threads),
        )

    def run(self) -> None:
        """Returns when every byte has arrived; raises CliError."""
        parts = dict(_parts(self._plan))
        missing = [part for part, told in parts.items() if not told["arrived"]]
        self._moved(sum(part.size for part, told in parts.items() if told["arrived"]))
        with ThreadPoolExecutor(self._threads) as pool:
            left = {pool.submit(self._send, part) for part in missing}
            try:
                while left:
                    ended, left = wait(left, return_when=FIRST_COMPLETED)
                    for one in ended:
                        one.result()
            finally:
                self._stop.set()

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def _send(self, part: _Part) -> None:
        fruitless = 0
        while not self._stop.is_set():
            plan = self._plan
            url = dict(_parts(plan))[part]["url"]
            try:
                # S3 takes no part whose length it does not know in advance.
                answer = self._http.put(
                    url, content=self._read(part), headers={"Content-Length": str(part.size)}
                )
                status, why = answer.status_code, f"the store answered {answer.status_code}"
            except httpx.TransportError as error:
                status, why = 0, reason(error)
            if status == httpx.codes.OK:
                self._moved(part.size)
                return
            fruitless += 1
            self._note(f"part {part.number} of {part.kind} did not arrive: {why}")
            if fruitless == _FRUITLESS:
                self._stop.set()
                raise CliError(
                    f"{self._paths[part.kind]} stopped on its way: {why}",
                    "Run the same command again: what has arrived is not sent again.",
                    exit_code=Exit.LATER,
                    code="interrupted",
                )
            if status in _SIGNED_ANEW:
                self._sign_again(plan)
            self._stop.wait(backoff(fruitless) if fruitless > 1 else 0)

    def _read(self, part: _Part) -> Iterator[bytes]:
        left = part.size
        with self._paths[part.kind].open("rb") as file:
            file.seek(part.offset)
            while left and not self._stop.is_set():
                chunk = file.read(min(left, _CHUNK))
                if not chunk:
                    raise CliError(
                        f"{self._paths[part.kind]} got shorter while it was sent",
                        "Leave it alone until it is sent, and run the same command again.",
                        exit_code=Exit.FILES,
                        code="unsuitable-file",
                    )
                left -= len(chunk)
                yield chunk

    def _sign_again(self, old: dict[str, Any]) -> None:
        """Fresh URLs, unless another thread has them already."""
        with self._signing:
            if self._plan is old:
                self._note("a URL was not taken: asking for fresh ones")
                self._plan = self._renew()


def _parts(plan: dict[str, Any]) -> Iterator[tuple[_Part, dict[str, Any]]]:
    """All parts with their URLs, and whether they have arrived."""
    for kind in ("database", "volume"):
        told = plan[kind]
        if told["url"] is not None:
            yield _Part(kind, 1, 0, told["size"]), told
        for part in told["parts"]:
            yield _Part(kind, part["number"], part["offset"], part["size"]), part
