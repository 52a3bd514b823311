"""The scripts of an environment: what operators put into the bucket for restores to run."""

from typing import Final

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.errors import InvalidRequest

_MOST_BYTES: Final = 16 << 20
"""Of all of them as they lie there: they are held in memory, beside a load."""
_MOST_OBJECTS: Final = 1000


class StoredScripts:
    """Scripts below a prefix of the environment's own bucket."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def read(self, prefix: str) -> list[tuple[str, bytes]]:
        """The name and the bytes of every object below a prefix, in the order of their names.

        Arguments: `prefix` without a slash at its end. Raises InvalidRequest when nothing lies
        there, or too much; StorageError.
        """
        below = f"{prefix}/"
        entries = [it for it in self._store.entries(below) if not it.key.endswith("/")]
        if not entries:
            raise InvalidRequest(
                "scripts are asked for, and nothing lies where LCP_BACKUP_RESTORE_SCRIPTS says: put"
                " them there, or ask for a restore without"
            )
        if len(entries) > _MOST_OBJECTS or sum(it.size for it in entries) > _MOST_BYTES:
            raise InvalidRequest(
                f"where LCP_BACKUP_RESTORE_SCRIPTS says there are more than {_MOST_OBJECTS} objects"
                f" or {_MOST_BYTES} bytes: leave nothing there but scripts"
            )
        return [(it.key.removeprefix(below), self._store.get(it.key).body) for it in entries]
