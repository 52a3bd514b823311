"""Segments, as the index of an archive lists them; `write` makes them, and `read` opens them."""

from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from lcp_backup.document import Document


class Section(StrEnum):
    """What a database segment holds, in the order of a dump."""

    HEAD = "head"
    """Everything before the first table: session settings, DROP/CREATE DATABASE, USE."""
    DEFINITION = "definition"
    """One table's DROP and CREATE TABLE (or a view's stand-in table)."""
    ROWS = "rows"
    """Row statements of one table, with the LOCK/UNLOCK and key switches around them."""
    TRIGGERS = "triggers"
    """Triggers of one table."""
    VIEW = "view"
    """One view's final definition."""
    ROUTINES = "routines"
    EVENTS = "events"
    TAIL = "tail"
    """The settings put back at the end, and the trailer."""


type MemberType = Literal["file", "folder", "link", "second-name"]
"""What a member of a volume is; a second name is a hard link to a file before it."""


class IndexedMember(NamedTuple):
    """One member of a volume, as the index lists it: what it is, and where its bytes lie."""

    name: str
    """Relative to the folder, as `os.fsdecode` gives it: exact, whatever bytes it has."""
    type: MemberType
    source: int
    """In whose archive it lies: 0 is the backup's own, others count from 1 in `sources`."""
    segment: int
    """The segment of that archive in which its tar header begins, counted from 0."""
    at: int
    """Where its tar header begins among the segment's raw bytes."""
    size: int
    """Bytes of a file's content; 0 for all others."""
    mtime_ns: int
    mode: int
    """Permission bits."""
    uid: int
    gid: int
    ctime_ns: int = 0
    """When content or attributes were changed last; 0 where that does not tell a later change."""
    inode: int = 0
    sha256: str | None = None
    """Of a file's content, hexadecimal; None where it is not known."""
    more: int = 0
    """In how many more segments, those that follow, the content goes on."""


type _Bytes = Annotated[int, Field(ge=0, le=1 << 48)]
"""None that S3 or memory would be asked for in vain: an archive is a thousand times smaller."""


class Segment(Document):
    """A stretch of an archive that is a whole gzip member, so it can be inflated alone."""

    source: int = 0
    """Volume: in whose archive it lies, as in IndexedMember."""
    number: int = Field(default=0, ge=0, le=1 << 24, exclude=True)
    """Volume: which of that archive's segments it is, counted from 0."""
    offset: _Bytes
    """First byte, counted from the start of the archive."""
    size: _Bytes
    """Bytes in the archive."""
    raw_size: _Bytes
    """Bytes once inflated."""
    sha256: str
    """Of the `size` bytes in the archive, hexadecimal."""
    members: int = 0
    """Volume: how many members begin in it, also such as the backup does not hold any more."""
    first: _Bytes = 0
    """Volume: at which raw byte the first of them begins; a file that began in an earlier segment
    goes on before it, or in the whole segment when none begins here."""
    section: Section | None = None
    """Database: what the segment holds."""
    table: str | None = None
    """Database: the table or view the segment belongs to."""
