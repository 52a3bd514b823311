"""The two files of an upload, looked at before a byte travels: the usual mistakes cost minutes.

The service judges them in full. Here a file is refused only where it would certainly be refused
there, with a sentence that names the mistake.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lcp_backup_cli.errors import CliError, Exit

_READ = 1024 * 1024
_BLOCK = 512
"""Bytes of a tar file's header."""
_EXTENSIONS = (b"x", b"g", b"L", b"K")
"""Kinds of headers that belong to the member behind them: of pax, and of GNU tar."""
_LOOKED_AT = 64 * 1024
"""Bytes of a file's content that are looked at to find out what it is."""
_GZIP = b"\x1f\x8b"
_OTHERS = {
    b"PK\x03\x04": "a zip file",
    b"\xfd7zXZ\x00": "packed with xz",
    b"BZh": "packed with bzip2",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    # UTF-32 first: its mark begins as that of UTF-16 does.
    b"\xff\xfe\0\0": "text in UTF-32",
    b"\0\0\xfe\xff": "text in UTF-32",
    b"\xff\xfe": "text in UTF-16, as PowerShell's > writes it",
    b"\xfe\xff": "text in UTF-16",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_VOLUME_COMMAND = "lcp-backup pack $LIFERAY_HOME/data"
_DUMP_COMMAND = "lcp-backup dump lportal"


@dataclass(frozen=True)
class LocalFile:
    """A file that may be sent."""

    kind: str
    path: Path
    size: int


def checked(kind: str, path: Path) -> LocalFile:
    """The file, if it can be what it is given as; raises CliError."""
    if path.is_dir():
        way_out = f"Pack it: {_VOLUME_COMMAND}" if kind == "volume" else f"Dump: {_DUMP_COMMAND}"
        raise _refused(f"{path} is a folder, and --{kind} is a file", way_out)
    if not path.exists():
        raise CliError(
            f"there is no file {path}", "Check the name.", exit_code=Exit.USAGE, code="usage"
        )
    if not path.is_file():
        raise _refused(f"{path} is no ordinary file", "Write it to a file first.")
    size = path.stat().st_size
    if size == 0:
        raise _refused(f"{path} is empty", "The command that wrote it failed: run it again.")
    with path.open("rb") as file:
        found = file.read(_LOOKED_AT)
    name, content = str(path), found
    if found.startswith(_GZIP):
        content = _inflated(path, found)
    for magic, what in _OTHERS.items():
        if found.startswith(magic) or content.startswith(magic):
            raise _refused(f"{path} is {what}", _way_out(kind))
    first = _first_member(content)
    if kind == "volume":
        _check_volume(name, content, first)
    else:
        _check_database(name, first)
    return LocalFile(kind, path, size)


def sha256(file: LocalFile, read: Callable[[int], None]) -> str:
    """Of the file; `read` is told the bytes as they are read."""
    found = hashlib.sha256()
    with file.path.open("rb") as opened:
        while chunk := opened.read(_READ):
            found.update(chunk)
            read(len(chunk))
    return found.hexdigest()


def _check_volume(name: str, content: bytes, first: str | None) -> None:
    if first is None:
        if _is_text(content):
            raise _refused(
                f"{name} is no tar file but text, perhaps a dump",
                "Give a dump as --database, and the packed document library as --volume.",
            )
        raise _refused(f"{name} is no tar file, whatever its name says", _way_out("volume"))
    if not first:
        raise _refused(
            f"{name} is an empty tar file",
            f"tar was given no names to pack. Pack it: {_VOLUME_COMMAND}",
        )
    if first.endswith(".sql"):
        raise _refused(f"{name} holds a dump ({first})", "Give it as --database.")


def _check_database(name: str, first: str | None) -> None:
    if first is None:
        return  # SQL, plain or packed; the service reads it
    if not first:
        raise _refused(
            f"{name} is an empty tar file",
            "`mysqldump ... | tar -czf` packs nothing, as tar does not read its input."
            f" Dump: {_DUMP_COMMAND}",
        )
    if "document_library" in first.split("/"):
        raise _refused(f"{name} holds the document library", "Give it as --volume.")


def _inflated(path: Path, found: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(found, _LOOKED_AT)
    except zlib.error:
        raise _refused(f"{path} begins like a gzip file, and is damaged", "Make it anew.") from None


def _first_member(content: bytes) -> str | None:
    """The name of a tar file's first member; empty if it has none, None if it is no tar file."""
    header = content[:_BLOCK]
    if len(header) < _BLOCK:
        return None
    if not header.strip(b"\0"):
        return "" if not content.strip(b"\0") else None
    # By the sum of the header (POSIX, ustar): old tar files have no other sign.
    digits = header[148:156].strip(b"\0 ")
    try:
        expected = int(digits, 8)
        size = int(header[124:136].strip(b"\0 ") or b"0", 8)
    except ValueError:
        return None
    if sum(header[:148]) + sum(header[156:]) + 8 * ord(" ") != expected:
        return None
    name = header[:100].rstrip(b"\0").decode(errors="replace")
    if header[156:157] in _EXTENSIONS:
        # It stands in front of the member's own, in each archive that the service packs itself.
        return _first_member(content[_BLOCK + -(-size // _BLOCK) * _BLOCK :]) or name
    return name


def _is_text(content: bytes) -> bool:
    return _NO_TEXT.search(content[:_BLOCK]) is None


def _way_out(kind: str) -> str:
    return f"Pack it: {_VOLUME_COMMAND}" if kind == "volume" else f"Dump: {_DUMP_COMMAND}"


def _refused(sentence: str, way_out: str) -> CliError:
    return CliError(sentence, way_out, exit_code=Exit.FILES, code="unsuitable-file")
