"""Which statements a dump may hold: what creates, defines and alters has a file of its own each.

A grammar takes a statement's tokens one after the other, and refuses what it does not expect.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from lcp_backup.database.dump_statement import DumpStatement
from lcp_backup.database.grammar_code import (
    create_event,
    create_function,
    create_package,
    create_routine,
    create_trigger,
    create_view,
    cut_definer,
)
from lcp_backup.database.grammar_set import set_session
from lcp_backup.database.grammar_tables import alter, create_sequence, create_table, schema
from lcp_backup.database.rulings import NOTHING, Ruling, StatementKind
from lcp_backup.database.tokens import NotTakenError

_PERCONA = re.compile(
    rb"SELECT COUNT\(\*\) INTO @(?:is_)?rocksdb_"
    rb"|PREPARE s FROM @\w++\Z|EXECUTE s\Z|DEALLOCATE PREPARE s\Z",
    re.IGNORECASE,
)
"""How Percona's mysqldump asks for the RocksDB engine, to load it in bulk; never executed."""

_SCHEMA_WORDS: Final = frozenset({"DATABASE", "SCHEMA"})
_CODE_WORDS: Final = frozenset(
    {"VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "PACKAGE", "LIBRARY", "EVENT"}
)
_TABLE_WORDS: Final = frozenset({"TABLE", "SEQUENCE"})


def ruling(statement: DumpStatement) -> Ruling:
    """Judges a statement from its beginning; raises NotTakenError."""
    if statement.peek() is None:
        return NOTHING
    reader = _STATEMENTS.get(statement.peek_word())
    if reader is None:
        raise NotTakenError("dumps do not hold such statements")
    return reader(statement)


def _create(statement: DumpStatement) -> Ruling:
    statement.expect("CREATE")
    statement.take("OR REPLACE")
    while (
        cut_definer(statement)
        or statement.take("ALGORITHM = UNDEFINED|MERGE|TEMPTABLE")
        or statement.take("SQL SECURITY DEFINER|INVOKER")
        or statement.take("AGGREGATE")
    ):
        pass
    what = statement.word()
    if what == "PACKAGE":
        statement.take("BODY")
    statement.take("IF NOT EXISTS")
    if what in _SCHEMA_WORDS:
        return schema(statement, StatementKind.CREATE_SCHEMA)
    if what not in _CREATED:
        raise NotTakenError("dumps do not create such things")
    return _CREATED[what](statement, statement.own_name())


def _drop(statement: DumpStatement) -> Ruling:
    statement.expect("DROP")
    what = statement.word()
    if what == "PACKAGE":
        statement.take("BODY")
    statement.take("IF EXISTS")
    if what in _SCHEMA_WORDS:
        statement.own_schema(statement.name())
        statement.end()
        return Ruling(StatementKind.DROP_SCHEMA, statement.built(), statement.dumped)
    if what not in _TABLE_WORDS | _CODE_WORDS:
        raise NotTakenError("dumps do not drop such things")
    name = statement.own_name()
    statement.end()
    if what in _TABLE_WORDS:
        return Ruling(StatementKind.TABLE, statement.built(), name, drops=True)
    return Ruling(StatementKind.DROP_CODE, statement.built(), name)


def _lock(statement: DumpStatement) -> Ruling:
    if statement.take("UNLOCK TABLES|TABLE"):
        statement.end()
        return Ruling(StatementKind.LOCK, statement.built())
    statement.expect("LOCK TABLES|TABLE")
    while True:
        statement.own_name()
        statement.expect("READ|WRITE LOCAL|CONCURRENT?")
        if not statement.take(","):
            statement.end()
            return Ruling(StatementKind.LOCK, statement.built())


def _transaction(statement: DumpStatement) -> Ruling:
    statement.expect("START|BEGIN|COMMIT TRANSACTION|WORK?")
    statement.end()
    return NOTHING


def _use(statement: DumpStatement) -> Ruling:
    statement.expect("USE")
    statement.own_schema(statement.name())
    statement.end()
    return NOTHING


def _analyze(statement: DumpStatement) -> Ruling:
    statement.expect("ANALYZE NO_WRITE_TO_BINLOG|LOCAL? TABLE|TABLES")
    name = statement.own_name()
    if statement.peek() is not None:
        statement.expect("UPDATE|DROP HISTOGRAM ON")
        statement.check_expressions(statement.at, table=name)
    return Ruling(StatementKind.TABLE, statement.built(), name)


def _sequence_value(statement: DumpStatement) -> Ruling:
    if not (statement.peek_word(1) == "SETVAL" and statement.take("DO|SELECT SETVAL (")):
        return _bulk_load(statement)
    name = statement.own_name()
    while statement.take(", -?"):
        statement.number()
    statement.expect(")")
    statement.end()
    return Ruling(StatementKind.TABLE, statement.built(), name)


def _bulk_load(statement: DumpStatement) -> Ruling:
    if not _PERCONA.match(statement.built()):
        raise NotTakenError("dumps do not hold such statements")
    return Ruling(StatementKind.LEFT_OUT, b"")


_CREATED: Final[Mapping[str, Callable[[DumpStatement, str], Ruling]]] = {
    "TABLE": create_table,
    "SEQUENCE": create_sequence,
    "VIEW": create_view,
    "TRIGGER": create_trigger,
    "PROCEDURE": create_routine,
    "FUNCTION": create_function,
    "PACKAGE": create_package,
    "LIBRARY": create_package,
    "EVENT": create_event,
}
"""By what is created: the reader is told the name, and goes on behind it."""
_STATEMENTS: Final[Mapping[str, Callable[[DumpStatement], Ruling]]] = {
    "CREATE": _create,
    "DROP": _drop,
    "ALTER": alter,
    "SET": set_session,
    "USE": _use,
    "LOCK": _lock,
    "UNLOCK": _lock,
    "START": _transaction,
    "BEGIN": _transaction,
    "COMMIT": _transaction,
    "ANALYZE": _analyze,
    "DO": _sequence_value,
    "SELECT": _sequence_value,
    "PREPARE": _bulk_load,
    "EXECUTE": _bulk_load,
    "DEALLOCATE": _bulk_load,
}
"""Statements by their first word; all else is refused."""
