"""Whether a dump is whole, by its statements alone."""

import re

from lcp_backup.database.rulings import Ruling, StatementKind

_SAVES = re.compile(rb"\bSET\s++@OLD_\w++\s*+:?=", re.IGNORECASE)
_PUTS_BACK = re.compile(rb"=\s*+(?:IFNULL\(|IF\()?@OLD_\w", re.IGNORECASE)
_KEYS_UNCHECKED = re.compile(rb"\bFOREIGN_KEY_CHECKS\s*+=\s*+0", re.IGNORECASE)
_KEYS_CHECKED = re.compile(rb"\bFOREIGN_KEY_CHECKS\s*+=\s*+1", re.IGNORECASE)
_NO_AUTOCOMMIT = re.compile(rb"\bAUTOCOMMIT\s*+:?=\s*+'?(?:0|OFF|FALSE)", re.IGNORECASE)
_AUTOCOMMIT = re.compile(rb"\bAUTOCOMMIT\s*+:?=", re.IGNORECASE)


class Ends:
    """What the statements of a dump begin and have to end: other programs write no trailer.

    Nothing that defines or fills a table may follow what is taken for an end.
    """

    def __init__(self) -> None:
        self.seen = False
        """Something that stands at a dump's end only was there."""
        self._saved = False
        self._put_back = False
        self._unchecked = False
        self._open = False
        self._whole = False
        """The open transaction began before the first table."""
        self._locked = False
        self._tables = False
        self._manual = False
        """AUTOCOMMIT is off."""
        self._uncommitted = False
        """And rows came since the last COMMIT, or what commits without saying so."""

    def see(self, ruling: Ruling, statement: bytes) -> None:
        """One statement after the other."""
        self._follow_autocommit(ruling, statement)
        if ruling.kind is StatementKind.ROWS or ruling.kind is StatementKind.TABLE:
            self._tables = True
            self.seen = self._put_back = False
        elif ruling.kind is StatementKind.SESSION:
            self._saved = self._saved or _SAVES.search(statement) is not None
            self._put_back = self._put_back or _PUTS_BACK.search(statement) is not None
            # Navicat: what is switched off at the beginning is switched on at the end.
            on_again = self._unchecked and _KEYS_CHECKED.search(statement) is not None
            self.seen = self.seen or self._put_back or on_again
            self._unchecked = self._unchecked or (
                not self._tables and _KEYS_UNCHECKED.search(statement) is not None
            )
        elif ruling.kind is StatementKind.LOCK:
            self._locked = ruling.sql[:6].upper() != b"UNLOCK"
        elif ruling.kind is StatementKind.NOTHING:
            first = statement[:6].upper()
            if first.startswith((b"START", b"BEGIN")) or _NO_AUTOCOMMIT.search(statement):
                self._open, self._whole = True, not self._tables
            elif first == b"COMMIT":
                self.seen = self.seen or (self._open and self._whole)
                self._open = False

    def _follow_autocommit(self, ruling: Ruling, statement: bytes) -> None:
        if ruling.kind is StatementKind.ROWS:
            self._uncommitted = self._manual
        elif ruling.kind is StatementKind.NOTHING:
            if _AUTOCOMMIT.search(statement):
                self._manual = _NO_AUTOCOMMIT.search(statement) is not None
                self._uncommitted = self._uncommitted and self._manual
            elif statement[:6].upper().startswith((b"COMMIT", b"START", b"BEGIN")):
                self._uncommitted = False
        elif ruling.kind not in {StatementKind.SESSION, StatementKind.LEFT_OUT}:
            self._uncommitted = False

    def missing(self) -> str | None:
        """What was begun and not ended."""
        if self._saved and not self._put_back:
            return (
                "it keeps the session's settings (@OLD_...) and does not put them back at its end"
            )
        if self._uncommitted and not self._open:
            return "it switches AUTOCOMMIT off and never commits its last rows"
        if self._open:
            return "it begins a transaction and never commits it"
        if self._locked:
            return "it locks a table and never unlocks it"
        return None
