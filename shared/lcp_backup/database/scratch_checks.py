"""What is checked of a dump that was loaded for a proof: asked as the loader, over a pool.

A statement that takes too long is ended inside the server.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

import pymysql

from lcp_backup.database import accounts
from lcp_backup.database.connection_pool import ConnectionPool
from lcp_backup.database.endpoint import Connection, DatabaseEndpoint, connect
from lcp_backup.database.loaded import Loaded
from lcp_backup.database.sql import describe, execute, load_failed, numbered, prepare, quote
from lcp_backup.errors import LoadFailed


@dataclass(frozen=True)
class _Asking:
    """The loader's connection, over which statements are asked."""

    connection: Connection

    @property
    def thread_id(self) -> int:
        """The server's number for the connection."""
        return int(self.connection.thread_id())  # type: ignore[no-untyped-call]  # stub

    def count(self, *, table: str, sent: int) -> None:
        """Raises LoadFailed when not as many rows are there as were sent."""
        ((there,),) = execute(self.connection, f"SELECT COUNT(*) FROM {quote(table)}")  # noqa: S608 -- a quoted name
        if there != sent:
            reason = f"{sent} rows were loaded into {table!r} and {there} are there"
            raise LoadFailed(reason, public=reason)

    def ask(self, *, what: str, statement: str) -> None:
        """Raises LoadFailed when the answer is not one true value."""
        try:
            rows = execute(self.connection, statement)
        except pymysql.MySQLError as error:
            raise load_failed(
                error,
                f"the server refused {what}: {describe(error)}: {statement}",
                public=f"the server refused {what}: {numbered(error)}",
            ) from None
        values = [value for row in rows for value in row]
        if not (len(values) == 1 and isinstance(values[0], int | Decimal) and values[0]):
            reason = f"{what} did not answer one true value"
            raise LoadFailed(f"{reason}: {statement}", public=reason)


def count_rows(
    loader: DatabaseEndpoint,
    staging: str,
    loaded: Loaded,
    check: Callable[[], None],
    connections: int = 1,
) -> None:
    """Raises LoadFailed, which names a table that has not as many rows as were sent."""
    with _asking(loader, staging, check, connections) as pool:
        for table, sent in loaded.rows_of.items():
            pool.put(partial(_Asking.count, table=table, sent=sent))
        pool.drain()


def ask_all(
    loader: DatabaseEndpoint,
    staging: str,
    statements: tuple[str, ...],
    check: Callable[[], None],
) -> int:
    """How many statements were asked, all true; raises LoadFailed for the first that is not."""
    with _asking(loader, staging, check) as pool:
        for number, statement in enumerate(statements, 1):
            what = f"statement {number} of LCP_BACKUP_VERIFY_SQL"
            pool.put(partial(_Asking.ask, what=what, statement=statement))
        pool.drain()
    return len(statements)


@contextmanager
def _asking(
    loader: DatabaseEndpoint, staging: str, check: Callable[[], None], connections: int = 1
) -> Iterator[ConnectionPool[_Asking]]:
    @contextmanager
    def connected() -> Iterator[_Asking]:
        with closing(connect(loader, database=staging)) as connection:
            prepare(connection)
            yield _Asking(connection)

    kill = partial(accounts.kill, loader)
    with ConnectionPool(connections, connected, kill, check) as pool:
        yield pool
