"""The mark of a backup that was deleted, or has expired."""

from typing import Literal, Self

from pydantic import AwareDatetime

from lcp_backup.document import Document, read_document


class Retired(Document):
    """Marks a backup that was deleted, but whose volume's archive others may still read."""

    format: Literal[1] = 1
    since: AwareDatetime
    unread_since: AwareDatetime | None = None
    """Since when no backup is known that reads the archive; it stays a day longer, because a run
    that is under way may be about to refer to it."""

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Reads a stored mark; raises UnknownFormat when this version cannot."""
        return read_document(cls, body, "mark of a retired backup")
