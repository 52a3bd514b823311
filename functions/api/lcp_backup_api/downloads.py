"""Downloads: an archive as it lies in the bucket, or one that is assembled first."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Final, Protocol

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from lcp_backup.catalog.downloads import download_name, download_run_id, may_assemble
from lcp_backup.errors import (
    DownloadFailed,
    DownloadNotReady,
    InvalidRequest,
    NotFound,
    UnknownFormat,
)
from lcp_backup.jobs.queued_run import queued
from lcp_backup.model import Archive, ArchiveKind, Manifest, Run, RunId, RunKind
from lcp_backup.requests import DownloadRequest, check_workers
from lcp_backup.setting_values import MAX_WORKERS
from lcp_backup_api.audit import audited
from lcp_backup_api.backend import Backend
from lcp_backup_api.dependencies import TheBackend, TheBackupId, Viewer
from lcp_backup_api.problems import documented
from lcp_backup_api.schemas import Download

router = APIRouter(tags=["backups"])

LARGEST_ANSWER: Final = 4 * 1024 * 1024
"""Bytes of an archive that a function can answer with itself: Lambda's 6 MB hold an answer in
base64, with its headers.

Source: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""
URL_LIVES: Final = 15 * 60
_URL_LIVES_AT_MOST: Final = 60 * 60
"""Seconds; a URL dies with the role session that signed it, so longer would be a promise broken."""

_HOW_TO_FOLLOW = (
    "{kind} of {backup_id} is too large for one answer: {size} bytes. Follow the redirect, with"
    " curl: curl -L (and no -X POST, which would be sent on), or ask with Accept: application/json"
    " for the URL.\n"
)

type Expires = Annotated[
    int, Query(ge=1, le=_URL_LIVES_AT_MOST, description="Seconds that the URL is good for.")
]


_POLL_SECONDS: Final = 0.5
_DEAD_AFTER: Final = timedelta(minutes=2)
"""A run that is under way renews its record every 15 seconds; to start another one harms nobody."""
_FAILURE_TOLD: Final = timedelta(minutes=2)
"""How long the failure of a run is the answer; a later call tries anew."""
_RUNS_LOOKED_AT: Final = timedelta(hours=18)
"""For as long an assembly by workers may last."""

type Paths = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    Query(
        max_length=1000,
        description="Of a volume: only these files and folders, relative to the data folder.",
        examples=["document_library/20097"],
    ),
]
type Workers = Annotated[
    int | None,
    Query(
        ge=1,
        le=MAX_WORKERS,
        description="Of a volume that has to be assembled: by how many functions. Default: as many"
        " as it takes.",
    ),
]
type Tables = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    Query(
        max_length=1000,
        description="Of a database: only these tables, as SQL without the schema's own statements.",
        examples=["User_"],
    ),
]

_DOWNLOADED = {
    200: {
        "description": "The archive, when it is small; or where it can be had, as JSON",
        "content": {
            "application/gzip": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {"schema": {"$ref": "#/components/schemas/Download"}},
        },
    },
    303: {
        "description": "Where a larger archive can be had; the body says how to follow",
        "content": {"text/plain": {"schema": {"type": "string"}}},
        "headers": {"Location": {"schema": {"type": "string"}}},
    },
    **documented(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
}
_DOWNLOADED[503]["description"] = (
    "The archive is being assembled (call again after Retry-After), or an AWS service does not"
    " answer as expected"
)


@router.get(
    "/backup/download/{kind}/{backup_id}",
    summary="Download an archive, or a selection",
    response_class=Response,
    responses=_DOWNLOADED,
    operation_id="download",
)
@router.post(
    "/backup/download/{kind}/{backup_id}",
    summary="Download an archive, as the original service's scripts do",
    response_class=Response,
    responses=_DOWNLOADED,
    operation_id="download_by_post",
)
def download(
    *,
    caller: Viewer,
    backend: TheBackend,
    kind: ArchiveKind,
    backup_id: TheBackupId,
    request: Request,
    path: Paths = [],  # noqa: B006 -- FastAPI copies it
    table: Tables = [],  # noqa: B006
    workers: Workers = None,
    accept: Annotated[str, Header()] = "*/*",
    expires: Expires = URL_LIVES,
) -> Response:
    """A plain `.tgz` of exactly this backup.

    What does not lie in one object is assembled first, which the call waits for, up to 20 seconds;
    it then answers 503 with Retry-After, and a later call finds the archive.
    """
    with audited(backend.log, request, caller, f"download {kind}", backup_id=backup_id):
        event: dict[str, object] = {"backup_id": backup_id, "kind": kind}
        selection = {name: it for name, it in (("paths", path), ("tables", table)) if it}
        _check_fits(kind, path, table, workers)
        wanted = DownloadRequest.read({**event, **selection, "workers": workers})
        check_workers(workers, backend.settings.backup_workers)
        found = _found(backend, wanted)
        if "application/json" in accept:
            return JSONResponse(_presigned(backend, found, expires).model_dump(mode="json"))
        if found.size <= LARGEST_ANSWER:
            headers = {"Content-Disposition": f'attachment; filename="{found.file_name}"'}
            return Response(found.read(), media_type="application/gzip", headers=headers)
        url = _presigned(backend, found, expires)
        return Response(
            _HOW_TO_FOLLOW.format(kind=kind, backup_id=backup_id, size=found.size),
            status_code=HTTPStatus.SEE_OTHER,
            media_type="text/plain",
            headers={"Location": url.url},
        )


def _check_fits(kind: ArchiveKind, path: list[str], table: list[str], workers: int | None) -> None:
    """Raises InvalidRequest for what the other archive has, by its name in the query."""
    if kind is ArchiveKind.VOLUME and table:
        raise InvalidRequest(
            "table: a volume has no tables: leave it out, or ask for /backup/download/database"
        )
    if kind is ArchiveKind.DATABASE and path:
        raise InvalidRequest(
            "path: a database has no files: leave it out, or ask for /backup/download/volume"
        )
    if kind is ArchiveKind.DATABASE and workers is not None and workers > 1:
        raise InvalidRequest(
            "workers: only a volume is assembled by several functions: leave it out, or ask for"
            " /backup/download/volume"
        )


class _Downloadable(Protocol):
    """One object that is what was asked for."""

    @property
    def size(self) -> int: ...

    @property
    def sha256(self) -> str | None: ...

    @property
    def file_name(self) -> str: ...

    def read(self) -> bytes: ...

    def url(self, expires: timedelta) -> str: ...


@dataclass(frozen=True)
class _Stored:
    """An archive of a backup that nothing is missing in."""

    backend: Backend
    manifest: Manifest
    kind: ArchiveKind

    @property
    def size(self) -> int:
        return self._archive.size

    @property
    def sha256(self) -> str | None:
        return self._archive.sha256

    @property
    def file_name(self) -> str:
        return f"{self.manifest.id}-{self.kind}.tgz"

    def read(self) -> bytes:
        name = self._archive.name
        return self.backend.catalog.backups.open(self.manifest.id, name).read(0, self.size)

    def url(self, expires: timedelta) -> str:
        return self.backend.catalog.backups.download_url(self.manifest.id, self.kind, expires)

    @property
    def _archive(self) -> Archive:
        manifest = self.manifest
        return manifest.database if self.kind is ArchiveKind.DATABASE else manifest.volume


@dataclass(frozen=True)
class _Assembled:
    """An archive that was assembled."""

    backend: Backend
    name: str
    file_name: str
    size: int
    sha256: None = None

    def read(self) -> bytes:
        found = self.backend.catalog.downloads.find(self.name)
        if found is None:
            raise NotFound("the archive was deleted while it was read; call again")
        return found.read(0, self.size)

    def url(self, expires: timedelta) -> str:
        return self.backend.catalog.downloads.url(self.name, expires, file_name=self.file_name)


def _found(backend: Backend, wanted: DownloadRequest) -> _Downloadable:
    """What is asked for; raises DownloadNotReady when it has to be assembled and is not there."""
    manifest = backend.catalog.backups.get(wanted.backup_id)
    is_whole = not wanted.selection
    is_stored = manifest.volume.exact and not manifest.sources
    if is_whole and (wanted.kind is ArchiveKind.DATABASE or is_stored):
        return _Stored(backend, manifest, wanted.kind)
    name = download_name(manifest, wanted.kind, wanted.selection)
    file_name = f"{manifest.id}-{wanted.kind}{'' if is_whole else '-selection'}.tgz"
    run: Run | None = None
    until = backend.catalog.now() + backend.longest_wait
    while (found := backend.catalog.downloads.find(name)) is None:
        run = _under_way(backend, name) if run is None else backend.catalog.runs.get(run.id)
        if run is None:
            run = _start(backend, wanted, name, manifest)
        elif run.error is not None:
            raise _told(run)
        if backend.catalog.now() >= until:
            raise DownloadNotReady(run.id)
        time.sleep(_POLL_SECONDS)
    return _Assembled(backend, name, file_name, found.size)


def _under_way(backend: Backend, name: str) -> Run | None:
    """The newest run that assembles this: one that is alive, or failed a moment ago."""
    now = backend.catalog.now()
    for run_id in _recent(backend, name):
        with suppress(NotFound, UnknownFormat):
            run = backend.catalog.runs.get(run_id)
            if run.error is not None:
                return run if now - run.updated_at < _FAILURE_TOLD else None
            if not run.state.ended and now - run.updated_at < _DEAD_AFTER:
                return run
    return None


def _recent(backend: Backend, name: str) -> Iterator[str]:
    oldest = backend.catalog.now() - _RUNS_LOOKED_AT
    for text in backend.catalog.runs.ids():
        run_id = RunId.parse(text)
        if run_id.started_at < oldest:
            return
        if may_assemble(run_id, name):
            yield text


def _start(backend: Backend, wanted: DownloadRequest, name: str, manifest: Manifest) -> Run:
    catalog = backend.catalog
    run_id = download_run_id(name, catalog.now())
    run = catalog.runs.queue(run_id, RunKind.DOWNLOAD, manifest.id, backup_run_id=manifest.run_id)
    with queued(catalog, run.id, backend.log):
        event = wanted.model_copy(update={"run_id": run.id})
        backend.start(backend.function_for(RunKind.DOWNLOAD), event.model_dump(mode="json"))
    return run


def _told(run: Run) -> Exception:
    """The failure of a run as the one of this call."""
    code, reason = (run.error.code, run.error.message) if run.error else ("", "")
    for kind in (NotFound, InvalidRequest):
        if code == kind.code:
            return kind(reason)
    return DownloadFailed(run.id, reason)


def _presigned(backend: Backend, found: _Downloadable, expires: int) -> Download:
    lives = timedelta(seconds=expires)
    return Download(
        url=found.url(lives),
        expires_at=backend.catalog.now() + lives,
        size=found.size,
        sha256=found.sha256,
        file_name=found.file_name,
    )
