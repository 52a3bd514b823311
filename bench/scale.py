"""`python -m bench.scale`: how long sites of terabytes would take, and what that costs, as a model.

Sums, no simulation of queues: a phase takes what it has to move, divided by what moves it, and the
slowest of those that could hold it up is its bound. docs/scale.md quotes what this prints. Nothing
of it was measured on AWS; the bench holds the same sums against runs on the embedded stack.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

GB: Final = 1000.0
"""MB."""
_FILES_A_GB: Final = 2000
_FOLDERS_A_GB: Final = 500
"""As docs/cost.md assumes them."""


@dataclass(frozen=True)
class Place:
    """How fast one function is, and what it works with; MB, MB/s and seconds."""

    pack: float = 70.0
    """One worker: docs/limits.md plans with this for the network of a function (an assumption;
    its processors do 360)."""
    unpack: float = 70.0
    """As for pack; the processors do 106 to 245."""
    dump: float = 92.0
    """One dump program, at one core (docs/limits.md, measured on the bench's machine)."""
    load: float = 43.0
    """One restore function with two processors, SQL (the same)."""
    rows: float = 100.0
    """SQL that the database server takes in, whoever sends it: an assumption, of an instance of
    some size. The bench's own takes about 90, on two cores that it shares with what loads."""
    reads: float = 20 * 1.0737 * GB
    """The file system: EFS Regional in Elastic mode, the lowest that AWS promises, 20 GiB/s.
    https://docs.aws.amazon.com/efs/latest/ug/performance.html"""
    writes: float = 1.0737 * GB
    """The same for writing, 1 GiB/s (up to 5)."""
    calls: float = 16_000.0
    """Calls a second that one function makes to the file system: 16 threads, a millisecond each
    (AWS: sub-millisecond reads, low single-digit millisecond writes)."""
    names: float = 100_000.0
    """Names a second of an index that is cut into portions: half of what was measured."""
    create_fixed: float = 25.0
    """All that does not grow: functions that start, a dozen transitions, opening, publishing."""
    restore_fixed: float = 85.0
    """The same for a restore, with the minute in which late workers must have fallen silent."""
    read: float = 70.0
    """One worker that verifies: as for pack; nothing is written."""
    counts: float = 400.0
    """SQL whose rows the server counts once they are there, over three connections: an assumption.
    It reads them, and writes nothing."""
    verify_fixed: float = 85.0
    """As of a restore."""


AWS: Final = Place()

_INVOCATION: Final = 880.0
"""Seconds of one invocation that a run may use (docs/limits.md)."""
_MEMORY: Final = 3.455
"""GB of a function as the template has it."""
_TASK: Final = 12 * 3600.0
"""Seconds that the dump may take as a task (`dump_task.LONGEST`)."""
_USD_TASK_SECOND: Final = 0.0987 / 3600
"""Fargate with 2 vCPU and 4 GB."""
_USD_GB_SECOND: Final = 0.0000166667
_USD_TRANSITION: Final = 0.000025
_USD_PUT: Final = 0.000005
_USD_GET: Final = 0.0000004
_USD_EFS_READ: Final = 0.03
_USD_EFS_WRITE: Final = 0.06
"""List prices of us-east-1, as in docs/cost.md; EFS in Elastic mode, a GB."""
_PART: Final = 16.0
_SEGMENT: Final = 1.0
_CALL_KIB: Final = 4
"""What Elastic mode counts for a call that only reads attributes."""
_STEPS_A_STRETCH: Final = 4
"""A child execution with its three states."""


class Site(NamedTuple):
    """What there is to save."""

    name: str
    files: float
    """MB of files."""
    sql: float
    """MB of SQL."""

    @property
    def entries(self) -> float:
        """How many files and folders there are."""
        return self.files / GB * (_FILES_A_GB + _FOLDERS_A_GB)

    @property
    def folders(self) -> float:
        """How many of them are folders."""
        return self.files / GB * _FOLDERS_A_GB


SITES: Final = (
    Site("100 GB of files", 100 * GB, 0),
    Site("1 TB of files", 1000 * GB, 0),
    Site("10 TB of files", 10_000 * GB, 0),
    Site("50 GB of SQL", 0, 50 * GB),
    Site("300 GB of SQL", 0, 300 * GB),
)


class Phase(NamedTuple):
    """One step, or all that are done side by side in it."""

    name: str
    seconds: float
    bound: str
    """What it waits for."""
    fits: bool
    """Whether one invocation does it, where it must."""


class Estimate(NamedTuple):
    """What a run would take."""

    phases: Sequence[Phase]
    fixed: float
    """Seconds."""
    usd: float

    @property
    def seconds(self) -> float:
        """From its beginning to its end."""
        return self.fixed + sum(it.seconds for it in self.phases)

    @property
    def bound(self) -> str:
        """What most of the time goes to, or what makes it impossible."""
        if too_long := [it for it in self.phases if not it.fits]:
            return "does not fit: " + " and ".join(f"{it.name}, {it.bound}" for it in too_long)
        longest = max(self.phases, key=lambda it: it.seconds)
        return f"{longest.name}: {longest.bound}"


def create(
    site: Site, place: Place, *, workers: int, changed: float = 1.0, dump_task: bool = False
) -> Estimate:
    """A backup by so many workers, of which this share of the files' bytes is new."""
    moved = site.files * changed
    # (It goes on in a next invocation.)
    plan = _slowest("plan", (site.entries / place.calls, "one function looks at every name"))
    pack = _slowest(
        "pack",
        (moved / (workers * place.pack), "the workers' network"),
        (moved / place.reads, "the file system's reads"),
        (site.entries / (workers * place.calls), "the workers look at every name"),
    )
    dump = Phase(
        "dump",
        dumping := site.sql / place.dump,
        "one connection at one core",
        fits=dumping <= (_TASK if dump_task else _INVOCATION),
    )
    captured = max(pack, dump, key=lambda it: (not it.fits, it.seconds))
    functions = plan.seconds + pack.seconds * workers + place.create_fixed
    usd = (
        functions * _MEMORY * _USD_GB_SECOND
        + dumping * (_USD_TASK_SECOND if dump_task else _MEMORY * _USD_GB_SECOND)
        + _stretches(pack, workers) * _STEPS_A_STRETCH * _USD_TRANSITION
        + (moved * 0.85 + site.sql * 0.27) / _PART * _USD_PUT
        + (moved / GB + 2 * site.entries * _CALL_KIB * 1024 / 1e9) * _USD_EFS_READ
    )
    return Estimate((plan, captured), place.create_fixed, usd)


def restore(site: Site, place: Place, *, workers: int) -> Estimate:
    """A restore of the whole by so many workers."""
    unpack = _slowest(
        "unpack",
        (site.files / (workers * place.unpack), "the workers' network"),
        (site.files / place.writes, "the file system's writes"),
        # Each file is made, its attributes are set, and it is renamed to its place.
        (3 * site.entries / (workers * place.calls), "the file system's answers"),
    )
    attributes = _alone(
        "attributes", site.folders / place.calls, "one function sets those of all folders"
    )
    load = _loaded(site, place, workers)
    functions = (unpack.seconds + load.seconds) * workers + attributes.seconds + place.restore_fixed
    usd = (
        functions * _MEMORY * _USD_GB_SECOND
        + (_stretches(unpack, workers) + _stretches(load, workers))
        * _STEPS_A_STRETCH
        * _USD_TRANSITION
        + site.files / _SEGMENT * _USD_GET
        + site.files / GB * _USD_EFS_WRITE
    )
    by_files: tuple[Phase, ...] = (unpack, attributes)
    longer = not load.fits or load.seconds > sum(it.seconds for it in by_files)
    plan = _alone("plan", site.entries / place.names, "one function cuts the index into portions")
    return Estimate((plan, *((load,) if longer else by_files)), place.restore_fixed, usd)


def verify(site: Site, place: Place, *, workers: int) -> Estimate:
    """A verification by so many workers."""
    # (Each name's mark takes as long as its place.)
    plan = _alone("plan", 2 * site.entries / place.names, "one function cuts the index")
    read = _slowest("read", (site.files / (workers * place.read), "the workers' network"))
    load = _loaded(site, place, workers)
    checks = _alone("checks", site.sql / place.counts, "one function has all rows counted")
    functions = (
        plan.seconds + (read.seconds + load.seconds) * workers + checks.seconds + place.verify_fixed
    )
    usd = (
        functions * _MEMORY * _USD_GB_SECOND
        + (_stretches(read, workers) + _stretches(load, workers))
        * _STEPS_A_STRETCH
        * _USD_TRANSITION
        + site.files / _SEGMENT * _USD_GET
    )
    longer = not (load.fits and checks.fits) or load.seconds + checks.seconds > read.seconds
    proved = (load, checks) if longer else (read,)
    return Estimate((plan, *proved), place.verify_fixed, usd)


def _loaded(site: Site, place: Place, workers: int) -> Phase:
    """Rows with their indexes."""
    if workers == 1:
        return _alone("load", site.sql / place.load, "one function loads and builds indexes")
    return _slowest(
        "load",
        (site.sql / (workers * place.load), "the workers' processors"),
        (site.sql / place.rows, "what the database server takes in"),
    )


def _slowest(name: str, *held_up_by: tuple[float, str]) -> Phase:
    seconds, bound = max(held_up_by)
    return Phase(name, seconds, bound, fits=True)


def _alone(name: str, seconds: float, bound: str) -> Phase:
    return Phase(name, seconds, bound, fits=seconds <= _INVOCATION)


def _stretches(phase: Phase, workers: int) -> int:
    return workers * math.ceil(phase.seconds / _INVOCATION)


class _Work(NamedTuple):
    """A kind of run, of which sites it is told, and by how many workers."""

    name: str
    estimate: Callable[[Site, int], Estimate]
    of_files: Sequence[int] = ()
    of_sql: Sequence[int] = ()


_WORKS: Final = (
    _Work("first backup", lambda site, by: create(site, AWS, workers=by), (8, 64), (1,)),
    _Work("1 % changed", lambda site, by: create(site, AWS, workers=by, changed=0.01), (8, 64)),
    _Work(
        "dump by a task", lambda site, by: create(site, AWS, workers=by, dump_task=True), (), (2,)
    ),
    _Work("restore", lambda site, by: restore(site, AWS, workers=by), (8, 64), (1, 8)),
    _Work("verification", lambda site, by: verify(site, AWS, workers=by), (8, 64), (1, 8)),
)


def table() -> str:
    """All sites, as the page has them."""
    lines = [
        "| site | work | workers | time | USD | what bounds it |",
        "|---|---|---|---|---|---|",
    ]
    for site in SITES:
        for work in _WORKS:
            for workers in work.of_files if site.files else work.of_sql:
                found = work.estimate(site, workers)
                lines.append(
                    f"| {site.name} | {work.name} | {workers} | {_time(found.seconds)} |"
                    f" {found.usd:.2f} | {found.bound} |"
                )
    return "\n".join(lines)


def _time(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    print(table())
