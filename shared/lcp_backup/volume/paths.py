"""Paths inside a volume, as people write them: one for each place, whatever bytes its name has."""

import base64
import os
from collections.abc import Iterable
from typing import Final

from lcp_backup.errors import InvalidRequest
from lcp_backup.volume.names import is_own

_ENCODED: Final = "base64:"
"""How a path begins of which the bytes are written; a name that begins so is written behind `./`.

Neither a query nor JSON can hold bytes that are no text.
"""


def checked_paths(paths: Iterable[str]) -> tuple[str, ...]:
    """The exact names that paths mean, sorted: each once, and none that lies in another of them.

    A path may have `./` and slashes too many, and may be written as `path_text` does it.

    Raises InvalidRequest, which names a path that is absolute, leads upwards, or is empty.
    """
    found = {_name_of(path) for path in paths}
    return tuple(sorted(name for name in found if found.isdisjoint(_folders_above(name))))


def path_text(name: str) -> str:
    """A name as text that means it and no other, such as `?path=` takes it.

    That is the name itself, or `base64:` and its bytes when they are no text.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        written = base64.urlsafe_b64encode(os.fsencode(name)).decode()
        return _ENCODED + written.rstrip("=")
    return f"./{name}" if name.startswith(_ENCODED) else name


def _name_of(path: str) -> str:
    exact = _decoded(path) if path.startswith(_ENCODED) else path
    components = [component for component in exact.split("/") if component not in ("", ".")]
    if exact.startswith("/") or ".." in components or "\0" in exact or not components:
        raise InvalidRequest(
            f"{path[:200]!r} is no path below the data folder, such as document_library/20097"
        )
    if is_own(components[0]):
        raise InvalidRequest(f"{path[:200]!r} belongs to this service")
    return "/".join(components)


def _decoded(path: str) -> str:
    # Both alphabets: the one that a query takes as it is, and the one of the index.
    written = path.removeprefix(_ENCODED).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return os.fsdecode(base64.b64decode(written + "=" * (-len(written) % 4), validate=True))
    except ValueError:
        raise InvalidRequest(
            f"{path[:200]!r} is no path: {_ENCODED} is followed by the base64 of its bytes; a name"
            f" that begins so is written ./{_ENCODED}..."
        ) from None


def _folders_above(name: str) -> Iterable[str]:
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name
