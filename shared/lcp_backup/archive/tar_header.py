"""The headers of tar files: one block each, with the records of extended ones in front.

Sources: as of `archive.untar`.
"""

import re
import struct
from typing import Final, NamedTuple
from zlib import adler32

from lcp_backup.archive.tar import BLOCK, MemberKind

ZEROS: Final = bytes(BLOCK)
"""What ends an archive."""
SPARSE: Final = ("GNU.sparse.", "SUN.holesdata")
"""How keywords begin of a file whose content is there without its holes."""
_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s6s82s155s12x")
_POSIX = b"ustar\0"
_KINDS = {
    b"0": MemberKind.FILE,
    b"\0": MemberKind.FILE,
    b"7": MemberKind.FILE,
    b"1": MemberKind.SECOND_NAME,
    b"2": MemberKind.LINK,
    b"5": MemberKind.FOLDER,
}
_DIGITS = re.compile(rb"[0-7]+")
_DECIMAL = re.compile(r"\d{1,20}")
_TIME = re.compile(r"(-?)(\d{1,18})(?:\.(\d*))?")
_LENGTH = re.compile(rb"(\d{1,7}) ")


class Member(NamedTuple):
    """A member's header."""

    name: str
    """As it stands there; bytes that are no UTF-8 are surrogates, as in names of the system."""
    kind: MemberKind | None
    """None: something that is none of these, in words in `found`."""
    size: int
    """Bytes of content; 0 for what has none."""
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    target: str
    found: str


def is_header(block: bytes) -> bool:
    """Whether this is a member's header, or the end of an empty archive."""
    if block == ZEROS:
        return True
    try:
        Fields(block)
    except NotValid:
        return False
    return True


class NotValid(Exception):
    """A header cannot be what a tar program wrote; says what is wrong with it."""


class Fields:
    """The fields of one header block whose checksum holds; raises NotValid for any other."""

    def __init__(self, block: bytes) -> None:
        if len(block) != BLOCK:
            raise NotValid("it is too short")
        (
            self._name,
            self._mode,
            self._uid,
            self._gid,
            self._size,
            self._mtime,
            checksum,
            self.flag,
            self._target,
            self._magic,
            _,
            self._prefix,
        ) = _FIELDS.unpack(block)
        given = _number(checksum)
        total = _sum(block) - sum(checksum) + 8 * ord(" ")
        # Some old programs summed up signed bytes.
        if given != total and given != total - 256 * sum(byte > 127 for byte in block):  # noqa: PLR2004 -- as C's signed char
            raise NotValid("its checksum does not hold")

    @property
    def size(self) -> int:
        size = _number(self._size)
        if size < 0:
            raise NotValid(f"it announces a size of {size}")
        return size

    def member(self, records: dict[str, str]) -> Member:
        """The member, as the records in front of this block change it."""
        name = records.get("path") or self._whole_name()
        kind = _KINDS.get(self.flag)
        found = "a device, pipe or something unknown" if kind is None else kind.name
        if self.flag == b"V":
            found = "a label (tar --label), and no file"
        size = _decimal(records, "size", self._size)
        if self.flag == b"S" or (records and any(it.startswith(SPARSE) for it in records)):
            kind, found = None, "a sparse file"
        elif kind is MemberKind.FILE and name.endswith("/") and not size:
            kind = MemberKind.FOLDER  # as version 7 wrote them
        if kind is MemberKind.FOLDER:
            name = name.rstrip("/") or name
        if kind not in (MemberKind.FILE, None):
            size = 0  # a link's is that of the file, a folder's is a hint
        return Member(
            name=name,
            kind=kind,
            size=size,
            mode=_number(self._mode) & 0o7777,
            uid=_decimal(records, "uid", self._uid),
            gid=_decimal(records, "gid", self._gid),
            mtime_ns=_time(records, self._mtime),
            target=records.get("linkpath") or text_of(self._target),
            found=found,
        )

    def _whole_name(self) -> str:
        name = text_of(self._name)
        # GNU tar has other things in the prefix's place.
        if self._magic == _POSIX and (prefix := text_of(self._prefix)):
            return f"{prefix}/{name}"
        return name


def _sum(block: bytes) -> int:
    """The sum of a block's bytes: Adler-32 has it in its lower half, of 256 bytes exactly.

    (Several times as fast as `sum`, for two blocks in front of every file.)
    """
    half = len(block) // 2
    return (adler32(block[:half]) & 0xFFFF) + (adler32(block[half:]) & 0xFFFF) - 2


def text_of(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="surrogateescape")


def _number(field: bytes) -> int:
    """Octal digits; or, with the first bit set, all other bits as one number (GNU, star)."""
    # Nearly all are digits up to blanks, and there are ten of them in front of every file.
    if (digits := field.rstrip(b"\0 ")).isdigit():
        try:
            return int(digits, 8)
        except ValueError:
            pass  # an 8 or a 9, of which is told below
    if field[0] & 0x80:
        value = int.from_bytes(field)
        bits = 8 * len(field)
        negative = field[0] == 0xFF  # noqa: PLR2004 -- all bits set
        return value - (1 << bits) if negative else value - (1 << (bits - 1))
    digits = field.partition(b"\0")[0].strip(b" ")
    if not digits:
        return 0
    if not _DIGITS.fullmatch(digits):
        raise NotValid(f"it has {digits[:12]!r} where a number belongs")
    return int(digits, 8)


def _decimal(records: dict[str, str], keyword: str, field: bytes) -> int:
    """A number of an extended header, or else of the field; a size is never negative."""
    record = records.get(keyword)
    if not record:
        number = _number(field)
        if number < 0 and keyword == "size":
            raise NotValid(f"it announces a size of {number}")
        return number
    if not _DECIMAL.fullmatch(record):
        raise NotValid(f"it has {record[:20]!r} as its {keyword}")
    return int(record)


def _time(records: dict[str, str], field: bytes) -> int:
    record = records.get("mtime")
    if not record:
        return _number(field) * 1_000_000_000
    if (match := _TIME.fullmatch(record)) is None:
        raise NotValid(f"it has no valid time: {record[:40]!r}")
    nanoseconds = int(match[2]) * 1_000_000_000 + int((match[3] or "")[:9].ljust(9, "0"))
    return -nanoseconds if match[1] else nanoseconds


def read_records(data: bytes) -> dict[str, str]:
    """The records of a pax header: each is its own length, a keyword and a value."""
    records = {}
    at = 0
    while at < len(data) and data[at]:
        match = _LENGTH.match(data, at)
        end = at + int(match[1]) if match else 0
        if match is None or not match.end() < end <= len(data) or data[end - 1] != ord("\n"):
            raise NotValid("it has a record of a length that is not true")
        keyword, equals, value = data[match.end() : end - 1].partition(b"=")
        if not equals:
            raise NotValid("it has a record without a value")
        records[keyword.decode(errors="surrogateescape")] = value.decode(errors="surrogateescape")
        at = end
    return records
