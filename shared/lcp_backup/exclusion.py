"""What of a site is left out of its backups: patterns, and what a backup's manifest says of it."""

import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import Final

from lcp_backup.document import Document
from lcp_backup.errors import InvalidRequest

GENERATED: Final = (
    "/document_library/*/0/adaptive/",
    "/document_library/*/0/document_preview/",
    "/document_library/*/0/document_thumbnail/",
)
"""What Liferay makes of documents by itself: renditions, previews and thumbnails of each company.

They lie in repository 0, in both file system stores. Source: Liferay's AMStoreUtil and
DLPreviewableProcessor (`REPOSITORY_ID = CompanyConstants.SYSTEM`)."""


class LeftOut(Document):
    """What is not in a backup because the settings said so."""

    table_patterns: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    """Those whose rows are not in the dump; their definitions are."""
    path_patterns: tuple[str, ...] = ()
    paths: int = 0
    """How many files, links and folders are not in the volume; a folder counts as one."""

    def check_tables(self, tables: Collection[str]) -> None:
        """Raises InvalidRequest for a table that is asked for and whose rows were left out."""
        for table in sorted(set(tables) & set(self.tables)):
            raise InvalidRequest(
                f"the rows of table {table} are not in this backup: LCP_BACKUP_EXCLUDE_TABLES left"
                " them out, so it cannot be asked for by name"
            )


def matches_table(patterns: Collection[str], table: str) -> bool:
    """Whether a table's name matches one of the patterns (`*`, `?`, `[...]`), in any case."""
    name = table.casefold()
    return any(fnmatchcase(name, pattern.casefold()) for pattern in patterns)


class PathPatterns:
    """Patterns as in a .gitignore; the last one that matches decides.

    Without a slash but at its end a pattern matches at every level, otherwise from the data folder
    on. `*` and `?` match no slash, `**/` any number of folders. One that ends with a slash matches
    folders only; one that begins with `!` takes back what was left out before it, but not what lies
    in a folder that is left out.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._rules = [_compiled(pattern) for pattern in patterns]

    def match(self, name: str, *, folder: bool) -> bool:
        """Whether a file or folder is left out by itself, those above it aside."""
        left_out = False
        for regex, only_folders, takes_back in self._rules:
            if (folder or not only_folders) and regex.fullmatch(name):
                left_out = not takes_back
        return left_out

    def cover(self, name: str, *, folder: bool) -> bool:
        """Whether a file or folder is left out, by itself or with a folder that it lies in."""
        if not self._rules:
            return False
        at = name.find("/")
        while at >= 0:
            if self.match(name[:at], folder=True):
                return True
            at = name.find("/", at + 1)
        return self.match(name, folder=folder)


_SIGN: Final = re.compile(r"\*+|\?|\[[!^]?\]?[^\]]*\]|\\.|.", re.DOTALL)
_ANY_FOLDERS: Final = "(?:[^/]*+/)*?"


def _compiled(pattern: str) -> tuple[re.Pattern[str], bool, bool]:
    """What whole names have to match; whether it is of folders only; whether it takes back.

    What stands between two stars, or between two `**/`, matches as early as it can and never again
    later (an atomic group): there, later only leaves less to what follows. So the time grows with
    the lengths of name and pattern, and not by a power for every star.
    """
    takes_back = pattern.startswith("!")
    text = pattern.removeprefix("!")
    only_folders = text.endswith("/")
    text = text.removesuffix("/")
    *above, last = text.removeprefix("/").split("/")
    if "/" not in text:
        above = ["**"]
    stretches = [""]
    """Components without `**` between them."""
    for component in above:
        if component == "**":
            stretches.append("")
        else:
            stretches[-1] += f"{_regex_of(component)}/"
    first, *others = stretches
    regex = first + "".join(f"(?>{_ANY_FOLDERS}{it})" for it in others[:-1])
    if others:
        regex += _ANY_FOLDERS + others[-1]
    regex += ".+" if last == "**" else _regex_of(last)
    return re.compile(regex, re.DOTALL), only_folders, takes_back


def _regex_of(component: str) -> str:
    stretches = [""]
    """What stands between stars."""
    for sign in _SIGN.findall(component):
        if sign.startswith("*"):
            stretches.append("")
        elif sign == "?":
            stretches[-1] += "[^/]"
        elif sign.startswith("[") and len(sign) > 1:
            inner = re.sub(r"([\\\[&~|])", r"\\\1", sign[1:-1])
            is_negated = inner.startswith(("!", "^"))
            stretches[-1] += f"(?!/)[^{inner[1:]}]" if is_negated else f"(?!/)[{inner}]"
        else:
            stretches[-1] += re.escape(sign[-1])
    first, *others = stretches
    regex = first + "".join(f"(?>[^/]*?{it})" for it in others[:-1])
    return f"{regex}[^/]*{others[-1]}" if others else regex
