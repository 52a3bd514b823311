"""A loader's connection to a staging schema, and how rows travel over it."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Lock

from lcp_backup.database.endpoint import DatabaseEndpoint, connect
from lcp_backup.database.local_infile import LoadingConnection, allows_local_infile
from lcp_backup.database.piece_load import PlanRows
from lcp_backup.database.rows import RowPlan, columns_of
from lcp_backup.database.session import Session
from lcp_backup.database.sql import prepare


@contextmanager
def loading_connection(endpoint: DatabaseEndpoint, staging: str) -> Iterator[LoadingConnection]:
    """A connection with the session in which this service works."""
    with closing(connect(endpoint, database=staging, local_infile=True)) as connection:
        prepare(connection)
        yield connection


def plan_rows(asking: LoadingConnection, staging: str) -> PlanRows | None:
    """How rows travel as data, by what this connection says of columns; to be asked by any thread.

    None where the server lets no rows travel so.
    """
    if not allows_local_infile(asking):
        return None
    lock = Lock()

    def plan(session: Session, table: str, listed: tuple[str, ...] | None) -> RowPlan | None:
        # Not over the session, whose character set is the dump's: names would arrive garbled.
        with lock:
            columns = columns_of(asking, staging, table)
        return RowPlan.of(table, columns, listed, session.character_set)

    return plan
