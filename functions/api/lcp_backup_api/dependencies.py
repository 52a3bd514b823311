"""What routes depend on: the backend, and a caller who may."""

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


def refuse_misnamed(request: Request, **rightly: str) -> None:
    """Raises for a parameter by the name that the same has elsewhere, as `paths` of a restore.

    Others that are unknown are left alone. These would be answered with more than was asked for,
    as if it had been meant.
    """
    for name, right in rightly.items():
        if name in request.query_params:
            raise InvalidRequest(f"{name}: this call has it as {right}: ?{right}=...")


TheBackend = Annotated[Backend, Depends(_backend)]
Viewer = Annotated[Caller, Depends(identity.viewer)]
Admin = Annotated[Caller, Depends(identity.admin)]
TheBackupId = Annotated[str, Depends(_backup_id)]
TheRunId = Annotated[str, Depends(_run_id)]
TheUploadId = Annotated[str, Depends(_upload_id)]
TheNext = Annotated[str | None, Depends(_next)]
