"""Volumes that cost what changed, against restic: the same folders, the same disk, in turns."""

import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.folder import SUFFIX, document, make_documents, make_folder, remove
from bench.lines import Line, Measured, once, ratios
from bench.restic import Restic
from bench.rounds import in_turns, middle, seconds
from bench.stored_volume import StoredVolumes, size_of

UNCHANGED: Final = Line("100,000 files unchanged, times faster than restic backup", at_least=2)
UNCHANGED_READ: Final = Line("100,000 files unchanged, files opened", at_most=0)
UNCHANGED_STORED: Final = Line("100,000 files unchanged, percent of a full stored", at_most=1)
CHANGED: Final = Line("1 % changed, 1 % added, times faster than restic backup", at_least=2)
CHANGED_STORED: Final = Line("1 % changed, 1 % added, times their bytes stored", at_most=1.3)
ONE_FILE: Final = Line("restore of one file out of 2 GB, MB read", at_most=20)
UNCHANGED_FULL: Final = Line("2,345 files unchanged, times faster than a full", at_least=15)
RESTORED: Final = Line("restore of the newest of 30 increments, times a full's time", at_most=1.2)
RESTORED_RESTIC: Final = Line(
    "restore of the newest of 30 increments, times faster than restic", at_least=1.5
)
LINES: Final = (
    UNCHANGED, UNCHANGED_READ, UNCHANGED_STORED, CHANGED, CHANGED_STORED, ONE_FILE, UNCHANGED_FULL,
    RESTORED, RESTORED_RESTIC,
)  # fmt: skip

FILES: Final = 100_000
SIZE: Final = 20_000
"""Bytes of each of them."""
FILES_RESTORED: Final = 25_000
INCREMENTS: Final = 30


def increments(work: Path, rounds: int) -> list[Measured]:
    """Seconds of the volume's share of a create and a restore, page cache warm; and bytes."""
    restic = Restic(work)
    with _site(work / "library", FILES) as site:
        found = _library(site, restic, rounds)
    found.append(_small(work / "small", rounds))
    with _site(work / "chain", FILES_RESTORED) as site:
        found += _chain(site, restic, rounds)
    return found


class _Site:
    """A folder whose documents change from backup to backup."""

    def __init__(self, work: Path, files: int) -> None:
        self.folder = work / "site"
        self.stored = StoredVolumes(self.folder, work / "stored")
        self._work = work
        self._files = files
        self._version = 0
        self._targets = 0
        make_documents(self.folder, range(files), size=SIZE)

    def change(self) -> int:
        """Changes a hundredth of the files and adds as many; answers the bytes of both."""
        self._version += 1
        count = self._files // 100
        changed = sorted(random.Random(self._version).sample(range(self._files), count))
        added = range(self._files, self._files + count)
        make_documents(self.folder, [*changed, *added], size=SIZE, version=self._version)
        self._files += count
        return 2 * count * SIZE

    def target(self) -> Path:
        """A new, empty folder on the same disk."""
        self._targets += 1
        target = self._work / f"restored-{self._targets}"
        target.mkdir()
        return target


@contextmanager
def _site(work: Path, files: int) -> Iterator[_Site]:
    yield _Site(work, files)
    remove(work)


def _library(site: _Site, restic: Restic, rounds: int) -> list[Measured]:
    full = size_of(site.stored.create())
    restic.back_up(site.folder)
    ours, theirs = in_turns(rounds, site.stored.create, lambda: restic.back_up(site.folder))
    stored = size_of(site.stored.create())
    return [
        ratios(UNCHANGED, theirs, ours, _against(restic, ours, theirs)),
        once(UNCHANGED_READ, _files_opened(site.stored.create), "whatever was stored before"),
        once(
            UNCHANGED_STORED,
            100 * stored / full,
            f"{stored / 1e6:.2f} MB; the full: {full / 1e6:.0f} MB",
        ),
        *_changed(site, restic, rounds),
        _one_file(site),
    ]


def _changed(site: _Site, restic: Restic, rounds: int) -> list[Measured]:
    ours, theirs, stored = [], [], []
    for _ in range(rounds):
        size = site.change()
        ours.append(seconds(site.stored.create))
        theirs.append(seconds(lambda: restic.back_up(site.folder)))
        stored.append(size_of(site.stored.newest) / size)
    return [
        ratios(CHANGED, theirs, ours, _against(restic, ours, theirs)),
        Measured(CHANGED_STORED, tuple(stored), f"theirs: {size / 1e6:.0f} MB, half of it text"),
    ]


def _one_file(site: _Site) -> Measured:
    target, name = site.target(), document(FILES // 2)
    read = site.stored.restore(site.stored.newest, target, name)
    assert (target / name).read_bytes() == (site.folder / name).read_bytes()
    return once(ONE_FILE, read / 1e6, f"{SIZE / 1e3:.0f} KB of {FILES:,} files; with the index")


def _small(work: Path, rounds: int) -> Measured:
    stored = StoredVolumes(work / "site", work / "stored")
    make_folder(stored.folder, files=2345, size=503_000_000)
    full, increment = in_turns(rounds, lambda: stored.create(whole=True), stored.create)
    remove(work)
    detail = f"{middle('the increment', increment)}; {middle('the full', full)}"
    return ratios(UNCHANGED_FULL, full, increment, detail)


def _chain(site: _Site, restic: Restic, rounds: int) -> list[Measured]:
    newest = site.stored.create()
    restic.back_up(site.folder)
    for _ in range(INCREMENTS):
        site.change()
        newest = site.stored.create()
        restic.back_up(site.folder)
    full = site.stored.create(whole=True)
    ours, whole, theirs = in_turns(
        rounds,
        lambda: site.stored.restore(newest, site.target()),
        lambda: site.stored.restore(full, site.target()),
        lambda: restic.restore(site.target()),
        # What one has written shall not keep the disk busy for the next.
        before=os.sync,
    )
    lies_in = f"it lies in {len(newest.sources) + 1} archives"
    return [
        ratios(
            RESTORED, ours, whole, f"{middle('ours', ours)}, {middle('a full', whole)}; {lies_in}"
        ),
        ratios(RESTORED_RESTIC, theirs, ours, _against(restic, ours, theirs)),
    ]


def _against(restic: Restic, ours: Sequence[float], theirs: Sequence[float]) -> str:
    return f"{middle('ours', ours)}; {middle(f'restic {restic.version}', theirs)}"


def _files_opened(work: Callable[[], object]) -> int:
    """How many documents this process opens, in whatever way: the interpreter tells."""
    opened: list[str] = []
    counting = True

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if counting and event == "open" and str(arguments[0]).endswith(SUFFIX):
            opened.append(str(arguments[0]))

    # It stays for as long as the process lives.
    sys.addaudithook(hear)
    work()
    counting = False
    return len(opened)
