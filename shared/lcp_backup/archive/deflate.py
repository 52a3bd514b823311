"""Gzip members: how an archive's bytes are deflated and, within bounds, inflated again.

A gzip file is a sequence of members (RFC 1952, section 2.2); inflating them one after the other
gives the whole. That is what lets a segment stand for itself and the archive stay a plain `.tgz`.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from isal import igzip_lib

from lcp_backup.archive.behind_members import next_member
from lcp_backup.errors import ArchiveDamaged, ArchiveRefused

LEVEL: Final = 2
"""isal's level: as fast as 1 on text and random bytes, and stores 9 % less of the text."""

STORED_OVERHEAD: Final = 23
"""Bytes that `stored_member` adds: 10 of gzip header, 5 of block header, 8 of trailer."""

_NotGzip: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # stub: an instance
_MAX_STORED = 0xFFFF
_PIECE = 64 << 10
_OUTPUT = 1 << 20


def member(raw: bytes | bytearray | memoryview) -> bytes:
    """`raw` as one gzip member, without time or name: equal bytes give equal members.

    Releases the interpreter lock while it works, so several threads use several cores.
    """
    return igzip_lib.compress(raw, LEVEL, igzip_lib.COMP_GZIP)


def stored_member(raw: bytes) -> bytes:
    """`raw`, at most 65,535 bytes, as one gzip member of exactly STORED_OVERHEAD bytes more."""
    if len(raw) > _MAX_STORED:
        raise ValueError(f"{len(raw)} bytes do not fit one stored block")
    head = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    block = struct.pack("<BHH", 1, len(raw), len(raw) ^ 0xFFFF)
    return head + block + raw + struct.pack("<II", zlib.crc32(raw), len(raw))


def inflate_member(data: bytes, raw_size: int) -> bytes:
    """The `raw_size` bytes of a member; never inflates more than one byte beyond them.

    Raises ArchiveDamaged when `data` is not exactly one whole member of that size; the caller adds
    which one it was.
    """
    inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    try:
        raw = inflater.decompress(data, raw_size + 1)
    except _NotGzip as error:
        raise ArchiveDamaged(f"is not valid gzip ({error})") from None
    if len(raw) != raw_size or not inflater.eof or inflater.unused_data:
        raise ArchiveDamaged(f"does not inflate to exactly {raw_size} bytes")
    return raw


def inflate_stream(
    chunks: Iterable[bytes], *, name: str, limit: int | None = None
) -> Iterator[bytes]:
    """Inflates a gzip file of any number of members, piece by piece, in bounded memory.

    Args:
        chunks: the file's bytes, front to back.
        name: what to call the file in an error.
        limit: bytes it may inflate to; None for a file this service wrote and checks.

    Raises:
        ArchiveDamaged: the file is no gzip, is cut short, or a checksum does not hold; the message
            has the offset. Zeros after the last member are allowed, as gzip allows them.
        ArchiveRefused: it inflates to more than `limit` bytes.
    """
    offset = 0
    total = 0
    members = 0
    inflater: igzip_lib.IgzipDecompressor | None = None
    for chunk in chunks:
        view = memoryview(chunk)
        at = 0
        while at < len(view):
            # Small pieces: what a member leaves unused is copied, once per member.
            piece = bytes(view[at : at + _PIECE])
            at += len(piece)
            if inflater is None:
                if members:
                    piece = next_member(piece, name, offset + at)
                    if not piece:
                        continue
                inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
            while True:
                try:
                    raw = inflater.decompress(piece, _OUTPUT)
                except _NotGzip as error:
                    raise ArchiveDamaged(
                        f"{name} is not a valid gzip file near byte {offset + at}: {error}"
                    ) from None
                total += len(raw)
                if limit is not None and total > limit:
                    raise ArchiveRefused(f"{name} inflates to more than {limit} bytes")
                if raw:
                    yield raw
                if inflater.eof:
                    at -= len(inflater.unused_data)
                    inflater = None
                    members += 1
                    break
                if inflater.needs_input:
                    break
                piece = b""
        offset += len(view)
    if inflater is not None or not members:
        raise ArchiveDamaged(f"{name} ends in the middle of its gzip data, at byte {offset}")
