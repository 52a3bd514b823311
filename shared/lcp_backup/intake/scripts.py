"""Scripts as operators store them: SQL files, plain, gzip'd, or some in a zip or tar archive."""

import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from lcp_backup.archive.deflate import inflate_stream
from lcp_backup.archive.tar import MemberKind
from lcp_backup.archive.untar import TarReader
from lcp_backup.database.scripts import Script
from lcp_backup.errors import ArchiveRefused
from lcp_backup.intake.content import is_apples

_MOST_BYTES: Final = 64 << 20
"""What all objects together may inflate to: they are held in memory, beside a load."""
_MOST_SCRIPTS: Final = 1000
"""As many as there may be objects; each has a line in the run's record."""
_PIECE: Final = 1 << 20
_INFLATED: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Compressions of zip archives; with the others a few bytes inflate to any number at once."""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def take_scripts(
    objects: Iterable[tuple[str, bytes]], check: Callable[[], None]
) -> tuple[Script, ...]:
    """The scripts in these objects, in the order of their names and, inside archives, of theirs.

    Arguments: `objects` as names and bytes; `check` is called often, and what it raises ends the
    work. Raises ArchiveRefused for what is no script, names it and says what is; ArchiveDamaged.
    """
    found: list[Script] = []
    room = _Room(check)
    for name, body in sorted(objects):
        check()
        members = [it for it in _members(name, body, room, check) if not is_apples(it[0])]
        for member, sql in sorted(members):
            if not member.lower().endswith(".sql"):
                raise _refused(member)
            found.append(Script(member, sql.removeprefix(_BYTE_ORDER_MARK)))
        if len(found) > _MOST_SCRIPTS:
            raise ArchiveRefused(
                f"up to {name!r} there are {len(found)} scripts, and no more than {_MOST_SCRIPTS}"
                " are run: put several into one file"
            )
    return tuple(found)


class _Room:
    """What is left for objects to inflate into."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._left = _MOST_BYTES
        self._check = check

    def take(self, name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The chunks; raises ArchiveRefused, naming what they are of, when there is no room."""
        for chunk in chunks:
            self._check()
            self._left -= len(chunk)
            if self._left < 0:
                raise ArchiveRefused(
                    f"the script {name!r}, with those before it, inflates to more than"
                    f" {_MOST_BYTES} bytes"
                )
            yield chunk


def _members(
    name: str, body: bytes, room: _Room, check: Callable[[], None]
) -> Iterator[tuple[str, bytes]]:
    lower = name.lower()
    if lower.endswith(".zip"):
        yield from _of_zip(name, body, room)
    elif lower.endswith((".tgz", ".tar.gz")):
        reader = TarReader(_inflated(name, body, room), lambda _: None, check)
        for member in reader.members():
            if member.kind is MemberKind.FILE:
                yield f"{name}/{member.name}", b"".join(map(bytes, reader.content()))
            elif member.kind is not MemberKind.FOLDER:
                raise _refused(f"{name}/{member.name}")
    elif lower.endswith(".sql.gz"):
        yield name[: -len(".gz")], b"".join(_inflated(name, body, room))
    else:
        yield name, b"".join(room.take(name, [body]))


def _inflated(name: str, body: bytes, room: _Room) -> Iterator[bytes]:
    return room.take(name, inflate_stream([body], name=f"the script {name!r}"))


def _of_zip(name: str, body: bytes, room: _Room) -> Iterator[tuple[str, bytes]]:
    # (A damaged one may raise a ValueError, such as for a name that is no text.)
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            for it in archive.infolist():
                if it.is_dir():
                    continue
                if it.compress_type not in _INFLATED:
                    raise zipfile.BadZipFile(f"{it.filename!r} is compressed in an unusual way")
                with archive.open(it) as file:
                    # In pieces: the size that the archive tells may be wrong.
                    content = b"".join(room.take(name, iter(partial(file.read, _PIECE), b"")))
                yield f"{name}/{it.filename}", content
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        ValueError,
        zlib.error,
    ) as error:
        raise ArchiveRefused(
            f"the script {name!r} is no zip archive that is read: {error}"
        ) from None


def _refused(name: str) -> ArchiveRefused:
    return ArchiveRefused(
        f"{name[:200]!r} lies among the scripts and is none: .sql files are, also as .sql.gz, or in"
        " a .zip, .tgz or .tar.gz; remove it"
    )
