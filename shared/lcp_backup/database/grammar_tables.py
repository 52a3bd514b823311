"""How a dump defines and alters tables, sequences and its own schema."""

from typing import Final

from lcp_backup.database.dump_statement import DumpStatement
from lcp_backup.database.options import SCHEMA_OPTIONS, SEQUENCE_WORDS, TABLE_OPTIONS
from lcp_backup.database.rulings import Ruling, StatementKind
from lcp_backup.database.tokens import NotTakenError

_NOT_OPTIONS: Final = frozenset({"AS", "CONNECTION", "SECONDARY_ENGINE", "WITH"})
"""Of the options that are not known here, those that our own dumps may not say either."""


def create_table(statement: DumpStatement, name: str) -> Ruling:
    """Takes the rest of CREATE TABLE; all these raise NotTakenError."""
    statement.check_expressions(statement.at, table=name)
    statement.expect("(")
    if statement.peek_word() == "LIKE":
        raise NotTakenError("a definition is no copy of another table")
    statement.parentheses()
    while statement.peek() is not None:
        begin = statement.at
        statement.take(",")
        statement.take("DEFAULT")
        option = statement.name().upper()
        if option == "PARTITION":
            _partitions(statement)
        elif option in {"DATA", "INDEX", "TABLESPACE"}:
            _placement(statement, begin, option)
        else:
            _option(statement, option)
    return Ruling(StatementKind.TABLE, statement.built(), name, creates=True)


def create_sequence(statement: DumpStatement, name: str) -> Ruling:
    """Takes the rest of CREATE SEQUENCE."""
    while (token := statement.peek()) is not None:
        statement.at += 1
        if token.word == "ENGINE":
            statement.take("=")
            statement.engine()
        elif not (token.word in SEQUENCE_WORDS or token.word.isdigit()):
            raise NotTakenError("dumps do not define sequences so")
    return Ruling(StatementKind.TABLE, statement.built(), name, creates=True)


def schema(statement: DumpStatement, kind: StatementKind) -> Ruling:
    """Takes the name and the options of the dump's own schema."""
    statement.own_schema(statement.name())
    begin = statement.at
    while statement.peek() is not None:
        statement.take("DEFAULT")
        if not any(statement.take(option) for option in SCHEMA_OPTIONS):
            raise NotTakenError(
                "it sets a schema option other than character set, collation, comment and"
                " encryption; take that option from the schema before the dump"
            )
    return Ruling(kind, statement.built(begin), statement.dumped)


def alter(statement: DumpStatement) -> Ruling:
    """Takes ALTER of a table or of the dump's own schema."""
    statement.expect("ALTER")
    if statement.take("DATABASE|SCHEMA"):
        return schema(statement, StatementKind.ALTER_SCHEMA)
    statement.take("IGNORE")
    statement.expect("TABLE")
    name = statement.own_name()
    statement.check_expressions(statement.at, table=name)
    _action(statement)
    while statement.take(","):
        _action(statement)
    statement.end()
    return Ruling(StatementKind.TABLE, statement.built(), name)


def _option(statement: DumpStatement, option: str) -> None:
    if option in {"WITH", "WITHOUT"} and statement.take("SYSTEM VERSIONING"):
        return
    if option == "CHARACTER":
        statement.expect("SET")
    statement.take("=")
    if option in {"ENGINE", "TYPE"}:
        statement.engine()
    elif option in TABLE_OPTIONS or (not statement.uploaded and option not in _NOT_OPTIONS):
        statement.literal()
    else:
        raise NotTakenError(f"{option[:64]} is no table option that is taken")


def _placement(statement: DumpStatement, begin: int, option: str) -> None:
    """Where the server keeps a table's files: our own dumps lose it, others are refused."""
    if option != "TABLESPACE":
        statement.expect("DIRECTORY")
        option += " DIRECTORY"
    statement.take("=")
    place = statement.name()
    statement.take("STORAGE DISK|MEMORY")
    if statement.uploaded and place != "innodb_file_per_table":
        raise NotTakenError(
            f"it says where the server keeps the table's files ({option}); define the table"
            " without that"
        )
    statement.cut.update(range(begin, statement.at))


def _partitions(statement: DumpStatement) -> None:
    """Takes the rest of a definition, which says how a table is divided."""
    depth = 0
    while (token := statement.peek()) is not None:
        begin, word = statement.at, token.word
        statement.at += 1
        depth += (word == "(") - (word == ")")
        if word == "ENGINE":
            statement.take("=")
            statement.engine()
        elif word == "TABLESPACE" or (
            word in {"DATA", "INDEX"} and statement.peek_word() == "DIRECTORY"
        ):
            _placement(statement, begin, word)
        elif word in {"AS", "WITH"} and not depth:
            raise NotTakenError("a definition has no query")


def _action(statement: DumpStatement) -> None:
    """One thing that ALTER TABLE does, up to the comma before the next."""
    if statement.take("DISABLE|ENABLE KEYS"):
        return
    if statement.take("AUTO_INCREMENT =?"):
        statement.number()
        return
    if not statement.take("ADD|MODIFY|CHANGE"):
        raise NotTakenError("dumps do not alter tables so")
    while (token := statement.peek()) is not None and token.word != ",":
        statement.at += 1
        if token.word == "(":
            statement.parentheses()
        elif token.word in {"PARTITION", "PARTITIONS"}:
            raise NotTakenError("dumps do not alter tables so")
