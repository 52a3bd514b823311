r"""Rows of a dump's INSERT statements: what stands behind VALUES, and how it travels as data.

`only_literals` tells whether rows are nothing but values written out. A `RowPlan` knows the columns
of one table, and has LOAD DATA LOCAL INFILE read the very bytes that stand behind VALUES: fields
end at `,`, are enclosed by `'` and escaped by a backslash; lines go from `(` to `)`, and what is
between them is skipped. So the server evaluates nothing, and needs about half of the time.

A plan does not take what means something else in a file than in a statement (found out with MariaDB
10.11 and MySQL 9.7):

- `\%` and `\_` lose their backslash in a file; `'\N'` is NULL there.
- Without quotes, INSERT has numbers, and a file has text: `0` as a YEAR is 2000, `1` as an ENUM is
  the member of that name before it is the first one.
- In a file, the beginning of a UTF-8 character takes the quote behind it along.

Of `0x...` a file holds the digits, so UNHEX makes values of them. Values for columns that the
server generates are read and left out.
"""

import codecs
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple, Self

from lcp_backup.database.endpoint import Connection


def _any_but(first: int, second: int) -> bytes:
    """A class of all bytes but two (the lesser first); `re` runs a negated one at half the pace."""
    ends = (first - 1, first + 1, second - 1, second + 1)
    return rb"[\x00-\x%02x\x%02x-\x%02x\x%02x-\xff]" % ends


_BLANKS: Final = rb"[ \t\r\n]*+"


def _quoted(quote: bytes, escaped: bytes = rb"\\.") -> bytes:
    """A string in these quotes; `escaped` is what a backslash and what follows it may be."""
    forms = {
        b"quote": quote,
        b"plain": _any_but(ord(quote), ord("\\")) + b"*+",
        b"escaped": escaped,
    }
    return rb"%(quote)s%(plain)s(?:(?:%(escaped)s|%(quote)s%(quote)s)%(plain)s)*+%(quote)s" % forms


# The most frequent first; and most begin with a byte by which `re` passes them over at once.
_LITERAL: Final = b"|".join(
    [
        _quoted(b"'"),
        rb"[0-9]++(?![.eEx])",
        rb"[nN][uU][lL][lL]",
        rb"0x[0-9A-Fa-f]++",
        rb"[-+]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][-+]?+[0-9]++)?+",
        _quoted(b'"'),
        rb"_[bB][iI][nN][aA][rR][yY]" + _BLANKS + _quoted(b"'"),
        rb"[xX]'(?:[0-9A-Fa-f][0-9A-Fa-f])*+'",
        rb"[bB]'[01]*+'",
        rb"[tT][rR][uU][eE]",
        rb"[fF][aA][lL][sS][eE]",
    ]
)
_LITERAL_ROW: Final = (
    rb"\(%(blanks)s(?:%(literal)s)%(blanks)s"
    rb"(?:,%(blanks)s(?:%(literal)s)%(blanks)s)*+\)"
) % {b"blanks": _BLANKS, b"literal": _LITERAL}
_SEPARATOR: Final = _BLANKS + b"," + _BLANKS

# Not without end: between two calls of `re`, other threads run.
_LITERAL_ROWS = re.compile(
    rb"%(row)s(?:%(separator)s%(row)s){0,999}+" % {b"row": _LITERAL_ROW, b"separator": _SEPARATOR},
    re.DOTALL,
)
_NEXT_ROW = re.compile(_SEPARATOR + rb"(?=\()")


def only_literals(text: bytes | memoryview, at: int) -> int:
    r"""The offset behind the last of the rows of literals that begin at `at`; `at` if none does.

    A row is `(literal, literal, ...)`; rows are set apart by commas; blanks (no comments) may stand
    around each. Literals are what dump programs write: NULL, numbers, strings with backslash
    escapes or doubled quotes, also behind `_binary`, `0x41`, `x'41'`, `b'01'`, TRUE, FALSE.

    Whatever else stands there (a call, a subquery, an operator, a variable, DEFAULT) ends the rows
    before the row that it is in. Time is linear in what is read; memory does not grow with it.

    It is true only where a backslash escapes, `"` quotes a string and no character holds the byte
    of a quote or a backslash: never in the SQL modes NO_BACKSLASH_ESCAPES or ANSI_QUOTES, nor in
    the character sets big5, cp932, gbk, gb18030 and sjis. The caller has to see to that.
    """
    end = at
    while rows := _LITERAL_ROWS.match(text, at):
        end = rows.end()
        following = _NEXT_ROW.match(text, end)
        if following is None:
            break
        at = following.end()
    return end


class Column(NamedTuple):
    """A column of a table, as far as it matters how its values are written."""

    name: str
    type: str
    """The bare type in lower case, such as `varchar`; `period` for the bounds of versioned rows."""
    nullable: bool
    generated: bool
    invisible: bool
    counts_up: bool = False
    """AUTO_INCREMENT."""
    charset: str = ""
    """The character set of text; empty for what is none."""


def columns_of(connection: Connection, schema: str, table: str) -> tuple[Column, ...]:
    """A table's columns in order; none when there is no such table.

    The connection's session has to speak utf8mb4, as `connect` leaves it: not one in which a dump
    said SET NAMES. Raises pymysql.MySQLError.
    """
    with connection.cursor() as cursor:
        # Of what is not generated, MySQL says '' and MariaDB says NULL.
        cursor.execute(
            "SELECT column_name, data_type, is_nullable, COALESCE(generation_expression, ''),"
            " extra, COALESCE(character_set_name, '') FROM information_schema.columns"
            " WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
            (schema, table),
        )
        return tuple(
            Column(
                name=name,
                type="period" if generation in {"ROW START", "ROW END"} else kind.lower(),
                nullable=nullable == "YES",
                generated=generation != "",
                invisible="INVISIBLE" in extra,
                counts_up="auto_increment" in extra.lower(),
                charset=charset,
            )
            for name, kind, nullable, generation, extra, charset in cursor.fetchall()
        )


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that can travel as data."""

    statement: bytes
    """The LOAD DATA LOCAL INFILE statement."""
    text: memoryview
    """What it reads."""
    count: int
    """How many rows there are in it."""


_STRING = _quoted(b"'", rb"\\[0nrtbZ\\'\"]")
# mysqldump also escapes bytes that could begin a character.
_BYTES = _quoted(b"'", rb"\\[0nrtbZ\\'\"\x80-\xff]")
_HEX = rb"(?:0x[0-9A-Fa-f]++|'')"
_DECIMAL = rb"-?+[0-9]++(?:\.[0-9]++)?+"


def _by_type(form: bytes, *types: str) -> dict[str, bytes]:
    return dict.fromkeys(types, form)


_LITERAL_BY_TYPE: Final = {
    **_by_type(rb"-?+[0-9]++", "tinyint", "smallint", "mediumint", "int", "bigint"),
    **_by_type(_DECIMAL, "decimal"),
    **_by_type(_DECIMAL + rb"(?:e[-+]?+[0-9]++)?+", "float", "double"),
    **_by_type(rb"[0-9]{4}", "year"),
    **_by_type(rb"'[-0-9:. ]++'", "date", "time", "datetime", "timestamp"),
}
_TEXT_TYPES: Final = frozenset(
    {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json",
    "uuid", "inet4", "inet6"}
)  # fmt: skip
_BINARY_TYPES: Final = frozenset(
    {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit", "vector",
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
    "geomcollection", "geometrycollection"}
)  # fmt: skip

_NOT_FROM_BYTES: Final = _TEXT_TYPES - {
    "char", "varchar", "tinytext", "text", "mediumtext", "longtext"
}  # fmt: skip
"""Types of which the same bytes mean something else, or nothing, when they are no text."""

_UTF8: Final = frozenset({"utf8mb4", "utf8mb3", "utf8"})
_CODECS: Final = {**dict.fromkeys(_UTF8, "utf-8"), "latin1": "cp1252", "binary": "ascii"}
"""How names are written in each character set that a session may have."""
_FOUR_BYTES = re.compile(rb"[\xf0-\xff]")
_STRING_OR_INTRODUCER = re.compile(rb"(" + _quoted(b"'") + rb")|_binary ", re.DOTALL)
_DECODED_BYTES: Final = 1024 * 1024


class _Form(NamedTuple):
    """One of the two ways in which dump programs write binary columns."""

    statement: bytes
    row: re.Pattern[bytes]
    charset: str
    """What the server takes the text for."""
    introduced: bool
    """A string may stand behind `_binary`."""


class RowPlan:
    """How INSERT statements that give one table's columns in one order travel as LOAD DATA."""

    def __init__(self, forms: Sequence[_Form]) -> None:
        self._forms = forms

    @classmethod
    def of(
        cls, table: str, columns: Sequence[Column], listed: Sequence[str] | None, charset: str
    ) -> Self | None:
        """The plan for the rows of a table, or None when they have to travel as INSERT.

        Args:
            table: its name; it is looked for in the schema that the connection stands in.
            columns: all of them, as `columns_of` says.
            listed: the names that the INSERT statement lists; None when it lists none.
            charset: the session's `character_set_client`, which has to be its
                `character_set_connection` too (as after SET NAMES).
        """
        if listed is None:
            given = [column for column in columns if not column.invisible]
        else:
            by_name = {column.name.lower(): column for column in columns}
            found = [by_name.pop(name.lower(), None) for name in listed]
            given = [column for column in found if column is not None]
            if len(given) < len(listed):
                return None
        known = _LITERAL_BY_TYPE.keys() | _TEXT_TYPES | _BINARY_TYPES
        if not given or charset not in _CODECS or any(it.type not in known for it in given):
            return None
        try:
            forms = [_hexadecimal_form(table, given, charset)]
            if any(column.type in _BINARY_TYPES for column in given):
                forms.append(_string_form(table, given, charset))
        except UnicodeEncodeError:
            return None
        return cls(forms)

    def read(self, text: bytes | memoryview, at: int) -> Rows | None:
        """The rows that begin at `at` and are the rest of the text (but for blanks behind them).

        None when anything there is not as dump programs write it; it has to travel as INSERT then.
        `only_literals` and what it asks of the session are not replaced by this.
        """
        rows = memoryview(text)[at:]
        for form in self._forms:
            count = _count(form.row, rows)
            if count and _is_in(form.charset, rows):
                if form.introduced and re.search(b"_binary '", rows):
                    rows = memoryview(_STRING_OR_INTRODUCER.sub(rb"\1", rows))
                return Rows(form.statement, rows, count)
        return None


class _Value(NamedTuple):
    """How one column's values are written, and what makes them of what a file holds."""

    literal: bytes
    made: str | None = None
    """An expression with `{}` for what was read; None where the column takes that itself."""


type _Spelling = Callable[[Column], _Value]


def _hexadecimal_form(table: str, columns: Sequence[Column], charset: str) -> _Form:
    """With `0x...` for binary columns. Raises UnicodeEncodeError, as `_form` does."""

    def spelled(column: Column) -> _Value:
        if column.type in _BINARY_TYPES:
            return _Value(_HEX, "UNHEX(SUBSTRING({}, 3))")
        if column.type in _TEXT_TYPES:
            return _Value(_STRING)
        return _Value(_LITERAL_BY_TYPE[column.type])

    # A server that is told of no characters does not look for them in each byte, and checks them in
    # the column all the same (MariaDB 10.11: long text takes a seventh less of its time).
    as_bytes = charset in _UTF8 and all(map(_takes_utf8, columns))
    read_as = "binary" if as_bytes else _spoken(charset)
    statement, row = _form(table, columns, charset, read_as, spelled)
    return _Form(statement, row, charset=charset, introduced=False)


def _string_form(table: str, columns: Sequence[Column], charset: str) -> _Form:
    """With strings for binary columns. Raises UnicodeEncodeError, as `_form` does."""

    def spelled(column: Column) -> _Value:
        if column.type in _BINARY_TYPES:
            # (A VECTOR takes the bytes of any file, but not of any string.)
            behind = b"" if column.type == "vector" else b"?+"
            return _Value(rb"(?:_binary )%b%b" % (behind, _BYTES))
        if column.type in _TEXT_TYPES:
            made = None if charset == "binary" else f"CONVERT({{}} USING {_spoken(charset)})"
            return _Value(_STRING, made)
        return _Value(_LITERAL_BY_TYPE[column.type])

    statement, row = _form(table, columns, charset, "binary", spelled)
    return _Form(statement, row, charset="binary", introduced=True)


def _spoken(charset: str) -> str:
    """MySQL warns of utf8mb3; of what can be said in it, utf8mb4 is the same."""
    return "utf8mb4" if charset in _UTF8 else charset


def _form(
    table: str, columns: Sequence[Column], charset: str, read_as: str, spelled: _Spelling
) -> tuple[bytes, re.Pattern[bytes]]:
    """The statement, and what a row looks like.

    Raises UnicodeEncodeError where a name cannot be said in the character set.
    """
    targets: list[str] = []
    settings: list[str] = []
    literals: list[bytes] = []
    values = [spelled(column) for column in columns]
    has_made = any(value.made is not None for value in values)
    for number, (column, (literal, made)) in enumerate(zip(columns, values, strict=True)):
        # MariaDB forgets NO_AUTO_VALUE_ON_ZERO for a column that stands beside a SET: its 0 became
        # 1 (tried: 10.11).
        if made is None and column.counts_up and has_made:
            made = "{}"  # noqa: PLW2901
        may_be_null = column.nullable or column.generated
        literals.append(rb"(?:%b|NULL)" % literal if may_be_null else literal)
        variable = f"@lcp_{number}"
        if column.generated:
            targets.append(variable)
        elif made is None:
            targets.append(_identifier(column.name))
        else:
            targets.append(variable)
            settings.append(f"{_identifier(column.name)} = {made.format(variable)}")
    statement = (
        f"LOAD DATA LOCAL INFILE 'rows' INTO TABLE {_identifier(table)}"
        f" CHARACTER SET {read_as}"
        " FIELDS TERMINATED BY ',' ENCLOSED BY '\\'' ESCAPED BY '\\\\'"
        " LINES STARTING BY '(' TERMINATED BY ')'"
        f" ({', '.join(targets)})"
    )
    if settings:
        statement += f" SET {', '.join(settings)}"
    return statement.encode(_CODECS[charset]), _row_of(literals)


def _row_of(literals: Sequence[bytes]) -> re.Pattern[bytes]:
    """One row of these; its only group is what is none."""
    # (Compiling takes longer than reading a small table's rows.)
    alike = [(literal, len(list(same))) for literal, same in groupby(literals)]
    row = b",".join(b"%b(?:,%b){%d}" % (it, it, n - 1) if n > 1 else it for it, n in alike)
    return re.compile(rb"\(%b\)(?:,\n?+(?=\()|%b\Z)|(.)" % (row, _BLANKS), re.DOTALL)


def _takes_utf8(column: Column) -> bool:
    """Whether a column stores the bytes of UTF-8 as they are, if it takes text at all."""
    if column.type in _TEXT_TYPES:
        return column.charset in _UTF8 and column.type not in _NOT_FROM_BYTES
    return True


def _count(row: re.Pattern[bytes], text: memoryview) -> int:
    """How many rows the text is; 0 when it is something else."""
    count = 0
    for count, found in enumerate(row.finditer(text), 1):  # noqa: B007 -- the last one is the count
        if found.lastindex:
            return 0
    return count


def _is_in(charset: str, text: memoryview) -> bool:
    """Whether a server finds the same characters in rows, in a file as in a statement."""
    if charset not in _UTF8:
        return True
    if charset != "utf8mb4" and _FOUR_BYTES.search(text):
        return False
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for at in range(0, len(text), _DECODED_BYTES):
            decoder.decode(text[at : at + _DECODED_BYTES])
    except UnicodeDecodeError:
        return False
    return True


def _identifier(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
