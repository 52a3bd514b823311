"""Whether a dump may be loaded out of the order in which it was written.

Dump programs put the session back after each table, and so their rows may come in any order. Others
may write otherwise.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lcp_backup.database.loaded import Loaded
from lcp_backup.database.pieces import Dump
from lcp_backup.errors import LoadFailed, ServerGaveUp


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
