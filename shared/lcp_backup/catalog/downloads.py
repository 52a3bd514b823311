"""Downloads: archives that were assembled of what lies in several, or of a selection.

Each can be made again at any time, so each is kept for a day only.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from lcp_backup.aws.s3 import ObjectInfo, ObjectStore
from lcp_backup.aws.s3_reader import ObjectReader
from lcp_backup.aws.s3_writer import ObjectWriter
from lcp_backup.catalog.keys import Keys
from lcp_backup.errors import ObjectNotFound
from lcp_backup.model import ArchiveKind, Manifest, RunId, RunKind

_TOKEN_DIGITS = 8


def download_name(manifest: Manifest, kind: ArchiveKind, selection: Iterable[str] = ()) -> str:
    """The name of the archive that holds this of a backup, and nothing else.

    It is made of the run that made the backup: the backup's id may be another one's later.

    Arguments: `selection` are paths of the volume or tables of the database; none means all.
    """
    chosen = json.dumps(sorted(set(selection))).encode()
    return f"{manifest.run_id}-{kind}-{hashlib.sha256(chosen).hexdigest()[:32]}.tgz"


def download_run_id(name: str, now: datetime) -> str:
    """The id of a run that assembles this archive and is asked for now (UTC).

    Its token tells what it assembles, so two who ask in the same second ask for the same run.
    """
    return str(RunId(started_at=now, kind=RunKind.DOWNLOAD, token=_token(name)))


def may_assemble(run_id: RunId, name: str) -> bool:
    """Whether a run of this id assembles this archive; or, once in billions, another one."""
    return run_id.kind is RunKind.DOWNLOAD and run_id.token == _token(name)


def _token(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_TOKEN_DIGITS]


class Downloads:
    """What was assembled in one environment; names are those of `download_name`."""

    def __init__(self, store: ObjectStore, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    def find(self, name: str) -> ObjectReader | None:
        """The archive, to be read; None when it is not there, or not any more."""
        try:
            return self._store.reader(self._keys.of_download(name))
        except ObjectNotFound:
            return None

    def writer(self, name: str, *, threads: int = 4) -> ObjectWriter:
        """Where a new one's bytes go; PreconditionFailed when another run was faster.

        Arguments: `threads` is how many parts are sent, or copied, at once.
        """
        return self._store.writer(self._keys.of_download(name), threads=threads, takes_head=True)

    def url(self, name: str, expires: timedelta, *, file_name: str) -> str:
        """A URL by which anybody may fetch it for a while, to be kept as `file_name`."""
        return self._store.presigned_get(
            self._keys.of_download(name),
            expires=expires,
            file_name=file_name,
            content_type="application/gzip",
        )

    def all(self) -> Iterator[ObjectInfo]:
        """Everything that was assembled, in no order that means anything."""
        return self._store.entries(self._keys.downloads)

    def delete(self, some: Iterable[ObjectInfo]) -> None:
        """Deletes what was found."""
        self._store.delete([entry.key for entry in some])

    def abort_stale(self, before: datetime) -> None:
        """Ends multipart uploads that dead runs began before this moment."""
        for multipart in list(self._store.open_multiparts(self._keys.downloads)):
            if multipart.started <= before:
                self._store.abort_multipart(multipart.key, multipart.multipart_id)
