"""What a dump may say: an allow-list of what dump programs write; all else is refused by name.

A second line of defence. The first are the server's accounts: what comes out of an archive is
executed by one that has rights on the staging schema alone, and stored code is owned by a locked
one that has rights on the site's schema alone.

A row statement is judged by the bytes before its values (`rows.py` reads those). Everything else is
built anew of its tokens, without comments: what is sent is what was judged. Names of the dump's own
schema are taken out of heads, so that every statement runs in the schema the connection stands in.

Bodies of views, triggers, routines and events are the site's own code. In a dump that somebody
uploaded they are judged, too (`bodies.py`); of our own dumps, the bytes of triggers, routines and
events are not even read: they may be written for other SQL modes and character sets.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Protocol

from lcp_backup.database.bodies import BodyError, check_body
from lcp_backup.database.endpoint import Server
from lcp_backup.database.options import (
    DENIED_FUNCTIONS,
    ENGINES,
    KNOWN_MODES,
    QUOTING_MODES,
    SCHEMA_OPTIONS,
    SEQUENCE_WORDS,
    SESSION_CHARACTER_SETS,
    SINGLE_BYTE_CHARACTER_SETS,
    TABLE_OPTIONS,
)
from lcp_backup.database.rows import only_literals
from lcp_backup.database.tokens import (
    NEWEST,
    Reading,
    Token,
    TokenKind,
    UnreadableError,
    blank,
    differs,
    tokens,
    unquote,
)
from lcp_backup.errors import ArchiveRefused

__all__ = [
    "OBJECTS",
    "RESERVED_PREFIX",
    "JudgedStatement",
    "Kind",
    "Policy",
    "Ruling",
    "head",
    "refusal",
    "unquote",
]

RESERVED_PREFIX: Final = "lcp_backup_"
"""Tables whose name starts so, in any case, are the journal's; no dump may touch them."""
MOST_NAME: Final = 64
"""Characters of a name: both servers' own limit."""

_NAME = rb"`[^`]*+(?:``[^`]*+)*+`|[A-Za-z0-9_][A-Za-z0-9_$]*+"
_COLUMN = re.compile(_NAME)
_ROWS = re.compile(
    rb"(?:INSERT|REPLACE)\s++(?:IGNORE\s++)?+INTO\s++"
    rb"(?P<first>" + _NAME + rb")(?P<dot>\s*+\.\s*+(?P<second>" + _NAME + rb"))?+"
    rb"\s*+(?:\((?P<columns>(?:" + _NAME + rb"|[\s,])*+)\)\s*+)?+VALUES\s*+(?=\()",
    re.IGNORECASE,
)
_BLANKS = re.compile(rb"\s*+")
_PERCONA = re.compile(
    rb"SELECT COUNT\(\*\) INTO @(?:is_)?rocksdb_"
    rb"|PREPARE s FROM @\w++\Z|EXECUTE s\Z|DEALLOCATE PREPARE s\Z",
    re.IGNORECASE,
)
"""How Percona's mysqldump asks for the RocksDB engine, to load it in bulk; never executed."""

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
_GLOBAL: Final = frozenset({"GLOBAL", "PERSIST", "PERSIST_ONLY"})
_TABLE_ACTIONS: Final = frozenset({"ADD", "MODIFY", "CHANGE"})
_NOT_IN_DEFINITIONS: Final = frozenset(
    {"SELECT", "UNION", "TABLE", "INTO", "RENAME", "EXCHANGE", "DISCARD", "IMPORT", ";"}
)
"""Words by which a definition would read, write or move a table of another schema."""

_NOT_OPTIONS: Final = frozenset({"AS", "CONNECTION", "SECONDARY_ENGINE", "WITH"})
"""Of the options that are not known here, those that our own dumps may not say either."""

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
    """Nothing is left of it on this server, or the loader does it itself: USE of the dump's own
    schema and transaction control."""
    LEFT_OUT = "left-out"
    """Needs rights a managed server does not give, and no row needs it."""


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
    definer: str = ""
    """Of stored code: what its DEFINER clause said, such as `root@localhost`. `sql` has none."""
    disabled: bytes = b""
    """Of an event: the same statement, but that the event is created disabled."""
    columns: tuple[str, ...] | None = None
    """Of rows: the columns that are named, unquoted; None when none are."""
    values_at: int = 0
    """Of rows: where the parenthesis of the first row stands in `sql`."""


class JudgedStatement(Protocol):
    """The part of a split statement that is judged."""

    @property
    def text(self) -> bytes: ...

    @property
    def where(self) -> str:
        """Its place, such as `line 5 of the dump`."""
        ...


class Policy:
    """Judges the statements of one dump; keeps nothing of them, so that threads may share it.

    Args:
        dumped: the name of the schema the dump was made of.
        uploaded: whether somebody uploaded it: then bodies and values are judged, too, and it has
            to be in a character set and SQL modes in which every server reads it alike.
        server: the one that it will be sent to; None when that is not known, and then a statement
            has to be right for a MySQL and for a MariaDB.
    """

    def __init__(self, dumped: str, *, uploaded: bool, server: Server | None) -> None:
        self._dumped = dumped
        self._uploaded = uploaded
        self._readings = NEWEST if server is None else (Reading.of(server),)

    def judge(self, statement: JudgedStatement) -> Ruling:
        """Says what to do with a statement; raises ArchiveRefused, naming its line and head."""
        text = statement.text
        rows = _ROWS.match(text)
        if rows is not None:
            return self._rows(statement, text, rows)
        readings = self._readings if differs(text) else self._readings[:1]
        rulings = [self._ruling(statement, text, reading) for reading in readings]
        return next((it for it in rulings if it.kind is not Kind.NOTHING), rulings[0])

    def _ruling(self, statement: JudgedStatement, text: bytes, reading: Reading) -> Ruling:
        try:
            return _Reader(statement, text, reading, self._dumped, uploaded=self._uploaded).ruling()
        except (UnreadableError, BodyError) as error:
            raise refusal(statement, str(error)) from None

    def _rows(self, statement: JudgedStatement, text: bytes, rows: re.Match[bytes]) -> Ruling:
        if self._uploaded:
            end = only_literals(text, rows.end())
            behind = _BLANKS.match(text, end)
            if behind is None or behind.end() < len(text):
                raise refusal(
                    statement,
                    f"its rows hold something that is no literal, after {end} bytes",
                )
        named = "first"
        if rows["dot"] is not None:
            named = "second"
            if unquote(rows["first"]) != self._dumped:
                raise refusal(statement, "it names another schema")
        columns = rows["columns"]
        name = unquote(rows[named])
        _check_name(statement, name)
        cut = rows.start(named) - rows.start("first")
        return Ruling(
            Kind.ROWS,
            text[: rows.start("first")] + text[rows.start(named) :] if cut else text,
            name,
            columns=None if columns is None else tuple(map(unquote, _COLUMN.findall(columns))),
            values_at=rows.end() - cut,
        )


class _Reader:
    """Reads one statement that is not a row statement, token by token, as one server would."""

    def __init__(
        self,
        statement: JudgedStatement,
        text: bytes,
        reading: Reading,
        dumped: str,
        *,
        uploaded: bool,
    ) -> None:
        self._statement = statement
        self._text = text
        self._dumped = dumped
        self._uploaded = uploaded
        self._unread = tokens(text, reading)
        self._tokens: list[Token] = []
        """Those that were read, one more than were taken when somebody looked ahead."""
        self._at = 0
        """How many were taken."""
        self._cut: set[int] = set()
        """Which of them are not sent."""
        self._definer = ""

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
            "UNLOCK": self._unlock,
            "START": self._start,
            "BEGIN": self._transaction,
            "COMMIT": self._transaction,
            "ANALYZE": self._analyze,
            "DO": self._set_sequence,
            "SELECT": self._set_sequence,
            "PREPARE": self._bulk_load,
            "EXECUTE": self._bulk_load,
            "DEALLOCATE": self._bulk_load,
        }
        reader = readers.get(first.word)
        if reader is None:
            raise self._refusal("dumps do not hold such statements")
        return reader()

    # --- kinds ----------------------------------------------------------------

    def _create(self) -> Ruling:
        if self._word("OR"):
            self._expect("REPLACE")
        self._attributes()
        token = self._next()
        word = token.word if token is not None else ""
        if word in _SCHEMA_WORDS:
            return self._schema(Kind.CREATE_SCHEMA)
        readers: dict[str, Callable[[], Ruling]] = {
            "TABLE": self._table,
            "SEQUENCE": self._sequence,
            "VIEW": self._view,
            "TRIGGER": self._trigger,
            "PROCEDURE": self._routine,
            "FUNCTION": self._routine,
            "PACKAGE": self._package,
            "EVENT": self._event,
        }
        reader = readers.get(word)
        if reader is None:
            raise self._refusal("dumps do not create such things")
        return reader()

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

    def _cut_definer(self) -> None:
        """Takes `DEFINER=user@host` out: stored code is created in the name of our own account."""
        begin = self._at
        self._next()
        self._expect("=")
        user = self._expect_name()
        self._definer = unquote(user.raw)
        if self._word("("):
            self._expect(")")
            self._definer = ""
        elif self._word("@"):
            self._definer += "@" + unquote(self._expect_name().raw)
        self._cut.update(range(begin, self._at))

    def _table(self) -> Ruling:
        self._skip("IF", "NOT", "EXISTS")
        name = self._object_name()
        self._read_all()
        self._check_definition(name)
        self._expect("(")
        if self._word("LIKE"):
            raise self._refusal("a definition is no copy of another table")
        self._skip_parentheses()
        self._options()
        return self._ruled(Kind.TABLE, name, creates=True)

    def _sequence(self) -> Ruling:
        self._skip("IF", "NOT", "EXISTS")
        name = self._object_name()
        self._check_definition(name)
        while (token := self._next()) is not None:
            if token.word == "ENGINE":
                self._word("=")
                self._engine()
            elif not (token.word in SEQUENCE_WORDS or token.word.isdigit()):
                raise self._refusal("dumps do not define sequences so")
        return self._ruled(Kind.TABLE, name, creates=True)

    def _view(self) -> Ruling:
        self._skip("IF", "NOT", "EXISTS")
        name = self._object_name()
        if self._word("("):
            self._skip_parentheses()
        self._expect("AS")
        self._read_all()
        self._cut_own_schema()
        return self._object(Kind.VIEW, name)

    def _trigger(self) -> Ruling:
        self._skip("IF", "NOT", "EXISTS")
        name = self._object_name()
        self._expect("BEFORE", "AFTER")
        self._expect("INSERT", "UPDATE", "DELETE")
        # MariaDB 12 allows INSERT OR UPDATE OF a, b
        while not self._word("ON"):
            token = self._next()
            if token is None or token.kind is TokenKind.STRING:
                raise self._refusal("dumps do not write it so")
        self._object_name()
        if self._uploaded:
            for word in ("FOR", "EACH", "ROW"):
                self._expect(word)
            if self._word("FOLLOWS") or self._word("PRECEDES"):
                self._expect_name()
        return self._object(Kind.TRIGGER, name)

    def _routine(self) -> Ruling:
        is_function = self._tokens[self._at - 1].word == "FUNCTION"
        self._skip("IF", "NOT", "EXISTS")
        name = self._object_name()
        # CREATE FUNCTION f RETURNS STRING SONAME 'x.so' loads machine code into the server.
        following = self._peek()
        if following is None or following.word != "(":
            raise self._refusal("dumps do not write it so")
        if self._uploaded:
            self._next()
            self._skip_parentheses()
            if is_function:
                self._expect("RETURNS")
                self._type()
            self._characteristics()
        return self._object(Kind.ROUTINE, name)

    def _package(self) -> Ruling:
        if self._uploaded:
            raise self._refusal(
                "packages are restored from backups of this service only, because their bodies are"
                " not judged"
            )
        self._skip("IF", "NOT", "EXISTS", "BODY")
        return self._object(Kind.ROUTINE, self._object_name())

    def _type(self) -> None:
        self._next()
        while True:
            if self._word("("):
                self._skip_parentheses()
            elif self._word("CHARACTER"):
                self._expect("SET")
                self._next()
            elif self._word("CHARSET") or self._word("COLLATE"):
                self._next()
            elif not any(
                self._word(word)
                for word in ("UNSIGNED", "SIGNED", "ZEROFILL", "BINARY", "ASCII", "UNICODE",
                             "PRECISION", "VARYING", "CHAR", "VARCHAR", "VARBINARY")
            ):  # fmt: skip
                return

    def _characteristics(self) -> None:
        while True:
            if self._word("COMMENT"):
                self._next()
            elif self._word("LANGUAGE"):
                self._expect("SQL")
            elif self._word("SQL"):
                self._expect("SECURITY")
                self._expect("DEFINER", "INVOKER")
            elif self._word("READS") or self._word("MODIFIES"):
                self._expect("SQL")
                self._expect("DATA")
            elif self._word("CONTAINS") or self._word("NO"):
                self._expect("SQL")
            elif self._word("NOT"):
                self._expect("DETERMINISTIC")
            elif not self._word("DETERMINISTIC"):
                return

    def _event(self) -> Ruling:
        self._skip("IF", "NOT", "EXISTS")
        name = self._object_name()
        self._expect("ON")
        self._expect("SCHEDULE")
        schedule = self._at
        while (token := self._peek()) is not None and token.word not in {
            "ON", "ENABLE", "DISABLE", "COMMENT", "DO"
        }:  # fmt: skip
            self._next()
            if token.word == "(":
                self._skip_parentheses()
        self._check_expressions(schedule, self._at, "")
        if self._word("ON"):
            self._expect("COMPLETION")
            self._word("NOT")
            self._expect("PRESERVE")
        status = self._at
        if self._word("DISABLE"):
            if self._word("ON"):
                self._expect("SLAVE", "REPLICA")
        else:
            self._word("ENABLE")
        after_status = self._at
        if self._word("COMMENT"):
            self._next()
        self._expect("DO")
        ruling = self._object(Kind.EVENT, name)
        begin, end = (self._built(*span) for span in ((0, status), (after_status, self._at)))
        body = ruling.sql.removeprefix(self._built(0, self._at))
        return replace(ruling, disabled=begin + b" DISABLE " + end + body)

    def _object(self, kind: Kind, name: str) -> Ruling:
        """The ruling on stored code whose head was taken: its body is what follows."""
        head_end = self._at
        if self._uploaded or kind is Kind.VIEW:
            self._read_all()
            while self._tokens[-1].word == ";":
                self._tokens.pop()
            if self._uploaded:
                check_body(self._tokens, head_end, self._dumped, is_view=kind is Kind.VIEW)
            body = self._built(head_end, is_body=True)
        else:
            body = self._bytes_behind(self._tokens[head_end - 1])
        return Ruling(kind, self._built(0, head_end) + body, name, definer=self._definer)

    def _bytes_behind(self, last: Token) -> bytes:
        """A body as it is written, without the end of the versioned comment it stands in."""
        body = self._text[last.end :].rstrip()
        for _ in range(last.opened):
            if not body.endswith(b"*/"):
                raise self._refusal("it opens a comment that is never closed")
            body = body[:-2].rstrip()
        return body

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
        self._check_definition(name)
        self._action()
        while self._word(","):
            self._action()
        self._expect_end()
        return self._ruled(Kind.TABLE, name)

    def _action(self) -> None:
        """One thing that ALTER TABLE does, up to the comma before the next."""
        if self._word("DISABLE") or self._word("ENABLE"):
            self._expect("KEYS")
        elif self._word("AUTO_INCREMENT"):
            self._word("=")
            self._expect_number()
        elif any(self._word(word) for word in _TABLE_ACTIONS):
            while (token := self._peek()) is not None and token.word != ",":
                self._next()
                if token.word == "(":
                    self._skip_parentheses()
                if token.word in {"PARTITION", "PARTITIONS"}:
                    raise self._refusal("dumps do not alter tables so")
        else:
            raise self._refusal("dumps do not alter tables so")

    def _schema(self, kind: Kind) -> Ruling:
        self._skip("IF", "NOT", "EXISTS")
        self._own_schema(self._expect_name())
        begin = self._at
        while self._peek() is not None:
            self._word("DEFAULT")
            option = self._expect(*SCHEMA_OPTIONS)
            if option.word == "CHARACTER":
                self._expect("SET")
            self._word("=")
            self._expect_name()
        return Ruling(kind, self._built(begin), self._dumped)

    def _lock(self) -> Ruling:
        self._expect("TABLES", "TABLE")
        while self._peek() is not None:
            self._object_name()
            self._skip("READ", "LOCAL", "WRITE", "CONCURRENT")
            if self._peek() is not None:
                self._expect(",")
        return self._ruled(Kind.LOCK, "")

    def _unlock(self) -> Ruling:
        self._expect("TABLES", "TABLE")
        self._expect_end()
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
        name = self._object_name()
        if self._peek() is not None:
            self._expect("UPDATE", "DROP")
            self._expect("HISTOGRAM")
            self._check_definition(name)
        return self._ruled(Kind.TABLE, name)

    def _bulk_load(self) -> Ruling:
        if not _PERCONA.match(self._built(0)):
            raise self._refusal("dumps do not hold such statements")
        return Ruling(Kind.LEFT_OUT, b"")

    def _set_sequence(self) -> Ruling:
        if not self._word("SETVAL"):
            return self._bulk_load()
        self._expect("(")
        name = self._object_name()
        while self._word(","):
            self._word("-")
            self._expect_number()
        self._expect(")")
        self._expect_end()
        return self._ruled(Kind.TABLE, name)

    # --- SET ------------------------------------------------------------------

    def _set(self) -> Ruling:
        if self._word("NAMES"):
            self._character_set(SESSION_CHARACTER_SETS)
            if self._word("COLLATE"):
                self._collation()
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
        if self._word("@"):
            variable = unquote(self._expect_name().raw).lower()
            self._assign()
            if self._word("IF") and ("rocksdb" in variable or "bulk_load" in variable):
                return Kind.LEFT_OUT
            # From nothing else, so that no variable holds what a system variable may not.
            self._expect("@@")
            self._system_variable()
            return Kind.SESSION
        self._word("@@")
        scope, name = self._system_variable()
        if scope in _GLOBAL or name in _LEFT_OUT_VARIABLES:
            return Kind.LEFT_OUT
        if name not in _SESSION_VARIABLES and name not in _OURS:
            raise self._refusal(f"dumps do not set {name[:64]}")
        self._assign()
        if self._word("@"):
            self._expect_name()
        elif self._word("@@"):
            self._system_variable()
        elif name == "sql_mode":
            self._modes()
        elif name.startswith("character_set_"):
            self._character_set(SESSION_CHARACTER_SETS | SINGLE_BYTE_CHARACTER_SETS)
        elif name.startswith("collation_"):
            self._collation()
        elif name == "default_storage_engine":
            self._engine()
        else:
            self._word("-")
            self._expect_literal()
        return Kind.NOTHING if name in _OURS else Kind.SESSION

    def _system_variable(self) -> tuple[str, str]:
        """Its scope in upper case and its name in lower case."""
        token = self._expect_name()
        scope = ""
        if token.word in {*_GLOBAL, "SESSION", "LOCAL"}:
            scope = token.word
            self._word(".")
            token = self._expect_name()
        return scope, unquote(token.raw).lower()

    def _assign(self) -> None:
        self._word(":")
        self._expect("=")

    def _modes(self) -> None:
        modes = unquote(self._expect_literal().raw).upper()
        for mode in filter(None, modes.split(",")):
            if mode not in KNOWN_MODES:
                raise self._refusal(f"{mode[:64]} is no SQL mode that dumps set")
            if self._uploaded and mode in QUOTING_MODES:
                raise self._refusal(
                    f"it is written for the SQL mode {mode}, in which quotes or backslashes mean"
                    " something else; dump the database without this mode"
                )

    def _character_set(self, taken: frozenset[str]) -> None:
        name = unquote(self._expect_literal().raw).lower()
        if self._uploaded and name not in {*taken, "default", "null"}:
            raise self._refusal(
                f"the character set {name[:64]} is not taken; dump the database with"
                " --default-character-set=utf8mb4"
            )

    def _collation(self) -> None:
        name = unquote(self._expect_literal().raw).lower()
        family = name.partition("_")[0]
        taken = SESSION_CHARACTER_SETS | SINGLE_BYTE_CHARACTER_SETS | {"uca1400", "default"}
        if self._uploaded and family not in taken:
            raise self._refusal(
                f"the collation {name[:64]} is not taken; dump the database with"
                " --default-character-set=utf8mb4"
            )

    # --- definitions ----------------------------------------------------------

    def _check_definition(self, name: str) -> None:
        """Judges all that follows, without taking it: what a table is made of."""
        self._read_all()
        self._check_expressions(self._at, len(self._tokens), name)

    def _check_expressions(self, start: int, end: int, table: str) -> None:
        for number in range(start, end):
            token = self._tokens[number]
            before, after = self._tokens[number - 1], self._tokens[number + 1 : number + 2]
            if token.word in _NOT_IN_DEFINITIONS:
                raise self._refusal(f"a definition has no {token.word}")
            if token.word in DENIED_FUNCTIONS and after and after[0].word == "(":
                raise self._refusal(f"a definition calls no {token.word}")
            if token.kind is TokenKind.NAME:
                _check_length(self._statement, unquote(token.raw))
            is_name = token.kind is not TokenKind.SIGN and not _is_number(token)
            if is_name and after and after[0].word == "." and before.word != ".":
                schema = unquote(token.raw)
                if schema == self._dumped:
                    self._cut.update((number, number + 1))
                elif schema != table:
                    raise self._refusal("it names another schema")

    def _options(self) -> None:
        """The options behind a table's columns and keys."""
        while (token := self._peek()) is not None:
            if self._word(","):
                continue
            begin = self._at
            self._word("DEFAULT")
            token = self._expect_name()
            option = unquote(token.raw).upper()
            if option == "PARTITION":
                self._partitions()
                return
            if option in {"DATA", "INDEX", "TABLESPACE"}:
                self._placement(begin, option)
            elif option in {"WITH", "WITHOUT"}:
                self._expect("SYSTEM")
                self._expect("VERSIONING")
            elif option in {"ENGINE", "TYPE"}:
                self._word("=")
                self._engine()
            elif option in TABLE_OPTIONS or (not self._uploaded and option not in _NOT_OPTIONS):
                if option == "CHARACTER":
                    self._expect("SET")
                self._word("=")
                self._expect_literal()
            else:
                raise self._refusal(f"{option[:64]} is no table option that is taken")

    def _placement(self, begin: int, option: str) -> None:
        """Where the server keeps a table's files: our own dumps lose it, others are refused."""
        if option != "TABLESPACE":
            self._expect("DIRECTORY")
        self._word("=")
        place = unquote(self._expect_name().raw)
        if self._word("STORAGE"):
            self._expect("DISK", "MEMORY")
        if self._uploaded and place != "innodb_file_per_table":
            raise self._refusal(
                f"it says where the server keeps the table's files ({option}); define the table"
                " without that"
            )
        self._cut.update(range(begin, self._at))

    def _partitions(self) -> None:
        depth = 0
        while (token := self._peek()) is not None:
            begin = self._at
            depth += (token.word == "(") - (token.word == ")")
            following = self._tokens[self._at + 1 : self._at + 2]
            is_directory = following and following[0].word == "DIRECTORY"
            self._next()
            if token.word == "ENGINE":
                self._word("=")
                self._engine()
            elif token.word == "TABLESPACE" or (token.word in {"DATA", "INDEX"} and is_directory):
                self._placement(begin, token.word)
            elif token.word in {"AS", "WITH"} and not depth:
                raise self._refusal("a definition has no query")

    def _engine(self) -> None:
        name = unquote(self._expect_literal().raw)
        if name.upper() not in ENGINES:
            raise self._refusal(f"the engine {name[:64]} is not taken; use InnoDB")

    # --- names ----------------------------------------------------------------

    def _object_name(self) -> str:
        """`name` or `schema`.`name`; the dump's own schema is cut, any other is refused."""
        begin = self._at
        token = self._expect_name()
        if self._word("."):
            self._own_schema(token)
            self._cut.update((begin, begin + 1))
            token = self._expect_name()
        name = unquote(token.raw)
        _check_name(self._statement, name)
        return name

    def _own_schema(self, token: Token) -> None:
        if unquote(token.raw) != self._dumped:
            raise self._refusal("it names another schema")

    def _cut_own_schema(self) -> None:
        """Takes the dump's own schema out of a view, so that it can be tried in another.

        Where the schema's name is a table's or an alias, too, only where it cannot mean that.
        """
        words = [*(it.word for it in self._tokens), "", "", ""]
        places = [
            number
            for number, it in enumerate(self._tokens)
            if number >= self._at
            and it.kind is not TokenKind.STRING
            and words[number - 1] not in {".", "@", "@@"}
            and unquote(it.raw) == self._dumped
        ]
        qualified = [number for number in places if words[number + 1] == "."]
        is_other = len(qualified) < len(places)
        for number in qualified:
            if (
                not is_other
                or words[number + 3] in {".", "("}
                or words[number - 1] in {"FROM", "JOIN"}
            ):
                self._cut.update((number, number + 1))

    # --- tokens ---------------------------------------------------------------

    def _ruled(
        self, kind: Kind, name: str, *, creates: bool = False, drops: bool = False
    ) -> Ruling:
        return Ruling(kind, self._built(0), name, creates=creates, drops=drops)

    def _built(self, start: int, end: int | None = None, *, is_body: bool = False) -> bytes:
        """The tokens as they are sent, with one blank where there was more than nothing.

        Of a body also that before its first token, and its plain comments.
        """
        if end is None:
            self._read_all()
            end = len(self._tokens)
        built = []
        gap: bytes | None = None
        for number in range(start, end):
            token = self._tokens[number]
            if number in self._cut:
                gap = token.gap if gap is None else gap
                continue
            gap = token.gap or gap or b""
            if is_body:
                built.append(gap)
            elif built:
                built.append(blank(gap))
            built.append(token.raw)
            gap = None
        return b"".join(built)

    def _read_all(self) -> None:
        self._tokens.extend(self._unread)

    def _peek(self) -> Token | None:
        if self._at == len(self._tokens):
            token = next(self._unread, None)
            if token is None:
                return None
            self._tokens.append(token)
        return self._tokens[self._at]

    def _next(self) -> Token | None:
        token = self._peek()
        if token is not None:
            self._at += 1
        return token

    def _word(self, word: str) -> bool:
        """Takes the next token if it is this unquoted word or sign."""
        token = self._peek()
        if token is None or token.word != word:
            return False
        self._at += 1
        return True

    def _skip(self, *words: str) -> None:
        while any(self._word(word) for word in words):
            pass

    def _skip_parentheses(self) -> None:
        """Takes what stands up to the end of the parenthesis that was taken."""
        depth = 1
        while depth:
            token = self._next()
            if token is None:
                raise self._refusal("it opens a parenthesis that is never closed")
            depth += (token.word == "(") - (token.word == ")")

    def _expect(self, *words: str) -> Token:
        token = self._next()
        if token is None or token.word not in words:
            raise self._refusal("dumps do not write it so")
        return token

    def _expect_name(self) -> Token:
        """A name, with quotes of whatever kind or without."""
        token = self._next()
        if token is None or token.kind is TokenKind.SIGN:
            raise self._refusal("dumps do not write it so")
        return token

    def _expect_number(self) -> None:
        token = self._next()
        if token is None or not _is_number(token):
            raise self._refusal("dumps do not write it so")

    def _expect_literal(self) -> Token:
        """A string, a number or a word that is no call."""
        token = self._expect_name()
        following = self._peek()
        if following is not None and following.word in {"(", "."}:
            raise self._refusal("its value is an expression")
        if token.raw.startswith(b"_") and following is not None and not following.word:
            raise self._refusal("its value is an expression")
        return token

    def _expect_end(self) -> None:
        if self._peek() is not None:
            raise self._refusal("dumps do not write it so")

    def _refusal(self, reason: str) -> ArchiveRefused:
        return refusal(self._statement, reason)


def _is_number(token: Token) -> bool:
    return token.word[:1].isdigit() and token.word.isdigit()


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


def _check_name(statement: JudgedStatement, name: str) -> None:
    if name.casefold().startswith(RESERVED_PREFIX):
        raise refusal(statement, f"names that start with {RESERVED_PREFIX} are this service's own")
    _check_length(statement, name)


def _check_length(statement: JudgedStatement, name: str) -> None:
    if len(name) > MOST_NAME:
        raise refusal(statement, f"a name in it is longer than {MOST_NAME} characters")
