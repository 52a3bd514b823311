"""Which pieces of a dump's rows are in the staging schema, where several processes load them.

It is a table of that schema, and the server keeps it exact: a piece's row there is written first in
the very transaction that loads the piece. Of two processes that load the same one, the second waits
for the first, and then finds that it is there; one that dies takes back both.
"""

import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Self

import pymysql

from lcp_backup.database.endpoint import Connection
from lcp_backup.database.piece_load import Inserted, Told
from lcp_backup.database.session import Session
from lcp_backup.database.sql import as_hex, describe, execute, load_failed, quote, text

_NAME: Final = "lcp_load_"


class LoadedBeforeError(Exception):
    """A piece of rows is in the table already, by another process or an earlier attempt."""


@dataclass(frozen=True)
class LoadProgress:
    """The table, by its schema and its name, which no dump can know."""

    schema: str
    table: str

    @classmethod
    def create(cls, control: Connection, schema: str) -> Self:
        """A new one, in which nothing is loaded; raises pymysql.MySQLError."""
        made = cls(schema, _NAME + secrets.token_hex(16))
        execute(
            control,
            f"CREATE TABLE {made._quoted} (piece INT UNSIGNED NOT NULL PRIMARY KEY,"
            " inserted BIGINT UNSIGNED NULL, as_statements BIGINT UNSIGNED NULL,"
            " statements BIGINT UNSIGNED NULL, left_out LONGBLOB NULL) ENGINE = InnoDB",
        )
        return made

    def drop(self, control: Connection) -> None:
        """Drops it, so that the schema holds what the dump does; raises pymysql.MySQLError."""
        execute(control, f"DROP TABLE {self._quoted}")

    def begin(self, session: Session, piece: int) -> None:
        """Before a piece is loaded, in the same transaction; waits for who loads it now.

        Raises LoadedBeforeError, LoadFailed.
        """
        # (Without the schema's name, which could be another in the dump's character set.)
        try:
            with _noting():
                session.note(f"INSERT INTO {self.table} (piece) VALUES ({piece})")  # noqa: S608 -- a name of ours, a number
        except pymysql.err.IntegrityError:
            raise LoadedBeforeError from None

    def end(self, session: Session, piece: int, inserted: Inserted) -> None:
        """Behind the piece's rows, in the same transaction; raises LoadFailed."""
        told = inserted.told
        with _noting():
            session.note(
                f"UPDATE {self.table} SET inserted = {sum(inserted.rows.values())},"  # noqa: S608 -- a name of ours, numbers, digits
                f" as_statements = {told.rows_as_statements}, statements = {told.statements},"
                f" left_out = {as_hex(json.dumps(list(told.left_out)).encode())}"
                f" WHERE piece = {piece}"
            )

    def read(self, connection: Connection) -> dict[int, tuple[int, Told]]:
        """What is loaded, by piece: how many rows, and what there is to tell of them.

        Raises pymysql.MySQLError.
        """
        rows = execute(
            connection,
            f"SELECT piece, inserted, as_statements, statements, left_out FROM {self._quoted}",  # noqa: S608 -- a quoted name
        )
        return {
            int(str(piece)): (
                int(str(inserted)),
                Told(
                    statements=int(str(statements)),
                    left_out=dict.fromkeys(json.loads(text(left_out))),
                    rows_as_statements=int(str(as_statements)),
                ),
            )
            for piece, inserted, as_statements, statements, left_out in rows
        }

    def lock(self, table: str) -> str:
        """The name of a lock of the server's, for what one process at a time does with a table."""
        return f"{self.table}.{hashlib.sha256(table.encode()).hexdigest()[:16]}"

    @property
    def _quoted(self) -> str:
        return f"{quote(self.schema)}.{quote(self.table)}"


@contextmanager
def _noting() -> Iterator[None]:
    """Maps what the server says to LoadFailed, but that a row is there already."""
    try:
        yield
    except pymysql.err.IntegrityError:
        raise
    except pymysql.MySQLError as error:
        raise load_failed(
            error, f"it could not be noted that rows are loaded: {describe(error)}"
        ) from None
