"""Unpacking a volume where every call of the file system takes 2 ms, as on EFS."""

import io
import os
import random
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.rows import Row, at_least, seconds
from lcp_backup.volume.unpack import unpack

_DELAY: Final = 0.002
_SIZE: Final = 20_000
_CALLS: Final = (
    "chmod",
    "chown",
    "close",
    "fchmod",
    "fchown",
    "fstat",
    "link",
    "lstat",
    "mkdir",
    "open",
    "rename",
    "rmdir",
    "scandir",
    "stat",
    "symlink",
    "unlink",
    "utime",
    "write",
)
_THREADS: Final = 16


def delayed_restore(work: Path) -> list[Row]:
    """Seconds to unpack files of 20 KB by 16 threads and by one, some in a folder and one in each.

    Fewer files than a site has, because one thread takes minutes for those.
    """
    rows = []
    for files, in_folder in ((2000, 40), (600, 1)):
        raw = _archive(files, in_folder)
        with _delayed_calls():
            many = seconds(partial(_unpack, raw, work / f"many-{in_folder}", _THREADS))
            one = seconds(partial(_unpack, raw, work / f"one-{in_folder}", 1))
        detail = f"{files} files of 20 KB: {many:.1f} s; by one thread {one:.1f} s"
        name = f"unpacking, 2 ms a call, {in_folder} in a folder, times faster than one thread"
        rows.append(at_least(name, one / many, 8, detail))
    return rows


def _unpack(raw: bytes, folder: Path, threads: int) -> None:
    chunks = (raw[at : at + (8 << 20)] for at in range(0, len(raw), 8 << 20))
    unpack(
        chunks,
        folder,
        owner=None,
        threads=threads,
        progress=lambda _: None,
        check=lambda: None,
    )


def _archive(files: int, in_folder: int) -> bytes:
    """A tar file as `volume.pack` orders it: a folder, then what is in it."""
    chance = random.Random(files)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for number in range(files):
            parent = f"document_library/20097/{number // in_folder}"
            if number % in_folder == 0:
                folder = tarfile.TarInfo(parent)
                folder.type, folder.mode, folder.mtime = tarfile.DIRTYPE, 0o755, number
                tar.addfile(folder)
            member = tarfile.TarInfo(f"{parent}/{number}.bin")
            member.size, member.mtime = _SIZE, number
            tar.addfile(member, io.BytesIO(chance.randbytes(_SIZE)))
    return raw.getvalue()


@contextmanager
def _delayed_calls() -> Iterator[None]:
    """Has every call that a file system over a network answers take a while, without the lock."""
    real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in _CALLS}

    def delayed(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            time.sleep(_DELAY)
            return call(*args, **kwargs)

        return called

    try:
        for name, call in real.items():
            setattr(os, name, delayed(call))
        yield
    finally:
        for name, call in real.items():
            setattr(os, name, call)
