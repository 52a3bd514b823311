"""Rows that name files, and the files of the store: both in order of their places, side by side."""

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, NamedTuple

from lcp_backup.exclusion import PathPatterns
from lcp_backup.liferay.store import ROOT, Sort, sort_of
from lcp_backup.verification import Difference, DifferenceKind

MOST_LISTED: Final = 10_000
"""Differences of each kind that are listed; the others are counted only."""
_SHA256_BYTES: Final = 32


class Named(NamedTuple):
    """What a row says of a file, at one of the places where that may lie."""

    path: str
    is_other: bool
    """Whether it is the second place, where Liferay looks when there is none at the first."""
    table: str
    id: int
    title: str
    size: int | None
    checksum: str | None


class StoredFile(NamedTuple):
    """A file of the store."""

    path: str
    size: int | None
    """None where the index does not say, as of a link."""
    sha256: str | None
    changed_ns: int
    """When content or attributes were changed last, in nanoseconds since 1970."""


@dataclass
class Comparison:
    """What was counted and found.

    Arguments: `left_out` covers what the backup does not hold on purpose; a file that was changed
    at or after `since_ns` may belong to rows that are newer than those of the backup.
    """

    left_out: PathPatterns
    since_ns: int
    rows: int = 0
    files: int = 0
    found: int = 0
    """Rows whose file is there."""
    checksums: int = 0
    """Rows whose checksum was compared."""
    newer: int = 0
    generated: int = 0
    other: int = 0
    kept_out: int = 0
    """Rows whose file was left out on purpose."""
    counts: dict[DifferenceKind, int] = field(
        default_factory=lambda: dict.fromkeys(DifferenceKind, 0)
    )
    listed: list[Difference] = field(default_factory=list)
    _elsewhere: dict[tuple[str, int], StoredFile] = field(default_factory=dict)
    """The files at the second place of rows whose first has not come."""

    def run(
        self,
        rows: Iterable[Named],
        files: Iterable[StoredFile],
        order: Callable[[str], str],
        check: Callable[[], None],
    ) -> None:
        """Goes through both once; both are in `order` of their paths.

        Where a row has two places, the second comes first: it is the same without Liferay's UUID,
        or in the company 0.
        """
        named = groupby(rows, key=lambda it: it.path)
        group = next(named, None)
        for number, file in enumerate(files):
            if number % 1000 == 0:
                check()
            while group is not None and order(group[0]) < order(file.path):
                self._without_file(group[1])
                group = next(named, None)
            self.files += 1
            if group is not None and group[0] == file.path:
                self._with_file(group[1], file)
                group = next(named, None)
            else:
                self._without_row(file)
        while group is not None:
            check()
            self._without_file(group[1])
            group = next(named, None)

    def _with_file(self, rows: Iterator[Named], file: StoredFile) -> None:
        for row in rows:
            if row.is_other:
                self._elsewhere[row.table, row.id] = file
                continue
            self._elsewhere.pop((row.table, row.id), None)
            self._compare(row, file)

    def _without_file(self, rows: Iterator[Named]) -> None:
        for row in rows:
            if row.is_other:
                continue
            file = self._elsewhere.pop((row.table, row.id), None)
            if file is not None:
                self._compare(row, file)
                continue
            self.rows += 1
            if self.left_out.cover(row.path, folder=False):
                self.kept_out += 1
            else:
                self._tell(DifferenceKind.MISSING, row.path, row)

    def _compare(self, row: Named, file: StoredFile) -> None:
        self.rows += 1
        self.found += 1
        kind = None
        if row.size is not None and file.size is not None and row.size != file.size:
            kind = DifferenceKind.SIZE
        elif (expected := _sha256(row.checksum)) is not None and file.sha256 is not None:
            self.checksums += 1
            if expected != file.sha256:
                kind = DifferenceKind.CHECKSUM
        if kind is None:
            return
        if file.changed_ns >= self.since_ns:
            self.newer += 1
        else:
            self._tell(kind, file.path, row, file.size)

    def _without_row(self, file: StoredFile) -> None:
        sort = sort_of(file.path)
        if sort is Sort.GENERATED:
            self.generated += 1
        elif sort is Sort.OTHER:
            self.other += 1
        elif sort is Sort.OF_ROWS:
            if file.changed_ns >= self.since_ns:
                self.newer += 1
            else:
                self._tell(DifferenceKind.UNNAMED, file.path, None, file.size)

    def _tell(
        self, kind: DifferenceKind, path: str, row: Named | None, size: int | None = None
    ) -> None:
        self.counts[kind] += 1
        if self.counts[kind] > MOST_LISTED:
            return
        said = {} if row is None else {"table": row.table, "id": row.id, "title": row.title}
        self.listed.append(
            Difference.model_validate(
                {
                    "kind": kind,
                    "path": path,
                    **said,
                    "row_size": None if row is None else row.size,
                    "file_size": size,
                }
            )
        )


def is_of_store(name: str) -> bool:
    """Whether a member of the volume lies in the store."""
    return name.startswith(ROOT)


def _sha256(checksum: str | None) -> str | None:
    """A checksum in hexadecimal, if it is a SHA-256."""
    if checksum is None:
        return None
    try:
        raw = base64.b64decode(checksum, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw.hex() if len(raw) == _SHA256_BYTES else None
