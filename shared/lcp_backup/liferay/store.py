"""Liferay's two file stores: where in the volume the file of a document lies.

Source: FileSystemStore and AdvancedFileSystemStore of Liferay's module portal-store-file-system,
which are the same from 7.0 on; DLFolderConstants.getDataRepositoryId, and getStoreFileName of
DLFileVersionImpl, for the names of what they are given.
"""

import re
from collections.abc import Iterable
from enum import Enum, StrEnum
from itertools import islice
from typing import Final

from lcp_backup.volume.names import LIBRARY

ROOT: Final = f"{LIBRARY}/"
"""How the names of all files of a store begin, relative to the data folder."""

_MOST_PAIRS: Final = 4
_NO_EXTENSION: Final = "afsh"
_VERSION: Final = r"(?:\d+(?:\.\d+)*|PWC)(?:~[^/]*)?"
_SIMPLE: Final = re.compile(rf"\d+/(\d+)/.+/{_VERSION}")
_ADVANCED: Final = re.compile(
    rf"\d+/(\d+)/(?:[^/]+/)*(?P<stem>[^/]+)\.(?P<ending>[^/.]+)/(?P=stem)_{_VERSION}\.(?P=ending)"
)
_SYSTEM: Final = "0"
"""The repository of what belongs to no site."""
_IMAGE: Final = re.compile(r"\d+/0/(?:(?:[^/]{2}/)*\d+\.\w+/\d+_1\.0\.\w+|\d+\.\w+/1\.0)")
_GENERATED: Final = re.compile(r"\d+/0/(?:adaptive|document_preview|document_thumbnail)/.*")
_LOOKED_AT: Final = 1000


class Store(StrEnum):
    """The stores that keep documents in a folder, by the names of their classes."""

    SIMPLE = "FileSystemStore"
    ADVANCED = "AdvancedFileSystemStore"

    def place(self, company: int, repository: int, name: str, version: str) -> str:
        """Where the file of a document's version lies, relative to the data folder.

        Arguments: `version` is what the store is told: with Liferay's UUID behind it, where it has
        one.
        """
        if self is Store.SIMPLE:
            return f"{ROOT}{company}/{repository}/{name}/{version}"
        _, slash, last = name.rpartition("/")
        stem, _, extension = last.rpartition(".")
        if not stem or not extension:
            stem, extension = last, _NO_EXTENSION
        extension = extension.lower()
        if slash:
            return f"{ROOT}{company}/{repository}/{name}/{stem}_{version}.{extension}"
        above = ""
        if stem.startswith("DLFE-"):
            stem, above = stem.removeprefix("DLFE-"), "DLFE/"
        pairs = [stem[at : at + 2] for at in range(0, len(stem) - 2, 2)]
        above += "".join(f"{pair}/" for pair in pairs[: _MOST_PAIRS - above.count("/")])
        file = f"{stem}.{extension}/{stem}_{version}.{extension}"
        return f"{ROOT}{company}/{repository}/{above}{file}"


class Sort(Enum):
    """What a file of a store is, as far as its place tells."""

    OF_ROWS = "a document's or an image's: some row should name it"
    GENERATED = "a preview, a thumbnail or a rendition: Liferay makes it again"
    OTHER = "another application's, which keeps its own books"
    STORES_OWN = "the store's README.txt"


def sort_of(name: str) -> Sort:
    """What a file below ROOT is."""
    path = name.removeprefix(ROOT)
    if path == "README.txt":
        return Sort.STORES_OWN
    if _GENERATED.fullmatch(path):
        return Sort.GENERATED
    components = path.split("/", 2)
    if len(components) > 2 and components[1] == _SYSTEM and not _IMAGE.fullmatch(path):  # noqa: PLR2004 -- company, repository, rest
        return Sort.OTHER
    return Sort.OF_ROWS


def recognise(names: Iterable[str]) -> Store | None:
    """Which store laid these files out, by those that look like documents; None when none does.

    Arguments: `names` of files below ROOT; it takes no more than it needs.
    """
    votes = islice(filter(None, map(_looks_like, names)), _LOOKED_AT)
    advanced = [vote is Store.ADVANCED for vote in votes]
    if not advanced:
        return None
    return Store.ADVANCED if 2 * sum(advanced) > len(advanced) else Store.SIMPLE


def _looks_like(name: str) -> Store | None:
    path = name.removeprefix(ROOT)
    for store, layout in ((Store.ADVANCED, _ADVANCED), (Store.SIMPLE, _SIMPLE)):
        found = layout.fullmatch(path)
        if found is not None and found[1] != _SYSTEM:
            return store
    return None
