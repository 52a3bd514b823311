"""The swap of a staged schema with the live one, and what a killed one leaves behind.

Three schemas: the live one, `<name>_lcp_staging` with the loaded tables and the journal, and
`<name>_lcp_previous` (or the one in which they are kept) with the old tables while the swap lasts.
One RENAME TABLE moves all old tables out, all new ones in, and the journal's marker with them:
where the marker stands tells for sure whether the tables were swapped, whenever the process or the
server died. Before it, a swap is undone; after it, it is finished. The staging schema goes last.

Triggers keep a table from leaving its schema (MySQL error 1435), so the live ones are journaled
and dropped first, and the dump's are created last.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import pymysql
from pymysql.constants import ER

from lcp_backup.database.endpoint import Connection, DatabaseEndpoint, ask_server, connect
from lcp_backup.database.policy import Kind, Policy
from lcp_backup.errors import Conflict, LoadFailed, RestoredInPart

type Between = Callable[[str], None]

_OBJECTS: Final = "lcp_backup_object"
_BEFORE: Final = "lcp_backup_before_swap"
_AFTER: Final = "lcp_backup_after_swap"
_OURS: Final = (_OBJECTS, _BEFORE, _AFTER)

_SCHEMA_MADE: Final = "schema"
"""Journaled when the live schema did not exist before the swap."""
_TABLE_SWAPPED: Final = "table"
"""Journaled for each table of a partial swap."""
_KEPT: Final = "keep"
"""Journaled with the schema in which the old tables are kept."""

_TABLE_WAIT_SECONDS: Final = 60
"""How long a statement waits for a table that the site's own transactions hold."""
_LOCK_WAIT_SECONDS: Final = _TABLE_WAIT_SECONDS + 30
"""Longer than a statement of a killed restore can still wait inside the server."""

_NOT_THERE_YET: Final = frozenset(
    {ER.NO_SUCH_TABLE, ER.VIEW_INVALID, ER.SP_DOES_NOT_EXIST, ER.BAD_DB_ERROR}
)
"""Why a view cannot be created: what it reads is created later, or only in the live schema."""
_DENIED: Final = frozenset({ER.SPECIFIC_ACCESS_DENIED_ERROR, ER.ACCESS_DENIED_ERROR})
_ORDER: Final = (Kind.ROUTINE, Kind.VIEW, Kind.TRIGGER, Kind.EVENT)
"""Views may call functions; triggers and events come last, so that nothing runs too early."""

_SYMBOLS: Final = {
    value: name for name, value in vars(ER).items() if isinstance(value, int) and name.isupper()
}


class Outcome(StrEnum):
    """What `recover` found and did."""

    NOTHING = "nothing"
    CLEARED = "cleared"
    """A load that had not begun to swap was thrown away."""
    UNDONE = "undone"
    """A swap that had not moved the tables was taken back: the site is the old one."""
    FINISHED = "finished"
    """A swap that had moved the tables was brought to its end: the site is the new one."""


@dataclass(frozen=True, slots=True)
class SchemaObject:
    """A view, trigger, routine or event, and the session it has to be created in."""

    kind: Kind
    name: str
    statement: bytes
    character_set: str
    collation: str
    sql_mode: str
    time_zone: str
    schema_collation: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What of the live schema a swap replaces."""

    tables: frozenset[str] | None = None
    """Only these tables, with their triggers; None means everything."""
    keep_in: str | None = None
    """A schema, which must not exist, that keeps the old tables; None means that they go."""


def staging_name(endpoint: DatabaseEndpoint) -> str:
    """The schema that a dump is loaded into."""
    return f"{endpoint.name}_lcp_staging"


def previous_name(endpoint: DatabaseEndpoint, scope: Scope) -> str:
    """The schema that holds the old tables while a swap lasts, or for good."""
    return scope.keep_in or f"{endpoint.name}_lcp_previous"


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return "`" + name.replace("`", "``") + "`"


def describe(error: pymysql.MySQLError, *, rows: bool = False) -> str:
    """A server's error by number, name and text; without the text, which quotes values, of rows."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = "" if rows or len(error.args) < 2 else f": {error.args[1]}"  # noqa: PLR2004 (code, text)
    return f"error {code} ({_SYMBOLS.get(code, type(error).__name__)}){text}"


@contextmanager
def controlled(endpoint: DatabaseEndpoint) -> Iterator[Connection]:
    """A connection, in no schema, that alone may stage, swap or recover this database.

    The server keeps the lock until the connection is gone on its side too: a statement that a
    killed restore left running there is never overtaken. Raises Conflict when it is still held.
    """
    with working(endpoint, None) as connection:
        lock = f"lcp:{endpoint.name}"
        ((got,),) = execute(connection, "SELECT GET_LOCK(%s, %s)", lock, _LOCK_WAIT_SECONDS)
        if got != 1:
            raise Conflict(
                f"another restore still works on the database {endpoint.name!r}: try again later"
            )
        yield connection


@contextmanager
def working(endpoint: DatabaseEndpoint, schema: str | None) -> Iterator[Connection]:
    """A connection that checks no foreign keys and gives up on a table that others hold.

    By itself a server would wait a day (MariaDB) or a year (MySQL) for it.
    """
    with closing(connect(endpoint, database=schema)) as connection:
        execute(connection, f"SET SESSION lock_wait_timeout = {_TABLE_WAIT_SECONDS}")
        execute(connection, "SET SESSION foreign_key_checks = 0")
        yield connection


def execute(connection: Connection, sql: str, *values: object) -> tuple[tuple[object, ...], ...]:
    """Runs one statement of this service's own and answers its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return tuple(cursor.fetchall())


def text(value: object) -> str:
    """A value as text also where the session made the server answer in bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


# --- the journal --------------------------------------------------------------


def create_staging(control: Connection, endpoint: DatabaseEndpoint) -> None:
    """A new staging schema with an empty journal and the live schema's defaults."""
    defaults = execute(
        control,
        "SELECT default_collation_name FROM information_schema.schemata WHERE schema_name = %s",
        endpoint.name,
    )
    options = f" COLLATE {defaults[0][0]}" if defaults else ""
    staging = quote(staging_name(endpoint))
    execute(control, f"CREATE DATABASE {staging}{options}")
    execute(
        control,
        f"CREATE TABLE {staging}.{_OBJECTS} (seq INT AUTO_INCREMENT PRIMARY KEY, live BOOL,"
        " kind VARCHAR(16), name VARCHAR(255), statement LONGBLOB, character_set VARCHAR(64),"
        " collation VARCHAR(64), sql_mode TEXT, time_zone VARCHAR(64),"
        " schema_collation VARCHAR(64)) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    )


def journal_object(
    control: Connection, endpoint: DatabaseEndpoint, found: SchemaObject, *, live: bool = False
) -> None:
    """Keeps an object of the dump (or an old one of the live schema) until the swap's end.

    Of a view the last definition counts: dumps define a stand-in first.
    """
    table = f"{quote(staging_name(endpoint))}.{_OBJECTS}"
    if found.kind is Kind.VIEW:
        execute(control, f"DELETE FROM {table} WHERE kind = 'view' AND name = %s", found.name)  # noqa: S608 -- a quoted name
    execute(
        control,
        f"INSERT INTO {table} (live, kind, name, statement, character_set, collation, sql_mode,"  # noqa: S608 -- a quoted name
        " time_zone, schema_collation) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        live,
        str(found.kind),
        found.name,
        found.statement,
        found.character_set,
        found.collation,
        found.sql_mode,
        found.time_zone,
        found.schema_collation,
    )


def journaled(
    control: Connection, endpoint: DatabaseEndpoint, *, live: bool = False
) -> list[SchemaObject]:
    """The objects kept, in the order in which they were."""
    rows = execute(
        control,
        "SELECT kind, name, statement, character_set, collation, sql_mode, time_zone,"  # noqa: S608 -- a quoted name
        f" schema_collation FROM {quote(staging_name(endpoint))}.{_OBJECTS}"
        " WHERE live = %s AND kind NOT IN (%s, %s, %s) ORDER BY seq",
        live,
        _SCHEMA_MADE,
        _TABLE_SWAPPED,
        _KEPT,
    )
    found = []
    for kind, name, statement, *session in rows:
        assert isinstance(statement, bytes)
        found.append(SchemaObject(Kind(str(kind)), str(name), statement, *map(str, session)))
    return found


def _note(control: Connection, endpoint: DatabaseEndpoint, kind: str, name: str) -> None:
    """Journals a fact about the swap itself."""
    execute(
        control,
        f"INSERT INTO {quote(staging_name(endpoint))}.{_OBJECTS} (live, kind, name)"  # noqa: S608 -- a quoted name
        " VALUES (TRUE, %s, %s)",
        kind,
        name,
    )


def _noted(control: Connection, endpoint: DatabaseEndpoint, kind: str) -> frozenset[str]:
    rows = execute(
        control,
        f"SELECT name FROM {quote(staging_name(endpoint))}.{_OBJECTS} WHERE kind = %s",  # noqa: S608 -- a quoted name
        kind,
    )
    return frozenset(str(name) for (name,) in rows)


def _noted_scope(control: Connection, endpoint: DatabaseEndpoint) -> Scope:
    """The scope of the swap that was journaled."""
    tables = _noted(control, endpoint, _TABLE_SWAPPED)
    return Scope(tables or None, next(iter(_noted(control, endpoint, _KEPT)), None))


def referring_tables(control: Connection, schema: str, tables: Collection[str]) -> dict[str, str]:
    """Which other tables have foreign keys to these, each with one that it points to."""
    rows = execute(
        control,
        "SELECT DISTINCT table_name, referenced_table_name FROM information_schema.key_column_usage"
        " WHERE referenced_table_schema = %s AND referenced_table_name IN %s"
        " AND NOT (table_schema = %s AND table_name IN %s)",
        schema,
        list(tables),
        schema,
        list(tables),
    )
    return {str(child): str(parent) for child, parent in rows}


def tables_of(control: Connection, schema: str) -> list[str]:
    """The schema's tables (and sequences, no views), without the journal's."""
    rows = execute(
        control,
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
        " AND table_type NOT LIKE '%%VIEW' ORDER BY table_name",
        schema,
    )
    return [str(name) for (name,) in rows if name not in _OURS]


def _has_schema(control: Connection, schema: str) -> bool:
    return bool(
        execute(control, "SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", schema)
    )


def _has_table(control: Connection, schema: str, table: str) -> bool:
    return bool(
        execute(
            control,
            "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
            schema,
            table,
        )
    )


# --- the swap -----------------------------------------------------------------


def swap(endpoint: DatabaseEndpoint, scope: Scope, between: Between | None = None) -> None:
    """Makes what is staged live; a failure before the tables move changes nothing.

    `between` is told each step's name before it is taken.
    Raises LoadFailed, RestoredInPart (after the tables moved), Conflict, DatabaseUnreachable.
    """
    step = between or _unwatched
    with controlled(endpoint) as control:
        try:
            _exchange(control, endpoint, scope, step)
        except pymysql.MySQLError as error:
            reason = describe(error)
            _undo_if_possible(control, endpoint)
            raise LoadFailed(
                f"the live tables could not be swapped, the site is as it was: {reason}"
            ) from None
        _finish(control, endpoint, step)


def recover(endpoint: DatabaseEndpoint) -> Outcome:
    """Clears up, undoes or finishes what a killed restore left; does nothing otherwise.

    Afterwards the live schema is wholly the old site or wholly the new one. May be called at any
    time, and again after it was itself killed. Raises LoadFailed, Conflict, DatabaseUnreachable.
    """
    with controlled(endpoint) as control:
        try:
            return _recover(control, endpoint)
        except pymysql.MySQLError as error:
            raise LoadFailed(
                f"an unfinished restore of {endpoint.name!r} could not be cleared up:"
                f" {describe(error)}"
            ) from None


def discard(control: Connection, endpoint: DatabaseEndpoint) -> None:
    """Drops the staging schema, whatever it holds."""
    execute(control, f"DROP DATABASE IF EXISTS {quote(staging_name(endpoint))}")


def _recover(control: Connection, endpoint: DatabaseEndpoint) -> Outcome:
    staging = staging_name(endpoint)
    if not _has_schema(control, staging):
        return Outcome.NOTHING
    if _has_table(control, staging, _AFTER):
        _finish(control, endpoint, _unwatched)
        return Outcome.FINISHED
    if _has_table(control, staging, _BEFORE):
        _undo(control, endpoint)
        return Outcome.UNDONE
    discard(control, endpoint)
    return Outcome.CLEARED


def _unwatched(_step: str) -> None:
    """The swap's steps as seen by nobody."""


def _exchange(control: Connection, endpoint: DatabaseEndpoint, scope: Scope, step: Between) -> None:
    live, staging = endpoint.name, staging_name(endpoint)
    previous = previous_name(endpoint, scope)
    step("journal")
    if scope.keep_in is not None and _has_schema(control, scope.keep_in):
        raise LoadFailed(f"{scope.keep_in} exists: the old tables cannot be kept there")
    existed = _has_schema(control, live)
    triggers = _live_triggers(endpoint, scope.tables) if existed else []
    control.begin()
    if not existed:
        _note(control, endpoint, _SCHEMA_MADE, live)
    if scope.keep_in is not None:
        _note(control, endpoint, _KEPT, scope.keep_in)
    for table in scope.tables or ():
        _note(control, endpoint, _TABLE_SWAPPED, table)
    for trigger in triggers:
        journal_object(control, endpoint, trigger, live=True)
    control.commit()
    step("mark")
    execute(control, f"CREATE TABLE {quote(staging)}.{_BEFORE} (nothing INT) ENGINE=InnoDB")
    step("create schemas")
    execute(control, f"CREATE DATABASE IF NOT EXISTS {quote(live)}")
    execute(control, f"DROP DATABASE IF EXISTS {quote(previous)}")
    execute(control, f"CREATE DATABASE {quote(previous)}")
    # The last first: those that are left are then the first ones, and undoing keeps their order.
    for number, trigger in enumerate(reversed(triggers)):
        step(f"drop trigger {number}")
        execute(control, f"DROP TRIGGER IF EXISTS {quote(live)}.{quote(trigger.name)}")
    step("rename")
    moves = [
        (live, table, previous, table)
        for table in tables_of(control, live)
        if scope.tables is None or table in scope.tables
    ]
    moves += [(staging, table, live, table) for table in tables_of(control, staging)]
    moves.append((staging, _BEFORE, staging, _AFTER))
    execute(
        control,
        "RENAME TABLE "
        + ", ".join(
            f"{quote(schema)}.{quote(table)} TO {quote(to)}.{quote(name)}"
            for schema, table, to, name in moves
        ),
    )


def _undo_if_possible(control: Connection, endpoint: DatabaseEndpoint) -> None:
    """After a failure: a connection that is gone leaves it to the next `recover`."""
    try:
        control.rollback()
        _undo(control, endpoint)
    except pymysql.MySQLError as error:
        raise LoadFailed(
            "the live tables could not be swapped; the next restore puts the live triggers back:"
            f" {describe(error)}"
        ) from None


def _undo(control: Connection, endpoint: DatabaseEndpoint) -> None:
    live = endpoint.name
    previous = previous_name(endpoint, _noted_scope(control, endpoint))
    if _has_schema(control, previous):
        if tables_of(control, previous):
            raise LoadFailed(
                f"{previous} holds tables though no swap was marked as done:"
                " move them back by hand, or drop that schema"
            )
        execute(control, f"DROP DATABASE {quote(previous)}")
    if _has_schema(control, live):
        there = {
            name
            for (name,) in execute(
                control,
                "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = %s",
                live,
            )
        }
        missing = [
            trigger
            for trigger in journaled(control, endpoint, live=True)
            if trigger.name not in there
        ]
        with working(endpoint, live) as connection:
            for trigger in missing:
                _create_again(connection, live, trigger)
        if _noted(control, endpoint, _SCHEMA_MADE) and not tables_of(control, live):
            execute(control, f"DROP DATABASE {quote(live)}")
    discard(control, endpoint)


def _finish(control: Connection, endpoint: DatabaseEndpoint, step: Between) -> None:
    live, staging = endpoint.name, staging_name(endpoint)
    scope = _noted_scope(control, endpoint)
    step("drop old objects")
    if scope.tables is None:
        _drop_objects(control, live)
        step("set defaults")
        ((collation,),) = execute(
            control,
            "SELECT default_collation_name FROM information_schema.schemata WHERE schema_name = %s",
            staging,
        )
        execute(control, f"ALTER DATABASE {quote(live)} COLLATE {collation}")
    else:
        _drop_triggers(control, live, scope.tables)
    step("create objects")
    failures = create_objects(
        endpoint, live, journaled(control, endpoint), lambda it: step(f"create {it.name}")
    )
    if scope.keep_in is None:
        step("drop previous")
        execute(control, f"DROP DATABASE IF EXISTS {quote(previous_name(endpoint, scope))}")
    step("drop staging")
    discard(control, endpoint)
    if failures:
        said = "; ".join(
            f"{found.kind} {found.name}: {describe(error)}" for found, error in failures
        )
        raise RestoredInPart(f"all tables of the dump are live, but not all it holds: {said}")


# --- views, triggers, routines and events -------------------------------------


def create_objects(
    endpoint: DatabaseEndpoint,
    schema: str,
    objects: Iterable[SchemaObject],
    before_each: Callable[[SchemaObject], None],
) -> list[tuple[SchemaObject, pymysql.MySQLError]]:
    """Creates the dump's objects in a schema; answers those the server refused, and why.

    Raises pymysql.MySQLError only when the connection is lost.
    """
    kept = list(objects)
    failures: list[tuple[SchemaObject, pymysql.MySQLError]] = []
    with working(endpoint, schema) as connection:
        for kind in _ORDER:
            waiting = [found for found in kept if found.kind is kind]
            while waiting:
                failed: list[tuple[SchemaObject, pymysql.MySQLError]] = []
                for found in waiting:
                    before_each(found)
                    try:
                        create_object(connection, schema, found)
                    except pymysql.MySQLError as error:
                        if not connection.open or is_lost(error):
                            raise
                        failed.append((found, error))
                # A view on a view that is created later succeeds in the next round.
                again = [found for found, error in failed if error.args[0] in _NOT_THERE_YET]
                progressed = len(failed) < len(waiting)
                waiting = again if progressed else []
                failures += [pair for pair in failed if pair[0] not in waiting]
    return failures


def create_object(connection: Connection, schema: str, found: SchemaObject) -> None:
    """Creates one object, in the session in which the dump (or the old schema) had it created."""
    ((default,),) = execute(connection, "SELECT @@collation_database")
    other = default != found.schema_collation
    alter = f"ALTER DATABASE {quote(schema)} COLLATE"
    if other:
        execute(connection, f"{alter} {found.schema_collation}")
    execute(
        connection,
        "SET character_set_client = %s, collation_connection = %s, sql_mode = %s, time_zone = %s",
        found.character_set,
        found.collation,
        found.sql_mode,
        found.time_zone,
    )
    try:
        connection.query(found.statement)
    finally:
        if connection.open:
            # What this service itself says next is UTF-8, and is written for no special mode.
            execute(connection, "SET NAMES utf8mb4")
            execute(connection, "SET sql_mode = ''")
            if other:
                execute(connection, f"{alter} {default}")


def try_objects(control: Connection, endpoint: DatabaseEndpoint, dumped: str) -> None:
    """Creates the kept objects in the staging schema and drops them again, to fail before the swap.

    Events are left out: the scheduler would run them. An object that names the dumped schema may
    be right only in the live one, and is not held against the dump here.
    Raises LoadFailed, naming what the server refused.
    """
    staging = staging_name(endpoint)
    tried = [it for it in journaled(control, endpoint) if it.kind is not Kind.EVENT]
    failures = [
        (found, error)
        for found, error in create_objects(endpoint, staging, tried, lambda _: None)
        if error.args[0] not in _NOT_THERE_YET or dumped.encode() not in found.statement
    ]
    if failures:
        found, error = failures[0]
        raise LoadFailed(
            f"the dump's {found.kind} {found.name} cannot be created here: {describe(error)}"
        )
    # A table with a trigger could not leave the schema.
    _drop_objects(control, staging)


def is_lost(error: pymysql.MySQLError) -> bool:
    """Whether the connection is gone: the client's own errors are numbered from 2000 to 2999."""
    code = error.args[0] if error.args else 0
    return isinstance(error, pymysql.InterfaceError) or (
        isinstance(code, int) and code // 1000 == 2  # noqa: PLR2004 -- the sentence above
    )


def _drop_objects(control: Connection, schema: str) -> None:
    """Drops views, routines and events; and triggers that a killed swap had created already."""
    for what, query in (
        ("EVENT", "event_name FROM information_schema.events WHERE event_schema"),
        ("TRIGGER", "trigger_name FROM information_schema.triggers WHERE trigger_schema"),
        ("VIEW", "table_name FROM information_schema.views WHERE table_schema"),
    ):
        for (name,) in execute(control, f"SELECT {query} = %s", schema):
            execute(control, f"DROP {what} IF EXISTS {quote(schema)}.{quote(str(name))}")
    for kind, name in execute(
        control,
        "SELECT routine_type, routine_name FROM information_schema.routines"
        " WHERE routine_schema = %s",
        schema,
    ):
        execute(control, f"DROP {kind} IF EXISTS {quote(schema)}.{quote(str(name))}")


def _drop_triggers(control: Connection, schema: str, tables: Collection[str]) -> None:
    """Drops those that a killed partial swap had created already."""
    for (name,) in execute(
        control,
        "SELECT trigger_name FROM information_schema.triggers"
        " WHERE trigger_schema = %s AND event_object_table IN %s",
        schema,
        list(tables),
    ):
        execute(control, f"DROP TRIGGER IF EXISTS {quote(schema)}.{quote(str(name))}")


def _live_triggers(
    endpoint: DatabaseEndpoint, tables: Collection[str] | None
) -> list[SchemaObject]:
    """The live schema's triggers, in the order in which they have to be created again."""
    with working(endpoint, endpoint.name) as connection:
        names = [
            name
            for name, table in execute(
                connection,
                "SELECT trigger_name, event_object_table FROM information_schema.triggers"
                " WHERE trigger_schema = %s"
                " ORDER BY event_object_table, event_manipulation, action_timing, action_order",
                endpoint.name,
            )
            if tables is None or table in tables
        ]
        # As mysqldump does: the definition comes in the bytes in which it was written.
        execute(connection, "SET character_set_results = binary")
        found = []
        for name in names:
            row = execute(connection, f"SHOW CREATE TRIGGER {quote(str(name))}")[0]
            _, sql_mode, statement, character_set, collation, schema_collation, *_ = row
            found.append(
                SchemaObject(
                    kind=Kind.TRIGGER,
                    name=str(name),
                    statement=statement
                    if isinstance(statement, bytes)
                    else text(statement).encode(),
                    character_set=text(character_set),
                    collation=text(collation),
                    sql_mode=text(sql_mode),
                    time_zone="SYSTEM",
                    schema_collation=text(schema_collation),
                )
            )
        return found


@dataclass(frozen=True, slots=True)
class _Definition:
    text: bytes
    where: str = "its own definition"


def _create_again(connection: Connection, live: str, trigger: SchemaObject) -> None:
    """Puts an old trigger back; under this login when its definer's may not be used."""
    try:
        create_object(connection, live, trigger)
    except pymysql.MySQLError as error:
        if error.args[0] not in _DENIED:
            raise
        policy = Policy(live, uploaded=False, server=ask_server(connection))
        ruling = policy.judge(_Definition(trigger.statement))
        create_object(connection, live, replace(trigger, statement=ruling.sql))
