"""What all connections have in common: whom they trust, what errors mean, when to try again."""

from __future__ import annotations

import errno
import random
import socket
import ssl
from collections.abc import Iterator
from functools import cache

import httpx

_LONGEST_PAUSE = 60.0
"""Seconds; a server that asks for more is not waited for."""
_GATEWAYS = {502, 503, 504}


@cache
def trusted() -> ssl.SSLContext:
    """The authorities whose servers are believed; read once, as that takes a while."""
    return httpx.create_ssl_context()


def backoff(attempt: int) -> float:
    """Seconds to wait after the attempt of this number, which is 1 for the first."""
    # Not all callers at once: what is overloaded would stay so.
    return float(min(2.0 ** (attempt - 2), 16.0) * (0.75 + random.random() / 2))  # noqa: S311 -- no secret


def reason(error: Exception) -> str:
    """What happened to a connection, in words."""
    if isinstance(error, httpx.TimeoutException):
        return "no answer came in time"
    told = (_meaning(cause) for cause in _causes(error))
    return next(filter(None, told), None) or str(error).rstrip(".") or type(error).__name__


def _meaning(cause: BaseException) -> str | None:
    """What the system says, where people would not understand it."""
    text = None
    match cause:
        case socket.gaierror(errno=socket.EAI_AGAIN):
            text = "names cannot be looked up now; is this machine online?"
        case socket.gaierror():
            text = "there is no host of this name"
        case ssl.SSLCertVerificationError():
            text = f"its certificate is not trusted ({cause.verify_message})"
        case ssl.SSLError():
            text = "it does not speak TLS as expected; is it https?"
        case ConnectionRefusedError():
            text = "nothing listens there"
        case OSError(errno=errno.ENETUNREACH | errno.EHOSTUNREACH | errno.ENETDOWN):
            text = "no network leads there"
    return text


def is_hopeless(error: Exception) -> bool:
    """Whether the very next try would end alike: the name or the certificate is wrong."""
    return any(
        isinstance(cause, ssl.SSLError)
        or (isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN)
        for cause in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from; httpx and httpcore wrap what the system says."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def retry_after(answer: httpx.Response) -> float | None:
    """The seconds of `Retry-After`; None where there are none (a date is not understood)."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None


def again_after(method: str, answer: httpx.Response, attempt: int) -> float | None:
    """After how many seconds a call is made again; None: not at all."""
    status = answer.status_code
    own = answer.headers.get("content-type", "").startswith("application/problem+json")
    if own and b"download-not-ready" in answer.content:
        return None  # the download itself waits for that, and tells
    if status == httpx.codes.TOO_MANY_REQUESTS:
        pass
    elif method == "POST":
        # It may have taken effect.
        return None
    elif status not in _GATEWAYS and not (status == httpx.codes.INTERNAL_SERVER_ERROR and not own):
        return None
    asked = retry_after(answer)
    if asked is None:
        return backoff(attempt)
    return asked if asked <= _LONGEST_PAUSE else None
