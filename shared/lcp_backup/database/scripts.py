"""Scripts that an operator has run in the staging schema, before it is swapped in.

They are sent by the loader, which has rights on that schema only, and change rows and nothing else:
what a statement may say is judged as bodies of uploaded stored code are.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from lcp_backup.database.accounts import kill
from lcp_backup.database.bodies import check_body
from lcp_backup.database.connection_pool import ConnectionPool
from lcp_backup.database.endpoint import DatabaseEndpoint, Server, connect
from lcp_backup.database.options import DENIED_FUNCTIONS
from lcp_backup.database.policy import head
from lcp_backup.database.reader import StatementReader
from lcp_backup.database.rulings import Ruling, StatementKind
from lcp_backup.database.session import Session
from lcp_backup.database.sql import execute, prepare
from lcp_backup.database.statements import Statement, StatementSplitter
from lcp_backup.database.tokens import NotTakenError, Reading, called
from lcp_backup.errors import ArchiveRefused

_STATEMENTS: Final = ("DELETE", "INSERT", "REPLACE", "TRUNCATE", "UPDATE")
_SESSION: Final = (
    "unique_checks = 1, foreign_key_checks = 1, autocommit = 1, sql_mode = 'STRICT_ALL_TABLES'"
)
"""As a user's session has it, and unlike a load's: what a script breaks is to be told."""


@dataclass(frozen=True)
class Script:
    """One SQL file."""

    name: str
    sql: bytes


def judge_scripts(scripts: tuple[Script, ...], server: Server, check: Callable[[], None]) -> None:
    """Raises ArchiveRefused, naming file, statement and line, for what a script may not say."""
    for script in scripts:
        for _ in _statements(script, server, check):
            pass


def run_scripts(
    endpoint: DatabaseEndpoint,
    staging: str,
    scripts: tuple[Script, ...],
    server: Server,
    check: Callable[[], None],
) -> tuple[str, ...]:
    """Runs scripts one after the other; answers a line for each, with the rows it changed.

    Arguments: `endpoint` is the loader's; `check` is called all the time, from two threads, and
    what it raises ends the work, also a statement that is under way. Raises LoadFailed, naming
    file, statement and line; ArchiveRefused.
    """
    if not scripts:
        return ()
    done: list[str] = []

    def run(session: Session) -> None:
        for script in scripts:
            rows = count = 0
            for where, sql in _statements(script, server, check):
                rows += session.run(partial(str, where), Ruling(StatementKind.NOTHING, sql))
                count += 1
            done.append(f"{script.name}: {count} statements, {rows} rows")

    # A pool of one: a statement that takes too long is then ended inside the server.
    with ConnectionPool(
        1, partial(_session, endpoint, staging), partial(kill, endpoint), check
    ) as pool:
        pool.put(run)
        pool.drain()
    return tuple(done)


@contextmanager
def _session(endpoint: DatabaseEndpoint, staging: str) -> Iterator[Session]:
    # (Without local files, unlike the load's own connections.)
    with closing(connect(endpoint, database=staging)) as connection:
        prepare(connection)
        session = Session(connection)
        execute(connection, f"SET SESSION {_SESSION}")
        yield session


def _statements(
    script: Script, server: Server, check: Callable[[], None]
) -> Iterator[tuple[str, bytes]]:
    """The place of each statement, and what of it is sent."""
    number = 0
    for statement in StatementSplitter().split(script.sql, check):
        check()
        if statement.begin == statement.end:
            continue
        where = f"statement {number + 1} (line {statement.line}) of script {script.name!r}"
        if sql := _judged(statement, where, server):
            number += 1
            yield where, sql
    if not number:
        raise ArchiveRefused(f"script {script.name!r} holds no statement")


def _judged(statement: Statement, where: str, server: Server) -> bytes:
    reader = StatementReader(statement.text, Reading.of(server))
    try:
        reader.read_all()
        if not reader.tokens:
            return b""
        if reader.tokens[0].word not in _STATEMENTS:
            raise NotTakenError(f"a script may say {', '.join(_STATEMENTS)} and nothing else")
        for token, following in zip(reader.tokens, reader.tokens[1:], strict=False):
            if (function := called(token, following.word)) in DENIED_FUNCTIONS:
                raise NotTakenError(f"a script calls no {function}")
        # No schema is its own: what it names without one is what is staged.
        check_body(reader.tokens, 0, "", is_view=False)
    except NotTakenError as error:
        reason = str(error).replace("its body", "it", 1)
        raise ArchiveRefused(f"{where} is refused: {reason}: {head(statement.text)}") from None
    return reader.built()
