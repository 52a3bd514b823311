"""A table's definition taken apart: what a load creates first, and what it adds after the rows.

A secondary index that is built once all rows are there is sorted, and written once; one that grows
with every row costs more than the rows do. Foreign keys come last of all: MySQL wants the index of
the table they point to (error 1822), which may not stand yet.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

from lcp_backup.database.tokens import EVERY, Token, TokenKind, tokens, unquote

_INDEX_WORDS: Final = frozenset({"KEY", "INDEX"})
_WHOLE_WORDS: Final = frozenset({"FULLTEXT", "SPATIAL"})
"""Building one of these later makes the server copy the table, or lists it at another place."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A CREATE TABLE statement in the statements' texts of which it is executed."""

    create: bytes
    """The statement without what is set aside."""
    indexes: tuple[bytes, ...] = ()
    """Secondary indexes, as they stood in the statement and in their order."""
    foreign_keys: tuple[bytes, ...] = ()
    references: tuple[str, ...] = ()
    """The tables that the foreign keys point to."""
    counted: bool = False
    """Whether the table has exactly as many rows as were inserted into it."""

    @classmethod
    def executed(cls) -> Self:
        """What is left to do of a definition that was executed whole: nothing."""
        return cls(b"")


def taken_apart(create: bytes, *, set_indexes_aside: bool) -> Definition:
    """Takes secondary indexes and foreign keys out of a CREATE TABLE statement, where that is safe.

    The table that comes of executing them in order is, to SHOW CREATE TABLE, the one that the
    whole statement makes. That holds for InnoDB tables as dump programs write them; any other
    statement comes back whole. Indexes stay when the statement has a FULLTEXT or SPATIAL one, no
    primary key (a unique index then is the table), or counts up a column of a secondary index.

    Args:
        create: one statement that begins with CREATE TABLE, as `Policy` built it.
        set_indexes_aside: False leaves the indexes in place: not worth it for a few rows.
    """
    read = list(tokens(create, EVERY))
    body = _body(read)
    if body is None or not _is_plain_innodb(read[body[1] :]):
        return Definition(create)
    begin, end = body
    elements = list(_elements(read[begin:end]))
    kinds = [_kind(element) for element in elements]
    indexes = [number for number, kind in enumerate(kinds) if kind == "index"]
    if not set_indexes_aside or "whole" in kinds or not _leads_primary_key(elements, kinds):
        indexes = []
    foreign = [number for number, kind in enumerate(kinds) if kind == "foreign key"]
    aside = {*indexes, *foreign}
    if not aside or len(aside) == len(elements):
        return Definition(create, counted=True)
    texts = [create[it[0].start : it[-1].end] for it in elements]
    kept = [text for number, text in enumerate(texts) if number not in aside]
    return Definition(
        create[: read[begin].start] + b",\n  ".join(kept) + b"\n" + create[read[end].start :],
        tuple(texts[number] for number in indexes),
        tuple(texts[number] for number in foreign),
        tuple(_referenced(elements[number]) for number in foreign),
        counted=True,
    )


def index_name(index: bytes) -> str | None:
    """The name of an index that was set aside; None where a server would choose it."""
    found = _first_name(list(tokens(index, EVERY)))
    return None if found is None else unquote(found)


def references(definition: bytes) -> tuple[str, ...]:
    """The tables that a CREATE or ALTER TABLE statement, as `Policy` built it, points to."""
    if b"REFERENCES" not in definition.upper():
        return ()
    read = list(tokens(definition, EVERY))
    return tuple(
        unquote(following.raw) for token, following in pairwise(read) if token.word == "REFERENCES"
    )


def _body(read: Sequence[Token]) -> tuple[int, int] | None:
    """The first token behind the parenthesis of columns and keys, and the one that closes it."""
    depth = 0
    begin = 0
    for number, token in enumerate(read):
        if token.word == "(":
            depth += 1
            begin = begin or number + 1
        elif token.word == ")":
            depth -= 1
            if depth == 0:
                return begin, number
    return None


def _is_plain_innodb(options: Sequence[Token]) -> bool:
    words = [token.word for token in options]
    # A system-versioned table refuses to be altered, and holds more rows than it shows.
    if "VERSIONING" in words or "ENGINE" not in words:
        return False
    # (The first one: a partitioned table names it again for each partition.)
    return words[words.index("ENGINE") :][1:3] == ["=", "INNODB"]


def _elements(body: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """The columns and keys, without the commas between them."""
    depth = start = 0
    for number, token in enumerate(body):
        depth += (token.word == "(") - (token.word == ")")
        if token.word == "," and depth == 0:
            yield body[start:number]
            start = number + 1
    yield body[start:]


def _kind(element: Sequence[Token]) -> str:
    words = [*(token.word for token in element[:4]), "", "", "", ""]
    if words[0] in _WHOLE_WORDS:
        return "whole"
    if words[0] in _INDEX_WORDS or (words[0] == "UNIQUE" and words[1] in _INDEX_WORDS):
        return "index"
    if words[:2] == ["PRIMARY", "KEY"]:
        return "primary key"
    if words[0] == "CONSTRAINT" and words[2:4] == ["FOREIGN", "KEY"]:
        return "foreign key"
    return "other"


def _leads_primary_key(elements: Sequence[Sequence[Token]], kinds: Sequence[str]) -> bool:
    """Whether there is a primary key, and a column that counts up is the first of it."""
    if "primary key" not in kinds:
        return False
    first = _first_name(elements[kinds.index("primary key")])
    for element, kind in zip(elements, kinds, strict=True):
        if kind == "other" and any(token.word == "AUTO_INCREMENT" for token in element):
            return _first_name(element) == first
    return True


def _first_name(element: Sequence[Token]) -> bytes | None:
    return next((token.raw for token in element if token.kind is TokenKind.NAME), None)


def _referenced(foreign_key: Sequence[Token]) -> str:
    """The table after REFERENCES; a dump program quotes it, and another schema was refused."""
    words = [token.word for token in foreign_key]
    at = words.index("REFERENCES") + 1 if "REFERENCES" in words else len(words)
    return unquote(foreign_key[at].raw) if at < len(foreign_key) else ""
