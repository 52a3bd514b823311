"""A dump into the database: beside the live schema and swapped in, or straight over it.

Definitions come first, on one connection; rows follow over several, a segment at a time; a table's
secondary indexes are built when its rows are there; then foreign keys, and all else the dump holds.
Statements travel by the wire protocol as the bytes they are in the dump: nothing here decodes or
encodes row data. The dump's own SET NAMES tells the server what they mean.
"""

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress

import pymysql

from lcp_backup.database.endpoint import Connection, DatabaseEndpoint, ask_server
from lcp_backup.database.loader import Loaded, Loader, OrderMattersError
from lcp_backup.database.pieces import Dump, IndexedDump, StreamedDump
from lcp_backup.database.policy import Policy
from lcp_backup.database.session import InPlace, Session, Staging
from lcp_backup.database.swap import (
    Between,
    Scope,
    controlled,
    create_staging,
    describe,
    discard,
    execute,
    journal_object,
    quote,
    recover,
    referring_tables,
    staging_name,
    swap,
    tables_of,
    try_objects,
    working,
)
from lcp_backup.errors import InvalidRequest, LoadFailed

__all__ = [
    "IndexedDump",
    "Loaded",
    "Scope",
    "StagedDatabase",
    "StreamedDump",
    "check_empty",
    "overwrite",
    "recover",
    "stage",
]


class StagedDatabase:
    """A whole dump in the staging schema: to be swapped in, or thrown away."""

    def __init__(self, endpoint: DatabaseEndpoint, loaded: Loaded, scope: Scope) -> None:
        self._endpoint = endpoint
        self._loaded = loaded
        self._scope = scope
        self._open = True

    def swap(self, between: Between | None = None) -> Loaded:
        """Makes it the live schema, exactly as the dump says; what was there before is gone.

        (Or is kept, or only some tables change: see `Scope`.) The tables change at one moment.
        Before it, a failure leaves the live schema as it was; after it, the next `recover` finishes
        what a killed swap left. `between` is told each step's name before it is taken.
        Raises LoadFailed, Conflict, DatabaseUnreachable.
        """
        self._open = False
        swap(self._endpoint, self._scope, between)
        return self._loaded

    def discard(self) -> None:
        """Throws it away; does nothing after a swap (then `recover` knows what is to do)."""
        if not self._open:
            return
        self._open = False
        with controlled(self._endpoint) as control:
            try:
                discard(control, self._endpoint)
            except pymysql.MySQLError as error:
                raise LoadFailed(
                    f"the staged database could not be dropped: {describe(error)}"
                ) from None


def stage(
    endpoint: DatabaseEndpoint,
    dump: Dump,
    *,
    dumped_name: str,
    connections: int,
    progress: Callable[[int], None],
    check: Callable[[], None],
    scope: Scope = Scope(),  # noqa: B008 -- frozen
) -> StagedDatabase:
    """Loads a dump beside the live schema, which it does not touch.

    Views, triggers, routines and events are tried (events are not: they would run) and kept for
    the swap. Whatever an unfinished restore left is recovered first.

    Args:
        endpoint: the live database; its schema need not exist yet.
        dump: what to load.
        dumped_name: the schema the dump was made of; its statements are for `endpoint.name`.
        connections: over how many connections rows are loaded, at least 1.
        progress: told the raw bytes of every piece once it is loaded.
        check: called before every statement, from several threads; raises to stop.
        scope: what of the live schema the swap is to replace.

    Raises LoadFailed (a statement failed, a table or a row is missing, the connection was lost),
    ArchiveRefused (the dump says what no dump says), InvalidRequest (tables that others are tied to
    by foreign keys are not restored without those), Conflict, DatabaseUnreachable.
    """
    recover(endpoint)
    staging = staging_name(endpoint)
    with controlled(endpoint) as control:
        if scope.tables is not None:
            _check_ties_of_live(control, endpoint, scope.tables)

        policy = Policy(dumped_name, uploaded=not dump.by_dump_program, server=ask_server(control))

        def attempt(size: int) -> Loaded:
            create_staging(control, endpoint)
            with working(endpoint, staging) as connection:
                target = Staging(
                    Session(connection),
                    staging,
                    lambda it: journal_object(control, endpoint, it),
                )
                work = Loader(dump, policy, progress=progress, check=check, only=scope.tables)
                return work.load(target, lambda: working(endpoint, staging), control, size)

        try:
            loaded = _attempted(attempt, dump, connections, lambda: discard(control, endpoint))
            _verify(loaded.tables, tables_of(control, staging))
            try_objects(control, endpoint, dumped_name)
        except BaseException as error:
            # A connection that is gone leaves the rest to the next `recover`.
            with suppress(pymysql.MySQLError):
                discard(control, endpoint)
            if isinstance(error, pymysql.MySQLError):
                raise LoadFailed(f"the dump could not be staged: {describe(error)}") from None
            raise
    return StagedDatabase(endpoint, loaded, scope)


def overwrite(
    endpoint: DatabaseEndpoint,
    dump: Dump,
    *,
    dumped_name: str,
    connections: int,
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> Loaded:
    """Executes a dump over the live schema: less space, and no way back from a failure.

    Arguments and errors are those of `stage`.
    """
    recover(endpoint)
    with controlled(endpoint) as control:
        policy = Policy(dumped_name, uploaded=not dump.by_dump_program, server=ask_server(control))

        def attempt(size: int) -> Loaded:
            execute(control, f"CREATE DATABASE IF NOT EXISTS {quote(endpoint.name)}")
            with working(endpoint, endpoint.name) as connection:
                work = Loader(dump, policy, progress=progress, check=check, only=None)
                return work.load(
                    InPlace(Session(connection), endpoint.name),
                    lambda: working(endpoint, endpoint.name),
                    control,
                    size,
                )

        try:
            loaded = _attempted(attempt, dump, connections, lambda: None)
            _verify(loaded.tables, tables_of(control, endpoint.name))
        except pymysql.MySQLError as error:
            raise LoadFailed(f"the dump could not be loaded: {describe(error)}") from None
    return loaded


def check_empty(endpoint: DatabaseEndpoint) -> None:
    """Makes sure that a restore into this database, which need not exist, replaces nothing.

    Raises InvalidRequest, DatabaseUnreachable.
    """
    with working(endpoint, None) as connection:
        if tables_of(connection, endpoint.name):
            raise InvalidRequest(
                f"the database {endpoint.name!r} has tables: restore into one that is empty or does"
                " not exist"
            )


def _verify(expected: Iterable[str], found: Iterable[str]) -> None:
    # A server may keep names in lower case (lower_case_table_names).
    there = {name.lower() for name in found}
    missing = [name for name in expected if name.lower() not in there]
    if missing:
        raise LoadFailed(
            f"{len(missing)} tables of the dump are missing after the load: {missing[0]!r}"
        )


def _check_ties_of_live(
    control: Connection, endpoint: DatabaseEndpoint, tables: Collection[str]
) -> None:
    """A live foreign key follows the table it points to out of the schema: so none may."""
    tied = referring_tables(control, endpoint.name, tables)
    if tied:
        raise InvalidRequest(
            f"live tables that are not restored have foreign keys to {', '.join(tied.values())}:"
            f" name {', '.join(tied)} as well, or restore into another database"
        )


def _attempted(
    attempt: Callable[[int], Loaded], dump: Dump, connections: int, clear: Callable[[], None]
) -> Loaded:
    """Loads over several connections; a dump that cannot be, over one and as it was written.

    Dump programs put the session back after each table. Who writes dumps otherwise loses speed,
    not data; and as rows may meet the wrong session before that is noticed, what fails in such a
    dump counts only when it fails in its place.
    """
    try:
        return attempt(connections)
    except OrderMattersError:
        pass
    except LoadFailed:
        if dump.by_dump_program:
            raise
    clear()
    return attempt(0)
