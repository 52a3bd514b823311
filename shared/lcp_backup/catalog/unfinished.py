"""A volume that a create could not finish in its time: no backup, but what the next one goes on
from."""

from typing import Literal, Self

from pydantic import AwareDatetime

from lcp_backup.document import Document, read_document
from lcp_backup.model import Archive, VolumeFacts, VolumeSource


class Unfinished(Document):
    """What a create stored until its time ended. Its archive lies where that of a backup would.

    Its index lists what is stored, and behind it what the last backup has there: so a new backup is
    compared with it like with that one.
    """

    format: Literal[1] = 1
    id: str
    """That of the backup that it was to be; no other gets it."""
    run_id: str
    stopped_at: AwareDatetime
    volume: Archive
    sources: tuple[VolumeSource, ...] = ()
    volume_facts: VolumeFacts
    """Of what its index lists."""
    reached_size: int
    """Bytes of the files that were passed, from the first of the folder on."""
    path_patterns: tuple[str, ...] = ()
    """What of the folder was left out."""

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Reads a stored mark; raises UnknownFormat when this version cannot."""
        return read_document(cls, body, "mark of an unfinished volume")
