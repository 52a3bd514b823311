"""One statement of a dump under judgement: what its grammars share, whatever it says."""

from typing import Final

from lcp_backup.database.options import DENIED_FUNCTIONS, ENGINES
from lcp_backup.database.reader import StatementReader
from lcp_backup.database.tokens import NotTakenError, Reading, TokenKind, unquote

_MOST_NAME: Final = 64
"""Characters of a name: both servers' own limit."""
ANOTHER_SCHEMA: Final = "it names another schema"
_NOT_IN_DEFINITIONS: Final = frozenset(
    {"SELECT", "UNION", "TABLE", "INTO", "RENAME", "EXCHANGE", "DISCARD", "IMPORT", ";"}
)
"""Words by which a definition would read, write or move a table of another schema."""


class DumpStatement(StatementReader):
    """A statement that is not a row statement, as one server reads it.

    Args:
        dumped: the name of the schema the dump was made of.
        uploaded: whether somebody uploaded the dump: then more of it is judged.
    """

    def __init__(self, text: bytes, reading: Reading, dumped: str, *, uploaded: bool) -> None:
        super().__init__(text, reading)
        self.dumped = dumped
        self.uploaded = uploaded
        self.definer = ""
        """Of stored code: what its DEFINER clause said, once that was taken out."""

    def own_name(self) -> str:
        """`name` or `schema`.`name`; the dump's own schema is cut, any other is refused."""
        begin = self.at
        name = self.name()
        if self.take("."):
            self.own_schema(name)
            self.cut.update((begin, begin + 1))
            name = self.name()
        return checked_name(name)

    def own_schema(self, name: str) -> None:
        """Refuses the name of another schema than the dump's own."""
        if name != self.dumped:
            raise NotTakenError(ANOTHER_SCHEMA)

    def check_expressions(self, begin: int, end: int | None = None, table: str = "") -> None:
        """Judges tokens that a definition is made of, taken or not; of the table, if of one.

        The dump's own schema is cut before names.
        """
        self.read_all()
        for at in range(begin, len(self.tokens) if end is None else end):
            token, before = self.tokens[at], self.tokens[at - 1].word
            after = self.tokens[at + 1].word if at + 1 < len(self.tokens) else ""
            if token.word in _NOT_IN_DEFINITIONS:
                raise NotTakenError(f"a definition has no {token.word}")
            if token.word in DENIED_FUNCTIONS and after == "(":
                raise NotTakenError(f"a definition calls no {token.word}")
            if token.kind is TokenKind.NAME:
                _short(unquote(token.raw))
            is_name = token.kind is not TokenKind.SIGN and not token.word.isdigit()
            if is_name and after == "." and before != ".":
                schema = unquote(token.raw)
                if schema == self.dumped:
                    self.cut.update((at, at + 1))
                elif schema != table:
                    raise NotTakenError(ANOTHER_SCHEMA)

    def engine(self) -> None:
        """Takes the name of a table's engine."""
        name = self.literal()
        if name.upper() not in ENGINES:
            raise NotTakenError(
                f"a restore creates no tables of the engine {name[:64]}; change them to InnoDB"
                " before the dump"
            )

    def parenthesis(self) -> bool:
        """Takes a whole parenthesis, if one follows."""
        if not self.take("("):
            return False
        self.parentheses()
        return True


def checked_name(name: str) -> str:
    """The name of a table or of stored code, if a dump may have one of that name."""
    if not name.isascii() and name.encode("utf-8", "replace").decode() != name:
        raise NotTakenError(
            "the name in it is not UTF-8; dump the database with --default-character-set=utf8mb4"
        )
    return _short(name)


def _short(name: str) -> str:
    if len(name) > _MOST_NAME:
        raise NotTakenError(f"a name in it is longer than {_MOST_NAME} characters")
    return name
