"""The lines of an index: what each says, and how somebody reads them who looks for a few.

`index.py` writes and reads whole indexes as fast as a restore needs it. `IndexLines` here inflates
with Python's own library: the API must not load, with every cold start, what works on archives.
"""

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, get_args

from pydantic import ValidationError

from lcp_backup.archive.segment import IndexedMember, MemberType, Segment
from lcp_backup.archive.streams import RangeSource
from lcp_backup.document import Document, read_document
from lcp_backup.errors import ArchiveDamaged
from lcp_backup.invalid import first_problem

MEMBERS: Final = b'{"members":['
"""How a line of members begins, and no other."""
_MAX_LINE = 64 << 20
"""Far beyond what a line of members can take; a line without an end stops here."""
_MOST_FIRST = 32 << 10
"""Bytes at a line's beginning that hold its first name, however it is written."""
_MOST_AT = 2**32 - 1
_MOST_SEGMENTS = 1 << 24
"""A file, or an archive, of 128 TiB."""
_MOST_SIZE = 2**63 - 1
_GZIP = 31
_PIECE = 64 << 10
_OUTPUT = 256 << 10
_FIRST_READ, _MOST_READ = 256 << 10, 8 << 20
"""Bytes; who wants what stands at the beginning does not fetch the rest."""
_TYPES: Final = frozenset(get_args(MemberType.__value__))
_decoder: Final = json.JSONDecoder()


class IndexHeader(Document):
    """The first line: what the index is of, and in which format it is written."""

    format: Literal[1] = 1
    archive: str
    sources: tuple[str, ...] = ()
    """Volume: the ids of other backups in whose archives members may lie."""


class IndexTrailer(Document):
    """The last line: what all segments come to; an index without it was cut short."""

    segments: int
    """Of the archive; those of sources are not counted."""
    members: int = 0
    size: int
    """Bytes of the whole archive, with what stands before the first and after the last segment."""
    raw_size: int
    """Bytes of the whole archive once inflated."""


class IndexLines:
    """One pass over the lines of an index, which are not looked into.

    What is read to its end is checked: whether it is whole, and its SHA-256. Who stops before has
    what gzip and JSON make of it, which is enough to show it and not enough to restore by it.

    Args:
        archive_name: the archive it must be the index of, such as `volume.tgz`.
        sha256: of the whole index object, hexadecimal.

    Raises, here and from `between`:
        ArchiveDamaged: it is cut short, changed, or of another archive.
        UnknownFormat: a version of the service wrote it that this one cannot read.
    """

    def __init__(self, source: RangeSource, *, archive_name: str, sha256: str) -> None:
        self._what = f"the index of {archive_name}"
        self._sha256 = sha256
        self._digest = hashlib.sha256()
        self._lines = split_lines(self._inflated(source), self._what)
        header = read_document(IndexHeader, next(self._lines, b""), self._what)
        if header.archive != archive_name:
            raise ArchiveDamaged(f"{self._what} was written for {header.archive[:100]!r}")
        self.sources = header.sources
        """The ids that members name by a number."""

    def between(self) -> Iterator[bytes]:
        """Every line between header and trailer, in their order."""
        line = next(self._lines, b"")
        for following in self._lines:
            yield line
            line = following
        self._parsed(IndexTrailer, line)
        if self._digest.hexdigest() != self._sha256:
            raise ArchiveDamaged(f"{self._what} is not what was written: its SHA-256 differs")

    def members(self, line: bytes) -> list[IndexedMember]:
        """What a line of members holds."""
        try:
            return members_in(line, most_source=len(self.sources))
        except ValueError as error:
            raise self._damaged(str(error)) from None

    def segment(self, line: bytes) -> Segment:
        """What a line of a segment says."""
        return self._parsed(Segment, line)

    def first_name(self, line: bytes) -> str:
        """The name of the first member in a line, which is not read any further."""
        try:
            start = line[len(MEMBERS) + 1 : _MOST_FIRST].decode(errors="ignore")
            return _name(_decoder.raw_decode(start)[0])
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise self._damaged(str(error)) from None

    def _parsed[T: Document](self, model: type[T], line: bytes) -> T:
        try:
            return model.model_validate_json(line)
        except ValidationError as error:
            raise self._damaged(first_problem(error).message) from None

    def _damaged(self, problem: str) -> ArchiveDamaged:
        return ArchiveDamaged(f"{self._what} is damaged: {problem}")

    def _inflated(self, source: RangeSource) -> Iterator[bytes]:
        inflater = zlib.decompressobj(_GZIP)
        at, length = 0, _FIRST_READ
        while at < source.size and not inflater.eof:
            chunk = source.read(at, min(length, source.size - at))
            self._digest.update(chunk)
            at += len(chunk)
            length = min(2 * length, _MOST_READ)
            for begin in range(0, len(chunk), _PIECE):
                piece = chunk[begin : begin + _PIECE]
                while piece:
                    try:
                        yield inflater.decompress(piece, _OUTPUT)
                    except zlib.error as error:
                        raise self._damaged(str(error)) from None
                    piece = inflater.unconsumed_tail
        if not inflater.eof or at < source.size:
            raise self._damaged(f"its gzip data does not end at its end, byte {source.size}")


def split_lines(raws: Iterable[bytes], what: str) -> Iterator[bytes]:
    """The lines of an inflated index; `what` is what to call it.

    Raises ArchiveDamaged for a line without an end.
    """
    rest = b""
    for raw in raws:
        *lines, rest = (rest + raw).split(b"\n")
        yield from lines
        if len(rest) > _MAX_LINE:
            raise ArchiveDamaged(f"{what} holds a line of more than {_MAX_LINE} bytes")
    if rest:
        raise ArchiveDamaged(f"{what} is cut short: its last line has no end")


def members_in(line: bytes, *, most_source: int) -> list[IndexedMember]:
    """The members that a line lists; raises ValueError when it does not do so.

    Arguments: `most_source` is how many sources the index names.
    """
    try:
        rows = json.loads(line)["members"]
        members = _members(rows, most_source=most_source)
        # (JSON can spell half a character, which is no text; nothing else is spelled in this
        # way but control characters.)
        if b"\\u" in line:
            for row in rows:
                str(row[0]).encode()
    except (TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return members


def written_name(name: str) -> str | dict[str, str]:
    """A name in JSON: as text if it is that, and otherwise its bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return {"base64": base64.b64encode(os.fsencode(name)).decode()}
    return name


def _members(rows: list[list[Any]], *, most_source: int) -> list[IndexedMember]:
    """Raises ValueError and what else there is. What a later version adds stands at the end.

    By columns: there may be a million rows.
    """
    if not rows:
        return []
    fields = len(IndexedMember._fields)
    if any(len(row) != fields for row in rows):
        rows = [list(IndexedMember(*row[:fields])) for row in rows]
    names, types, *numbers, inodes, sha256s, mores = zip(*rows, strict=True)
    if set(map(type, names)) != {str}:
        rows = [[_name(row[0]), *row[1:]] for row in rows]
    if (
        not set(types) <= _TYPES
        or not all(set(map(type, column)) == {int} for column in (*numbers, inodes, mores))
        or not set(map(type, sha256s)) <= {str, type(None)}
    ):
        raise ValueError("a member is no list of a name, a type, and whole numbers")
    if not all(names):
        raise ValueError("a member has no name")
    sources, segments, at, sizes = numbers[:4]
    if min(sources) < 0 or max(sources) > most_source:
        raise ValueError("a member lies in no source")
    if (
        min(*segments, *at, *mores, 0) < 0
        or max(at) > _MOST_AT
        or max(*segments, *mores) > _MOST_SEGMENTS
    ):
        raise ValueError("a member lies in no segment")
    if min(sizes) < 0 or max(sizes) > _MOST_SIZE:
        raise ValueError("a member has a size that no file can have")
    return list(map(IndexedMember._make, rows))


def _name(name: Any) -> str:
    if type(name) is str:
        return name
    return os.fsdecode(base64.b64decode(name["base64"], validate=True))
