"""Names inside a volume: how they are shown, which are this service's own, which links are safe."""

import os
from typing import Final

STAGING_NAME: Final = ".lcp-restore"
"""What a restore makes in the folder's top level while it works; never packed, never restored."""


def shown(name: str) -> str:
    """The name as it can be stored in JSON and logged: undecodable bytes become `\\xNN`.

    For reading only: a name that really holds a backslash and an `x` looks the same.
    """
    return os.fsencode(name).decode(errors="backslashreplace")


KEPT_PREFIX: Final = ".lcp-kept-"
"""How the name begins under which a restore keeps the previous content, when that was asked for."""


def is_own(name: str) -> bool:
    """Whether this top-level name is a restore's: of a running or killed one, or kept by one."""
    return name == STAGING_NAME or name.startswith(KEPT_PREFIX)


def link_stays_inside(name: str, target: str) -> bool:
    """Whether following a symbolic link can never lead out of the folder.

    True for a relative target that climbs first and only then goes down, and climbs no higher than
    the folder. A `..` further on is not allowed: behind another link it may climb from elsewhere
    than the name suggests. With this held for every link, no chain of them leads out either.

    Args:
        name: the link's own, relative to the folder.
        target: as the link stores it.
    """
    if not target or target.startswith("/"):
        return False
    parts = [part for part in target.split("/") if part not in ("", ".")]
    climbs = 0
    while climbs < len(parts) and parts[climbs] == "..":
        climbs += 1
    return climbs <= name.count("/") and ".." not in parts[climbs:]
