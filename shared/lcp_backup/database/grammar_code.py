"""How a dump creates stored code: views, triggers, routines and events."""

from dataclasses import replace
from typing import Final

from lcp_backup.database.bodies import check_body
from lcp_backup.database.dump_statement import DumpStatement
from lcp_backup.database.rulings import Ruling, StatementKind
from lcp_backup.database.tokens import NotTakenError, TokenKind, unquote

_CHARACTERISTICS: Final = (
    "COMMENT *", "LANGUAGE SQL", "SQL SECURITY DEFINER|INVOKER", "READS|MODIFIES SQL DATA",
    "CONTAINS|NO SQL", "NOT DETERMINISTIC", "DETERMINISTIC"
)  # fmt: skip
_TYPE_WORDS: Final = (
    "UNSIGNED|SIGNED|ZEROFILL|BINARY|ASCII|UNICODE|PRECISION|VARYING|CHAR|VARCHAR|VARBINARY",
    "CHARACTER SET *", "CHARSET|COLLATE *"
)  # fmt: skip


def create_view(statement: DumpStatement, name: str) -> Ruling:
    """Takes the rest of CREATE VIEW; all these raise NotTakenError."""
    if statement.take("("):
        statement.parentheses()
    statement.expect("AS")
    _cut_own_schema(statement)
    return _stored_code(statement, StatementKind.VIEW, name)


def create_trigger(statement: DumpStatement, name: str) -> Ruling:
    """Takes the rest of CREATE TRIGGER."""
    statement.expect("BEFORE|AFTER INSERT|UPDATE|DELETE")
    # MariaDB 12 allows INSERT OR UPDATE OF a, b
    while not statement.take("ON"):
        if not statement.take(",|OR"):
            statement.name()
    table = statement.own_name()
    if statement.uploaded:
        statement.expect("FOR EACH ROW")
        statement.take("FOLLOWS|PRECEDES *")
    return replace(_stored_code(statement, StatementKind.TRIGGER, name), table=table)


def create_function(statement: DumpStatement, name: str) -> Ruling:
    """Takes the rest of CREATE FUNCTION."""
    # CREATE FUNCTION f RETURNS STRING SONAME 'x.so' loads machine code into the server.
    if statement.peek_word() != "(":
        raise NotTakenError("a function has parameters in parentheses")
    return create_routine(statement, name, returns=True)


def create_routine(statement: DumpStatement, name: str, *, returns: bool = False) -> Ruling:
    """Takes the rest of CREATE PROCEDURE, or of a function that `returns` something."""
    if statement.uploaded:
        statement.expect("(")
        begin = statement.at
        statement.parentheses()
        statement.check_expressions(begin, statement.at)
        if returns:
            statement.expect("RETURNS")
            statement.word()
            while statement.parenthesis() or any(statement.take(it) for it in _TYPE_WORDS):
                pass
        while any(statement.take(it) for it in _CHARACTERISTICS):
            pass
    return _stored_code(statement, StatementKind.ROUTINE, name)


def create_package(statement: DumpStatement, name: str) -> Ruling:
    """Takes the rest of CREATE of MariaDB's packages and MySQL's libraries of JavaScript."""
    if statement.uploaded:
        raise NotTakenError("packages and libraries are taken from backups of this service only")
    return _stored_code(statement, StatementKind.ROUTINE, name)


def create_event(statement: DumpStatement, name: str) -> Ruling:
    """Takes the rest of CREATE EVENT."""
    statement.expect("ON SCHEDULE")
    begin = statement.at
    while statement.peek_word() not in {"ON", "ENABLE", "DISABLE", "COMMENT", "DO"}:
        if not statement.parenthesis():
            if statement.peek() is None:
                raise NotTakenError("it is an event that does nothing")
            statement.at += 1
    if statement.uploaded:
        statement.check_expressions(begin, statement.at)
    statement.take("ON COMPLETION NOT? PRESERVE")
    status = statement.at
    if statement.take("DISABLE"):
        statement.take("ON SLAVE|REPLICA")
    else:
        statement.take("ENABLE")
    comment = statement.at
    statement.take("COMMENT *")
    statement.expect("DO")
    ruling = _stored_code(statement, StatementKind.EVENT, name)
    body = ruling.sql.removeprefix(statement.built(0, statement.at))
    begins, ends = statement.built(0, status), statement.built(comment, statement.at)
    return replace(ruling, disabled=begins + b" DISABLE " + ends + body)


def _stored_code(statement: DumpStatement, kind: StatementKind, name: str) -> Ruling:
    """The ruling on stored code whose head was taken: its body is what follows."""
    if statement.uploaded or kind is StatementKind.VIEW:
        statement.read_all()
        while statement.tokens[-1].word == ";":
            statement.tokens.pop()
        if statement.uploaded:
            check_body(
                statement.tokens, statement.at, statement.dumped, is_view=kind is StatementKind.VIEW
            )
        body = statement.built_body(statement.at)
    else:
        body = statement.body_as_written()
    return Ruling(kind, statement.built(0, statement.at) + body, name, definer=statement.definer)


def _cut_own_schema(statement: DumpStatement) -> None:
    """Takes the dump's own schema out of a view, so that it can be tried in another.

    Where the schema's name is a table's or an alias, too, only where it cannot mean that.
    """
    statement.read_all()
    words = [*(it.word for it in statement.tokens), "", "", ""]
    places = [
        at
        for at, it in enumerate(statement.tokens)
        if at >= statement.at
        and it.kind is not TokenKind.STRING
        and words[at - 1] not in {".", "@", "@@"}
        and unquote(it.raw) == statement.dumped
    ]
    certain = all(words[at + 1] == "." for at in places)
    for at in places:
        if words[at + 1] == "." and (
            certain or words[at + 3] in {".", "("} or words[at - 1] in {"FROM", "JOIN"}
        ):
            statement.cut.update((at, at + 1))


def cut_definer(statement: DumpStatement) -> bool:
    """Takes `DEFINER=user@host` out: stored code is created in the name of our own account."""
    begin = statement.at
    if not statement.take("DEFINER ="):
        return False
    statement.definer = statement.name()
    if statement.take("( )"):
        statement.definer = ""
    elif statement.take("@"):
        statement.definer += "@" + statement.name()
    statement.cut.update(range(begin, statement.at))
    return True
