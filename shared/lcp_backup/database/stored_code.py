"""Views, triggers, routines and events: created as their new owner, listed, dropped.

Their text comes out of a dump, so it is sent by the loader or the owner and never by the master
user, who only drops.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Final, NoReturn

import pymysql
from pymysql.constants import ER

from lcp_backup.database.endpoint import Connection, DatabaseEndpoint
from lcp_backup.database.journal import Journal, StoredCode
from lcp_backup.database.rulings import StatementKind
from lcp_backup.database.sql import (
    collation_of,
    describe,
    execute,
    execute_if_known,
    is_lost,
    load_failed,
    numbered,
    quote,
    text,
    working,
)
from lcp_backup.errors import LoadFailed, RestoredInPart

type Failure = tuple[StoredCode, pymysql.MySQLError]

_NOT_THERE_YET: Final = frozenset(
    {ER.NO_SUCH_TABLE, ER.VIEW_INVALID, ER.SP_DOES_NOT_EXIST, ER.BAD_DB_ERROR}
)
"""Why a view cannot be created: what it reads is created later."""
_WORD: Final = re.compile(rb"[^\s`'\"(),.;=<>+*/-]++")
_TRUST: Final = "set log_bin_trust_function_creators = 1 in the server's parameter group"
_ORDER: Final = (
    StatementKind.TABLE,
    StatementKind.ROUTINE,
    StatementKind.VIEW,
    StatementKind.TRIGGER,
    StatementKind.EVENT,
)
"""Defaults of tables first; views may call functions; triggers and events come last, so that
nothing runs too early."""
_WAYS_OUT: Final = {
    1418: _TRUST,
    1419: _TRUST,
    ER.SPECIFIC_ACCESS_DENIED_ERROR: "name an account that may in LCP_SITE_USER_NAME",
    ER.TABLEACCESS_DENIED_ERROR: (
        "it reaches beyond the site's schema; name an account that may in LCP_SITE_USER_NAME"
    ),
    ER.DBACCESS_DENIED_ERROR: (
        "it reaches beyond the site's schema; name an account that may in LCP_SITE_USER_NAME"
    ),
}


def create_all(
    owner: DatabaseEndpoint,
    schema: str,
    codes: Iterable[StoredCode],
    before_each: Callable[[StoredCode], None],
) -> list[Failure]:
    """Creates stored code in a schema; answers what the server refused, and why.

    Args:
        owner: where to connect; who connects there becomes the definer of it all.

    Raises pymysql.MySQLError only when the connection is lost.
    """
    kept = list(codes)
    failures: list[Failure] = []
    if not kept:
        return failures
    with working(owner, schema) as connection:
        for kind in _ORDER:
            waiting = [code for code in kept if code.kind is kind]
            if kind is StatementKind.VIEW:
                waiting = _by_need(waiting)
            while waiting:
                failed: list[Failure] = []
                for code in waiting:
                    before_each(code)
                    try:
                        create(connection, schema, code)
                    except pymysql.MySQLError as error:
                        if not connection.open or is_lost(error):
                            raise
                        failed.append((code, error))
                # What needs something that is created later succeeds in the next round.
                again = [code for code, error in failed if error.args[0] in _NOT_THERE_YET]
                progressed = len(failed) < len(waiting)
                waiting = again if progressed else []
                failures += [pair for pair in failed if pair[0] not in waiting]
    return failures


def _by_need(views: Collection[StoredCode]) -> list[StoredCode]:
    """Views, those first that others read: in any other order 1,000 could take 500,000 attempts."""
    by_name = {view.name: view for view in views}
    # Whether case tells names apart is the server's matter: what may be needed comes first.
    alike: dict[str, list[str]] = {}
    for name in by_name:
        alike.setdefault(name.lower(), []).append(name)
    needs = {
        name: {
            other
            for word in set(_WORD.findall(view.statement))
            for other in alike.get(word.decode("utf-8", "replace").lower(), ())
            if other != name
        }
        for name, view in by_name.items()
    }
    ordered: dict[str, None] = {}
    begun: set[str] = set()
    # Not by recursion: one may read the next a thousand times over.
    pending = [(name, False) for name in reversed(by_name)]
    while pending:
        name, needs_are_there = pending.pop()
        if needs_are_there:
            ordered[name] = None
        elif name not in begun:
            begun.add(name)
            pending.append((name, True))
            pending += [(other, False) for other in sorted(needs[name])]
    return [by_name[name] for name in ordered]


def create(connection: Connection, schema: str, code: StoredCode) -> None:
    """Creates one, in the session in which the dump (or the old schema) had it created."""
    ((default,),) = execute(connection, "SELECT @@collation_database")
    other = default != code.schema_collation
    alter = f"ALTER DATABASE {quote(schema)} COLLATE"
    if other:
        execute(connection, f"{alter} {_word(code.schema_collation)}")
    execute(
        connection,
        "SET character_set_client = %s, collation_connection = %s, sql_mode = %s, time_zone = %s",
        code.character_set,
        code.collation,
        code.sql_mode,
        code.time_zone,
    )
    try:
        connection.query(code.statement)
    finally:
        if connection.open:
            # What this service itself says next is UTF-8, and is written for no special mode.
            execute(connection, "SET NAMES utf8mb4")
            execute(connection, "SET sql_mode = ''")
            if other:
                execute(connection, f"{alter} {_word(str(default))}")


def try_all(
    loader: DatabaseEndpoint,
    control: Connection,
    schema: str,
    codes: Iterable[StoredCode],
    check: Callable[[], None],
) -> None:
    """Creates stored code in the staging schema and drops it again, to fail before the swap.

    Events are created disabled, or the server would run them. Raises LoadFailed, naming what the
    server refused and, where it is known, the way out. `check` is called before each; it raises to
    stop.
    """
    tried = [
        replace(code, statement=code.disabled) if code.kind is StatementKind.EVENT else code
        for code in codes
    ]
    failures = create_all(loader, schema, tried, lambda _: check())
    if failures:
        code, error = failures[0]
        what = f"the dump's {code.kind} {code.name} cannot be created here"
        raise load_failed(
            error,
            f"{what}: {describe(error)}{way_out(error)}",
            public=f"{what}: {numbered(error)}{way_out(error)}",
        )
    # A table with a trigger could not leave the schema.
    drop_all(control, schema)


def set_defaults_aside(control: Connection, staging: str, live: str, journal: Journal) -> None:
    """Keeps defaults that draw from sequences for later, and takes them off the staged tables.

    MariaDB keeps a sequence's schema in them: after the swap they would draw from the staging
    schema's, and a table whose sequence is gone can no longer be opened, nor mended.
    """
    was = f"{quote(staging)}."
    for table, column, default in execute(
        control,
        "SELECT table_name, column_name, column_default FROM information_schema.columns"
        " WHERE table_schema = %s AND column_default LIKE '%%`.%%'",
        staging,
    ):
        if was not in text(default):
            continue
        alter = f"{quote(str(table))} ALTER COLUMN {quote(str(column))}"
        expression = text(default).replace(was, f"{quote(live)}.")
        journal.keep(
            StoredCode(
                kind=StatementKind.TABLE,
                name=str(table),
                statement=f"ALTER TABLE {alter} SET DEFAULT ({expression})".encode(),
                character_set="utf8mb4",
                collation="utf8mb4_bin",
                sql_mode="",
                time_zone="SYSTEM",
                schema_collation=str(collation_of(control, staging)),
            )
        )
        execute(control, f"ALTER TABLE {was}{alter} DROP DEFAULT")


def way_out(error: pymysql.MySQLError) -> str:
    """What to do about what the server refused, as the end of a sentence; empty if unknown."""
    known = _WAYS_OUT.get(error.args[0])
    return f": {known}" if known else ""


def drop_all(control: Connection, schema: str) -> None:
    """Drops a schema's views, routines, libraries, triggers and events.

    Raises pymysql.MySQLError where the master user may not: MySQL lets only SYSTEM_USER drop what
    such an account has defined.
    """
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
        # (A package's body goes with the package.)
        " WHERE routine_schema = %s AND routine_type IN ('PROCEDURE', 'FUNCTION', 'PACKAGE')",
        schema,
    ):
        if kind == "PACKAGE":
            # MariaDB knows the word in no other mode (before 11.4).
            execute(control, "SET sql_mode = 'ORACLE'")
        try:
            execute(control, f"DROP {kind} IF EXISTS {quote(schema)}.{quote(str(name))}")
        finally:
            if kind == "PACKAGE" and control.open:
                execute(control, "SET sql_mode = ''")
    for name in _libraries(control, schema):
        execute(control, f"DROP LIBRARY IF EXISTS {quote(schema)}.{quote(name)}")


def _libraries(control: Connection, schema: str) -> list[str]:
    """A schema's libraries of JavaScript, which MySQL has from 9.2 on."""
    rows = execute_if_known(
        control,
        "SELECT library_name FROM information_schema.libraries WHERE library_schema = %s",
        schema,
    )
    return [str(name) for (name,) in rows]


def is_empty(control: Connection, schema: str) -> bool:
    """Whether a schema holds no table and no stored code, or does not exist."""
    return not _libraries(control, schema) and not any(
        execute(control, f"SELECT 1 FROM information_schema.{source} = %s LIMIT 1", schema)  # noqa: S608 -- names of ours
        for source in (
            "tables WHERE table_schema",
            "routines WHERE routine_schema",
            "events WHERE event_schema",
        )
    )


def drop_triggers(control: Connection, schema: str, tables: Collection[str]) -> None:
    """Drops the triggers of some tables."""
    for (name,) in execute(
        control,
        "SELECT trigger_name FROM information_schema.triggers"
        " WHERE trigger_schema = %s AND event_object_table IN %s",
        schema,
        list(tables),
    ):
        execute(control, f"DROP TRIGGER IF EXISTS {quote(schema)}.{quote(str(name))}")


def trigger_names(control: Connection, schema: str) -> frozenset[str]:
    """The triggers that a schema has."""
    rows = execute(
        control,
        "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = %s",
        schema,
    )
    return frozenset(str(name) for (name,) in rows)


def _word(collation: str) -> str:
    """A collation's name, which can be given by no parameter."""
    if not collation.isascii() or not collation.replace("_", "").isalnum():
        raise LoadFailed(f"{collation[:64]!r} is no collation")
    return collation


def tell_of(failures: list[Failure]) -> NoReturn:
    """The tables moved, but not all else came with them."""
    head = "all tables of the dump are live, but not all it holds: "
    subjects = [(f"{code.kind} {code.name}", error) for code, error in failures]
    raise RestoredInPart(
        head
        + "; ".join(f"{subject}: {describe(error)}{way_out(error)}" for subject, error in subjects),
        public=head
        + "; ".join(f"{subject}: {numbered(error)}{way_out(error)}" for subject, error in subjects),
    )
