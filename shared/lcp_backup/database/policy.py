"""What a dump may say: an allow-list of statement kinds, judged by their heads.

A dump may come from anybody who may upload one, and is executed with the master user's rights. So
only what the dump programs write is let through; all else is refused by name. Row data is never
read here: a row statement is judged by the bytes before its values. Names of the dump's own
schema are taken out of heads, so that every statement runs in the schema the connection stands in.

Bodies of views, triggers, routines and events are the site's own code, and run as the master user:
DEFINER is taken out. In a dump that somebody uploaded they may not reach out of the site where that
can be told: no system schema, no file, no account, no statement that is only made at run time.

What it cannot judge: expressions inside values, and what bodies do inside the server's other
schemas under names of their own.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from lcp_backup.errors import ArchiveRefused

RESERVED_PREFIX: Final = "lcp_backup_"
"""Tables whose name starts so are the journal's; no dump may touch them."""

_NAME = rb"`(?:[^`]|``)+`|[A-Za-z0-9_$\x80-\xff]+"
_ROWS = re.compile(
    rb"(?:INSERT|REPLACE)\s+(?:IGNORE\s+)?INTO\s+"
    rb"(?P<first>" + _NAME + rb")(?P<dot>\s*\.\s*(?P<second>" + _NAME + rb"))?"
    rb"\s*(?:\((?:" + _NAME + rb"|[\s,])*\)\s*)?VALUES\s*\(",
    re.IGNORECASE,
)
_SET_SEQUENCE = re.compile(
    rb"(?:DO|SELECT)\s+SETVAL\s*\(\s*(?P<name>" + _NAME + rb")\s*(?:,\s*-?\d+\s*){1,3}\)\s*",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    rb"(?P<space>\s+|--(?=[\s\x00-\x1f])[^\n]*|\#[^\n]*)"
    # The second is the line by which mariadb-dump turns on its own client's sandbox.
    rb"|(?P<comment>/\*(?!M?!).*?\*/|/\*M?!999999\\-[^*]*\*/)"
    rb"|(?P<open>/\*(?P<maria>M)?!(?P<version>\d{5,6})?)"
    rb"|(?P<close>\*/)"
    rb"|(?P<string>[nN]?'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\")"
    rb"|(?P<quoted>`(?:[^`]|``)*`)"
    rb"|(?P<word>[A-Za-z0-9_$\x80-\xff]+)"
    rb"|(?P<other>.)",
    re.DOTALL,
)

_EXECUTED_EVERYWHERE: Final = 50699
"""`/*!NNNNN` up to here is executed by every MySQL since 5.7 and every MariaDB since 10; MariaDB
leaves out 50700 to 99999 (https://mariadb.com/kb/en/comment-syntax/)."""

_SESSION_VARIABLES: Final = frozenset(
    {"character_set_client", "character_set_results", "character_set_connection",
    "collation_connection", "collation_database", "time_zone", "unique_checks",
    "foreign_key_checks", "check_constraint_checks", "sql_mode", "sql_notes",
    "note_verbosity", "sql_quote_show_create", "system_versioning_insert_history",
    "sql_require_primary_key", "sql_generate_invisible_primary_key", "innodb_strict_mode",
    "default_storage_engine", "show_create_table_skip_secondary_engine"}
)  # fmt: skip
_LEFT_OUT_VARIABLES: Final = frozenset({"sql_log_bin", "gtid_next"})
_OURS: Final = frozenset({"autocommit"})
"""Transactions are the loader's business."""

_SCHEMA_WORDS: Final = frozenset({"DATABASE", "SCHEMA"})
_ALTER_ACTIONS: Final = frozenset(
    {"ADD", "MODIFY", "CHANGE", "DISABLE", "ENABLE", "AUTO_INCREMENT"}
)
_NOT_IN_TABLE_DDL: Final = frozenset({"SELECT", "UNION", "RENAME", "EXCHANGE", "DISCARD", "IMPORT"})
"""Words by which a table definition would read, write or move a table of another schema."""

_NOT_IN_BODIES: Final = frozenset(
    {"OUTFILE", "DUMPFILE", "LOAD_FILE", "INFILE", "GRANT", "REVOKE", "SONAME", "INSTALL",
    "UNINSTALL", "SHUTDOWN", "KILL", "GLOBAL", "PERSIST", "PERSIST_ONLY", "PREPARE", "EXECUTE",
    "IMMEDIATE"}
)  # fmt: skip
_SYSTEM_SCHEMAS: Final = frozenset({"MYSQL", "SYS", "PERFORMANCE_SCHEMA"})

_HEAD_SHOWN: Final = 80


class Kind(StrEnum):
    """What the loader does with a statement."""

    ROWS = "rows"
    TABLE = "table"
    """Definition of a table or sequence, and what dumps do to a table around its rows."""
    SESSION = "session"
    CREATE_SCHEMA = "create-schema"
    """Of the dump's own schema; the ruling's sql holds the options only."""
    ALTER_SCHEMA = "alter-schema"
    DROP_SCHEMA = "drop-schema"
    VIEW = "view"
    TRIGGER = "trigger"
    ROUTINE = "routine"
    EVENT = "event"
    DROP_OBJECT = "drop-object"
    """DROP of a view, trigger, routine or event."""
    LOCK = "lock"
    """LOCK TABLES, UNLOCK TABLES."""
    NOTHING = "nothing"
    """USE of the dump's own schema and transaction control: the loader does both itself."""
    LEFT_OUT = "left-out"
    """Needs rights a managed server does not give, and no row needs it."""


_CREATED: Final = {
    "VIEW": Kind.VIEW,
    "PROCEDURE": Kind.ROUTINE,
    "FUNCTION": Kind.ROUTINE,
    "PACKAGE": Kind.ROUTINE,
    "EVENT": Kind.EVENT,
}

OBJECTS: Final = frozenset({Kind.VIEW, Kind.TRIGGER, Kind.ROUTINE, Kind.EVENT})


@dataclass(frozen=True, slots=True)
class Ruling:
    """What to do with one statement, and the bytes to send."""

    kind: Kind
    sql: bytes
    name: str = ""
    """Table or object the statement is about, unquoted."""
    creates: bool = False
    """The statement creates the table `name`."""
    drops: bool = False


class JudgedStatement(Protocol):
    """The part of a split statement that is judged."""

    @property
    def text(self) -> bytes: ...

    @property
    def where(self) -> str:
        """Its place, such as `line 5 of the dump`."""
        ...


@dataclass(frozen=True, slots=True)
class _Token:
    word: str
    """Upper case when unquoted; the value when a quoted name; empty for a string."""
    quoted: bool
    is_string: bool
    start: int
    end: int

    @property
    def names(self) -> bool:
        return self.quoted or self.is_string or self.word.replace("$", "_").isidentifier()


class Policy:
    """Judges the statements of one dump.

    Args:
        dumped: the name of the schema the dump was made of.
        bodies: whether bodies are judged, too: for a dump that somebody uploaded.
    """

    def __init__(self, dumped: str, *, bodies: bool = False) -> None:
        self._dumped = dumped
        self._bodies = bodies

    def judge(self, statement: JudgedStatement) -> Ruling:
        """Says what to do with a statement; raises ArchiveRefused, naming its line and head."""
        text = statement.text
        rows = _ROWS.match(text)
        if rows is not None:
            return self._rows(statement, text, rows)
        reader = _Reader(statement, text, self._dumped)
        ruling = reader.ruling()
        if self._bodies and ruling.kind in OBJECTS:
            reader.check_body()
        return ruling

    def _rows(self, statement: JudgedStatement, text: bytes, rows: re.Match[bytes]) -> Ruling:
        if rows["dot"] is None:
            name = unquote(rows["first"])
            _not_reserved(statement, name)
            return Ruling(Kind.ROWS, text, name)
        if unquote(rows["first"]) != self._dumped:
            raise refusal(statement, "it names another schema")
        name = unquote(rows["second"])
        _not_reserved(statement, name)
        sql = text[: rows.start("first")] + text[rows.start("second") :]
        return Ruling(Kind.ROWS, sql, name)


class _Reader:
    """Reads one statement that is not a row statement, token by token."""

    def __init__(self, statement: JudgedStatement, text: bytes, dumped: str) -> None:
        self._statement = statement
        self._text = text
        self._dumped = dumped
        self._cuts: list[tuple[int, int]] = []
        self._uncertain = False
        """A versioned comment was met that not every server executes."""
        self._wrapped = _is_one_versioned_comment(self._text)
        self._tokens = self._scan()
        self._ahead: list[_Token] = []

    def ruling(self) -> Ruling:
        first = self._next()
        if first is None:
            return Ruling(Kind.NOTHING, b"")
        readers: dict[str, Callable[[], Ruling]] = {
            "CREATE": self._create,
            "DROP": self._drop,
            "ALTER": self._alter,
            "SET": self._set,
            "USE": self._use,
            "LOCK": self._lock,
            "UNLOCK": self._lock,
            "START": self._start,
            "BEGIN": self._transaction,
            "COMMIT": self._transaction,
            "ANALYZE": self._analyze,
            "DO": self._set_sequence,
            "SELECT": self._set_sequence,
        }
        reader = None if first.quoted or first.is_string else readers.get(first.word)
        if reader is None:
            raise self._refusal("dumps do not hold such statements")
        return reader()

    def check_body(self) -> None:
        """Refuses what reaches out of the site, in all that follows the head that was read."""
        before: _Token | None = None
        while (token := self._next()) is not None:
            if not token.quoted and not token.is_string and token.word in _NOT_IN_BODIES:
                raise self._refusal(f"its body says {token.word}, which reaches out of the site")
            if token.word == "." and before is not None and before.names:
                schema = self._spelled(before).upper()
                if schema in _SYSTEM_SCHEMAS:
                    raise self._refusal(f"its body names the server's own schema {schema.lower()}")
            before = token

    # --- kinds ----------------------------------------------------------------

    def _create(self) -> Ruling:
        if self._word("OR"):
            self._expect("REPLACE")
        self._attributes()
        token = self._next()
        word = token.word if token is not None and not token.quoted else ""
        if word in _SCHEMA_WORDS:
            return self._schema(Kind.CREATE_SCHEMA)
        if word in {"TABLE", "SEQUENCE"}:
            self._skip("IF", "NOT", "EXISTS")
            name = self._object_name()
            self._check_table_definition()
            return self._ruled(Kind.TABLE, name, creates=True)
        if word == "TRIGGER":
            return self._trigger()
        kind = _CREATED.get(word)
        if kind is None:
            raise self._refusal("dumps do not create such things")
        self._skip("IF", "NOT", "EXISTS", "BODY")
        name = self._object_name()
        # CREATE FUNCTION f RETURNS STRING SONAME 'x.so' loads machine code into the server.
        if word == "FUNCTION":
            self._expect("(")
        return self._ruled(kind, name)

    def _attributes(self) -> None:
        """What may stand between CREATE and what is created."""
        while (token := self._peek()) is not None:
            if token.word == "DEFINER":
                self._cut_definer()
            elif self._word("ALGORITHM"):
                self._expect("=")
                self._expect("UNDEFINED", "MERGE", "TEMPTABLE")
            elif self._word("SQL"):
                self._expect("SECURITY")
                self._expect("DEFINER", "INVOKER")
            elif not self._word("AGGREGATE"):
                return

    def _trigger(self) -> Ruling:
        self._skip("IF", "NOT", "EXISTS")
        name = self._object_name()
        self._expect("BEFORE", "AFTER")
        # MariaDB 12 allows INSERT OR UPDATE
        self._expect("INSERT", "UPDATE", "DELETE")
        self._skip("OR", "INSERT", "UPDATE", "DELETE")
        self._expect("ON")
        self._object_name()
        return self._ruled(Kind.TRIGGER, name)

    def _drop(self) -> Ruling:
        token = self._next()
        word = token.word if token is not None else ""
        if word == "TEMPORARY":
            raise self._refusal("dumps do not hold temporary tables")
        self._skip("BODY")
        self._skip("IF", "EXISTS")
        if word in _SCHEMA_WORDS:
            self._own_schema(self._expect_name())
            self._expect_end()
            return self._ruled(Kind.DROP_SCHEMA, self._dumped)
        if word not in {
            "TABLE", "SEQUENCE", "VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "PACKAGE", "EVENT"
        }:  # fmt: skip
            raise self._refusal("dumps do not drop such things")
        name = self._object_name()
        self._expect_end()
        if word in {"TABLE", "SEQUENCE"}:
            return self._ruled(Kind.TABLE, name, drops=True)
        return self._ruled(Kind.DROP_OBJECT, name)

    def _alter(self) -> Ruling:
        self._skip("IGNORE")
        token = self._expect("TABLE", *_SCHEMA_WORDS)
        if token.word in _SCHEMA_WORDS:
            return self._schema(Kind.ALTER_SCHEMA)
        name = self._object_name()
        action = self._peek()
        if action is None or action.word not in _ALTER_ACTIONS:
            raise self._refusal("dumps do not alter tables so")
        self._check_table_definition()
        return self._ruled(Kind.TABLE, name)

    def _schema(self, kind: Kind) -> Ruling:
        self._skip("IF", "NOT", "EXISTS")
        name = self._expect_name()
        self._own_schema(name)
        self._certain()
        options = self._text[name.end :]
        if self._wrapped:
            # the name stood inside the comment that the options end
            options = options.rstrip().removesuffix(b"*/")
        return Ruling(kind, options, self._dumped)

    def _lock(self) -> Ruling:
        self._expect("TABLES", "TABLE")
        while self._peek() is not None:
            self._object_name()
            self._skip("READ", "LOCAL", "WRITE", "CONCURRENT")
            if self._peek() is not None:
                self._expect(",")
        return self._ruled(Kind.LOCK, "")

    def _start(self) -> Ruling:
        self._expect("TRANSACTION")
        return self._transaction()

    def _transaction(self) -> Ruling:
        self._skip("WORK")
        self._expect_end()
        return Ruling(Kind.NOTHING, b"")

    def _use(self) -> Ruling:
        self._own_schema(self._expect_name())
        self._expect_end()
        return Ruling(Kind.NOTHING, b"")

    def _analyze(self) -> Ruling:
        self._skip("NO_WRITE_TO_BINLOG", "LOCAL")
        self._expect("TABLE", "TABLES")
        return self._ruled(Kind.TABLE, self._object_name())

    def _set_sequence(self) -> Ruling:
        match = _SET_SEQUENCE.fullmatch(self._text)
        if match is None:
            raise self._refusal("dumps do not hold such statements")
        return Ruling(Kind.TABLE, self._text, unquote(match["name"]))

    def _set(self) -> Ruling:
        if self._word("NAMES"):
            self._value()
            if self._word("COLLATE"):
                self._value()
            self._expect_end()
            return self._ruled(Kind.SESSION, "")
        kind = Kind.SESSION
        while True:
            found = self._assignment()
            if found is Kind.LEFT_OUT:
                return Ruling(Kind.LEFT_OUT, b"")
            if found is Kind.NOTHING:
                kind = found
            if self._peek() is None:
                return self._ruled(kind, "")
            self._expect(",")

    def _assignment(self) -> Kind:
        token = self._next()
        if token is None:
            raise self._refusal("it sets nothing")
        if token.word == "@" and not self._word("@"):
            self._expect_name()
            self._assign()
            self._value()
            return Kind.SESSION
        if token.word == "@":
            token = self._expect_name()
        scope = ""
        following = self._peek()
        if token.word in {"GLOBAL", "PERSIST", "PERSIST_ONLY", "SESSION", "LOCAL"}:
            scope = token.word
            if following is not None and following.word == ".":
                self._next()
            token = self._expect_name()
        name = token.word.lower()
        if scope in {"GLOBAL", "PERSIST", "PERSIST_ONLY"} or name in _LEFT_OUT_VARIABLES:
            return Kind.LEFT_OUT
        if name not in _SESSION_VARIABLES and name not in _OURS:
            raise self._refusal(f"dumps do not set {name[:64]}")
        self._assign()
        self._value()
        return Kind.NOTHING if name in _OURS else Kind.SESSION

    def _assign(self) -> None:
        if self._word(":"):
            self._expect("=")
        else:
            self._expect("=")

    def _value(self) -> None:
        """One literal, name or variable: no expression, so no subquery."""
        while self._word("@"):
            pass
        self._word("-")
        token = self._expect_name(number=True)
        if self._word("."):
            token = self._expect_name()
        if token.word.startswith("_") and not token.quoted:
            raise self._refusal("its value is an expression")

    # --- parts of heads -------------------------------------------------------

    def _cut_definer(self) -> None:
        """Takes `DEFINER=user@host` out: only a superuser may create in another user's name."""
        definer = self._next()
        assert definer is not None
        self._expect("=")
        last = self._expect_name()
        if self._word("("):
            last = self._expect(")")
        elif self._word("@"):
            last = self._expect_name()
        self._cuts.append((definer.start, last.end))

    def _object_name(self) -> str:
        """`name` or `schema`.`name`; the dump's own schema is cut, any other is refused."""
        token = self._expect_name(number=True)
        if self._word("."):
            self._own_schema(token)
            schema = token
            token = self._expect_name(number=True)
            self._cuts.append((schema.start, token.start))
        name = self._spelled(token)
        _not_reserved(self._statement, name)
        return name

    def _own_schema(self, token: _Token) -> None:
        if self._spelled(token) != self._dumped:
            raise self._refusal("it names another schema")

    def _spelled(self, token: _Token) -> str:
        return unquote(self._text[token.start : token.end])

    def _check_table_definition(self) -> None:
        certain = self._uncertain
        while (token := self._next()) is not None:
            if not token.quoted and not token.is_string and token.word in _NOT_IN_TABLE_DDL:
                raise self._refusal(f"a table's definition has no {token.word}")
        # Options in newer versioned comments (ENCRYPTION, INVISIBLE) are what they are for.
        self._uncertain = certain

    def _ruled(
        self, kind: Kind, name: str, *, creates: bool = False, drops: bool = False
    ) -> Ruling:
        self._certain()
        sql = self._text
        for start, end in reversed(self._cuts):
            sql = sql[:start] + sql[end:]
        return Ruling(kind, sql, name, creates=creates, drops=drops)

    def _certain(self) -> None:
        """A head half of which only some servers execute would be judged as what it is not."""
        if self._uncertain and not self._wrapped:
            raise self._refusal("its head depends on the server's version")

    # --- tokens ---------------------------------------------------------------

    def _scan(self) -> Iterator[_Token]:
        depth = 0
        for match in _TOKEN.finditer(self._text):
            group = match.lastgroup
            if group in {"space", "comment"}:
                continue
            if match["open"]:
                depth += 1
                version = match["version"]
                if match["maria"] or (version and int(version) > _EXECUTED_EVERYWHERE):
                    self._uncertain = True
                continue
            if group == "close" and depth:
                depth -= 1
                continue
            if group == "close":
                raise self._refusal("it closes a comment that is not open")
            raw = match[0]
            if group == "quoted":
                yield _Token(unquote(raw), True, False, match.start(), match.end())
            elif group == "string":
                yield _Token("", False, True, match.start(), match.end())
            else:
                word = raw.decode("utf-8", "replace").upper()
                yield _Token(word, False, False, match.start(), match.end())

    def _peek(self) -> _Token | None:
        if not self._ahead:
            token = next(self._tokens, None)
            if token is None:
                return None
            self._ahead.append(token)
        return self._ahead[0]

    def _next(self) -> _Token | None:
        token = self._peek()
        self._ahead.clear()
        return token

    def _word(self, word: str) -> bool:
        """Takes the next token if it is this unquoted word or sign."""
        token = self._peek()
        if token is None or token.quoted or token.is_string or token.word != word:
            return False
        self._ahead.clear()
        return True

    def _skip(self, *words: str) -> None:
        while any(self._word(word) for word in words):
            pass

    def _expect(self, *words: str) -> _Token:
        token = self._next()
        if token is None or token.quoted or token.is_string or token.word not in words:
            raise self._refusal("dumps do not write it so")
        return token

    def _expect_name(self, *, number: bool = False) -> _Token:
        token = self._next()
        if token is None or not (token.names or (number and token.word[:1].isdigit())):
            raise self._refusal("dumps do not write it so")
        return token

    def _expect_end(self) -> None:
        if self._peek() is not None:
            raise self._refusal("dumps do not write it so")

    def _refusal(self, reason: str) -> ArchiveRefused:
        return refusal(self._statement, reason)


def head(text: bytes) -> str:
    """The first words of a statement, cut before any value: fit for a log."""
    start = text[: 4 * _HEAD_SHOWN]
    for end in re.finditer(rb"['\"(]|VALUES", start, re.IGNORECASE):
        start = start[: end.start()]
        break
    return " ".join(start.decode("utf-8", "replace").split())[:_HEAD_SHOWN].rstrip()


def refusal(statement: JudgedStatement, reason: str) -> ArchiveRefused:
    """The error that refuses a statement, naming its line and head."""
    return ArchiveRefused(f"{statement.where} is refused: {reason}: {head(statement.text)}")


def _not_reserved(statement: JudgedStatement, name: str) -> None:
    if name.startswith(RESERVED_PREFIX):
        raise refusal(statement, f"names that start with {RESERVED_PREFIX} are this service's own")


def unquote(raw: bytes) -> str:
    """A name as it is, without its quotes."""
    if raw[:1] == b"`":
        raw = raw[1:-1].replace(b"``", b"`")
    elif raw[:1] in {b"'", b'"'}:
        raw = raw[1:-1]
    return raw.decode("utf-8", "surrogateescape")


def _is_one_versioned_comment(text: bytes) -> bool:
    """Whether a server executes all of a statement or nothing of it."""
    if not text.startswith((b"/*!", b"/*M!")) or not text.rstrip().endswith(b"*/"):
        return False
    depth = 0
    stop = len(text.rstrip())
    for match in _TOKEN.finditer(text):
        if match["open"]:
            depth += 1
        elif match.lastgroup == "close":
            depth -= 1
            if depth == 0 and match.end() < stop:
                return False
    return depth == 0
