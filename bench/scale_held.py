"""The model of docs/scale.md against runs by workers on the embedded stack: the template, deployed.

What a place is like is taken from two small sites; what a larger one takes is then predicted.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from bench.embedded import deployed
from bench.folder import make_folder, remove
from bench.lines import Line, Measured, once
from bench.scale import AWS, Place, Site, create, restore
from local.api import Api
from local.stack import Stack

CREATE: Final = Line("create by 2 workers of 1.2 GB, off the model by a factor of", at_most=1.25)
RESTORE: Final = Line("restore by 2 workers of 1.2 GB, off the model by a factor of", at_most=1.25)
IDLE: Final = Line("create by 2 workers with nothing to store, seconds", at_most=10)
LINES: Final = (CREATE, RESTORE, IDLE)

_WORKERS: Final = 2
_SIZES: Final = (100.0, 300.0, 600.0, 1200.0)
"""MB: one for the first starts, two to learn from, and one to predict."""
_FILE: Final = 200_000
"""Bytes."""


class _Took(NamedTuple):
    size: float
    """MB."""
    create: float
    idle: float
    """A create that finds nothing new."""
    restore: float
    """Seconds, all three."""


def predictions(work: Path, rounds: int) -> list[Measured]:
    """How far the model is off, for a create and a restore; of each size one create is made."""
    with deployed(work / "state") as stack:
        _, first, second, third = (_tried(stack, number, rounds) for number in range(len(_SIZES)))
    place = _learnt(first, second)
    site = Site("", third.size, 0)
    return [
        _held(CREATE, third.create, create(site, place, workers=_WORKERS).seconds),
        _held(RESTORE, third.restore, restore(site, place, workers=_WORKERS).seconds),
        Measured(IDLE, (first.idle, second.idle, third.idle), "on the embedded stack"),
    ]


def _tried(stack: Stack, number: int, rounds: int) -> _Took:
    admin = Api(stack.describe()["api_url"], stack.users["admin"])
    size = _SIZES[number]
    folder = stack.folder / "document_library" / "bench"
    if number:
        remove(folder)
    make_folder(folder, files=int(size * 1e6) // _FILE, size=int(size * 1e6))

    def took(function: str, event: dict[str, object]) -> tuple[str, float]:
        begun = stack.invoke(function, {**event, "workers": _WORKERS})
        run = admin.wait_for(begun["run_id"])
        assert run["state"] == "succeeded"
        began, ended = (datetime.fromisoformat(run[it]) for it in ("started_at", "finished_at"))
        return str(begun["backup_id"]), (ended - began).total_seconds()

    backup_id, create_took = took("create", {"time": f"2026-11-20T0{number}:00:00Z"})
    _, idle = took("create", {"time": f"2026-11-20T0{number}:30:00Z"})
    restores = [took("restore", {"backup_id": backup_id})[1] for _ in range(rounds)]
    return _Took(size, create_took, idle, median(restores))


def _learnt(one: _Took, other: _Took) -> Place:
    """The rate and the fixed time that explain two runs."""

    def line(of: Callable[[_Took], float]) -> tuple[float, float]:
        slope = (of(other) - of(one)) / (other.size - one.size)
        return 1 / slope / _WORKERS, of(one) - slope * one.size

    pack, create_fixed = line(lambda it: it.create)
    unpack, restore_fixed = line(lambda it: it.restore)
    return replace(
        AWS,
        pack=pack,
        unpack=unpack,
        create_fixed=create_fixed,
        restore_fixed=restore_fixed,
    )


def _held(line: Line, measured: float, predicted: float) -> Measured:
    factor = max(measured / predicted, predicted / measured)
    return once(line, factor, f"measured: {measured:.1f} s; predicted: {predicted:.1f} s")
