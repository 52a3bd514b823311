"""What of a stranger's dump is executed where only some of its tables are restored.

All of it is read and judged, for a session that is set among the rows of one table is the next
one's, too. What is about other tables is passed over.
"""

from collections.abc import Collection
from typing import Final

from lcp_backup.database.endpoint import Server
from lcp_backup.database.policy import JudgedStatement, Policy
from lcp_backup.database.rulings import NOTHING, STORED_CODE, Ruling, StatementKind

_OF_TABLES: Final = frozenset({StatementKind.ROWS, StatementKind.TABLE})


class SelectingPolicy(Policy):
    """Judges as `Policy`, and has nothing done with what is about other tables than these.

    Of stored code, only their triggers are left. `folds` is whether names that differ only in case
    are one to the server.
    """

    def __init__(
        self, dumped: str, *, uploaded: bool, server: Server, tables: Collection[str], folds: bool
    ) -> None:
        super().__init__(dumped, uploaded=uploaded, server=server)
        self._fold = str.lower if folds else str
        self._tables = frozenset(map(self._fold, tables))

    def judge(self, statement: JudgedStatement) -> Ruling:
        """As `Policy.judge`."""
        ruling = super().judge(statement)
        return NOTHING if self._is_of_others(ruling) else ruling

    def _is_of_others(self, ruling: Ruling) -> bool:
        if ruling.kind is StatementKind.TRIGGER:
            return self._fold(ruling.table) not in self._tables
        if ruling.kind in _OF_TABLES:
            return self._fold(ruling.name) not in self._tables
        return ruling.kind in STORED_CODE
