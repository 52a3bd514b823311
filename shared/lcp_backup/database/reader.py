"""Takes the tokens of one statement one after the other, and puts together what is to be sent."""

from typing import Final

from lcp_backup.database.tokens import (
    NotTakenError,
    Reading,
    Token,
    TokenKind,
    tokens,
    unquote,
)

_NOT_SO: Final = "dumps do not write it so"


class StatementReader:
    """A place among the tokens of a statement; those behind it may not even have been read.

    Whatever expects something raises NotTakenError when something else stands there.
    """

    def __init__(self, text: bytes, reading: Reading) -> None:
        self._text = text
        self._unread = tokens(text, reading)
        self.tokens: list[Token] = []
        """Those that were read."""
        self.at = 0
        """How many of them were taken."""
        self.cut: set[int] = set()
        """Which of them are not sent."""

    def read_all(self) -> None:
        """Reads the tokens up to the end, without taking them."""
        self.tokens.extend(self._unread)

    def peek(self, ahead: int = 0) -> Token | None:
        """The next token, or one behind it."""
        while self.at + ahead >= len(self.tokens):
            token = next(self._unread, None)
            if token is None:
                return None
            self.tokens.append(token)
        return self.tokens[self.at + ahead]

    def peek_word(self, ahead: int = 0) -> str:
        """The next token's word; empty at the end and for what is quoted."""
        token = self.peek(ahead)
        return "" if token is None else token.word

    def peek_text(self, ahead: int = 0) -> str:
        """The next token without its quotes; empty at the end."""
        token = self.peek(ahead)
        return "" if token is None else unquote(token.raw)

    def take(self, pattern: str) -> bool:
        """Takes what the pattern says, or nothing when something else than its first word follows.

        It is of words and signs: `|` stands between two of which one is there, `?` behind one that
        may be missing, `*` for a name, number or string.
        """
        for number, word in enumerate(pattern.split()):
            if word == "*":
                self.literal()
            elif self.peek_word() in word.removesuffix("?").split("|"):
                self.at += 1
            elif not number:
                return False
            elif not word.endswith("?"):
                raise NotTakenError(_NOT_SO)
        return True

    def expect(self, pattern: str) -> None:
        """Takes what the pattern says."""
        if not self.take(pattern):
            raise NotTakenError(_NOT_SO)

    def end(self) -> None:
        """Expects that nothing follows."""
        if self.peek() is not None:
            raise NotTakenError(_NOT_SO)

    def word(self) -> str:
        """Takes a word without quotes."""
        token = self.peek()
        if token is None or token.kind is not TokenKind.WORD:
            raise NotTakenError(_NOT_SO)
        self.at += 1
        return token.word

    def name(self) -> str:
        """Takes a name, with quotes of whatever kind or without."""
        token = self.peek()
        if token is None or token.kind is TokenKind.SIGN:
            raise NotTakenError(_NOT_SO)
        self.at += 1
        return unquote(token.raw)

    def number(self) -> None:
        """Takes a whole number."""
        if not self.word().isdigit():
            raise NotTakenError(_NOT_SO)

    def literal(self) -> str:
        """Takes a string, a number or a word that is no call."""
        found = self.name()
        is_introducer = found.startswith("_") and self.peek() and not self.peek_word()
        if self.peek_word() in {"(", "."} or is_introducer:
            raise NotTakenError("its value is an expression")
        return found

    def parentheses(self) -> None:
        """Takes what stands up to the end of the parenthesis that was taken."""
        depth = 1
        while depth:
            token = self.peek()
            if token is None:
                raise NotTakenError("it opens a parenthesis that is never closed")
            self.at += 1
            depth += (token.word == "(") - (token.word == ")")

    def built(self, start: int = 0, end: int | None = None) -> bytes:
        """Tokens as they are sent: a blank or a newline stands where there was any between two."""
        return b"".join(
            (_blank(gap) if number else b"") + self.tokens[at].raw
            for number, (at, gap) in enumerate(self._sent(start, end))
        )

    def built_body(self, start: int) -> bytes:
        """The tokens from there on, with the blanks and plain comments before each."""
        return b"".join(gap + self.tokens[at].raw for at, gap in self._sent(start, None))

    def body_as_written(self) -> bytes:
        """The bytes that follow, without the end of the versioned comment they stand in."""
        last = self.tokens[self.at - 1]
        body = self._text[last.end :].rstrip()
        for _ in range(last.opened):
            if not body.endswith(b"*/"):
                raise NotTakenError("it opens a comment that is never closed")
            body = body[:-2].rstrip()
        return body

    def _sent(self, start: int, end: int | None) -> list[tuple[int, bytes]]:
        """The numbers of the tokens that are not cut, and the gap before each."""
        if end is None:
            self.read_all()
            end = len(self.tokens)
        found = []
        gap = before = b""
        for at in range(start, end):
            token = self.tokens[at]
            gap = token.gap or gap
            if at not in self.cut:
                # Two dashes would begin a comment when a blank follows; and two names, one of
                # which got its quotes here, would be one.
                touch = before + token.raw[:1] in {b"--", b"``"}
                found.append((at, gap or (b" " if touch else b"")))
                gap, before = b"", token.raw[-1:]
        return found


def _blank(gap: bytes) -> bytes:
    """What a gap comes to when comments do not matter."""
    if not gap:
        return b""
    return b"\n" if b"\n" in gap else b" "
