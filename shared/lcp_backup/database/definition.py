"""A table's definition taken apart: what a load creates first, and what it adds after the rows.

A secondary index that is built once all rows are there is sorted, and written once; one that grows
with every row costs more than the rows do. Foreign keys come last of all: MySQL wants the index of
the table they point to (error 1822), which may not stand yet.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lcp_backup.database.policy import unquote

_TOKEN = re.compile(
    rb"(?P<space>\s+)"
    rb"|(?P<comment>/\*.*?\*/)"
    rb"|(?P<string>'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\")"
    rb"|(?P<quoted>`(?:[^`]|``)*`)"
    rb"|(?P<word>[A-Za-z0-9_$@\x80-\xff]+)"
    rb"|(?P<other>.)",
    re.DOTALL,
)
_INDEX_WORDS: Final = frozenset({b"KEY", b"INDEX"})
_WHOLE_WORDS: Final = frozenset({b"FULLTEXT", b"SPATIAL"})
"""Building one of these later makes the server copy the table, or lists it at another place."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A CREATE TABLE statement in the parts in which it is executed."""

    create: bytes
    """The statement without what is set aside."""
    indexes: tuple[bytes, ...] = ()
    """Secondary indexes, as they stood in the statement and in their order."""
    foreign_keys: tuple[bytes, ...] = ()
    references: tuple[str, ...] = ()
    """The tables that the foreign keys point to."""
    counted: bool = False
    """Whether the table has exactly as many rows as were inserted into it."""


def taken_apart(create: bytes, *, set_indexes_aside: bool) -> Definition:
    """Takes secondary indexes and foreign keys out of a CREATE TABLE statement, where that is safe.

    The table that comes of executing the parts in order is, to SHOW CREATE TABLE, the one that the
    whole statement makes. That holds for InnoDB tables as dump programs write them; any other
    statement comes back whole. Indexes stay when the statement has a FULLTEXT or SPATIAL one, no
    primary key (a unique index then is the table), or counts up a column of a secondary index.

    Args:
        create: one statement that begins with CREATE TABLE.
        set_indexes_aside: False leaves the indexes in place: not worth it for a few rows.
    """
    body = _body(create)
    if body is None or not _is_plain_innodb(create, body[1]):
        return Definition(create)
    options = create[body[1] :]
    elements = list(_elements(create, *body))
    kinds = [_kind(create[start:end]) for start, end in elements]
    indexes = [number for number, kind in enumerate(kinds) if kind == "index"]
    if not set_indexes_aside or "whole" in kinds or not _leads_primary_key(create, elements, kinds):
        indexes = []
    foreign = [number for number, kind in enumerate(kinds) if kind == "foreign key"]
    aside = {*indexes, *foreign}
    kept = [create[start:end] for at, (start, end) in enumerate(elements) if at not in aside]
    if not aside or not kept:
        return Definition(create, counted=True)
    texts = [create[start:end].strip() for start, end in elements]
    return Definition(
        create[: body[0]] + b",".join(kept).rstrip() + b"\n" + options,
        tuple(texts[number] for number in indexes),
        tuple(texts[number] for number in foreign),
        tuple(_referenced(texts[number]) for number in foreign),
        counted=True,
    )


def _tokens(text: bytes, start: int, end: int) -> Iterator[re.Match[bytes]]:
    for match in _TOKEN.finditer(text, start, end):
        if match.lastgroup not in {"space", "comment"}:
            yield match


def _body(create: bytes) -> tuple[int, int] | None:
    """Where the list of columns and keys begins, after its parenthesis, and where it ends."""
    depth = 0
    begin = 0
    for token in _tokens(create, 0, len(create)):
        if token[0] == b"(":
            depth += 1
            begin = begin or token.end()
        elif token[0] == b")":
            depth -= 1
            if depth == 0:
                return begin, token.start()
    return None


def _is_plain_innodb(create: bytes, body_end: int) -> bool:
    options = [token[0].upper() for token in _tokens(create, body_end, len(create))]
    # A system-versioned table refuses to be altered, and holds more rows than it shows.
    if b"VERSIONING" in options or b"ENGINE" not in options:
        return False
    # (The first one: a partitioned table names it again for each partition.)
    return options[options.index(b"ENGINE") :][1:3] == [b"=", b"INNODB"]


def _elements(create: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    depth = 0
    for token in _tokens(create, start, end):
        if token[0] == b"(":
            depth += 1
        elif token[0] == b")":
            depth -= 1
        elif token[0] == b"," and depth == 0:
            yield start, token.start()
            start = token.end()
    yield start, end


def _words(element: bytes) -> list[bytes]:
    """The first tokens of an element: enough to tell what it is."""
    found = []
    for token in _tokens(element, 0, len(element)):
        found.append(token[0] if token.lastgroup == "quoted" else token[0].upper())
        if len(found) == 4:  # noqa: PLR2004 -- CONSTRAINT `name` FOREIGN KEY
            break
    return found


def _kind(element: bytes) -> str:
    words = [*_words(element), b"", b"", b"", b""]
    if words[0] in _WHOLE_WORDS:
        return "whole"
    if words[0] in _INDEX_WORDS or (words[0] == b"UNIQUE" and words[1] in _INDEX_WORDS):
        return "index"
    if words[0] == b"PRIMARY" and words[1] == b"KEY":
        return "primary key"
    if words[0] == b"CONSTRAINT" and words[2] == b"FOREIGN" and words[3] == b"KEY":
        return "foreign key"
    return "other"


def _leads_primary_key(create: bytes, elements: list[tuple[int, int]], kinds: list[str]) -> bool:
    """Whether there is a primary key, and a column that counts up is the first of it."""
    if "primary key" not in kinds:
        return False
    start, end = elements[kinds.index("primary key")]
    first = next(_quoted(create[start:end]), None)
    for (begin, stop), kind in zip(elements, kinds, strict=True):
        column = create[begin:stop]
        if kind == "other" and any(word == b"AUTO_INCREMENT" for word in _upper_words(column)):
            return next(_quoted(column), None) == first
    return True


def _upper_words(element: bytes) -> Iterator[bytes]:
    for token in _tokens(element, 0, len(element)):
        if token.lastgroup == "word":
            yield token[0].upper()


def _quoted(element: bytes) -> Iterator[bytes]:
    return (it[0] for it in _tokens(element, 0, len(element)) if it.lastgroup == "quoted")


def _referenced(foreign_key: bytes) -> str:
    """The table after REFERENCES; a dump program quotes it, and another schema was refused."""
    seen = False
    for token in _tokens(foreign_key, 0, len(foreign_key)):
        if seen:
            return unquote(token[0])
        seen = token.lastgroup == "word" and token[0].upper() == b"REFERENCES"
    return ""
