"""Scripts as operators store them: SQL files, plain, gzip'd, or some in a zip or tar archive."""

import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from lcp_backup.archive.deflate import inflate_stream
from lcp_backup.archive.tar import MemberKind
from lcp_backup.archive.untar import TarReader
from lcp_backup.database.scripts import Script
from lcp_backup.errors import ArchiveRefused
from lcp_backup.intake.content import is_apples

_MOST_BYTES: Final = 64 << 20
"""What one object may inflate to."""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def take_scripts(
    objects: Iterable[tuple[str, bytes]], check: Callable[[], None]
) -> tuple[Script, ...]:
    """The scripts in these objects, in the order of their names and, inside archives, of theirs.

    Arguments: `objects` as names and bytes; `check` is called often, and what it raises ends the
    work. Raises ArchiveRefused for what is no script, names it and says what is; ArchiveDamaged.
    """
    found: list[Script] = []
    for name, body in sorted(objects):
        check()
        members = [it for it in _members(name, body, check) if not is_apples(it[0])]
        for member, sql in sorted(members):
            if not member.lower().endswith(".sql"):
                raise _refused(member)
            found.append(Script(member, sql.removeprefix(_BYTE_ORDER_MARK)))
    return tuple(found)


def _members(name: str, body: bytes, check: Callable[[], None]) -> Iterator[tuple[str, bytes]]:
    lower = name.lower()
    if lower.endswith(".zip"):
        yield from _of_zip(name, body)
    elif lower.endswith((".tgz", ".tar.gz")):
        reader = TarReader(_inflated(name, body), lambda _: None, check)
        for member in reader.members():
            if member.kind is MemberKind.FILE:
                yield f"{name}/{member.name}", b"".join(map(bytes, reader.content()))
            elif member.kind is not MemberKind.FOLDER:
                raise _refused(f"{name}/{member.name}")
    elif lower.endswith(".sql.gz"):
        yield name[: -len(".gz")], b"".join(_inflated(name, body))
    else:
        yield name, body


def _inflated(name: str, body: bytes) -> Iterator[bytes]:
    return inflate_stream([body], name=f"the script {name!r}", limit=_MOST_BYTES)


def _of_zip(name: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            files = [it for it in archive.infolist() if not it.is_dir()]
            if sum(it.file_size for it in files) > _MOST_BYTES:
                raise ArchiveRefused(f"the script {name!r} inflates to more than {_MOST_BYTES}")
            for it in files:
                yield f"{name}/{it.filename}", archive.read(it)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise ArchiveRefused(
            f"the script {name!r} is no zip archive that is read: {error}"
        ) from None


def _refused(name: str) -> ArchiveRefused:
    return ArchiveRefused(
        f"{name[:200]!r} lies among the scripts and is none: .sql files are, also as .sql.gz, or in"
        " a .zip, .tgz or .tar.gz; remove it"
    )
