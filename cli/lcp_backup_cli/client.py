"""The API over HTTP: one call at a time, tried again where that does nothing twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from lcp_backup_cli import VERSION
from lcp_backup_cli.access import Access
from lcp_backup_cli.errors import EXIT_BY_CODE, CliError, Exit, unreachable
from lcp_backup_cli.network import (
    again_after,
    backoff,
    is_hopeless,
    reason,
    retry_after,
    trusted,
)

_URN = "urn:lcp-backup:problem:"
_ATTEMPTS = 6
_FIRST_ATTEMPTS = 2
"""Of the first call, to where nothing has answered yet: most often the address is wrong."""
_TIMEOUT = httpx.Timeout(40.0, connect=10.0)
"""Seconds. API Gateway answers within 30."""
_BY_STATUS = {
    400: Exit.REFUSED,
    401: Exit.WHO,
    403: Exit.FORBIDDEN,
    404: Exit.NOT_FOUND,
    405: Exit.REFUSED,
    409: Exit.BUSY,
    413: Exit.REFUSED,
    422: Exit.FILES,
    429: Exit.LATER,
    502: Exit.LATER,
    503: Exit.LATER,
    504: Exit.LATER,
}
_WAYS_OUT = {
    "not-found": "lcp-backup list, runs, ls and tables show what there is.",
    "no-such-path": "Check the address, which is the stack's output ApiUrl, and both versions:"
    " lcp-backup doctor.",
    "invalid-request": "Correct that; --help says what the command takes.",
    "lease-held": "Wait until that run has ended (lcp-backup run ID --follow), then try again.",
    "pinned": "Unpin it first: lcp-backup unpin ID.",
}
"""Where the service's own way out names HTTP calls, that of this program."""

Query = Mapping[str, str | int | list[str] | None]


class Client:
    """The API of one deployment for one caller.

    Args:
        access: where, and by which credential.
        note: gets one line for each call, for `--debug`: never a credential or a signed URL.
        pause: waits a number of seconds.
    """

    def __init__(
        self,
        access: Access,
        note: Callable[[str], None] = lambda _: None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.access = access
        self.host = urlsplit(access.url).netloc
        self._note = note
        self._pause = pause
        self._has_answered = False
        # Redirects are not followed: a credential goes nowhere else than where it belongs.
        self._http = httpx.Client(
            verify=trusted(), timeout=_TIMEOUT, headers={"User-Agent": f"lcp-backup-cli/{VERSION}"}
        )

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def get(self, path: str, query: Query | None = None) -> Any:
        """The answer to a GET, as JSON; raises CliError."""
        return self._call("GET", path, query, None)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer to a POST. It is repeated only where it certainly did nothing."""
        return self._call("POST", path, None, body)

    def put(self, path: str, body: dict[str, Any]) -> Any:
        """The answer to a PUT; may be repeated."""
        return self._call("PUT", path, None, body)

    def delete(self, path: str) -> None:
        """A DELETE; may be repeated, so what is gone by then was deleted by it."""
        self._call("DELETE", path, None, None)

    def pages(self, path: str, key: str, limit: int, query: Query) -> Iterator[dict[str, Any]]:
        """The newest `limit` entries of a list, over as many pages as that takes."""
        after: str | None = None
        left = limit
        while left > 0:
            page = self.get(path, {**query, "limit": min(left, 1000), "next": after})
            found = page[key][:left]
            yield from found
            left -= len(found)
            after = page["next"]
            if after is None:
                return

    def health(self) -> tuple[Any, str | None]:
        """What the API says of itself to anybody, and the time by its clock (`Date`)."""
        answer = self._send("GET", "/backup/health", None, None, signed=False)
        return self._content(answer), answer.headers.get("Date")

    def sign_in(self, path: str, body: dict[str, Any]) -> Any:
        """The answer to a call by which a credential is had; raises CliError."""
        return self._content(self._send("POST", path, None, body, signed=False))

    def _call(self, method: str, path: str, query: Query | None, body: Any) -> Any:
        if self.access.has_run_out:
            raise self._ran_out()
        return self._content(self._send(method, path, query, body, signed=True))

    def _send(
        self, method: str, path: str, query: Query | None, body: Any, *, signed: bool
    ) -> httpx.Response:
        headers = {"Accept": "application/json"}
        if signed:
            headers["Authorization"] = self.access.authorization
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        for attempt in range(1, _ATTEMPTS + 1):
            began = time.monotonic()
            try:
                answer = self._http.request(
                    method, f"{self.access.url}{path}", params=asked, json=body, headers=headers
                )
            except httpx.TransportError as error:
                self._note(f"{method} {path}: {type(error).__name__}")
                never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                most = _ATTEMPTS if self._has_answered or not never_sent else _FIRST_ATTEMPTS
                if (
                    attempt >= most
                    or (method == "POST" and not never_sent)
                    or (is_hopeless(error) and not self._has_answered)
                ):
                    raise self._cut(method, error, never_sent=never_sent) from None
                self._pause(backoff(attempt))
                continue
            except httpx.InvalidURL as error:
                raise CliError(f"{self.access.url} is no address: {error}") from None
            self._has_answered = True
            took = time.monotonic() - began
            self._note(f"{method} {path}: {answer.status_code} in {took:.2f} s")
            after = again_after(method, answer, attempt)
            if after is None or attempt == _ATTEMPTS:
                return answer
            self._note(f"{method} {path}: again in {after:.1f} s")
            self._pause(after)
        raise AssertionError

    def _content(self, answer: httpx.Response) -> Any:
        if answer.is_success:
            if not answer.content:
                return None
            try:
                return answer.json()
            except ValueError:
                raise self._not_ours(answer) from None
        raise self._problem(answer)

    def _problem(self, answer: httpx.Response) -> CliError:
        """An answer that is an error, as a sentence: the service's own, or another's."""
        try:
            told = answer.json()
        except ValueError:
            told = None
        told = told if isinstance(told, dict) else {}
        code = str(told.get("type", "")).removeprefix(_URN)
        if answer.status_code == httpx.codes.UNAUTHORIZED and code in {"", "unauthenticated"}:
            if self.access.has_run_out:
                return self._ran_out()
            return CliError(
                f"{self.host} does not take the credential of {self.access.source}",
                self.access.how_to_go_on,
                exit_code=Exit.WHO,
                code="unauthenticated",
                status=401,
            )
        if not code:
            if answer.is_redirect or "message" not in told:
                return self._not_ours(answer)
            # API Gateway's own. It does not know what is asked for if the address has a typo.
            lost = answer.status_code in {httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND}
            return CliError(
                f"{self.host} answered {answer.status_code}: {told['message']}",
                "Check the address: it is the stack's output ApiUrl."
                if lost
                else "Run the same command again in a while.",
                exit_code=_BY_STATUS.get(answer.status_code, Exit.FAILED),
                code="gateway",
                status=answer.status_code,
            )
        return CliError(
            str(told.get("detail") or told.get("title") or code),
            _WAYS_OUT.get(code) or str(told.get("action") or ""),
            exit_code=EXIT_BY_CODE.get(code, Exit.FAILED),
            code=code,
            status=answer.status_code,
            run_id=told.get("run_id"),
            retry_after=retry_after(answer),
        )

    def _not_ours(self, answer: httpx.Response) -> CliError:
        kind = answer.headers.get("content-type", "").partition(";")[0] or "nothing"
        return CliError(
            f"{self.host} answered {answer.status_code} with {kind}, which is no answer of LCP"
            " Backup",
            "Check the address: it is the stack's output ApiUrl. A proxy may stand in between.",
            exit_code=_BY_STATUS.get(answer.status_code, Exit.FAILED),
            code="not-the-service",
            status=answer.status_code,
        )

    def _ran_out(self) -> CliError:
        assert self.access.token_expires_at is not None
        at = self.access.token_expires_at.astimezone()
        return CliError(
            f"the token of {self.access.source} ran out at {at:%Y-%m-%d %H:%M}",
            self.access.how_to_go_on,
            exit_code=Exit.WHO,
            code="token-expired",
        )

    def _cut(self, method: str, error: httpx.TransportError, *, never_sent: bool) -> CliError:
        found = unreachable(self.host, reason(error))
        if method == "POST" and not never_sent:
            found.way_out = (
                "The call may have taken effect all the same: look at `lcp-backup runs` before you"
                " repeat it."
            )
        return found
