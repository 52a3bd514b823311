"""What a restore notes on the server while it goes on, so that the next one can finish or undo it.

It lies in a schema of its own, `<name>_lcp_journal`, in which only the master user may write: what
a dump holds is executed by an account that has no rights there. The two markers tell where the
swap stands; the one RENAME TABLE that moves the tables renames the first into the second.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lcp_backup.database.endpoint import Connection
from lcp_backup.database.rulings import StatementKind
from lcp_backup.database.sql import as_hex, drop_schema, execute, has_table, quote, tables_of

BEFORE: Final = "before_swap"
AFTER: Final = "after_swap"
EMPTIED: Final = "emptied"
"""In the place of AFTER while the new tables lie in the staging schema once more (see `swap`)."""
_STORED_CODE: Final = "stored_code"
_FACT: Final = "fact"
_CREATED: Final = re.compile(
    rb"\b(?:VIEW|TRIGGER|PROCEDURE|FUNCTION|PACKAGE|LIBRARY|EVENT)\b", re.IGNORECASE
)
"""The first of these words says what a statement creates."""
_IF_NOT_EXISTS: Final = re.compile(
    rb"[^`']*?\b(?:VIEW|TRIGGER)\s+IF\s+NOT\s+EXISTS\b", re.IGNORECASE
)


class Fact(StrEnum):
    """What is noted once for a swap, or once for each table."""

    STAGING = "staging"
    """The schema in which the dump was loaded."""
    RUN = "run"
    """The run whose functions fill a scratch schema one after the other, with no connection that
    outlasts them."""
    WHOLE = "whole"
    """Who loaded all of it, by a word that only that one knows; not there before all is."""
    PREVIOUS = "previous"
    """The schema to which the old tables go."""
    KEPT = "kept"
    """The same, when the old tables are to be kept there."""
    SCHEMA_MADE = "schema-made"
    """The live schema did not exist before the swap."""
    TABLE = "table"
    """A table of a swap that replaces only some."""


@dataclass(frozen=True, slots=True)
class StoredCode:
    """A view, trigger, routine or event, and the session in which it has to be created."""

    kind: StatementKind
    name: str
    statement: bytes
    """Without a definer: who creates it owns it."""
    character_set: str
    collation: str
    sql_mode: str
    time_zone: str
    schema_collation: str
    disabled: bytes = b""
    """Of an event: the statement that creates it disabled."""


class Journal:
    """The journal of one live schema, over the master's connection."""

    def __init__(self, control: Connection, live: str) -> None:
        self._control = control
        self.schema = f"{live}_lcp_journal"

    @property
    def exists(self) -> bool:
        """Whether a restore has begun and not ended."""
        return has_table(self._control, self.schema, _FACT)

    def create(self) -> None:
        """An empty journal; what an old one held is forgotten."""
        execute(self._control, f"CREATE DATABASE IF NOT EXISTS {quote(self.schema)}")
        for table in tables_of(self._control, self.schema):
            execute(self._control, f"DROP TABLE {self._table(table)}")
        execute(
            self._control,
            f"CREATE TABLE {self._table(_STORED_CODE)} (seq INT AUTO_INCREMENT PRIMARY KEY,"
            " live BOOL NOT NULL, kind VARCHAR(16) NOT NULL, name VARCHAR(255) NOT NULL,"
            " statement LONGBLOB NOT NULL, character_set VARCHAR(64) NOT NULL,"
            " collation VARCHAR(64) NOT NULL, sql_mode TEXT NOT NULL,"
            " time_zone VARCHAR(64) NOT NULL, schema_collation VARCHAR(64) NOT NULL,"
            " disabled LONGBLOB NOT NULL)"
            " ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        )
        # The last: a journal without it does not exist.
        execute(
            self._control,
            f"CREATE TABLE {self._table(_FACT)} (seq INT AUTO_INCREMENT PRIMARY KEY,"
            " fact VARCHAR(16) NOT NULL, name VARCHAR(255) NOT NULL)"
            " ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        )

    def drop(self) -> None:
        """The restore has ended."""
        drop_schema(self._control, self.schema)

    def note(self, fact: Fact, name: str) -> None:
        """Keeps a fact."""
        execute(
            self._control,
            f"INSERT INTO {self._table(_FACT)} (fact, name)"  # noqa: S608 -- a quoted name, and digits
            # (Not as parameters: the schema's name may hold a percent sign.)
            f" VALUES ({as_hex(str(fact))}, {as_hex(name)})",
        )

    def forget(self, fact: Fact) -> None:
        """Keeps it no more."""
        execute(
            self._control,
            f"DELETE FROM {self._table(_FACT)} WHERE fact = {as_hex(str(fact))}",  # noqa: S608 -- a quoted name, and digits
        )

    def noted(self, fact: Fact) -> tuple[str, ...]:
        """The names that were noted with it, in their order."""
        rows = execute(
            self._control,
            f"SELECT name FROM {self._table(_FACT)}"  # noqa: S608 -- a quoted name, and digits
            f" WHERE fact = {as_hex(str(fact))} ORDER BY seq",
        )
        return tuple(str(name) for (name,) in rows)

    def is_sealed(self, seal: str) -> bool:
        """Whether what is staged is what the load of this seal staged, all of it."""
        return self.exists and self.noted(Fact.WHOLE) == (seal,)

    def keep(self, code: StoredCode, *, live: bool = False) -> None:
        """Keeps stored code of the dump, or (`live`) of the live schema, until the swap's end.

        Of a view the last definition counts: dumps define a stand-in first. And of a trigger. But
        with IF NOT EXISTS, the first one does. (Of the rest the server says which.)
        """
        table = self._table(_STORED_CODE)
        if code.kind in {StatementKind.VIEW, StatementKind.TRIGGER}:
            same = (
                f"FROM {table} WHERE live = {int(live)}"
                f" AND kind = {as_hex(str(code.kind))} AND name = {as_hex(code.name)}"
            )
            if _IF_NOT_EXISTS.match(code.statement) and execute(self._control, f"SELECT 1 {same}"):
                return
            execute(self._control, f"DELETE {same}")
        values: tuple[str | bytes, ...] = (
            str(code.kind),
            code.name,
            code.statement,
            code.character_set,
            code.collation,
            code.sql_mode,
            code.time_zone,
            code.schema_collation,
            code.disabled,
        )
        execute(
            self._control,
            f"INSERT INTO {table} (live, kind, name, statement, character_set, collation, sql_mode,"  # noqa: S608 -- a quoted name, and digits
            " time_zone, schema_collation, disabled)"
            f" VALUES ({int(live)}, {', '.join(map(as_hex, values))})",
        )

    def forget_code(self, what: str, name: str) -> None:
        """Keeps stored code of the dump no more, which the dump drops again.

        Arguments: `what` as DROP says it, such as `PROCEDURE`: a function may have its name.
        """
        table = self._table(_STORED_CODE)
        found = execute(
            self._control,
            f"SELECT seq, statement FROM {table} WHERE live = 0 AND name = {as_hex(name)}",  # noqa: S608 -- a quoted name, and digits
        )
        for seq, statement in found:
            assert isinstance(statement, bytes)
            created = _CREATED.search(statement)
            if created is not None and created[0].upper() == what.upper().encode():
                execute(self._control, f"DELETE FROM {table} WHERE seq = {seq}")  # noqa: S608 -- as above

    def kept(self, *, live: bool = False) -> list[StoredCode]:
        """The stored code that was kept, in its order."""
        rows = execute(
            self._control,
            "SELECT kind, name, statement, character_set, collation, sql_mode, time_zone,"  # noqa: S608 -- a quoted name
            f" schema_collation, disabled FROM {self._table(_STORED_CODE)}"
            f" WHERE live = {int(live)} ORDER BY seq",
        )
        found = []
        for (
            kind,
            name,
            statement,
            charset,
            collation,
            mode,
            zone,
            schema_collation,
            disabled,
        ) in rows:
            assert isinstance(statement, bytes)
            assert isinstance(disabled, bytes)
            found.append(
                StoredCode(
                    kind=StatementKind(str(kind)),
                    name=str(name),
                    statement=statement,
                    character_set=str(charset),
                    collation=str(collation),
                    sql_mode=str(mode),
                    time_zone=str(zone),
                    schema_collation=str(schema_collation),
                    disabled=disabled,
                )
            )
        return found

    # --- markers --------------------------------------------------------------

    def mark(self, marker: str) -> None:
        """Sets a marker."""
        execute(
            self._control,
            f"CREATE TABLE {self._table(marker)} (nothing INT PRIMARY KEY) ENGINE=InnoDB",
        )

    def is_marked(self, marker: str) -> bool:
        """Whether a marker is set."""
        return has_table(self._control, self.schema, marker)

    def moves(self, marker: str, to: str) -> tuple[str, str, str, str]:
        """The move, for a RENAME TABLE, that makes one marker the other."""
        return (self.schema, marker, self.schema, to)

    def _table(self, name: str) -> str:
        return f"{quote(self.schema)}.{quote(name)}"
