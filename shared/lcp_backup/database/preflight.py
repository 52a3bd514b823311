"""What a restore will need, asked before a backup is made: what cannot come back is no success.

A backup fails for what would make its restore fail; for what a dump program leaves out, or what has
to be done before a restore, it carries a notice. docs/operations.md has the table.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import pymysql
from pymysql.constants import ER

from lcp_backup.archive.segment import Section
from lcp_backup.database.endpoint import (
    Connection,
    Flavour,
    Server,
)
from lcp_backup.database.foreign_keys import dangling_keys, keys_from_elsewhere, referring_tables
from lcp_backup.database.options import ENGINES
from lcp_backup.database.policy import Policy
from lcp_backup.database.sections import Cut
from lcp_backup.database.sql import execute, execute_if_known, quote, text
from lcp_backup.database.statements import StatementSplitter
from lcp_backup.errors import ArchiveRefused, DumpFailed
from lcp_backup.exclusion import matches_table
from lcp_backup.model import Notice

_NAMED: Final = 5
_HISTORY_SINCE: Final = (10, 11)
"""MariaDB's release that can dump and load the history of system-versioned tables."""
_MIB: Final = 1 << 20


def inspect(
    connection: Connection, server: Server, schema: str, program_version: str
) -> tuple[Notice, ...]:
    """What the server says of a schema that is going to be dumped.

    Args:
        connection: the master user's.
        program_version: of the dump program, such as `10.11.6`.

    Raises DumpFailed, naming what no restore would bring back; pymysql.MySQLError.
    """
    _check_engines(connection, schema)
    _check_events(connection, schema)
    _check_partitions(connection, schema)
    _check_keys(connection, schema)
    found = [
        _floats(connection, schema),
        _elsewhere(connection, schema),
        _views_beyond(connection, schema),
        *_of_the_schema(connection, schema),
        _histograms(connection, schema),
        _without_primary_key(connection, schema),
        None if can_keep_history(server, program_version) else _history(connection, schema),
    ]
    return tuple(notice for notice in found if notice is not None)


def keeps_history(
    connection: Connection, server: Server, schema: str, program_version: str
) -> bool:
    """Whether there are system-versioned tables, and a dump can hold their history."""
    return can_keep_history(server, program_version) and bool(versioned_tables(connection, schema))


def can_keep_history(server: Server, program_version: str) -> bool:
    """Whether a dump of this program, of this server, can hold old rows of versioned tables."""
    return server.flavour is Flavour.MARIADB and all(
        _release(version) >= _HISTORY_SINCE for version in (server.version, program_version)
    )


class Inspection:
    """Looks at a dump while it is written, with the eyes of the restore that it is for."""

    def __init__(self, server: Server, schema: str, check: Callable[[], None]) -> None:
        self._policy = Policy(schema, uploaded=False, server=server)
        self._check = check
        self._largest = 0
        self._table: str | None = None

    def look_at(self, cut: Cut) -> None:
        """Raises DumpFailed for a statement that a restore would refuse."""
        if cut.section is Section.ROWS:
            for chunk in cut.chunks:
                if len(chunk) > self._largest:
                    self._largest, self._table = len(chunk), cut.table
            return
        splitter = StatementSplitter(dump_program=True)
        for statement in splitter.split(b"".join(cut.chunks), self._check):
            try:
                self._policy.judge(_Dumped(statement.text, f"a statement of {cut.section}"))
            except ArchiveRefused as refused:
                about = f" of {cut.table!r}" if cut.table else ""
                raise _failed(f"what is dumped could not be restored: {refused}{about}") from None

    def notices(self, packet: int) -> tuple[Notice, ...]:
        """What was seen; `packet` is the server's max_allowed_packet in bytes."""
        if self._largest < packet:
            return ()
        wanted = -(-self._largest // _MIB) + 1
        return (
            Notice(
                code="row-larger-than-packet",
                subject=self._table or "",
                detail=f"a row of it takes {self._largest} bytes in the dump, and the server takes"
                f" {packet} at once: before a restore set max_allowed_packet to at least"
                f" {wanted * _MIB}",
            ),
        )


class _Dumped(NamedTuple):
    """A statement of the dump, as the policy judges it."""

    text: bytes
    where: str


# --- what fails a backup ------------------------------------------------------------


def _check_engines(connection: Connection, schema: str) -> None:
    rows = execute(
        connection,
        "SELECT table_name, engine FROM information_schema.tables WHERE table_schema = %s"
        " AND table_type NOT LIKE '%%VIEW' AND engine IS NOT NULL ORDER BY table_name",
        schema,
    )
    odd = [
        f"{text(name)} ({text(engine)})"
        for name, engine in rows
        if text(engine).upper() not in ENGINES
    ]
    if odd:
        raise _failed(
            f"tables whose engine reads its rows from elsewhere cannot be restored: {some(odd)};"
            " drop them, or move them to another schema"
        )


def _check_events(connection: Connection, schema: str) -> None:
    # For each of them dump programs look for a delimiter that its text has not, and never end.
    names = _names(
        connection,
        "SELECT event_name FROM information_schema.events WHERE event_schema = %s"
        " AND (event_definition LIKE '%%;;%%' OR event_comment LIKE '%%;;%%') ORDER BY event_name",
        schema,
    )
    if names:
        raise _failed(
            "the dump program never ends at an event whose text holds two semicolons side by"
            f" side: {some(names)}; write them apart"
        )


def _check_partitions(connection: Connection, schema: str) -> None:
    """Liferay can keep each company's tables in a schema of its own, `lpartition_<company>`.

    Source: https://learn.liferay.com/w/dxp/self-hosted-installation-and-upgrades/database-configuration-reference/database-partitioning
    """
    try:
        companies = execute(connection, f"SELECT companyId FROM {quote(schema)}.Company")  # noqa: S608 -- a quoted name
    except pymysql.MySQLError as error:
        if error.args[0] not in {ER.NO_SUCH_TABLE, ER.BAD_FIELD_ERROR}:
            raise
        return
    known = {text(company) for (company,) in companies}
    others = _other_schemas(connection, schema)
    partitions = [name for name in others if name.rpartition("_")[2] in known]
    if partitions:
        raise _failed(
            "Liferay keeps companies in database partitions, schemas that this service does not"
            f" back up: {some(partitions)}"
        )


def check_left_out(connection: Connection, schema: str, patterns: tuple[str, ...]) -> None:
    """Rows that refer to rows which are left out would come back broken.

    Arguments: `patterns` of the tables whose rows are left out. Raises DumpFailed.
    """
    tables = _names(
        connection,
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s",
        schema,
    )
    left_out = [table for table in tables if matches_table(patterns, table)]
    if left_out and (referring := referring_tables(connection, schema, left_out)):
        keys = [f"{child} to {parent}" for child, parent in sorted(referring.items())]
        raise _failed(
            "LCP_BACKUP_EXCLUDE_TABLES leaves out rows to which foreign keys of other tables refer:"
            f" {some(keys)}; leave out the referring tables, too, or neither"
        )


def _check_keys(connection: Connection, schema: str) -> None:
    keys = dangling_keys(connection, schema)
    if keys:
        raise _failed(
            "foreign keys to tables that are not there cannot be restored:"
            f" {some([f'{table} to {other}' for table, other in keys])}; drop these keys"
        )


# --- what is told -------------------------------------------------------------------


def _floats(connection: Connection, schema: str) -> Notice | None:
    columns = _names(
        connection,
        "SELECT c.table_name, c.column_name FROM information_schema.columns c"
        " JOIN information_schema.tables t USING (table_schema, table_name)"
        " WHERE c.table_schema = %s AND c.data_type = 'float' AND t.table_type NOT LIKE '%%VIEW'"
        " ORDER BY c.table_name, c.ordinal_position",
        schema,
    )
    return _notice(
        code="float-rounded",
        subjects=columns,
        detail="servers write FLOAT with 6 digits, so that is what the dump holds; DOUBLE is whole",
    )


def _elsewhere(connection: Connection, schema: str) -> Notice | None:
    return _notice(
        code="foreign-key-from-elsewhere",
        subjects=keys_from_elsewhere(connection, schema),
        detail="foreign keys of other schemas point to this one: a restore refuses until they are"
        " dropped, as they would point to nothing afterwards",
    )


def _views_beyond(connection: Connection, schema: str) -> Notice | None:
    rows = execute(
        connection,
        "SELECT table_name, view_definition FROM information_schema.views WHERE table_schema = %s"
        " ORDER BY table_name",
        schema,
    )
    marks = [f"{quote(name)}." for name in _other_schemas(connection, schema)]
    return _notice(
        code="view-of-another-schema",
        subjects=[text(name) for name, body in rows if any(it in text(body) for it in marks)],
        detail="these views read other schemas, which the account that owns the site's views may"
        " not: a restore needs an account that may in LCP_SITE_USER_NAME",
    )


def _of_the_schema(connection: Connection, schema: str) -> list[Notice | None]:
    rows = execute(
        connection, "SELECT * FROM information_schema.schemata WHERE schema_name = %s", schema
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM information_schema.schemata LIMIT 0")
        names = [column[0].lower() for column in cursor.description or ()]
    said = dict(zip(names, rows[0], strict=True)) if rows else {}
    comment = said.get("schema_comment")
    encrypted = text(said.get("default_encryption")) == "YES"
    return [
        _notice(
            code="schema-comment",
            subjects=[schema] if comment else [],
            detail="the schema's comment is not restored",
        ),
        _notice(
            code="schema-encryption",
            subjects=[schema] if encrypted else [],
            detail="the tables come back encrypted as they are; set the schema's default for new"
            " ones again after a restore into a new server",
        ),
    ]


def _histograms(connection: Connection, schema: str) -> Notice | None:
    rows = execute_if_known(
        connection,
        "SELECT table_name, column_name FROM information_schema.column_statistics"
        " WHERE schema_name = %s ORDER BY 1, 2",
        schema,
    )
    return _notice(
        code="histograms-left-out",
        subjects=[".".join(map(text, row)) for row in rows],
        detail="the optimizer's histograms are not restored: make them again by ANALYZE TABLE",
    )


def _without_primary_key(connection: Connection, schema: str) -> Notice | None:
    variables = execute(
        connection,
        "SHOW GLOBAL VARIABLES WHERE variable_name IN"
        " ('sql_require_primary_key', 'innodb_force_primary_key') AND value = 'ON'",
    )
    if not variables:
        return None
    tables = _names(
        connection,
        "SELECT table_name FROM information_schema.tables t WHERE table_schema = %s"
        " AND table_type = 'BASE TABLE' AND NOT EXISTS (SELECT 1"
        " FROM information_schema.statistics s WHERE s.table_schema = t.table_schema"
        " AND s.table_name = t.table_name AND s.index_name = 'PRIMARY') ORDER BY table_name",
        schema,
    )
    return _notice(
        code="primary-key-required",
        subjects=tables,
        detail=f"these tables have no primary key, and the server takes none without: set"
        f" {text(variables[0][0])} = OFF before a restore",
    )


def _history(connection: Connection, schema: str) -> Notice | None:
    return _notice(
        code="history-left-out",
        subjects=versioned_tables(connection, schema),
        detail="of system-versioned tables the dump holds the current rows only; MariaDB's server"
        " and dump program keep their history from 10.11 on",
    )


def versioned_tables(connection: Connection, schema: str) -> list[str]:
    """The schema's system-versioned tables, which MariaDB has."""
    return _names(
        connection,
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
        " AND table_type = 'SYSTEM VERSIONED' ORDER BY table_name",
        schema,
    )


def _other_schemas(connection: Connection, schema: str) -> list[str]:
    return _names(
        connection,
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name <> %s"
        " ORDER BY schema_name",
        schema,
    )


def _names(connection: Connection, query: str, *values: object) -> list[str]:
    """What a query selects, such as `table.column` where it selects two."""
    return [".".join(map(text, row)) for row in execute(connection, query, *values)]


def _notice(*, code: str, subjects: Sequence[str], detail: str) -> Notice | None:
    return Notice(code=code, subject=some(subjects), detail=detail) if subjects else None


def some(names: Sequence[str]) -> str:
    """The first of the names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _failed(reason: str) -> DumpFailed:
    return DumpFailed(reason, public=reason)


def _release(version: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for number in version.split("-", 1)[0].split(".")[:2]:
        if not number.isdigit():
            break
        numbers.append(int(number))
    return tuple(numbers)
