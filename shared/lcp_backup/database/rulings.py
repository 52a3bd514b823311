"""What the judge of a dump answers: what a statement is, and what of it is to be sent."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class StatementKind(StrEnum):
    """What a load does with a statement."""

    ROWS = "rows"
    TABLE = "table"
    """Definition of a table or sequence, and what dumps do to a table around its rows."""
    SESSION = "session"
    CREATE_SCHEMA = "create-schema"
    """Of the dump's own schema; the ruling's sql holds the options only."""
    ALTER_SCHEMA = "alter-schema"
    DROP_SCHEMA = "drop-schema"
    VIEW = "view"
    TRIGGER = "trigger"
    ROUTINE = "routine"
    EVENT = "event"
    DROP_CODE = "drop-code"
    """DROP of a view, trigger, routine or event."""
    LOCK = "lock"
    """LOCK TABLES, UNLOCK TABLES."""
    NOTHING = "nothing"
    """Nothing is left of it on this server, or the load does it itself: USE of the dump's own
    schema and transaction control."""
    LEFT_OUT = "left-out"
    """Needs rights a managed server does not give, and no row needs it."""


STORED_CODE: Final = frozenset(
    {StatementKind.VIEW, StatementKind.TRIGGER, StatementKind.ROUTINE, StatementKind.EVENT}
)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What to do with one statement, and the bytes to send."""

    kind: StatementKind
    sql: bytes
    name: str = ""
    """Table or stored code the statement is about, unquoted."""
    creates: bool = False
    """The statement creates the table `name`."""
    drops: bool = False
    definer: str = ""
    """Of stored code: what its DEFINER clause said, such as `root@localhost`. `sql` has none."""
    disabled: bytes = b""
    """Of an event: the same statement, but that the event is created disabled."""
    table: str = ""
    """Of a trigger: its table, unquoted."""
    columns: tuple[str, ...] | None = None
    """Of rows: the columns that are named, unquoted; None when none are."""
    values_at: int = 0
    """Of rows: where the parenthesis of the first row stands in `sql`."""


NOTHING: Final = Ruling(StatementKind.NOTHING, b"")
