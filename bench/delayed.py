"""A volume on a file system that answers every call late, as EFS does: one thread against many."""

import io
import itertools
import os
import random
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from unittest.mock import patch

from bench.lines import Line, Measured, ratios
from bench.rounds import in_turns, middle
from bench.sinks import DiscardingSink
from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.volume.members import extract
from lcp_backup.volume.pack import pack
from lcp_backup.volume.unpack import staged_by

FASTER: Final = Line("slow file system, times faster by threads", at_least=8)
UNPACKED: Final = Line("slow file system, unpacked, times faster by threads", at_least=8)
LINES: Final = (FASTER, UNPACKED)

_FILES = 2000
_SIZE = 20_000
_IN_A_FOLDER = 40
_DELAY = 0.002
_THREADS = 16
_CALLS = (
    *("open", "stat", "fstat", "readv", "readlink", "close"),
    *(
        "mkdir",
        "write",
        "fchmod",
        "fchown",
        "chown",
        "utime",
        "link",
        "symlink",
        "rename",
        "unlink",
    ),
)


def slow_file_system(work: Path, rounds: int) -> list[Measured]:
    """Seconds to pack small files, every call 2 ms late, over one thread and over sixteen."""
    folder = work / "folder"
    for number in range(_FILES):
        parent = folder / "document_library" / str(number // _IN_A_FOLDER)
        parent.mkdir(parents=True, exist_ok=True)
        (parent / f"{number}.bin").write_bytes(os.urandom(_SIZE))
    with delayed(_DELAY):
        one, many = in_turns(
            rounds,
            lambda: _pack(folder, threads=1),
            lambda: _pack(folder, threads=_THREADS),
        )
    detail = (
        f"{_FILES} files of {_SIZE // 1000} KB (one thread would take minutes for 20,000), every"
        f" call {_DELAY * 1000:.0f} ms late; {middle('one thread', one)};"
        f" {middle(f'{_THREADS} threads', many)}"
    )
    return [ratios(FASTER, one, many, detail), _unpacked(work, rounds)]


def _unpacked(work: Path, rounds: int) -> Measured:
    raw = _archive(_FILES, _IN_A_FOLDER)

    # Each into a place of its own: what lies in the way is removed first, call by call.
    places = (work / f"unpacked-{number}" / "folder" for number in itertools.count())

    def unpacked(threads: int) -> None:
        target = next(places)
        target.parent.mkdir()
        _unpack(raw, target, threads)

    with delayed(_DELAY):
        one, many = in_turns(rounds, lambda: unpacked(1), lambda: unpacked(_THREADS))
    detail = (
        f"{_FILES} files of {_SIZE // 1000} KB; {middle('one thread', one)};"
        f" {middle(f'{_THREADS} threads', many)}"
    )
    return ratios(UNPACKED, one, many, detail)


@contextmanager
def delayed(seconds_late: float) -> Iterator[None]:
    """Has every call to the file system take so much longer, without holding others up."""

    def late(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            time.sleep(seconds_late)
            return call(*args, **kwargs)

        return called

    class LateListing:
        """A listing whose names come in one call, and what it is asked of each in one more."""

        def __init__(self, folder: int) -> None:
            time.sleep(seconds_late)
            self._found = real_scandir(folder)

        def __enter__(self) -> Self:
            return self

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            traceback: TracebackType | None,
        ) -> None:
            self.close()

        def __iter__(self) -> Self:
            return self

        def __next__(self) -> "LateEntry":
            return LateEntry(next(self._found))

        def close(self) -> None:
            self._found.close()

    class LateEntry:
        def __init__(self, entry: os.DirEntry[str]) -> None:
            self.name = entry.name
            self.is_file = late(entry.is_file)
            self.is_dir = late(entry.is_dir)
            self.is_symlink = late(entry.is_symlink)
            self.stat = late(entry.stat)

    real_scandir = os.scandir
    with ExitStack() as patches:
        patches.enter_context(patch.object(os, "scandir", LateListing))
        for name in _CALLS:
            patches.enter_context(patch.object(os, name, late(getattr(os, name))))
        yield


def _pack(folder: Path, *, threads: int) -> None:
    with ArchiveWriter(
        DiscardingSink(),
        DiscardingSink(),
        name="volume.tgz",
        index_name="volume.index",
        threads=2,
    ) as writer:
        pack(
            folder,
            writer,
            began=datetime.now(UTC),
            progress=lambda _: None,
            check=lambda: None,
            threads=threads,
        )
        writer.finish()


def _unpack(raw: bytes, folder: Path, threads: int) -> None:
    chunks = (raw[at : at + (8 << 20)] for at in range(0, len(raw), 8 << 20))
    staged_by(
        lambda tree: extract(chunks, tree, progress=lambda _: None, check=lambda: None),
        folder,
        None,
        threads=threads,
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
