"""What routes depend on: the backend, and a caller who may."""

from difflib import get_close_matches
from typing import Annotated

from fastapi import Depends, Path, Query, Request

from lcp_backup.errors import InvalidRequest
from lcp_backup.model import BackupId, RunId
from lcp_backup_api import calls, identity
from lcp_backup_api.backend import Backend
from lcp_backup_api.users import Caller


def _backend(request: Request) -> Backend:
    backend: Backend = request.app.state.backend
    return backend


def _backup_id(
    request: Request,
    backup_id: Annotated[str, Path(examples=["acme-prd-202611230015"], max_length=160)],
) -> str:
    calls.refuse_by_word(request)
    # Nothing that is no id ever gets into a key in the bucket.
    return str(BackupId.parse(backup_id))


def _run_id(
    run_id: Annotated[str, Path(examples=["20261123T001500-create-0a1b2c3d"], max_length=100)],
) -> str:
    return str(RunId.parse(run_id))


def _upload_id(
    upload_id: Annotated[str, Path(examples=["20261123T001500-upload-0a1b2c3d"], max_length=100)],
) -> str:
    return _run_id(upload_id)


def _next(
    next: Annotated[  # noqa: A002 -- its name in the query
        str | None, Query(description="The `next` of the page before.", max_length=160)
    ] = None,
) -> str | None:
    if next is None:
        return None
    return str(RunId.find(next) or BackupId.parse(next))


def refuse_unknown_parameters(request: Request) -> None:
    """Raises for a query parameter that the call does not have.

    Without the word that was misspelt, more would be done than was asked for: `?tables=User_` of a
    restore would replace the whole site.
    """
    if not request.query_params:
        return
    takes = calls.taken(request)
    for name in request.query_params:
        if name not in takes.query:
            raise InvalidRequest(f"{name[:100]}: {_no_parameter(name, takes)}")


def _no_parameter(name: str, takes: calls.Taken) -> str:
    if name in takes.body:
        return f'this call takes it in its body, as JSON: {{"{name}": ...}}'
    told = "this call has no such parameter"
    if meant := get_close_matches(name, takes.query, n=1):
        return f"{told}; did you mean ?{meant[0]}=...?"
    return f"{told}; it takes {', '.join(takes.query) or 'none'}"


TheBackend = Annotated[Backend, Depends(_backend)]
Viewer = Annotated[Caller, Depends(identity.viewer)]
Admin = Annotated[Caller, Depends(identity.admin)]
TheBackupId = Annotated[str, Depends(_backup_id)]
TheRunId = Annotated[str, Depends(_run_id)]
TheUploadId = Annotated[str, Depends(_upload_id)]
TheNext = Annotated[str | None, Depends(_next)]
