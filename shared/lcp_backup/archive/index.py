"""The index object: which segments an archive has and what they hold, written and read as a stream.

Form: gzip'd JSON lines. The first is the header (IndexHeader), the last the trailer (IndexTrailer),
which says that the index is whole. Between them stands a line for every segment of the archive, in
their order. The index of a volume also lists the backup's members, many to a line; and as they may
lie in archives of other backups (its *sources*), the segments of those that hold any of them.
Neither side's memory grows with the number of lines. docs/format.md has the whole of it.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from isal import isal_zlib
from pydantic import ValidationError

from lcp_backup.archive.deflate import inflate_stream
from lcp_backup.archive.index_lines import (
    MEMBERS,
    IndexHeader,
    IndexTrailer,
    members_in,
    split_lines,
    written_name,
)
from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.archive.streams import ByteSink, RangeSource
from lcp_backup.document import Document, read_document
from lcp_backup.errors import ArchiveDamaged
from lcp_backup.invalid import first_problem

_WRITE_SIZE = 256 << 10
_READ_SIZE = 1 << 20
_MEMBERS_IN_LINE = 1000
_LEVEL = 2
_GZIP = 31


class IndexWriter:
    """Streams an index into a sink; the caller completes or aborts that sink.

    Arguments: `sources` are the ids of backups whose archives hold some of the members.
    """

    def __init__(self, sink: ByteSink, archive_name: str, sources: Sequence[str] = ()) -> None:
        self._sink = sink
        self._deflate = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._sha256 = hashlib.sha256()
        self._members: list[IndexedMember] = []
        self._members_written = 0
        self._segments_sha256 = hashlib.sha256()
        self.segments = 0
        """How many of the archive's own were added."""
        self.size = 0
        """Bytes of the index object so far; final after `end`."""
        self._line(IndexHeader(archive=archive_name, sources=tuple(sources)), whole=True)

    def add(self, segment: Segment) -> None:
        """Appends the line of the archive's next segment, or of one that lies in a source."""
        if segment.source:
            fields = segment.model_dump(mode="json", exclude_defaults=True)
            self._json({"number": segment.number, **fields})
        else:
            self._line(segment, whole=False)
            self._segments_sha256.update(bytes.fromhex(segment.sha256))
            self.segments += 1

    @property
    def segments_sha256(self) -> str:
        """The SHA-256 of the SHA-256s of the archive's own segments, in their order."""
        return self._segments_sha256.hexdigest()

    def add_member(self, member: IndexedMember) -> None:
        """Lists the next member."""
        self._members.append(member)
        if len(self._members) == _MEMBERS_IN_LINE:
            self._write_members()

    def end(self, *, archive_size: int, raw_size: int) -> str:
        """Writes the trailer and hands everything to the sink; returns the index's SHA-256."""
        if self._members:
            self._write_members()
        self._line(
            IndexTrailer(
                segments=self.segments,
                members=self._members_written,
                size=archive_size,
                raw_size=raw_size,
            ),
            whole=True,
        )
        self._take(self._deflate.flush())
        self._hand_over()
        return self._sha256.hexdigest()

    def _write_members(self) -> None:
        members, self._members = self._members, []
        self._members_written += len(members)
        try:
            self._json({"members": members})
        except UnicodeEncodeError:  # a name that is no text
            self._json({"members": [(written_name(name), *rest) for name, *rest in members]})

    def _line(self, document: Document, *, whole: bool) -> None:
        line = document.model_dump_json(exclude_defaults=not whole)
        self._take(self._deflate.compress(line.encode() + b"\n"))

    def _json(self, fields: dict[str, Any]) -> None:
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


class IndexReader:
    """One pass over an index.

    The lines come as the index is read: only when the last has come without an error is the index
    known to be whole. What they are used for until then must be possible to undo, or be checked
    itself (a segment's bytes are, by `read.read_segments`).

    Args:
        archive_name: the archive it must be the index of, such as `volume.tgz`.
        sha256: what the manifest says of the whole index object; None leaves that out.

    Raises, here and from `lines`:
        ArchiveDamaged: it is cut short, changed, of another archive, or its segments do not lie
            one after the other.
        UnknownFormat: a version of the service wrote it that this one cannot read.
    """

    def __init__(
        self, source: RangeSource, *, archive_name: str, sha256: str | None = None
    ) -> None:
        self._what = f"the index of {archive_name}"
        self._sha256 = sha256
        self._digest = hashlib.sha256()
        raws = inflate_stream(_chunks(source, self._digest), name=self._what)
        self._lines = split_lines(raws, self._what)
        self._number = 0
        self._segments = 0
        self._members = 0
        self._end: int | None = None
        header = read_document(IndexHeader, next(self._lines, b""), self._what)
        if header.archive != archive_name:
            raise ArchiveDamaged(f"{self._what} was written for {header.archive[:100]!r}")
        self.sources = header.sources
        """The ids that members name by a number."""

    def lines(self) -> Iterator[Segment | list[IndexedMember]]:
        """Every line between header and trailer, in their order."""
        return self._parsed_lines(with_members=True)

    def segments(self) -> Iterator[Segment]:
        """Every segment; what stands between them is passed over, and only its SHA-256 checked."""
        for line in self._parsed_lines(with_members=False):
            if isinstance(line, Segment):
                yield line

    def _parsed_lines(self, *, with_members: bool) -> Iterator[Segment | list[IndexedMember]]:
        line = next(self._lines, None)
        while line is not None:
            following = next(self._lines, None)
            self._number += 1
            if following is None:
                break
            if not line.startswith(MEMBERS):
                yield self._segment(line)
            elif with_members:
                yield self._members_of(line)
            line = following
        if line is None:
            raise ArchiveDamaged(f"{self._what} is cut short: it ends after its header")
        trailer = self._parsed(IndexTrailer, line)
        all_came = trailer.segments == self._segments and (
            not with_members or trailer.members == self._members
        )
        if not all_came or trailer.size < (self._end or 0):
            raise ArchiveDamaged(
                f"{self._what} is not whole: it lists {self._segments} segments up to byte"
                f" {self._end or 0} with {self._members} members, and announces"
                f" {trailer.segments} in {trailer.size} bytes with {trailer.members}"
            )
        if self._sha256 is not None and self._digest.hexdigest() != self._sha256:
            raise ArchiveDamaged(f"{self._what} is not what was written: its SHA-256 differs")

    def _segment(self, line: bytes) -> Segment:
        segment = self._parsed(Segment, line)
        if segment.source:
            if not 0 < segment.source <= len(self.sources) or b'"number"' not in line:
                raise self._damaged("a segment lies in no source")
            return segment
        if self._end is not None and segment.offset != self._end:
            raise ArchiveDamaged(
                f"{self._what} is not whole: segment {self._segments + 1} starts at byte"
                f" {segment.offset}, but segment {self._segments} ends at byte {self._end}"
            )
        self._end = segment.offset + segment.size
        self._segments += 1
        return segment.model_copy(update={"number": self._segments - 1})

    def _members_of(self, line: bytes) -> list[IndexedMember]:
        try:
            members = members_in(line, most_source=len(self.sources))
        except ValueError as error:
            raise self._damaged(str(error)) from None
        self._members += len(members)
        return members

    def _parsed[T: Document](self, model: type[T], line: bytes) -> T:
        try:
            return model.model_validate_json(line)
        except ValidationError as error:
            raise self._damaged(first_problem(error).message) from None

    def _damaged(self, problem: str) -> ArchiveDamaged:
        return ArchiveDamaged(f"{self._what} is damaged at its entry {self._number}: {problem}")


def read_index(
    source: RangeSource, *, archive_name: str, sha256: str | None = None
) -> Iterator[Segment]:
    """The segments of an archive in order, straight from its index; those of sources left out.

    Arguments, promises and errors are those of IndexReader.
    """
    for segment in IndexReader(source, archive_name=archive_name, sha256=sha256).segments():
        if not segment.source:
            yield segment


def read_members(
    source: RangeSource, *, archive_name: str, sha256: str | None = None
) -> Iterator[IndexedMember]:
    """The members of a volume in their order, straight from its index; else as `read_index`."""
    for line in IndexReader(source, archive_name=archive_name, sha256=sha256).lines():
        if not isinstance(line, Segment):
            yield from line


def _chunks(source: RangeSource, digest: "hashlib._Hash") -> Iterator[bytes]:
    for offset in range(0, source.size, _READ_SIZE):
        chunk = source.read(offset, min(_READ_SIZE, source.size - offset))
        digest.update(chunk)
        yield chunk
