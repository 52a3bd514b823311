"""An archive, by ranged GETs side by side: cut lines, kills and URLs that run out cost little."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import httpx

from lcp_backup_cli.errors import CliError, Exit
from lcp_backup_cli.network import backoff, reason, trusted
from lcp_backup_cli.partial import Partial

_PART = 8 * 1024 * 1024
"""Bytes: of what was on its way in a thread, at most so much is fetched twice after a kill."""
_LONGEST_WAIT = 18 * 60 * 60
"""Seconds that the service may take to assemble an archive."""
_FRUITLESS = 8
"""How often in a row a part is tried without a single byte, before the line is called dead."""
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)  # seconds
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Changed(Exception):
    """The object behind the URL is another one than before."""


class Download:
    """One archive on its way into a folder.

    Args:
        ask: asks the API where the archive is: `url`, `size`, `sha256`, `file_name`. Called again
            when the URL has run out. Raises CliError.
        dest: an existing folder.
        threads: how many ranges are fetched at once.
        moved: told the bytes as they arrive.
        note: for the debug log; never gets a URL.
    """

    def __init__(
        self,
        ask: Callable[[], dict[str, Any]],
        identity: dict[str, Any],
        dest: Path,
        *,
        threads: int,
        moved: Callable[[int], None],
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._ask = ask
        self._moved = moved
        self._note = note
        self._threads = threads
        self._stop = threading.Event()
        self._signing = threading.Lock()
        self._where = ask()
        self.size = int(self._where["size"])
        self.sha256: str | None = self._where["sha256"]
        # A name only: whatever the server says, nothing is written beside the folder.
        name = Path(str(self._where["file_name"])).name
        self._is_part = any(identity.get(chosen) for chosen in ("path", "table"))
        self.target = dest / (_named_after(identity, name) if self._is_part else name)
        self._identity = {**identity, "sha256": self.sha256}
        self._etag: str | None = None
        self._http = httpx.Client(
            verify=trusted(),
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_connections=threads, max_keepalive_connections=threads),
        )

    def run(self) -> bool:
        """Fetches what is missing; answers whether the SHA-256 could be compared.

        Raises CliError; what has arrived by then stays for the next time, unless it is damaged.
        """
        self._etag = self._looked_up_etag()
        partial = Partial(self.target, self.size, {**self._identity, "etag": self._etag}, _PART)
        try:
            self._moved(partial.done_bytes)
            self._fetch_all(partial)
            if self.sha256 is not None and partial.sha256() != self.sha256:
                partial.discard()
                raise CliError(
                    f"{self.target.name} arrived with another SHA-256 than the service tells, and"
                    " was deleted",
                    "Run the same command again. If it happens again, the archive in the bucket is"
                    " damaged, or something in between changes it.",
                    exit_code=Exit.FILES,
                    code="sha256-differs",
                )
            partial.complete()
        except Changed:
            partial.discard()
            raise CliError(
                f"{self.target.name} was replaced by another archive while it was downloaded",
                "Run the same command again.",
                exit_code=Exit.LATER,
                code="changed",
            ) from None
        finally:
            partial.close()
        return self.sha256 is not None

    def is_there(self) -> bool:
        """Whether the very file is there already; raises CliError if another one is."""
        if not self.target.exists():
            return False
        if self.sha256 is not None and self.target.stat().st_size == self.size:
            with self.target.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() == self.sha256:
                    return True
        if self._is_part and self.sha256 is None and self.target.stat().st_size == self.size:
            # Its name is that of the very selection, and it got that when it was whole.
            return True
        raise CliError(
            f"{self.target} exists, and is not known to be the same",
            "Delete it, or choose another --dest.",
            exit_code=Exit.USAGE,
            code="exists",
        )

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def _looked_up_etag(self) -> str:
        """The object's ETag, of its first byte: what is on the disk may be of another object."""
        found: list[str] = []

        def look(answer: httpx.Response) -> int:
            found.append(answer.headers.get("ETag", ""))
            return len(answer.read())

        self._tried(lambda: 0, 1, look)
        return found[-1]

    def _fetch_all(self, partial: Partial) -> None:
        with ThreadPoolExecutor(self._threads) as pool:
            left = {pool.submit(self._fetch, partial, number) for number in partial.missing}
            try:
                while left:
                    ended, left = wait(left, return_when=FIRST_COMPLETED)
                    for one in ended:
                        one.result()
                    if self.sha256 is not None:
                        partial.hash_what_is_there()
            finally:
                # Also at Ctrl-C: the threads end with the chunk that they are at.
                self._stop.set()

    def _fetch(self, partial: Partial, number: int) -> None:
        first, end = partial.span(number)
        crc = 0
        at = first

        def store(answer: httpx.Response) -> int:
            nonlocal crc, at
            if self._etag != answer.headers.get("ETag", ""):
                raise Changed
            began = at
            for chunk in answer.iter_raw():
                if self._stop.is_set():
                    break
                partial.write(at, chunk)
                crc = zlib.crc32(chunk, crc)
                at += len(chunk)
                self._moved(len(chunk))
            return at - began

        while at < end and not self._stop.is_set():
            self._tried(lambda: at, end, store)
        if at == end:
            partial.finish(number, crc)

    def _tried(
        self, begin: Callable[[], int], end: int, take: Callable[[httpx.Response], int]
    ) -> None:
        """Hands over an answer with the bytes from `begin` on, once there is one.

        Returns when at least one byte arrived: the line may have been cut behind it.
        """
        fruitless = 0
        while not self._stop.is_set():
            url = self._where["url"]
            first = begin()
            why: str
            try:
                with self._http.stream(
                    "GET", url, headers={"Range": f"bytes={first}-{end - 1}"}
                ) as answer:
                    status = answer.status_code
                    if status == httpx.codes.PARTIAL_CONTENT and self._is_range(answer, first, end):
                        if take(answer):
                            return
                        why = "no byte came"
                    else:
                        why = f"the store answered {status}"
            except httpx.TransportError as error:
                # What came before the cut is kept: the next range begins behind it.
                if begin() > first:
                    self._note(f"the line was cut: {type(error).__name__}")
                    return
                status, why = 0, reason(error)
            fruitless += 1
            self._note(f"bytes {first}-{end - 1} did not come: {why}")
            if fruitless == _FRUITLESS:
                self._stop.set()
                raise self._given_up(why)
            if status in {400, 401, 403, 404}:
                self._sign_again(url)
            if status not in {400, 401, 403, 404} or fruitless > 1:
                self._stop.wait(backoff(fruitless))

    def _is_range(self, answer: httpx.Response, first: int, end: int) -> bool:
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if found is None:
            return False
        if int(found[3]) != self.size:
            raise Changed
        return (int(found[1]), int(found[2])) == (first, end - 1)

    def _sign_again(self, old: str) -> None:
        """A fresh URL, unless another thread has it already."""
        with self._signing:
            if self._where["url"] != old:
                return
            self._note("the URL has run out: asking for a fresh one")
            where = self._ask()
            if (where["size"], where["sha256"]) != (self.size, self.sha256):
                raise Changed
            self._where = where

    def _given_up(self, why: str) -> CliError:
        return CliError(
            f"{self.target.name} stopped on its way: {why}",
            "Run the same command again: it goes on where it stopped.",
            exit_code=Exit.LATER,
            code="interrupted",
        )


def _named_after(identity: dict[str, Any], name: str) -> str:
    """A name of its own for each selection: two in one folder never meet."""
    chosen = json.dumps([sorted(identity.get(it) or []) for it in ("path", "table")])
    stem, dot, ending = name.partition(".")
    return f"{stem}-{hashlib.sha256(chosen.encode()).hexdigest()[:8]}{dot}{ending}"


def patiently(
    ask: Callable[[], dict[str, Any]], tell: Callable[[str], None]
) -> Callable[[], dict[str, Any]]:
    """`ask`, with a wait for as long as the service assembles the archive.

    Its run takes 15 minutes at most, or some hours by workers, and fails by itself if it cannot be
    done.
    """

    def asked() -> dict[str, Any]:
        told = False
        until = time.monotonic() + _LONGEST_WAIT
        while True:
            try:
                return ask()
            except CliError as error:
                if error.code != "download-not-ready" or time.monotonic() > until:
                    raise
                if not told:
                    tell(f"The archive is being assembled by run {error.run_id}; waiting for it.")
                    told = True
                time.sleep(error.retry_after or 0.0)

    return asked
