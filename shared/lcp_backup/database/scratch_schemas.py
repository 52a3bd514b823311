"""Scratch schemas by their names: which there are, whose they are, and who drops them when."""

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pymysql

from lcp_backup.database import accounts
from lcp_backup.database.control import controlled, if_abandoned
from lcp_backup.database.endpoint import Connection, DatabaseEndpoint
from lcp_backup.database.journal import Fact, Journal
from lcp_backup.database.shared_load import SharedLoad
from lcp_backup.database.sql import database_errors, denials, execute, has_table, text
from lcp_backup.database.swap import discard

PREFIX: Final = "lcp_verify_"
"""How the names of all scratch schemas begin."""
VERIFIER: Final = "the account that verifies (LCP_BACKUP_VERIFY_USER_NAME, or the master user)"
_TOKEN_BYTES: Final = 4
NAME_LENGTH: Final = len(PREFIX) + 2 * 4 + 1 + 2 * _TOKEN_BYTES
"""Of a load's name, in full."""

type UnderWay = Callable[[str], bool]
"""Told the id of a run, by whose functions a schema that nobody holds may be filled: whether they
may still go on with it."""


def drop_abandoned(server: DatabaseEndpoint, *, whose: str, under_way: UnderWay) -> None:
    """Drops what loads of this owner left that were killed; nothing of one that is under way.

    Arguments, and what it raises: as of `scratch.ScratchLoad`.
    """
    endpoint = replace(server, name=new_name(whose))
    with controlled(endpoint) as control, database_errors("cleared up"), denials(VERIFIER):
        drop_what_killed_ones_left(control, server, whose, under_way)


def _prefix(whose: str) -> str:
    return f"{PREFIX}{hashlib.sha256(whose.encode()).hexdigest()[:8]}_"


def new_name(whose: str) -> str:
    """A name for a load of this owner."""
    return f"{_prefix(whose)}{secrets.token_hex(_TOKEN_BYTES)}"


def name_of(shared: SharedLoad) -> str:
    """The name of a load, behind which those of its up to three schemas go on."""
    return shared.progress.schema[:NAME_LENGTH]


def drop_what_killed_ones_left(
    control: Connection, server: DatabaseEndpoint, whose: str, under_way: UnderWay
) -> None:
    """As `drop_abandoned`, over a connection that is there."""
    for name in sorted({schema[:NAME_LENGTH] for schema in schemas_of(control, whose)}):
        endpoint = replace(server, name=name)
        with if_abandoned(control, endpoint) as nobody_holds_it:
            if nobody_holds_it and not any(map(under_way, _runs_of(control, name))):
                drop(control, endpoint)


def _runs_of(control: Connection, name: str) -> tuple[str, ...]:
    """The run whose functions fill it one after the other, if there is one."""
    journal = Journal(control, name)
    return journal.noted(Fact.RUN) if journal.exists else ()


def is_there(control: Connection, shared: SharedLoad, run_id: str) -> bool:
    """Whether this run's load is neither dropped nor completed; raises pymysql.MySQLError."""
    progress = shared.progress
    return run_id in _runs_of(control, name_of(shared)) and has_table(
        control, progress.schema, progress.table
    )


def schemas_of(control: Connection, whose: str) -> list[str]:
    """All scratch schemas of this environment that are there."""
    named = re.compile(rf"{_prefix(whose)}[0-9a-f]{{{2 * _TOKEN_BYTES}}}_lcp_\w+")
    rows = execute(
        control,
        "SELECT schema_name FROM information_schema.schemata WHERE LEFT(schema_name, %s) = %s",
        len(PREFIX),
        PREFIX,
    )
    return [name for (schema,) in rows if named.fullmatch(name := text(schema))]


def drop(control: Connection, endpoint: DatabaseEndpoint) -> None:
    """Drops schemas and loader; over a connection that is gone nothing, and the next load does."""
    try:
        accounts.put_away(control, endpoint, None)
        discard(control, endpoint)
    except pymysql.MySQLError:
        return
