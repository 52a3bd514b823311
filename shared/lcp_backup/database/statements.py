"""Cuts SQL text into statements as the stock clients do, whatever is in strings and comments."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final, NamedTuple

_FEW: Final = 16
"""No token that has to be seen whole is longer, a DELIMITER line set apart."""
_LONGEST_DELIMITER: Final = 15
"""The stock clients cut a longer one off."""
_LONGEST_COMMAND: Final = 1000
"""A longer line is no DELIMITER line, but text."""

_DASHES = re.compile(rb"--(?:[\x00-\x20\x7f]|\Z)")
_SLICE: Final = 1 << 20

_VERSIONED = re.compile(rb"/\*M?!")
_DELIMITER_LINE = re.compile(rb"delimiter[ \t]++(\S++)[^\n]*+\n?", re.IGNORECASE)
_DELIMITER_WORD = re.compile(rb"delimiter[ \t]", re.IGNORECASE)

_ROWS_HEAD = re.compile(
    rb"INSERT (?:IGNORE )?+INTO `(?:[^`]|``)++` "
    rb"(?:\((?:`(?:[^`]|``)++`(?:, )?+)++\) )?+VALUES[ \n]\("
)
_ROWS_END: Final = b");\n"
_LONG_LINE: Final = 300
"""Bytes of a line from which looking at each newline costs less than searching every byte."""


def _any_but(characters: bytes) -> bytes:
    """A class of all other bytes, spelled out: `re` runs it twice as fast as a negated one."""
    others = (byte for byte in range(256) if byte not in characters)
    return b"[%s]" % b"".join(b"\\x%02x" % byte for byte in others)


class _Lexis(NamedTuple):
    """What a session's SQL mode and character set change about where a literal ends."""

    escapes: bool = True
    """False in the mode NO_BACKSLASH_ESCAPES."""
    ansi: bool = False
    """ANSI_QUOTES: names stand in double quotes, and there no backslash escapes."""
    lead: bytes = b""
    """Bytes that take the next one along, as the class of a regular expression; none in UTF-8."""

    def after(self, statement: bytes) -> "_Lexis":
        """The lexis of what follows this statement, if it is one by which a session is changed."""
        lexis = self
        if mode := _SET_MODE.search(statement):
            # What a variable puts back is the dump program's own session, which has no such mode.
            modes = frozenset((mode[1] or b"").upper().split(b","))
            lexis = lexis._replace(
                escapes=b"NO_BACKSLASH_ESCAPES" not in modes,
                ansi=not modes.isdisjoint({b"ANSI_QUOTES", b"ANSI"}),
            )
        if charset := _SET_CHARACTER_SET.search(statement):
            lexis = lexis._replace(lead=_LEAD_BYTES.get(charset[1].lower(), b""))
        return lexis


_SET_MODE = re.compile(rb"SET (?:SESSION )?sql_mode *+= *+(?:'([^']*+)'|@)", re.IGNORECASE)
_SET_CHARACTER_SET = re.compile(
    rb"SET (?:character_set_client *+= *+|NAMES )([@\w]++)", re.IGNORECASE
)
_LONGEST_SETTING: Final = 1000
_LEAD_BYTES: Final = {
    **dict.fromkeys((b"gbk", b"gb18030", b"big5"), rb"[\x81-\xfe]"),
    **dict.fromkeys((b"sjis", b"cp932"), rb"[\x81-\x9f\xe0-\xfc]"),
}
"""Where the second byte of a character may be a backslash or a backquote."""


def _rest_of(quote: bytes, lexis: _Lexis) -> bytes:
    escapes = quote == b"'" or (quote == b'"' and not lexis.ansi)
    pairs = [rb"\\."] if escapes and lexis.escapes else []
    stops = quote + (b"\\" if pairs else b"")
    if lexis.lead:
        pairs.append(lexis.lead + b".")
        stops += bytes(byte for byte in range(256) if re.match(lexis.lead, bytes([byte])))
    plain = _any_but(stops)
    if not pairs:
        return plain + b"*+"
    return rb"%(plain)s*+(?:(?:%(pairs)s)%(plain)s*+)*+" % {
        b"plain": plain,
        b"pairs": b"|".join(pairs),
    }


_QUOTES: Final = (b"'", b'"', b"`")


@cache
def _literal_rests(lexis: _Lexis) -> dict[bytes, re.Pattern[bytes]]:
    """What may follow an opening quote up to the closing one.

    A doubled quote reads as two literals side by side, which comes to the same.
    """
    return {quote: re.compile(_rest_of(quote, lexis), re.DOTALL) for quote in _QUOTES}


_COMMENT_END = {b"#": b"\n", b"--": b"\n", b"/*": b"*/"}


class _Patterns(NamedTuple):
    """What is passed over at once; it ends at a delimiter's first byte and at the buffer's end."""

    before: re.Pattern[bytes]
    """Before a statement's text: blanks, and whole comments."""
    inside: re.Pattern[bytes]
    """In it: also whole literals, and whatever begins nothing."""


@cache
def _patterns(delimiter: bytes, lexis: _Lexis) -> _Patterns:
    """The patterns for a delimiter that begins with this byte."""
    comments = {
        b"#": rb"\#[^\n]*+\n",
        b"-": rb"--(?=[\x00-\x20\x7f])[^\n]*+\n",
        b"/": rb"/\*(?!M?+!)[^*]*+(?:\*(?!/)[^*]*+)*+\*/",
    }
    signs = {
        b"-": rb"-(?=[^-]|-[^\x00-\x20\x7f])",
        b"/": rb"/(?=[^*]|\*M?+!)",
    }
    for found in (comments, signs):
        found.pop(delimiter, None)
    literals = [quote + _rest_of(quote, lexis) + quote for quote in _QUOTES if quote != delimiter]
    plain = _any_but(b"'\"`#/-" + delimiter)
    inside = b"|".join([*literals, *signs.values(), *comments.values()])
    return _Patterns(
        re.compile(b"(?:[ \\t\\n\\v\\f\\r]++|%s)*+" % b"|".join(comments.values())),
        re.compile(
            b"%(plain)s*+(?:(?:%(inside)s)%(plain)s*+)*+" % {b"plain": plain, b"inside": inside},
            re.DOTALL,
        ),
    )


def _find_rows_end(buffer: bytearray, since: int) -> int:
    """`buffer.find(_ROWS_END, since)`, several times faster where lines are long."""
    if buffer.count(b"\n", since) * _LONG_LINE > len(buffer) - since:
        return buffer.find(_ROWS_END, since)
    # One byte is searched by the processor's widest registers, three are not.
    newline = since + len(_ROWS_END) - 2
    while (newline := buffer.find(b"\n", newline + 1)) >= 0:
        end = newline + 1 - len(_ROWS_END)
        if buffer.startswith(_ROWS_END, end):
            return end
    return -1


class Statement(NamedTuple):
    """One statement of a text."""

    raw: bytes
    """Its exact bytes, with the blanks and comments before it and its delimiter: all `raw`s joined
    are the text."""
    begin: int
    """Where `text` begins in `raw`."""
    end: int
    at: int
    """Where `text` begins in all that was fed: bytes before it."""
    line: int
    """The line on which `text` begins, from 1; 0 when a dump program wrote it (not counted)."""

    @property
    def text(self) -> bytes:
        """What a server is to be sent: without the blanks and comments before it (versioned
        comments stay) and without the delimiter. Empty for a DELIMITER line and for a rest that
        holds nothing but blanks and comments. A copy, made anew each time.
        """
        return self.raw[self.begin : self.end]

    @property
    def where(self) -> str:
        """Its place, for a message."""
        return f"line {self.line} of the dump"


class StatementSplitter:
    r"""Cuts a text that arrives in chunks; how it is chunked makes no difference.

    Follows the `mysql` and `mariadb` programs: quotes with backslash escapes, backquoted names,
    `-- `, `#` and `/* */` comments, DELIMITER lines; versioned comments (`/*! */`, `/*M! */`) are
    plain text, so a delimiter inside one ends the statement there. Nothing is ever executed:
    `\!`, `system` and `source` are text like any other.

    Memory: the statement under way and one chunk. Time: linear, also for one endless statement.

    Where a dump program wrote the text, it follows the SQL modes and character sets that are set
    around stored code, in which backslashes and double quotes may mean something else. (A text that
    a user uploaded is refused there: see `policy`.) Outside of literals, and in rows, dump programs
    write in no such mode.

    Args:
        dump_program: True promises that a dump program wrote the text. Such programs write a
            newline in a literal as `\n` (mysql_real_escape_string), so that an INSERT statement is
            known to go to the first line that ends it, and lines are not counted: many times
            faster. Never to be said of a text that a user uploaded.
    """

    def __init__(self, *, dump_program: bool = False) -> None:
        self._dump_program = dump_program
        self._rows_at: int | None = None
        """How far the INSERT under way was searched for its end, when that is a plain search."""
        self._buffer = bytearray()
        self._at = 0
        """Up to here the buffer was read."""
        self._text_at: int | None = None
        """Where the text of the statement under way starts; None while only blanks were seen."""
        self._literal: bytes | None = None
        """The quote that opened the literal under way."""
        self._comment: bytes | None = None
        """The end of the comment under way."""
        self._end: tuple[int, int] | None = None
        """Where the statement under way was found to end, without and with its delimiter."""
        self._line = 1
        self._offset = 0
        """Bytes of the text before the buffer."""
        self._lexis = _Lexis()
        self._set_delimiter(b";")

    def feed(self, chunk: bytes) -> Iterator[Statement]:
        """The statements that end in this chunk, or ended before and were not certain.

        To be iterated to its end before the next call: a chunk may hold millions of them.
        """
        self._buffer += chunk
        yield from self._statements(final=False)

    def close(self) -> Iterator[Statement]:
        """What was left: a last statement without its delimiter, or only blanks and comments."""
        yield from self._statements(final=True)
        if self._buffer:
            text_at = len(self._buffer) if self._text_at is None else self._text_at
            yield self._statement(0, text_at, len(self._buffer), len(self._buffer))
            self._buffer.clear()

    def split(self, text: bytes, check: Callable[[], None]) -> Iterator[Statement]:
        """The statements of a text that is at hand; the splitter is used once.

        `check` is called again and again, also while one statement is read; raises to stop.
        """
        for at in range(0, len(text), _SLICE):
            check()
            yield from self.feed(text[at : at + _SLICE])
        yield from self.close()

    def _set_delimiter(self, delimiter: bytes) -> None:
        self._delimiter = delimiter[:_LONGEST_DELIMITER]
        self._patterns = _patterns(delimiter[:1], self._lexis)
        self._rests = _literal_rests(self._lexis)

    def _statements(self, *, final: bool) -> Iterator[Statement]:
        start = 0
        while (end := self._next_end(final=final)) is not None:
            text_end, raw_end = end
            text_at = text_end if self._text_at is None else self._text_at
            statement = self._statement(start, text_at, text_end, raw_end)
            start = self._at = raw_end
            self._text_at = self._rows_at = None
            if self._dump_program and len(statement.raw) < _LONGEST_SETTING:
                self._follow(statement)
            yield statement
        # Once per chunk: taking each statement off by itself would move the rest every time.
        del self._buffer[:start]
        self._offset += start
        self._at -= start
        if self._text_at is not None:
            self._text_at -= start
        if self._rows_at is not None:
            self._rows_at -= start

    def _follow(self, statement: Statement) -> None:
        lexis = self._lexis.after(statement.text)
        if lexis != self._lexis:
            self._lexis = lexis
            self._set_delimiter(self._delimiter)

    def _statement(self, start: int, text_at: int, text_end: int, raw_end: int) -> Statement:
        with memoryview(self._buffer) as view:
            raw = bytes(view[start:raw_end])
        line = 0
        if not self._dump_program:
            line = self._line + raw.count(b"\n", 0, text_at - start)
            self._line += raw.count(b"\n")
        return Statement(raw, text_at - start, text_end - start, self._offset + text_at, line)

    def _next_end(self, *, final: bool) -> tuple[int, int] | None:
        """Where the next statement's text and its raw bytes end; None when more is needed."""
        while self._read_on(final=final):
            if self._end is not None:
                end, self._end = self._end, None
                return end
        return None

    def _read_on(self, *, final: bool) -> bool:
        """Reads one token, or a stretch of plain ones; False when more is needed to tell."""
        buffer = self._buffer
        if self._rows_at is not None:
            return self._search_rows_end(self._rows_at, final=final)
        if self._literal is not None or self._comment is not None:
            return self._leave()
        pattern = self._patterns.before if self._text_at is None else self._patterns.inside
        skipped = pattern.match(buffer, self._at)
        assert skipped is not None
        self._at = at = skipped.end()
        left = len(buffer) - at
        if not left or (left < _FEW and not final and self._grows(at)):
            return False
        if buffer.startswith(self._delimiter, at):
            self._end = at, at + len(self._delimiter)
        elif self._text_at is None and (word := _DELIMITER_WORD.match(buffer, at)):
            whole = buffer.find(b"\n", at, at + _LONGEST_COMMAND) >= 0
            if not whole and left < _LONGEST_COMMAND and not final:
                return False
            is_short = whole or left < _LONGEST_COMMAND
            if is_short and (command := _DELIMITER_LINE.match(buffer, at)):
                self._set_delimiter(command[1])
                self._end = at, command.end()
            else:
                self._text_at, self._at = at, word.end()
        elif not self._enters_comment(at):
            self._enter_text(at)
        return True

    def _search_rows_end(self, since: int, *, final: bool) -> bool:
        end = _find_rows_end(self._buffer, since)
        if end >= 0:
            self._end = end + 1, end + 2
        elif final:
            self._rows_at = None
        else:
            self._rows_at = max(since, len(self._buffer) - len(_ROWS_END) + 1)
        return end >= 0 or final

    def _enter_text(self, at: int) -> None:
        if self._text_at is None:
            self._text_at = at
            if self._dump_program and self._delimiter == b";":
                head = _ROWS_HEAD.match(self._buffer, at)
                self._rows_at = None if head is None else head.end()
        first = bytes(self._buffer[at : at + 1])
        if first in _QUOTES:
            self._literal = first
        self._at = at + 1

    def _grows(self, at: int) -> bool:
        """Whether the few bytes left may be the beginning of a token."""
        rest = bytes(self._buffer[at:])
        if self._delimiter.startswith(rest):
            return rest != self._delimiter
        if rest[:1] in (b"-", b"/"):
            return len(rest) < len(b"/*M!")
        return self._text_at is None and b"delimiter".startswith(rest.lower())

    def _enters_comment(self, at: int) -> bool:
        buffer = self._buffer
        if buffer.startswith(b"#", at):
            opening = b"#"
        elif _DASHES.match(buffer, at):
            opening = b"--"
        elif buffer.startswith(b"/*", at) and not _VERSIONED.match(buffer, at):
            opening = b"/*"
        else:
            return False
        self._comment = _COMMENT_END[opening]
        self._at = at + len(opening)
        return True

    def _leave(self) -> bool:
        """Reads on to the end of the literal or comment under way; False when it is not there."""
        buffer = self._buffer
        if self._literal is not None:
            rest = self._rests[self._literal].match(buffer, self._at)
            assert rest is not None
            self._at = rest.end()
            if not buffer.startswith(self._literal, self._at):
                return False
            self._at += 1
            self._literal = None
            return True
        assert self._comment is not None
        end = buffer.find(self._comment, self._at)
        if end < 0:
            # The last byte may be the first half of the end.
            self._at = max(self._at, len(buffer) - len(self._comment) + 1)
            return False
        self._at = end + len(self._comment)
        self._comment = None
        return True
