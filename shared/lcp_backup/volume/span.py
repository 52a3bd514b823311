"""A stretch of a folder in the order of a scan: what lies between two names."""

from bisect import bisect_left, bisect_right
from typing import NamedTuple


class Span(NamedTuple):
    """What comes behind one name and not behind another; a name itself is the last before it."""

    after: str | None = None
    """The last name in front of the stretch; what lies in that folder is in it. None: nothing."""
    until: str | None = None
    """The last name of the stretch; what lies in that folder is not in it. None: all the rest."""
    with_first: bool = False
    """Whether `after` itself is in it as well."""

    def names(self, prefix: str, names: list[str]) -> list[str]:
        """Those of a folder's names that are in the stretch, or in which some of it lies.

        Args:
            prefix: how all names in that folder begin, with a slash at the end.
            names: sorted.
        """
        first, last = 0, len(names)
        if (begins := _below(self.after, prefix)) is not None:
            first = bisect_left(names, begins)
        if self.until is not None and f"{self.until}/" == prefix:
            return []
        if (ends := _below(self.until, prefix)) is not None:
            last = bisect_right(names, ends)
        return names[first:last]

    def is_passed(self, name: str) -> bool:
        """Whether a name that `names` left is in front of the stretch all the same: its folders."""
        if self.after is None or not f"{self.after}/".startswith(f"{name}/"):
            return False
        return name != self.after or not self.with_first


def _below(name: str | None, prefix: str) -> str | None:
    """The component of a name that lies in the folder of this prefix; None if none does."""
    if name is None or not name.startswith(prefix):
        return None
    return name[len(prefix) :].partition("/")[0] or None
