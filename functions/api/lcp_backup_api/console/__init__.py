"""The console: a page that calls the API, and the files that it is made of.

Every file is read with the first call for one, and never while the function starts.
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from lcp_backup_api.console.joined import joined
from lcp_backup_api.dependencies import TheBackend

router = APIRouter(include_in_schema=False)

PAGE: Final = "/console"
_STATIC: Final = Path(__file__).with_name("static")
_SCRIPT: Final = "console.js"
_TYPES: Final = {
    "console.js": "text/javascript; charset=utf-8",
    "console.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""What the page loads, and what each is."""
_ALWAYS_ASKED: Final = "no-cache"
_A_YEAR: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class _File:
    """What a browser gets, and the tag by which it is asked whether it has that already."""

    body: bytes
    tag: str

    @classmethod
    def of(cls, body: bytes) -> "_File":
        # Weak: it holds for the body packed and as it is.
        return cls(body, f'W/"{_digest(body)}"')


def is_open(method: str, path: str) -> bool:
    """Whether a call is for the console, which anybody may load: it holds nothing of the site."""
    return method == "GET" and (path in {"/", PAGE} or path.startswith(f"{PAGE}/"))


@router.get("/")
@router.get(f"{PAGE}/")
def to_page(request: Request) -> RedirectResponse:
    """Relative, for the API may lie below a path that only the browser knows."""
    where = "console" if request.scope["path"] == "/" else "../console"
    return RedirectResponse(where, HTTPStatus.FOUND)


@router.get(PAGE)
def page(request: Request, backend: TheBackend) -> Response:
    """The page. It names its files by what they hold, so it is all that is ever asked for anew."""
    answer = _answer(request, _page(), "text/html; charset=utf-8", _ALWAYS_ASKED)
    answer.headers["Content-Security-Policy"] = _policy(
        backend.catalog.uploads.hosts, backend.settings.user_pool_domain
    )
    answer.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    answer.headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
    return answer


@router.get(f"{PAGE}/{{version}}/{{name}}")
def file(request: Request, version: str, name: str) -> Response:
    """One of the page's files. Of another version there is none: half a page of each is no page."""
    found = _files().get(name)
    if found is None or version != _version():
        raise HTTPException(
            HTTPStatus.NOT_FOUND, "the console has no such file, or not any more: load it again"
        )
    return _answer(request, found, _TYPES[name], _A_YEAR)


def _policy(uploads: str, pool: str | None) -> str:
    """What the page may load and call: its own files, the API, where parts of uploads go, and the
    user pool's own page, when there is one."""
    called = ["'self'", uploads] + ([] if pool is None else [f"https://{pool}/"])
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            f"connect-src {' '.join(called)}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _answer(request: Request, found: _File, kind: str, kept: str) -> Response:
    headers = {
        "Cache-Control": kept,
        "ETag": found.tag,
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    if _is_known(request.headers.get("if-none-match", ""), found.tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    body = found.body
    if "gzip" in request.headers.get("accept-encoding", ""):
        body = _packed(body)
        headers["Content-Encoding"] = "gzip"
    return Response(body, media_type=kind, headers=headers)


def _is_known(asked: str, tag: str) -> bool:
    """Whether `If-None-Match` names the tag; as weak ones are compared (RFC 9110, 8.8.3.2)."""
    tags = {it.strip().removeprefix("W/") for it in asked.split(",")}
    return "*" in tags or tag.removeprefix("W/") in tags


@cache
def _files() -> dict[str, _File]:
    modules = {
        path.relative_to(_STATIC).as_posix(): path.read_text() for path in _STATIC.rglob("*.js")
    }
    found = {name: _File.of((_STATIC / name).read_bytes()) for name in _TYPES if name != _SCRIPT}
    return {**found, _SCRIPT: _File.of(joined(modules, "main.js").encode())}


@cache
def _version() -> str:
    return _digest("".join(file.tag for _, file in sorted(_files().items())).encode())


@cache
def _page() -> _File:
    return _File.of(
        (_STATIC / "index.html").read_bytes().replace(b"{version}", _version().encode())
    )


@cache
def _packed(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:20]
