"""Whether a dump may be loaded out of the order in which it was written.

Dump programs put the session back after each table, and so their rows may come in any order. Others
may write otherwise.
"""

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Final

from lcp_backup.archive.segment import Section
from lcp_backup.database.loaded import Loaded
from lcp_backup.database.pieces import Dump, Piece
from lcp_backup.database.rulings import Ruling, StatementKind
from lcp_backup.errors import LoadFailed, ServerGaveUp

_YIELDS: Final = re.compile(rb"REPLACE\b|INSERT\s+IGNORE\b", re.IGNORECASE)
"""How statements of rows begin that take account of rows which are there."""
_DEFINE: Final = frozenset({Section.HEAD, Section.DEFINITION})
"""What is executed before any rows; all else is, once all rows are there."""
_DROPS_TRIGGER: Final = re.compile(rb"DROP\s+TRIGGER\b", re.IGNORECASE)
_BY_SEQUENCE: Final = re.compile(rb"\bNEXT(?:VAL`?\s*\(|\s+VALUE\s+FOR\b)", re.IGNORECASE)


class OrderMattersError(Exception):
    """Something between the rows of a dump has to happen in its place: no rows out of order."""


@contextmanager
def counting_in_place(dump: Dump) -> Iterator[None]:
    """What fails in a stranger's dump out of its order counts only if it fails in its place, too.

    For there rows may have met the wrong session, or the wrong definition. Raises
    OrderMattersError instead.
    """
    try:
        yield
    except ServerGaveUp:
        raise
    except LoadFailed as error:
        if dump.by_dump_program:
            raise
        raise OrderMattersError from error


def attempt_load(
    attempt: Callable[[int | None], Loaded], dump: Dump, connections: int | None
) -> Loaded:
    """Loads over several connections; a dump that cannot be, over one and as it was written.

    With None for `connections`, that is known already. A dump that no dump program wrote loses
    speed, not data; and as rows may meet the wrong session before that is noticed, what fails in
    such a dump counts only when it fails in its place.
    """
    if connections is not None:
        try:
            return attempt(connections)
        except OrderMattersError:
            pass
        except LoadFailed:
            if dump.by_dump_program:
                raise
    return attempt(None)


def yields(rows: bytes) -> bool:
    """Whether of rows with one key the last one stays, or the first, by such a statement."""
    return _YIELDS.match(rows) is not None


def has_its_place(piece: Piece, ruling: Ruling, tables: Collection[str]) -> bool:
    """Whether a statement that is in no piece of rows means something else before them or after.

    Of a table that is defined twice, only some rows are the second one's; a sequence in a DEFAULT
    numbers rows as they come; and a trigger that is dropped where tables are defined is one of the
    dump's, which is kept only later. (Behind one DELIMITER line anything may stand, also of other
    tables than the piece's.)

    Arguments: `tables` are those that are defined so far.
    """
    if ruling.kind is StatementKind.ROWS:
        return True
    if piece.section not in _DEFINE:
        return ruling.creates
    if ruling.creates and _BY_SEQUENCE.search(ruling.sql):
        return True
    if ruling.kind is StatementKind.DROP_CODE and _DROPS_TRIGGER.match(ruling.sql):
        return True
    is_of_table = ruling.kind is StatementKind.TABLE and ruling.name in tables
    return is_of_table and ruling.name != piece.table
