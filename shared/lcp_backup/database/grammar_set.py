"""How a dump sets up its session: SET."""

from typing import Final

from lcp_backup.database.dump_statement import DumpStatement
from lcp_backup.database.options import (
    KNOWN_MODES,
    QUOTING_MODES,
    SESSION_CHARACTER_SETS,
    SINGLE_BYTE_CHARACTER_SETS,
)
from lcp_backup.database.rulings import Ruling, StatementKind
from lcp_backup.database.tokens import NotTakenError, TokenKind

_SESSION_VARIABLES: Final = frozenset(
    {"character_set_client", "character_set_results", "character_set_connection",
    "collation_connection", "collation_database", "time_zone", "unique_checks",
    "foreign_key_checks", "check_constraint_checks", "sql_mode", "sql_notes",
    "note_verbosity", "sql_quote_show_create", "sql_require_primary_key",
    "sql_generate_invisible_primary_key", "innodb_strict_mode",
    "default_storage_engine", "show_create_table_skip_secondary_engine"}
)  # fmt: skip
_LEFT_OUT_VARIABLES: Final = frozenset({"sql_log_bin", "gtid_next"})
_SET_BY_THE_LOADER: Final = frozenset({"autocommit", "system_versioning_insert_history"})
"""The load's business: transactions, and that rows come with their history."""
_GLOBAL: Final = frozenset({"GLOBAL", "PERSIST", "PERSIST_ONLY"})


def set_session(statement: DumpStatement) -> Ruling:
    """Takes SET; raises NotTakenError."""
    statement.expect("SET")
    if statement.take("NAMES"):
        _character_set(statement, SESSION_CHARACTER_SETS)
        if statement.take("COLLATE"):
            _collation(statement)
        statement.end()
        return Ruling(StatementKind.SESSION, statement.built())
    kinds = {_assignment(statement)}
    while StatementKind.LEFT_OUT not in kinds and statement.take(","):
        kinds.add(_assignment(statement))
    if StatementKind.LEFT_OUT in kinds:
        return Ruling(StatementKind.LEFT_OUT, b"")
    statement.end()
    return Ruling(
        StatementKind.NOTHING if StatementKind.NOTHING in kinds else StatementKind.SESSION,
        statement.built(),
    )


def _assignment(statement: DumpStatement) -> StatementKind:
    if statement.take("@"):
        variable = statement.name().lower()
        _assign(statement)
        if statement.take("IF") and ("rocksdb" in variable or "bulk_load" in variable):
            return StatementKind.LEFT_OUT
        token = statement.peek()
        if variable == "old_sql_mode" and token and token.kind is TokenKind.STRING:
            _modes(statement)  # Sequel Ace
            return StatementKind.SESSION
        # From nothing else, so that no variable holds what a system variable may not.
        statement.expect("@@")
        _system_variable(statement)
        return StatementKind.SESSION
    statement.take("@@")
    scope, name = _system_variable(statement)
    if scope in _GLOBAL or name in _LEFT_OUT_VARIABLES:
        return StatementKind.LEFT_OUT
    if name not in _SESSION_VARIABLES | _SET_BY_THE_LOADER:
        raise NotTakenError(f"dumps do not set {name[:64]}")
    _assign(statement)
    if statement.take("@ *"):
        pass
    elif statement.take("IFNULL ( @ * ,"):  # HeidiSQL
        _value_of(statement, name)
        statement.expect(")")
    elif statement.take("@@"):
        _system_variable(statement)
    else:
        _value_of(statement, name)
    return StatementKind.NOTHING if name in _SET_BY_THE_LOADER else StatementKind.SESSION


def _value_of(statement: DumpStatement, name: str) -> None:
    """Takes a value that is written out, if the variable may have it."""
    if name == "sql_mode":
        _modes(statement)
    elif name.startswith("character_set_"):
        _character_set(statement, SESSION_CHARACTER_SETS | SINGLE_BYTE_CHARACTER_SETS)
    elif name.startswith("collation_"):
        _collation(statement)
    elif name == "default_storage_engine":
        statement.engine()
    else:
        statement.take("-")
        statement.literal()


def _assign(statement: DumpStatement) -> None:
    statement.take(":")
    statement.expect("=")


def _system_variable(statement: DumpStatement) -> tuple[str, str]:
    """Its scope in upper case and its name in lower case."""
    name = statement.name()
    if name.upper() not in {*_GLOBAL, "SESSION", "LOCAL"}:
        return "", name.lower()
    statement.take(".")
    return name.upper(), statement.name().lower()


def _modes(statement: DumpStatement) -> None:
    for mode in filter(None, statement.literal().upper().split(",")):
        if mode not in KNOWN_MODES:
            raise NotTakenError(f"{mode[:64]} is no SQL mode that dumps set")
        if statement.uploaded and mode in QUOTING_MODES:
            raise NotTakenError(
                f"it is written for the SQL mode {mode}, in which quotes or backslashes mean"
                " something else; dump the database without this mode"
            )


def _character_set(statement: DumpStatement, taken: frozenset[str]) -> None:
    name = statement.literal().lower()
    if statement.uploaded and name not in {*taken, "default", "null"}:
        raise NotTakenError(
            f"uploaded dumps are not read in the character set {name[:64]}; dump the database with"
            " --default-character-set=utf8mb4"
        )


def _collation(statement: DumpStatement) -> None:
    name = statement.literal().lower()
    taken = SESSION_CHARACTER_SETS | SINGLE_BYTE_CHARACTER_SETS | {"uca1400", "default"}
    if statement.uploaded and name.partition("_")[0] not in taken:
        raise NotTakenError(
            f"uploaded dumps are not read with the collation {name[:64]}; dump the database with"
            " --default-character-set=utf8mb4"
        )
