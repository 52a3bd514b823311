"""The rows of a Liferay database that name files of its document library, from 7.0 on.

Read page by page from a schema that nobody changes, so memory does not grow with their number.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

import pymysql

from lcp_backup.database.endpoint import Connection
from lcp_backup.database.sql import describe, execute, numbered, quote, text
from lcp_backup.errors import ServerGaveUp

ENTRIES: Final = "DLFileEntry"
VERSIONS: Final = "DLFileVersion"
IMAGES: Final = "Image"
CONTENTS: Final = "DLContent"
"""Where Liferay's DBStore keeps the content of documents."""
TABLES: Final = (ENTRIES, VERSIONS, IMAGES, CONTENTS)

_NEEDED: Final = {
    ENTRIES: {"fileEntryId", "groupId", "companyId", "folderId", "name", "title", "version"},
    VERSIONS: {"fileVersionId", "fileEntryId", "version", "size_"},
}
_NEEDED_OF_IMAGES: Final = {"imageId", "companyId", "type_", "size_"}
_PAGE: Final = 10_000
"""Rows of one answer."""
_MOST_KEY: Final = 2**63 - 1
_DEFAULT_VERSION: Final = "1.0"


class DocumentRow(NamedTuple):
    """A row, and the file that it names in the terms of Liferay's stores."""

    table: str
    """As Liferay calls it."""
    id: int
    """Its primary key."""
    title: str
    company: int
    repository: int
    name: str
    version: str
    """As the store is told it."""
    other: tuple[int, str] | None
    """Company and version under which Liferay looks when there is no file under the first."""
    size: int | None
    """Bytes, as the row says."""
    checksum: str | None
    """Of the content, as the row says: its SHA-256, in early versions its SHA-1, in base64."""


@dataclass(frozen=True)
class DocumentTables:
    """The tables of one schema that name files; `find` makes one."""

    connection: Connection
    schema: str
    names: dict[str, str]
    """What is there of TABLES, by Liferay's names; a server may keep them in lower case."""
    columns: dict[str, frozenset[str]]
    """Their columns in lower case, by Liferay's names of the tables."""

    @property
    def are_liferays(self) -> bool:
        """Whether the schema has the tables of a document library, with the columns needed."""
        return all(self._has(table, needed) for table, needed in _NEEDED.items())

    @property
    def has_images(self) -> bool:
        """Whether there is Liferay's table of images, too."""
        return self._has(IMAGES, _NEEDED_OF_IMAGES)

    def rows(self, check: Callable[[], None], *, images: bool = True) -> Iterator[DocumentRow]:
        """All rows that name a file, table by table; `check` is called between pages.

        A version whose entry is missing names none. Raises ServerGaveUp.
        """
        with _server_errors():
            for page in self._pages(VERSIONS, "fileVersionId", check):
                yield from map(_of_version, self._versions(*page))
            for page in self._pages(ENTRIES, "fileEntryId", check):
                yield from map(_of_entry, self._entries_without_version(*page))
            if images and self.has_images:
                for page in self._pages(IMAGES, "imageId", check):
                    yield from map(_of_image, self._images(*page))

    def _pages(
        self, table: str, key: str, check: Callable[[], None]
    ) -> Iterator[tuple[int, int | None]]:
        """Stretches of a table's key, each from the first value to before the second."""
        name = f"{{{table}}}"
        rows = self._ask(f"SELECT MIN({key}) FROM {name}")  # noqa: S608 -- names of ours
        first = _number(rows[0][0])
        while first is not None:
            check()
            # (A publication's rows have the same key: no page ends among them.)
            rows = self._ask(
                f"SELECT {key} FROM {name} WHERE {key} >= %s"  # noqa: S608 -- names of ours
                f" GROUP BY {key} ORDER BY {key} LIMIT 1 OFFSET {_PAGE}",
                first,
            )
            following = _number(rows[0][0]) if rows else None
            yield first, following
            first = following

    def _versions(self, first: int, end: int | None) -> tuple[tuple[object, ...], ...]:
        sql = (
            "SELECT v.fileVersionId, e.title, e.companyId, e.groupId, e.folderId, e.name,"
            " v.version, {storeUUID}, v.size_, {checksum}"
            " FROM {DLFileVersion} v JOIN {DLFileEntry} e ON e.fileEntryId = v.fileEntryId"
        )
        if self._has(VERSIONS, {"ctCollectionId"}) and self._has(ENTRIES, {"ctCollectionId"}):
            # The entry of the same publication, or where that has none of its own, the live one.
            sql += (
                " AND e.ctCollectionId = (SELECT MAX(o.ctCollectionId) FROM {DLFileEntry} o WHERE"
                " o.fileEntryId = v.fileEntryId AND o.ctCollectionId IN (0, v.ctCollectionId))"
            )
        return self._ask_page(f"{sql} WHERE v.fileVersionId", first, end)

    def _entries_without_version(
        self, first: int, end: int | None
    ) -> tuple[tuple[object, ...], ...]:
        return self._ask_page(
            "SELECT e.fileEntryId, e.title, e.companyId, e.groupId, e.folderId, e.name, e.version"
            " FROM {DLFileEntry} e WHERE NOT EXISTS (SELECT 1 FROM {DLFileVersion} v"
            " WHERE v.fileEntryId = e.fileEntryId AND v.version = e.version) AND e.fileEntryId",
            first,
            end,
        )

    def _images(self, first: int, end: int | None) -> tuple[tuple[object, ...], ...]:
        sql = "SELECT imageId, companyId, type_, size_ FROM {Image} WHERE imageId"
        return self._ask_page(sql, first, end)

    def _ask_page(
        self, until_key: str, first: int, end: int | None
    ) -> tuple[tuple[object, ...], ...]:
        """Arguments: `until_key` ends with the key, which is to be in the page."""
        most = _MOST_KEY if end is None else end - 1
        return self._ask(f"{until_key} BETWEEN %s AND %s", first, most)

    def _or_null(self, column: str) -> str:
        return f"v.{column}" if self._has(VERSIONS, {column}) else "NULL"

    def _has(self, table: str, columns: set[str]) -> bool:
        return {it.lower() for it in columns} <= self.columns.get(table, frozenset())

    def _ask(self, sql: str, *values: object) -> tuple[tuple[object, ...], ...]:
        """Arguments: in `sql` stand Liferay's names of tables, and those of columns of versions
        that may be missing, in braces."""
        tables = {it: f"{quote(self.schema)}.{quote(name)}" for it, name in self.names.items()}
        columns = {it: self._or_null(it) for it in ("storeUUID", "checksum")}
        return execute(self.connection, sql.format(**tables, **columns), *values)


def find(connection: Connection, schema: str) -> DocumentTables:
    """What a schema has of Liferay's tables of documents; raises ServerGaveUp."""
    with _server_errors():
        rows = execute(
            connection,
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = %s AND LOWER(table_name) IN %s",
            schema,
            [table.lower() for table in TABLES],
        )
    there: dict[str, set[str]] = {}
    for table, column in rows:
        there.setdefault(text(table), set()).add(text(column).lower())
    names = spelled(there)
    return DocumentTables(
        connection,
        schema,
        names,
        {table: frozenset(there[name]) for table, name in names.items()},
    )


def spelled(tables: Iterable[str]) -> dict[str, str]:
    """How some tables spell the names of TABLES; one that does as Liferay comes first."""
    found: dict[str, str] = {}
    for name in tables:
        for table in TABLES:
            if name == table or (name.lower() == table.lower() and table not in found):
                found[table] = name
    return found


@contextmanager
def _server_errors() -> Iterator[None]:
    """Maps what the server says to ServerGaveUp: no backup is bad for that."""
    try:
        yield
    except pymysql.MySQLError as error:
        why = "the rows that name documents could not be read"
        raise ServerGaveUp(
            f"{why}: {describe(error)}", public=f"{why}: {numbered(error)}"
        ) from None


def _of_version(row: tuple[object, ...]) -> DocumentRow:
    key, title, company, group, folder, name, version, uuid, size, checksum = row
    plain = text(version or "")
    stored = f"{plain}~{text(uuid)}" if uuid else plain
    at = _number(company) or 0
    return DocumentRow(
        VERSIONS,
        _number(key) or 0,
        text(title or ""),
        at,
        _number(folder) or _number(group) or 0,
        text(name or ""),
        stored,
        (at, plain) if uuid else None,
        _number(size),
        text(checksum) if checksum else None,
    )


def _of_entry(row: tuple[object, ...]) -> DocumentRow:
    made = _of_version((*row, None, None, None))
    return made._replace(table=ENTRIES)


def _of_image(row: tuple[object, ...]) -> DocumentRow:
    key, company, kind, size = row
    number = _number(key) or 0
    name = f"{number}.{text(kind or '')}"
    return DocumentRow(
        IMAGES,
        number,
        name,
        _number(company) or 0,
        0,
        name,
        _DEFAULT_VERSION,
        (0, _DEFAULT_VERSION),
        _number(size),
        None,
    )


def _number(value: object) -> int | None:
    return None if value is None else int(text(value))
