"""What may stand behind a member of a gzip file: another one, or the zeros that tapes leave."""

from typing import Final

from lcp_backup.errors import ArchiveDamaged

_MAGIC: Final = b"\x1f\x8b"


def next_member(piece: bytes, name: str, end: int) -> bytes:
    """The beginning of the next member, without zeros in front of it; nothing if all is zeros.

    `end` is where in the file `name` the piece ends. Raises ArchiveDamaged for what is no gzip: the
    inflater would take a few such bytes for a member that was cut short.
    """
    rest = piece.lstrip(b"\0")
    if not _MAGIC.startswith(rest[: len(_MAGIC)]):
        at = end - len(rest)
        raise ArchiveDamaged(
            f"{name} has other bytes behind its gzip data, at byte {at}: make the file anew"
        )
    return rest
