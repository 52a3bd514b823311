"""Tar headers, built fast: the POSIX pax format that GNU tar, bsdtar and Python's tarfile open.

Only what an archive of this service needs is here; `archive.untar` reads tar files of any program.
The standard's headers are built by hand because one file costs `tarfile` more time than reading and
compressing its bytes does when files are small.

Source of the format: POSIX.1-2017, `pax` utility, "pax Interchange Format". Names that are no valid
UTF-8 are announced with `hdrcharset=BINARY` and stored as the bytes they are.
"""

from enum import Enum
from functools import lru_cache
from typing import Final

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
"""Two blocks of zeros: the end of a tar file."""

FILE_HEAD_SIZE: Final = 3 * BLOCK
"""Bytes of `file_head`, whatever the size of the file it announces."""

_MAX_NAME = 100
_MAX_SIZE = 0o77777777777
_MAX_ID = 0o7777777
_SECOND = 1_000_000_000
_TAIL = bytes(BLOCK - 345)
_CHECKSUM_BLANK = b"        "


class MemberKind(Enum):
    """What members are, by the type flags written here."""

    FILE = b"0"
    SECOND_NAME = b"1"
    """A hard link. Never written by a create, but an upload may hold one."""
    LINK = b"2"
    FOLDER = b"5"
    PAX = b"x"


def padding(size: int) -> bytes:
    """The zeros that fill a member of `size` bytes up to a whole block."""
    return bytes(-size % BLOCK)


def header(
    name: bytes,
    kind: MemberKind,
    *,
    size: int = 0,
    mode: int,
    uid: int = 0,
    gid: int = 0,
    mtime_ns: int,
    target: bytes = b"",
) -> bytes:
    """The header blocks of one member, with a pax header in front where one is needed.

    Args:
        name: relative to the folder, as the file system has it; without a slash at the end.
        kind: FILE, SECOND_NAME (hard link), LINK (symbolic) or FOLDER.
        size: bytes of content that will follow, with `padding`.
        mode: permission bits, such as 0o644.
        mtime_ns: nanoseconds since 1970 UTC, negative before.
        target: what a link points to; for a hard link, the name of an earlier member.
    """
    if kind is MemberKind.FOLDER:
        name += b"/"
    seconds, fraction = divmod(mtime_ns, _SECOND)
    records = b""
    if len(name) > _MAX_NAME or not name.isascii():
        records += _record(b"path", name)
    if len(target) > _MAX_NAME or not target.isascii():
        records += _record(b"linkpath", target)
    if records and not (_is_utf8(name) and _is_utf8(target)):
        records = _record(b"hdrcharset", b"BINARY") + records
    if fraction or not 0 <= seconds <= _MAX_SIZE:
        records += _record(b"mtime", _decimal(mtime_ns))
        seconds = min(max(seconds, 0), _MAX_SIZE)
    if size > _MAX_SIZE:
        records += _record(b"size", b"%d" % size)
        size = 0
    if uid > _MAX_ID:
        records += _record(b"uid", b"%d" % uid)
        uid = 0
    if gid > _MAX_ID:
        records += _record(b"gid", b"%d" % gid)
        gid = 0
    blocks = _block(
        name[:_MAX_NAME],
        kind,
        size,
        mode=mode,
        mtime=seconds,
        uid=uid,
        gid=gid,
        target=target[:_MAX_NAME],
    )
    return _pax(records) + blocks if records else blocks


def file_head(name: str, size: int, mtime: int) -> bytes:
    """The header of an archive's only file; always FILE_HEAD_SIZE bytes, so its place can be kept.

    The size is given in a pax record even when it would fit the plain header.

    Args:
        name: at most 340 bytes in UTF-8 (a database name is at most 64 characters).
        size: bytes of the file.
        mtime: seconds since 1970 UTC.
    """
    raw_name = name.encode()
    records = _record(b"path", raw_name) + _record(b"size", b"%d" % size)
    small_size = size if size <= _MAX_SIZE else 0
    block = _block(raw_name[:_MAX_NAME], MemberKind.FILE, small_size, mode=0o644, mtime=mtime)
    head = _pax(records) + block
    if len(head) != FILE_HEAD_SIZE:
        raise ValueError(f"the name of the archive's file is too long: {name[:100]!r}")
    return head


def _record(keyword: bytes, value: bytes) -> bytes:
    """One pax record; its length counts its own digits."""
    rest = len(keyword) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, keyword, value)


def _decimal(nanoseconds: int) -> bytes:
    seconds, fraction = divmod(abs(nanoseconds), _SECOND)
    sign = b"-" if nanoseconds < 0 else b""
    return b"%b%d.%09d" % (sign, seconds, fraction)


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _pax(records: bytes) -> bytes:
    return _pax_block(len(records)) + records + padding(len(records))


@lru_cache(maxsize=512)
def _pax_block(size: int) -> bytes:
    return _block(b"././@PaxHeader", MemberKind.PAX, size, mode=0o644, mtime=0)


def _block(
    name: bytes,
    kind: MemberKind,
    size: int,
    *,
    mode: int,
    mtime: int,
    uid: int = 0,
    gid: int = 0,
    target: bytes = b"",
) -> bytes:
    front = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        name.ljust(_MAX_NAME, b"\0"),
        mode & 0o7777,
        uid,
        gid,
        size,
        mtime,
    )
    # magic, version, no user and group names, no device numbers: the same for every member.
    back = b"%b%bustar\x0000%b" % (kind.value, target.ljust(_MAX_NAME, b"\0"), bytes(80))
    checksum = sum(front) + sum(_CHECKSUM_BLANK) + sum(back)
    return b"%b%06o\0 %b%b" % (front, checksum, back, _TAIL)
