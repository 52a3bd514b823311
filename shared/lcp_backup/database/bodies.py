"""Bodies of views, triggers, routines and events that somebody uploaded: what they may not say.

They run with the rights of an account that has none outside the site's schema. What reaches out of
the site all the same is refused here where it can be told: a statement of a kind that no site's
code needs, a file, an account, a statement that is only made at run time, another schema's name.
"""

from collections.abc import Sequence
from typing import Final

from lcp_backup.database.options import ENGINES
from lcp_backup.database.tokens import NotTakenError, Token, TokenKind, called, unquote

_WITHOUT_IT: Final = "leave this code out of the dump, and create it after the restore"

_STATEMENTS: Final = frozenset(
    {"(", "ANALYZE", "CALL", "CLOSE", "COMMIT", "CREATE", "DECLARE", "DELETE", "DO", "DROP",
    "EXPLAIN", "FETCH", "GET", "INSERT", "ITERATE", "LEAVE", "OPEN", "OPTIMIZE", "RELEASE",
    "REPLACE", "RESIGNAL", "RETURN", "ROLLBACK", "SAVEPOINT", "SELECT", "SET", "SHOW", "SIGNAL",
    "START", "TABLE", "TRUNCATE", "UPDATE", "VALUES", "WITH"}
)  # fmt: skip
"""With what a statement of a body may begin, besides the words that hold others."""
_QUERIES: Final = frozenset({"(", "SELECT", "TABLE", "VALUES", "WITH"})
_BLOCKS: Final = frozenset({"BEGIN", "CASE", "FOR", "IF", "LOOP", "REPEAT", "WHILE"})
_GOES_ON: Final = frozenset({"ELSE", "ELSEIF", "WHEN"})

_NOWHERE: Final = frozenset(
    {"ALTER", "CHANGE", "DUMPFILE", "EXECUTE", "GLOBAL", "GRANT", "IMMEDIATE", "INFILE", "INSTALL",
    "KILL", "LOAD", "LOAD_FILE", "OUTFILE", "PERSIST", "PERSIST_ONLY", "PREPARE", "PURGE",
    "RENAME", "REVOKE", "SHUTDOWN", "SONAME", "UNINSTALL"}
)  # fmt: skip
_NOT_SET: Final = frozenset({"DEFAULT", "PASSWORD", "RESOURCE", "ROLE", "STATEMENT"})
"""Behind SET these are no variables."""
_NOT_OPTIONS: Final = frozenset({"CONNECTION", "DIRECTORY", "TABLESPACE", "UNION"})
_FORBIDDEN_SCHEMAS: Final = frozenset({"mysql", "sys", "performance_schema"})
_OPEN_SCHEMAS: Final = frozenset({"information_schema"})

_BEFORE_TABLES: Final = frozenset({"INTO", "JOIN", "REFERENCES", "TABLE"})
_VERBS_BEFORE_TABLES: Final = frozenset({"INSERT", "REPLACE", "TRUNCATE"})
"""Statements that name a table without a word like those between, such as INTO."""
_BEHIND_TABLES: Final = frozenset(
    {"GROUP", "HAVING", "LIMIT", "ON", "ORDER", "SELECT", "SET", "UNION", "USING", "VALUES",
    "WHERE", ";"}
)  # fmt: skip
_ROWS_OF_TRIGGERS: Final = frozenset({"new", "old"})


def check_body(tokens: Sequence[Token], start: int, schema: str, *, is_view: bool) -> None:
    """Judges the tokens from `start` on: the one statement that a view or stored code consists of.

    Args:
        tokens: of the whole statement.
        start: where the body begins.
        schema: the dump's own.
        is_view: whether it is a query, not a statement.

    Raises NotTakenError: it reaches out of the site, or is not understood.
    """
    _Body(tokens, schema).check(start, is_view=is_view)


class _Body:
    def __init__(self, tokens: Sequence[Token], schema: str) -> None:
        self._tokens = tokens
        self._words = [*(it.word for it in tokens), *[""] * 4]
        self._schema = schema
        self._blocks: list[str] = []
        """What each END that is to come ends; in lower case what is an expression."""
        self._levels: list[bool | None] = [False]
        """For each open parenthesis, whether names of tables stand at the place that was reached;
        None while no query was begun in it, so that FROM may be EXTRACT(DAY FROM x)."""
        self._verb = ""

    def check(self, at: int, *, is_view: bool) -> None:
        if is_view and self._words[at] not in _QUERIES:
            raise NotTakenError(f"its body begins with {self._shown(at)}")
        begins = not is_view
        if at >= len(self._tokens):
            raise NotTakenError("it has no body")
        while at < len(self._tokens):
            if begins:
                at, begins = self._begin(at)
                continue
            self._word(at)
            begins = self._is_before_statement(at)
            at += 1
        if self._blocks:
            raise NotTakenError("its body does not end")

    # --- statements -----------------------------------------------------------

    def _begin(self, at: int) -> tuple[int, bool]:  # noqa: PLR0911 -- a table of cases
        """Reads what a statement begins with: how far, and whether another one begins there."""
        word = self._words[at]
        if self._words[at + 1] == ":" and self._words[at + 2] != "=":
            return at + 2, True
        if word == "END":
            return self._end(at), False
        if word == "UNTIL" and self._blocks[-1:] == ["REPEAT"]:
            self._blocks[-1] = "repeat"
            return at + 1, False
        if word in _GOES_ON and self._blocks[-1:] in (["IF"], ["CASE"]):
            return at + 1, word == "ELSE"
        if word in _BLOCKS:
            self._blocks.append(word)
            at += 2 if word == "BEGIN" and self._words[at + 1 : at + 3] == ["NOT", "ATOMIC"] else 0
            return at + 1, word in {"BEGIN", "LOOP", "REPEAT"}
        if word == "DECLARE" and self._words[at + 2 : at + 4] == ["HANDLER", "FOR"]:
            return self._handler(at + 4), True
        if word not in _STATEMENTS or (word == "START" and self._words[at + 1] != "TRANSACTION"):
            raise NotTakenError(
                f"its body has a statement {self._shown(at)}, which a restore does not create;"
                f" {_WITHOUT_IT}"
            )
        self._verb = word
        # The word itself may begin a list of tables.
        self._word(at)
        if word in _VERBS_BEFORE_TABLES:
            self._levels[-1] = True
        return at + 1, False

    def _end(self, at: int) -> int:
        if not self._blocks:
            raise NotTakenError("its body ends before its last word")
        block = self._blocks.pop()
        of_what = self._words[at + 1]
        return at + (2 if block != "case" and of_what in _BLOCKS else 1)

    def _handler(self, at: int) -> int:
        """Where the statement of a handler begins, behind its conditions."""
        while True:
            if self._words[at] == "SQLSTATE":
                at += 3 if self._words[at + 1] == "VALUE" else 2
            else:
                at += 2 if self._words[at] == "NOT" else 1
            if self._words[at] != ",":
                return at
            at += 1

    def _is_before_statement(self, at: int) -> bool:
        word = self._words[at]
        inside = self._blocks[-1] if self._blocks else ""
        if word == ";":
            if not inside:
                raise NotTakenError("its body is more than one statement")
            if inside.islower() or len(self._levels) > 1:
                raise NotTakenError("a statement of its body does not end")
            return True
        if word in {"THEN", "ELSE"}:
            return inside in {"IF", "CASE"}
        return word == "DO" and inside in {"FOR", "WHILE"}

    # --- words ----------------------------------------------------------------

    def _word(self, at: int) -> None:
        """Judges one word, wherever it stands; what follows a dot is a name."""
        token, word = self._tokens[at], self._words[at]
        before, after = self._words[at - 1], self._words[at + 1]
        if before != ".":
            if word in _NOWHERE or (word == "LOCK" and after != "IN"):
                raise NotTakenError(f"its body says {word}, which reaches out of the site")
            if called(token, after) == "LOAD_FILE":
                raise NotTakenError("its body calls LOAD_FILE, which reaches out of the site")
            if (
                word in _NOT_SET
                and self._is_set(at)
                and (word == "PASSWORD" or after not in {"=", ":"})
            ):
                raise NotTakenError(
                    f"its body says SET {word}, which reaches out of the site; {_WITHOUT_IT}"
                )
            if word in {"CREATE", "DROP"} and after != "TEMPORARY":
                raise NotTakenError(f"its body says {word}, which reaches out of the site")
            if word == "CASE":
                self._blocks.append("case")
            elif word == "END" and self._blocks and self._blocks[-1].islower():
                # What may follow an expression's END is no word of a block, but for UNTIL ... END.
                self._blocks.pop()
            self._engine(at)
            if after == "." and token.kind is not TokenKind.SIGN:
                self._qualified(at)
        self._follow_tables(at)

    def _is_set(self, at: int) -> bool:
        """Whether a SET statement sets this word."""
        is_next = self._words[at - 1] in {"SET", ","} and len(self._levels) == 1
        return is_next and self._verb == "SET"

    def _engine(self, at: int) -> None:
        """Judges the options of a temporary table."""
        if self._verb != "CREATE":
            return
        if self._words[at] in _NOT_OPTIONS and self._words[at + 1] == "=":
            raise NotTakenError(f"its body has a table with {self._words[at]}")
        if self._words[at] == "ENGINE":
            value = at + 1 + (self._words[at + 1] == "=")
            name = self._tokens[value : value + 1]
            if name and unquote(name[0].raw).upper() not in ENGINES:
                raise NotTakenError(
                    "its body creates a temporary table of an engine that a restore does not"
                    f" create; use InnoDB, or {_WITHOUT_IT}"
                )

    def _qualified(self, at: int) -> None:
        """Judges `schema`.`name`, where it can be told that it is one."""
        schema = unquote(self._tokens[at].raw)
        if schema.lower() in _FORBIDDEN_SCHEMAS:
            raise NotTakenError(f"its body names the server's own schema {schema.lower()}")
        if schema == self._schema or schema.lower() in _OPEN_SCHEMAS:
            return
        if self._words[at - 1] in {"@@", "@"} or self._words[at].isdigit():
            return
        is_name = self._levels[-1] and schema.lower() not in _ROWS_OF_TRIGGERS
        if is_name or self._words[at + 3] in {"(", "."}:
            raise NotTakenError(f"its body names another schema, {schema[:64]}")

    def _follow_tables(self, at: int) -> None:
        word, before = self._words[at], self._words[at - 1]
        level = self._levels[-1]
        if word == "(":
            tables = level and before in {"FROM", "JOIN", "STRAIGHT_JOIN", ",", "("}
            self._levels.append(True if tables else None)
        elif word == ")":
            if len(self._levels) == 1:
                raise NotTakenError("its body closes a parenthesis that is not open")
            self._levels.pop()
        elif word == "FROM":
            self._levels[-1] = None if level is None else True
        elif (
            word in _BEFORE_TABLES
            or (word == "UPDATE" and before not in {"KEY", "FOR", "ON"})
            or (word == "USING" and self._verb == "DELETE" and len(self._levels) == 1)
        ):
            self._levels[-1] = True
        elif word in _BEHIND_TABLES or word == "DELETE":
            self._levels[-1] = False

    def _shown(self, at: int) -> str:
        word = self._words[at] if at < len(self._tokens) else ""
        return word[:64] or "a quoted name or literal"
