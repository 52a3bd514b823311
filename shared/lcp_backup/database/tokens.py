"""One SQL statement as tokens, read strictly; comments are read here and nowhere else.

A server executes the inside of a versioned comment (`/*!80016 ... */`, `/*M!100616 ... */`) or
leaves it out, by its flavour and version. That is decided here, as that server would: what is sent
is built of tokens, holds no such comment, and so means to every server what was judged here.

Time is linear in the text: repeats in patterns are possessive, and nothing is looked for twice.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from lcp_backup.database.endpoint import Flavour, Server

MOST_TOKENS: Final = 300_000
"""Of one statement: more than a table of 8,192 partitions has. A row statement is not read so."""
MOST_NESTED: Final = 256
"""Parentheses in one another: a view's sum of 200 columns has one for each."""
_MOST_OPEN: Final = 8
"""Versioned comments in one another; dump programs write one."""

_TOKEN = re.compile(
    # Blanks, and comments that mean nothing to any server: no versioned one, no hint, none with
    # another in it or with a control character, by which a server may end it.
    rb"(?P<gap>(?:[ \t\n\v\f\r]++"
    rb"|(?:\#|--(?=[ \t\n\v\f\r]|\Z))[^\n\x00-\x08\x0e-\x1f\x7f]*+(?:\n|\Z)"
    rb"|/\*(?![!+]|M!)(?:[^*/\x00-\x08\x0e-\x1f\x7f]++|\*(?!/)|/(?!\*))*+\*/)++)"
    rb"|(?P<versioned>/\*(?P<maria>M?+)!(?P<version>[0-9]{5,6}+)?+)"
    rb"|(?P<comment>/\*)"
    rb"|(?P<close>\*/)"
    rb"|(?P<string>'[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+'|\"[^\"\\]*+(?:(?:\\.|\"\")[^\"\\]*+)*+\")"
    rb"|(?P<name>`[^`]*+(?:``[^`]*+)*+`)"
    # After one @ dots belong to the name: root@db.example.com, @a.b
    rb"|(?P<variable>(?<=@)(?<!@@)[A-Za-z0-9_$.]++)"
    rb"|(?P<word>[A-Za-z0-9_\x80-\xff][A-Za-z0-9_$\x80-\xff]*+)"
    rb"|(?P<sign>@@|[!%&()*+,./:;<=>?@\[\]^{|}~\\]|-(?!-[\x00-\x20\x7f]|-\Z))",
    re.DOTALL,
)
_REST = re.compile(rb"(?:[^*]++|\*(?!/))*+\*/")
_REST_NESTED = re.compile(rb"(?:[^*/]++|\*(?!/)|/(?!\*)|/\*(?:[^*]++|\*(?!/))*+\*/)*+\*/")
"""What is left of a comment that is left out, as the servers read it: in a versioned one another
comment may stand."""


class TokenKind(StrEnum):
    """What a token is."""

    WORD = "word"
    """Unquoted: a keyword, a name, a number."""
    NAME = "name"
    """A name in backquotes."""
    STRING = "string"
    SIGN = "sign"


class Token(NamedTuple):
    """A token of a statement."""

    kind: TokenKind
    raw: bytes
    """What to send. A word with letters beyond ASCII is put into backquotes here, because what is
    a letter there depends on the session's character set."""
    word: str
    """Of a word in upper case, and of a sign; empty for what is quoted."""
    gap: bytes
    """What stands before it: blanks and comments that mean nothing to any server, as they are;
    a blank in place of any other comment."""
    start: int
    end: int
    opened: int
    """In how many versioned comments it stands."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How versioned comments are read."""

    flavour: Flavour | None
    """None: the comments of both flavours."""
    version: int
    """Such as 80036 or 101106."""

    @classmethod
    def of(cls, server: Server) -> "Reading":
        """As this server reads them."""
        found = re.match(r"(?:5\.5\.5-)?([0-9]+)\.([0-9]+)(?:\.([0-9]+))?", server.version)
        if found is None:
            return NEWEST[0] if server.flavour is Flavour.MYSQL else NEWEST[1]
        major, minor, patch = (int(number or 99) for number in found.groups())
        return cls(server.flavour, major * 10_000 + minor * 100 + patch)

    def keeps(self, *, maria: bool, version: int | None) -> bool:
        """Whether the inside is executed (https://mariadb.com/kb/en/comment-syntax/)."""
        if maria and self.flavour is Flavour.MYSQL:
            return False
        if version is None:
            return True
        # MySQL 5.7 brought what MariaDB does not know.
        of_mysql = not maria and 50700 <= version <= 99999  # noqa: PLR2004 -- as the page has it
        return version <= self.version and not (of_mysql and self.flavour is Flavour.MARIADB)


NEWEST: Final = (Reading(Flavour.MYSQL, 99_999), Reading(Flavour.MARIADB, 199_999))
"""The readings of a statement whose server is not known yet."""
EVERY: Final = Reading(None, 999_998)
"""All of it, but for the line 999999 by which mariadb-dump turns on its own client's sandbox."""

_DIFFERS = re.compile(rb"/\*(?:M!|!(?!(?:[0-4][0-9]{4}|50[0-6][0-9]{2})(?![0-9])))")


def differs(text: bytes) -> bool:
    """Whether some servers execute what others leave out; sometimes true without need."""
    return _DIFFERS.search(text) is not None


class NotTakenError(Exception):
    """The statement is not one that is taken out of a dump; says why."""


def tokens(text: bytes, reading: Reading) -> Iterator[Token]:  # noqa: PLR0912 -- a table of cases
    """The tokens of one statement, in order; read as they are asked for.

    It follows the servers' lexers in a session without the SQL modes ANSI_QUOTES and
    NO_BACKSLASH_ESCAPES, in a character set whose other characters hold no byte of ASCII.

    Raises NotTakenError: something is not closed, a byte stands outside of literals that may not,
    or there is more of something than the limits of this module.
    """
    at = opened = nested = count = 0
    gap = bytearray()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unreadable(text, at)
        group, raw, at = match.lastgroup, match[0], match.end()
        if group == "gap":
            gap += raw
            continue
        count += 1
        if count > MOST_TOKENS:
            raise NotTakenError(f"it has more than {MOST_TOKENS} words and signs")
        if group == "comment":
            at = _comment_end(text, at, _REST)
            gap += b" "
        elif group == "close":
            if not opened:
                raise NotTakenError("it closes a comment that is not open")
            opened -= 1
            gap += b" "
        elif raw.startswith(b"/*"):
            maria = bool(match["maria"])
            version = None if match["version"] is None else int(match["version"])
            gap += b" "
            if reading.keeps(maria=maria, version=version):
                opened += 1
                if opened > _MOST_OPEN:
                    raise NotTakenError(f"it has {opened} versioned comments in one another")
            else:
                # MySQL reads another's comment as a plain one.
                as_plain = maria and reading.flavour is Flavour.MYSQL
                at = _comment_end(text, match.start() + 2, _REST if as_plain else _REST_NESTED)
        else:
            nested += (raw == b"(") - (raw == b")")
            if nested > MOST_NESTED:
                raise NotTakenError(f"it has more than {MOST_NESTED} parentheses in one another")
            yield _token(group, raw, bytes(gap), match.start(), opened)
            gap.clear()
    if opened:
        raise NotTakenError("it opens a comment that is never closed")


def _token(group: str | None, raw: bytes, gap: bytes, start: int, opened: int) -> Token:
    end = start + len(raw)
    if group == "string":
        return Token(TokenKind.STRING, raw, "", gap, start, end, opened)
    if group == "name":
        return Token(TokenKind.NAME, raw, "", gap, start, end, opened)
    if group == "sign":
        return Token(TokenKind.SIGN, raw, raw.decode(), gap, start, end, opened)
    if raw.isascii():
        return Token(TokenKind.WORD, raw, raw.decode().upper(), gap, start, end, opened)
    return Token(TokenKind.NAME, b"`%s`" % raw, "", gap, start, end, opened)


def _comment_end(text: bytes, at: int, rest: re.Pattern[bytes]) -> int:
    found = rest.match(text, at)
    if found is None:
        raise NotTakenError("it opens a comment that is never closed")
    return found.end()


def _unreadable(text: bytes, at: int) -> NotTakenError:
    if text[at : at + 1] in (b"'", b'"', b"`"):
        return NotTakenError("it opens a literal or a name that is never closed")
    if text[at : at + 1] in (b"#", b"-"):
        return NotTakenError("a comment in it holds a control character")
    return NotTakenError(f"the byte 0x{text[at]:02x} stands outside of literals")


def called(token: Token, after: str) -> str:
    """The function that a name calls, in upper case; empty where no parenthesis follows.

    Servers find their own functions also by a quoted name. Arguments: `after` is the word of the
    token behind.
    """
    if after != "(" or token.kind not in {TokenKind.WORD, TokenKind.NAME}:
        return ""
    return unquote(token.raw).upper()


def unquote(raw: bytes) -> str:
    """A name as it is, without its quotes."""
    quote = raw[:1]
    if quote in {b"`", b"'", b'"'}:
        raw = raw[1:-1].replace(quote * 2, quote)
    return raw.decode("utf-8", "surrogateescape")
