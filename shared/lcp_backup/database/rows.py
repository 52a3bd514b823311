"""The rows of a dump's INSERT statements: what stands behind VALUES.

`only_literals` tells whether it is nothing but values written out, so that a server that executes
the statement evaluates nothing.
"""

import re
from typing import Final


def _any_but(characters: bytes) -> bytes:
    """A class of all other bytes, spelled out: `re` runs it twice as fast as a negated one."""
    return b"[%s]" % b"".join(b"\\x%02x" % byte for byte in range(256) if byte not in characters)


_BLANKS: Final = rb"[ \t\r\n]*+"


def _quoted(quote: bytes, escaped: bytes = rb"\\.") -> bytes:
    """A string in these quotes; `escaped` is what a backslash may begin in it."""
    parts = {b"quote": quote, b"plain": _any_but(quote + b"\\") + b"*+", b"escaped": escaped}
    return rb"%(quote)s%(plain)s(?:(?:%(escaped)s|%(quote)s%(quote)s)%(plain)s)*+%(quote)s" % parts


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
