"""Reports: whether rows and files of a backup agree, with the differences, beside its manifest."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog.anew import put_anew
from lcp_backup.catalog.keys import REPORT, Keys
from lcp_backup.errors import ObjectNotFound, UnknownFormat
from lcp_backup.model import Manifest
from lcp_backup.verification import Difference, Report

_LONGEST_FIRST_LINE: Final = 16 << 10
"""Bytes."""


class Reports:
    """The reports of one environment: each an object of JSON lines, the report itself the first."""

    def __init__(self, store: ObjectStore, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    def find(self, manifest: Manifest) -> tuple[Report, int] | None:
        """The last report on a backup and the size of its object in bytes; None without one.

        None, too, for what a later version wrote. Raises StorageError.
        """
        with suppress(ObjectNotFound, UnknownFormat):
            stored = self._store.reader(self._keys.of_backup(manifest.id, REPORT))
            begin = stored.read(0, min(stored.size, _LONGEST_FIRST_LINE))
            found = Report.read(begin.partition(b"\n")[0])
            return (found, stored.size) if found.is_about(manifest) else None
        return None

    def keep(self, report: Report, differences: Sequence[Difference]) -> None:
        """Keeps a report in the place of the one before.

        As `put_anew`.
        """
        key = self._keys.of_backup(report.backup_id, REPORT)
        lines = (
            report.model_dump_json(),
            *(it.model_dump_json(exclude_none=True) for it in differences),
        )
        body = "".join(f"{line}\n" for line in lines).encode()
        put_anew(self._store, key, body)

    def forget(self, backup_id: str) -> None:
        """Deletes the report on a backup; that there is none is fine."""
        self._store.delete([self._keys.of_backup(backup_id, REPORT)])

    def url(self, backup_id: str, expires: timedelta) -> str:
        """A URL by which anybody may fetch the report for a while."""
        return self._store.presigned_get(
            self._keys.of_backup(backup_id, REPORT),
            expires=expires,
            file_name=f"{backup_id}-{REPORT}",
            content_type="application/jsonl",
        )
