"""Segments, as the index of an archive lists them; `write` makes them, and `read` opens them."""

from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, SkipValidation

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
    """One member of a volume's tar file, as the index lists it."""

    name: str
    """Relative to the folder, as `os.fsdecode` gives it: exact, whatever bytes it has."""
    type: MemberType
    at: int
    """Where its tar header begins among the segment's raw bytes."""
    size: int
    """Bytes of a file's content; 0 for all others."""
    mtime_ns: int
    mode: int
    """Permission bits."""
    uid: int
    gid: int


class Continuation(NamedTuple):
    """What a volume segment starts with that begins inside a large file."""

    name: str
    """The file's, as in its IndexedMember."""
    offset: int
    """Bytes of the file that earlier segments hold."""
    size: int
    """Bytes of the whole file, so that its end is found without its header."""


class Segment(Document):
    """A stretch of an archive that is a whole gzip member, so it can be inflated alone."""

    offset: int
    """First byte, counted from the start of the archive."""
    size: int
    """Bytes in the archive."""
    raw_size: int
    """Bytes once inflated."""
    sha256: str
    """Of the `size` bytes in the archive, hexadecimal."""
    members: Annotated[tuple[IndexedMember, ...], SkipValidation] = Field(default=(), exclude=True)
    """Volume: the members whose tar header starts in this segment. (Written and read by
    `archive.index`: there may be a million, and their names need not be text.)"""
    continues: Annotated[Continuation | None, SkipValidation] = Field(default=None, exclude=True)
    """Volume: set when the segment starts inside a large file. (As above.)"""
    section: Section | None = None
    """Database: what the segment holds."""
    table: str | None = None
    """Database: the table or view the segment belongs to."""
