"""Pins: a backup is kept for longer, until somebody says that it need not be."""

from http import HTTPStatus

from fastapi import APIRouter, Request

from lcp_backup.errors import NotFound
from lcp_backup_api.audit import audited
from lcp_backup_api.dependencies import Admin, TheBackend, TheBackupId
from lcp_backup_api.problems import documented
from lcp_backup_api.schemas import Pin, PinReason

router = APIRouter(tags=["backups"])


@router.put(
    "/backup/{backup_id}/pin",
    summary="Keep one backup from expiring and from being deleted",
    responses=documented(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    response_model=Pin,
)
def pin_backup(
    caller: Admin, backend: TheBackend, backup_id: TheBackupId, request: Request, body: PinReason
) -> Pin:
    """It stays, whatever the retention says, until it is unpinned.

    The same reason again changes nothing; another takes its place. Refused once the backup's
    deletion has begun.
    """
    catalog = backend.catalog
    with audited(backend.log, request, caller, "pin", backup_id=backup_id):
        manifest = catalog.backups.get(backup_id)
        pin = catalog.pins.pin(manifest, caller.name, body.reason)
        # Should it have gone long before this call got here, nothing tells so any more.
        if catalog.backups.get(backup_id).run_id != manifest.run_id:
            raise NotFound(f"backup {backup_id} was deleted, and another one got its id")
        return Pin.of(pin)


@router.delete(
    "/backup/{backup_id}/pin",
    summary="Let one backup expire and be deleted again",
    status_code=HTTPStatus.NO_CONTENT,
    responses=documented(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND),
)
def unpin_backup(
    caller: Admin, backend: TheBackend, backup_id: TheBackupId, request: Request
) -> None:
    """Of one that is past the retention period, the next cleanup is the end."""
    with audited(backend.log, request, caller, "unpin", backup_id=backup_id):
        catalog = backend.catalog
        catalog.pins.unpin(catalog.backups.get(backup_id), caller.name)
