"""One thing in the folder, as a scan finds it."""

import os
from enum import Enum
from typing import NamedTuple

from lcp_backup.archive.segment import IndexedMember
from lcp_backup.volume.open_folders import OpenFolder


class Found(Enum):
    """What an entry is."""

    FOLDER = "folder"
    FILE = "file"
    UNCHANGED = "file that is as it was in the base"
    LINK = "link"
    LINK_OUT = "link that leads out of the folder"
    OTHER = "other"


class Entry(NamedTuple):
    """One thing in the folder; good until the scan that gave it is closed, in any thread."""

    name: str
    """Relative to the folder, `/` between its components."""
    found: Found
    folder: OpenFolder
    """The folder it lies in: opening `base` from there, no link on the way can be followed.

    Of a folder, itself.
    """
    base: str
    status: os.stat_result
    """As the scan found it; of a link, its own."""
    target: str = ""
    """Where a link points."""
    known: IndexedMember | None = None
    """Of a file: what the base has under its name, if the content may be the same."""
