"""The pause of scheduled restores."""

from collections.abc import Callable
from datetime import datetime

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog.keys import Keys
from lcp_backup.document import read_document
from lcp_backup.errors import ObjectNotFound
from lcp_backup.model import Pause


class StoredPause:
    """Whether scheduled restores of an environment are paused; `now` answers aware UTC."""

    def __init__(self, store: ObjectStore, keys: Keys, now: Callable[[], datetime]) -> None:
        self._store = store
        self._keys = keys
        self._now = now

    def set(self, by: str, reason: str) -> Pause:
        """Keeps scheduled restores from starting until they are resumed; may be called again."""
        pause = Pause(by=by, reason=reason, since=self._now())
        self._store.put(self._keys.pause, pause.model_dump_json(indent=1).encode())
        return pause

    def clear(self) -> None:
        """Lets scheduled restores start again; does nothing when they may already."""
        self._store.delete([self._keys.pause])

    def get(self) -> Pause | None:
        """The pause that stands, if any; raises UnknownFormat rather than to overlook one."""
        try:
            return read_document(Pause, self._store.get(self._keys.pause).body, "pause")
        except ObjectNotFound:
            return None
