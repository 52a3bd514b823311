"""Names inside a volume: how they are shown, which are this service's own, which links are safe."""

import os
import unicodedata
from typing import Final

MOST_COMPONENT: Final = 255
"""Bytes between two slashes of a name: what Linux and its file systems hold (NAME_MAX)."""
MOST_NAME: Final = 4095
"""Bytes of a whole name, and of what a link holds: what a program can give to Linux (PATH_MAX)."""

LIBRARY: Final = "document_library"
"""Liferay's own folder in the data folder: where its file system stores keep documents."""

STAGING_NAME: Final = ".lcp-restore"
"""What a restore makes in the folder's top level while it works; never packed, never restored.

So are names that go on with `-` or `.`: what lies beside a folder, and what had to work around what
lay there.
"""


def printable(name: str) -> str:
    """The name as it can be stored in JSON and logged: undecodable bytes become `\\xNN`.

    For reading only: a name that really holds a backslash and an `x` looks the same.
    """
    return os.fsencode(name).decode(errors="backslashreplace")


KEPT_PREFIX: Final = ".lcp-kept-"
"""How the name begins under which a restore keeps the previous content, when that was asked for."""

_OWN_PREFIXES = (f"{STAGING_NAME}-", f"{STAGING_NAME}.", KEPT_PREFIX)


def quoted(name: str) -> str:
    """The name in quotes for a message, its middle left out when it is long."""
    text = printable(name)
    most = 200
    return repr(text if len(text) <= most else f"{text[: most // 2]}...{text[-most // 2 :]}")


def place_in_order(name: str) -> str:
    """A scan's order as that of texts: by components, a folder before its content."""
    return name.replace("/", "\0")


def is_own(name: str) -> bool:
    """Whether this top-level name is a restore's: of a running or killed one, or kept by one.

    Also true of what a file system that ignores case would take for one.
    """
    if not name.isascii():
        # Such file systems ignore how a letter is composed, and what cannot be seen.
        composed = unicodedata.normalize("NFKC", name)
        name = "".join(it for it in composed if unicodedata.category(it) != "Cf")
    name = name.casefold()
    return name == STAGING_NAME or name.startswith(_OWN_PREFIXES)


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
    components = [component for component in target.split("/") if component not in ("", ".")]
    climbs = 0
    while climbs < len(components) and components[climbs] == "..":
        climbs += 1
    return climbs <= name.count("/") and ".." not in components[climbs:]
