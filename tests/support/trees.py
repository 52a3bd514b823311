"""Folders with everything in them that a document library might hold, and what they are made of."""

import fcntl
import os
import stat
import struct
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_GET_FLAGS, _SET_FLAGS, _IMMUTABLE = 0x80086601, 0x40086602, 0x10
"""FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IMMUTABLE_FL (linux/fs.h): not all systems have chattr."""
TEXT = b"Liferay document library, one line after the other.\n"


def set_immutable(path: Path, *, immutable: bool = True) -> None:
    """As `chattr +i` and `-i` do; raises OSError where the user or the file system may not."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        (flags,) = struct.unpack("l", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8)))
        flags = flags | _IMMUTABLE if immutable else flags & ~_IMMUTABLE
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", flags))
    finally:
        os.close(descriptor)


def set_none_immutable(tree: Path) -> None:
    """Has everything below a folder be changed and removed again."""
    for path in [tree, *tree.rglob("*")]:
        if path.is_dir() or path.is_file():
            with suppress(OSError):
                set_immutable(path, immutable=False)


class Member(NamedTuple):
    """All of a member that a restore must bring back."""

    mode: int
    mtime_ns: int
    owner: tuple[int, int]
    content: bytes | str | None
    """A file's bytes, a link's target, None for a folder."""


def odd_tree(folder: Path) -> None:
    """Fills a folder: odd names, modes and times, empty folders, links, small and large files."""
    library = folder / "document_library" / "20097" / "0"
    library.mkdir(parents=True)
    (library / "empty").write_bytes(b"")
    (library / "1.0").write_bytes(TEXT)
    (library / "block").write_bytes(b"b" * 512)
    (library / "large.bin").write_bytes(os.urandom(1 << 20) * 20 + TEXT)
    (library / "run.sh").write_bytes(b"#!/bin/sh\n")
    (library / "run.sh").chmod(0o755)
    (library / "secret").write_bytes(b"s")
    (library / "secret").chmod(0o400)
    (folder / "empty folder").mkdir()
    (folder / "none").mkdir(mode=0o700)
    names = folder / "names"
    names.mkdir()
    for name in (
        "with space",
        " lead and trail ",
        "quote\"'$`\\",
        "new\nline",
        "Ünïcödé-日本語-😀.pdf",
        "cafe\u0301",
        "-rf",
        "*",
        "a" * 255,
        os.fsdecode(b"latin-\xe4\xff.txt"),
    ):
        (names / name).write_bytes(os.fsencode(name))
    deep = folder / Path(*["a folder with a rather long name"] * 12)
    deep.mkdir(parents=True)
    (deep / ("ü" * 100)).write_bytes(TEXT)
    (folder / "to file").symlink_to("document_library/20097/0/1.0")
    (library / "up").symlink_to("../../../names")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "long link").symlink_to(deep.relative_to(folder) / "nowhere")
    os.link(library / "1.0", folder / "second name")
    for number, path in enumerate(sorted(folder.rglob("*"), reverse=True)):
        moment = 1_600_000_000_123_456_789 + number * 1_000_000_007
        os.utime(path, ns=(moment, moment), follow_symlinks=False)
    os.utime(library / "secret", ns=(-1_500_000_000, -1_500_000_000))
    os.utime(library / "1.0", ns=(1_600_000_000_000_000_000, 1_600_000_000_000_000_000))
    os.utime(library, ns=(1_700_000_000_000_000_001, 1_700_000_000_000_000_001))


def snapshot(folder: Path) -> dict[str, Member]:
    """Everything below a folder, by name."""
    return {str(path.relative_to(folder)): _member(path) for path in folder.rglob("*")}


def _member(path: Path) -> Member:
    status = path.lstat()
    content: bytes | str | None = None
    if path.is_symlink():
        content = str(path.readlink())
    elif path.is_file():
        content = path.read_bytes()
    owner = (status.st_uid, status.st_gid)
    return Member(stat.S_IMODE(status.st_mode), status.st_mtime_ns, owner, content)


def deep_tree(folder: Path, depth: int, name: str = "d") -> None:
    """Makes folders in one another, by steps: their path may be longer than a system call takes."""
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=at)
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=at))
    os.close(at)
