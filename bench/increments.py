"""Volumes that cost what changed, against restic: the same folders, the same disk, in turns."""

import itertools
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.folder import document, make_documents, make_folder, remove
from bench.lines import Line, Measured, once, ratios
from bench.restic import Restic
from bench.rounds import in_turns, middle, seconds
from bench.stored_volume import Reading, StoredVolume, create, restore, restore_file

UNCHANGED: Final = Line("100,000 files unchanged, times faster than restic backup", at_least=2)
UNCHANGED_READ: Final = Line("100,000 files unchanged, bytes of their content read", at_most=0)
UNCHANGED_STORED: Final = Line("100,000 files unchanged, percent of a full stored", at_most=1)
CHANGED: Final = Line("1 % changed, 1 % added, times faster than restic backup", at_least=2)
CHANGED_STORED: Final = Line("1 % changed, 1 % added, stored bytes to theirs", at_most=1.3)
ONE_FILE: Final = Line("restore of one file out of 2 GB, MB read", at_most=20)
UNCHANGED_FULL: Final = Line("2,345 files unchanged, times faster than a full", at_least=15)
RESTORED: Final = Line("restore of the newest of 30 increments, to that of a full", at_most=1.2)
RESTORED_RESTIC: Final = Line(
    "restore of the newest of 30 increments, times faster than restic", at_least=1.5
)
LINES: Final = (
    UNCHANGED, UNCHANGED_READ, UNCHANGED_STORED, CHANGED, CHANGED_STORED, ONE_FILE, UNCHANGED_FULL,
    RESTORED, RESTORED_RESTIC,
)  # fmt: skip

_FILES: Final = 100_000
_SIZE: Final = 20_000
_PERCENT: Final = 100
_FILES_RESTORED: Final = 25_000
_INCREMENTS: Final = 30
_SETTLING_SECONDS: Final = 4
"""A file that was changed a moment before a create is read once more by the next: its times could
not tell a later change. Sites are not backed up in the moment after a change; benches would be."""


def increments(work: Path, rounds: int) -> list[Measured]:
    """Seconds of the volume's share of a create and a restore, page cache warm; and bytes."""
    restic = Restic(work)
    with _emptied(work / "library") as own:
        found = _library(own, restic, rounds)
    with _emptied(work / "small") as own:
        found += _small(own, rounds)
    with _emptied(work / "chain") as own:
        found += _chain(own, restic, rounds)
    return found


@contextmanager
def _emptied(work: Path) -> Iterator[Path]:
    work.mkdir()
    yield work
    remove(work)


class _Site:
    """A folder, and the backups that the service makes of it, each with the one before as base."""

    def __init__(self, work: Path, files: int) -> None:
        self.folder = work / "site"
        self._work = work
        self._places = (work / "stored" / f"{number:03}" for number in itertools.count())
        self._targets = (work / "restored" / f"{number:03}" for number in itertools.count())
        self._version = 0
        self._files = files
        self.newest: StoredVolume | None = None
        make_documents(self.folder, range(files), size=_SIZE)

    def create(self, reading: Reading | None = None) -> StoredVolume:
        """The next increment; the first is a full."""
        self.newest = create(self.folder, next(self._places), self.newest, reading)
        return self.newest

    def full(self) -> StoredVolume:
        """A full as the folder is now; no increment is made of it."""
        return create(self.folder, next(self._places))

    def change(self) -> int:
        """Changes a hundredth of the files and adds as many; answers their bytes."""
        self._version += 1
        count = self._files // _PERCENT
        chance = random.Random(self._version)
        changed = sorted(chance.sample(range(self._files), count))
        make_documents(self.folder, changed, size=_SIZE, version=self._version)
        added = range(self._files, self._files + count)
        make_documents(self.folder, added, size=_SIZE, version=self._version)
        self._files += count
        return 2 * count * _SIZE

    def target(self) -> Path:
        """A new empty folder on the same disk."""
        target = next(self._targets)
        target.mkdir(parents=True)
        return target


def _library(work: Path, restic: Restic, rounds: int) -> list[Measured]:
    site = _Site(work, _FILES)
    time.sleep(_SETTLING_SECONDS)
    full = site.create()
    restic.back_up(site.folder)
    ours, theirs = in_turns(rounds, site.create, lambda: restic.back_up(site.folder))
    unchanged = ratios(UNCHANGED, theirs, ours, _against(restic, ours, theirs))
    before, reading = _bytes_read(), Reading()
    stored = site.create(reading).size
    read = _bytes_read() - before - reading.size
    return [
        unchanged,
        once(UNCHANGED_READ, read, f"and {reading.size / 1e6:.1f} MB of what was stored before"),
        once(
            UNCHANGED_STORED,
            100 * stored / full.size,
            f"{stored / 1e6:.2f} MB; the full: {full.size / 1e6:.0f} MB",
        ),
        *_changed(site, restic, rounds),
        _one_file(site),
    ]


def _changed(site: _Site, restic: Restic, rounds: int) -> list[Measured]:
    ours, theirs, stored = [], [], []
    for _ in range(rounds):
        size = site.change()
        time.sleep(_SETTLING_SECONDS)
        ours.append(seconds(site.create))
        theirs.append(seconds(lambda: restic.back_up(site.folder)))
        assert site.newest is not None
        stored.append(site.newest.size / size)
    detail = f"{size / 1e6:.0f} MB changed or were added; half of them text"
    return [
        ratios(CHANGED, theirs, ours, _against(restic, tuple(ours), tuple(theirs))),
        Measured(CHANGED_STORED, tuple(stored), detail),
    ]


def _one_file(site: _Site) -> Measured:
    assert site.newest is not None
    name = document(_FILES // 2)
    target = site.target()
    read = restore_file(site.newest, target, name)
    assert (target / name).read_bytes() == (site.folder / name).read_bytes()
    return once(ONE_FILE, read / 1e6, f"{_SIZE / 1e3:.0f} KB of {_FILES:,} files; with the index")


def _small(work: Path, rounds: int) -> list[Measured]:
    folder = work / "site"
    make_folder(folder, files=2345, size=503_000_000)
    time.sleep(_SETTLING_SECONDS)
    numbers = itertools.count()
    base = create(folder, work / "base")
    full, increment = in_turns(
        rounds,
        lambda: create(folder, work / f"full-{next(numbers)}"),
        lambda: create(folder, work / f"increment-{next(numbers)}", base),
    )
    detail = f"{middle('the increment', increment)}; {middle('the full', full)}"
    return [ratios(UNCHANGED_FULL, full, increment, detail)]


def _chain(work: Path, restic: Restic, rounds: int) -> list[Measured]:
    site = _Site(work, _FILES_RESTORED)
    site.create()
    restic.back_up(site.folder)
    for _ in range(_INCREMENTS):
        site.change()
        newest = site.create()
        restic.back_up(site.folder)
    full = site.full()
    mine, fulls, theirs = in_turns(
        rounds,
        lambda: restore(newest, site.target()),
        lambda: restore(full, site.target()),
        lambda: restic.restore(site.target()),
    )
    return [
        ratios(RESTORED, mine, fulls, f"{middle('ours', mine)}; {middle('a full', fulls)}"),
        ratios(RESTORED_RESTIC, theirs, mine, _against(restic, mine, theirs)),
    ]


def _against(restic: Restic, ours: tuple[float, ...], theirs: tuple[float, ...]) -> str:
    return f"{middle('ours', ours)}; {middle(f'restic {restic.version}', theirs)}"


def _bytes_read() -> int:
    """What this process has read so far, of files and pipes; the kernel counts it."""
    descriptor = os.open("/proc/self/io", os.O_RDONLY)
    try:
        text = os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
    counts = dict(line.split(b": ") for line in text.splitlines())
    # What was just read is counted from the next time on.
    return int(counts[b"rchar"]) + len(text)
