"""Objects below the backups' folder that are written anew, though nothing there is written over."""

from contextlib import suppress

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.errors import PreconditionFailed


def put_anew(store: ObjectStore, key: str, body: bytes) -> None:
    """Writes an object in the place of the one that was there, which is deleted first.

    A kill in between leaves none. Of two that write at the same moment, the last one counts. Raises
    StorageError.
    """
    while True:
        store.delete([key])
        with suppress(PreconditionFailed):
            store.put_new(key, body)
            return
