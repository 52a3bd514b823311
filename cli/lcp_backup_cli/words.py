"""Figures and times as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_STEP = 1000


def size(count: int | None) -> str:
    """Bytes in units of thousands, as disks and AWS's prices count."""
    if count is None:
        return "-"
    value = float(count)
    for unit in _UNITS:
        if value < _STEP or unit == _UNITS[-1]:
            break
        value /= _STEP
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def difference(count: int) -> str:
    """Bytes more or less than before."""
    return f"{'-' if count < 0 else '+'}{size(abs(count))}"


def credential(by: str) -> str:
    """With what somebody came, as the service calls it."""
    return "name and password" if by == "basic" else by


def notice(it: dict[str, Any]) -> str:
    """A notice of a backup or run."""
    return ": ".join(filter(None, (it["code"], it["subject"], it["detail"])))


def estimate(told: dict[str, Any]) -> str:
    """How long a restore takes, and what tells."""
    basis = {
        "verification": "its verification",
        "restores": "the last restores",
        "verifications": "the last verifications",
    }[told["basis"]]
    return f"takes about {duration(timedelta(seconds=max(1, told['seconds'])))}, by {basis}"


def moment(text: str | None) -> datetime | None:
    """A time of the API, in the zone of this machine."""
    return None if text is None else datetime.fromisoformat(text).astimezone()


def local(text: str | None) -> str:
    """A time of the API as this machine's clock shows it, with its zone."""
    at = moment(text)
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M:%S %Z}"


def utc(text: str) -> str:
    """A time of the API in UTC."""
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M} UTC"


def lasted(start: str, end: str) -> str:
    """How long something took, or has been at it."""
    took = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return duration(took)


def duration(of: timedelta) -> str:
    """`4 s`, `3 min 20 s`, `2 h 5 min`."""
    seconds = int(of.total_seconds())
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def state(run: dict[str, Any]) -> str:
    """How a run is doing: its state, with what it does while it has not succeeded."""
    if run["state"] == "succeeded" or not run["step"]:
        return str(run["state"])
    return f"{run['state']}, {run['step']}"
