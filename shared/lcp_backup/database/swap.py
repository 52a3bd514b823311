"""The swap of a staged schema with the live one, and what a killed one leaves behind.

Four schemas: the live one; `<name>_lcp_staging` with the loaded tables; `<name>_lcp_previous` (or
the one in which they are kept) with the old tables while the swap lasts; `<name>_lcp_journal`. A
staging or previous schema that cannot be dropped is worked around: `..._1` and so on take its
place. One RENAME TABLE moves all old tables out, all new ones in, and the journal's marker:

    no journal                                   nothing to do
    journal                                      loading            killed: thrown away
    -> marker `before_swap`, triggers and views dropped
    `before_swap`                                swapping           killed: undone
    -> RENAME TABLE: old out, new in, marker
    `after_swap`                                 swapped            killed: finished
    -> stored code created; previous, staging and journal dropped

Triggers keep a table from leaving its schema (MySQL error 1435), and views from coming in under
their name, so the live ones are journaled and dropped first, and the dump's are created last.

Stored code in the live schema that the master user may not drop (MySQL: its definer has
SYSTEM_USER) goes with the schema: the new tables are moved back to staging for that moment, marked
by `emptied`, from which it only goes forward.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import pymysql
from pymysql.constants import ER

from lcp_backup.database import accounts, live_code, stored_code
from lcp_backup.database.accounts import Accounts
from lcp_backup.database.control import controlled
from lcp_backup.database.endpoint import Connection, DatabaseEndpoint
from lcp_backup.database.journal import AFTER, BEFORE, EMPTIED, Fact, Journal
from lcp_backup.database.rulings import StatementKind
from lcp_backup.database.sql import (
    collation_of,
    describe,
    drop_if_possible,
    drop_schema,
    execute,
    has_schema,
    has_table,
    held,
    is_denied,
    is_lost,
    make_writable,
    numbered,
    quote,
    said_by,
    tables_of,
)
from lcp_backup.errors import (
    AccountRefused,
    Conflict,
    DatabaseError,
    DatabaseUnreachable,
    LoadFailed,
    RestoredInPart,
)

type Between = Callable[[str], None]

_MOST_WORKED_AROUND: Final = 9
"""Schemas that cannot be dropped, of one purpose."""


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
class Scope:
    """What of the live schema a swap replaces."""

    tables: frozenset[str] | None = None
    """Only these tables, with their triggers; None means everything."""
    keep_in: str | None = None
    """A schema, which must not exist, that keeps the old tables; None means that they go."""


def create_staging(control: Connection, endpoint: DatabaseEndpoint) -> str:
    """A new journal, and a new staging schema with the live schema's defaults; answers its name.

    Raises pymysql.MySQLError; LoadFailed when there is no room for one beside those that cannot be
    dropped.
    """
    journal = Journal(control, endpoint.name)
    journal.create()
    staging = _free_schema(control, f"{endpoint.name}_lcp_staging")
    journal.note(Fact.STAGING, staging)
    collation = collation_of(control, endpoint.name)
    options = f" COLLATE {collation}" if collation else ""
    execute(control, f"CREATE DATABASE {quote(staging)}{options}")
    return staging


def discard(control: Connection, endpoint: DatabaseEndpoint) -> None:
    """Drops what was staged, as far as it can be dropped, and the journal."""
    journal = Journal(control, endpoint.name)
    if journal.exists:
        # First, for whoever is killed while a schema is dropped leaves some of its tables.
        journal.forget(Fact.WHOLE)
        for staging in journal.noted(Fact.STAGING):
            drop_if_possible(control, staging)
    journal.drop()


def swap(
    endpoint: DatabaseEndpoint,
    seal: str,
    scope: Scope,
    given: Accounts,
    between: Between | None = None,
) -> list[str]:
    """Makes what is staged live; a failure before the tables move changes nothing.

    Arguments: `seal` is that of the load which staged it: what another one, or a part of one, left
    in its place is thrown away. `between` is told each step's name before it is taken. Answers the
    schemas that could not be dropped. Raises LoadFailed, AccountRefused, RestoredInPart (after the
    tables moved), Conflict, DatabaseUnreachable.
    """
    step = between or _unwatched
    with controlled(endpoint) as control:
        try:
            if not Journal(control, endpoint.name).is_sealed(seal):
                _recover(control, endpoint, given)
                reason = (
                    "the database that was loaded beside the live one is not there any more, as"
                    " another invocation loaded it anew: the site is as it was, restore once more"
                )
                raise _as_it_was(reason, reason)
            _exchange(control, endpoint, scope, step)
        except pymysql.MySQLError as error:
            if not is_lost(error):
                _undo_if_possible(control, endpoint, given)
            elif _settled(endpoint, given, error) is Outcome.FINISHED:
                return []
            head = "the live tables could not be swapped, the site is as it was"
            why, public = f"{describe(error)}{held(error)}", f"{numbered(error)}{held(error)}"
            raise _as_it_was(f"{head}: {why}", f"{head}: {public}") from None
        try:
            return _finish(control, endpoint, given, step)
        except (pymysql.MySQLError, AccountRefused, DatabaseUnreachable) as error:
            head = "all tables of the dump are live; the next restore brings the rest to its end"
            why, public = said_by(error)
            raise RestoredInPart(f"{head}: {why}", public=f"{head}: {public}") from None


def recover(
    endpoint: DatabaseEndpoint,
    given: Accounts = Accounts(),  # noqa: B008 -- frozen
) -> Outcome:
    """Clears up, undoes or finishes what a killed restore left; does nothing otherwise.

    Afterwards the live schema is wholly the old site or wholly the new one. May be called at any
    time, and again after it was itself killed. Raises LoadFailed, AccountRefused, Conflict,
    DatabaseUnreachable.
    """
    with controlled(endpoint) as control:
        try:
            return _recover(control, endpoint, given)
        except pymysql.MySQLError as error:
            raise LoadFailed(
                f"an unfinished restore of {endpoint.name!r} could not be cleared up:"
                f" {describe(error)}"
            ) from None


def _recover(control: Connection, endpoint: DatabaseEndpoint, given: Accounts) -> Outcome:
    journal = Journal(control, endpoint.name)
    accounts.put_away(control, endpoint, given.loader)
    if not journal.exists:
        return Outcome.NOTHING
    if journal.is_marked(AFTER) or journal.is_marked(EMPTIED):
        _finish(control, endpoint, given, _unwatched)
        return Outcome.FINISHED
    if journal.is_marked(BEFORE):
        _undo(control, endpoint, given)
        return Outcome.UNDONE
    discard(control, endpoint)
    return Outcome.CLEARED


def _unwatched(_step: str) -> None:
    """The swap's steps as seen by nobody."""


def _exchange(control: Connection, endpoint: DatabaseEndpoint, scope: Scope, step: Between) -> None:
    live = endpoint.name
    journal = Journal(control, live)
    (staging,) = journal.noted(Fact.STAGING)
    step("journal")
    if scope.keep_in is not None and has_schema(control, scope.keep_in):
        raise _as_it_was(f"{scope.keep_in} exists: the old tables cannot be kept there")
    previous = scope.keep_in or _free_schema(control, f"{live}_lcp_previous")
    existed = has_schema(control, live)
    triggers = live_code.live_triggers(control, endpoint, scope.tables) if existed else []
    # Nor may a view have the name of a table that comes.
    coming = tables_of(control, staging)
    views = live_code.live_views(control, endpoint, coming) if existed else []
    control.begin()
    journal.note(Fact.PREVIOUS, previous)
    if not existed:
        journal.note(Fact.SCHEMA_MADE, live)
    if scope.keep_in is not None:
        journal.note(Fact.KEPT, scope.keep_in)
    for table in scope.tables or ():
        journal.note(Fact.TABLE, table)
    for code in (*triggers, *views):
        journal.keep(code, live=True)
    control.commit()
    step("mark")
    journal.mark(BEFORE)
    step("create schemas")
    execute(control, f"CREATE DATABASE IF NOT EXISTS {quote(live)}")
    make_writable(control, live)
    execute(control, f"CREATE DATABASE {quote(previous)}")
    # The last first: those that are left are then the first ones, and undoing keeps their order.
    for number, trigger in enumerate(reversed(triggers)):
        step(f"drop trigger {number}")
        execute(control, f"DROP TRIGGER IF EXISTS {quote(live)}.{quote(trigger.name)}")
    for view in views:
        step(f"drop view {view.name}")
        execute(control, f"DROP VIEW IF EXISTS {quote(live)}.{quote(view.name)}")
    step("rename")
    moves = [
        (live, table, previous, table)
        for table in tables_of(control, live)
        if scope.tables is None or table in scope.tables
    ]
    moves += [(staging, table, live, table) for table in coming]
    moves.append(journal.moves(BEFORE, AFTER))
    _rename(control, moves)


def _rename(control: Connection, moves: Collection[tuple[str, str, str, str]]) -> None:
    """Moves tables from schema to schema, all at one moment."""
    execute(
        control,
        "RENAME TABLE "
        + ", ".join(
            f"{quote(schema)}.{quote(table)} TO {quote(to)}.{quote(name)}"
            for schema, table, to, name in moves
        ),
    )


def _settled(endpoint: DatabaseEndpoint, given: Accounts, lost: pymysql.MySQLError) -> Outcome:
    """Finishes or undoes over another connection what came through before one was lost."""
    try:
        return recover(endpoint, given)
    except RestoredInPart:
        raise
    except (Conflict, DatabaseError):
        head = "the connection was lost in the swap: the next restore finishes or undoes that"
        raise LoadFailed(f"{head}: {describe(lost)}", public=f"{head}: {numbered(lost)}") from None


def _as_it_was(message: str, public: str | None = None) -> LoadFailed:
    failed = LoadFailed(message, public=public)
    failed.undone = True
    return failed


def _undo_if_possible(control: Connection, endpoint: DatabaseEndpoint, given: Accounts) -> None:
    """After a failure: a connection that is gone leaves it to the next `recover`."""
    try:
        control.rollback()
        _undo(control, endpoint, given)
    except (pymysql.MySQLError, AccountRefused, DatabaseUnreachable) as error:
        raise LoadFailed(
            "the live tables could not be swapped; the next restore puts back the live triggers and"
            f" views: {said_by(error)[0]}"
        ) from None


def _undo(control: Connection, endpoint: DatabaseEndpoint, given: Accounts) -> None:
    live = endpoint.name
    journal = Journal(control, live)
    for previous in journal.noted(Fact.PREVIOUS):
        # None, as the tables and the marker move at one moment; but a table is never lost by that.
        there = set(tables_of(control, live))
        stray = [table for table in tables_of(control, previous) if table not in there]
        if stray:
            make_writable(control, live)
            _rename(control, [(previous, table, live, table) for table in stray])
        drop_if_possible(control, previous)
    failures: list[stored_code.Failure] = []
    if has_schema(control, live):
        triggers = stored_code.trigger_names(control, live)
        missing = [
            code
            for code in journal.kept(live=True)
            if (code.kind is StatementKind.TRIGGER and code.name not in triggers)
            or (code.kind is StatementKind.VIEW and not has_table(control, live, code.name))
        ]
        if missing:
            make_writable(control, live)
            name = accounts.idle_owner(control, live)
            with accounts.owner(control, endpoint, given.site, name) as owner:
                failures = stored_code.create_all(owner, live, missing, lambda _: None)
        if any(error.args[0] == ER.LOCK_WAIT_TIMEOUT for _, error in failures):
            raise failures[0][1]  # the site holds a table: the next restore tries again
        if journal.noted(Fact.SCHEMA_MADE) and not tables_of(control, live):
            drop_schema(control, live)
    discard(control, endpoint)
    if failures:
        # Told once: it may be wrong for ever, and must not keep every later restore from working.
        lost = ", ".join(code.name for code, _ in failures)
        reason = f"the site is as it was, but these triggers and views cannot be put back: {lost}"
        raise LoadFailed(
            f"{reason} ({describe(failures[0][1])})",
            public=f"{reason} ({numbered(failures[0][1])})",
        )


def _finish(
    control: Connection, endpoint: DatabaseEndpoint, given: Accounts, step: Between
) -> list[str]:
    live = endpoint.name
    journal = Journal(control, live)
    (staging,) = journal.noted(Fact.STAGING)
    only = frozenset(journal.noted(Fact.TABLE)) or None
    name = accounts.idle_owner(control, live)
    step("drop old stored code")
    if only is not None:
        stored_code.drop_triggers(control, live, only)
    else:
        _drop_stored_code(control, journal, live, staging, step)
        step("set defaults")
        collation = collation_of(control, staging)
        # Only where it changes: ALTER DATABASE waits for the site's transactions.
        if collation is not None and collation != collation_of(control, live):
            execute(control, f"ALTER DATABASE {quote(live)} COLLATE {collation}")
    step("create stored code")
    with accounts.owner(control, endpoint, given.site, name) as owner:
        failures = stored_code.create_all(
            owner, live, journal.kept(), lambda code: step(f"create {code.name}")
        )
    step("drop previous")
    left = []
    if not journal.noted(Fact.KEPT):
        left = [it for it in journal.noted(Fact.PREVIOUS) if not drop_if_possible(control, it)]
    step("drop staging")
    if not drop_if_possible(control, staging):
        left.append(staging)
    journal.drop()
    if failures:
        stored_code.tell_of(failures)
    return left


def _drop_stored_code(
    control: Connection, journal: Journal, live: str, staging: str, step: Between
) -> None:
    """Frees the live schema, which has the new tables, of the old site's stored code."""
    if not journal.is_marked(EMPTIED):
        make_writable(control, live)
        try:
            stored_code.drop_all(control, live)
        except pymysql.MySQLError as error:
            if not is_denied(error):
                raise
        else:
            return
        stored_code.drop_triggers(control, live, tables_of(control, live))
        step("empty")
        moves = [(live, table, staging, table) for table in tables_of(control, live)]
        _rename(control, [*moves, journal.moves(AFTER, EMPTIED)])
    step("drop the schema")
    collation = collation_of(control, staging)
    # What the site made there meanwhile goes like all else that a restore replaces.
    drop_if_possible(control, live)
    execute(control, f"CREATE DATABASE IF NOT EXISTS {quote(live)} COLLATE {collation}")
    step("fill again")
    moves = [(staging, table, live, table) for table in tables_of(control, staging)]
    _rename(control, [*moves, journal.moves(EMPTIED, AFTER)])


def _free_schema(control: Connection, name: str) -> str:
    """This name, or one like it, of a schema that does not exist, or does not any more."""
    for candidate in (name, *(f"{name}_{number}" for number in range(1, _MOST_WORKED_AROUND + 1))):
        if drop_if_possible(control, candidate):
            return candidate
    raise _as_it_was(
        f"{name} and all schemas that could take its place exist and cannot be dropped: look at"
        " what lies in their folders on the server, and drop them by hand"
    )
