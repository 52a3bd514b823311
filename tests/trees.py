"""Folders with everything in them that a document library might hold, and what they are made of."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

TEXT = b"Liferay document library, one line after the other.\n"


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
