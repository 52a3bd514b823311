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

from lcp_backup.database.bodies import check_body
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
from lcp_backup.database.reader import StatementReader
from lcp_backup.database.rows import only_literals
from lcp_backup.database.tokens import (
    NEWEST,
    NotTakenError,
    Reading,
    TokenKind,
    differs,
    unquote,
)
from lcp_backup.errors import ArchiveRefused

__all__ = [
    "OBJECTS",
    "JudgedStatement",
    "Kind",
    "Policy",
    "Ruling",
    "head",
    "refusal",
    "unquote",
]

MOST_NAME: Final = 64
"""Characters of a name: both servers' own limit."""

_NAME = rb"`[^`]*+(?:``[^`]*+)*+`|[A-Za-z0-9_][A-Za-z0-9_$]*+"
_COLUMN = re.compile(_NAME)
_ROWS = re.compile(
    rb"(?:INSERT|REPLACE)\s++(?:IGNORE\s++)?+INTO\s++"
    rb"(?P<first>" + _NAME + rb")(?P<dot>\s*+\.\s*+(?P<second>" + _NAME + rb"))?+"
    rb"\s*+(?:\((?P<columns>[\s,]*+(?:(?:" + _NAME + rb")[\s,]*+){0,5000}+)\)\s*+)?+"
    rb"VALUES\s*+(?=\()",
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
    "note_verbosity", "sql_quote_show_create", "sql_require_primary_key",
    "sql_generate_invisible_primary_key", "innodb_strict_mode",
    "default_storage_engine", "show_create_table_skip_secondary_engine"}
)  # fmt: skip
_LEFT_OUT_VARIABLES: Final = frozenset({"sql_log_bin", "gtid_next"})
_OURS: Final = frozenset({"autocommit", "system_versioning_insert_history"})
"""The loader's business: transactions, and that rows come with their history."""
_GLOBAL: Final = frozenset({"GLOBAL", "PERSIST", "PERSIST_ONLY"})

_SCHEMA_WORDS: Final = frozenset({"DATABASE", "SCHEMA"})
_OBJECT_WORDS: Final = frozenset(
    {"VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "PACKAGE", "LIBRARY", "EVENT"}
)
_TABLE_WORDS: Final = frozenset({"TABLE", "SEQUENCE"})
_CHARACTERISTICS: Final = (
    "COMMENT *", "LANGUAGE SQL", "SQL SECURITY DEFINER|INVOKER", "READS|MODIFIES SQL DATA",
    "CONTAINS|NO SQL", "NOT DETERMINISTIC", "DETERMINISTIC"
)  # fmt: skip
_TYPE_PARTS: Final = (
    "UNSIGNED|SIGNED|ZEROFILL|BINARY|ASCII|UNICODE|PRECISION|VARYING|CHAR|VARCHAR|VARBINARY",
    "CHARACTER SET *", "CHARSET|COLLATE *"
)  # fmt: skip
_NOT_IN_DEFINITIONS: Final = frozenset(
    {"SELECT", "UNION", "TABLE", "INTO", "RENAME", "EXCHANGE", "DISCARD", "IMPORT", ";"}
)
"""Words by which a definition would read, write or move a table of another schema."""
_NOT_OPTIONS: Final = frozenset({"AS", "CONNECTION", "SECONDARY_ENGINE", "WITH"})
"""Of the options that are not known here, those that our own dumps may not say either."""

_ANOTHER_SCHEMA: Final = "it names another schema"
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


_NOTHING: Final = Ruling(Kind.NOTHING, b"")


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
        try:
            if not text:
                return _NOTHING
            if (rows := _ROWS.match(text)) is not None:
                return self._rows(text, rows)
            readings = self._readings if differs(text) else self._readings[:1]
            rulings = [
                _Statement(text, reading, self._dumped, uploaded=self._uploaded).ruling()
                for reading in readings
            ]
        except NotTakenError as error:
            raise refusal(statement, str(error)) from None
        return next((it for it in rulings if it.kind is not Kind.NOTHING), rulings[0])

    def _rows(self, text: bytes, rows: re.Match[bytes]) -> Ruling:
        if self._uploaded:
            end = only_literals(text, rows.end())
            behind = _BLANKS.match(text, end)
            if behind is None or behind.end() < len(text):
                raise NotTakenError(
                    f"a row in it holds more than literals, after byte {end} of the statement"
                )
        named = "first" if rows["dot"] is None else "second"
        if named == "second" and unquote(rows["first"]) != self._dumped:
            raise NotTakenError(_ANOTHER_SCHEMA)
        cut = rows.start(named) - rows.start("first")
        columns = rows["columns"]
        return Ruling(
            Kind.ROWS,
            text[: rows.start("first")] + text[rows.start(named) :] if cut else text,
            _own(unquote(rows[named])),
            columns=None if columns is None else tuple(map(unquote, _COLUMN.findall(columns))),
            values_at=rows.end() - cut,
        )


class _Statement(StatementReader):
    """One statement that is not a row statement, as one server reads it."""

    def __init__(self, text: bytes, reading: Reading, dumped: str, *, uploaded: bool) -> None:
        super().__init__(text, reading)
        self._dumped = dumped
        self._uploaded = uploaded
        self._definer = ""

    def ruling(self) -> Ruling:
        """Judges it; raises NotTakenError."""
        if self.peek() is None:
            return _NOTHING
        readers: dict[str, Callable[[], Ruling]] = {
            "CREATE": self._create,
            "DROP": self._drop,
            "ALTER": self._alter,
            "SET": self._set,
            "USE": self._use,
            "LOCK": self._lock,
            "UNLOCK": self._lock,
            "START": self._transaction,
            "BEGIN": self._transaction,
            "COMMIT": self._transaction,
            "ANALYZE": self._analyze,
            "DO": self._sequence_value,
            "SELECT": self._sequence_value,
            "PREPARE": self._bulk_load,
            "EXECUTE": self._bulk_load,
            "DEALLOCATE": self._bulk_load,
        }
        reader = readers.get(self.peek_word())
        if reader is None:
            raise NotTakenError("dumps do not hold such statements")
        return reader()

    # --- tables and schemas ---------------------------------------------------

    def _create(self) -> Ruling:
        self.expect("CREATE")
        self.take("OR REPLACE")
        while (
            self._cut_definer()
            or self.take("ALGORITHM = UNDEFINED|MERGE|TEMPTABLE")
            or self.take("SQL SECURITY DEFINER|INVOKER")
            or self.take("AGGREGATE")
        ):
            pass
        what = self.word()
        readers: dict[str, Callable[[str], Ruling]] = {
            "TABLE": self._table,
            "SEQUENCE": self._sequence,
            "VIEW": self._view,
            "TRIGGER": self._trigger,
            "PROCEDURE": self._routine,
            "FUNCTION": self._function,
            "PACKAGE": self._package,
            "LIBRARY": self._package,
            "EVENT": self._event,
        }
        if what == "PACKAGE":
            self.take("BODY")
        self.take("IF NOT EXISTS")
        if what in _SCHEMA_WORDS:
            return self._schema(Kind.CREATE_SCHEMA)
        if what not in readers:
            raise NotTakenError("dumps do not create such things")
        return readers[what](self._object_name())

    def _cut_definer(self) -> bool:
        """Takes `DEFINER=user@host` out: stored code is created in the name of our own account."""
        begin = self.at
        if not self.take("DEFINER ="):
            return False
        self._definer = self.name()
        if self.take("( )"):
            self._definer = ""
        elif self.take("@"):
            self._definer += "@" + self.name()
        self.cut.update(range(begin, self.at))
        return True

    def _table(self, name: str) -> Ruling:
        self._check_expressions(self.at, table=name)
        self.expect("(")
        if self.peek_word() == "LIKE":
            raise NotTakenError("a definition is no copy of another table")
        self.parentheses()
        while self.peek() is not None:
            begin = self.at
            self.take(",")
            self.take("DEFAULT")
            option = self.name().upper()
            if option == "PARTITION":
                self._partitions()
            elif option in {"DATA", "INDEX", "TABLESPACE"}:
                self._placement(begin, option)
            else:
                self._option(option)
        return Ruling(Kind.TABLE, self.built(), name, creates=True)

    def _option(self, option: str) -> None:
        if option in {"WITH", "WITHOUT"} and self.take("SYSTEM VERSIONING"):
            return
        if option == "CHARACTER":
            self.expect("SET")
        self.take("=")
        if option in {"ENGINE", "TYPE"}:
            self._engine()
        elif option in TABLE_OPTIONS or (not self._uploaded and option not in _NOT_OPTIONS):
            self.literal()
        else:
            raise NotTakenError(f"{option[:64]} is no table option that is taken")

    def _placement(self, begin: int, option: str) -> None:
        """Where the server keeps a table's files: our own dumps lose it, others are refused."""
        if option != "TABLESPACE":
            self.expect("DIRECTORY")
            option += " DIRECTORY"
        self.take("=")
        place = self.name()
        self.take("STORAGE DISK|MEMORY")
        if self._uploaded and place != "innodb_file_per_table":
            raise NotTakenError(
                f"it says where the server keeps the table's files ({option}); define the table"
                " without that"
            )
        self.cut.update(range(begin, self.at))

    def _partitions(self) -> None:
        """Takes the rest of a definition, which says how a table is divided."""
        depth = 0
        while (token := self.peek()) is not None:
            begin, word = self.at, token.word
            self.at += 1
            depth += (word == "(") - (word == ")")
            if word == "ENGINE":
                self.take("=")
                self._engine()
            elif word == "TABLESPACE" or (
                word in {"DATA", "INDEX"} and self.peek_word() == "DIRECTORY"
            ):
                self._placement(begin, word)
            elif word in {"AS", "WITH"} and not depth:
                raise NotTakenError("a definition has no query")

    def _engine(self) -> None:
        name = self.literal()
        if name.upper() not in ENGINES:
            raise NotTakenError(f"the engine {name[:64]} is not taken; use InnoDB")

    def _sequence(self, name: str) -> Ruling:
        while (token := self.peek()) is not None:
            self.at += 1
            if token.word == "ENGINE":
                self.take("=")
                self._engine()
            elif not (token.word in SEQUENCE_WORDS or token.word.isdigit()):
                raise NotTakenError("dumps do not define sequences so")
        return Ruling(Kind.TABLE, self.built(), name, creates=True)

    def _schema(self, kind: Kind) -> Ruling:
        self._own_schema(self.name())
        begin = self.at
        while self.peek() is not None:
            self.take("DEFAULT")
            if not any(self.take(option) for option in SCHEMA_OPTIONS):
                raise NotTakenError("a schema option in it is not taken")
        return Ruling(kind, self.built(begin), self._dumped)

    def _alter(self) -> Ruling:
        self.expect("ALTER")
        if self.take("DATABASE|SCHEMA"):
            return self._schema(Kind.ALTER_SCHEMA)
        self.take("IGNORE")
        self.expect("TABLE")
        name = self._object_name()
        self._check_expressions(self.at, table=name)
        self._action()
        while self.take(","):
            self._action()
        self.end()
        return Ruling(Kind.TABLE, self.built(), name)

    def _action(self) -> None:
        """One thing that ALTER TABLE does, up to the comma before the next."""
        if self.take("DISABLE|ENABLE KEYS"):
            return
        if self.take("AUTO_INCREMENT =?"):
            self.number()
            return
        if not self.take("ADD|MODIFY|CHANGE"):
            raise NotTakenError("dumps do not alter tables so")
        while (token := self.peek()) is not None and token.word != ",":
            self.at += 1
            if token.word == "(":
                self.parentheses()
            elif token.word in {"PARTITION", "PARTITIONS"}:
                raise NotTakenError("dumps do not alter tables so")

    def _check_expressions(self, begin: int, end: int | None = None, table: str = "") -> None:
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
                if schema == self._dumped:
                    self.cut.update((at, at + 1))
                elif schema != table:
                    raise NotTakenError(_ANOTHER_SCHEMA)

    # --- stored code ----------------------------------------------------------

    def _view(self, name: str) -> Ruling:
        if self.take("("):
            self.parentheses()
        self.expect("AS")
        self._cut_own_schema()
        return self._object(Kind.VIEW, name)

    def _trigger(self, name: str) -> Ruling:
        self.expect("BEFORE|AFTER INSERT|UPDATE|DELETE")
        # MariaDB 12 allows INSERT OR UPDATE OF a, b
        while not self.take("ON"):
            if not self.take(",|OR"):
                self.name()
        self._object_name()
        if self._uploaded:
            self.expect("FOR EACH ROW")
            self.take("FOLLOWS|PRECEDES *")
        return self._object(Kind.TRIGGER, name)

    def _function(self, name: str) -> Ruling:
        # CREATE FUNCTION f RETURNS STRING SONAME 'x.so' loads machine code into the server.
        if self.peek_word() != "(":
            raise NotTakenError("a function has parameters in parentheses")
        return self._routine(name, returns=True)

    def _routine(self, name: str, *, returns: bool = False) -> Ruling:
        if self._uploaded:
            self.expect("(")
            begin = self.at
            self.parentheses()
            self._check_expressions(begin, self.at)
            if returns:
                self.expect("RETURNS")
                self.word()
                while self._parenthesis() or any(self.take(it) for it in _TYPE_PARTS):
                    pass
            while any(self.take(it) for it in _CHARACTERISTICS):
                pass
        return self._object(Kind.ROUTINE, name)

    def _parenthesis(self) -> bool:
        if not self.take("("):
            return False
        self.parentheses()
        return True

    def _package(self, name: str) -> Ruling:
        """Of MariaDB's packages and MySQL's libraries of JavaScript."""
        if self._uploaded:
            raise NotTakenError(
                "packages and libraries are taken from backups of this service only"
            )
        return self._object(Kind.ROUTINE, name)

    def _event(self, name: str) -> Ruling:
        self.expect("ON SCHEDULE")
        begin = self.at
        while self.peek_word() not in {"ON", "ENABLE", "DISABLE", "COMMENT", "DO"}:
            if not self._parenthesis():
                if self.peek() is None:
                    raise NotTakenError("it is an event that does nothing")
                self.at += 1
        if self._uploaded:
            self._check_expressions(begin, self.at)
        self.take("ON COMPLETION NOT? PRESERVE")
        status = self.at
        if self.take("DISABLE"):
            self.take("ON SLAVE|REPLICA")
        else:
            self.take("ENABLE")
        comment = self.at
        self.take("COMMENT *")
        self.expect("DO")
        ruling = self._object(Kind.EVENT, name)
        body = ruling.sql.removeprefix(self.built(0, self.at))
        begins, ends = self.built(0, status), self.built(comment, self.at)
        return replace(ruling, disabled=begins + b" DISABLE " + ends + body)

    def _object(self, kind: Kind, name: str) -> Ruling:
        """The ruling on stored code whose head was taken: its body is what follows."""
        if self._uploaded or kind is Kind.VIEW:
            self.read_all()
            while self.tokens[-1].word == ";":
                self.tokens.pop()
            if self._uploaded:
                check_body(self.tokens, self.at, self._dumped, is_view=kind is Kind.VIEW)
            body = self.built_body(self.at)
        else:
            body = self.body_as_written()
        return Ruling(kind, self.built(0, self.at) + body, name, definer=self._definer)

    def _cut_own_schema(self) -> None:
        """Takes the dump's own schema out of a view, so that it can be tried in another.

        Where the schema's name is a table's or an alias, too, only where it cannot mean that.
        """
        self.read_all()
        words = [*(it.word for it in self.tokens), "", "", ""]
        places = [
            at
            for at, it in enumerate(self.tokens)
            if at >= self.at
            and it.kind is not TokenKind.STRING
            and words[at - 1] not in {".", "@", "@@"}
            and unquote(it.raw) == self._dumped
        ]
        certain = all(words[at + 1] == "." for at in places)
        for at in places:
            if words[at + 1] == "." and (
                certain or words[at + 3] in {".", "("} or words[at - 1] in {"FROM", "JOIN"}
            ):
                self.cut.update((at, at + 1))

    # --- what stands around them ----------------------------------------------

    def _drop(self) -> Ruling:
        self.expect("DROP")
        what = self.word()
        if what == "PACKAGE":
            self.take("BODY")
        self.take("IF EXISTS")
        if what in _SCHEMA_WORDS:
            self._own_schema(self.name())
            self.end()
            return Ruling(Kind.DROP_SCHEMA, self.built(), self._dumped)
        if what not in _TABLE_WORDS | _OBJECT_WORDS:
            raise NotTakenError("dumps do not drop such things")
        name = self._object_name()
        self.end()
        if what in _TABLE_WORDS:
            return Ruling(Kind.TABLE, self.built(), name, drops=True)
        return Ruling(Kind.DROP_OBJECT, self.built(), name)

    def _lock(self) -> Ruling:
        if self.take("UNLOCK TABLES|TABLE"):
            self.end()
            return Ruling(Kind.LOCK, self.built())
        self.expect("LOCK TABLES|TABLE")
        while True:
            self._object_name()
            self.expect("READ|WRITE LOCAL|CONCURRENT?")
            if not self.take(","):
                self.end()
                return Ruling(Kind.LOCK, self.built())

    def _transaction(self) -> Ruling:
        self.expect("START|BEGIN|COMMIT TRANSACTION|WORK?")
        self.end()
        return _NOTHING

    def _use(self) -> Ruling:
        self.expect("USE")
        self._own_schema(self.name())
        self.end()
        return _NOTHING

    def _analyze(self) -> Ruling:
        self.expect("ANALYZE NO_WRITE_TO_BINLOG|LOCAL? TABLE|TABLES")
        name = self._object_name()
        if self.peek() is not None:
            self.expect("UPDATE|DROP HISTOGRAM ON")
            self._check_expressions(self.at, table=name)
        return Ruling(Kind.TABLE, self.built(), name)

    def _sequence_value(self) -> Ruling:
        if not (self.peek_word(1) == "SETVAL" and self.take("DO|SELECT SETVAL (")):
            return self._bulk_load()
        name = self._object_name()
        while self.take(", -?"):
            self.number()
        self.expect(")")
        self.end()
        return Ruling(Kind.TABLE, self.built(), name)

    def _bulk_load(self) -> Ruling:
        if not _PERCONA.match(self.built()):
            raise NotTakenError("dumps do not hold such statements")
        return Ruling(Kind.LEFT_OUT, b"")

    # --- SET ------------------------------------------------------------------

    def _set(self) -> Ruling:
        self.expect("SET")
        if self.take("NAMES"):
            self._character_set(SESSION_CHARACTER_SETS)
            if self.take("COLLATE"):
                self._collation()
            self.end()
            return Ruling(Kind.SESSION, self.built())
        kinds = {self._assignment()}
        while Kind.LEFT_OUT not in kinds and self.take(","):
            kinds.add(self._assignment())
        if Kind.LEFT_OUT in kinds:
            return Ruling(Kind.LEFT_OUT, b"")
        self.end()
        return Ruling(Kind.NOTHING if Kind.NOTHING in kinds else Kind.SESSION, self.built())

    def _assignment(self) -> Kind:
        if self.take("@"):
            variable = self.name().lower()
            self._assign()
            if self.take("IF") and ("rocksdb" in variable or "bulk_load" in variable):
                return Kind.LEFT_OUT
            token = self.peek()
            if variable == "old_sql_mode" and token and token.kind is TokenKind.STRING:
                self._modes()  # Sequel Ace
                return Kind.SESSION
            # From nothing else, so that no variable holds what a system variable may not.
            self.expect("@@")
            self._system_variable()
            return Kind.SESSION
        self.take("@@")
        scope, name = self._system_variable()
        if scope in _GLOBAL or name in _LEFT_OUT_VARIABLES:
            return Kind.LEFT_OUT
        if name not in _SESSION_VARIABLES | _OURS:
            raise NotTakenError(f"dumps do not set {name[:64]}")
        self._assign()
        if self.take("@ *"):
            pass
        elif self.take("IFNULL ( @ * ,"):  # HeidiSQL
            self._value_of(name)
            self.expect(")")
        elif self.take("@@"):
            self._system_variable()
        else:
            self._value_of(name)
        return Kind.NOTHING if name in _OURS else Kind.SESSION

    def _value_of(self, name: str) -> None:
        """Takes a value that is written out, if the variable may have it."""
        if name == "sql_mode":
            self._modes()
        elif name.startswith("character_set_"):
            self._character_set(SESSION_CHARACTER_SETS | SINGLE_BYTE_CHARACTER_SETS)
        elif name.startswith("collation_"):
            self._collation()
        elif name == "default_storage_engine":
            self._engine()
        else:
            self.take("-")
            self.literal()

    def _assign(self) -> None:
        self.take(":")
        self.expect("=")

    def _system_variable(self) -> tuple[str, str]:
        """Its scope in upper case and its name in lower case."""
        name = self.name()
        if name.upper() not in {*_GLOBAL, "SESSION", "LOCAL"}:
            return "", name.lower()
        self.take(".")
        return name.upper(), self.name().lower()

    def _modes(self) -> None:
        for mode in filter(None, self.literal().upper().split(",")):
            if mode not in KNOWN_MODES:
                raise NotTakenError(f"{mode[:64]} is no SQL mode that dumps set")
            if self._uploaded and mode in QUOTING_MODES:
                raise NotTakenError(
                    f"it is written for the SQL mode {mode}, in which quotes or backslashes mean"
                    " something else; dump the database without this mode"
                )

    def _character_set(self, taken: frozenset[str]) -> None:
        name = self.literal().lower()
        if self._uploaded and name not in {*taken, "default", "null"}:
            raise NotTakenError(
                f"the character set {name[:64]} is not taken; dump the database with"
                " --default-character-set=utf8mb4"
            )

    def _collation(self) -> None:
        name = self.literal().lower()
        taken = SESSION_CHARACTER_SETS | SINGLE_BYTE_CHARACTER_SETS | {"uca1400", "default"}
        if self._uploaded and name.partition("_")[0] not in taken:
            raise NotTakenError(
                f"the collation {name[:64]} is not taken; dump the database with"
                " --default-character-set=utf8mb4"
            )

    # --- names ----------------------------------------------------------------

    def _object_name(self) -> str:
        """`name` or `schema`.`name`; the dump's own schema is cut, any other is refused."""
        begin = self.at
        name = self.name()
        if self.take("."):
            self._own_schema(name)
            self.cut.update((begin, begin + 1))
            name = self.name()
        return _own(name)

    def _own_schema(self, name: str) -> None:
        if name != self._dumped:
            raise NotTakenError(_ANOTHER_SCHEMA)


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


def _own(name: str) -> str:
    """The name of a table or object, if a dump may have one of that name."""
    if not name.isascii() and name.encode("utf-8", "replace").decode() != name:
        raise NotTakenError(
            "the name in it is not UTF-8; dump the database with --default-character-set=utf8mb4"
        )
    return _short(name)


def _short(name: str) -> str:
    if len(name) > MOST_NAME:
        raise NotTakenError(f"a name in it is longer than {MOST_NAME} characters")
    return name
