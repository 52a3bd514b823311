"""What a foreign file is, told by its first bytes and never by its name."""

import itertools
import re
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final, NamedTuple

from lcp_backup.archive.tar import BLOCK
from lcp_backup.archive.tar_header import is_header

_MAGIC: Final = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3", "a SQLite database"),
)
_WIDE: Final = (
    (re.compile(rb"\xff\xfe\0\0|\0\0\xfe\xff|([\t -~]\0\0\0){4}|(\0\0\0[\t -~]){4}"), "UTF-32"),
    (re.compile(rb"\xff\xfe|\xfe\xff|([\t -~]\0){4}|(\0[\t -~]){4}"), "UTF-16"),
)
"""By its mark of the byte order, or by four characters of ASCII."""
_MARKUP: Final = (
    (re.compile(rb"<!doctype html|<html", re.IGNORECASE), "an HTML page"),
    (re.compile(rb"<\?xml|<error>", re.IGNORECASE), "an XML document"),
    (re.compile(rb"[\[{]"), "a JSON document"),
)
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_GZIP = b"\x1f\x8b"


class Form(Enum):
    """The forms that are read on."""

    GZIP = "a gzip file"
    TAR = "a tar archive"
    TEXT = "text"
    OTHER = "something else"


class Content(NamedTuple):
    """A file whose beginning was looked at."""

    form: Form
    found: str
    """What it is, in words: for a message after "is"."""
    chunks: Iterator[bytes]
    """All of it, the beginning too."""


def recognised(chunks: Iterable[bytes]) -> Content:
    """Reads the first block, or all of a file that is smaller, and says what it is."""
    rest = iter(chunks)
    head = b""
    while len(head) < BLOCK and (chunk := next(rest, None)) is not None:
        head += chunk
    form, found = _recognised(head[:BLOCK])
    return Content(form, found, itertools.chain([head] if head else [], rest))


def _recognised(head: bytes) -> tuple[Form, str]:
    if head.startswith(_GZIP):
        return Form.GZIP, Form.GZIP.value
    if is_header(head):
        return Form.TAR, Form.TAR.value
    if found := _named(head):
        return Form.OTHER, found
    return Form.TEXT, Form.TEXT.value


def _named(head: bytes) -> str | None:
    """What is not read on, in words; None for text."""
    if not head:
        return "empty"
    for wide, name in _WIDE:
        if wide.match(head):
            how = "write it with --result-file, and not with PowerShell's '>'"
            return f"{name} text (a dump is taken in utf8mb4: {how})"
    for magic, found in _MAGIC:
        if head.startswith(magic):
            return found
    text = head.lstrip()
    for pattern, found in _MARKUP:
        if pattern.match(text):
            return found
    if _BINARY.search(head):
        return f"of no known kind (it begins with the bytes {head[:8].hex(' ')})"
    return None


def is_apples(name: str) -> bool:
    """Whether a file is what macOS puts into archives beside the files themselves.

    `._name` has the extended attributes of `name` (AppleDouble), `.DS_Store` how a window looks.
    """
    base = name.rpartition("/")[2]
    return base.startswith("._") or base == ".DS_Store"
