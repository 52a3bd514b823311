"""What a dump may say: an allow-list of what dump programs write; all else is refused by name.

A second line of defence. The first are the server's accounts: what comes out of an archive is
executed by one that has rights on the staging schema alone, and stored code is owned by a locked
one that has rights on the site's schema alone.

A row statement is judged by the bytes before its values (`rows.py` reads those). Everything else is
judged by a grammar (`grammar.py`) and built anew of its tokens, without comments: what is sent is
what was judged. Names of the dump's own schema are taken out of heads, so that every statement runs
in the schema the connection stands in.

Bodies of views, triggers, routines and events are the site's own code. In a dump that somebody
uploaded they are judged, too (`bodies.py`); of our own dumps, the bytes of triggers, routines and
events are not even read: they may be written for other SQL modes and character sets.
"""

import re
from typing import Final, Protocol

from lcp_backup.database import grammar
from lcp_backup.database.dump_statement import ANOTHER_SCHEMA, DumpStatement, checked_name
from lcp_backup.database.endpoint import Server
from lcp_backup.database.rows import only_literals
from lcp_backup.database.rulings import NOTHING, Ruling, StatementKind
from lcp_backup.database.tokens import NEWEST, NotTakenError, Reading, differs, unquote
from lcp_backup.errors import ArchiveRefused

_NAME = rb"`[^`]*+(?:``[^`]*+)*+`|[A-Za-z0-9_][A-Za-z0-9_$]*+"
_COLUMN = re.compile(_NAME)
_ROWS = re.compile(
    rb"(?:INSERT|REPLACE)\s++(?:IGNORE\s++)?+INTO\s++"
    rb"(?P<first>" + _NAME + rb")(?P<dot>\s*+\.\s*+(?P<second>" + _NAME + rb"))?+"
    rb"\s*+(?:\((?P<columns>[\s,]*+(?:(?:" + _NAME + rb")[\s,]*+){0,5000}+)\)\s*+)?+"
    rb"VALUES\s*+(?=\()",
    re.IGNORECASE,
)
_BLANKS = re.compile(rb"\s*+")
_HEAD_SHOWN: Final = 80


class JudgedStatement(Protocol):
    """What is judged of a split statement."""

    @property
    def text(self) -> bytes: ...

    @property
    def where(self) -> str:
        """Its place, such as `line 5 of the dump`."""
        ...


class Policy:
    """Judges the statements of one dump; keeps nothing of them, so that threads may share it.

    Args:
        dumped: the name of the schema the dump was made of.
        uploaded: whether somebody uploaded it: then bodies and values are judged, too, and it has
            to be in a character set and SQL modes in which every server reads it alike.
        server: the one that it will be sent to; None when that is not known, and then a statement
            has to be right for a MySQL and for a MariaDB.
    """

    def __init__(self, dumped: str, *, uploaded: bool, server: Server | None) -> None:
        self._dumped = dumped
        self._uploaded = uploaded
        self._readings = NEWEST if server is None else (Reading.of(server),)

    def judge(self, statement: JudgedStatement) -> Ruling:
        """Says what to do with a statement; raises ArchiveRefused, naming its line and head."""
        text = statement.text
        try:
            if not text:
                return NOTHING
            if (rows := _ROWS.match(text)) is not None:
                return self._rows(text, rows)
            readings = self._readings if differs(text) else self._readings[:1]
            rulings = [
                grammar.ruling(DumpStatement(text, reading, self._dumped, uploaded=self._uploaded))
                for reading in readings
            ]
        except NotTakenError as error:
            raise refusal(statement, str(error)) from None
        return next((it for it in rulings if it.kind is not StatementKind.NOTHING), rulings[0])

    def _rows(self, text: bytes, rows: re.Match[bytes]) -> Ruling:
        if self._uploaded:
            end = only_literals(text, rows.end())
            behind = _BLANKS.match(text, end)
            if behind is None or behind.end() < len(text):
                raise NotTakenError(
                    f"a row in it holds more than literals, after byte {end} of the statement"
                )
        named = "first" if rows["dot"] is None else "second"
        if named == "second" and unquote(rows["first"]) != self._dumped:
            raise NotTakenError(ANOTHER_SCHEMA)
        cut = rows.start(named) - rows.start("first")
        columns = rows["columns"]
        return Ruling(
            StatementKind.ROWS,
            text[: rows.start("first")] + text[rows.start(named) :] if cut else text,
            checked_name(unquote(rows[named])),
            columns=None if columns is None else tuple(map(unquote, _COLUMN.findall(columns))),
            values_at=rows.end() - cut,
        )


def head(text: bytes) -> str:
    """The first words of a statement, cut before any value: fit for a log."""
    start = text[: 4 * _HEAD_SHOWN]
    for end in re.finditer(rb"['\"(]|VALUES", start, re.IGNORECASE):
        start = start[: end.start()]
        break
    return " ".join(start.decode("utf-8", "replace").split())[:_HEAD_SHOWN].rstrip()


def refusal(statement: JudgedStatement, reason: str) -> ArchiveRefused:
    """The error that refuses a statement, naming its line and head."""
    return ArchiveRefused(f"{statement.where} is refused: {reason}: {head(statement.text)}")
