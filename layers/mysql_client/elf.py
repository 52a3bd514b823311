"""What an ELF file asks of the machine it runs on, read without running it.

A program of another processor cannot be asked with `ldd`; and `readelf` is not everywhere.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Numbers and layouts: the ELF-64 specification, and the Linux Standard Base for symbol versions.
_MACHINES: Final = {62: "x86_64", 183: "arm64"}
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRINGS = 1, 5
_VERSIONS_NEEDED, _VERSIONS_NEEDED_COUNT = 0x6FFFFFFE, 0x6FFFFFFF
_HEADER_SIZE: Final = 64


class NotElf(ValueError):
    """The file is no 64-bit little-endian ELF file of a processor that Lambda has."""


@dataclass(frozen=True)
class Elf:
    """A program or a shared library."""

    machine: str
    """`x86_64` or `arm64`."""
    needed: tuple[str, ...]
    """The names of the libraries that it is linked with, such as `libssl.so.3`."""
    versions: frozenset[str]
    """The symbol versions it needs of them, such as `GLIBC_2.34`."""
    interpreter: str | None
    """The path of the loader, for a program."""


def read(path: Path) -> Elf:
    """Reads a file's dynamic section; raises NotElf."""
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01" or len(data) < _HEADER_SIZE:
        raise NotElf(f"{path} is no 64-bit ELF file")
    (number,) = struct.unpack_from("<H", data, 18)
    if number not in _MACHINES:
        raise NotElf(f"{path} is for machine {number}")
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    # Each: type, flags, offset, address, physical address, size in the file, ...
    segments = [struct.unpack_from("<IIQQQQ", data, table + i * size) for i in range(count)]
    loads = [
        (address, offset, length) for t, _, offset, address, _, length in segments if t == _LOAD
    ]
    interpreter = next(
        (data[s[2] : s[2] + s[5] - 1].decode() for s in segments if s[0] == _INTERPRETER), None
    )

    def offset_of(address: int) -> int:
        start: int
        offset: int
        for start, offset, length in loads:
            if start <= address < start + length:
                return offset + address - start
        raise NotElf(f"{path} refers to what it does not hold")

    def text(offset: int) -> str:
        return data[offset : data.index(b"\0", offset)].decode()

    entries: list[tuple[int, int]] = []
    for kind, _, offset, _, _, length in segments:
        if kind == _DYNAMIC:
            entries = list(struct.iter_unpack("<qQ", data[offset : offset + length - length % 16]))
    found = dict(entries)
    if _STRINGS not in found:
        return Elf(_MACHINES[number], (), frozenset(), interpreter)
    strings = offset_of(found[_STRINGS])
    versions: set[str] = set()
    if _VERSIONS_NEEDED in found:
        at = offset_of(found[_VERSIONS_NEEDED])
        for _ in range(found[_VERSIONS_NEEDED_COUNT]):
            _, names, _, first, following = struct.unpack_from("<HHIII", data, at)
            name_at = at + first
            for _ in range(names):
                _, _, _, name, next_name = struct.unpack_from("<IHHII", data, name_at)
                versions.add(text(strings + name))
                name_at += next_name
            at += following
    return Elf(
        _MACHINES[number],
        tuple(text(strings + value) for tag, value in entries if tag == _NEEDED),
        frozenset(versions),
        interpreter,
    )
