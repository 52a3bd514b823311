"""The index object: which segments an archive has, written and read as a stream.

Form: gzip'd JSON lines. The first is the header `{"format", "archive"}`, then one line per segment
(`segment.Segment`, what is not set is left out), and last the trailer `{"segments", "size",
"raw_size"}`, which says that the index is whole. Neither side's memory grows with their number.
docs/format.md has the whole of it.
"""

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from typing import Any, Final, Literal, get_args

from pydantic import ValidationError

from lcp_backup.archive.deflate import inflate_stream
from lcp_backup.archive.segment import Continuation, IndexedMember, MemberType, Segment
from lcp_backup.archive.streams import ByteSink, RangeSource
from lcp_backup.document import Document, read_document
from lcp_backup.errors import ArchiveDamaged
from lcp_backup.invalid import first_problem

_WRITE_SIZE = 256 << 10
_READ_SIZE = 1 << 20
_MAX_LINE = 64 << 20
"""Far beyond what a segment's list of members can take; a line without an end stops here."""

_GZIP = 31
_TYPES: Final = frozenset(get_args(MemberType.__value__))


class IndexHeader(Document):
    """The first line: what the index is of, and in which format it is written."""

    format: Literal[1] = 1
    archive: str


class IndexTrailer(Document):
    """The last line: what all segments come to; an index without it was cut short."""

    segments: int
    size: int
    """Bytes of the whole archive, with what stands before the first and after the last segment."""
    raw_size: int
    """Bytes of the whole archive once inflated."""


class IndexWriter:
    """Streams an index into a sink; the caller completes or aborts that sink."""

    def __init__(self, sink: ByteSink, archive_name: str) -> None:
        self._sink = sink
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._sha256 = hashlib.sha256()
        self.segments = 0
        self.size = 0
        """Bytes of the index object so far; final after `end`."""
        self._line(IndexHeader(archive=archive_name))

    def add(self, segment: Segment) -> None:
        """Appends a segment's line."""
        self._segment(segment)
        self.segments += 1

    def end(self, *, archive_size: int, raw_size: int) -> str:
        """Writes the trailer and hands everything to the sink; returns the index's SHA-256."""
        self._line(IndexTrailer(segments=self.segments, size=archive_size, raw_size=raw_size))
        self._take(self._deflate.flush())
        self._hand_over()
        return self._sha256.hexdigest()

    def _line(self, document: Document) -> None:
        line = document.model_dump_json(exclude_defaults=not isinstance(document, IndexHeader))
        self._take(self._deflate.compress(line.encode() + b"\n"))

    def _segment(self, segment: Segment) -> None:
        if not segment.members and segment.continues is None:
            self._line(segment)
            return
        fields = segment.model_dump(mode="json", exclude_defaults=True)
        fields["members"] = [(_written(name), *rest) for name, *rest in segment.members]
        if segment.continues is not None:
            name, *rest = segment.continues
            fields["continues"] = (_written(name), *rest)
        line = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        self._take(self._deflate.compress(line.encode() + b"\n"))

    def _take(self, data: bytes) -> None:
        self._waiting.append(data)
        self._waiting_size += len(data)
        if self._waiting_size >= _WRITE_SIZE:
            self._hand_over()

    def _hand_over(self) -> None:
        data = b"".join(self._waiting)
        self._waiting = []
        self._waiting_size = 0
        self._sha256.update(data)
        self.size += len(data)
        if data:
            self._sink.write(data)


def read_index(
    source: RangeSource, *, archive_name: str, sha256: str | None = None
) -> Iterator[Segment]:
    """The segments of an archive in order, straight from its index.

    They come as the index is read: only when the last has come without an error is the index known
    to be whole. What they are used for until then must be possible to undo, or be checked itself
    (a segment's bytes are, by `read.read_segments`).

    Args:
        archive_name: the archive it must be the index of, such as `volume.tgz`.
        sha256: what the manifest says of the whole index object; None leaves that out.

    Raises:
        ArchiveDamaged: it is cut short, changed, of another archive, or its segments do not lie
            one after the other.
        UnknownFormat: a version of the service wrote it that this one cannot read.
    """
    what = f"the index of {archive_name}"
    digest = hashlib.sha256()
    lines = _lines(_chunks(source, digest), what)
    first = next(lines, b"")
    header = read_document(IndexHeader, first, what)
    if header.archive != archive_name:
        raise ArchiveDamaged(f"{what} was written for {header.archive[:100]!r}")
    count = 0
    end: int | None = None
    line = next(lines, None)
    while line is not None:
        following = next(lines, None)
        if following is None:
            break
        segment = _segment(line, what, count + 1)
        if end is not None and segment.offset != end:
            raise ArchiveDamaged(
                f"{what} is not whole: segment {count + 1} starts at byte {segment.offset},"
                f" but segment {count} ends at byte {end}"
            )
        yield segment
        count += 1
        end = segment.offset + segment.size
        line = following
    if line is None:
        raise ArchiveDamaged(f"{what} is cut short: it ends after its header")
    trailer = _parsed(IndexTrailer, line, what, count + 1)
    if trailer.segments != count or trailer.size < (end or 0):
        raise ArchiveDamaged(
            f"{what} is not whole: it lists {count} segments up to byte {end or 0} and announces"
            f" {trailer.segments} in {trailer.size} bytes"
        )
    if sha256 is not None and digest.hexdigest() != sha256:
        raise ArchiveDamaged(f"{what} is not what was written: its SHA-256 differs")


def _chunks(source: RangeSource, digest: "hashlib._Hash") -> Iterator[bytes]:
    for offset in range(0, source.size, _READ_SIZE):
        chunk = source.read(offset, min(_READ_SIZE, source.size - offset))
        digest.update(chunk)
        yield chunk


def _lines(chunks: Iterator[bytes], what: str) -> Iterator[bytes]:
    rest = b""
    for raw in inflate_stream(chunks, name=what):
        *lines, rest = (rest + raw).split(b"\n")
        yield from lines
        if len(rest) > _MAX_LINE:
            raise ArchiveDamaged(f"{what} holds a line of more than {_MAX_LINE} bytes")
    if rest:
        raise ArchiveDamaged(f"{what} is cut short: its last line has no end")


def _segment(line: bytes, what: str, number: int) -> Segment:
    if b'"members"' not in line and b'"continues"' not in line:
        # (JSON can spell these names in other ways: nothing of that is taken.)
        read = _parsed(Segment, line, what, number)
        return read.model_copy(update={"members": (), "continues": None})
    try:
        fields = json.loads(line)
        members = tuple(map(_member, fields.pop("members", ())))
        continues = fields.pop("continues", None)
        segment = Segment.model_validate(fields)
    except ValidationError as error:
        raise _damaged(what, number, first_problem(error).message) from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise _damaged(what, number, str(error)) from None
    return segment.model_copy(
        update={
            "members": members,
            "continues": None if continues is None else _continuation(continues, what, number),
        }
    )


def _member(fields: list[Any]) -> IndexedMember:
    """Raises ValueError and what else there is. What a later version adds stands at the end."""
    name, kind, *numbers = fields
    at, size, mtime_ns, mode, uid, gid = numbers[:6]
    if kind not in _TYPES or not all(type(it) is int for it in numbers[:6]):
        raise ValueError("a member is no list of a name, a type and six whole numbers")
    return IndexedMember(_read(name), kind, at, size, mtime_ns, mode, uid, gid)


def _continuation(fields: list[Any], what: str, number: int) -> Continuation:
    try:
        name, offset, size = fields[:3]
        if type(offset) is not int or type(size) is not int:
            raise ValueError("a continuation is no list of a name and two whole numbers")
        return Continuation(_read(name), offset, size)
    except (ValueError, TypeError, LookupError) as error:
        raise _damaged(what, number, str(error)) from None


def _written(name: str) -> str | dict[str, str]:
    """A name in JSON: as text if it is that, and otherwise its bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return {"base64": base64.b64encode(os.fsencode(name)).decode()}
    return name


def _read(name: Any) -> str:
    if type(name) is str:
        name.encode()  # JSON can spell half a character, which is no text: ValueError
        return name
    return os.fsdecode(base64.b64decode(name["base64"], validate=True))


def _damaged(what: str, number: int, problem: str) -> ArchiveDamaged:
    return ArchiveDamaged(f"{what} is damaged at its entry {number}: {problem}")


def _parsed[T: Document](model: type[T], line: bytes, what: str, number: int) -> T:
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        raise _damaged(what, number, first_problem(error).message) from None
